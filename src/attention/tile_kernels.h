/* The tile kernels, written once over vector.h. Each tile file includes this and is
 * compiled for its own instruction set; everything here is static. See tile.h for what
 * the kernels mean. */
#ifndef ATTN_ATTENTION_TILE_KERNELS_H
#define ATTN_ATTENTION_TILE_KERNELS_H

#include <math.h>

#include "attention/tile.h"
#include "attention/vector.h"

#define LOG2_E 1.44269504f

INLINE int round_down(int n) {
    return n & ~(VECTOR - 1);
}

INLINE int round_up(int n) {
    return (n + VECTOR - 1) & ~(VECTOR - 1);
}

INLINE int smaller(int a, int b) {
    return a < b ? a : b;
}

INLINE int larger(int a, int b) {
    return a > b ? a : b;
}

/* --- loading and storing rows ------------------------------------------------------ */

/* A head's rows are short pieces far apart, which the processor's own prefetching does not foresee:
 * the row that comes ROWS_AHEAD later is asked for. */
enum { ROWS_AHEAD = 16 };

INLINE void ask_row(const void *const *source, int row, int count, int64_t bytes) {
    if (row + ROWS_AHEAD < count) {
        const char *at = source[row + ROWS_AHEAD];
        for (int64_t b = 0; b < bytes; b += 64) {
            __builtin_prefetch(at + b);
        }
    }
}

static int load_f32(const void *const *source, int count, int width, float *rows, int64_t ld) {
    const int whole = round_down(width), rest = width - whole;
    ivec bad = {0};
    for (int r = 0; r < count; r++) {
        const float *from = source[r];
        float *to = rows + r * ld;
        ask_row(source, r, count, width * (int64_t)sizeof *from);
        for (int c = 0; c < whole; c += VECTOR) {
            vec x = vec_load(from + c);
            bad |= vec_not_finite(x);
            vec_store(to + c, x);
        }
        if (rest) {
            vec x = vec_load_part(from + whole, rest);
            bad |= vec_not_finite(x);
            vec_store(to + whole, x);
        }
    }
    return !vec_any(bad);
}

static int load_bf16(const void *const *source, int count, int width, float *rows, int64_t ld) {
    const int whole = round_down(width);
    ivec bad = {0};
    for (int r = 0; r < count; r++) {
        const uint16_t *from = source[r];
        float *to = rows + r * ld;
        ask_row(source, r, count, width * (int64_t)sizeof *from);
        for (int c = 0; c < whole; c += VECTOR) {
            const vec x = vec_load_bf16(from + c);
            bad |= vec_not_finite(x);
            vec_store(to + c, x);
        }
        if (whole < width) {
            uint16_t last[VECTOR] = {0};
            memcpy(last, from + whole, (size_t)(width - whole) * sizeof *last);
            const vec x = vec_load_bf16(last);
            bad |= vec_not_finite(x);
            vec_store(to + whole, x);
        }
    }
    return !vec_any(bad);
}

static void store_f32(const float *row, float factor, int width, void *target) {
    float *to = target;
    int c = 0;
    for (; c + VECTOR <= width; c += VECTOR) {
        vec_store(to + c, vec_load(row + c) * factor);
    }
    if (c < width) {
        vec_store_part(to + c, vec_load(row + c) * factor, width - c);
    }
}

static void store_bf16(const float *row, float factor, int width, void *target) {
    uint16_t *to = target;
    int c = 0;
    for (; c + VECTOR <= width; c += VECTOR) {
        vec_store_bf16(to + c, vec_load(row + c) * factor);
    }
    if (c < width) {
        uint16_t last[VECTOR];
        vec_store_bf16(last, vec_load(row + c) * factor);
        memcpy(to + c, last, (size_t)(width - c) * sizeof *to);
    }
}

static float dot(const float *a, const float *b, int width) {
    vec sum = {0};
    for (int c = 0; c < width; c += VECTOR) {
        sum += vec_load(a + c) * vec_load(b + c);
    }
    return vec_sum(sum);
}

/* --- transposing ------------------------------------------------------------------- */

