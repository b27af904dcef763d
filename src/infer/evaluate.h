/* The two halves of evaluating, for a validation during training as well. */
#ifndef ATTN_INFER_EVALUATE_H
#define ATTN_INFER_EVALUATE_H

#include "data/corpus.h"
#include "infer/model.h"

/* Fills loss, token_accuracy and the token counts. */
attn_status evaluate_loss(const attn_model *model, const corpus *pairs, attn_evaluation *result);

/* Fills BLEU and chrF of the model's own translations. */
attn_status evaluate_translations(const attn_model *model, const parallel_text *text,
                                  const attn_evaluate_options *options, attn_evaluation *result);

#endif
