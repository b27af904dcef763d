#include "infer/html_links.h"

#include <string.h>

#include "base/memory.h"

attn_status html_token_ends(const tokenizer *t, const hypothesis *h, size_t *ends) {
    for (int32_t i = 0; i < h->count; i++) {
        char *text = NULL;
        attn_status status = tokenizer_decode(t, h->ids, (size_t)i + 1, &text);
        if (status) {
            return status;
        }
        ends[i] = strlen(text);
        memory_free(text);
    }
    for (int32_t i = h->count - 1; i > 0; i--) { /* a part of a character shows as more than it adds */
        ends[i - 1] = ends[i - 1] < ends[i] ? ends[i - 1] : ends[i];
    }
    return ATTN_OK;
}

/* The bytes that two stretches share. */
static size_t overlap(size_t a, size_t a_end, size_t b, size_t b_end) {
    size_t begin = a > b ? a : b, end = a_end < b_end ? a_end : b_end;
    return begin < end ? end - begin : 0;
}

typedef struct linking {
    const html_unit *source, *target; /* the sentence's units */
    size_t sources, targets;
    float *weights; /* [targets, sources] */
    size_t *begin, *end; /* [source tokens] in the segment's text */
    size_t *ends;        /* [target tokens] */
} linking;

/* A token's weights, shared among the units that it covers in both texts. */
static void add_token(linking *l, size_t target, const float *row, size_t keys) {
    size_t unit = 0;
    for (size_t j = 0; j + 1 < keys; j++) {
        if (l->begin[j] >= l->end[j]) {
            continue;
        }
        while (unit < l->sources && l->source[unit].end <= l->begin[j]) {
            unit++;
        }
        for (size_t s = unit; s < l->sources && l->source[s].begin < l->end[j]; s++) {
            size_t shared = overlap(l->source[s].begin, l->source[s].end, l->begin[j], l->end[j]);
            l->weights[target * l->sources + s] += row[j] * (float)shared / (float)(l->end[j] - l->begin[j]);
        }
    }
}

static void add_weights(linking *l, const hypothesis *h, size_t keys, size_t target_begin) {
    size_t unit = 0;
    for (size_t i = 0; i < (size_t)h->count; i++) {
        size_t begin = target_begin + (i ? l->ends[i - 1] : 0), end = target_begin + l->ends[i];
        while (unit < l->targets && l->target[unit].end <= begin) {
            unit++;
        }
        for (size_t t = unit; t < l->targets && l->target[t].begin < end; t++) {
            add_token(l, t, h->alignment + i * keys, keys);
        }
    }
}

static bool is_same(const char *a, const html_unit *x, const char *b, const html_unit *y) {
    return !x->letters && !y->letters && x->end - x->begin == y->end - y->begin &&
           memcmp(a + x->begin, b + y->begin, x->end - x->begin) == 0;
}

/* The best link of each unit, from either side; the same mark or number comes before any weight. */
static void choose(const linking *l, const html_sentence *s, const char *source, const char *target, html_alignment *a) {
    size_t *source_of = a->source_of + s->target_first, *target_of = a->target_of + s->source_first;
    for (size_t t = 0; t < l->targets; t++) {
        source_of[t] = HTML_NO_UNIT;
    }
    for (size_t u = 0; u < l->sources; u++) {
        target_of[u] = HTML_NO_UNIT;
    }
    for (int same = 0; same < 2; same++) { /* what is the same comes last, and stays */
        for (size_t t = 0; t < l->targets; t++) {
            float most = 0;
            for (size_t u = 0; u < l->sources; u++) {
                float weight = l->weights[t * l->sources + u];
                if (weight > most && (!same || is_same(source, &l->source[u], target, &l->target[t]))) {
                    most = weight;
                    source_of[t] = s->source_first + u;
                }
            }
        }
        for (size_t u = 0; u < l->sources; u++) {
            float most = 0;
            for (size_t t = 0; t < l->targets; t++) {
                float weight = l->weights[t * l->sources + u];
                if (weight > most && (!same || is_same(source, &l->source[u], target, &l->target[t]))) {
                    most = weight;
                    target_of[u] = s->target_first + t;
                }
            }
        }
    }
}

attn_status html_link(const attn_translation *r, size_t index, const html_sentence *s, const char *segment_text,
                      const char *segment_translation, html_alignment *a) {
    const hypothesis *h = &r->lists[index].items[0];
    const size_t keys = attn_translation_source_length(r, index);
    linking l = {.source = a->source.units + s->source_first, .target = a->target.units + s->target_first,
                 .sources = a->source.count - s->source_first, .targets = a->target.count - s->target_first};
    for (size_t t = 0; t < l.targets; t++) {
        a->source_of[s->target_first + t] = HTML_NO_UNIT;
    }
    for (size_t u = 0; u < l.sources; u++) {
        a->target_of[s->source_first + u] = HTML_NO_UNIT;
    }
    if (!h->ids || !h->alignment || keys < 2) {
        return ATTN_OK;
    }
    l.begin = memory_allocate(2 * keys, sizeof *l.begin);
    l.ends = memory_allocate((size_t)h->count, sizeof *l.ends);
    attn_status status = l.begin && l.ends ? html_token_ends(r->tokenizer, h, l.ends) : ATTN_ERROR_MEMORY;
    if (!status) {
        l.end = l.begin + keys;
        status = tokenizer_spans(r->tokenizer, TOKENIZER_SOURCE, s->text, s->length, l.begin, l.end, keys - 1);
    }
    size_t covered = 0;
    for (size_t j = 0; j + 1 < keys && !status; j++) {
        l.begin[j] += s->source_begin;
        l.end[j] += s->source_begin;
        covered = l.end[j] > covered ? l.end[j] : covered;
    }
    while (l.sources > 0 && l.source[l.sources - 1].begin >= covered) {
        l.sources--; /* what was cut off has no weights */
    }
    l.weights = status ? NULL : memory_allocate(l.targets * l.sources, sizeof *l.weights);
    if (l.weights) {
        add_weights(&l, h, keys, s->target_begin);
        choose(&l, s, segment_text, segment_translation, a);
    } else {
        status = status ? status : ATTN_ERROR_MEMORY;
    }
    memory_free(l.begin);
    memory_free(l.ends);
    memory_free(l.weights);
    return status;
}
