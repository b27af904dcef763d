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

/* The pieces, for the reference of other scores. */

/* Element c of a row of that type, and storing one rounded to it. */
double reference_element(const void *row, attn_dtype dtype, int64_t c);
void reference_store(void *row, attn_dtype dtype, int64_t c, double value);
/* 1 if the mask or a bias of -inf hides the key. */
int reference_hidden(const work_plan *plan, const work_task *task, int64_t head, int64_t i, int64_t j);
/* The score with soft cap, slope and bias; *slope: the soft cap's derivative. */
double reference_score(const work_plan *plan, const work_task *task, int64_t head, int64_t i, int64_t j,
                       double score, double *slope);
/* Takes a score into a row's maximum and sum of exp(s - maximum). */
void reference_add_score(double s, double *maximum, double *sum);

#endif
