/* The measure: see attention_plain.h. */
#include "bench/attention_plain.h"

#include <math.h>
#include <string.h>

#include "attention/dropout.h"
#include "base/memory.h"

static float rounded(attn_dtype dtype, float x) {
    return dtype == ATTN_F32 ? x : from_bf16(to_bf16(x));
}

static void plain_load(const problem_t *p, const void *base, size_t first, int64_t position,
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
    for (int64_t c = 0; p->rotary && position >= 0 && c < p->rotary_d / 2; c++) {
        const int64_t half = p->rotary_d / 2;
        float *x = row + (p->rotary == ATTN_ROTARY_HALVES ? c : 2 * c);
        float *y = p->rotary == ATTN_ROTARY_HALVES ? x + half : x + 1;
        const float cosine = p->rotary_cos[position * half + c];
        const float sine = p->rotary_sin[position * half + c], a = *x, b = *y;
        *x = a * cosine - b * sine;
        *y = a * sine + b * cosine;
    }
}

static void plain_unload(const problem_t *p, const void *base, size_t first,
                                int64_t position, float norm, float *g) {
    for (int64_t c = 0; p->rotary && position >= 0 && c < p->rotary_d / 2; c++) {
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

static float plain_product(const float *a, const float *b, int64_t count, int order) {
    float sum = 0;
    for (int64_t c = 0; c < count; c++) {
        const int64_t at = order == 1 ? count - 1 - c : c;
        sum = order == 2 ? fmaf(a[at], b[at], sum) : sum + a[at] * b[at];
    }
    return sum;
}

/* Of the products that plain_product() sums. */
static float largest_term(const float *a, const float *b, int64_t count) {
    float most = 0;
    for (int64_t c = 0; c < count; c++) {
        most = fmaxf(most, fabsf(a[c] * b[c]));
    }
    return most;
}

/* One query head of one sequence; d_k, d_v and sums are added to. weights: [Nq][Nk] or NULL. */
static void plain_head(const case_arrays *a, const sequence_view *s, int64_t head, int order, plain_result *r,
                       float *scratch, float *weights) {
    const problem_t *p = &a->problem;
    const attn_dtype t = p->dtype;
    const int64_t kv = head / (p->heads / p->kv_heads);
    float *w = scratch, *slope = w + s->keys, *keep = slope + s->keys, *d_k = keep + s->keys;
    float *k_norms = d_k + s->keys * p->d, *keys = k_norms + s->keys, *parts = keys + s->keys * p->d;
    float *scores = parts + s->keys, *sizes = scores + s->keys; /* of a score's largest part */
    const uint32_t threshold = dropout_threshold(p->dropout);
    const uint64_t head_key = dropout_head_key(p->dropout_seed, s->index, head);
    memset(d_k, 0, (size_t)(s->keys * p->d) * sizeof(float));
    memset(parts, 0, (size_t)s->keys * sizeof(float));
    for (int64_t j = 0; j < s->keys; j++) {
        plain_load(p, a->k, case_at(key_row(p, s, a->k, p->k, j, kv), a->k, t), j, keys + j * p->d,
                   k_norms + j);
    }
    for (int64_t i = 0; i < s->queries; i++) {
        const size_t qi = case_at(query_row(p, s, a->q, p->q, i, head), a->q, t);
        const size_t oi = case_at(query_row(p, s, a->o, p->o, i, head), a->o, t);
        const size_t di = case_at(query_row(p, s, a->d_o, p->d_o, i, head), a->d_o, t);
        const size_t dqi = case_at(query_row(p, s, a->d_q, p->d_q, i, head), a->d_q, t);
        int64_t low, high;
        float q[256], q_norm, most = p->sinks ? p->sinks[head] : -INFINITY;
        plain_load(p, a->q, qi, i + s->shift, q, &q_norm);
        problem_visible(p, s, i, &low, &high);
        for (int64_t j = 0; j < s->keys; j++) {
            float x = plain_product(q, keys + j * p->d, p->d, order) * problem_scale(p);
            sizes[j] = largest_term(q, keys + j * p->d, p->d) * fabsf(problem_scale(p));
            slope[j] = 1;
            if (p->score == ATTN_SCORE_LINEAR) {
                slope[j] = 1 / x;
                sizes[j] = 0; /* of terms of one sign */
                x = logf(x);
            }
            if (p->softcap < INFINITY) {
                x = tanhf(x / p->softcap);
                slope[j] = 1 - x * x;
                x *= p->softcap;
                sizes[j] *= slope[j];
            }
            const float away = p->alibi ? p->alibi[head] * fabsf((float)(i + s->shift - j)) : 0;
            const float bias = p->bias ? *bias_at(p, s->index, head, i, j) : 0;
            sizes[j] = fmaxf(fmaxf(fabsf(x), sizes[j]), fmaxf(fabsf(away), isfinite(bias) ? fabsf(bias) : 0));
            x = x - away + bias;
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
            scores[j] = w[j];
            w[j] = w[j] == -INFINITY ? 0 : expf(w[j] - most);
            r->weight_term = fmaxf(r->weight_term, w[j] > 0 ? w[j] * fmaxf(sizes[j], fabsf(scores[j])) : 0);
            sum += w[j];
        }
        const float log_sum_exp = sum == 0 ? -INFINITY : most + logf(sum);
        r->log_sum_exp[head * (int64_t)(a->rows / (size_t)p->heads) + s->q_first + i] = log_sum_exp;
        float delta = 0, o[256] = {0}, d_q[256] = {0};
        for (int64_t j = 0; j < s->keys; j++) {
            const size_t vj = case_at(key_row(p, s, a->v, p->v, j, kv), a->v, t);
            w[j] = sum == 0 ? 0 : w[j] / sum;
            r->sums[head * a->k_tokens + s->k_first + j] += w[j];
            if (weights) {
                weights[i * s->keys + j] = w[j] * keep[j];
            }
            for (int64_t c = 0; c < p->d_v; c++) {
                o[c] += rounded(t, w[j] * keep[j]) * case_get(a->v, t, vj + (size_t)c);
            }
        }
        for (int64_t c = 0; c < p->d_v; c++) {
            o[c] = rounded(t, o[c]);
            r->o[oi + (size_t)c] = o[c];
            delta += o[c] * case_get(a->d_o, t, di + (size_t)c);
        }
        for (int64_t j = 0; j < s->keys; j++) {
            const size_t vj = case_at(key_row(p, s, a->v, p->v, j, kv), a->v, t);
            const size_t dvj = case_at(key_row(p, s, a->d_v, p->d_v_, j, kv), a->d_v, t);
            float product = 0;
            w[j] = w[j] == 0 ? 0 : expf(scores[j] - log_sum_exp); /* all that a backward pass is given */
            for (int64_t c = 0; c < p->d_v; c++) {
                const float d_o = case_get(a->d_o, t, di + (size_t)c);
                product += d_o * case_get(a->v, t, vj + (size_t)c);
                r->d_v[dvj + (size_t)c] += rounded(t, w[j] * keep[j]) * d_o;
            }
            float d_s = w[j] * (product * keep[j] - delta);
            if (p->bias && w[j] != 0) {
                r->d_bias[bias_at(p, s->index, head, i, j) - p->bias] += d_s;
            }
            d_s = rounded(t, d_s * slope[j]);
            const float term = fabsf(w[j] * product * keep[j]), norm = fminf(q_norm, k_norms[j]);
            const float part = term * fabsf(slope[j] * problem_scale(p)) / (p->score == ATTN_SCORE_COSINE ? norm : 1);
            float largest = 0;
            r->bias_term = fmaxf(r->bias_term, term);
            for (int64_t c = 0; c < p->d; c++) {
                r->gradient_term = fmaxf(r->gradient_term, part * fmaxf(fabsf(keys[j * p->d + c]), fabsf(q[c])));
                largest = fmaxf(largest, fabsf(q[c]));
                d_q[c] += d_s * problem_scale(p) * keys[j * p->d + c];
                d_k[j * p->d + c] += d_s * problem_scale(p) * q[c];
            }
            if (p->score == ATTN_SCORE_LINEAR) { /* two sums again, and its state sums over all queries before anything cancels */
                parts[j] += 2 * part * largest;
                r->gradient_term = fmaxf(r->gradient_term, parts[j]);
            }
        }
        if (p->sinks && sum != 0) {
            const float weight = expf(p->sinks[head] - most) / sum;
            r->d_sinks[head] -= weight * delta;
            const float last_bit = t == ATTN_F32 ? 1 : 0x1p-15f; /* of an f32, in the unit of the type */
            r->sink_term = fmaxf(r->sink_term, weight * fabsf(delta * (most + logf(sum))) * last_bit);
            for (int64_t c = 0; c < p->d_v; c++) {
                const float product = o[c] * case_get(a->d_o, t, di + (size_t)c);
                r->sink_term = fmaxf(r->sink_term, weight * fabsf(product));
            }
        }
        for (int64_t c = 0; p->score == ATTN_SCORE_LINEAR && c < p->d_v; c++) {
            r->linear_term = fmaxf(r->linear_term, 2 * fabsf(o[c]));
        }
        plain_unload(p, a->q, qi, i + s->shift, q_norm, d_q);
        for (int64_t c = 0; c < p->d; c++) {
            r->d_q[dqi + (size_t)c] = d_q[c];
        }
    }
    for (int64_t j = 0; j < s->keys; j++) {
        const size_t kj = case_at(key_row(p, s, a->k, p->k, j, kv), a->k, t);
        const size_t dkj = case_at(key_row(p, s, a->d_k, p->d_k, j, kv), a->d_k, t);
        plain_unload(p, a->k, kj, j, k_norms[j], d_k + j * p->d);
        for (int64_t c = 0; c < p->d; c++) {
            r->d_k[dkj + (size_t)c] += d_k[j * p->d + c];
        }
    }
}

static attn_status allocate(const case_arrays *a, plain_result *r) {
    enum { MOST_WEIGHTS = 1 << 22 };
    const problem_t *p = &a->problem;
    for (int64_t b = 0; b < p->sequences; b++) {
        const sequence_view s = problem_sequence(p, b);
        r->weights_count += (size_t)(p->heads * s.queries * s.keys);
    }
    r->weights_count = r->weights_count > MOST_WEIGHTS ? 0 : r->weights_count;
    const struct {
        float **array;
        size_t count;
    } all[] = {{&r->o, a->o_count}, {&r->d_q, a->d_q_count}, {&r->d_k, a->d_k_count}, {&r->d_v, a->d_v_count},
               {&r->log_sum_exp, a->rows}, {&r->d_bias, a->bias_count}, {&r->d_sinks, (size_t)p->heads},
               {&r->weights, r->weights_count}, {&r->sums, (size_t)(p->heads * a->k_tokens)}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i].array = memory_allocate(all[i].count, sizeof(float));
        if (!*all[i].array) {
            return ATTN_ERROR_MEMORY;
        }
    }
    return ATTN_OK;
}

static void round_all(attn_dtype dtype, float *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        values[i] = rounded(dtype, values[i]);
    }
}

