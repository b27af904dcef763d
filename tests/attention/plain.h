/* Attention as one would first write it: f32, a whole row of scores, expf, no blocks.
 * With bf16 arrays, weights and score gradients are rounded to bf16 before they are
 * multiplied, as matrix products in that type need. Its error against f64 is the
 * measure for the operator's. */
#ifndef ATTN_TESTS_ATTENTION_PLAIN_H
#define ATTN_TESTS_ATTENTION_PLAIN_H

#include "cases.h"

typedef struct plain_result {
    float *o, *d_q, *d_k, *d_v, *log_sum_exp, *d_bias, *d_sinks;
} plain_result;

static inline size_t at(const void *row, const void *base, attn_dtype dtype) {
    return (size_t)((const char *)row - (const char *)base) / (size_t)dtype_size(dtype);
}

static inline float rounded(attn_dtype dtype, float x) {
    return dtype == ATTN_F32 ? x : from_bf16(to_bf16(x));
}

static inline void plain_load(const problem_t *p, const void *base, size_t first, int64_t position,
                              float *row, float *norm) {
    float sum = 0;
    for (int64_t c = 0; c < p->d; c++) {
        row[c] = case_get(base, p->dtype, first + (size_t)c);
        sum += row[c] * row[c];
    }
    *norm = sqrtf(sum);
    for (int64_t c = 0; p->score == ATTN_SCORE_LINEAR && c < p->d; c++) {
        row[c] = row[c] > 0 ? row[c] + 1 : expf(row[c]);
    }
    for (int64_t c = 0; p->score == ATTN_SCORE_COSINE && c < p->d; c++) {
        row[c] /= *norm;
    }
    for (int64_t c = 0; p->rotary && c < p->rotary_d / 2; c++) {
        const int64_t half = p->rotary_d / 2;
        float *x = row + (p->rotary == ATTN_ROTARY_HALVES ? c : 2 * c);
        float *y = p->rotary == ATTN_ROTARY_HALVES ? x + half : x + 1;
        const float cosine = p->rotary_cos[position * half + c];
        const float sine = p->rotary_sin[position * half + c], a = *x, b = *y;
        *x = a * cosine - b * sine;
        *y = a * sine + b * cosine;
    }
}

static inline void plain_unload(const problem_t *p, const void *base, size_t first,
                                int64_t position, float norm, float *g) {
    for (int64_t c = 0; p->rotary && c < p->rotary_d / 2; c++) {
        const int64_t half = p->rotary_d / 2;
        float *x = g + (p->rotary == ATTN_ROTARY_HALVES ? c : 2 * c);
        float *y = p->rotary == ATTN_ROTARY_HALVES ? x + half : x + 1;
        const float cosine = p->rotary_cos[position * half + c];
        const float sine = -p->rotary_sin[position * half + c], a = *x, b = *y;
        *x = a * cosine - b * sine;
        *y = a * sine + b * cosine;
    }
    for (int64_t c = 0; p->score == ATTN_SCORE_LINEAR && c < p->d; c++) {
        const float x = case_get(base, p->dtype, first + (size_t)c);
        g[c] *= x > 0 ? 1 : expf(x);
    }
    if (p->score == ATTN_SCORE_COSINE) {
        float along = 0;
        for (int64_t c = 0; c < p->d; c++) {
            along += case_get(base, p->dtype, first + (size_t)c) / norm * g[c];
        }
        for (int64_t c = 0; c < p->d; c++) {
            g[c] = (g[c] - case_get(base, p->dtype, first + (size_t)c) / norm * along) / norm;
        }
    }
}

