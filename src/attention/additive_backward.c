/* The gradients of additive scores; the formula stands at the top of additive.c. As in backward.c
 * the scores are made again from the log-sum-exp and blocks of keys are the outer loop; a's
 * gradient gathers in the workspace for all rows of a key/value head's group.
 *
 * Parameters' gradients are summed in ADDITIVE_SHARES runs of sequences, then over these: the
 * shares may go to different threads and the bits stay. */
#include <math.h>
#include <string.h>

#include "attention/additive.h"
#include "base/threads.h"

static int keys_from(int64_t length, int64_t first) {
    const int64_t left = length - first;
    return (int)(left < 0 ? 0 : left < BLOCK_KEYS ? left : BLOCK_KEYS);
}

static int rows_from(const work_task *task, int64_t from) {
    const int64_t left = task->sequence.queries - from;
    return (int)(left < ADDITIVE_ROWS ? left : ADDITIVE_ROWS);
}

/* a, delta and log-sum-exp of all rows of the group's heads. Returns 1 if a log-sum-exp is so
 * large that its last bit is worth correct_rows(). */
static int prepare_rows(const work_plan *plan, const work_task *task, const additive_call *call,
                        additive_scratch *s) {
    const problem_t *p = plan->problem;
    const attention_arrays *arrays = &call->arrays;
    const int64_t ldw = padded_width(call->parameters->width), queries = task->sequence.queries;
    int large = 0;
    for (int64_t g = 0; g < plan->group; g++) {
        const int64_t head = task->kv_head * plan->group + g;
        additive_load_parameters(plan, call->parameters, head, s);
        for (int64_t from = 0; from < queries; from += ADDITIVE_ROWS) {
            const int count = rows_from(task, from);
            additive_make_a(plan, task, call, head, from, count, s->a + (g * queries + from) * ldw, s);
            additive_load_queries(plan, task, arrays->d_o, p->d_o, p->d_v, head, from, count, s->d_o, plan->ldv);
            additive_load_queries(plan, task, arrays->o, p->o, p->d_v, head, from, count, s->o, plan->ldv);
            for (int n = 0; n < count; n++) {
                const int64_t r = g * queries + from + n;
                const float l = saved_log_sum_exp(plan, task, &call->arrays, head, from + n);
                s->delta[r] = plan->tile->dot(s->d_o + n * plan->ldv, s->o + n * plan->ldv, (int)p->d_v);
                s->factor[r] = 1;
                large |= fabsf(l) > 16.0f && l > -INFINITY;
                s->log_sum_exp[r] = l == -INFINITY ? INFINITY
                                    : plan->rule.modified ? l : l * 1.44269504f;
            }
        }
    }
    memset(s->d_a, 0, (size_t)(plan->group * queries * ldw) * sizeof(float));
    return large;
}

/* The weights of a row sum to 1 but for the rounding of its log-sum-exp: the inverse of the sum
 * becomes the row's factor, as in backward.c. */
static void correct_rows(const work_plan *plan, const work_task *task, const additive_call *call,
                         additive_scratch *s) {
    const int64_t ldw = padded_width(call->parameters->width), queries = task->sequence.queries;
    const float *sinks = plan->problem->sinks;
    for (int64_t g = 0; g < plan->group; g++) {
        const int64_t head = task->kv_head * plan->group + g;
        float *factor = s->factor + g * queries;
        for (int64_t i = 0; i < queries; i++) {
            const float l = saved_log_sum_exp(plan, task, &call->arrays, head, i);
            factor[i] = sinks && l > -INFINITY ? expf(sinks[head] - l) : 0;
        }
        additive_load_parameters(plan, call->parameters, head, s);
        for (int64_t first = 0; first < task->sequence.length; first += BLOCK_KEYS) {
            const int keys = keys_from(task->sequence.length, first);
            additive_load_keys(plan, task, &call->arrays, first, keys, s);
            additive_make_u(plan, call, keys, s);
            for (int64_t from = 0; from < queries; from += ADDITIVE_ROWS) {
                const int count = rows_from(task, from);
                const int tiles = additive_fill_rows(plan, task, call, head, from, count, first, keys, s);
                additive_make_scores(plan, call, s->a + (g * queries + from) * ldw, tiles, s);
                plan->tile->weights(s->row_tiles, tiles, s->rows, &plan->rule, s->scores, ADDITIVE_LD,
                                    s->log_sum_exp + g * queries + from);
                for (int n = 0; n < count; n++) {
                    for (int j = s->rows[n].low; j < s->rows[n].high; j++) {
                        factor[from + n] += s->scores[n * ADDITIVE_LD + j];
                    }
                }
            }
        }
        for (int64_t i = 0; i < queries; i++) {
            factor[i] = s->log_sum_exp[g * queries + i] < INFINITY ? 1.0f / factor[i] : 0;
        }
    }
}

