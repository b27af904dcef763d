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
    int64_t base; /* the row that loaded.q, loaded.d_o, their pairs and d_q begin with: backward_window() */
    rows_ahead ahead; /* asked for beside a block's products */
} backward_scratch;

/* Bytes of a task's scratch; with base, its pieces. */
size_t backward_lay_out(const work_plan *plan, void *base, backward_scratch *s);

/* Rows that see some of the keys first .. end - 1, from an even one on where they are paired: that one may
 * see nothing, and so may the second of the last pair; their weights are 0, and they are
 * finite: else the reference does the task. */
typedef struct row_range {
    int64_t from, to;
} row_range;

/* A block of keys and the rows that see them, of which those from `from` on are at work. */
typedef struct key_step {
    row_range range;
    int64_t from, first_key;
    int keys; /* 0: none are left */
} key_step;

/* The first of the keys first .. end - 1: a block, or what is left. */
key_step backward_step(const work_plan *plan, const work_task *task, int64_t first, int64_t end);

/* Of the range's rows those from `from` on that are worked on at once. */
int backward_rows_at_once(row_range range, int64_t from);

/* Keys first .. first + keys - 1, and their gradients to 0; those to the caller's arrays. 1 if all are
 * finite. */
int backward_load_keys(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t first,
                       int keys, backward_scratch *s);
void backward_store_keys(const work_plan *plan, const work_task *task, const attention_arrays *a,
                         int64_t first, int keys, backward_scratch *s);

/* Rows from .. from + rows - 1 (at most BACKWARD_ROWS) of s->loaded. 1 if all are finite. */
int backward_load_rows(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t from,
                       int rows, backward_scratch *s);

/* 1 if some log-sum-exp is so large that its rounding is an error of the weights, which backward_rows()
 * corrects. */
int backward_has_large(const work_plan *plan, const work_task *task, const attention_arrays *a);

/* One block of rows against the loaded keys; d_q: from row s->base on. */
void backward_block(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t from,
                    int rows, int64_t first_key, int keys, float *d_q, backward_scratch *s);

/* dQ of row r, to the caller's array. */
void backward_store_query(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t r,
                          float *row);

/* All of a head whose window is narrow: see backward_window.c. */
int backward_window_fits(const work_plan *plan, const work_task *task, const attention_arrays *a);
/* 0 where the reference has to do the task. */
int backward_window(const work_plan *plan, const work_task *task, const attention_arrays *a,
                    backward_scratch *s);

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
