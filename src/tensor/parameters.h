/* A model's parameters: one contiguous f32 block of values, one of gradients, one of
 * bf16 copies, so that an optimizer step or a checkpoint is one pass. Arrays that are
 * multiplied together (query, key and value weights) lie side by side and can be
 * seen as one. */
#ifndef ATTN_TENSOR_PARAMETERS_H
#define ATTN_TENSOR_PARAMETERS_H

#include "base/error.h"
#include "tensor/gemm.h"

/* Where an array lies in the blocks. A vector has rows = 1. */
typedef struct parameter {
    int64_t offset;
    int64_t rows, columns;
} parameter;

/* The array's name in the model file and its shape there. */
typedef struct named_parameter {
    char *name;
    int rank; /* 1 .. 4 */
    size_t shape[4];
    parameter where;
    int transposed; /* 1: the file holds a matrix's transpose */
    int frozen;     /* 1: not trained; its gradient need not be computed */
} named_parameter;

typedef struct parameters {
    named_parameter *list;
    size_t count, capacity;
    int64_t size;     /* elements in each block */
    float *values;    /* NULL until parameters_allocate */
    float *gradients; /* NULL where nothing is trained */
    bf16 *copies;     /* NULL where products are f32 */
} parameters;

/* Declares an array behind those that are there. rank 1: rows must be 1. The offset is
 * aligned to 16 elements where `aligned`; an array that is to be seen as one with its
 * predecessor is declared with aligned = 0. */
attn_status parameters_declare(parameters *set, int aligned, int rank, int64_t rows, int64_t columns, parameter *out,
                               const char *name_format, ...) __attribute__((format(printf, 7, 8)));

/* Gives the array that was declared last another shape in the model file, of as many
 * elements: a convolution's kernel [out, in, height, width] is a matrix here. */
void parameters_shape_last(parameters *set, int rank, const size_t *shape);

/* Takes the blocks: values always (zeroed), gradients and copies on request. */
attn_status parameters_allocate(parameters *set, int with_gradients, int with_copies);

/* Makes the bf16 copies anew from the values; nothing where there are none. */
void parameters_update_copies(parameters *set);

const named_parameter *parameters_find(const parameters *set, const char *name);

/* Whether the array that begins where p does is frozen. */
int parameters_frozen(const parameters *set, parameter p);

/* The number of elements, without the gaps that alignment leaves. */
int64_t parameters_count(const parameters *set);

void parameters_free(parameters *set);

/* `count` arrays of one shape lying side by side, as one of count * rows rows (or, for
 * vectors, count * columns columns). */
parameter parameter_joined(parameter first, int count);

static inline float *parameter_values(const parameters *set, parameter p) {
    return set->values + p.offset;
}

static inline float *parameter_gradients(const parameters *set, parameter p) {
    return set->gradients + p.offset;
}

/* The matrix [rows, columns] in the type of the products. */
static inline matrix parameter_matrix(const parameters *set, parameter p) {
    return set->copies ? matrix_of(set->copies + p.offset, p.rows, p.columns, ELEMENT_BF16)
                       : matrix_of(set->values + p.offset, p.rows, p.columns, ELEMENT_F32);
}

#endif
