/* A Transformer with fewer heads: the rows of their query, key and value projections and the columns
 * of the output projection are cut out, everything else is copied. */
#ifndef ATTN_MODEL_PRUNE_HEADS_H
#define ATTN_MODEL_PRUNE_HEADS_H

#include "model/transformer.h"

/* removed [heads of the model]: 1 for each that goes, numbered as model_config_head_number does.
 * Every layer's attention must keep one: ATTN_ERROR_ARGUMENT. *made has no gradients. */
attn_status transformer_without_heads(const transformer *from, const unsigned char *removed, transformer **made);

#endif
