/* Magnitude pruning: the smallest weights of all matrices together become 0 (Han et al. 2015; that one
 * threshold for all is best for translation: See, Luong & Manning 2016, 4.1). Left alone are vectors
 * and what tokens or places are looked up in: an embedding's scale is not that of the layers, a row of it
 * is all that is known of a rare token, and in most models it is the output layer too. */
#ifndef ATTN_MODEL_PRUNE_WEIGHTS_H
#define ATTN_MODEL_PRUNE_WEIGHTS_H

#include "tensor/parameters.h"

typedef struct pruned_weights {
    size_t weights;             /* of the matrices that are pruned */
    size_t zeros_before, zeros; /* of these */
    double threshold;           /* the largest magnitude that was set to 0; 0 where none was */
} pruned_weights;

/* Whether an array takes part. */
int parameters_prunable(const named_parameter *array);

/* round(sparsity * weights) become 0, or are 0 already; of equal magnitudes the first ones. sparsity: [0, 1).
 * ATTN_ERROR_MEMORY. */
attn_status parameters_prune(parameters *set, double sparsity, pruned_weights *result);

#endif
