/* Reads the weights of every layer and head while a translation is decoded anew in one
 * pass: the tape's probe is told of each attention (tensor/tape.h). */
#include "infer/explain.h"

#include <string.h>

#include "base/utf8.h"
#include "infer/translate.h"

static const char WORD_START[] = "\xE2\x96\x81"; /* U+2581, SentencePiece's space */

static attn_status take_weights(void *context, const char *part, int64_t sequence, int64_t heads, int64_t queries,
                                int64_t keys, const float *weights) {
    attn_explanation *e = context;
    (void)sequence;
    static const char *const FORMATS[ATTENTION_KINDS] = {"encoder.%d.self", "decoder.%d.self", "decoder.%d.cross"};
    for (int kind = 0; kind < ATTENTION_KINDS; kind++) {
        for (int layer = 0; layer < e->layers[kind]; layer++) {
            char name[32];
            (void)snprintf(name, sizeof name, FORMATS[kind], layer);
            if (strcmp(name, part) == 0) {
                size_t count = (size_t)(heads * queries * keys);
                float *copy = memory_allocate_raw(count, sizeof *copy);
                if (!copy) {
                    return ATTN_ERROR_MEMORY;
                }
                memcpy(copy, weights, count * sizeof *copy);
                memory_free(e->weights[kind][layer].values);
                e->weights[kind][layer] = (layer_weights){heads, queries, keys, copy};
                return ATTN_OK;
            }
        }
    }
    return ATTN_OK;
}

/* The text of a piece that may end lines, each end as "\\n", other controls as U+FFFD. */
static char *shown_text(const tokenizer *t, int32_t id) {
    char *text;
    if (tokenizer_decode(t, &id, 1, &text)) {
        return NULL;
    }
    size_t length = strlen(text), used = 0;
    char *shown = length ? memory_allocate_raw(length + 1, 3) : memory_copy_string(tokenizer_piece(t, id)); /* </s> */
    for (size_t at = 0; shown && at < length;) {
        uint32_t c;
        at += utf8_decode(text + at, length - at, &c);
        if (c == '\n') {
            shown[used++] = '\\';
            shown[used++] = 'n';
        } else {
            used += utf8_encode(c < ' ' || (c >= 0x7F && c < 0xA0) ? UTF8_REPLACEMENT : c, shown + used);
        }
    }
    if (shown && length) {
        shown[used] = '\0';
    }
    memory_free(text);
    return shown;
}

/* A piece for a person: where a word starts there is a space in front. */
char *shown_piece(const tokenizer *t, int32_t id) {
    if (tokenizer_takes_lines(t)) {
        return shown_text(t, id);
    }
    const char *piece = tokenizer_piece(t, id);
    size_t mark = strncmp(piece, WORD_START, strlen(WORD_START)) == 0 ? strlen(WORD_START) : 0;
    int word = tokenizer_get_kind(t) == TOKENIZER_WHITESPACE && id != tokenizer_eos(t);
    if (tokenizer_get_kind(t) == TOKENIZER_WORDPIECE) {
        mark = strncmp(piece, "##", 2) == 0 ? 2 : 0;
        return memory_copy_string(piece + mark);
    }
    if (!mark && !word) {
        return memory_copy_string(piece);
    }
    char *text = memory_allocate_raw(strlen(piece) + 2, 1);
    if (text) {
        text[0] = ' ';
        memcpy(text + 1, piece + mark, strlen(piece) - mark + 1);
    }
    return text;
}

attn_status token_list_fill(token_list *list, const tokenizer *t, const int32_t *ids, size_t count) {
    list->texts = memory_allocate(count, sizeof *list->texts);
    for (size_t i = 0; i < count && list->texts; i++) {
        list->texts[i] = shown_piece(t, ids[i]);
        if (!list->texts[i]) {
            return ATTN_ERROR_MEMORY;
        }
        list->count++;
    }
    return list->texts ? ATTN_OK : ATTN_ERROR_MEMORY;
}

