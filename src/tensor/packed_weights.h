/* The weights of a model that is trained, packed in the order that the kernels read fastest,
 * both ways round: x W^T forward, g W backward. A weight is packed when it is first asked
 * for, and again whenever the values have changed; all threads of a step share it. */
#ifndef ATTN_TENSOR_PACKED_WEIGHTS_H
#define ATTN_TENSOR_PACKED_WEIGHTS_H

#include "tensor/parameters.h"

typedef struct packed_weights packed_weights;

/* The parameters are not owned. */
packed_weights *packed_weights_new(const parameters *values);
void packed_weights_free(packed_weights *set); /* NULL is allowed */

/* The values have changed: packs everything that was asked for so far again, with all
 * threads. Nothing that packed_weights_get gave may be in use. */
attn_status packed_weights_renew(packed_weights *set);

/* W^T [columns, rows] where transposed, else W, in the type of the products. Valid until
 * packed_weights_free. For any number of threads. */
attn_status packed_weights_get(packed_weights *set, parameter weight, int transposed,
                               const packed_matrix **packed);

size_t packed_weights_bytes(const packed_weights *set); /* all together, about */

#endif
