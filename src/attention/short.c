/* Runs the heads of short sequences through the tile kernels made for them; see short.h. */
#include "attention/short.h"

#include <string.h>

#include "attention/passes.h"

static int64_t widest(const work_plan *plan) {
    return plan->ldq > plan->ldv ? plan->ldq : plan->ldv;
}

static size_t lay_out(const work_plan *plan, void *base, short_head *h) {
    enum { ROWS = SHORT_QUERIES > SHORT_KEYS ? SHORT_QUERIES : SHORT_KEYS };
    scratch_cursor at = {.base = base};
    const size_t ldq = (size_t)plan->ldq, ldv = (size_t)plan->ldv;
    h->q_rows = scratch_take(&at, SHORT_QUERIES * ldq, sizeof(float));
    h->k_rows = scratch_take(&at, SHORT_KEYS * ldq, sizeof(float));
    h->v_rows = scratch_take(&at, SHORT_KEYS * ldv, sizeof(float));
    h->q_columns = scratch_take(&at, SHORT_QUERIES * ldq, sizeof(float));
    h->scores = scratch_take(&at, SHORT_KEYS * SHORT_QUERIES, sizeof(float));
    h->out_rows = scratch_take(&at, ROWS * (size_t)widest(plan), sizeof(float));
    h->d_o_rows = scratch_take(&at, SHORT_QUERIES * ldv, sizeof(float));
    h->d_o_columns = scratch_take(&at, SHORT_QUERIES * ldv, sizeof(float));
    h->products = scratch_take(&at, SHORT_KEYS * SHORT_QUERIES, sizeof(float));
    if (plan->pairs) {
        h->weights = scratch_take(&at, SHORT_KEYS * SHORT_QUERIES / 2, sizeof(float));
        h->d_scores = scratch_take(&at, SHORT_KEYS * SHORT_QUERIES / 2, sizeof(float));
    }
    return at.used;
}

size_t short_scratch_size(const work_plan *plan) {
    short_head h;
    return lay_out(plan, NULL, &h);
}

int short_fits(const work_plan *plan, const work_task *task) {
    const problem_t *p = plan->problem;
    return plan->group == 1 && task->sequence.queries <= SHORT_QUERIES && task->sequence.length <= SHORT_KEYS &&
           task->sequence.length > 0 && !plan->rule.modified && !plan->transforms && !p->sinks;
}

static int32_t reach(int64_t window) {
    return (int32_t)(window < 4 * SHORT_KEYS ? window : 4 * SHORT_KEYS);
}

static short_rows rows_of(const work_plan *plan, const work_task *task, const void *array,
                          attn_strides strides, int of_keys) {
    const problem_t *p = plan->problem;
    const char *first = of_keys ? key_row(p, &task->sequence, array, strides, 0, task->kv_head)
                                : query_row(p, &task->sequence, array, strides, 0, task->kv_head);
    return (short_rows){.first = array ? (char *)(uintptr_t)first : NULL,
                        .stride = strides.token * dtype_size(p->dtype)};
}

/* Adds the share of head kv_head of the rows of all heads of a sequence. */
static void add_rows(const work_plan *plan, const work_task *task, const void *array,
                        attn_strides strides, int64_t width, int of_keys, rows_ahead *ahead) {
    const problem_t *p = plan->problem;
    if (!array || strides.head != width) {
        return; /* rows that do not lie together are not worth it */
    }
    const int64_t tokens = of_keys ? task->sequence.length : task->sequence.queries;
    const int64_t from = tokens * task->kv_head / p->heads, to = tokens * (task->kv_head + 1) / p->heads;
    const int64_t bytes = p->heads * width * dtype_size(p->dtype);
    if (from == to) {
        return;
    }
    const int together = strides.token == p->heads * width; /* then all is one long row */
    ahead_add(ahead,
              of_keys ? key_row(p, &task->sequence, array, strides, from, 0)
                      : query_row(p, &task->sequence, array, strides, from, 0),
              strides.token * dtype_size(p->dtype), together ? bytes * (to - from) : bytes,
              together ? 1 : to - from);
}

/* The next sequence's rows of all heads, a share for each head of this one. */
static void look_ahead(const work_plan *plan, const work_task *task, const attention_arrays *a,
                       int backward, rows_ahead *ahead) {
    const problem_t *p = plan->problem;
    if (!task->next || !plan_is_large(plan, backward)) {
        return;
    }
    const work_task next = *task->next;
    if (next.sequence.queries > SHORT_QUERIES || next.sequence.length > SHORT_KEYS) {
        return;
    }
    add_rows(plan, &next, a->q, p->q, p->d, 0, ahead);
    add_rows(plan, &next, a->k, p->k, p->d, 1, ahead);
    add_rows(plan, &next, a->v, p->v, p->d_v, 1, ahead);
    if (backward) {
        add_rows(plan, &next, a->d_o, p->d_o, p->d_v, 0, ahead);
        add_rows(plan, &next, a->gradients.q, p->d_q, p->d, 0, ahead);
        add_rows(plan, &next, a->gradients.k, p->d_k, p->d, 1, ahead);
        add_rows(plan, &next, a->gradients.v, p->d_v_, p->d_v, 1, ahead);
    } else {
        add_rows(plan, &next, a->out, p->o, p->d_v, 0, ahead);
    }
}

int short_run(const work_plan *plan, const work_task *task, const attention_arrays *a, int backward,
              void *scratch) {
    const problem_t *p = plan->problem;
    rows_ahead ahead = {0};
    const int64_t b = task->sequence.index;
    short_head h = {
        .dtype = p->dtype, .queries = (int)task->sequence.queries, .keys = (int)task->sequence.length,
        .d = (int)p->d, .d_v = (int)p->d_v, .scale = plan->rule.scale, .hides = plan->hides,
        .shift = (int32_t)task->sequence.shift, .left = reach(p->window_left),
        .right = p->causal != ATTN_CAUSAL_NONE ? 0 : reach(p->window_right),
        .drop_below = plan->rule.drop_below, .keep_scale = plan->rule.keep_scale,
        .ahead = &ahead, .ldq = plan->ldq, .ldv = plan->ldv,
        .q = rows_of(plan, task, a->q, p->q, 0), .k = rows_of(plan, task, a->k, p->k, 1),
        .v = rows_of(plan, task, a->v, p->v, 1)};
    lay_out(plan, scratch, &h);
    if (h.drop_below) {
        h.dropout_key = dropout_head_key(p->dropout_seed, p->dropout_first_sequence + b, task->kv_head);
    }
    look_ahead(plan, task, a, backward, &ahead);
    if (backward) {
        h.d_o = rows_of(plan, task, a->d_o, p->d_o, 0);
        h.d_q = rows_of(plan, task, a->gradients.q, p->d_q, 0);
        h.d_k = rows_of(plan, task, a->gradients.k, p->d_k, 1);
        h.d_v_ = rows_of(plan, task, a->gradients.v, p->d_v_, 1);
        return plan->tile->short_backward(&h);
    }
    h.o = rows_of(plan, task, a->out, p->o, 0);
    if (a->log_sum_exp) {
        h.log_sum_exp = a->log_sum_exp + task->kv_head * plan->size.q_tokens + task->sequence.q_first;
    }
    return plan->tile->short_forward(&h);
}
