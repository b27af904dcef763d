/* The decoding kernels: a part of tile_kernels.h. A cache is read once, so all there is
 * to win is reading it at the speed of memory: tokens are the outer loop and their heads
 * the inner, which is the order in which rows usually lie. */
#ifndef ATTN_ATTENTION_TILE_CACHE_H
#define ATTN_ATTENTION_TILE_CACHE_H

#include "attention/tile.h"
#include "attention/vector.h"

/* Accumulators of a tile, and tokens (of int8) whose values are added before the next head's turn. */
enum { CACHE_SUMS = PANEL_VECTORS == 4 ? 16 : 8, CACHE_ROWS = 4, CACHE_TOKENS = 32 };

INLINE int sizeof_cached(const attn_dtype dtype) {
    return dtype == ATTN_F32 ? 4 : dtype == ATTN_BF16 ? 2 : 1;
}

/* Values c .. of a cache row; those beyond its width are 0. dtype is a constant. */
INLINE vec load_cached(const attn_dtype dtype, const void *row, int c, int width) {
    if (dtype == ATTN_F32) {
        const float *from = (const float *)row + c;
        return width - c >= VECTOR ? vec_load(from) : vec_load_part(from, width - c);
    }
    if (dtype == ATTN_BF16) {
        const uint16_t *from = (const uint16_t *)row + c;
        uint16_t part[VECTOR] = {0};
        if (width - c < VECTOR) {
            memcpy(part, from, (size_t)(width - c) * sizeof *part);
            from = part;
        }
        return vec_load_bf16(from);
    }
    const int8_t *from = (const int8_t *)row + c;
    int8_t part[VECTOR] = {0};
    if (width - c < VECTOR) {
        memcpy(part, from, (size_t)(width - c));
        from = part;
    }
    return vec_load_i8(from);
}

/* Asking for rows ahead of their use. A tile takes pieces of a few tokens in turn, which the
 * processor's own prefetching does not follow and of which it can wait for few at a time; lines
 * asked for in the order in which they lie, a few with every step, come at the speed of memory. */
enum { CACHE_AHEAD = 1 << 14 };

typedef struct ahead_cursor {
    const char *at, *end;           /* of the present token's rows */
    const void *const *token, *const *last; /* one behind the last token */
    int64_t bytes;                  /* of all heads of a token */
    const cache_block *then;        /* what is read after it, or NULL */
} ahead_cursor;

INLINE int64_t token_bytes(const cache_block *b) {
    return (b->heads - 1) * b->head_bytes + b->width * sizeof_cached(b->dtype);
}

INLINE void ahead_begin(ahead_cursor *a, const cache_block *b) {
    a->token = (const void *const *)b->token;
    a->last = a->token + b->count;
    a->bytes = token_bytes(b);
    a->at = *a->token;
    a->end = a->at + a->bytes;
    a->then = b->then;
}

/* Asks for the next lines; behind the last it stays. */
INLINE void ahead_ask(ahead_cursor *a, const int lines) {
#pragma GCC unroll 4
    for (int n = 0; n < lines; n++) {
        __builtin_prefetch(a->at);
        a->at += 64;
        if (__builtin_expect(a->at >= a->end, 0)) {
            if (a->token + 1 < a->last) {
                a->at = *++a->token;
                a->end = a->at + a->bytes;
            } else if (a->then) {
                ahead_begin(a, a->then);
            } else {
                a->at -= 64;
            }
        }
    }
}

INLINE void ahead_start(ahead_cursor *a, const cache_block *b) {
    ahead_begin(a, b);
    const int64_t lines = (a->bytes + 63) / 64 * b->count;
    for (int n = 0; n < CACHE_AHEAD / 64 && n < lines; n++) {
        ahead_ask(a, 1);
    }
}

/* A step reads `bytes` bytes, less than a line: every so many steps a line is asked for. */
INLINE void ahead_keep_up(ahead_cursor *a, const int bytes, int step) {
    if (step % (64 / bytes) == 0) {
        ahead_ask(a, 1);
    }
}

