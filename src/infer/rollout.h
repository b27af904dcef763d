/* Attention through all layers at once: rollout (Abnar & Zuidema 2020, 3.1). */
#ifndef ATTN_INFER_ROLLOUT_H
#define ATTN_INFER_ROLLOUT_H

#include "base/error.h"

#include <stdint.h>

/* out[j] = sum_i looks[i] weights[i, j]: what the tokens attend to, each as far as it counts.
 * weights [tokens, tokens]. */
void attention_of(const float *looks, const float *weights, int64_t tokens, float *out);

/* looks A_L .. A_1 with A_l = (W_l + I) / 2, W_l the mean of layer l's heads: how much of each
 * input token is in what `looks` sees at the top, if residual and attention count
 * alike. layers[l] [heads[l], tokens, tokens], the first layer first. Sums to looks' sum. */
attn_status attention_rollout(const float *const *layers, int count, const int *heads, int64_t tokens, const float *looks, float *out);

#endif
