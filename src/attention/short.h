/* Short sequences, such as sentences: one block holds all scores of a head, so there is
 * nothing online about it, and what costs is everything around the products. The scores
 * are made transposed, [keys][queries]: a vector holds 16 queries, and maxima and sums run
 * over the keys without leaving their lanes. See tile_short.h. */
#ifndef ATTN_ATTENTION_SHORT_H
#define ATTN_ATTENTION_SHORT_H

#include <stddef.h>
#include <stdint.h>

#include <attn/attention.h>

enum { SHORT_QUERIES = 64, SHORT_KEYS = 128, SHORT_ARRAYS = 8 };

/* Rows of one head: the first, and bytes from a token to the next. */
typedef struct short_rows {
    char *first;
    int64_t stride;
} short_rows;

/* A walk through rows that will be needed soon, `piece` bytes at a time: `tokens` rows
 * of `bytes` bytes of each array. */
typedef struct short_ahead {
    const char *at, *end; /* of the present row */
    struct {
        const char *first;
        int64_t stride, bytes, tokens;
    } array[SHORT_ARRAYS];
    int arrays, at_array;
    int64_t at_token, piece, lines; /* lines: of all */
} short_ahead;

/* The present row's bounds; to the next row. */
static inline void short_row(short_ahead *a) {
    a->at = a->array[a->at_array].first + a->at_token * a->array[a->at_array].stride;
    a->end = a->at + a->array[a->at_array].bytes;
}

static inline void short_next(short_ahead *a) {
    if (++a->at_token == a->array[a->at_array].tokens) {
        a->at_token = 0;
        a->at_array++;
    }
    if (a->at_array < a->arrays) {
        short_row(a);
    }
}

/* One head of one sequence. Arrays that are not wanted have first NULL. */
typedef struct short_head {
    attn_dtype dtype;
    int queries, keys, d, d_v;
    short_rows q, k, v, o, d_o, d_q, d_k, d_v_;
    float *log_sum_exp; /* [queries] or NULL */
    float scale;
    int hides;                /* query i sees keys j with -left <= j - (i + shift) <= right */
    int32_t shift, left, right;
    uint32_t drop_below;
    float keep_scale;
    uint64_t dropout_key;
    short_ahead *ahead;
    /* Scratch: rows of ldq or ldv floats, transposes and scores [SHORT_KEYS][SHORT_QUERIES] */
    int64_t ldq, ldv;
    float *q_rows, *k_rows, *v_rows, *d_o_rows, *out_rows;
    float *q_columns, *d_o_columns, *scores, *products;
    float *weights, *d_scores; /* the two rounded to bf16, [SHORT_KEYS][SHORT_QUERIES] */
} short_head;

#endif