/* A block of rows of a head against the loaded keys. */
static void backward_rows(const work_plan *plan, const work_task *task, const additive_call *call,
                         int64_t head, int64_t from, int count, int64_t first, int keys, float *d_score_v,
                         additive_scratch *s) {
    const problem_t *p = plan->problem;
    const int64_t width = call->parameters->width, ldw = padded_width(width);
    const int64_t r = head % plan->group * task->sequence.queries + from;
    const int tiles = additive_fill_rows(plan, task, call, head, from, count, first, keys, s);
    if (tiles == 0) {
        return;
    }
    additive_load_queries(plan, task, call->arrays.d_o, p->d_o, p->d_v, head, from, count, s->d_o, plan->ldv);
    memset(s->scores, 0, ADDITIVE_ROWS * ADDITIVE_LD * sizeof(float));
    memset(s->products, 0, ADDITIVE_ROWS * ADDITIVE_LD * sizeof(float));
    additive_make_scores(plan, call, s->a + r * ldw, tiles, s);
    const float *rows[BLOCK_KEYS] = {0};
    for (int j = 0; j < keys; j++) {
        rows[j] = s->values + j * plan->ldv;
    }
    plan->tile->transpose(rows, keys, (int)p->d_v, s->panels);
    plan->tile->product_columns(s->row_tiles, tiles, s->d_o, plan->ldv, (int)p->d_v, s->panels, keys,
                                s->products, ADDITIVE_LD, NULL);
    plan->tile->gradient(s->row_tiles, tiles, s->rows, &plan->rule, first, s->scores, s->products, ADDITIVE_LD,
                         s->log_sum_exp + r, s->factor + r, s->delta + r,
                         call->arrays.gradients.bias ? s->d_bias : NULL, p->bias_strides.key);
    const int key_tiles = cut_key_tiles(s->rows, count, keys, s->key_tiles);
    plan->tile->product_terms(s->key_tiles, key_tiles, s->scores, 1, ADDITIVE_LD, s->d_o, plan->ldv,
                              plan_columns(plan, p->d_v), s->d_v, plan->ldv, NULL);
    plan->tile->additive_gradient(s->row_tiles, tiles, s->a + r * ldw, ldw, s->u, ADDITIVE_LD,
                                  s->parameters + 2 * ldw * plan->ldq, (int)width, s->products, ADDITIVE_LD,
                                  s->d_a + r * ldw, s->d_u, d_score_v);
}

static void store_keys(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t first,
                       int keys, const additive_scratch *s) {
    const problem_t *p = plan->problem;
    for (int j = 0; j < keys; j++) {
        if (a->gradients.k) {
            additive_store(plan, s->d_k + j * plan->ldq, 1, p->d,
                           key_row(p, &task->sequence, a->gradients.k, p->d_k, first + j, task->kv_head));
        }
        if (a->gradients.v) {
            additive_store(plan, s->d_v + j * plan->ldv, plan->rule.keep_scale, p->d_v,
                           key_row(p, &task->sequence, a->gradients.v, p->d_v_, first + j, task->kv_head));
        }
    }
}

