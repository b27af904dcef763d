/* Drawing the next token: temperature, the top_k likeliest (Fan et al. 2018) and the
 * nucleus, the fewest likeliest tokens whose probabilities reach top_p (Holtzman et al.
 * 2020), in this order, as transformers has them. What is drawn is a function of the
 * seed, the source's tokens, the sample's number and the step alone: a sentence's samples
 * do not depend on its company. */
#ifndef ATTN_INFER_SAMPLING_H
#define ATTN_INFER_SAMPLING_H

#include "infer/steering.h"

/* The stream of one sample of one source. */
uint64_t sampling_key(uint64_t seed, const int32_t *source, int32_t count, int sample);

/* A token of the vocabulary's room: for sorting. */
typedef struct sampled_token {
    float value;
    int32_t token;
} sampled_token;

/* The tokens that may be drawn: those whose logits [vocabulary] are above -infinity, filtered;
 * kept [vocabulary], likeliest first; returns their number. value becomes the
 * logit divided by the temperature. */
int64_t sampling_filter(const float *logits, int64_t vocabulary, const sampling_options *options, sampled_token *kept);

/* Draws from softmax(value) of the kept tokens, count >= 1. */
int32_t sampling_draw(const sampled_token *kept, int64_t count, uint64_t key, int32_t step);

#endif
