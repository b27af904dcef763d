/* Attention cases as objects: a shape with its score, masks and layout, from which a problem and
 * its arrays are made. The same object is run for correctness and gradients (attention_check.h)
 * and for speed (attention_bench.c), in the manner of ggml's test-backend-ops. */
#ifndef ATTN_BENCH_ATTENTION_CASES_H
#define ATTN_BENCH_ATTENTION_CASES_H

#include <attn/attention.h>

#include "attention/problem.h"

typedef enum case_layout {
    CASE_DENSE = 0,
    CASE_FUSED = 1, /* rows of one projection: q, k and v of a token side by side */
    CASE_APART = 2  /* heads outermost, gaps between rows, each array with strides of its own and
                     * beginning one element off what was allocated */
} case_layout;

typedef struct attention_case {
    const char *name;
    int64_t sequences, queries, keys, heads, kv_heads, d, d_v;
    attn_causal causal;
    int packed; /* lengths vary from 0 up to queries and keys */
    int64_t left, right; /* window, unlimited where `window` is 0 */
    int window, mask, alibi, sinks, key_lengths, rotary;
    int bias; /* 1: broadcast over the sequences, 2: over heads, 3: over queries, 4: over none */
    case_layout layout;
    attn_score score;
    float softcap, dropout, amplitude; /* 0: none, none, 1 */
    attn_dtype dtype;
} attention_case;

enum { CASE_BLOCKS = 24 };

typedef struct case_arrays {
    attn_attention_problem problem;
    int64_t q_tokens, k_tokens;
    /* elements of each array */
    size_t q_count, k_count, v_count, o_count, d_o_count, d_q_count, d_k_count, d_v_count, bias_count;
    size_t rows; /* heads * q_tokens */
    int32_t *q_offsets, *k_offsets, *key_lengths;
    void *q, *k, *v, *d_o; /* of the dtype */
    void *o, *d_q, *d_k, *d_v;
    float *log_sum_exp, *d_bias, *d_sinks;
    uint8_t *mask;
    float *bias, *alibi, *sinks, *rotary_cos, *rotary_sin;
    void *workspace;
    size_t workspace_size;
    void *blocks[CASE_BLOCKS]; /* what was allocated */
    int block_count;
} case_arrays;

/* Small cases that a test can afford to check, and cases whose speed is worth a row of a table
 * (any case can be run for either). Ended by one without a name. */
extern const attention_case attention_check_cases[];
extern const attention_case attention_speed_cases[];

/* The case of that name in either table; NULL if there is none. */
const attention_case *attention_case_named(const char *name);

/* A case of any kind and moderate size, from a seed. */
attention_case attention_case_random(uint64_t seed);

/* Arrays filled with normal numbers from the seed. ATTN_ERROR_MEMORY. Release with
 * case_free() in either case. */
attn_status case_fill(const attention_case *c, uint64_t seed, case_arrays *arrays);
void case_free(case_arrays *arrays);

/* A pass of the operator; the workspace grows as needed. */
attn_status case_forward(case_arrays *arrays);
attn_status case_backward(case_arrays *arrays);
attn_status case_workspace(case_arrays *arrays, attn_attention_pass pass);

/* Element i of an array of that type. */
float case_get(const void *array, attn_dtype dtype, size_t i);
void case_set(void *array, attn_dtype dtype, size_t i, float x);
uint16_t to_bf16(float x);
float from_bf16(uint16_t half);

/* The place of a row among its array's elements. */
static inline size_t case_at(const void *row, const void *base, attn_dtype dtype) {
    return (size_t)((const char *)row - (const char *)base) / (size_t)dtype_size(dtype);
}

#endif
