/* The backward pass on blocks: backward.c says how the parts of a head come together. A head's keys
 * form groups of GROUP_KEYS, which may be worked on at the same time: each gives dK and dV of its
 * own keys and its share of dQ, and the shares are added in the order of the groups. */
#ifndef ATTN_ATTENTION_BACKWARD_BLOCK_H
#define ATTN_ATTENTION_BACKWARD_BLOCK_H

#include "attention/plan.h"

enum { GROUP_KEYS = 1024 }; /* whole blocks */

/* What backward_rows() makes of all rows of the task, and threads that share it only read. */
typedef struct loaded_rows {
    float *log_sum_exp, *factor, *delta;
    float *q, *d_o;             /* as the products take them: in bf16 pairs of the width */
    float *q_pairs, *d_o_pairs; /* bf16: pairs of rows */
} loaded_rows;

typedef struct backward_scratch {
    loaded_rows loaded;
    float *d_q;       /* all rows of the task */
    float *d_q_group; /* the same of one group of keys, where there are several */
    float *scores, *products; /* a block of rows */
    float *k, *v, *k_panels, *v_panels, *d_k, *d_v; /* a block of keys */
    /* bf16: rows of pairs of the width above (k), and pairs of keys and of rows of the scores, and the
     * scores' gradients rounded */
    float *k_pairs, *score_pairs;
    uint16_t *rounded;
    score_row *rows;
    float **d_bias;
    rows_ahead ahead; /* asked for beside a block's products */
} backward_scratch;

/* Bytes of a task's scratch; with base, its pieces. */
size_t backward_lay_out(const work_plan *plan, void *base, backward_scratch *s);

/* s->loaded. 0 where the reference has to do the task. */
int backward_rows(const work_plan *plan, const work_task *task, const attention_arrays *a, backward_scratch *s);

/* The rows of the task that see keys of a group. */
void backward_group_rows(const work_plan *plan, const work_task *task, int64_t number, int64_t *from, int64_t *to);

/* dK and dV of a group's keys, to the caller's arrays, and the group's share of those rows' dQ, to
 * d_q. 0 where the reference has to do the task. */
int backward_group(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t number,
                   float *d_q, backward_scratch *s);

/* dQ of all rows, from s->d_q. */
void backward_store_queries(const work_plan *plan, const work_task *task, const attention_arrays *a,
                            backward_scratch *s);

/* Adds the gradients of the sinks to d_sinks [heads]. */
void backward_sinks(const work_plan *plan, const work_task *task, const attention_arrays *a,
                    const backward_scratch *s, double *d_sinks);

#endif