/* The target's ids with </s>: those of the given text, or the best translation's. */
static attn_status find_target(const attn_model *model, const explained_source *read, const char *target,
                               const search_options *options, id_buffer *ids) {
    int32_t eos = model->translator.config->eos_token_id;
    if (target) {
        size_t positions = (size_t)model->translator.config->max_position_embeddings;
        attn_status status = encode_text(model->tokenizer, TOKENIZER_TARGET, positions, target, ids, NULL);
        return status ? status : ids->count ? ATTN_OK : fail(ATTN_ERROR_ARGUMENT, "the given translation is blank");
    }
    const size_t offsets[] = {0, read->ids.count};
    search_options with = *options;
    hypothesis_list list = {0};
    with.features = read->features;
    attn_status status = search(model->searcher, read->ids.ids, offsets, 1, &with, &list);
    if (!status) {
        const hypothesis *best = &list.items[0];
        status = memory_grow(&ids->ids, &ids->capacity, (size_t)best->count + 1, sizeof *ids->ids);
        if (!status) {
            memcpy(ids->ids, best->ids, (size_t)best->count * sizeof *ids->ids);
            ids->ids[best->count] = eos;
            ids->count = (size_t)best->count + 1;
        }
    }
    hypothesis_list_release(&list);
    return status;
}

attn_status explanation_target(const attn_model *model, const id_buffer *source, const char *target,
                               const search_options *options, id_buffer *ids) {
    const explained_source read = {.ids = *source};
    return find_target(model, &read, target, options, ids);
}

/* One pass over the pair with the probe on. */
static attn_status collect(const attn_model *model, const explained_source *read, const id_buffer *target,
                           attn_explanation *e) {
    search_room *room = searcher_borrow(model->searcher);
    tape *t = room ? &room->tape : NULL;
    int32_t *inputs = memory_allocate_raw(target->count, sizeof *inputs);
    attn_status status = t && inputs ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (!status) {
        const int32_t source_offsets[] = {0, (int32_t)read->ids.count}, target_offsets[] = {0, (int32_t)target->count};
        packing from = {source_offsets, 1}, to = {target_offsets, 1};
        inputs[0] = model->translator.config->decoder_start_token_id;
        memcpy(inputs + 1, target->ids, (target->count - 1) * sizeof *inputs);
        t->probe = (attention_probe){take_weights, e};
        (void)model->translator.kind->decode(t, model->translator.model, (source_rows){read->ids.ids, read->features},
                                              from, inputs, to);
        t->probe = (attention_probe){0};
        status = t->status;
    }
    memory_free(inputs);
    searcher_return(model->searcher, room);
    return status;
}

attn_status explain_source(const attn_model *model, explained_source *read, const char *target,
                           const attn_translate_options *options, attn_explanation **explanation) {
    prepared_search searching;
    attn_status status = prepare_search(options, &searching);
    attn_explanation *e = status ? NULL : memory_allocate(1, sizeof *e);
    if (!e) {
        return status ? status : ATTN_ERROR_MEMORY;
    }
    model->translator.kind->attention_layers(model->translator.model, e->layers);
    for (int kind = 0; kind < ATTENTION_KINDS && !status; kind++) {
        e->weights[kind] = memory_allocate((size_t)e->layers[kind], sizeof *e->weights[kind]);
        status = e->weights[kind] ? ATTN_OK : ATTN_ERROR_MEMORY;
    }
    id_buffer ids = {0};
    status = status ? status : find_target(model, read, target, &searching.options, &ids);
    status = status ? status : collect(model, read, &ids, e);
    status = status ? status : token_list_fill(&e->target, model->tokenizer, ids.ids, ids.count);
    status = status ? status : tokenizer_decode(model->tokenizer, ids.ids, ids.count, &e->text);
    id_buffer_release(&ids);
    if (status) {
        attn_explanation_free(e);
        return status;
    }
    e->source = read->tokens;
    read->tokens = (token_list){0};
    *explanation = e;
    return ATTN_OK;
}