/* total[i] = the sum of v[i]'s lanes, CACHE_SUMS of them. */
INLINE void sum_lanes(const vec *v, float *total) {
#if VECTOR == 16
    /* pairs of vectors are interleaved and added, then their halves, until one holds all */
    __m512 eight[8], four[4], two[2];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) { /* lanes a b a b of each quarter */
        const __m512 a = (__m512)v[2 * i], b = (__m512)v[2 * i + 1];
        eight[i] = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* a b c d */
        const __m512 a = eight[2 * i], b = eight[2 * i + 1];
        four[i] = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) { /* quarters: first, second of a, first, second of b */
        const __m512 a = four[2 * i], b = four[2 * i + 1];
        two[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    }
    _mm512_storeu_ps(total, _mm512_add_ps(_mm512_shuffle_f32x4(two[0], two[1], 0x88),
                                          _mm512_shuffle_f32x4(two[0], two[1], 0xdd)));
#elif VECTOR == 8
    __m256 four[4], two[2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* lanes a b a b of each half */
        const __m256 a = (__m256)v[2 * i], b = (__m256)v[2 * i + 1];
        four[i] = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) { /* a b c d */
        const __m256 a = four[2 * i], b = four[2 * i + 1];
        two[i] = _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));
    }
    _mm256_storeu_ps(total, _mm256_add_ps(_mm256_permute2f128_ps(two[0], two[1], 0x20),
                                          _mm256_permute2f128_ps(two[0], two[1], 0x31)));
#else
    for (int i = 0; i < CACHE_SUMS; i++) {
        total[i] = vec_sum(v[i]);
    }
#endif
}

/* One vector of the width: sum[r][j] += q[r] k[j]. */
INLINE void cache_scores_step(const attn_dtype dtype, const int rows, const float *q, int64_t ldq,
                              const void *const *key, int64_t offset, int c, int width, vec *sum,
                              ahead_cursor *ahead) {
    const int keys = CACHE_SUMS / rows;
    vec query[CACHE_ROWS];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        query[r] = vec_load(q + r * ldq + c);
    }
#pragma GCC unroll 16
    for (int j = 0; j < keys; j++) {
        const vec x = load_cached(dtype, (const char *)key[j] + offset, c, width);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            sum[r * keys + j] += query[r] * x;
        }
        if (ahead && (j + 1) * VECTOR * sizeof_cached(dtype) % 64 == 0) {
            ahead_ask(ahead, 1);
        }
    }
    if (ahead && keys * VECTOR * sizeof_cached(dtype) < 64) {
        ahead_keep_up(ahead, keys * VECTOR * sizeof_cached(dtype), c / VECTOR);
    }
}

/* Scores of `rows` queries against CACHE_SUMS / rows keys: each accumulator is one score's
 * lanes. */
INLINE void cache_scores_tile(const attn_dtype dtype, const int rows, const float *q, int64_t ldq,
                              const void *const *key, int64_t offset, int width, float *scores,
                              int64_t ld, ahead_cursor *ahead) {
    const int keys = CACHE_SUMS / rows;
    vec sum[CACHE_SUMS];
#pragma GCC unroll 16
    for (int i = 0; i < CACHE_SUMS; i++) {
        sum[i] = (vec){0};
    }
    int c = 0;
    for (; c + VECTOR <= width; c += VECTOR) {
        cache_scores_step(dtype, rows, q, ldq, key, offset, c, c + VECTOR, sum, ahead);
    }
    if (c < width) {
        cache_scores_step(dtype, rows, q, ldq, key, offset, c, width, sum, ahead);
    }
    float total[CACHE_SUMS];
    sum_lanes(sum, total);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        memcpy(scores + r * ld, total + r * keys, (size_t)keys * sizeof(float));
    }
}

