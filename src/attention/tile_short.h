/* Kernels of whole heads of short sequences: a part of tile_kernels.h; see short.h. */
#ifndef ATTN_ATTENTION_TILE_SHORT_H
#define ATTN_ATTENTION_TILE_SHORT_H

#include "attention/tile_short_products.h"

/* --- scores --------------------------------------------------------------------------------- */

/* What 16 queries bring: their dropout keys and positions. */
typedef struct short_lanes {
    uvec first, second;
    ivec at;
} short_lanes;

INLINE short_lanes lanes_of(const short_head *h, int column) {
    short_lanes lanes = {.at = ivec_iota() + column + h->shift};
    if (h->drop_below) {
        uint32_t first[VECTOR] = {0}, second[VECTOR] = {0};
        for (int i = 0; i < smaller(VECTOR, h->queries - column); i++) {
            const dropout_row keys = dropout_row_keys(h->dropout_key, column + i);
            first[i] = keys.first;
            second[i] = keys.second;
        }
        memcpy(&lanes.first, first, sizeof first);
        memcpy(&lanes.second, second, sizeof second);
    }
    return lanes;
}

/* The hash of dropout.h for keys j and j + 16. */
INLINE uvec short_bits(const short_lanes *lanes, int j) {
    uvec x = lanes->first + (uint32_t)((j >> 5) * 16 + (j & 15)) * 0x9E3779B1u;
    x = (x ^ (x >> 16)) * 0x21F0AAADu + lanes->second;
    x = (x ^ (x >> 15)) * 0x735A2D97u;
    return x ^ (x >> 15);
}

INLINE vec short_exponent(const short_head *h, const short_lanes *lanes, int j, const float *s, float unit,
                          const int hides) {
    vec x = vec_load(s) * unit;
    if (hides) {
        const ivec apart = j - lanes->at;
        x = vec_select((apart >= -h->left) & (apart <= h->right), x, vec_set(-INFINITY));
    }
    return x;
}

/* The same for `count` keys from j on, relative to the maximum, adding to `total`. */
INLINE vec short_exponential(const int count, const short_head *h, const short_lanes *lanes, int j, float *s,
                             int64_t ld, vec unit, vec base, const int hides, vec total) {
    vec x[WEIGHED];
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
        x[i] = vec_load(s + i * ld) * unit - base;
        if (hides) {
            const ivec apart = j + i - lanes->at;
            x[i] = vec_select((apart >= -h->left) & (apart <= h->right), x[i], vec_set(-INFINITY));
        }
    }
    vec_exp2_each(count, x);
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
        total += x[i];
        vec_store(s + i * ld, x[i]);
    }
    return total;
}

/* Sums of exp(s - maximum) of 16 queries, which take the scores' places. */
INLINE vec short_sums(const short_head *h, const short_lanes *lanes, float *s, int64_t ld, vec unit, vec most,
                      const int hides) {
    const vec base = vec_select(most == vec_set(-INFINITY), vec_set(0.0f), most);
    vec total = {0};
    int j = 0;
    for (; j + WEIGHED <= h->keys; j += WEIGHED) {
        total = short_exponential(WEIGHED, h, lanes, j, s + j * ld, ld, unit, base, hides, total);
    }
    for (; j < h->keys; j++) {
        total = short_exponential(1, h, lanes, j, s + j * ld, ld, unit, base, hides, total);
    }
    return total;
}

/* Queries whose maximum is large: see round_products(). */
INLINE ivec short_large(vec most) {
    const vec size = vec_abs(most);
    return (size > vec_set(LARGE_EXPONENT)) & (size < vec_set(INFINITY));
}

/* The same where some are, whose products are rounded first. */
static __attribute__((noinline)) vec short_sums_rounded(const short_head *h, const short_lanes *lanes,
                                                        float *s, int64_t ld, float unit, vec most) {
    const ivec large = short_large(most);
    for (int j = 0; j < h->keys; j++) {
        const vec x = vec_load(s + j * ld);
        vec_store(s + j * ld, vec_select(large, x * unit, x));
    }
    return short_sums(h, lanes, s, ld, vec_select(large, vec_set(1.0f), vec_set(unit)), most, h->hides);
}

