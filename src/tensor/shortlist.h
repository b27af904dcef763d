/* The largest element of y = W x + b, without all of W: an int8 copy of W, a quarter of its bytes (half where
 * there are no products of bytes), says how large each element can be at most, and only those that can be the
 * largest are computed.
 *
 * Let w^ and x^ be what int8 keeps of an output's weights and of x. Then
 *     |w x - w^ x^| <= |x| |w - w^| + |x - x^| |w^|                        (Cauchy-Schwarz)
 * and with B the largest of these bounds no output below max(w^ x^ + b) - 2 B is the largest. The bound
 * counts what the arithmetic of both sums rounds as well, so the answer is that of the whole product, to the
 * token. */
#ifndef ATTN_TENSOR_SHORTLIST_H
#define ATTN_TENSOR_SHORTLIST_H

#include "tensor/product.h"
#include "tensor/rows.h"

typedef struct shortlist shortlist;

/* Of weight [outputs, depth] and bias [outputs], which must outlive it. *made is NULL, without an error,
 * where weights that are not finite, or too small, have no int8 form. */
attn_status shortlist_new(const float *weight, const float *bias, int64_t outputs, int64_t depth,
                          shortlist **made);
void shortlist_free(shortlist *s); /* NULL is allowed */

/* The index of the largest element of W x + b, the lowest among equals, for each of x [rows, depth], as
 * product_run with `exact`, the same weights as f32, computes it. skipped [rows][2]: indices that do not
 * count, or -1. found [rows]: -1 where it cannot be told without the whole product: x or a sum is not finite,
 * or too many outputs are close. room: shortlist_room bytes, 64-byte aligned. */
void shortlist_largest(const shortlist *s, const packed_weight *exact, const row_kernels *kernels,
                       const float *x, int64_t rows, const int32_t (*skipped)[2], int32_t *found, void *room);
size_t shortlist_room(const shortlist *s, const packed_weight *exact, int64_t rows);

#endif
