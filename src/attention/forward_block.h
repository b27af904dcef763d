/* What the forward pass on blocks of keys (forward.c) and that through a narrow window (forward_window.c)
 * share. */
#ifndef ATTN_ATTENTION_FORWARD_BLOCK_H
#define ATTN_ATTENTION_FORWARD_BLOCK_H

#include "attention/plan.h"

/* Rows that go through a narrow window together, and the most blocks of keys that they may meet. */
enum { WINDOW_ROWS = 24, WINDOW_BLOCKS = 8 };

typedef struct forward_scratch {
    float *q, *o, *maximum, *sum; /* rows of the chunk */
    float *k, *k_panels, *v; /* a block of keys; of k_panels and v window_blocks() where those are not 0 */
    uint16_t *v_rows;
    float *scores;     /* FORWARD_ROWS x BLOCK_KEYS, or WINDOW_ROWS x window_blocks() of those */
    uint16_t *rounded; /* the same in bf16 */
    score_row *rows;
    int32_t *low, *high; /* keys that each row sees */
    rows_ahead *ahead;   /* NULL: all is small enough to stay in the caches */
    int pairs_ahead;     /* biases and masks are not */
} forward_scratch;

/* The task's queries, and what each sees. */
void forward_load_queries(const work_plan *plan, const work_task *task, const attention_arrays *a,
                          forward_scratch *s);

/* Packs keys first .. first + keys - 1 into k_panels and v. 0 if a value is not finite that some query may
 * not see: then zero weights would not keep it out. */
int forward_load_keys(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t first,
                      int keys, const forward_scratch *s);

/* The keys low .. high - 1 that some of the task's rows see; none: *high is 0. */
void forward_seen(const work_task *task, const forward_scratch *s, int64_t *low, int64_t *high);

/* Divides by the sums, adds the sinks, writes output and log-sum-exp. */
void forward_finish(const work_plan *plan, const work_task *task, const attention_arrays *a,
                    const forward_scratch *s);

/* Blocks of keys that WINDOW_ROWS rows meet at most where a window is narrow, or 0. */
int64_t window_blocks(const work_plan *plan);

/* A task where that is not 0. 0 where the reference has to do it. */
int forward_window(const work_plan *plan, const work_task *task, const attention_arrays *a,
                   forward_scratch *s);

#endif
