/* Logits to the likeliest continuations: softmax over the vocabulary and top-k. */
#ifndef ATTN_INFER_CANDIDATES_H
#define ATTN_INFER_CANDIDATES_H

#include "infer/beam.h"
#include "tensor/rows.h"

enum { MOST_CANDIDATES = 128 };

/* The `wanted` <= MOST_CANDIDATES highest of values [n] without `never`, best first, the lower index first
 * among equals; returns their number. NaN is left out. */
int likeliest(const row_kernels *rows, const float *values, int64_t n, int32_t never, int wanted, float *best,
              int32_t *tokens);

/* The `wanted` likeliest tokens of one row of logits [vocabulary], without the tokens `never` and `not_yet`
 * (TOKEN_NONE: none),
 * best first, lower tokens first among equals; returns their number. log_probability of
 * each is `base` + log softmax. The logits are overwritten. NaN is no candidate. */
int candidates_of_row(const row_kernels *rows, float *logits, int64_t vocabulary, int32_t never,
                      int32_t not_yet, double base, int32_t row, int wanted, candidate *out);

/* The one candidate `token`. */
candidate candidate_of_token(const row_kernels *rows, float *logits, int64_t vocabulary, int32_t token, double base,
                             int32_t row);

/* Puts a list [n] among the `count` of `best`, which are in candidate_precedes' order and of which at most `most`
 * stay; returns their number. */
int candidates_merge(candidate *best, int count, int most, const candidate *list, int n);

/* Sorts by candidate_precedes. */
void candidates_sort(candidate *list, int count);

#endif
