/* Short sequences, such as sentences: one block holds all scores of a head, so there is
 * nothing online about it, and what costs is everything around the products. The scores
 * are made transposed, [keys][queries]: a vector holds 16 queries, and maxima and sums run
 * over the keys without leaving their lanes. See tile_short.h. */
#ifndef ATTN_ATTENTION_SHORT_H
#define ATTN_ATTENTION_SHORT_H

#include <stddef.h>
#include <stdint.h>

#include <attn/attention.h>

#include "attention/ahead.h"

enum { SHORT_QUERIES = 64, SHORT_KEYS = 128 };

/* Rows of one head: the first, and bytes from a token to the next. */
typedef struct short_rows {
    char *first;
    int64_t stride;
} short_rows;

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
    rows_ahead *ahead;
    /* Scratch: rows of ldq or ldv floats, transposes and scores [SHORT_KEYS][SHORT_QUERIES] */
    int64_t ldq, ldv;
    float *q_rows, *k_rows, *v_rows, *d_o_rows, *out_rows;
    float *q_columns, *d_o_columns, *scores, *products;
    float *weights, *d_scores; /* the two rounded to bf16, [SHORT_KEYS][SHORT_QUERIES] */
} short_head;

#endif