/* Scores of 16 queries become exp(s - maximum); returns their sums. The maxima are in
 * units of log 2. */
INLINE vec short_exponentials(const short_head *h, const short_lanes *lanes, float *s, int64_t ld,
                              vec *maximum, const int hides) {
    const float unit = h->scale * LOG2_E;
    vec most = vec_set(-INFINITY);
    for (int j = 0; j < h->keys; j++) {
        most = vec_max(most, short_exponent(h, lanes, j, s + j * ld, unit, hides));
    }
    *maximum = most;
    if (__builtin_expect(vec_any(short_large(most)), 0)) {
        return short_sums_rounded(h, lanes, s, ld, unit, most);
    }
    return short_sums(h, lanes, s, ld, vec_set(unit), most, hides);
}

/* Dropped weights change their sign: exp is not negative. */
INLINE void short_drop(const short_head *h, const short_lanes *lanes, float *s, int64_t ld) {
    const int32_t threshold = (int32_t)h->drop_below;
    for (int block = 0; block < h->keys; block += 32) {
        for (int j = block; j < smaller(block + 16, h->keys); j++) {
            const uvec bits = short_bits(lanes, j);
            const ivec low = (ivec)(bits & 0xffffu) < threshold;
            ivec *at = (ivec *)(void *)(s + j * ld);
            ivec x;
            memcpy(&x, at, sizeof x);
            x ^= low & INT32_MIN;
            memcpy(at, &x, sizeof x);
            if (j + 16 < h->keys) {
                const ivec high = (ivec)(bits >> 16) < threshold;
                at = (ivec *)(void *)(s + (j + 16) * ld);
                memcpy(&x, at, sizeof x);
                x ^= high & INT32_MIN;
                memcpy(at, &x, sizeof x);
            }
        }
    }
}

/* ln(x) for x > 0 and normal: the mantissa's by a polynomial (Cephes' logf), about one
 * unit in the last place. */
INLINE vec vec_log(vec x) {
    ivec bits = (ivec)x - 0x3f3504f3; /* sqrt(1/2): the mantissa becomes sqrt(1/2) .. sqrt(2) */
    vec e = __builtin_convertvector(bits >> 23, vec);
    vec y = (vec)((bits & 0x007fffff) + 0x3f3504f3) - 1.0f, z = y * y;
    vec p = vec_set(7.0376836292e-2f);
    p = p * y - 1.1514610310e-1f;
    p = p * y + 1.1676998740e-1f;
    p = p * y - 1.2420140846e-1f;
    p = p * y + 1.4249322787e-1f;
    p = p * y - 1.6668057665e-1f;
    p = p * y + 2.0000714765e-1f;
    p = p * y - 2.4999993993e-1f;
    p = p * y + 3.3333331174e-1f;
    p = p * y * z - e * 2.12194440e-4f - 0.5f * z;
    return vec_select(x == x, y + p + e * 0.693359375f, x);
}

/* --- a head, forward -------------------------------------------------------------------------- */

/* Scores of 16 queries to weights, in place; what their output is to be multiplied by goes to
 * factors. With pairs, weights of keys 2n and 2n + 1 become units in row n. */
INLINE void short_weights(const short_head *h, int column, int64_t ld, float *factors, const int hides,
                          const int pairs) {
    const short_lanes lanes = lanes_of(h, column);
    float *s = h->scores + column;
    vec maximum;
    const vec total = short_exponentials(h, &lanes, s, ld, &maximum, hides);
    const ivec nothing = total == vec_set(0.0f);
    if (h->drop_below) {
        short_drop(h, &lanes, s, ld);
        for (int j = 0; j < h->keys; j++) {
            const vec x = vec_load(s + j * ld);
            vec_store(s + j * ld, vec_select((ivec)x < 0, vec_set(0.0f), x));
        }
    }
#if defined(__AVX512BF16__)
    for (int j = 0; j < h->keys && pairs; j += 2) {
        const vec second = j + 1 < h->keys ? vec_load(s + (j + 1) * ld) : vec_set(0.0f);
        vec_store(s + j / 2 * ld, vec_units(vec_load(s + j * ld), second));
    }
#endif
    (void)pairs;
    vec_store(factors + column, vec_select(nothing, vec_set(0.0f), h->keep_scale / total));
    if (h->log_sum_exp) {
        const vec l = vec_select(nothing, vec_set(-INFINITY), maximum * 0.693147181f + vec_log(total));
        const int lanes_left = h->queries - column;
        if (lanes_left >= VECTOR) {
            vec_store(h->log_sum_exp + column, l);
        } else {
            vec_store_part(h->log_sum_exp + column, l, lanes_left);
        }
    }
}

