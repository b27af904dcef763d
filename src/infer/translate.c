/* Public translating: options checked, texts repaired, encoded and cut, searched, and
 * turned back into text. */
#include "infer/translate.h"

#include <string.h>

#include "base/utf8.h"

struct attn_translation {
    size_t count;
    hypothesis_list *lists; /* [count] */
    char ***texts;          /* [count][list's count] */
    size_t source_tokens, target_tokens;
};

void attn_translate_options_defaults(attn_translate_options *options) {
    *options = (attn_translate_options){.beam = 4, .n_best = 1, .length_penalty = 1.0, .max_length = 0,
                                        .min_length = 0, .batch_tokens = 4096};
}

static attn_status outside(const char *name, double found, const char *expected) {
    return fail(ATTN_ERROR_ARGUMENT, "%s is %g, %s was expected", name, found, expected);
}

attn_status translate_options_check(const attn_translate_options *o, search_options *out) {
    if (o->beam < 1 || o->beam > 64) {
        return outside("beam", o->beam, "1 to 64");
    }
    if (o->n_best < 1 || o->n_best > o->beam) {
        return outside("n_best", o->n_best, "1 to beam");
    }
    if (!(o->length_penalty >= -10 && o->length_penalty <= 10)) {
        return outside("length_penalty", o->length_penalty, "-10 to 10");
    }
    if (o->max_length < 0) {
        return outside("max_length", o->max_length, "0 or more");
    }
    if (o->batch_tokens < 1) {
        return outside("batch_tokens", o->batch_tokens, "1 or more");
    }
    if (o->min_length < 0 || (o->max_length > 0 && o->min_length > o->max_length)) {
        return outside("min_length", o->min_length, o->max_length > 0 ? "0 to max_length" : "0 or more");
    }
    *out = (search_options){o->beam, o->length_penalty, o->max_length, o->batch_tokens, o->min_length, NULL};
    return ATTN_OK;
}

static int is_blank(const char *text, size_t length) {
    for (size_t at = 0; at < length;) {
        uint32_t codepoint;
        at += utf8_decode(text + at, length - at, &codepoint);
        if (!utf8_is_space(codepoint)) {
            return 0;
        }
    }
    return 1;
}

attn_status encode_text(const tokenizer *t, tokenizer_side side, size_t positions, const char *text, id_buffer *buffer,
                        char changed[CHANGE_ROOM]) {
    char *repaired = NULL;
    size_t length = strlen(text), first = buffer->count;
    if (changed) {
        changed[0] = '\0';
    }
    if (is_blank(text, length)) {
        return ATTN_OK;
    }
    attn_status status = ATTN_OK;
    if (!utf8_is_valid(text, length)) {
        size_t replaced;
        status = utf8_repair(text, length, &repaired, &length, &replaced);
        text = repaired;
        if (!status && changed) {
            (void)snprintf(changed, CHANGE_ROOM, "%zu invalid UTF-8 %s read as U+FFFD", replaced,
                           replaced == 1 ? "sequence is" : "sequences are");
        }
    }
    status = status ? status : tokenizer_encode(t, side, text, length, buffer);
    memory_free(repaired);
    if (status) {
        return status;
    }
    size_t tokens = buffer->count - first;
    if (tokens == 0) {
        return ATTN_OK; /* nothing that the tokenizer sees */
    }
    if (tokens > positions - 1) {
        if (changed) {
            (void)snprintf(changed, CHANGE_ROOM, "%zu tokens are more than the model's %zu positions hold: the rest is cut off",
                           tokens + 1, positions);
        }
        buffer->count = first + positions - 1;
    }
    status = memory_grow(&buffer->ids, &buffer->capacity, buffer->count + 1, sizeof *buffer->ids);
    if (!status) {
        buffer->ids[buffer->count++] = tokenizer_eos(t);
    }
    return status;
}

