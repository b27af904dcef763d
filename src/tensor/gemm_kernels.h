/* One block of a matrix product on one thread: what gemm.c cuts products into. gemm_kernels.c alone knows
 * oneDNN.
 *
 * oneDNN's brgemm gives a row the same bits whatever the number of rows beside it, where B is packed. Its
 * older kernels (gemm:jit, taken without AVX-512) do so for multiples of GEMM_PADDED_ROWS rows up to
 * GEMM_PADDED_BLOCK, which are multiples of the 4 and 6 rows that they take at once; above 260 rows they
 * would copy B first and add in another order. They read B where it lies, column by column, and are slower
 * where its rows lie a multiple of 1 KB apart, by half from 2 KB on: then all of a column falls into a few
 * sets of the caches.
 */
#ifndef ATTN_TENSOR_GEMM_KERNELS_H
#define ATTN_TENSOR_GEMM_KERNELS_H

#include "tensor/gemm.h"

enum { GEMM_THREADS = 256, GEMM_PADDED_ROWS = 24, GEMM_PADDED_BLOCK = 192 };

/* Whether brgemm computes this type. */
int gemm_rows_are_independent(const gemm_context *context, element_type type);

/* What gemm_block() takes as a packed B. */
matrix gemm_packed_contents(const packed_matrix *packed);

/* C = A B as gemm() has it, in one piece, by a thread of a team. */
attn_status gemm_block(gemm_context *context, int thread, matrix c, matrix a, matrix b, int packed,
                       gemm_options options);

/* Memory of a thread, for oneDNN and for copies of A and of B. What was there is lost where it grows; NULL:
 * there is no more. */
typedef enum gemm_room_use { GEMM_SCRATCH, GEMM_COPY_A, GEMM_COPY_B, GEMM_ROOMS } gemm_room_use;
char *gemm_room(gemm_context *context, gemm_room_use use, int thread, size_t size);

/* From row to row of a matrix whose columns are to spread over the caches: in f32 an odd number of lines of
 * 64 bytes. */
static inline int64_t gemm_spread_stride(int64_t columns) {
    const int64_t lines = (columns + 15) / 16;
    return (lines | 1) * 16;
}

#endif