/* Four vectors of a 4 x 4 transpose within lane groups: in, where lane group g of input j holds row
 * 4 g + j, becomes the columns of VECTOR rows. */
INLINE void transpose_groups(const vec *in, float *out, int64_t ld) {
    vec low[2], high[2];
#if VECTOR == 16
#define PAIRS(a, b, x, y)                                                                        \
    __builtin_shufflevector(a, b, x, 16 + x, y, 16 + y, 4 + x, 20 + x, 4 + y, 20 + y, 8 + x,      \
                            24 + x, 8 + y, 24 + y, 12 + x, 28 + x, 12 + y, 28 + y)
#define HALVES(a, b, x)                                                                          \
    __builtin_shufflevector(a, b, x, x + 1, 16 + x, 17 + x, 4 + x, 5 + x, 20 + x, 21 + x, 8 + x,  \
                            9 + x, 24 + x, 25 + x, 12 + x, 13 + x, 28 + x, 29 + x)
#elif VECTOR == 8
#define PAIRS(a, b, x, y)                                                                        \
    __builtin_shufflevector(a, b, x, 8 + x, y, 8 + y, 4 + x, 12 + x, 4 + y, 12 + y)
#define HALVES(a, b, x) \
    __builtin_shufflevector(a, b, x, x + 1, 8 + x, 9 + x, 4 + x, 5 + x, 12 + x, 13 + x)
#else
#define PAIRS(a, b, x, y) __builtin_shufflevector(a, b, x, 4 + x, y, 4 + y)
#define HALVES(a, b, x) __builtin_shufflevector(a, b, x, x + 1, 4 + x, 5 + x)
#endif
    for (int j = 0; j < 2; j++) {
        low[j] = PAIRS(in[2 * j], in[2 * j + 1], 0, 1);
        high[j] = PAIRS(in[2 * j], in[2 * j + 1], 2, 3);
    }
    vec_store(out, HALVES(low[0], low[1], 0));
    vec_store(out + ld, HALVES(low[0], low[1], 2));
    vec_store(out + 2 * ld, HALVES(high[0], high[1], 0));
    vec_store(out + 3 * ld, HALVES(high[0], high[1], 2));
}

/* Four values from each of VECTOR / 4 rows. */
INLINE vec load_group(const float *const *row, int c) {
#if VECTOR == 16
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(row[0] + c));
    v = _mm512_mask_broadcast_f32x4(v, 0x00f0, _mm_loadu_ps(row[1] + c));
    v = _mm512_mask_broadcast_f32x4(v, 0x0f00, _mm_loadu_ps(row[2] + c));
    return (vec)_mm512_mask_broadcast_f32x4(v, 0xf000, _mm_loadu_ps(row[3] + c));
#else
    float group[VECTOR];
    for (int g = 0; g < VECTOR / 4; g++) {
        memcpy(group + 4 * g, row[g] + c, 16);
    }
    return vec_load(group);
#endif
}

/* Four values of each of VECTOR rows become four vectors. */
INLINE void transpose_four(const float *const *row, int c, float *out, int64_t ld) {
    vec in[4];
    for (int j = 0; j < 4; j++) {
        const float *group[VECTOR / 4];
        for (int g = 0; g < VECTOR / 4; g++) {
            group[g] = row[4 * g + j];
        }
        in[j] = load_group(group, c);
    }
    transpose_groups(in, out, ld);
}

/* The same of rows `stride` floats apart: fewer addresses than registers. */
INLINE void transpose_four_strided(const float *first, int64_t stride, float *out, int64_t ld) {
    vec in[4];
    for (int j = 0; j < 4; j++) {
        const float *group[VECTOR / 4];
        for (int g = 0; g < VECTOR / 4; g++) {
            group[g] = first + 4 * g * stride + j * stride;
        }
        in[j] = load_group(group, 0);
    }
    transpose_groups(in, out, ld);
}

