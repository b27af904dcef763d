/* Against repeating: the repetition penalty (Keskar et al. 2019, CTRL, section 4.1) and
 * the blocking of n-grams that were there before (Paulus et al. 2018, section 2.5). */
#ifndef ATTN_INFER_REPETITION_H
#define ATTN_INFER_REPETITION_H

#include <stdint.h>

/* Each token that `ids` [count] holds, once: a negative value is multiplied by the
 * penalty, another divided by it. As in transformers, values are logits in greedy search
 * and in sampling, log-probabilities in beam search, and are not normalised again. */
void repetition_penalise(float *values, const int32_t *ids, int32_t count, double penalty);

/* -infinity for each token that would complete an n-gram of `size` >= 1 tokens which `ids`
 * holds already. */
void repetition_block(float *values, const int32_t *ids, int32_t count, int size);

#endif
