/* What the kernels of short.h are made of: rows and columns, asking for what comes next, and products. */
#ifndef ATTN_ATTENTION_TILE_SHORT_PRODUCTS_H
#define ATTN_ATTENTION_TILE_SHORT_PRODUCTS_H

#include "attention/short.h"

/* Rows of a tile of 1, 2, ... vectors, as many as the registers hold. */
#if PANEL_VECTORS == 4
#define SHORT_TILE {14, 12, 8, 6}
#else
#define SHORT_TILE {12, 6}
#endif

/* --- rows and columns ---------------------------------------------------------------- */

/* Steps over the depth of a product's tiles. */
INLINE int product_steps(int m, int vectors, int depth) {
    static const int most[] = SHORT_TILE;
    const int panels = (vectors + PANEL_VECTORS - 1) / PANEL_VECTORS;
    int tiles = 0;
    for (int n = 0, v = 0; n < panels; n++) {
        const int width = (vectors - v + panels - n - 1) / (panels - n);
        tiles += (m + most[width - 1] - 1) / most[width - 1];
        v += width;
    }
    return tiles * depth;
}

/* Leaves a line to each of the `products` steps of products, where asking is for nothing, and spreads the
 * rest over `calls` of ask_ahead(), if there are any. */
INLINE void ask_begin(rows_ahead *a, int calls, int products) {
    a->piece = a->lines > products && calls > 0 ? ((a->lines - products) / calls + 1) * 64 : 0;
}

/* Up to `count` lines of the present row, for a product; where none are left, any line. */
INLINE line_range ask_lines(rows_ahead *a, int count, const void *any) {
    if (a->at_array >= a->arrays) {
        return (line_range){any, any};
    }
    const char *const first = a->at, *const end = a->end - first < (int64_t)count * 64 ? a->end : first + (int64_t)count * 64;
    a->at = end;
    if (end >= a->end) {
        ahead_next(a);
    }
    return (line_range){first, end - 64};
}

INLINE int short_load_of(const attn_dtype dtype, short_rows from, int count, int width, float *rows,
                         int64_t ld, rows_ahead *ahead) {
    const int whole = round_down(width);
    ivec bad = {0};
    for (int r = 0; r < count; r++, from.first += from.stride) {
        for (int c = 0; c < whole; c += VECTOR) {
            const vec x = load_cached(dtype, from.first, c, c + VECTOR);
            bad |= vec_not_finite(x);
            vec_store(rows + r * ld + c, x);
        }
        if (whole < width) {
            const vec x = load_cached(dtype, from.first, whole, width);
            bad |= vec_not_finite(x);
            vec_store(rows + r * ld + whole, x);
        }
        ask_ahead(ahead);
    }
    return !vec_any(bad);
}

static short_rows scratch_rows(float *rows, int64_t ld) {
    return (short_rows){(char *)rows, ld * (int64_t)sizeof(float)};
}

/* Rows as f32, padded with zeros to whole vectors. 1 if all are finite. */
static int short_load(const short_head *h, short_rows from, int count, int width, float *rows, int64_t ld) {
    return h->dtype == ATTN_F32 ? short_load_of(ATTN_F32, from, count, width, rows, ld, h->ahead)
                                : short_load_of(ATTN_BF16, from, count, width, rows, ld, h->ahead);
}

/* The same where nothing looks at the padding: f32 rows stay where they lie. */
static short_rows short_find(const short_head *h, short_rows from, int count, int width, float *rows,
                             int64_t ld) {
    if (h->dtype == ATTN_F32 && width % 4 == 0) {
        return from;
    }
    short_load(h, from, count, width, rows, ld);
    return scratch_rows(rows, ld);
}

/* Rows times factors[row] (NULL: 1) and factor. */
static void short_store(attn_dtype dtype, const float *rows, int64_t ld, int count, int width,
                        const float *factors, float factor, short_rows to) {
    for (int r = 0; r < count; r++, to.first += to.stride) {
        const float by = factors ? factors[r] * factor : factor;
        if (dtype == ATTN_F32) {
            store_f32(rows + r * ld, by, width, to.first);
        } else {
            store_bf16(rows + r * ld, by, width, to.first);
        }
    }
}

/* columns [width][ldc] of rows of `width` floats; lanes behind the count are 0. Reads rows up to
 * the next multiple of 4 values. */
