#include "infer/align.h"

#include <string.h>

#include "model/kept_heads.h"

enum { BATCH_TOKENS = 2048 }; /* source and target tokens a pass; bounds memory alone */

#define WORD_START "\xE2\x96\x81" /* U+2581, SentencePiece's space */

/* --- the pass -------------------------------------------------------------------- */

/* Hypotheses that are looked at together. */
typedef struct alignment_batch {
    const attn_model *model;
    attn_translation *translation;
    hypothesis **items; /* [count] */
    size_t *texts;      /* [count]: whose translation each one is */
    size_t count;
    char part[32]; /* the layer's name */
    int head;
} alignment_batch;

static attn_status take_weights(void *context, const char *part, int64_t sequence, int64_t heads, int64_t queries,
                                int64_t keys, const float *weights) {
    const alignment_batch *b = context;
    if (strcmp(part, b->part) != 0) {
        return ATTN_OK;
    }
    int64_t cells = queries * keys;
    float *sum = memory_allocate((size_t)cells, sizeof *sum);
    if (!sum) {
        return ATTN_ERROR_MEMORY;
    }
    int64_t first = b->head < 0 ? 0 : b->head, end = b->head < 0 ? heads : first + 1;
    for (int64_t head = first; head < end; head++) {
        for (int64_t i = 0; i < cells; i++) {
            sum[i] += weights[head * cells + i] / (float)(end - first);
        }
    }
    memory_free(b->items[sequence]->alignment);
    b->items[sequence]->alignment = sum;
    return ATTN_OK;
}

/* One pass over the batch's pairs. */
static attn_status run_batch(alignment_batch *b) {
    const attn_translation *r = b->translation;
    size_t sources = 0, targets = 0;
    for (size_t i = 0; i < b->count; i++) {
        sources += r->source_offsets[b->texts[i] + 1] - r->source_offsets[b->texts[i]];
        targets += (size_t)b->items[i]->count + 1;
    }
    search_room *room = searcher_borrow(b->model->searcher);
    tape *t = room ? &room->tape : NULL;
    int32_t *memory = memory_allocate_raw(sources + targets + 2 * (b->count + 1), sizeof *memory);
    attn_status status = t && memory ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (!status) {
        int32_t *source = memory, *target = source + sources, *source_offsets = target + targets;
        int32_t *target_offsets = source_offsets + b->count + 1;
        source_offsets[0] = target_offsets[0] = 0;
        for (size_t i = 0; i < b->count; i++) {
            size_t first = r->source_offsets[b->texts[i]], length = r->source_offsets[b->texts[i] + 1] - first;
            const hypothesis *h = b->items[i];
            memcpy(source + source_offsets[i], r->sources.ids + first, length * sizeof *source);
            target[target_offsets[i]] = b->model->translator.config->decoder_start_token_id;
            memcpy(target + target_offsets[i] + 1, h->ids, (size_t)h->count * sizeof *target);
            source_offsets[i + 1] = source_offsets[i] + (int32_t)length;
            target_offsets[i + 1] = target_offsets[i] + h->count + 1;
        }
        packing from = {source_offsets, (int64_t)b->count}, to = {target_offsets, (int64_t)b->count};
        t->probe = (attention_probe){take_weights, b};
        (void)b->model->translator.kind->decode(t, b->model->translator.model, (source_rows){source, NULL}, from, target, to);
        t->probe = (attention_probe){0};
        status = t->status;
    }
    memory_free(memory);
    searcher_return(b->model->searcher, room);
    b->count = 0;
    return status;
}

/* How many layers attend to the source. */
static int cross_layers(const translator *model) {
    int layers[3];
    model->kind->attention_layers(model->model, layers);
    return layers[2];
}

