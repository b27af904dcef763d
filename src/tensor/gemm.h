/* Matrix products, behind oneDNN; gemm_kernels.c alone knows it.
 *
 * C = A B (+ C) (+ bias on each row), rectified on request. The product is cut
 * into blocks whose bounds depend on the shapes alone, and each block is
 * computed by one thread, so the bits do not depend on the number of threads. With
 * a packed B (gemm_packed) a row's bits do not depend on the other rows either. */
#ifndef ATTN_TENSOR_GEMM_H
#define ATTN_TENSOR_GEMM_H

#include "base/error.h"
#include "tensor/element.h"

/* A matrix in memory, not owned. stride counts elements from row to row of what
 * is stored; `transposed` says that the stored array is [columns, rows]. */
typedef struct matrix {
    void *data;
    int64_t rows, columns;
    int64_t stride;
    element_type type;
    int transposed;
} matrix;

/* A dense row-major [rows, columns] matrix. */
static inline matrix matrix_of(const void *data, int64_t rows, int64_t columns, element_type type) {
    return (matrix){(void *)(uintptr_t)data, rows, columns, columns, type, 0};
}

/* The same memory read as its transpose. */
static inline matrix matrix_transpose(matrix m) {
    return (matrix){m.data, m.columns, m.rows, m.stride, m.type, !m.transposed};
}

/* Rows first .. first + count - 1 of m. */
static inline matrix matrix_rows(matrix m, int64_t first, int64_t count) {
    m.data = element_at(m.data, m.type, first * (m.transposed ? 1 : m.stride));
    m.rows = count;
    return m;
}

/* Columns first .. first + count - 1 of m. */
static inline matrix matrix_columns(matrix m, int64_t first, int64_t count) {
    m.data = element_at(m.data, m.type, first * (m.transposed ? m.stride : 1));
    m.columns = count;
    return m;
}

typedef struct gemm_options {
    const float *bias; /* [columns of C], or NULL */
    int rectify;       /* C = max(C, 0) at the end */
    int accumulate;    /* add to what C holds */
} gemm_options;

/* Compiled kernels by shape and, per thread, the scratch they need. The threads of
 * one parallel region may share it; two callers apart may not. */
typedef struct gemm_context gemm_context;

gemm_context *gemm_context_new(void);
void gemm_context_free(gemm_context *context);

/* C [m, n] = A [m, k] B [k, n]. A and B have one type, either stored order; C is
 * not transposed, f32 or the type of A (f32 where A is transposed). bias and
 * rectify need k > 0. Uses the calling thread's OpenMP threads; called inside a
 * parallel region it runs on the calling thread alone. */
attn_status gemm(gemm_context *context, matrix c, matrix a, matrix b, gemm_options options);

/* A weight matrix B in the order that the kernels read fastest. */
typedef struct packed_matrix packed_matrix;

/* Packs b [k, n] (f32 or bf16, either stored order) as `type`. */
attn_status gemm_pack(gemm_context *context, matrix b, element_type type, packed_matrix **packed);
/* Packs a matrix of the same shape, type and stored order again, from `data`. A packed matrix
 * is packed by one thread at a time. */
attn_status gemm_repack(gemm_context *context, const void *data, packed_matrix *packed);
void packed_matrix_free(packed_matrix *packed);

/* C = A B with B packed; A is of the type that B was packed as. A and C are dense: for
 * other strides a kernel may want B in another order. */
attn_status gemm_packed(gemm_context *context, matrix c, matrix a, const packed_matrix *b, gemm_options options);

/* Whether products of this type are computed on this processor: bf16 needs AVX-512. */
int gemm_multiplies(const gemm_context *context, element_type type);

/* Floating point operations per second of one thread at this type, measured on a
 * 1024-cubed product: the roof that speeds are a share of. 0 on failure. */
double gemm_roof(gemm_context *context, element_type type);

#endif