static void short_transpose(short_rows rows, int count, int width, float *columns, int64_t ldc,
                            rows_ahead *ahead) {
    static const float zeros[256 + 16];
    const int64_t stride = rows.stride / (int64_t)sizeof(float);
    int column = 0;
    for (; column + VECTOR <= count; column += VECTOR) {
        const float *first = (const float *)(const void *)(rows.first + column * rows.stride);
        for (int c = 0; c < width; c += 4) { /* up to 3 columns of padding are written too */
            transpose_four_strided(first + c, stride, columns + c * ldc + column, ldc);
            ask_ahead(ahead);
        }
    }
    if (column < count) {
        const float *row[VECTOR];
        for (int i = 0; i < VECTOR; i++) {
            row[i] = column + i < count ? (const float *)(const void *)(rows.first + (column + i) * rows.stride)
                                        : zeros;
        }
        for (int c = 0; c < width; c += 4) {
            transpose_four(row, c, columns + c * ldc + column, ldc);
            ask_ahead(ahead);
        }
    }
}

/* Steps of a head's products; depths in units where they are multiplied. */
INLINE int forward_steps(const short_head *h, int columns, int d, int keys) {
    return product_steps(h->keys, columns / VECTOR, d) + product_steps(h->queries, round_up(h->d_v) / VECTOR, keys);
}

INLINE int backward_steps(const short_head *h, int columns, int d, int d_v, int queries, int keys) {
    return product_steps(h->keys, columns / VECTOR, d + d_v) +
           product_steps(h->keys, (round_up(h->d) + round_up(h->d_v)) / VECTOR, queries) +
           product_steps(h->queries, round_up(h->d) / VECTOR, keys);
}

/* Calls of ask_ahead() from a transpose. */
INLINE int transpose_steps(int count, int width) {
    return round_up(count) / VECTOR * ((width + 3) / 4);
}

/* --- products -------------------------------------------------------------------------- */

/* Where a product's rows go: to scratch rows of ld floats, or, times factors[row] (NULL: 1) and
 * factor, to rows of `dtype`. */
typedef struct short_target {
    float *rows;
    int64_t ld;
    short_rows out;
    attn_dtype dtype;
    const float *factors;
    float factor;
} short_target;

INLINE void store_sums(const int rows, const int vectors, const short_target *to, int first, int column,
                       tile_sums sum) {
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++) {
        const int64_t row = first + r;
        if (to->rows) {
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                vec_store(to->rows + row * to->ld + column + v * VECTOR, sum[r][v]);
            }
            continue;
        }
        const float factor = to->factors ? to->factors[row] * to->factor : to->factor;
        void *out = to->out.first + row * to->out.stride;
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            if (to->dtype == ATTN_F32) {
                vec_store((float *)out + column + v * VECTOR, sum[r][v] * factor);
            } else {
                vec_store_bf16((uint16_t *)out + column + v * VECTOR, sum[r][v] * factor);
            }
        }
    }
}

INLINE void short_tile_of(const int rows, const int vectors, int depth, const float *a, int64_t row_stride,
                          int64_t k_stride, const float *b, int64_t ldb, const short_target *to, int first,
                          int column, rows_ahead *ahead, const int pairs) {
    const line_range ask = ask_lines(ahead, depth, a);
    tile_sums sum;
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = (vec){0};
        }
    }
    multiply_sums(rows, vectors, depth, a, row_stride, k_stride, b, ldb, sum, &ask, pairs);
    store_sums(rows, vectors, to, first, column, sum);
}

/* As multiply_rows, but for more rows of fewer vectors. */
INLINE void short_tile(int rows, int vectors, int depth, const float *a, int64_t row_stride,
                       int64_t k_stride, const float *b, int64_t ldb, const short_target *to, int first,
                       int column, rows_ahead *ahead, const int pairs) {
#define TILE(v, r)                                                                              \
    case 16 * (v) + (r):                                                                        \
        short_tile_of(r, v, depth, a, row_stride, k_stride, b, ldb, to, first, column, ahead, pairs); \
        break;
#define SIX(v) TILE(v, 1) TILE(v, 2) TILE(v, 3) TILE(v, 4) TILE(v, 5) TILE(v, 6)
#define TWELVE(v) SIX(v) TILE(v, 7) TILE(v, 8) TILE(v, 9) TILE(v, 10) TILE(v, 11) TILE(v, 12)
    switch (16 * vectors + rows) {
        TWELVE(1)
#if PANEL_VECTORS == 4
        TILE(1, 13)
        TILE(1, 14)
        TWELVE(2)
        SIX(3)
        TILE(3, 7)
        TILE(3, 8)
        SIX(4)
#else
        SIX(2)
#endif
    }
#undef TILE
#undef SIX
#undef TWELVE
}

/* An operand: element (i, k) is at i * row_stride + k * k_stride. */
typedef struct short_operand {
    const float *first;
    int64_t row_stride, k_stride;
} short_operand;

INLINE short_operand operand_rows(short_rows rows) {
    return (short_operand){(const float *)(const void *)rows.first, rows.stride / (int64_t)sizeof(float), 1};
}

