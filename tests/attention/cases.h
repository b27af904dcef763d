/* Attention cases as objects: a shape with its score, masks and layout, from which
 * the problem and its arrays are made. The same objects are run for correctness, for
 * gradients and, by the bench program, for speed. Beside them `plain`: attention as one
 * would first write it, in f32 with the whole row of scores, whose error against f64 is
 * the measure for the operator's. */
#ifndef ATTN_TESTS_ATTENTION_CASES_H
#define ATTN_TESTS_ATTENTION_CASES_H

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <attn/attention.h>

#include "attention/dropout.h"
#include "attention/problem.h"
#include "base/random.h"

typedef struct attention_case {
    const char *name;
    int64_t sequences, queries, keys, heads, kv_heads, d, d_v;
    attn_causal causal;
    int packed; /* lengths vary from 0 up to queries and keys */
    int64_t left, right; /* window, 0: unlimited when `window` is 0 */
    int window, mask, bias, alibi, sinks, key_lengths, rotary, fused;
    attn_score score;
    float softcap, dropout, amplitude; /* 0: none, none, 1 */
    attn_dtype dtype;
} attention_case;

typedef struct case_arrays {
    attn_attention_problem problem;
    size_t q_count, k_count, v_count, o_count, rows; /* elements; rows = heads * tokens_q */
    size_t bias_count;
    int32_t *q_offsets, *k_offsets, *key_lengths;
    void *q, *k, *v, *d_o; /* of the dtype */
    void *o, *d_q, *d_k, *d_v;
    float *log_sum_exp, *d_bias, *d_sinks;
    uint8_t *mask;
    float *bias, *alibi, *sinks, *rotary_cos, *rotary_sin;
    void *workspace;
    size_t workspace_size;
} case_arrays;

static inline void *case_new(size_t count, size_t size) {
    void *p = calloc(count ? count : 1, size);
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return p;
}