/* One query head of one sequence; d_k and d_v are added to. */
static inline void plain_head(const case_arrays *a, const sequence_view *s, int64_t head,
                              plain_result *r, float *scratch) {
    const problem_t *p = &a->problem;
    const attn_dtype t = p->dtype;
    const int64_t kv = head / (p->heads / p->kv_heads);
    float *w = scratch, *slope = w + s->keys, *keep = slope + s->keys, *d_k = keep + s->keys;
    float *k_norms = d_k + s->keys * p->d, *keys = k_norms + s->keys;
    const uint32_t threshold = dropout_threshold(p->dropout);
    const uint64_t head_key = dropout_head_key(p->dropout_seed, s->index, head);
    memset(d_k, 0, (size_t)(s->keys * p->d) * sizeof(float));
    for (int64_t j = 0; j < s->keys; j++) {
        plain_load(p, a->k, at(key_row(p, s, a->k, p->k, j, kv), a->k, t), j, keys + j * p->d,
                   k_norms + j);
    }
    for (int64_t i = 0; i < s->queries; i++) {
        const size_t qi = at(query_row(p, s, a->q, p->q, i, head), a->q, t);
        const size_t oi = at(query_row(p, s, a->o, p->o, i, head), a->o, t);
        int64_t low, high;
        float q[256], q_norm, most = p->sinks ? p->sinks[head] : -INFINITY;
        plain_load(p, a->q, qi, i + s->shift, q, &q_norm);
        problem_visible(p, s, i, &low, &high);
        for (int64_t j = 0; j < s->keys; j++) {
            float x = 0;
            for (int64_t c = 0; c < p->d; c++) {
                x += q[c] * keys[j * p->d + c];
            }
            x *= problem_scale(p);
            slope[j] = 1;
            if (p->score == ATTN_SCORE_LINEAR) {
                slope[j] = 1 / x;
                x = logf(x);
            }
            if (p->softcap < INFINITY) {
                x = tanhf(x / p->softcap);
                slope[j] = 1 - x * x;
                x *= p->softcap;
            }
            x -= p->alibi ? p->alibi[head] * fabsf((float)(i + s->shift - j)) : 0;
            x += p->bias ? *bias_at(p, s->index, head, i, j) : 0;
            if (j < low || j >= high || (p->mask && !*mask_at(p, s->index, head, i, j))) {
                x = -INFINITY;
            }
            keep[j] = threshold && dropout_bits(dropout_row_keys(head_key, i), j) < threshold
                          ? 0 : dropout_scale(threshold);
            w[j] = x;
            most = x > most ? x : most;
        }
        float sum = p->sinks ? expf(p->sinks[head] - most) : 0;
        for (int64_t j = 0; j < s->keys; j++) {
            w[j] = w[j] == -INFINITY ? 0 : expf(w[j] - most);
            sum += w[j];
        }
        r->log_sum_exp[head * (int64_t)(a->rows / (size_t)p->heads) + s->q_first + i] =
            sum == 0 ? -INFINITY : most + logf(sum);
        float delta = 0, o[256] = {0}, d_q[256] = {0};
        for (int64_t j = 0; j < s->keys; j++) {
            const size_t vj = at(key_row(p, s, a->v, p->v, j, kv), a->v, t);
            w[j] = sum == 0 ? 0 : w[j] / sum;
            for (int64_t c = 0; c < p->d_v; c++) {
                o[c] += rounded(t, w[j] * keep[j]) * case_get(a->v, t, vj + (size_t)c);
            }
        }
        for (int64_t c = 0; c < p->d_v; c++) {
            o[c] = rounded(t, o[c]);
            r->o[oi + (size_t)c] = o[c];
            delta += o[c] * case_get(a->d_o, t, oi + (size_t)c);
        }
        for (int64_t j = 0; j < s->keys; j++) {
            const size_t vj = at(key_row(p, s, a->v, p->v, j, kv), a->v, t);
            float product = 0;
            for (int64_t c = 0; c < p->d_v; c++) {
                const float d_o = case_get(a->d_o, t, oi + (size_t)c);
                product += d_o * case_get(a->v, t, vj + (size_t)c);
                r->d_v[vj + (size_t)c] += rounded(t, w[j] * keep[j]) * d_o;
            }
            float d_s = w[j] * (product * keep[j] - delta);
            if (p->bias && w[j] != 0) {
                r->d_bias[bias_at(p, s->index, head, i, j) - p->bias] += d_s;
            }
            d_s = rounded(t, d_s * slope[j]);
            for (int64_t c = 0; c < p->d; c++) {
                d_q[c] += d_s * problem_scale(p) * keys[j * p->d + c];
                d_k[j * p->d + c] += d_s * problem_scale(p) * q[c];
            }
        }
        if (p->sinks && sum != 0) {
            r->d_sinks[head] -= expf(p->sinks[head] - most) / sum * delta;
        }
        plain_unload(p, a->q, qi, i + s->shift, q_norm, d_q);
        for (int64_t c = 0; c < p->d; c++) {
            r->d_q[qi + (size_t)c] = d_q[c];
        }
    }
    for (int64_t j = 0; j < s->keys; j++) {
        const size_t kj = at(key_row(p, s, a->k, p->k, j, kv), a->k, t);
        plain_unload(p, a->k, kj, j, k_norms[j], d_k + j * p->d);
        for (int64_t c = 0; c < p->d; c++) {
            r->d_k[kj + (size_t)c] += d_k[j * p->d + c];
        }
    }
}

static inline plain_result plain_run(const case_arrays *a) {
    const problem_t *p = &a->problem;
    plain_result r = {case_new(a->o_count, 4), case_new(a->q_count, 4), case_new(a->k_count, 4),
                      case_new(a->v_count, 4), case_new(a->rows, 4), case_new(a->bias_count, 4),
                      case_new((size_t)p->heads, 4)};
    int64_t most = 1;
    for (int64_t b = 0; b < p->sequences; b++) {
        const int64_t keys = problem_sequence(p, b).keys;
        most = keys > most ? keys : most;
    }
    float *scratch = case_new((size_t)(most * (4 + 2 * p->d)), sizeof(float));
    for (int64_t b = 0; b < p->sequences; b++) {
        sequence_view s = problem_sequence(p, b);
        for (int64_t head = 0; head < p->heads; head++) {
            plain_head(a, &s, head, &r, scratch);
        }
    }
    free(scratch);
    for (size_t i = 0; i < a->q_count; i++) {
        r.d_q[i] = rounded(p->dtype, r.d_q[i]);
    }
    for (size_t i = 0; i < a->k_count; i++) {
        r.d_k[i] = rounded(p->dtype, r.d_k[i]);
    }
    for (size_t i = 0; i < a->v_count; i++) {
        r.d_v[i] = rounded(p->dtype, r.d_v[i]);
    }
    return r;
}

static inline void plain_free(plain_result *r) {
    free(r->o);
    free(r->d_q);
    free(r->d_k);
    free(r->d_v);
    free(r->log_sum_exp);
    free(r->d_bias);
    free(r->d_sinks);
}

#endif