/* The ids of all texts, and the warnings about them. */
static attn_status encode_all(const attn_model *model, const char *const *texts, size_t count,
                              const attn_translate_options *options, id_buffer *ids, size_t *offsets) {
    char changed[CHANGE_ROOM];
    size_t positions = (size_t)model->transformer->config.max_position_embeddings;
    offsets[0] = 0;
    for (size_t i = 0; i < count; i++) {
        attn_status status = encode_text(model->tokenizer, TOKENIZER_SOURCE, positions, texts[i], ids, changed);
        if (status) {
            return fail_within(status, "text %zu", i + 1);
        }
        if (changed[0] && options->warn) {
            options->warn(options->context, i + 1, changed);
        }
        offsets[i + 1] = ids->count;
    }
    return ATTN_OK;
}

static attn_status decode_all(const attn_model *model, attn_translation *result, int n_best) {
    for (size_t i = 0; i < result->count; i++) {
        hypothesis_list *list = &result->lists[i];
        while (list->count > n_best) {
            hypothesis_release(&list->items[--list->count]);
        }
        result->texts[i] = memory_allocate((size_t)list->count, sizeof(char *));
        if (!result->texts[i]) {
            return ATTN_ERROR_MEMORY;
        }
        for (int rank = 0; rank < list->count; rank++) {
            const hypothesis *h = &list->items[rank];
            attn_status status = tokenizer_decode(model->tokenizer, h->ids, (size_t)h->count, &result->texts[i][rank]);
            if (status) {
                return status;
            }
        }
        result->target_tokens += list->items[0].ids ? (size_t)list->items[0].count + 1 : 0;
    }
    return ATTN_OK;
}

attn_status attn_translate(const attn_model *model, const char *const *texts, size_t count,
                           const attn_translate_options *options, attn_translation **translation) {
    attn_translate_options standard;
    search_options searching;
    if (!translation || !model || (count && !texts)) {
        return fail(ATTN_ERROR_ARGUMENT, "a model, texts and a place for the translation were expected");
    }
    *translation = NULL;
    attn_translate_options_defaults(&standard);
    options = options ? options : &standard;
    attn_status status = translate_options_check(options, &searching);
    if (status) {
        return status;
    }
    attn_translation *result = memory_allocate(1, sizeof *result);
    id_buffer ids = {0};
    size_t *offsets = memory_allocate(count + 1, sizeof *offsets);
    if (result) {
        result->lists = memory_allocate(count, sizeof *result->lists);
        result->texts = memory_allocate(count, sizeof *result->texts);
        result->count = result->lists && result->texts ? count : 0;
    }
    status = result && result->lists && result->texts && offsets ? ATTN_OK : ATTN_ERROR_MEMORY;
    status = status ? status : encode_all(model, texts, count, options, &ids, offsets);
    if (!status) {
        result->source_tokens = ids.count;
        status = search(model->searcher, ids.ids, offsets, count, &searching, result->lists);
    }
    status = status ? status : decode_all(model, result, options->n_best);
    id_buffer_release(&ids);
    memory_free(offsets);
    if (status) {
        attn_translation_free(result);
        return status;
    }
    *translation = result;
    return ATTN_OK;
}

const char *attn_translation_ranked(const attn_translation *translation, size_t i, int rank) {
    return translation && i < translation->count && rank >= 0 && rank < translation->lists[i].count
               ? translation->texts[i][rank]
               : NULL;
}

const char *attn_translation_text(const attn_translation *translation, size_t i) {
    return attn_translation_ranked(translation, i, 0);
}

double attn_translation_score(const attn_translation *translation, size_t i, int rank) {
    return attn_translation_ranked(translation, i, rank) ? translation->lists[i].items[rank].score : 0;
}

double attn_translation_log_probability(const attn_translation *translation, size_t i, int rank) {
    return attn_translation_ranked(translation, i, rank) ? translation->lists[i].items[rank].log_probability : 0;
}

size_t attn_translation_source_tokens(const attn_translation *translation) {
    return translation->source_tokens;
}

size_t attn_translation_target_tokens(const attn_translation *translation) {
    return translation->target_tokens;
}

void attn_translation_free(attn_translation *translation) {
    if (!translation) {
        return;
    }
    for (size_t i = 0; i < translation->count; i++) {
        for (int rank = 0; translation->texts[i] && rank < translation->lists[i].count; rank++) {
            memory_free(translation->texts[i][rank]);
        }
        memory_free(translation->texts[i]);
        hypothesis_list_release(&translation->lists[i]);
    }
    memory_free(translation->texts);
    memory_free(translation->lists);
    memory_free(translation);
}
