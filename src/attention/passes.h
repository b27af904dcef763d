/* The passes' workspace sizes; each is defined beside its pass. */
#ifndef ATTN_ATTENTION_PASSES_H
#define ATTN_ATTENTION_PASSES_H

#include "attention/plan.h"

size_t forward_workspace(const work_plan *plan);
size_t backward_workspace(const work_plan *plan);
size_t weights_workspace(const work_plan *plan);
size_t column_sums_workspace(const work_plan *plan);
size_t decode_workspace(const work_plan *plan);
/* ATTN_OK if the parts' results can be counted. */
attn_status decode_check_size(const work_plan *plan);

/* Short sequences (short.c): whether a sequence's heads go this way, and one head forward or
 * backward, 0 where the general way has to do it. */
int short_fits(const work_plan *plan, const work_task *task);
size_t short_scratch_size(const work_plan *plan);
int short_run(const work_plan *plan, const work_task *task, const attention_arrays *a, int backward,
              void *scratch);

/* The linear score's own passes (linear.c): a task is a whole sequence and head.
 * linear_backward gives 0 where the reference has to do it. */
attn_status linear_check(const work_plan *plan);
size_t linear_scratch_size(const work_plan *plan);
void linear_forward_task(const work_plan *plan, const work_task *task, void *context,
                         void *scratch);
int linear_backward(const work_plan *plan, const work_task *task, const attention_arrays *a,
                    void *scratch);

#endif
