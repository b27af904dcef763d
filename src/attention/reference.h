/* The reference: every formula in f64, pair by pair, slow and readable. It is also what
 * the passes fall back on for a head whose hidden keys or values are not finite, since
 * a product with zero would let them through. */
#ifndef ATTN_ATTENTION_REFERENCE_H
#define ATTN_ATTENTION_REFERENCE_H

#include "attention/plan.h"

/* Output and log-sum-exp of the task's rows. */
void reference_forward(const work_plan *plan, const work_task *task, const attention_arrays *a);

/* All gradients of the task's sequence and key/value head; d_bias and d_sinks
 * ([heads], NULL: none) are added to. scratch: reference_scratch() bytes. */
void reference_backward(const work_plan *plan, const work_task *task, const attention_arrays *a,
                        double *d_sinks, void *scratch);
size_t reference_scratch(const work_plan *plan);

/* Weights of one row (query i of head), dropout included: [keys]. */
void reference_weights(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t i,
                       int64_t head, float *weights);

#endif