/* All rows of the group against a block of keys; stores dK and dV. partials: [group]. */
static void key_block(const work_plan *plan, const work_task *task, const additive_call *call, int64_t first,
                      float *partials, additive_scratch *s) {
    const problem_t *p = plan->problem;
    const int64_t width = call->parameters->width, ldw = padded_width(width);
    const int keys = keys_from(task->sequence.length, first);
    memset(s->d_k, 0, (size_t)(BLOCK_KEYS * plan->ldq) * sizeof(float));
    memset(s->d_v, 0, (size_t)(BLOCK_KEYS * plan->ldv) * sizeof(float));
    additive_load_keys(plan, task, &call->arrays, first, keys, s);
    for (int64_t g = 0; g < plan->group && keys > 0; g++) {
        const int64_t head = task->kv_head * plan->group + g;
        float *mine = partials + g * call->partial_size;
        additive_load_parameters(plan, call->parameters, head, s);
        additive_make_u(plan, call, keys, s);
        memset(s->d_u, 0, (size_t)(ldw * ADDITIVE_LD) * sizeof(float));
        for (int64_t from = 0; from < task->sequence.queries; from += ADDITIVE_ROWS) {
            backward_rows(plan, task, call, head, from, rows_from(task, from), first, keys,
                          mine + 2 * ldw * plan->ldq + ldw, s);
        }
        /* dK += du U, dU += du^T K */
        additive_add_product(plan, s, keys, (int)width, s->d_u, 1, ADDITIVE_LD,
                             s->parameters + ldw * plan->ldq, plan->ldq, p->d, s->d_k, plan->ldq);
        additive_add_product(plan, s, width, keys, s->d_u, ADDITIVE_LD, 1, s->k, plan->ldq, p->d,
                             mine + ldw * plan->ldq, plan->ldq);
    }
    store_keys(plan, task, &call->arrays, first, keys_from(task->sequence.keys, first), s);
}

/* dQ = da W, dW += da^T Q, db += sum da of rows from .. of a head. */
static void query_rows(const work_plan *plan, const work_task *task, const additive_call *call, int64_t head,
                       int64_t from, float *mine, additive_scratch *s) {
    const problem_t *p = plan->problem;
    const attention_arrays *a = &call->arrays;
    const int64_t width = call->parameters->width, ldw = padded_width(width);
    const int count = rows_from(task, from);
    const float *d_a = s->d_a + (head % plan->group * task->sequence.queries + from) * ldw;
    float *d_q = s->panels;
    memset(d_q, 0, (size_t)(count * plan->ldq) * sizeof(float));
    additive_add_product(plan, s, count, (int)width, d_a, ldw, 1, s->parameters, plan->ldq, p->d, d_q,
                         plan->ldq);
    additive_load_queries(plan, task, a->q, p->q, p->d, head, from, count, s->q, plan->ldq);
    additive_add_product(plan, s, width, count, d_a, 1, ldw, s->q, plan->ldq, p->d, mine, plan->ldq);
    for (int n = 0; n < count; n++) {
        for (int64_t c = 0; c < width; c++) {
            mine[2 * ldw * plan->ldq + c] += d_a[n * ldw + c];
        }
        if (a->gradients.q) {
            additive_store(plan, d_q + n * plan->ldq, 1, p->d,
                           query_row(p, &task->sequence, a->gradients.q, p->d_q, from + n, head));
        }
    }
}

/* 1 if all of the task's rows are finite: a product with zero keeps nothing else out. */
static int all_finite(const work_plan *plan, const work_task *task, const additive_call *call,
                      additive_scratch *s) {
    const problem_t *p = plan->problem;
    const attention_arrays *a = &call->arrays;
    int finite = 1;
    for (int64_t first = 0; first < task->sequence.length; first += BLOCK_KEYS) {
        finite &= additive_load_keys(plan, task, a, first, keys_from(task->sequence.length, first), s);
    }
    for (int64_t g = 0; g < plan->group; g++) {
        const int64_t head = task->kv_head * plan->group + g;
        for (int64_t from = 0; from < task->sequence.queries; from += ADDITIVE_ROWS) {
            const int count = rows_from(task, from);
            finite &= additive_load_queries(plan, task, a->q, p->q, p->d, head, from, count, s->q, plan->ldq);
            finite &= additive_load_queries(plan, task, a->d_o, p->d_o, p->d_v, head, from, count, s->d_o,
                                            plan->ldv);
        }
    }
    return finite;
}

/* A sink takes part of the weight and has no value. */
static void sink_gradients(const work_plan *plan, const work_task *task, const additive_call *call,
                           double *d_sinks, const additive_scratch *s) {
    for (int64_t r = 0; r < task->count; r++) {
        const int64_t head = task->kv_head * plan->group + r / task->sequence.queries;
        const float l = saved_log_sum_exp(plan, task, &call->arrays, head, r % task->sequence.queries);
        const float sink = plan->problem->sinks[head];
        if (sink > -INFINITY && l > -INFINITY) {
            d_sinks[head] -= exp((double)sink - (double)l) * (double)(s->factor[r] * s->delta[r]);
        }
    }
}