/* All heads' scores of `rows` queries, first .. of each head, against the keys of a tile. */
INLINE void cache_scores_heads(const attn_dtype dtype, const int rows, const cache_block *b, int j,
                               int first, const float *q, int64_t ldq, float *scores, int64_t ld,
                               ahead_cursor *ahead) {
    const int keys = CACHE_SUMS / rows;
    const void *last[CACHE_SUMS];
    const void *const *key = (const void *const *)b->token + j;
    if (b->count - j < keys) {
        for (int i = 0; i < keys; i++) {
            last[i] = b->token[smaller(j + i, b->count - 1)];
        }
        key = last;
    }
    for (int h = 0; h < b->heads; h++) {
        const int64_t row = (int64_t)h * b->rows + first;
        cache_scores_tile(dtype, rows, q + row * ldq, ldq, key, h * b->head_bytes, b->width,
                          scores + row * ld + j, ld, ahead);
    }
}

INLINE void cache_scores_of(const attn_dtype dtype, const cache_block *b, const float *q, int64_t ldq,
                            float *scores, int64_t ld) {
    ahead_cursor ahead;
    ahead_start(&ahead, b);
    for (int j = 0; j < b->count; j += CACHE_SUMS) {
        const int end = smaller(j + CACHE_SUMS, b->count);
        for (int first = 0, rows; first < b->rows; first += rows) {
            rows = b->rows - first >= 4 ? 4 : b->rows - first >= 2 ? 2 : 1;
            for (int i = j; i < end; i += CACHE_SUMS / rows) {
                if (rows == 4 && first == 0) {
                    cache_scores_heads(dtype, 4, b, i, first, q, ldq, scores, ld, &ahead);
                } else if (rows == 4) {
                    cache_scores_heads(dtype, 4, b, i, first, q, ldq, scores, ld, NULL);
                } else if (rows == 2) {
                    cache_scores_heads(dtype, 2, b, i, first, q, ldq, scores, ld, first ? NULL : &ahead);
                } else {
                    cache_scores_heads(dtype, 1, b, i, first, q, ldq, scores, ld, first ? NULL : &ahead);
                }
            }
        }
    }
}

/* Row r of head h, times the scales of its tokens. */
INLINE void scale_scores(const cache_block *b, float *scores, int64_t ld) {
    for (int h = 0; h < b->heads && b->scales; h++) {
        for (int r = h * b->rows; r < (h + 1) * b->rows; r++) {
            for (int j = 0; j < b->count; j += VECTOR) {
                vec_store(scores + r * ld + j, vec_load(scores + r * ld + j) * vec_load(b->scales + h * ld + j));
            }
        }
    }
}

static void cache_scores(const cache_block *b, const float *q, int64_t ldq, float *scores, int64_t ld) {
    if (b->dtype == ATTN_F32) {
        cache_scores_of(ATTN_F32, b, q, ldq, scores, ld);
    } else if (b->dtype == ATTN_BF16) {
        cache_scores_of(ATTN_BF16, b, q, ldq, scores, ld);
    } else {
        cache_scores_of(ATTN_I8, b, q, ldq, scores, ld);
    }
    scale_scores(b, scores, ld);
}

/* `vectors` vectors of the output of `rows` queries. Where these are few, tokens take turns
 * with several accumulators, so that no sum waits for the one before. */
INLINE void cache_values_tile(const attn_dtype dtype, const int rows, const int vectors,
                              const float *weights, int64_t ld, const void *const *value, int64_t offset,
                              int count, int first, int width, float *output, int64_t ldo,
                              ahead_cursor *ahead) {
    const int turns = rows * vectors >= 4 ? 1 : 4 / (rows * vectors);
    vec sum[4][CACHE_ROWS][PANEL_VECTORS];
#pragma GCC unroll 4
    for (int t = 0; t < turns; t++) {
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                sum[t][r][v] = t ? (vec){0} : vec_load(output + r * ldo + first + v * VECTOR);
            }
        }
    }
    int j = 0;
    for (; j + turns <= count; j += turns) {
#pragma GCC unroll 4
        for (int t = 0; t < turns; t++) {
            const void *row = (const char *)value[j + t] + offset;
            vec x[PANEL_VECTORS];
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                x[v] = load_cached(dtype, row, first + v * VECTOR, width);
                if (ahead && (v + 1) * VECTOR * sizeof_cached(dtype) % 64 == 0) {
                    ahead_ask(ahead, 1);
                }
            }
            if (ahead && vectors * VECTOR * sizeof_cached(dtype) < 64) {
                ahead_keep_up(ahead, vectors * VECTOR * sizeof_cached(dtype), j + t);
            }
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++) {
                const vec weight = vec_set(weights[r * ld + j + t]);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) {
                    sum[t][r][v] += weight * x[v];
                }
            }
        }
    }
    for (; j < count; j++) {
        const void *row = (const char *)value[j] + offset;
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            const vec x = load_cached(dtype, row, first + v * VECTOR, width);
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++) {
                sum[0][r][v] += vec_set(weights[r * ld + j]) * x;
            }
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            vec total = sum[0][r][v];
#pragma GCC unroll 4
            for (int t = 1; t < turns; t++) {
                total += sum[t][r][v];
            }
            vec_store(output + r * ldo + first + v * VECTOR, total);
        }
    }
}