attn_status plain_run(const case_arrays *a, int order, plain_result *r) {
    const problem_t *p = &a->problem;
    int64_t most = 1;
    memset(r, 0, sizeof *r);
    for (int64_t b = 0; b < p->sequences; b++) {
        const int64_t keys = problem_sequence(p, b).keys;
        most = keys > most ? keys : most;
    }
    float *scratch = memory_allocate((size_t)(most * (7 + 2 * p->d)), sizeof(float));
    attn_status status = scratch ? allocate(a, r) : ATTN_ERROR_MEMORY;
    float *weights = r->weights_count ? r->weights : NULL;
    for (int64_t b = 0; b < p->sequences && !status; b++) {
        const sequence_view s = problem_sequence(p, b);
        for (int64_t head = 0; head < p->heads; head++) {
            plain_head(a, &s, head, order, r, scratch, weights);
            weights = weights ? weights + s.queries * s.keys : NULL;
        }
    }
    memory_free(scratch);
    if (!status) {
        round_all(p->dtype, r->d_q, a->d_q_count);
        round_all(p->dtype, r->d_k, a->d_k_count);
        round_all(p->dtype, r->d_v, a->d_v_count);
    }
    return status;
}

void plain_free(plain_result *r) {
    float *all[] = {r->o, r->d_q, r->d_k, r->d_v, r->log_sum_exp, r->d_bias, r->d_sinks, r->weights, r->sums};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        memory_free(all[i]);
    }
    memset(r, 0, sizeof *r);
}
