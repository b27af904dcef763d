/* How much a translator's heads matter to it (Michel, Levy & Neubig 2019, 4.1): a factor xi_h = 1
 * on the output of head h, and
 *     I_h = E_x |dL(x) / dxi_h| = E_x |Att_h(x)^T dL(x) / dAtt_h(x)|,
 * L(x) = -log p(target | source) of pair x, no smoothing, no dropout; then divided by the l2 norm
 * of a layer's heads. The gradients are those of the training's way back. */
#ifndef ATTN_INFER_HEAD_IMPORTANCE_H
#define ATTN_INFER_HEAD_IMPORTANCE_H

#include "data/corpus.h"
#include "model/transformer.h"

/* gradients [heads]: E_x |dL / dxi_h| over the corpus, heads numbered as model_config_head_number does.
 * The model's gradients are used up. The same for any number of threads. */
attn_status head_gradients(const transformer *model, const corpus *pairs, double *gradients);

/* importance [heads]: each divided by its layer's norm; 0 where that is 0. */
void head_importance(const model_config *config, const double *gradients, double *importance);

#endif