static void transpose(const float *const *source, int count, int width, float *panels) {
    static const float zeros[256];
    const int columns = round_up(count);
    for (int first = 0; first < columns; first += PANEL) {
        const int panel = smaller(PANEL, columns - first);
        float *out = panels + (int64_t)first * width;
        for (int column = 0; column < panel; column += VECTOR) {
            const float *row[VECTOR];
            for (int i = 0; i < VECTOR; i++) {
                row[i] = first + column + i < count ? source[first + column + i] : zeros;
                ask_row((const void *const *)source, first + column + i, count, width * (int64_t)sizeof(float));
            }
            int c = 0;
            for (; c + 4 <= width; c += 4) {
                transpose_four(row, c, out + c * panel + column, panel);
            }
            if (c < width) {
                float last[4 * VECTOR];
                transpose_four(row, c, last, VECTOR);
                for (int i = 0; c < width; c++, i++) {
                    vec_store(out + c * panel + column, vec_load(last + i * VECTOR));
                }
            }
        }
    }
}

#include "attention/tile_products.h"

/* --- scores ------------------------------------------------------------------------ */

/* tanh: an odd polynomial below 0.65 (relative error 6e-9), else 1 - 2 / (e^2x + 1), which is
 * left out where no lane needs it. */
INLINE vec vec_tanh(vec x) {
    vec z = x * x;
    vec p = vec_set(-5.528634414e-03f);
    p = p * z + 2.048331685e-02f;
    p = p * z - 5.369296670e-02f;
    p = p * z + 1.333089918e-01f;
    p = p * z - 3.333326280e-01f;
    vec near = x + x * z * p;
    vec size = vec_abs(x);
    ivec is_near = size < vec_set(0.65f);
    if (!vec_any(~is_near)) {
        return near;
    }
    vec far = 1.0f - 2.0f / (vec_exp2(vec_min(vec_set(20.0f), size) * (2 * LOG2_E)) + 1.0f);
    far = (vec)((ivec)far | ((ivec)x & ivec_set(INT32_MIN)));
    return vec_select(is_near, near, far);
}

/* Lanes of the vector at `column` that the row may see. */
INLINE ivec seen(const score_row *row, int column) {
    ivec key = ivec_iota() + column;
    return (key >= row->low) & (key < row->high);
}

/* What changes scores: nothing, a bias alone (of adjacent keys), or anything. */
enum { NOT_MODIFIED, BIASED, MODIFIED };

INLINE int modification(const score_rule *rule, const score_row *row) {
    return !rule->modified ? NOT_MODIFIED
           : row->bias && !row->mask && row->slope == 0.0f && rule->softcap == INFINITY && rule->bias_stride == 1
               ? BIASED
               : MODIFIED;
}

/* Natural scores of the vector at `column` from bare products. *slope: the soft cap's
 * derivative. */
INLINE vec modified(vec s, const score_row *row, const score_rule *rule, int column, vec *slope, const int kind) {
    s *= rule->scale;
    *slope = vec_set(1.0f);
    if (kind == BIASED) {
        const float *bias = row->bias + column;
        const int lanes = smaller(row->high - column, VECTOR);
        const vec added = lanes == VECTOR ? vec_load(bias) : vec_load_part(bias, larger(lanes, 0));
        return vec_select(added == vec_set(-INFINITY), added, s + added);
    }
    if (rule->softcap < INFINITY) {
        vec t = vec_tanh(s * rule->softcap_inverse);
        s = t * rule->softcap;
        *slope = 1.0f - t * t;
    }
    if (row->slope != 0.0f) {
        vec away = row->distance - (__builtin_convertvector(ivec_iota(), vec) + (float)column);
        s -= row->slope * vec_abs(away);
    }
    const int lanes = smaller(row->high - column, VECTOR);
    if (row->bias) {
        const float *bias = row->bias + column * rule->bias_stride;
        vec added;
        if (rule->bias_stride == 1) {
            added = lanes == VECTOR ? vec_load(bias) : vec_load_part(bias, larger(lanes, 0));
        } else if (rule->bias_stride == 0) {
            added = vec_set(*bias);
        } else {
            float b[VECTOR] = {0};
            for (int i = 0; i < lanes; i++) {
                b[i] = bias[i * rule->bias_stride];
            }
            added = vec_load(b);
        }
        /* -inf hides even a score that is no number */
        s = vec_select(added == vec_set(-INFINITY), added, s + added);
    }
    if (row->mask) {
        const uint8_t *mask = row->mask + column * rule->mask_stride;
        vec may;
        if (rule->mask_stride == 1 && lanes == VECTOR) {
            may = vec_load_i8((const int8_t *)mask);
        } else {
            int8_t some[VECTOR] = {0};
            for (int i = 0; i < lanes; i++) {
                some[i] = mask[i * rule->mask_stride] != 0;
            }
            may = vec_load_i8(some);
        }
        s = vec_select(may != 0.0f, s, vec_set(-INFINITY));
    }
    return s;
}

