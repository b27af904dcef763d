/* What the files of additive attention share: the call, and the formula in f64.
 * additive.c holds the forward and the entry points, additive_backward.c the gradients,
 * additive_reference.c the same pair by pair, slow and readable. */
#ifndef ATTN_ATTENTION_ADDITIVE_H
#define ATTN_ATTENTION_ADDITIVE_H

#include "attention/passes.h"

/* Gradients of parameters are summed in so many runs of sequences, then over these. */
enum { ADDITIVE_SHARES = 8 };

typedef struct additive_call {
    attention_arrays arrays;
    const attn_additive_parameters *parameters;
    float *weights;       /* the weights pass: where those of the first sequence begin */
    float *partials;      /* [ADDITIVE_SHARES][heads][partial_size] */
    int64_t partial_size; /* W and U in rows of ldq, padded_width() of them each, then b, v */
    double *d_sinks;      /* [ADDITIVE_SHARES][heads] */
} additive_call;

static inline int64_t padded_width(int64_t width) {
    return (width + 15) / 16 * 16;
}

static inline int64_t additive_partial_size(const work_plan *plan, int64_t width) {
    return 2 * padded_width(width) * plan->ldq + 2 * padded_width(width);
}

/* Where the weights of the task's sequence and key/value head begin. */
static inline float *additive_weights_of(const work_plan *plan, const work_task *task, const additive_call *call) {
    float *target = call->weights;
    for (int64_t b = 0; b < task->sequence.index; b++) {
        const sequence_view before = problem_sequence(plan->problem, b);
        target += plan->problem->heads * before.queries * before.keys;
    }
    return target + task->kv_head * plan->group * task->sequence.queries * task->sequence.keys;
}

/* Output and log-sum-exp, or with call->weights the weights, of queries from .. of a head. */
void additive_reference_rows(const work_plan *plan, const work_task *task, const additive_call *call,
                             int64_t head, int64_t from, int count, void *scratch);
/* Gradients of the task's sequence and key/value head; the parameters' are added to
 * partials [group][partial_size], a sink's to d_sinks [heads]. */
void additive_reference_backward(const work_plan *plan, const work_task *task, const additive_call *call,
                                 float *partials, double *d_sinks, void *scratch);
size_t additive_reference_scratch(const work_plan *plan, int64_t width, int backward);

/* The scratch and the work of the backward; see additive_backward.c. */
size_t additive_backward_scratch(const work_plan *plan, int64_t width);
void additive_backward_shares(const work_plan *plan, const additive_call *call, char *scratch,
                              size_t scratch_size, int64_t threads);

/* --- what forward and backward do alike (additive.c) --------------------------------------- */

enum { ADDITIVE_ROWS = 48, ADDITIVE_LD = BLOCK_KEYS + 16 };

typedef struct additive_scratch {
    float *parameters; /* W and U of a head in rows of ldq, v */
    float *panels, *q, *k, *values, *d_o, *o;
    float *a, *d_a;    /* all rows of the group [rows][ldw]; forward: of a block */
    float *u, *d_u;    /* [width][ADDITIVE_LD] */
    float *scores, *products;
    float *d_k, *d_v, *log_sum_exp, *factor, *delta, *maximum, *sum;
    float **d_bias; /* of a block's rows */
    score_row *rows;
    row_tile *tiles, *row_tiles, *key_tiles;
} additive_scratch;

size_t additive_lay_out(const work_plan *plan, int64_t width, int backward, void *base, additive_scratch *s);
void additive_add_product(const work_plan *plan, additive_scratch *s, int64_t rows, int depth, const float *a,
                          int64_t row_stride, int64_t k_stride, const float *b, int64_t ldb, int64_t columns,
                          float *c, int64_t ldc);
void additive_load_parameters(const work_plan *plan, const attn_additive_parameters *w, int64_t head,
                              additive_scratch *s);
int additive_load_queries(const work_plan *plan, const work_task *task, const void *base, attn_strides strides,
                          int64_t width, int64_t head, int64_t from, int count, float *rows, int64_t ld);
int additive_load_keys(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t first,
                       int keys, additive_scratch *s);
void additive_make_a(const work_plan *plan, const work_task *task, const additive_call *call, int64_t head,
                     int64_t from, int count, float *a, additive_scratch *s);
void additive_make_u(const work_plan *plan, const additive_call *call, int keys, additive_scratch *s);
int additive_fill_rows(const work_plan *plan, const work_task *task, const additive_call *call, int64_t head,
                       int64_t from, int count, int64_t first, int keys, additive_scratch *s);
void additive_make_scores(const work_plan *plan, const additive_call *call, const float *a, int tiles,
                          additive_scratch *s);

static inline void additive_store(const work_plan *plan, const float *row, float factor, int64_t width,
                                  const void *target) {
    (plan->problem->dtype == ATTN_F32 ? plan->tile->store_f32 : plan->tile->store_bf16)(
        row, factor, (int)width, (void *)(uintptr_t)target);
}

#endif