static int short_forward_plain(const short_head *h) {
    const int64_t ld = round_up(h->queries);
    const int whole = short_whole(h->queries);
    const int in_place = !h->hides && h->dtype == ATTN_F32 && h->d_v % VECTOR == 0;
    float factors[SHORT_QUERIES];
    ask_begin(h->ahead, (in_place ? 0 : h->keys) + transpose_steps(whole, h->d),
              forward_steps(h, round_up(whole), h->d, h->keys));
    if (!in_place && !short_load(h, h->v, h->keys, h->d_v, h->v_rows, h->ldv) && h->hides) {
        return 0;
    }
    const short_rows v = in_place ? h->v : scratch_rows(h->v_rows, h->ldv);
    const short_rows q = short_find(h, h->q, h->queries, h->d, h->q_rows, h->ldq);
    const short_rows k = short_find(h, h->k, h->keys, h->d, h->k_rows, h->ldq);
    short_transpose(q, whole, h->d, h->q_columns, ld, h->ahead);
    short_scores(h, h->keys, round_up(whole) / VECTOR, h->d, operand_rows(k), h->q_columns, ld, h->scores, ld, 0);
    short_singles(k, h->keys, q, whole, h->queries, h->d, h->scores, ld);
    for (int column = 0; column < ld; column += VECTOR) {
        if (h->hides) {
            short_weights(h, column, ld, factors, 1, 0);
        } else {
            short_weights(h, column, ld, factors, 0, 0);
        }
    }
    short_output(h, h->queries, h->d_v, h->keys, operand_columns(h->scores, ld), (const float *)(const void *)v.first,
                 v.stride / (int64_t)sizeof(float), factors, 1.0f, h->o, 0);
    return 1;
}

/* --- and backward ------------------------------------------------------------------------------- */

/* Scores and products <d_o, v> of 16 queries become exp(s - maximum), dropped ones negative, and
 * kept products. The weights are made again from the scores, and delta from weights and
 * products: neither the output nor the log-sum-exp is read. */
INLINE void short_delta(const short_head *h, int column, int64_t ld, const int hides, vec *inverse,
                        vec *delta) {
    const short_lanes lanes = lanes_of(h, column);
    float *s = h->scores + column, *g = h->products + column;
    vec maximum, even = {0}, odd = {0};
    const vec total = short_exponentials(h, &lanes, s, ld, &maximum, hides);
    *inverse = vec_select(total == vec_set(0.0f), vec_set(0.0f), 1.0f / total);
    if (h->drop_below) {
        short_drop(h, &lanes, s, ld);
        for (int j = 0; j < h->keys; j++) {
            const vec dropped = vec_load(s + j * ld), product = vec_load(g + j * ld) * h->keep_scale;
            vec_store(g + j * ld, vec_select((ivec)dropped < 0, vec_set(0.0f), product));
        }
    }
    int j = 0;
    for (; j + 2 <= h->keys; j += 2) { /* two sums, so that neither waits for itself */
        even += vec_abs(vec_load(s + j * ld)) * vec_load(g + j * ld);
        odd += vec_abs(vec_load(s + (j + 1) * ld)) * vec_load(g + (j + 1) * ld);
    }
    if (j < h->keys) {
        even += vec_abs(vec_load(s + j * ld)) * vec_load(g + j * ld);
    }
    *delta = (even + odd) * *inverse;
}