/* `rows` rows of a head, all columns: as many vectors at once as CACHE_SUMS allow. */
INLINE void cache_values_rows(const attn_dtype dtype, const int rows, const float *weights, int64_t ld,
                              const void *const *value, int64_t offset, int count, int width,
                              float *output, int64_t ldo, ahead_cursor *ahead) {
    int c = 0;
#if PANEL_VECTORS == 4
    for (; c + 4 * VECTOR <= width; c += 4 * VECTOR) {
        cache_values_tile(dtype, rows, 4, weights, ld, value, offset, count, c, c + 4 * VECTOR, output, ldo, ahead);
    }
#endif
    for (; c + 2 * VECTOR <= width; c += 2 * VECTOR) {
        cache_values_tile(dtype, rows, 2, weights, ld, value, offset, count, c, c + 2 * VECTOR, output, ldo, ahead);
    }
    if (c + VECTOR <= width) {
        cache_values_tile(dtype, rows, 1, weights, ld, value, offset, count, c, c + VECTOR, output, ldo, ahead);
        c += VECTOR;
    }
    if (c < width) {
        cache_values_tile(dtype, rows, 1, weights, ld, value, offset, count, c, width, output, ldo, ahead);
    }
}

INLINE void cache_values_of(const attn_dtype dtype, const cache_block *b, const float *weights, int64_t ld,
                            float *output, int64_t ldo) {
    const int tokens = CACHE_TOKENS / sizeof_cached(dtype);
    ahead_cursor ahead;
    ahead_start(&ahead, b);
    for (int j = 0; j < b->count; j += tokens) {
        const int count = smaller(tokens, b->count - j);
        const void *const *value = (const void *const *)b->token + j;
        for (int h = 0; h < b->heads; h++) {
            const int64_t offset = h * b->head_bytes;
            for (int r = 0, rows; r < b->rows; r += rows) {
                const int64_t row = (int64_t)h * b->rows + r;
                const float *w = weights + row * ld + j;
                float *o = output + row * ldo;
                rows = b->rows - r >= 4 ? 4 : b->rows - r >= 2 ? 2 : 1;
                if (rows == 4 && r == 0) {
                    cache_values_rows(dtype, 4, w, ld, value, offset, count, b->width, o, ldo, &ahead);
                } else if (rows == 4) {
                    cache_values_rows(dtype, 4, w, ld, value, offset, count, b->width, o, ldo, NULL);
                } else if (rows == 2) {
                    cache_values_rows(dtype, 2, w, ld, value, offset, count, b->width, o, ldo, r ? NULL : &ahead);
                } else {
                    cache_values_rows(dtype, 1, w, ld, value, offset, count, b->width, o, ldo, r ? NULL : &ahead);
                }
            }
        }
    }
}

static void cache_values(const cache_block *b, float *weights, int64_t ld, float *output, int64_t ldo) {
    scale_scores(b, weights, ld);
    if (b->dtype == ATTN_F32) {
        cache_values_of(ATTN_F32, b, weights, ld, output, ldo);
    } else if (b->dtype == ATTN_BF16) {
        cache_values_of(ATTN_BF16, b, weights, ld, output, ldo);
    } else {
        cache_values_of(ATTN_I8, b, weights, ld, output, ldo);
    }
}

#endif
