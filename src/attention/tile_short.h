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
    vec test = {0};
    for (int r = 0; r < count; r++, from.first += from.stride) {
        for (int c = 0; c < whole; c += VECTOR) {
            const vec x = load_cached(dtype, from.first, c, c + VECTOR);
            test += x * 0.0f;
            vec_store(rows + r * ld + c, x);
        }
        if (whole < width) {
            const vec x = load_cached(dtype, from.first, whole, width);
            test += x * 0.0f;
            vec_store(rows + r * ld + whole, x);
        }
        ask_ahead(ahead);
    }
    return vec_sum(test) == 0.0f;
}

/* Rows as f32, padded with zeros to whole vectors. 1 if all are finite. */
static int short_load(attn_dtype dtype, short_rows from, int count, int width, float *rows, int64_t ld,
                      short_ahead *ahead) {
    return dtype == ATTN_F32 ? short_load_of(ATTN_F32, from, count, width, rows, ld, ahead)
                             : short_load_of(ATTN_BF16, from, count, width, rows, ld, ahead);
}

/* Rows times factors[row] (NULL: 1) times factor. */
static void short_store(attn_dtype dtype, const float *rows, int64_t ld, int count, int width,
                        const float *factors, float factor, short_rows to) {
    for (int r = 0; r < count; r++, to.first += to.stride) {
        const float by = factors ? factors[r] : factor;
        if (dtype == ATTN_F32) {
            store_f32(rows + r * ld, by, width, to.first);
        } else {
            store_bf16(rows + r * ld, by, width, to.first);
        }
    }
}

/* columns [width][ldc] of rows [count][ld]; lanes behind the count are 0. */
static void short_transpose(const float *rows, int64_t ld, int count, int width, float *columns,
                            int64_t ldc) {
    static const float zeros[256 + 16];
    for (int column = 0; column < count; column += VECTOR) {
        const float *row[VECTOR];
        for (int i = 0; i < VECTOR; i++) {
            row[i] = column + i < count ? rows + (column + i) * ld : zeros;
        }
        for (int c = 0; c < width; c += 4) { /* up to 3 columns of padding are written too */
            transpose_four(row, c, columns + c * ldc + column, ldc);
        }
    }
}

/* --- products -------------------------------------------------------------------------- */