/* Lanes kept by dropout, of the keys key .. key + VECTOR - 1; key a multiple of VECTOR.
 * *bits is the hash, which two vectors of 16 keys share: it is made again unless this is
 * the second of them and not the `first` vector of a row. */
INLINE ivec kept(dropout_row keys, int64_t key, uint32_t threshold, const int first, uvec *bits) {
    if (VECTOR != 16 || first || !(key & 16)) {
        uvec x = (uvec)ivec_iota() + (uint32_t)((key >> 5) * 16 + (key & 15));
        x = x * 0x9E3779B1u + keys.first;
        x = (x ^ (x >> 16)) * 0x21F0AAADu + keys.second;
        x = (x ^ (x >> 15)) * 0x735A2D97u;
        *bits = x ^ (x >> 15);
    }
    const uvec half = (key & 16) ? *bits >> 16 : *bits & 0xffffu;
    return (ivec)half >= (int32_t)threshold;
}

INLINE void softmax_row(const int low, const int high, const score_row *row,
                        const score_rule *rule, const int is_modified, int64_t first_key,
                        float *s, float *maximum, float *sum, float *output, int columns) {
    const float unit = is_modified ? LOG2_E : rule->scale * LOG2_E;
    const int whole_low = round_up(row->low), whole_high = round_down(row->high);
    vec most = vec_set(-INFINITY);
    vec slope;
    if (is_modified) {
        for (int c = low; c < high; c += VECTOR) {
            vec x = modified(vec_load(s + c), row, rule, c, &slope, is_modified);
            if (c < whole_low || c >= whole_high) {
                x = vec_select(seen(row, c), x, vec_set(-INFINITY));
            }
            most = vec_max(most, x);
            vec_store(s + c, x);
        }
    } else if (unit >= 0) {
        for (int c = low; c < high; c += VECTOR) {
            vec x = vec_load(s + c);
            if (c < whole_low || c >= whole_high) {
                x = vec_select(seen(row, c), x, vec_set(-INFINITY));
            }
            most = vec_max(most, x);
        }
    } else {
        for (int c = low; c < high; c += VECTOR) {
            vec x = -vec_load(s + c);
            if (c < whole_low || c >= whole_high) {
                x = vec_select(seen(row, c), x, vec_set(-INFINITY));
            }
            most = vec_max(most, x);
        }
    }
    float largest = vec_largest(most);
    if (!is_modified) {
        largest *= largest == -INFINITY ? 1.0f : fabsf(unit);
    }
    /* The output is rescaled only when the maximum grows by more than a factor of 2^8 in
     * the weights; until then they are just larger than 1 (FlashAttention-4). */
    float before = *maximum;
    const float room = is_modified ? 8.0f / LOG2_E : 8.0f;
    if (largest > before + room || (before == -INFINITY && largest > before)) {
        float factor = before - largest;
        factor = before == -INFINITY ? 0.0f : exp2f(is_modified ? factor * LOG2_E : factor);
        *sum *= factor;
        *maximum = largest;
        if (before != -INFINITY) {
            for (int c = 0; c < columns; c += VECTOR) {
                vec_store(output + c, vec_load(output + c) * factor);
            }
        }
        before = largest;
    }
    const float base = before == -INFINITY ? 0.0f : before;
    vec total = {0};
    uvec bits = {0};
    for (int c = low; c < high; c += VECTOR) {
        vec x = vec_load(s + c);
        x = is_modified ? (x - base) * unit : x * unit - base;
        if (c < whole_low || c >= whole_high) {
            x = vec_select(seen(row, c), x, vec_set(-INFINITY));
        }
        x = vec_exp2(x);
        total += x;
        if (rule->drop_below) {
            x = vec_select(kept(row->keys, first_key + c, rule->drop_below, c == low, &bits), x, vec_set(0.0f));
        }
        vec_store(s + c, x);
    }
    *sum += vec_sum(total);
}

