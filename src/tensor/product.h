/* Products with weights that stay as they are: y = x W^T + b, for inference.
 *
 * A weight matrix is packed once for the kernels of this processor, as f32, bf16 or int8.
 * Every element of y is one sum over the depth in one order, so a row's bits depend on
 * that row alone: not on the rows beside it, and not on the number of threads.
 *
 * int8: W is rounded for each output channel to w_o = s_o q, q in -127 .. 127, s_o = max |w_o| / 127,
 * x for each row at run time in the same way; sums are exact in 32 bits, and
 * y = s_x s_o sum + b (Jacob et al. 2018, without zero points; Bhandare et al. 2019).
 * bf16: W and x are rounded to the nearest, sums are f32. */
#ifndef ATTN_TENSOR_PRODUCT_H
#define ATTN_TENSOR_PRODUCT_H

#include "base/error.h"
#include "base/memory.h"
#include "tensor/element.h"

typedef enum product_type { PRODUCT_F32 = 0, PRODUCT_BF16 = 1, PRODUCT_INT8 = 2 } product_type;

typedef struct packed_weight packed_weight;

/* Packs weight [outputs, depth]. As int8 an output channel that is not finite, or so small that
 * its scale is no number above 0, is refused with `name`, and so is a depth above 65,536; a
 * channel of zeros stays zeros. Its arrays lie in `room`, which has to live as long, or with NULL in memory of
 * their own. */
attn_status product_pack(const float *weight, int64_t outputs, int64_t depth, product_type type, const char *name, arena *room,
                         packed_weight **packed);
void packed_weight_free(packed_weight *packed); /* NULL is allowed */

int64_t packed_weight_outputs(const packed_weight *w);
int64_t packed_weight_bytes(const packed_weight *w);

/* q [depth] and the scale of one output channel w [depth], the rounding that int8 packing does.
 * 0 if the scale cannot be: a value that is not finite, or only values near 0. */
int product_quantize_row(const float *w, int64_t depth, signed char *q, float *scale);

/* y [rows, outputs], y_stride apart = x [rows, depth], x_stride apart, times W^T + bias
 * [outputs] (or NULL), at least 0 where `rectify`. `room` is working memory of
 * product_room bytes, 64-byte aligned. */
void product_run(float *y, int64_t y_stride, const float *x, int64_t x_stride, int64_t rows, const packed_weight *w,
                 const float *bias, int rectify, void *room);
size_t product_room(const packed_weight *w, int64_t rows);

/* Outputs come in panels of so many; the last may have fewer. */
int product_panel(const packed_weight *w);
/* y [product_panel(w)]: the outputs of one panel for one row x [depth], the bits that product_run gives them.
 */
void product_run_panel(float *y, const float *x, const packed_weight *w, int64_t panel, const float *bias,
                       void *room);

#endif