/* c [rows][vectors] = a b, as multiply_rows but for more rows of fewer vectors. */
INLINE void short_tile(int rows, int vectors, int depth, const float *a, int64_t row_stride,
                       int64_t k_stride, const float *b, int64_t ldb, float *c, int64_t ldc) {
#define TILE(v, r)                                                                    \
    case 16 * (v) + (r):                                                              \
        multiply_tile(r, v, depth, a, row_stride, k_stride, b, ldb, c, ldc, 0, 0);    \
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

/* c [m][ldc] = a b in `vectors` vectors of columns; element (i, k) of a is at
 * i * row_stride + k * k_stride. */
static void short_product(int m, int vectors, int depth, const float *a, int64_t row_stride,
                          int64_t k_stride, const float *b, int64_t ldb, float *c, int64_t ldc,
                          short_ahead *ahead) {
    static const int most[] = SHORT_TILE;
    const int panels = (vectors + PANEL_VECTORS - 1) / PANEL_VECTORS;
    for (int n = 0, v = 0; n < panels; n++) {
        const int width = (vectors - v + panels - n - 1) / (panels - n);
        const int tiles = (m + most[width - 1] - 1) / most[width - 1];
        for (int t = 0, first = 0; t < tiles; t++) {
            const int rows = (m - first + tiles - t - 1) / (tiles - t);
            short_tile(rows, width, depth, a + first * row_stride, row_stride, k_stride,
                       b + v * VECTOR, ldb, c + first * ldc + v * VECTOR, ldc);
            first += rows;
            ask_ahead(ahead);
        }
        v += width;
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

/* Scores of 16 queries to weights, in place; what their output is to be multiplied by goes
 * to factors. */
INLINE void short_weights(const short_head *h, int column, int64_t ld, float *factors, const int hides) {
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

static int short_forward(const short_head *h) {
    const int64_t ld = round_up(h->queries);
    const int vectors = (int)ld / VECTOR;
    float factors[SHORT_QUERIES];
    short_load(h->dtype, h->q, h->queries, h->d, h->q_rows, h->ldq, h->ahead);
    short_load(h->dtype, h->k, h->keys, h->d, h->k_rows, h->ldq, h->ahead);
    if (!short_load(h->dtype, h->v, h->keys, h->d_v, h->v_rows, h->ldv, h->ahead) && h->hides) {
        return 0;
    }
    short_transpose(h->q_rows, h->ldq, h->queries, h->d, h->q_columns, ld);
    short_product(h->keys, vectors, h->d, h->k_rows, h->ldq, 1, h->q_columns, ld, h->scores, ld, h->ahead);
    for (int column = 0; column < ld; column += VECTOR) {
        if (h->hides) {
            short_weights(h, column, ld, factors, 1);
        } else {
            short_weights(h, column, ld, factors, 0);
        }
    }
    short_product(h->queries, round_up(h->d_v) / VECTOR, h->keys, h->scores, 1, ld, h->v_rows, h->ldv,
                  h->out_rows, h->ldv, h->ahead);
    short_store(h->dtype, h->out_rows, h->ldv, h->queries, h->d_v, factors, 1.0f, h->o);
    return 1;
}

/* --- and backward ------------------------------------------------------------------------------- */

/* Scores and products <d_o, v> of 16 queries become kept weights and the scores'
 * gradients. The weights are made again from the scores, and delta from weights and
 * products: neither the output nor the log-sum-exp is read. */
INLINE void short_gradients(const short_head *h, int column, int64_t ld, const int hides) {
    const short_lanes lanes = lanes_of(h, column);
    float *s = h->scores + column, *g = h->products + column;
    vec maximum, delta = {0};
    const vec total = short_exponentials(h, &lanes, s, ld, &maximum, hides);
    const vec inverse = vec_select(total == vec_set(0.0f), vec_set(0.0f), 1.0f / total);
    const vec zero = {0};
    if (h->drop_below) {
        short_drop(h, &lanes, s, ld);
    }
    for (int j = 0; j < h->keys; j++) {
        vec p = vec_load(s + j * ld) * inverse, product = vec_load(g + j * ld);
        if (h->drop_below) {
            product = vec_select((ivec)p < 0, zero, product * h->keep_scale);
        }
        delta += vec_abs(p) * product;
        vec_store(s + j * ld, p);
        vec_store(g + j * ld, product);
    }
    for (int j = 0; j < h->keys; j++) {
        vec p = vec_load(s + j * ld);
        vec_store(g + j * ld, vec_abs(p) * (vec_load(g + j * ld) - delta));
        if (h->drop_below) {
            vec_store(s + j * ld, vec_select((ivec)p < 0, zero, p));
        }
    }
}

static int short_backward(const short_head *h) {
    const int64_t ld = round_up(h->queries);
    const int vectors = (int)ld / VECTOR;
    const int columns_q = round_up(h->d) / VECTOR, columns_v = round_up(h->d_v) / VECTOR;
    int finite = short_load(h->dtype, h->q, h->queries, h->d, h->q_rows, h->ldq, h->ahead);
    finite &= short_load(h->dtype, h->k, h->keys, h->d, h->k_rows, h->ldq, h->ahead);
    finite &= short_load(h->dtype, h->v, h->keys, h->d_v, h->v_rows, h->ldv, h->ahead);
    finite &= short_load(h->dtype, h->d_o, h->queries, h->d_v, h->d_o_rows, h->ldv, h->ahead);
    if (!finite && h->hides) {
        return 0;
    }
    short_transpose(h->q_rows, h->ldq, h->queries, h->d, h->q_columns, ld);
    short_transpose(h->d_o_rows, h->ldv, h->queries, h->d_v, h->d_o_columns, ld);
    short_product(h->keys, vectors, h->d, h->k_rows, h->ldq, 1, h->q_columns, ld, h->scores, ld, h->ahead);
    short_product(h->keys, vectors, h->d_v, h->v_rows, h->ldv, 1, h->d_o_columns, ld, h->products, ld,
                  h->ahead);
    for (int column = 0; column < ld; column += VECTOR) {
        if (h->hides) {
            short_gradients(h, column, ld, 1);
        } else {
            short_gradients(h, column, ld, 0);
        }
    }
    if (h->d_v_.first) {
        short_product(h->keys, columns_v, h->queries, h->scores, ld, 1, h->d_o_rows, h->ldv, h->out_rows,
                      h->ldv, h->ahead);
        short_store(h->dtype, h->out_rows, h->ldv, h->keys, h->d_v, NULL, h->keep_scale, h->d_v_);
    }
    if (h->d_k.first) {
        short_product(h->keys, columns_q, h->queries, h->products, ld, 1, h->q_rows, h->ldq, h->out_rows,
                      h->ldq, h->ahead);
        short_store(h->dtype, h->out_rows, h->ldq, h->keys, h->d, NULL, h->scale, h->d_k);
    }
    if (h->d_q.first) {
        short_product(h->queries, columns_q, h->keys, h->products, 1, ld, h->k_rows, h->ldq, h->out_rows,
                      h->ldq, h->ahead);
        short_store(h->dtype, h->out_rows, h->ldq, h->queries, h->d, NULL, h->scale, h->d_q);
    }
    return 1;
}

#endif