static inline uint16_t to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static inline float from_bf16(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float case_get(const void *a, attn_dtype dtype, size_t i) {
    return dtype == ATTN_F32 ? ((const float *)a)[i] : from_bf16(((const uint16_t *)a)[i]);
}

static inline void case_set(void *a, attn_dtype dtype, size_t i, float x) {
    if (dtype == ATTN_F32) {
        ((float *)a)[i] = x;
    } else {
        ((uint16_t *)a)[i] = to_bf16(x);
    }
}

static inline void *case_random(attn_dtype dtype, size_t count, uint64_t key, float amplitude) {
    void *a = case_new(count, (size_t)dtype_size(dtype));
    for (size_t i = 0; i < count; i++) {
        case_set(a, dtype, i, amplitude * random_normal(key, i));
    }
    return a;
}

static inline case_arrays case_make(const attention_case *c, uint64_t seed) {
    case_arrays a = {0};
    attn_attention_problem *p = &a.problem;
    int64_t q_tokens = c->sequences * c->queries, k_tokens = c->sequences * c->keys;
    attn_attention_defaults(p, c->heads, c->kv_heads, c->d, c->d_v);
    p->dtype = c->dtype;
    if (c->fused) { /* rows of one projection: q, k and v of a token side by side */
        const int64_t width = c->heads * c->d + c->kv_heads * (c->d + c->d_v) + 5;
        p->q.token = p->k.token = p->v.token = p->d_q.token = p->d_k.token = p->d_v_.token = width;
    }
    if (c->packed) {
        a.q_offsets = case_new((size_t)c->sequences + 1, sizeof(int32_t));
        a.k_offsets = case_new((size_t)c->sequences + 1, sizeof(int32_t));
        for (int64_t b = 0; b < c->sequences; b++) {
            uint32_t nq = random_below(seed + 1, (uint64_t)b, (uint32_t)c->queries + 1);
            uint32_t nk = random_below(seed + 2, (uint64_t)b, (uint32_t)c->keys + 1);
            nq = b == 0 ? (uint32_t)c->queries : nq;
            nk = b == 0 ? (uint32_t)c->keys : c->queries == c->keys ? nq : nk;
            a.q_offsets[b + 1] = a.q_offsets[b] + (int32_t)nq;
            a.k_offsets[b + 1] = a.k_offsets[b] + (int32_t)nk;
        }
        q_tokens = a.q_offsets[c->sequences];
        k_tokens = a.k_offsets[c->sequences];
        attn_attention_packed(p, c->sequences, a.q_offsets, a.k_offsets);
    } else {
        attn_attention_batch(p, c->sequences, c->queries, c->keys);
    }
    p->causal = c->causal;
    p->score = c->score;
    if (c->score == ATTN_SCORE_COSINE) {
        p->scale = 10.0f;
    }
    p->softcap = c->softcap > 0 ? c->softcap : INFINITY;
    p->dropout = c->dropout;
    p->dropout_seed = seed * 77 + 5;
    if (c->window) {
        p->window_left = c->left;
        p->window_right = c->right;
    }
    if (c->key_lengths) {
        a.key_lengths = case_new((size_t)c->sequences, sizeof(int32_t));
        for (int64_t b = 0; b < c->sequences; b++) {
            sequence_view s = problem_sequence(p, b);
            a.key_lengths[b] = (int32_t)random_below(seed + 3, (uint64_t)b, (uint32_t)s.keys + 1);
        }
        p->key_lengths.i32 = a.key_lengths;
    }
    if (c->mask) {
        const size_t count = (size_t)(c->sequences * c->queries * c->keys);
        a.mask = case_new(count, 1);
        for (size_t i = 0; i < count; i++) {
            a.mask[i] = random_uniform(seed + 4, i) < 0.7f;
        }
        p->mask = a.mask;
        p->mask_strides = (attn_score_strides){c->queries * c->keys, 0, c->keys, 1};
    }
    if (c->bias) { /* 1: broadcast over the sequences, 2: over heads, 3: over queries */
        a.bias_count = (size_t)((c->bias == 1 ? c->heads : c->sequences) *
                                (c->bias == 3 ? c->heads * c->keys : c->queries * c->keys));
        a.bias = case_random(ATTN_F32, a.bias_count, seed + 5, 1);
        p->bias = a.bias;
        p->bias_strides =
            c->bias == 1   ? (attn_score_strides){0, c->queries * c->keys, c->keys, 1}
            : c->bias == 2 ? (attn_score_strides){c->queries * c->keys, 0, 1, c->queries}
                           : (attn_score_strides){c->heads * c->keys, c->keys, 0, 1};
        a.d_bias = case_new(a.bias_count, sizeof(float));
    }
    if (c->alibi) {
        a.alibi = case_new((size_t)c->heads, sizeof(float));
        for (int64_t h = 0; h < c->heads; h++) {
            a.alibi[h] = exp2f(-8.0f * (float)(h + 1) / (float)c->heads);
        }
        p->alibi = a.alibi;
    }
    if (c->sinks) {
        a.sinks = case_random(ATTN_F32, (size_t)c->heads, seed + 6, 1);
        p->sinks = a.sinks;
        a.d_sinks = case_new((size_t)c->heads, sizeof(float));
    }
    if (c->rotary) {
        p->rotary = (attn_rotary)c->rotary;
        p->rotary_d = c->d / 4 > 0 ? c->d / 4 * 2 : 2;
        p->rotary_positions = c->queries + c->keys;
        const int64_t half = p->rotary_d / 2;
        a.rotary_cos = case_new((size_t)(p->rotary_positions * half), sizeof(float));
        a.rotary_sin = case_new((size_t)(p->rotary_positions * half), sizeof(float));
        for (int64_t t = 0; t < p->rotary_positions; t++) {
            for (int64_t i = 0; i < half; i++) {
                const double angle = (double)t * pow(10000, -(double)i / (double)half);
                a.rotary_cos[t * half + i] = (float)cos(angle);
                a.rotary_sin[t * half + i] = (float)sin(angle);
            }
        }
        p->rotary_cos = a.rotary_cos;
        p->rotary_sin = a.rotary_sin;
    }
    const float amplitude = c->amplitude > 0 ? c->amplitude : 1;
    a.q_count = (size_t)(q_tokens * p->q.token);
    a.k_count = (size_t)(k_tokens * p->k.token);
    a.v_count = (size_t)(k_tokens * p->v.token);
    a.o_count = (size_t)(q_tokens * p->o.token);
    a.rows = (size_t)(q_tokens * c->heads);
    a.q = case_random(p->dtype, a.q_count, seed + 10, amplitude);
    a.k = case_random(p->dtype, a.k_count, seed + 11, amplitude);
    a.v = case_random(p->dtype, a.v_count, seed + 12, 1);
    a.d_o = case_random(p->dtype, a.o_count, seed + 13, 1);
    a.o = case_new(a.o_count, (size_t)dtype_size(p->dtype));
    a.d_q = case_new(a.q_count, (size_t)dtype_size(p->dtype));
    a.d_k = case_new(a.k_count, (size_t)dtype_size(p->dtype));
    a.d_v = case_new(a.v_count, (size_t)dtype_size(p->dtype));
    a.log_sum_exp = case_new(a.rows, sizeof(float));
    return a;
}

static inline void case_free(case_arrays *a) {
    void *all[] = {a->q_offsets, a->k_offsets, a->key_lengths, a->q, a->k, a->v, a->d_o, a->o,
                   a->d_q, a->d_k, a->d_v, a->log_sum_exp, a->d_bias, a->d_sinks, a->mask, a->bias,
                   a->alibi, a->sinks, a->rotary_cos, a->rotary_sin, a->workspace};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
    memset(a, 0, sizeof *a);
}

static inline attn_status case_workspace(case_arrays *a, attn_attention_pass pass) {
    size_t size;
    attn_status status = attn_attention_workspace(&a->problem, pass, &size);
    if (!status && size > a->workspace_size) {
        free(a->workspace);
        a->workspace = case_new(size, 1);
        a->workspace_size = size;
    }
    return status;
}

static inline attn_status case_forward(case_arrays *a) {
    attn_status status = case_workspace(a, ATTN_PASS_FORWARD);
    return status ? status
                  : attn_attention_forward(&a->problem, a->q, a->k, a->v, a->o, a->log_sum_exp,
                                           a->workspace, a->workspace_size);
}

static inline attn_status case_backward(case_arrays *a) {
    attn_status status = case_workspace(a, ATTN_PASS_BACKWARD);
    const attn_attention_gradients g = {a->d_q, a->d_k, a->d_v, a->d_bias, a->d_sinks};
    return status ? status
                  : attn_attention_backward(&a->problem, a->q, a->k, a->v, a->o, a->log_sum_exp,
                                            a->d_o, &g, a->workspace, a->workspace_size);
}

#endif