/* Kept weight *p and the score's gradient of key j, from what short_delta() leaves. */
INLINE vec short_gradient(const short_head *h, const float *s, const float *g, vec inverse, vec delta, vec *p) {
    const vec weight = vec_load(s) * inverse;
    *p = h->drop_below ? vec_select((ivec)weight < 0, vec_set(0.0f), weight) : weight;
    return vec_abs(weight) * (vec_load(g) - delta);
}

INLINE void short_gradients(const short_head *h, int column, int64_t ld, const int hides) {
    float *s = h->scores + column, *g = h->products + column;
    vec inverse, delta, p;
    short_delta(h, column, ld, hides, &inverse, &delta);
    for (int j = 0; j < h->keys; j++) {
        vec_store(g + j * ld, short_gradient(h, s + j * ld, g + j * ld, inverse, delta, &p));
        vec_store(s + j * ld, p);
    }
}

static int short_backward_plain(const short_head *h) {
    const int64_t ld = round_up(h->queries);
    const int whole = short_whole(h->queries), vectors = round_up(whole) / VECTOR;
    ask_begin(h->ahead, 2 * h->queries + h->keys + transpose_steps(whole, h->d + h->d_v),
              backward_steps(h, vectors * VECTOR, h->d, h->d_v, h->queries, h->keys));
    int finite = short_load(h, h->q, h->queries, h->d, h->q_rows, h->ldq);
    finite &= short_load(h, h->k, h->keys, h->d, h->k_rows, h->ldq);
    finite &= short_load(h, h->d_o, h->queries, h->d_v, h->d_o_rows, h->ldv);
    short_rows v = scratch_rows(h->v_rows, h->ldv);
    if (h->hides) {
        finite &= short_load(h, h->v, h->keys, h->d_v, h->v_rows, h->ldv);
    } else {
        v = short_find(h, h->v, h->keys, h->d_v, h->v_rows, h->ldv);
    }
    if (!finite && h->hides) {
        return 0;
    }
    const short_rows q = scratch_rows(h->q_rows, h->ldq), k = scratch_rows(h->k_rows, h->ldq);
    const short_rows d_o = scratch_rows(h->d_o_rows, h->ldv);
    short_transpose(q, whole, h->d, h->q_columns, ld, h->ahead);
    short_transpose(d_o, whole, h->d_v, h->d_o_columns, ld, h->ahead);
    short_scores(h, h->keys, vectors, h->d, operand_rows(k), h->q_columns, ld, h->scores, ld, 0);
    short_singles(k, h->keys, q, whole, h->queries, h->d, h->scores, ld);
    short_scores(h, h->keys, vectors, h->d_v, operand_rows(v), h->d_o_columns, ld, h->products, ld, 0);
    short_singles(v, h->keys, d_o, whole, h->queries, h->d_v, h->products, ld);
    for (int column = 0; column < ld; column += VECTOR) {
        if (h->hides) {
            short_gradients(h, column, ld, 1);
        } else {
            short_gradients(h, column, ld, 0);
        }
    }
    const short_operand d_scores = operand_rows(scratch_rows(h->products, ld));
    if (h->d_v_.first) {
        short_output(h, h->keys, h->d_v, h->queries, operand_rows(scratch_rows(h->scores, ld)), h->d_o_rows,
                     h->ldv, NULL, h->keep_scale, h->d_v_, 0);
    }
    if (h->d_k.first) {
        short_output(h, h->keys, h->d, h->queries, d_scores, h->q_rows, h->ldq, NULL, h->scale, h->d_k, 0);
    }
    if (h->d_q.first) {
        short_output(h, h->queries, h->d, h->keys, operand_columns(h->products, ld), h->k_rows, h->ldq, NULL,
                     h->scale, h->d_q, 0);
    }
    return 1;
}

#if defined(__AVX512BF16__)
#include "attention/tile_short_pairs.h"
#endif

static int short_forward(const short_head *h) {
#if defined(__AVX512BF16__)
    if (h->dtype == ATTN_BF16) {
        return short_forward_pairs(h);
    }
#endif
    return short_forward_plain(h);
}

static int short_backward(const short_head *h) {
#if defined(__AVX512BF16__)
    if (h->dtype == ATTN_BF16) {
        return short_backward_pairs(h);
    }
#endif
    return short_backward_plain(h);
}

#endif
