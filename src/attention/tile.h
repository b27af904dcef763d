/* What a tile file provides: the kernels of one instruction set and the block shape
 * they like, together in one table. The passes (forward.c, backward.c, ...) see tables
 * alone. Blocks are small and lie in the workspace, dense and padded:
 *
 *   rows       [count][ld]: row-major, columns padded with zeros to whole vectors
 *   panels     a [depth, columns] matrix as panels of `panel` columns one after the
 *              other, each [depth][width] with width = panel, the last one as many
 *              vectors as remain
 *
 * Products run in tiles of up to TILE_ROWS rows. An element's sum runs over its depth
 * in ascending order by fused multiply-add whatever the tile, so that results do not
 * depend on how rows are cut into tiles. */
#ifndef ATTN_ATTENTION_TILE_H
#define ATTN_ATTENTION_TILE_H

#include <stdint.h>

#include <attn/attention.h>

#include "attention/dropout.h"
#include "attention/short.h"

enum { TILE_ROWS = 6 };

/* Rows first .. first + count - 1 of the left operand, and the range [low, high) that
 * they need: of columns for a product of columns, of depth for a product of terms. */
typedef struct row_tile {
    int32_t first, count;
    int32_t low, high;
} row_tile;

/* A row of scores: the keys of the block [low, high) that it may see without regard to
 * mask and bias, and what enters its scores. */
typedef struct score_row {
    int32_t low, high;
    const float *bias; /* at the block's first key, NULL: none */
    const uint8_t *mask;
    float slope;    /* ALiBi */
    float distance; /* i + shift - the block's first key */
    dropout_row keys;
    int alone;      /* the row sees a single key: its weight is 1 whatever the score, whose gradient is 0 */
} score_row;

/* A run of a cache's tokens, keys or values, as they lie there. */
typedef struct cache_block {
    attn_dtype dtype;         /* f32, bf16 or int8 */
    const void **token;       /* where the first head's row of each token lies */
    int count;                /* tokens */
    int64_t head_bytes;       /* from a head's row to the next one's */
    int heads, rows;          /* rows: queries of a head */
    int width;                /* of a row, in elements */
    const float *scales;      /* [heads][ld], NULL: none */
    const struct cache_block *then; /* what will be read next, or NULL */
} cache_block;

/* What is the same for all rows of a problem. */
typedef struct score_rule {
    float scale;         /* s = scale * product */
    float softcap, softcap_inverse; /* INFINITY and 0: none */
    int modified;        /* a bias, mask, slope or soft cap is there */
    int64_t bias_stride; /* of keys */
    int64_t mask_stride;
    uint32_t drop_below; /* dropout threshold, 0: none */
    float keep_scale;    /* 1 / share kept */
    float cap_terms[6];  /* filled by the kernels, see cap_terms() */
} score_rule;

/* exp(s - maximum) is taken in base 2. Without modifications scores are kept as bare
 * products and `unit` = scale * log2(e) turns differences of products into exponents;
 * with modifications they are natural scores and unit = log2(e). Maxima and log-sum-exp
 * are in the exponent's unit in the first case, natural in the second. */

