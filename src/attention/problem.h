/* The problem as the passes see it: its checks, its sequences, where rows lie and which
 * keys a query may see. */
#ifndef ATTN_ATTENTION_PROBLEM_H
#define ATTN_ATTENTION_PROBLEM_H

#include <stdint.h>

#include <attn/attention.h>

#include "base/error.h"

typedef attn_attention_problem problem_t;

/* One sequence of the batch. A token's flat index counts through the whole batch. */
typedef struct sequence_view {
    int64_t index;
    int64_t queries, keys;  /* tokens */
    int64_t length;         /* keys that exist: key_lengths, else keys */
    int64_t q_first, k_first; /* flat index of the first token */
    int64_t shift;          /* of query positions against key positions */
} sequence_view;

/* Sums and maxima over the sequences. */
typedef struct problem_size {
    int64_t q_tokens, k_tokens;       /* ends of the flat indices */
    int64_t most_queries, most_keys;  /* of one sequence */
} problem_size;

/* ATTN_OK or the sentence on what is wrong; fills *size. `caches`: keys come from a
 * decoding cache, k and v of the problem do not count. */
attn_status problem_check(const problem_t *p, int caches, problem_size *size);

/* The greatest distance from the first element must stay far inside 63 bits. `packed`: the
 * sequence's stride does not count. */
attn_status problem_check_strides(const char *name, attn_strides s, int64_t sequences, int64_t tokens,
                                  int64_t heads, int packed);

/* The same of one number (`each` elements) for every pair of a query and a key. */
attn_status problem_check_pairs(const problem_t *p, const problem_size *size, int64_t each);

sequence_view problem_sequence(const problem_t *p, int64_t b);

/* The keys [*low, *high) that query i may see by causality, window and length. */
static inline void problem_visible(const problem_t *p, const sequence_view *s, int64_t i, int64_t *low,
                                   int64_t *high) {
    const int64_t at = i + s->shift, right = p->causal != ATTN_CAUSAL_NONE ? 0 : p->window_right;
    int64_t from = p->window_left >= at ? 0 : at - p->window_left;
    int64_t to = right >= s->length - at ? s->length : at + right + 1;
    from = from < 0 ? 0 : from > s->length ? s->length : from;
    to = to > s->length ? s->length : to;
    *low = from;
    *high = to < from ? from : to;
}

/* 1 if some query may be kept from some key of its sequence that exists. */
int problem_hides(const problem_t *p);

static inline int64_t dtype_size(attn_dtype dtype) {
    return dtype == ATTN_F32 ? 4 : dtype == ATTN_BF16 ? 2 : 1;
}

/* Address of token t (within the sequence), head h. */
static inline const char *row_address(const void *base, attn_dtype dtype, attn_strides strides,
                                      int packed, int64_t first, int64_t sequence, int64_t t,
                                      int64_t h) {
    int64_t origin = packed ? first * strides.token : sequence * strides.sequence;
    return (const char *)base +
           (origin + t * strides.token + h * strides.head) * dtype_size(dtype);
}

static inline int problem_packed(const problem_t *p) {
    return p->q_offsets.i32 || p->q_offsets.i64;
}

static inline int64_t index_at(attn_indices indices, int64_t i) {
    return indices.i32 ? indices.i32[i] : indices.i64[i];
}

static inline const char *query_row(const problem_t *p, const sequence_view *s, const void *q,
                                    attn_strides strides, int64_t i, int64_t head) {
    return row_address(q, p->dtype, strides, problem_packed(p), s->q_first, s->index, i, head);
}

static inline const char *key_row(const problem_t *p, const sequence_view *s, const void *k,
                                  attn_strides strides, int64_t j, int64_t head) {
    return row_address(k, p->dtype, strides, problem_packed(p), s->k_first, s->index, j, head);
}

/* The addresses of `count` keys' rows of a head from token `first` on. */
static inline void key_rows(const problem_t *p, const sequence_view *s, const void *k, attn_strides strides,
                            int64_t first, int count, int64_t head, const void **rows) {
    const char *row = key_row(p, s, k, strides, first, head);
    for (int j = 0; j < count; j++) {
        rows[j] = row + j * strides.token * dtype_size(p->dtype);
    }
}

/* The factor of the bare product: p->scale, or 1 for the dot and linear scores. */
static inline float problem_scale(const problem_t *p) {
    return p->score == ATTN_SCORE_DOT || p->score == ATTN_SCORE_LINEAR ? 1.0f : p->scale;
}

static inline const float *bias_at(const problem_t *p, int64_t b, int64_t h, int64_t i, int64_t j) {
    const attn_score_strides *s = &p->bias_strides;
    return p->bias + b * s->sequence + h * s->head + i * s->query + j * s->key;
}

static inline const uint8_t *mask_at(const problem_t *p, int64_t b, int64_t h, int64_t i, int64_t j) {
    const attn_score_strides *s = &p->mask_strides;
    return p->mask + b * s->sequence + h * s->head + i * s->query + j * s->key;
}

#endif
