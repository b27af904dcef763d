/* Kernels of whole heads of short sequences: a part of tile_kernels.h; see short.h. */
#ifndef ATTN_ATTENTION_TILE_SHORT_H
#define ATTN_ATTENTION_TILE_SHORT_H

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
 * rest over `calls` of ask_ahead(). */
INLINE void ask_begin(short_ahead *a, int calls, int products) {
    a->piece = a->lines > products ? ((a->lines - products) / calls + 1) * 64 : 0;
}

/* Up to `count` lines of the present row, for a product; where none are left, any line. */
INLINE line_range ask_lines(short_ahead *a, int count, const void *any) {
    if (a->at_array >= a->arrays) {
        return (line_range){any, any};
    }
    const char *const first = a->at, *const end = a->end - first < (int64_t)count * 64 ? a->end : first + (int64_t)count * 64;
    a->at = end;
    if (end >= a->end) {
        short_next(a);
    }
    return (line_range){first, end - 64};
}

/* Asks for the next piece of a row. */
INLINE void ask_ahead(short_ahead *a) {
    if (a->at_array < a->arrays) {
        const char *at = a->at;
        const char *const end = at + a->piece;
        for (; at < end; at += 64) {
            __builtin_prefetch(at);
        }
        a->at = at;
        if (at >= a->end) {
            short_next(a);
        }
    }
}

INLINE int short_load_of(const attn_dtype dtype, short_rows from, int count, int width, float *rows,
                         int64_t ld, short_ahead *ahead) {
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
                            short_ahead *ahead) {
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
                          int column, short_ahead *ahead, const int pairs) {
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
                       int column, short_ahead *ahead, const int pairs) {
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
                             const short_target *to, short_ahead *ahead, const int pairs) {
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
                          const short_target *to, short_ahead *ahead) {
    short_product_of(m, vectors, depth, a, b, ldb, to, ahead, 0);
}

#if defined(__AVX512BF16__)
static void short_product_pairs(int m, int vectors, int depth, short_operand a, const float *b, int64_t ldb,
                                const short_target *to, short_ahead *ahead) {
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

/* Scores of 16 queries become exp(s - maximum); returns their sums. The maxima are in
 * units of log 2. */
INLINE vec short_exponentials(const short_head *h, const short_lanes *lanes, float *s, int64_t ld,
                              vec *maximum, const int hides) {
    const float unit = h->scale * LOG2_E;
    vec most = vec_set(-INFINITY), total = {0};
    for (int j = 0; j < h->keys; j++) {
        most = vec_max(most, short_exponent(h, lanes, j, s + j * ld, unit, hides));
    }
    *maximum = most;
    const vec base = vec_select(most == vec_set(-INFINITY), vec_set(0.0f), most);
    for (int j = 0; j < h->keys; j++) {
        vec x = vec_load(s + j * ld) * unit - base;
        if (hides) {
            const ivec apart = j - lanes->at;
            x = vec_select((apart >= -h->left) & (apart <= h->right), x, vec_set(-INFINITY));
        }
        x = vec_exp2(x);
        total += x;
        vec_store(s + j * ld, x);
    }
    return total;
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
    float factors[SHORT_QUERIES];
    ask_begin(h->ahead, h->keys + transpose_steps(whole, h->d), forward_steps(h, round_up(whole), h->d, h->keys));
    if (!short_load(h, h->v, h->keys, h->d_v, h->v_rows, h->ldv) && h->hides) {
        return 0;
    }
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
    short_output(h, h->queries, h->d_v, h->keys, operand_columns(h->scores, ld), h->v_rows, h->ldv, factors,
                 1.0f, h->o, 0);
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