/* As rows_are_huge(), of rows that lie head by head. */
static int any_huge(const work_plan *plan, const work_task *task, const additive_call *call) {
    int huge = 0;
    for (int64_t r = 0; r < task->count; r++) {
        const int64_t head = task->kv_head * plan->group + r / task->sequence.queries;
        huge |= is_huge(plan, saved_log_sum_exp(plan, task, &call->arrays, head, r % task->sequence.queries));
    }
    return huge;
}

/* Gradients of one sequence and key/value head; what is summed is added to the share's
 * partials [group] and d_sinks [heads] (NULL: none). */
static void sequence_gradients(const work_plan *plan, const work_task *task, const additive_call *call,
                               float *partials, double *d_sinks, void *scratch) {
    additive_scratch s;
    additive_lay_out(plan, call->parameters->width, 1, scratch, &s);
    if (!plan->tile || any_huge(plan, task, call) ||
        ((plan->hides || task->sequence.length == 0) && !all_finite(plan, task, call, &s))) {
        additive_reference_backward(plan, task, call, partials, d_sinks, scratch);
        return;
    }
    if (prepare_rows(plan, task, call, &s)) {
        correct_rows(plan, task, call, &s);
    }
    for (int64_t first = 0; first < task->sequence.keys; first += BLOCK_KEYS) {
        key_block(plan, task, call, first, partials, &s);
    }
    for (int64_t g = 0; g < plan->group; g++) {
        const int64_t head = task->kv_head * plan->group + g;
        additive_load_parameters(plan, call->parameters, head, &s);
        for (int64_t from = 0; from < task->sequence.queries; from += ADDITIVE_ROWS) {
            query_rows(plan, task, call, head, from, partials + g * call->partial_size, &s);
        }
    }
    if (d_sinks) {
        sink_gradients(plan, task, call, d_sinks, &s);
    }
}

size_t additive_backward_scratch(const work_plan *plan, int64_t width) {
    additive_scratch s;
    const size_t blocks = additive_lay_out(plan, width, 1, NULL, &s);
    const size_t reference = additive_reference_scratch(plan, width, 1);
    return blocks > reference ? blocks : reference;
}

/* A share of a key/value head: a run of sequences, taken in order. */
static void run_share(const work_plan *plan, const additive_call *call, int64_t share, int64_t kv_head,
                      void *scratch) {
    const problem_t *p = plan->problem;
    const int64_t from = p->sequences * share / ADDITIVE_SHARES, to = p->sequences * (share + 1) / ADDITIVE_SHARES;
    float *partials = call->partials + (share * p->heads + kv_head * plan->group) * call->partial_size;
    double *d_sinks = call->arrays.gradients.sinks ? call->d_sinks + share * p->heads : NULL;
    for (int64_t b = from; b < to; b++) {
        work_task task = {.sequence = problem_sequence(p, b), .kv_head = kv_head};
        task.count = task.sequence.queries * plan->group;
        sequence_gradients(plan, &task, call, partials, d_sinks, scratch);
    }
}

/* Shares that add to the same bias gradient form a chain and run in order. */
void additive_backward_shares(const work_plan *plan, const additive_call *call, char *scratch,
                              size_t scratch_size, int64_t threads) {
    const int64_t heads = plan->problem->kv_heads;
    const int by_share = plan->chain == CHAIN_NONE || plan->chain == CHAIN_SEQUENCE;
    const int by_head = plan->chain == CHAIN_NONE || plan->chain == CHAIN_HEAD;
    const int64_t shares_apart = by_share ? ADDITIVE_SHARES : 1, heads_apart = by_head ? heads : 1;
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)threads) if (threads > 1)
    for (int64_t n = 0; n < shares_apart * heads_apart; n++) {
        char *mine = scratch + (size_t)threads_index() * scratch_size;
        const int64_t share = n / heads_apart, head = n % heads_apart;
        for (int64_t s = by_share ? share : 0; s < (by_share ? share + 1 : ADDITIVE_SHARES); s++) {
            for (int64_t h = by_head ? head : 0; h < (by_head ? head + 1 : heads); h++) {
                run_share(plan, call, s, h, mine);
            }
        }
    }
}
