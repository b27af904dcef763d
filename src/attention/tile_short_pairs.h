/* Short sequences in bf16 by products of pairs (vdpbf16ps): a part of tile_short.h. A unit is two
 * bf16 that lie along a product's depth. Of the width they lie together already: rows of K and V
 * multiply as they are, Q and dO are transposed as units. Of keys and of queries they are
 * interleaved: V for the output, Q, K and dO for their gradients; weights and scores' gradients
 * are interleaved, or stored in rows, while they are rounded. */
#ifndef ATTN_ATTENTION_TILE_SHORT_PAIRS_H
#define ATTN_ATTENTION_TILE_SHORT_PAIRS_H

/* --- operands ------------------------------------------------------------------------------ */

/* Values c .. c + 31 of a row, 0 behind the width. */
INLINE __m512i load_32(const char *row, int c, int width) {
    const int lanes = width - c;
    const __mmask32 some = lanes >= 32 ? ~(__mmask32)0 : ((__mmask32)1 << lanes) - 1;
    return _mm512_maskz_loadu_epi16(some, (const uint16_t *)(const void *)row + c);
}

INLINE __mmask32 not_finite(__m512i x) {
    const __m512i exponent = _mm512_set1_epi16(0x7f80);
    return _mm512_cmpeq_epi16_mask(_mm512_and_si512(x, exponent), exponent);
}

/* Copies rows, padded with zeros. 1 if all are finite. */
static int short_copy(short_rows from, int count, int width, float *rows, int64_t ld, rows_ahead *ahead) {
    __mmask32 bad = 0;
    for (int r = 0; r < count; r++, from.first += from.stride) {
        for (int c = 0; c < width; c += 32) {
            const __m512i x = load_32(from.first, c, width);
            bad |= not_finite(x);
            if (width - c > 16) {
                _mm512_storeu_si512(rows + r * ld + c / 2, x);
            } else { /* rows are padded to 16 values, no further */
                _mm256_storeu_si256((__m256i *)(rows + r * ld + c / 2), _mm512_castsi512_si256(x));
            }
        }
        ask_ahead(ahead);
    }
    return bad == 0;
}

/* Rows whose units can be read four at a time: where they lie, or a copy. *finite, where not NULL,
 * becomes 0 if one is not; they are copied then. */
static short_rows short_units(const short_head *h, short_rows from, int count, int width, float *rows,
                              int64_t ld, int *finite) {
    if (!finite && width % 8 == 0 && ((uintptr_t)from.first | (uintptr_t)from.stride) % sizeof(float) == 0) {
        return from;
    }
    const int all = short_copy(from, count, width, rows, ld, h->ahead);
    if (finite) {
        *finite &= all;
    }
    return scratch_rows(rows, ld);
}

/* Units of rows 2n and 2n + 1, [(count + 1) / 2][ldo]; behind the count they are 0. 1 if all are
 * finite. */
static int short_interleave(short_rows from, int count, int width, float *units, int64_t ldo,
                            rows_ahead *ahead) {
    const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7,
                                         38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    __mmask32 bad = 0;
    for (int r = 0; r < count; r += 2, from.first += 2 * from.stride) {
        float *to = units + r / 2 * ldo;
        for (int c = 0; c < width; c += 32) {
            const __m512i even = load_32(from.first, c, width);
            const __m512i odd = r + 1 < count ? load_32(from.first + from.stride, c, width)
                                              : _mm512_setzero_si512();
            bad |= not_finite(even) | not_finite(odd);
            _mm512_storeu_si512(to + c, _mm512_permutex2var_epi16(even, low, odd));
            if (c + 16 < width) {
                _mm512_storeu_si512(to + c + 16, _mm512_permutex2var_epi16(even, high, odd));
            }
        }
        ask_ahead(ahead);
    }
    return bad == 0;
}

/* --- forward ------------------------------------------------------------------------------ */

static int short_forward_pairs(const short_head *h) {
    const int64_t ld = round_up(h->queries);
    const int vectors = (int)ld / VECTOR, units = (h->d + 1) / 2;
    float factors[SHORT_QUERIES];
    ask_begin(h->ahead, (h->keys + 1) / 2 + transpose_steps(h->queries, units),
              forward_steps(h, (int)ld, units, (h->keys + 1) / 2));
    if (!short_interleave(h->v, h->keys, h->d_v, h->v_rows, h->ldv, h->ahead) && h->hides) {
        return 0;
    }
    const short_rows q = short_units(h, h->q, h->queries, h->d, h->q_rows, h->ldq, NULL);
    const short_rows k = short_units(h, h->k, h->keys, h->d, h->k_rows, h->ldq, NULL);
    short_transpose(q, h->queries, units, h->q_columns, ld, h->ahead);
    short_scores(h, h->keys, vectors, units, operand_rows(k), h->q_columns, ld, h->scores, ld, 1);
    for (int column = 0; column < ld; column += VECTOR) {
        if (h->hides) {
            short_weights(h, column, ld, factors, 1, 1);
        } else {
            short_weights(h, column, ld, factors, 0, 1);
        }
    }
    short_output(h, h->queries, h->d_v, (h->keys + 1) / 2, operand_columns(h->scores, ld), h->v_rows, h->ldv,
                 factors, 1.0f, h->o, 1);
    return 1;
}

