/* Products of blocks in register tiles, and units of two bf16 for processors that multiply
 * those: a part of tile_kernels.h; see tile.h for what the kernels mean. */
#ifndef ATTN_ATTENTION_TILE_PRODUCTS_H
#define ATTN_ATTENTION_TILE_PRODUCTS_H

#include "attention/tile.h"
#include "attention/vector.h"

/* sum + left right; with pairs, the lanes are two bf16 each and both products are added. */
INLINE vec multiply_add(vec sum, vec left, vec right, const int pairs) {
#if defined(__AVX512BF16__)
    if (pairs) {
        return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)left, (__m512bh)right);
    }
#endif
    (void)pairs;
    return sum + left * right;
}

enum { TILE_MOST_ROWS = 14 }; /* of any tile; tiles of PANEL columns have up to TILE_ROWS */

/* The accumulators of a tile of `rows` x `vectors`, both constants where this is called, so
 * that they are registers. */
typedef vec tile_sums[TILE_MOST_ROWS][PANEL_VECTORS];

/* Cache lines that are soon needed, at least one: see multiply_sums(). */
typedef struct line_range {
    const char *next, *last;
} line_range;

/* sum += a b. Each step asks for a line of `ask` too (NULL: for none): beside a step's products that
 * costs nothing. */
INLINE void multiply_sums(const int rows, const int vectors, int depth, const float *a,
                          int64_t row_stride, int64_t k_stride, const float *b, int64_t ldb,
                          tile_sums sum, const line_range *ask, const int pairs) {
    const char *line = ask ? ask->next : NULL;
    for (int k = 0; k < depth; k++) {
        if (ask) {
            __builtin_prefetch(line);
            line += line < ask->last ? 64 : 0;
        }
        vec right[PANEL_VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            right[v] = vec_load(b + v * VECTOR);
        }
#pragma GCC unroll 14
        for (int r = 0; r < rows; r++) {
            vec left = vec_set(a[r * row_stride]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                sum[r][v] = multiply_add(sum[r][v], left, right[v], pairs);
            }
        }
        a += k_stride;
        b += ldb;
    }
}

/* c (+)= a b for a tile. What is there is added last: sums of many blocks err less than one long sum. */
INLINE void multiply_tile(const int rows, const int vectors, int depth, const float *a,
                          int64_t row_stride, int64_t k_stride, const float *b, int64_t ldb,
                          float *c, int64_t ldc, const int add, const int pairs) {
    tile_sums sum;
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = (vec){0};
        }
    }
    multiply_sums(rows, vectors, depth, a, row_stride, k_stride, b, ldb, sum, NULL, pairs);
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            float *to = c + r * ldc + v * VECTOR;
            vec_store(to, add ? vec_load(to) + sum[r][v] : sum[r][v]);
        }
    }
}

/* The tile's shape becomes a constant. */
INLINE void multiply_rows(int rows, const int vectors, int depth, const float *a,
                          int64_t row_stride, int64_t k_stride, const float *b, int64_t ldb,
                          float *c, int64_t ldc, const int add, const int pairs) {
#define ROWS(n)                                                                              \
    case n:                                                                                  \
        multiply_tile(n, vectors, depth, a, row_stride, k_stride, b, ldb, c, ldc, add, pairs); \
        break;
    switch (rows) {
        ROWS(1)
        ROWS(2)
        ROWS(3)
        ROWS(4)
        ROWS(5)
        ROWS(6)
    }
#undef ROWS
}

INLINE void multiply(int rows, int vectors, int depth, const float *a, int64_t row_stride,
                     int64_t k_stride, const float *b, int64_t ldb, float *c, int64_t ldc,
                     const int add, const int pairs) {
    switch (vectors) {
    case 1:
        multiply_rows(rows, 1, depth, a, row_stride, k_stride, b, ldb, c, ldc, add, pairs);
        break;
    case 2:
        multiply_rows(rows, 2, depth, a, row_stride, k_stride, b, ldb, c, ldc, add, pairs);
        break;
#if PANEL_VECTORS > 2
    case 3:
        multiply_rows(rows, 3, depth, a, row_stride, k_stride, b, ldb, c, ldc, add, pairs);
        break;
    case 4:
        multiply_rows(rows, 4, depth, a, row_stride, k_stride, b, ldb, c, ldc, add, pairs);
        break;
#endif
    }
}

INLINE void columns_product(const row_tile *tiles, int tiles_count, const float *a, int64_t lda,
                            int depth, const float *b, int columns, float *c, int64_t ldc,
                            rows_ahead *ahead, const int pairs) {
    columns = round_up(columns);
    for (int first = 0; first < columns; first += PANEL) {
        const int width = smaller(PANEL, columns - first);
        const float *panel = b + (int64_t)first * depth;
        for (int t = 0; t < tiles_count; t++) {
            const row_tile tile = tiles[t];
            int low = larger(round_down(tile.low), first);
            int high = smaller(round_up(tile.high), first + width);
            if (low < high) {
                multiply(tile.count, (high - low) / VECTOR, depth, a + tile.first * lda, lda, 1,
                         panel + (low - first), width, c + tile.first * ldc + low, ldc, 0, pairs);
                if (ahead) {
                    ask_ahead(ahead);
                }
            }
        }
    }
}

