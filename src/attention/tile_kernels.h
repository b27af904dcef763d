/* The tile kernels, written once over vector.h. Each tile file includes this and is
 * compiled for its own instruction set; everything here is static. See tile.h for what
 * the kernels mean. */
#ifndef ATTN_ATTENTION_TILE_KERNELS_H
#define ATTN_ATTENTION_TILE_KERNELS_H

#include <math.h>

#include "attention/tile.h"
#include "attention/vector.h"

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
#elif VECTOR == 8
    return (vec)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(row[0] + c)), _mm_loadu_ps(row[1] + c), 1);
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
#include "attention/tile_scores.h"
#include "attention/tile_cache.h"
#include "attention/tile_linear.h"
#include "attention/tile_short.h"

/* --- products of rows with rows --------------------------------------------------------- */

INLINE void row_products_of(const attn_dtype dtype, const void *const *a, const void *const *b, int count, int width,
                            float *products) {
    for (int r = 0; r < count; r++) {
        vec sum = {0};
        ask_row(a, r, count, width * (int64_t)sizeof_cached(dtype));
        ask_row(b, r, count, width * (int64_t)sizeof_cached(dtype));
        for (int c = 0; c < width; c += VECTOR) {
            sum += load_cached(dtype, a[r], c, width) * load_cached(dtype, b[r], c, width);
        }
        products[r] = vec_sum(sum);
    }
}

static void row_products(attn_dtype dtype, const void *const *a, const void *const *b, int count, int width,
                         float *products) {
    if (dtype == ATTN_F32) {
        row_products_of(ATTN_F32, a, b, count, width, products);
    } else {
        row_products_of(ATTN_BF16, a, b, count, width, products);
    }
}

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
        .dot = dot, .row_products = row_products, .store_f32 = store_f32, .store_bf16 = store_bf16        \
    }

#endif