static attn_status check_choice(const translator *model, int layer, int head) {
    int layers = cross_layers(model);
    if (layer < -1 || layer >= layers) {
        return fail(ATTN_ERROR_ARGUMENT, "decoder layer %d was asked for, the model has 0 to %d", layer, layers - 1);
    }
    int heads = model_config_heads(model->config, MODEL_DECODER_CROSS, layer < 0 ? layers - 1 : layer);
    if (head < -1 || head >= heads) {
        return fail(ATTN_ERROR_ARGUMENT, "head %d was asked for, the layer has 0 to %d", head, heads - 1);
    }
    return ATTN_OK;
}

attn_status align_translation(const attn_model *model, attn_translation *r, int layer, int head) {
    attn_status status = check_choice(&model->translator, layer, head);
    if (status) {
        return status;
    }
    alignment_batch b = {.model = model, .translation = r, .head = head};
    (void)snprintf(b.part, sizeof b.part, "decoder.%d.cross",
                   layer < 0 ? cross_layers(&model->translator) - 1 : layer);
    b.items = memory_allocate(BATCH_TOKENS + 1, sizeof *b.items);
    b.texts = memory_allocate(BATCH_TOKENS + 1, sizeof *b.texts);
    status = b.items && b.texts ? ATTN_OK : ATTN_ERROR_MEMORY;
    size_t tokens = 0;
    for (size_t i = 0; i < r->count && !status; i++) {
        for (int rank = 0; rank < r->lists[i].count && !status; rank++) {
            hypothesis *h = &r->lists[i].items[rank];
            if (!h->ids) {
                continue;
            }
            b.items[b.count] = h;
            b.texts[b.count++] = i;
            tokens += r->source_offsets[i + 1] - r->source_offsets[i] + (size_t)h->count + 1;
            if (tokens >= BATCH_TOKENS) {
                status = run_batch(&b);
                tokens = 0;
            }
        }
    }
    if (!status && b.count) {
        status = run_batch(&b);
    }
    memory_free(b.items);
    memory_free(b.texts);
    return status;
}

/* --- links ----------------------------------------------------------------------- */

static int begins_word(const tokenizer *t, const int32_t *ids, size_t i) {
    if (i == 0) {
        return 1;
    }
    if (tokenizer_get_kind(t) == TOKENIZER_WHITESPACE) {
        const char *before = tokenizer_piece(t, ids[i - 1]);
        size_t length = strlen(before);
        return !tokenizer_joins_continuation(t) || length < 2 || strcmp(before + length - 2, "@@") != 0;
    }
    return strncmp(tokenizer_piece(t, ids[i]), WORD_START, strlen(WORD_START)) == 0;
}

/* The end of the unit (token or word) that begins at `first`. */
static size_t unit_end(const tokenizer *t, const int32_t *ids, size_t first, size_t count, int words) {
    size_t end = first + 1;
    while (words && end < count && !begins_word(t, ids, end)) {
        end++;
    }
    return end;
}

/* The weight that target tokens [from, to) give to source tokens [first, end). */
static double weight_between(const hypothesis *h, size_t keys, size_t from, size_t to, size_t first, size_t end) {
    double sum = 0;
    for (size_t i = from; i < to; i++) {
        for (size_t j = first; j < end; j++) {
            sum += (double)h->alignment[i * keys + j];
        }
    }
    return sum;
}

size_t align_links(const tokenizer *t, const int32_t *source, size_t source_count, const hypothesis *h, int words,
                   attn_link *links, size_t room) {
    size_t found = 0, keys = source_count - 1, count = (size_t)h->count; /* </s> looks nowhere */
    for (size_t from = 0, to, target = 0; from < count && keys; from = to, target++) {
        size_t best = 0;
        double most = -1;
        to = unit_end(t, h->ids, from, count, words);
        for (size_t first = 0, end, unit = 0; first < keys; first = end, unit++) {
            end = unit_end(t, source, first, keys, words);
            double weight = weight_between(h, source_count, from, to, first, end);
            if (weight > most) {
                most = weight;
                best = unit;
            }
        }
        if (found < room) {
            links[found] = (attn_link){best, target};
        }
        found++;
    }
    return found;
}