/* With pairs the ranges come in single values and become units. */
INLINE void terms_product(const row_tile *tiles, int tiles_count, const float *a,
                          int64_t row_stride, int64_t k_stride, const float *b, int64_t ldb,
                          int columns, float *c, int64_t ldc, rows_ahead *ahead, const int pairs) {
    for (int first = 0; first < columns; first += PANEL) {
        const int width = smaller(PANEL, columns - first);
        for (int t = 0; t < tiles_count; t++) {
            row_tile tile = tiles[t];
            if (pairs) {
                tile.low = tile.low / 2;
                tile.high = (tile.high + 1) / 2;
            }
            if (tile.low < tile.high) {
                multiply(tile.count, width / VECTOR, tile.high - tile.low,
                         a + tile.first * row_stride + tile.low * k_stride, row_stride, k_stride,
                         b + tile.low * ldb + first, ldb, c + tile.first * ldc + first, ldc, 1,
                         pairs);
                if (ahead) {
                    ask_ahead(ahead);
                }
            }
        }
    }
}

static void product_columns(const row_tile *tiles, int tiles_count, const float *a, int64_t lda,
                            int depth, const float *b, int columns, float *c, int64_t ldc, rows_ahead *ahead) {
    columns_product(tiles, tiles_count, a, lda, depth, b, columns, c, ldc, ahead, 0);
}

static void product_terms(const row_tile *tiles, int tiles_count, const float *a,
                          int64_t row_stride, int64_t k_stride, const float *b, int64_t ldb,
                          int columns, float *c, int64_t ldc, rows_ahead *ahead) {
    terms_product(tiles, tiles_count, a, row_stride, k_stride, b, ldb, columns, c, ldc, ahead, 0);
}

#if defined(__AVX512BF16__)
static void product_columns_bf16(const row_tile *tiles, int tiles_count, const float *a,
                                 int64_t lda, int depth, const float *b, int columns, float *c,
                                 int64_t ldc, rows_ahead *ahead) {
    columns_product(tiles, tiles_count, a, lda, depth, b, columns, c, ldc, ahead, 1);
}

static void product_terms_bf16(const row_tile *tiles, int tiles_count, const float *a,
                               int64_t row_stride, int64_t k_stride, const float *b, int64_t ldb,
                               int columns, float *c, int64_t ldc, rows_ahead *ahead) {
    terms_product(tiles, tiles_count, a, row_stride, k_stride, b, ldb, columns, c, ldc, ahead, 1);
}

static int load_pairs(const void *const *source, int count, int width, uint16_t *rows, int64_t ld) {
    const __m512i exponent = _mm512_set1_epi16(0x7f80);
    __mmask32 bad = 0;
    for (int r = 0; r < count; r++) {
        const uint16_t *from = source[r];
        ask_row(source, r, count, width * (int64_t)sizeof *from);
        for (int c = 0; c < width; c += 32) {
            const int lanes = smaller(32, width - c);
            const __mmask32 some = lanes == 32 ? ~(__mmask32)0 : ((__mmask32)1 << lanes) - 1;
            const __m512i x = _mm512_maskz_loadu_epi16(some, from + c);
            bad |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(x, exponent), exponent);
            if (lanes > 16) {
                _mm512_storeu_si512(rows + r * ld + c, x);
            } else { /* rows are padded to 16 values, no further */
                _mm256_storeu_si256((__m256i *)(rows + r * ld + c), _mm512_castsi512_si256(x));
            }
        }
    }
    return bad == 0;
}

INLINE __m512i interleave(__m256i even, __m256i odd) {
    return _mm512_or_si512(_mm512_cvtepu16_epi32(even),
                           _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
}

static void pair_rows(const uint16_t *rows, int64_t ld, int count, int columns, float *pairs,
                      int64_t ldo) {
    for (int r = 0; r < count; r += 2) {
        for (int c = 0; c < columns; c += 16) {
            const __m256i even = _mm256_loadu_si256((const __m256i *)(rows + r * ld + c));
            const __m256i odd = r + 1 < count
                                    ? _mm256_loadu_si256((const __m256i *)(rows + (r + 1) * ld + c))
                                    : _mm256_setzero_si256();
            _mm512_storeu_si512(pairs + r / 2 * ldo + c, interleave(even, odd));
        }
    }
}

static void round_rows(const row_tile *tiles, int tiles_count, const float *rows, int64_t ld,
                       uint16_t *rounded, int64_t ldo) {
    for (int t = 0; t < tiles_count; t++) {
        const int low = round_down(tiles[t].low), high = round_up(tiles[t].high);
        for (int r = tiles[t].first; r < tiles[t].first + tiles[t].count; r++) {
            for (int c = low; c < high; c += 16) {
                const __m256bh x = _mm512_cvtneps_pbh(_mm512_loadu_ps(rows + r * ld + c));
                _mm256_storeu_si256((__m256i *)(rounded + r * ldo + c), (__m256i)x);
            }
        }
    }
}

static void round_pairs(const float *rows, int64_t ld, int count, int columns, float *pairs,
                        int64_t ldo) {
    for (int r = 0; r < count; r += 2) {
        for (int c = 0; c < columns; c += 16) {
            const __m256bh even = _mm512_cvtneps_pbh(_mm512_loadu_ps(rows + r * ld + c));
            const __m256bh odd = _mm512_cvtneps_pbh(_mm512_loadu_ps(rows + (r + 1) * ld + c));
            _mm512_storeu_si512(pairs + r / 2 * ldo + c, interleave((__m256i)even, (__m256i)odd));
        }
    }
}

#define PAIR_KERNELS                                                                            \
    .load_pairs = load_pairs, .pair_rows = pair_rows, .round_rows = round_rows,                 \
    .round_pairs = round_pairs, .product_columns_bf16 = product_columns_bf16,                   \
    .product_terms_bf16 = product_terms_bf16,
#else
#define PAIR_KERNELS
#endif

#endif