typedef struct tile_kernels {
    const char *name;
    int vector; /* floats in a vector */
    int panel;  /* columns in a panel */

    /* Copies `count` rows of `width` f32 or bf16 values to rows of ld floats, padding
     * with zeros. Returns 1 if all of them are finite, 0 if not. */
    int (*load_f32)(const void *const *source, int count, int width, float *rows, int64_t ld);
    int (*load_bf16)(const void *const *source, int count, int width, float *rows, int64_t ld);
    /* The transpose of `count` rows of `width` floats, as panels [width][count]. Reads
     * rows up to the next multiple of 4 values. */
    void (*transpose)(const float *const *source, int count, int width, float *panels);

    /* c[row][low .. high) = a[row][.] . b[.][column]; b in panels [depth][columns];
     * low is rounded down, high up to whole vectors. Both products ask for a piece of `ahead`
     * (NULL: of nothing) after each tile. */
    void (*product_columns)(const row_tile *tiles, int tiles_count, const float *a, int64_t lda,
                            int depth, const float *b, int columns, float *c, int64_t ldc, rows_ahead *ahead);
    /* c[row][0 .. columns) += sum over k in low .. high of a[row * row_stride + k *
     * k_stride] b[k][.]; columns in whole vectors. */
    void (*product_terms)(const row_tile *tiles, int tiles_count, const float *a,
                          int64_t row_stride, int64_t k_stride, const float *b, int64_t ldb,
                          int columns, float *c, int64_t ldc, rows_ahead *ahead);

    /* bf16, where the processor multiplies pairs of it (NULL where not): two adjacent
     * values of the depth are one 32-bit unit, in the float arrays of the two products,
     * whose depth, lda, k_stride and ranges of depth count units.
     * load_pairs copies rows of bf16, padded with zeros to whole vectors of units, and
     * tells whether all are finite. pair_rows makes units of rows 2n and 2n + 1,
     * [count / 2][ldo]. round_rows makes rows of units from f32 rows, in the tiles'
     * columns; round_pairs units of f32 rows 2n and 2n + 1 (rows even). */
    int (*load_pairs)(const void *const *source, int count, int width, uint16_t *rows, int64_t ld);
    void (*pair_rows)(const uint16_t *rows, int64_t ld, int count, int columns, float *pairs,
                      int64_t ldo);
    void (*round_rows)(const row_tile *tiles, int tiles_count, const float *rows, int64_t ld,
                       uint16_t *rounded, int64_t ldo);
    void (*round_pairs)(const float *rows, int64_t ld, int count, int columns, float *pairs,
                        int64_t ldo);
    void (*product_columns_bf16)(const row_tile *tiles, int tiles_count, const float *a,
                                 int64_t lda, int depth, const float *b, int columns, float *c,
                                 int64_t ldc, rows_ahead *ahead);
    void (*product_terms_bf16)(const row_tile *tiles, int tiles_count, const float *a,
                               int64_t row_stride, int64_t k_stride, const float *b, int64_t ldb,
                               int columns, float *c, int64_t ldc, rows_ahead *ahead);

    /* Forward: turns the scores of the tiles' rows into exp(s - maximum), 0 where hidden,
     * dropped ones 0; keeps the rows' maximum and sum, and rescales the rows of
     * output [.][columns] where the maximum has grown. With `rounded` [.][ld], the weights go
     * there in bf16 and the scores are lost. */
    void (*softmax)(const row_tile *tiles, int tiles_count, const score_row *rows,
                    const score_rule *rule, int64_t first_key, float *scores, int64_t ld,
                    uint16_t *rounded, float *maximum, float *sum, float *output, int64_t ldo, int columns);
    /* Backward: from scores s and products g = <d_o, v>, with log-sum-exp l and
     * delta = <d_o, o> of each row, p = exp(s - l) factor: the kept weights p keep into
     * `scores`, and
     * p (g keep_scale keep - delta) into `products`, times the soft cap's derivative.
     * d_bias, where not NULL for a row, gets what goes to the bias added. */
    void (*gradient)(const row_tile *tiles, int tiles_count, const score_row *rows,
                     const score_rule *rule, int64_t first_key, float *scores, float *products,
                     int64_t ld, const float *log_sum_exp, const float *factor,
                     const float *delta,
                     float *const *d_bias, int64_t d_bias_stride);
    /* Weights from finished log-sum-exps, dropout not applied, into `scores`. */
    void (*weights)(const row_tile *tiles, int tiles_count, const score_row *rows,
                    const score_rule *rule, float *scores, int64_t ld, const float *log_sum_exp);

    /* A whole head of a short sequence. 0 if something is not finite that a query may not
     * see: nothing has been written then. */
    int (*short_forward)(const short_head *h);
    int (*short_backward)(const short_head *h);

    /* Decoding: scores [heads * rows][ld] of queries [heads * rows][ldq], padded with zeros,
     * against a block of keys: whole vectors are written, what stands behind the keys means
     * nothing. And the sums of a block's values, weighted, added to output
     * [heads * rows][ldo]; with scales, `weights` are multiplied by them in place. */
    void (*cache_scores)(const cache_block *block, const float *q, int64_t ldq, float *scores,
                         int64_t ld);
    void (*cache_values)(const cache_block *block, float *weights, int64_t ld, float *output,
                         int64_t ldo);

    /* Additive scores: s[row][j] = sum over c of v[c] tanh(a[row][c] + u[c][j]) in the
     * tiles' columns, whole vectors. And from d_s their gradients, added: d_a[row][c],
     * d_u[c][j], d_v[c]. */
    void (*additive_scores)(const row_tile *tiles, int tiles_count, const float *a, int64_t lda,
                            const float *u, int64_t ldu, const float *v, int width, float *scores,
                            int64_t ld);
    void (*additive_gradient)(const row_tile *tiles, int tiles_count, const float *a, int64_t lda,
                              const float *u, int64_t ldu, const float *v, int width,
                              const float *d_s, int64_t ld, float *d_a, float *d_u, float *d_v);

    /* The linear score's features f(x) = elu(x) + 1 of `count` rows, in place; and the gradient
     * of a row of features turned into that of what they were made of. Rows are padded to
     * vectors. */
    void (*feature_map)(float *rows, int count, int width, int64_t ld);
    void (*feature_slope)(const float *features, float *gradient, int width);

    float (*dot)(const float *a, const float *b, int width); /* rows padded to vectors */
    /* <a[n], b[n]> of rows of f32 or bf16 values. */
    void (*row_products)(attn_dtype dtype, const void *const *a, const void *const *b, int count, int width,
                         float *products);
    void (*store_f32)(const float *row, float factor, int width, void *target);
    void (*store_bf16)(const float *row, float factor, int width, void *target);
} tile_kernels;

extern const tile_kernels tile_portable, tile_avx2, tile_avx512, tile_avx512bf16;

#endif
