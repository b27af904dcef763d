/* The weights of a model that does not change, each packed once in the order that the
 * kernels read fastest. A tape that has them uses them in op_linear. Read-only after
 * they are made: any number of threads. */
#ifndef ATTN_TENSOR_PACKED_PARAMETERS_H
#define ATTN_TENSOR_PACKED_PARAMETERS_H

#include "tensor/parameters.h"
#include "tensor/product.h"

typedef struct packed_parameters packed_parameters;

packed_parameters *packed_parameters_new(void);
void packed_parameters_free(packed_parameters *set); /* NULL is allowed */

/* Packs a weight [out, in], as op_linear multiplies it. */
attn_status packed_parameters_add(packed_parameters *set, product_type type, const parameters *values, parameter weight);

/* The packed form of exactly that array; NULL if it was not added. */
const packed_weight *packed_parameters_find(const packed_parameters *set, parameter weight);

#endif
