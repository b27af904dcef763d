/* Attention as one would first write it: f32, a whole row of scores, expf, no blocks. With bf16
 * arrays, weights and score gradients are rounded to bf16 before they are multiplied, as matrix
 * products in that type need. Its error against f64 is the measure for the operator's.
 *
 * Nothing says how a score's terms are to be summed, and where a row's weights hang on the last bits of
 * two scores the error is a matter of that: there are three ways, and the largest error of the three
 * counts. */
#ifndef ATTN_BENCH_ATTENTION_PLAIN_H
#define ATTN_BENCH_ATTENTION_PLAIN_H

#include "bench/attention_cases.h"

/* Upwards, downwards, and upwards with fused multiply-adds, as compilers make of it. */
enum { PLAIN_ORDERS = 3 };

typedef struct plain_result {
    /* as the case's arrays, in f32; weights are NULL for a case of very many */
    float *o, *d_q, *d_k, *d_v, *log_sum_exp, *d_bias, *d_sinks, *weights, *sums;
    size_t weights_count;
    /* The largest terms of the sums that may cancel: of a score's parts what reaches a weight or the
     * log-sum-exp, what goes to a bias, what goes to an element of d_q or d_k, and an output's and the
     * log-sum-exp's part of what goes to a sink, and the linear score's output, a quotient of two sums over
     * the width, twice. Their last bits are errors of any way of computing. */
    float weight_term, bias_term, gradient_term, sink_term, linear_term;
} plain_result;

/* order: 0 .. PLAIN_ORDERS - 1. ATTN_ERROR_MEMORY. Release with plain_free() in either case. */
attn_status plain_run(const case_arrays *a, int order, plain_result *r);
void plain_free(plain_result *r);

#endif
