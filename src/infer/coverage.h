/* The coverage penalty (Wu et al. 2016, section 7): a translation that never looked at part of
 * its source scores less,
 *     score = log p / length penalty + beta * sum_i log(min(sum_j p_ij, 1)),
 * p_ij: the cross-attention of step j (that of </s> too) to source token i, </s> left out, in
 * the decoder's last layer, the mean of its heads. */
#ifndef ATTN_INFER_COVERAGE_H
#define ATTN_INFER_COVERAGE_H

#include <stdint.h>

/* sums [tokens] of attention, </s> not among them -> the sum of logarithms, <= 0. A sum below
 * 1e-9 counts as that. */
double coverage_of(const float *sums, int32_t tokens);

#endif