attn_status attn_explain(const attn_model *model, const char *text, const char *target,
                         const attn_translate_options *options, attn_explanation **explanation) {
    attn_translate_options standard;
    char changed[CHANGE_ROOM];
    if (!model || !text || !explanation) {
        return fail(ATTN_ERROR_ARGUMENT, "a model, a text and a place for the explanation were expected");
    }
    *explanation = NULL;
    attn_translate_options_defaults(&standard);
    options = options ? options : &standard;
    attn_status status = model_check_searcher(model);
    if (status) {
        return status;
    }
    explained_source read = {0};
    size_t positions = (size_t)model->translator.config->max_position_embeddings;
    status = encode_text(model->tokenizer, TOKENIZER_SOURCE, positions, text, &read.ids, changed);
    if (!status && read.ids.count == 0) {
        status = fail(ATTN_ERROR_ARGUMENT, "the text is blank: there is nothing to look at");
    }
    if (!status && changed[0] && options->warn) {
        options->warn(options->context, 1, changed);
    }
    status = status ? status : token_list_fill(&read.tokens, model->tokenizer, read.ids.ids, read.ids.count);
    status = status ? status : explain_source(model, &read, target, options, explanation);
    id_buffer_release(&read.ids);
    token_list_release(&read.tokens);
    return status;
}

void token_list_release(token_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        memory_free(list->texts[i]);
    }
    memory_free(list->texts);
}

void attn_explanation_free(attn_explanation *explanation) {
    if (!explanation) {
        return;
    }
    for (int kind = 0; kind < ATTENTION_KINDS; kind++) {
        for (int layer = 0; layer < explanation->layers[kind] && explanation->weights[kind]; layer++) {
            memory_free(explanation->weights[kind][layer].values);
        }
        memory_free(explanation->weights[kind]);
    }
    token_list_release(&explanation->source);
    token_list_release(&explanation->target);
    memory_free(explanation->text);
    picture_release(&explanation->spectrogram);
    memory_free(explanation);
}

/* --- reading ------------------------------------------------------------------- */

attn_status attn_explanation_weights(const attn_explanation *e, attn_attention_kind kind, int layer,
                                     const float **weights, int64_t *heads, int64_t *queries, int64_t *keys) {
    if (!e || (int)kind < 0 || (int)kind >= ATTENTION_KINDS || layer < 0 || layer >= e->layers[kind]) {
        return fail(ATTN_ERROR_ARGUMENT, "there is no layer %d of attention kind %d", layer, (int)kind);
    }
    const layer_weights *w = &e->weights[kind][layer];
    *weights = w->values;
    *heads = w->heads;
    *queries = w->queries;
    *keys = w->keys;
    return ATTN_OK;
}

int attn_explanation_layers(const attn_explanation *e, attn_attention_kind kind) {
    return e && (int)kind >= 0 && (int)kind < ATTENTION_KINDS ? e->layers[kind] : 0;
}

size_t attn_explanation_tokens(const attn_explanation *e, int source) {
    return source ? e->source.count : e->target.count;
}

const char *attn_explanation_token(const attn_explanation *e, int source, size_t i) {
    const token_list *list = source ? &e->source : &e->target;
    return i < list->count ? list->texts[i] : NULL;
}

const char *attn_explanation_text(const attn_explanation *e) {
    return e->text;
}

const char *explanation_label(const attn_explanation *e, attn_attention_kind kind, int keys, int64_t i) {
    if (kind == ATTN_ENCODER_SELF || (kind == ATTN_DECODER_CROSS && keys)) {
        return e->source.texts[i];
    }
    if (keys) {
        return i == 0 ? "<start>" : e->target.texts[i - 1];
    }
    return e->target.texts[i];
}

const char *explanation_kind_name(attn_attention_kind kind) {
    static const char *const NAMES[ATTENTION_KINDS] = {"encoder self-attention", "decoder self-attention",
                                                       "cross-attention"};
    return NAMES[kind];
}