static void softmax(const row_tile *tiles, int tiles_count, const score_row *rows,
                    const score_rule *rule, int64_t first_key, float *scores, int64_t ld,
                    float *maximum, float *sum, float *output, int64_t ldo, int columns) {
    for (int t = 0; t < tiles_count; t++) {
        const int low = round_down(tiles[t].low), high = round_up(tiles[t].high);
        for (int r = tiles[t].first; r < tiles[t].first + tiles[t].count && low < high; r++) {
#define KIND(kind)                                                                                    \
    case kind:                                                                                        \
        softmax_row(low, high, rows + r, rule, kind, first_key, scores + r * ld, maximum + r, sum + r, \
                    output + r * ldo, columns);                                                       \
        break;
            switch (modification(rule, rows + r)) {
                KIND(NOT_MODIFIED)
                KIND(BIASED)
                KIND(MODIFIED)
            }
#undef KIND
        }
    }
}

INLINE void gradient_row(const int low, const int high, const score_row *row,
                         const score_rule *rule, const int is_modified, int64_t first_key,
                         float *s, float *g, float log_sum_exp, float factor, float delta,
                         float *d_bias, int64_t d_bias_stride) {
    const float unit = is_modified ? LOG2_E : rule->scale * LOG2_E;
    const int whole_low = round_up(row->low), whole_high = round_down(row->high);
    uvec bits = {0};
    for (int c = low; c < high; c += VECTOR) {
        vec x = vec_load(s + c), slope;
        if (is_modified) {
            x = (modified(x, row, rule, c, &slope, is_modified) - log_sum_exp) * unit;
        } else {
            x = x * unit - log_sum_exp;
        }
        vec p = vec_exp2(x) * factor;
        vec product = vec_load(g + c);
        vec keeps = p;
        if (rule->drop_below) {
            ivec keep = kept(row->keys, first_key + c, rule->drop_below, c == low, &bits);
            product = vec_select(keep, product * rule->keep_scale, vec_set(0.0f));
            keeps = vec_select(keep, p, vec_set(0.0f));
        }
        vec d = p * (product - delta);
        if (is_modified) {
            d = vec_select(p == 0.0f, p, d); /* hidden values may be anything */
        }
        if (c < whole_low || c >= whole_high) {
            ivec inside = seen(row, c);
            keeps = vec_select(inside, keeps, vec_set(0.0f));
            d = vec_select(inside, d, vec_set(0.0f));
        }
        vec_store(s + c, keeps);
        if (is_modified && d_bias && d_bias_stride == 1 && c + VECTOR <= row->high) {
            vec_store(d_bias + c, vec_load(d_bias + c) + d);
        } else if (is_modified && d_bias) {
            for (int i = larger(0, row->low - c); i < smaller(VECTOR, row->high - c); i++) {
                d_bias[(c + i) * d_bias_stride] += d[i];
            }
        }
        vec_store(g + c, is_modified ? d * slope : d);
    }
}

static void gradient(const row_tile *tiles, int tiles_count, const score_row *rows,
                     const score_rule *rule, int64_t first_key, float *scores, float *products,
                     int64_t ld, const float *log_sum_exp, const float *factor,
                     const float *delta,
                     float *const *d_bias, int64_t d_bias_stride) {
    for (int t = 0; t < tiles_count; t++) {
        const int low = round_down(tiles[t].low), high = round_up(tiles[t].high);
        for (int r = tiles[t].first; r < tiles[t].first + tiles[t].count; r++) {
#define KIND(kind)                                                                                       \
    case kind:                                                                                           \
        gradient_row(low, high, rows + r, rule, kind, first_key, scores + r * ld, products + r * ld,     \
                     log_sum_exp[r], factor[r], delta[r], kind && d_bias ? d_bias[r] : 0, d_bias_stride); \
        break;
            switch (modification(rule, rows + r)) {
                KIND(NOT_MODIFIED)
                KIND(BIASED)
                KIND(MODIFIED)
            }
#undef KIND
        }
    }
}