/* --- and backward --------------------------------------------------------------------------- */

/* As short_gradients(), rounded: rows [keys][ld] of weights and of scores' gradients, and the
 * latter as units of keys instead of the products. */
INLINE void short_gradients_pairs(const short_head *h, int column, int64_t ld, const int hides) {
    float *s = h->scores + column, *g = h->products + column;
    uint16_t *weights = (uint16_t *)h->weights + column, *rounded = (uint16_t *)h->d_scores + column;
    vec inverse, delta, p;
    short_delta(h, column, ld, hides, &inverse, &delta);
    for (int j = 0; j < h->keys; j += 2) {
        const vec even = short_gradient(h, s + j * ld, g + j * ld, inverse, delta, &p);
        vec odd = {0};
        vec_store_bf16(weights + j * ld, p);
        vec_store_bf16(rounded + j * ld, even);
        if (j + 1 < h->keys) {
            odd = short_gradient(h, s + (j + 1) * ld, g + (j + 1) * ld, inverse, delta, &p);
            vec_store_bf16(weights + (j + 1) * ld, p);
            vec_store_bf16(rounded + (j + 1) * ld, odd);
        }
        vec_store(g + j / 2 * ld, vec_units(even, odd));
    }
}

/* The three gradients from what short_gradients_pairs() leaves. */
static void short_gradient_products(const short_head *h, const float *q, const float *k, const float *d_o) {
    const int64_t ld = round_up(h->queries);
    const int queries = (h->queries + 1) / 2, keys = (h->keys + 1) / 2;
    if (h->d_v_.first) {
        short_output(h, h->keys, h->d_v, queries, operand_rows(scratch_rows(h->weights, ld / 2)), d_o, h->ldv,
                     NULL, h->keep_scale, h->d_v_, 1);
    }
    if (h->d_k.first) {
        short_output(h, h->keys, h->d, queries, operand_rows(scratch_rows(h->d_scores, ld / 2)), q, h->ldq,
                     NULL, h->scale, h->d_k, 1);
    }
    if (h->d_q.first) {
        short_output(h, h->queries, h->d, keys, operand_columns(h->products, ld), k, h->ldq, NULL, h->scale,
                     h->d_q, 1);
    }
}

static int short_backward_pairs(const short_head *h) {
    const int64_t ld = round_up(h->queries), half_q = h->ldq * SHORT_QUERIES / 2, half_v = h->ldv * SHORT_QUERIES / 2;
    const int vectors = (int)ld / VECTOR, units_q = (h->d + 1) / 2, units_v = (h->d_v + 1) / 2;
    /* copies of rows first, units of pairs of rows in the second halves */
    float *q_units = h->q_rows + half_q, *d_o_units = h->d_o_rows + half_v;
    float *k_units = h->k_rows + h->ldq * SHORT_KEYS / 2;
    int finite = 1;
    ask_begin(h->ahead, (h->keys + 1) / 2 + h->queries + 1 + transpose_steps(h->queries, units_q + units_v),
              backward_steps(h, (int)ld, units_q, units_v, (h->queries + 1) / 2, (h->keys + 1) / 2));
    finite &= short_interleave(h->q, h->queries, h->d, q_units, h->ldq, h->ahead);
    finite &= short_interleave(h->k, h->keys, h->d, k_units, h->ldq, h->ahead);
    finite &= short_interleave(h->d_o, h->queries, h->d_v, d_o_units, h->ldv, h->ahead);
    const short_rows q = short_units(h, h->q, h->queries, h->d, h->q_rows, h->ldq / 2, NULL);
    const short_rows k = short_units(h, h->k, h->keys, h->d, h->k_rows, h->ldq / 2, NULL);
    const short_rows v = short_units(h, h->v, h->keys, h->d_v, h->v_rows, h->ldv / 2, h->hides ? &finite : NULL);
    const short_rows d_o = short_units(h, h->d_o, h->queries, h->d_v, h->d_o_rows, h->ldv / 2, NULL);
    if (!finite && h->hides) {
        return 0;
    }
    short_transpose(q, h->queries, units_q, h->q_columns, ld, h->ahead);
    short_transpose(d_o, h->queries, units_v, h->d_o_columns, ld, h->ahead);
    short_scores(h, h->keys, vectors, units_q, operand_rows(k), h->q_columns, ld, h->scores, ld, 1);
    short_scores(h, h->keys, vectors, units_v, operand_rows(v), h->d_o_columns, ld, h->products, ld, 1);
    for (int column = 0; column < ld; column += VECTOR) {
        if (h->hides) {
            short_gradients_pairs(h, column, ld, 1);
        } else {
            short_gradients_pairs(h, column, ld, 0);
        }
    }
    short_gradient_products(h, q_units, k_units, d_o_units);
    return 1;
}

#endif