INLINE short_operand operand_columns(const float *rows, int64_t ld) {
    return (short_operand){rows, 1, ld};
}

/* c [m][..] = a b in `vectors` vectors of columns. With pairs, depth, strides and b are in units
 * of two bf16. */
INLINE void short_product_of(int m, int vectors, int depth, short_operand a, const float *b, int64_t ldb,
                             const short_target *to, rows_ahead *ahead, const int pairs) {
    static const int most[] = SHORT_TILE;
    const int panels = (vectors + PANEL_VECTORS - 1) / PANEL_VECTORS;
    for (int n = 0, v = 0; n < panels; n++) {
        const int width = (vectors - v + panels - n - 1) / (panels - n);
        const int tiles = (m + most[width - 1] - 1) / most[width - 1];
        for (int t = 0, first = 0; t < tiles; t++) {
            const int rows = (m - first + tiles - t - 1) / (tiles - t);
            short_tile(rows, width, depth, a.first + first * a.row_stride, a.row_stride, a.k_stride,
                       b + v * VECTOR, ldb, to, first, v * VECTOR, ahead, pairs);
            first += rows;
        }
        v += width;
    }
}

static void short_product(int m, int vectors, int depth, short_operand a, const float *b, int64_t ldb,
                          const short_target *to, rows_ahead *ahead) {
    short_product_of(m, vectors, depth, a, b, ldb, to, ahead, 0);
}

#if defined(__AVX512BF16__)
static void short_product_pairs(int m, int vectors, int depth, short_operand a, const float *b, int64_t ldb,
                                const short_target *to, rows_ahead *ahead) {
    short_product_of(m, vectors, depth, a, b, ldb, to, ahead, 1);
}
#endif

/* A product into scratch rows. */
static void short_scores(const short_head *h, int m, int vectors, int depth, short_operand a, const float *b,
                         int64_t ldb, float *rows, int64_t ld, const int pairs) {
    const short_target to = {.rows = rows, .ld = ld};
#if defined(__AVX512BF16__)
    if (pairs) {
        short_product_pairs(m, vectors, depth, a, b, ldb, &to, h->ahead);
        return;
    }
#endif
    (void)pairs;
    short_product(m, vectors, depth, a, b, ldb, &to, h->ahead);
}

/* And one of `width` columns, times factors (NULL: 1) and factor, to an array of the problem. Rows
 * that end within a vector go through scratch. */
static void short_output(const short_head *h, int m, int width, int depth, short_operand a, const float *b,
                         int64_t ldb, const float *factors, float factor, short_rows out, const int pairs) {
    const int64_t ld = round_up(width);
    const int ragged = width % VECTOR != 0;
    const short_target to = {.rows = ragged ? h->out_rows : NULL, .ld = ld, .out = out, .dtype = h->dtype,
                             .factors = factors, .factor = factor};
#if defined(__AVX512BF16__)
    if (pairs) {
        short_product_pairs(m, (int)ld / VECTOR, depth, a, b, ldb, &to, h->ahead);
    } else
#endif
    {
        short_product(m, (int)ld / VECTOR, depth, a, b, ldb, &to, h->ahead);
    }
    (void)pairs;
    if (ragged) {
        short_store(h->dtype, h->out_rows, ld, m, width, factors, factor, out);
    }
}

/* A few queries in a vector of their own cost as much as 16: their products are made one by one. */
enum { SHORT_SINGLES = 4 };

/* The queries that are multiplied by vectors; those behind them are single. */
INLINE int short_whole(int queries) {
    const int rest = queries % VECTOR;
    return VECTOR == 16 && rest <= SHORT_SINGLES ? queries - rest : queries;
}

/* rows [keys][ld], columns `first` to the next whole vector: products of keys' rows and of queries' rows
 * `first` to `queries`, then zeros. */
static void short_singles(short_rows keys, int count, short_rows queries, int first, int last, int width,
                          float *rows, int64_t ld) {
    const int whole = round_down(width);
    if (first == last) {
        return;
    }
    for (int j = 0; j < count; j++) {
        const float *key = (const float *)(const void *)(keys.first + j * keys.stride);
        vec_store(rows + j * ld + first, vec_set(0.0f));
        for (int i = first; i < last; i++) {
            const float *query = (const float *)(const void *)(queries.first + i * queries.stride);
            vec sum = {0};
            for (int c = 0; c < whole; c += VECTOR) {
                sum += vec_load(key + c) * vec_load(query + c);
            }
            if (whole < width) {
                sum += vec_load_part(key + whole, width - whole) * vec_load_part(query + whole, width - whole);
            }
            rows[j * ld + i] = vec_sum(sum);
        }
    }
}

#endif