static void weights(const row_tile *tiles, int tiles_count, const score_row *rows,
                    const score_rule *rule, float *scores, int64_t ld, const float *log_sum_exp) {
    const float unit = rule->modified ? LOG2_E : rule->scale * LOG2_E;
    for (int t = 0; t < tiles_count; t++) {
        const int low = round_down(tiles[t].low), high = round_up(tiles[t].high);
        for (int r = tiles[t].first; r < tiles[t].first + tiles[t].count; r++) {
            for (int c = low; c < high; c += VECTOR) {
                float *s = scores + r * ld + c;
                vec x = vec_load(s), slope;
                if (rule->modified) {
                    x = (modified(x, rows + r, rule, c, &slope, MODIFIED) - log_sum_exp[r]) * unit;
                } else {
                    x = x * unit - log_sum_exp[r];
                }
                vec_store(s, vec_select(seen(rows + r, c), vec_exp2(x), vec_set(0.0f)));
            }
        }
    }
}

#include "attention/tile_cache.h"
#include "attention/tile_linear.h"
#include "attention/tile_short.h"

/* --- additive scores ------------------------------------------------------------------- */

static void additive_scores(const row_tile *tiles, int tiles_count, const float *a, int64_t lda,
                            const float *u, int64_t ldu, const float *v, int width, float *scores,
                            int64_t ld) {
    for (int t = 0; t < tiles_count; t++) {
        for (int r = tiles[t].first; r < tiles[t].first + tiles[t].count; r++) {
            const float *row = a + r * lda;
            for (int j = round_down(tiles[t].low); j < round_up(tiles[t].high); j += VECTOR) {
                vec sum = {0};
                for (int c = 0; c < width; c++) {
                    sum += v[c] * vec_tanh(row[c] + vec_load(u + c * ldu + j));
                }
                vec_store(scores + r * ld + j, sum);
            }
        }
    }
}

static void additive_gradient(const row_tile *tiles, int tiles_count, const float *a, int64_t lda,
                              const float *u, int64_t ldu, const float *v, int width,
                              const float *d_s, int64_t ld, float *d_a, float *d_u, float *d_v) {
    for (int t = 0; t < tiles_count; t++) {
        const int low = round_down(tiles[t].low), high = round_up(tiles[t].high);
        for (int r = tiles[t].first; r < tiles[t].first + tiles[t].count; r++) {
            for (int c = 0; c < width; c++) {
                vec to_a = {0}, to_v = {0};
                for (int j = low; j < high; j += VECTOR) {
                    const vec d = vec_load(d_s + r * ld + j);
                    vec tanh = vec_tanh(a[r * lda + c] + vec_load(u + c * ldu + j));
                    tanh = vec_select(d == 0.0f, d, tanh); /* hidden keys may hold anything */
                    const vec g = d * v[c] * (1.0f - tanh * tanh);
                    vec_store(d_u + c * ldu + j, vec_load(d_u + c * ldu + j) + g);
                    to_a += g;
                    to_v += d * tanh;
                }
                d_a[r * lda + c] += vec_sum(to_a);
                d_v[c] += vec_sum(to_v);
            }
        }
    }
}

#define TILE_KERNELS(label)                                                                     \
    {                                                                                           \
        PAIR_KERNELS.name = label, .vector = VECTOR, .panel = PANEL, .load_f32 = load_f32,                  \
        .load_bf16 = load_bf16, .transpose = transpose, .product_columns = product_columns,     \
        .product_terms = product_terms, .softmax = softmax, .gradient = gradient,               \
        .weights = weights, .short_forward = short_forward,                                       \
        .short_backward = short_backward, .cache_scores = cache_scores, .cache_values = cache_values,         \
        .additive_scores = additive_scores, .additive_gradient = additive_gradient,             \
        .feature_map = feature_map, .feature_slope = feature_slope,                                 \
        .dot = dot, .store_f32 = store_f32, .store_bf16 = store_bf16        \
    }

#endif
