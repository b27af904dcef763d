/* The backward pass (Dao et al. 2022, algorithm 4). A task is one key/value head of a
 * sequence; the scores are recomputed block by block from the log-sum-exp l:
 *
 *     delta_i = <do_i, o_i>                     P = exp(S - l)
 *     dV += P^T dO     dP = dO V^T              dS = P (dP - delta)
 *     dQ += scale dS K     dK += scale dS^T Q
 *
 * Blocks of keys are the outer loop, so that dK and dV of a block are finished at once and dQ
 * gathers in the workspace. Where there are fewer heads than threads, the threads share the groups
 * of keys of one head after the other. All sums have one fixed order. */
#include <math.h>
#include <string.h>

#include "attention/backward_block.h"
#include "attention/passes.h"
#include "attention/reference.h"

/* What a call shares between its tasks. */
typedef struct backward_call {
    attention_arrays arrays;
    double *d_sinks; /* [sequences, heads]: summed in order at the end */
    int threads;     /* that work on one head */
    size_t scratch_size; /* from a thread's scratch to the next one's */
} backward_call;

/* Groups first .. first + count - 1 of a head's keys, one to a thread, each with its own scratch;
 * `s` is the first scratch and has the rows and dQ. 0 where the reference has to do it. */
static int run_groups(const work_plan *plan, const work_task *task, const backward_call *call, int64_t first,
                      int count, char *scratch, backward_scratch *s) {
    int refused = 0;
#pragma omp parallel for schedule(static, 1) reduction(+ : refused) num_threads(count) if (count > 1)
    for (int t = 0; t < count; t++) {
        backward_scratch own;
        backward_lay_out(plan, scratch + (size_t)t * call->scratch_size, &own);
        own.loaded = s->loaded;
        refused += !backward_group(plan, task, &call->arrays, first + t, first + t ? own.d_q_group : s->d_q, &own);
    }
    for (int t = first ? 0 : 1; t < count && !refused; t++) {
        backward_scratch own;
        int64_t from, to;
        backward_lay_out(plan, scratch + (size_t)t * call->scratch_size, &own);
        backward_group_rows(plan, task, first + t, &from, &to);
        for (int64_t e = from * plan->ldq; e < to * plan->ldq; e++) {
            s->d_q[e] += own.d_q_group[e];
        }
    }
    return !refused;
}

/* 0 where the reference has to do it. */
static int backward_head(const work_plan *plan, const work_task *task, const backward_call *call, char *scratch,
                         backward_scratch *s) {
    const int64_t groups = (task->sequence.length + GROUP_KEYS - 1) / GROUP_KEYS;
    if (call->threads == 1 && !call->arrays.gradients.bias &&
        backward_window_fits(plan, task, &call->arrays)) {
        return backward_window(plan, task, &call->arrays, s);
    }
    if (!backward_rows(plan, task, &call->arrays, s)) {
        return 0;
    }
    memset(s->d_q, 0, (size_t)(task->count * plan->ldq) * sizeof(float));
    for (int64_t first = 0; first < groups; first += call->threads) {
        const int64_t left = groups - first;
        if (!run_groups(plan, task, call, first, (int)(left < call->threads ? left : call->threads), scratch, s)) {
            return 0;
        }
    }
    backward_store_queries(plan, task, &call->arrays, s);
    return 1;
}

static void backward_task(const work_plan *plan, const work_task *task, void *context, void *scratch) {
    const backward_call *call = context;
    const attention_arrays *a = &call->arrays;
    double *d_sinks = call->d_sinks ? call->d_sinks + task->sequence.index * plan->problem->heads
                                    : NULL;
    backward_scratch s;
    if (plan->tile && plan->problem->score == ATTN_SCORE_LINEAR) {
        if (!linear_backward(plan, task, a, scratch)) {
            reference_backward(plan, task, a, NULL, scratch);
        }
    } else if (plan->tile && short_fits(plan, task) && short_run(plan, task, a, 1, scratch)) {
        /* done */
    } else if (plan->tile) {
        backward_lay_out(plan, scratch, &s);
        if (task_is_short(task) && task->kv_head == 0) {
            const problem_t *p = plan->problem;
            touch_queries(plan, task, a->o, p->o, p->d_v, 0);
            touch_queries(plan, task, a->d_o, p->d_o, p->d_v, 0);
            touch_queries(plan, task, a->q, p->q, p->d, 0);
            touch_keys(plan, task, a->k, p->k, p->d, 0);
            touch_keys(plan, task, a->v, p->v, p->d_v, 0);
            touch_queries(plan, task, a->gradients.q, p->d_q, p->d, 1);
            touch_keys(plan, task, a->gradients.k, p->d_k, p->d, 1);
            touch_keys(plan, task, a->gradients.v, p->d_v_, p->d_v, 1);
        }
        if (!rows_are_huge(plan, task, a) && backward_head(plan, task, call, scratch, &s)) {
            if (d_sinks) {
                backward_sinks(plan, task, a, &s, d_sinks);
            }
        } else {
            reference_backward(plan, task, a, d_sinks, scratch);
        }
    } else {
        reference_backward(plan, task, a, d_sinks, scratch);
    }
    /* keys that do not exist */
    for (int64_t j = task->sequence.length; j < task->sequence.keys; j++) {
        const problem_t *p = plan->problem;
        if (a->gradients.k) {
            memset((void *)(uintptr_t)key_row(p, &task->sequence, a->gradients.k, p->d_k, j,
                                              task->kv_head), 0,
                   (size_t)(p->d * dtype_size(p->dtype)));
        }
        if (a->gradients.v) {
            memset((void *)(uintptr_t)key_row(p, &task->sequence, a->gradients.v, p->d_v_, j,
                                              task->kv_head), 0,
                   (size_t)(p->d_v * dtype_size(p->dtype)));
        }
    }
}

static size_t backward_scratch_size(const work_plan *plan) {
    backward_scratch s;
    size_t size = plan->tile ? backward_lay_out(plan, NULL, &s) : 0;
    if (plan->tile && plan->problem->score == ATTN_SCORE_LINEAR) {
        size = linear_scratch_size(plan);
    }
    const size_t reference = reference_scratch(plan), least = short_scratch_size(plan);
    size = size > least ? size : least;
    return size > reference ? size : reference;
}

static size_t sinks_size(const work_plan *plan) {
    const problem_t *p = plan->problem;
    return p->sinks ? (size_t)(p->sequences * p->heads) * sizeof(double) + 64 : 0;
}

size_t backward_workspace(const work_plan *plan) {
    return sinks_size(plan) + plan_workspace(backward_scratch_size(plan));
}

static attn_status check_arrays(const work_plan *plan, const attention_arrays *a) {
    if ((plan->size.q_tokens && (!a->q || !a->o || !a->d_o || !a->saved_log_sum_exp)) ||
        (plan->size.k_tokens && (!a->k || !a->v))) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: q, k, v, o, log_sum_exp or d_o is NULL");
    }
    if ((a->gradients.bias && !plan->problem->bias) ||
        (a->gradients.sinks && !plan->problem->sinks)) {
        return fail(ATTN_ERROR_ARGUMENT,
                    "attention: a gradient of a bias or of sinks that the problem has not");
    }
    return ATTN_OK;
}

/* The threads that share each head: more than one where heads are fewer and long. A bias's
 * gradient may be of many keys together, so its sums stay with one thread. */
static int threads_of_a_head(const work_plan *plan, const backward_call *call, size_t room) {
    const int64_t threads = plan_threads(plan) < (int64_t)room ? plan_threads(plan) : (int64_t)room;
    const int few = plan->problem->sequences * plan->problem->kv_heads < threads;
    return few && plan->tile && plan->problem->score != ATTN_SCORE_LINEAR && !call->arrays.gradients.bias &&
                   plan->size.most_keys > GROUP_KEYS
               ? (int)threads
               : 1;
}

/* All heads one after the other, each by several threads. */
static void run_heads(const work_plan *plan, backward_call *call, char *scratch) {
    const problem_t *p = plan->problem;
    for (int64_t b = 0; b < p->sequences; b++) {
        for (int64_t h = 0; h < p->kv_heads; h++) {
            work_task task = {.sequence = problem_sequence(p, b), .kv_head = h};
            task.count = task.sequence.queries * plan->group;
            backward_task(plan, &task, call, scratch);
        }
    }
}

attn_status attn_attention_backward(const attn_attention_problem *p, const void *q, const void *k,
                                    const void *v, const void *o, const float *log_sum_exp,
                                    const void *d_o, const attn_attention_gradients *gradients,
                                    void *workspace, size_t workspace_size) {
    work_plan plan;
    attn_status status = plan_make(&plan, p, 0);
    if (status) {
        return status;
    }
    if (!gradients) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: gradients is NULL");
    }
    backward_call call = {.arrays = {.q = q, .k = k, .v = v, .o = o, .d_o = d_o,
                                     .saved_log_sum_exp = log_sum_exp, .gradients = *gradients}};
    const size_t scratch = backward_scratch_size(&plan), shared = sinks_size(&plan);
    if ((status = check_arrays(&plan, &call.arrays)) ||
        (status = plan_check_workspace(workspace, workspace_size, shared + scratch))) {
        return status;
    }
    char *rest = workspace;
    if (p->sinks && gradients->sinks) {
        call.d_sinks = (double *)(((uintptr_t)workspace + 63) & ~(uintptr_t)63);
        memset(call.d_sinks, 0, (size_t)(p->sequences * p->heads) * sizeof(double));
    }
    if (gradients->bias) {
        plan_clear_bias(p, gradients->bias);
    }
    plan.chain = !gradients->bias ? CHAIN_NONE : plan_chain(p);
    rest += shared;
    workspace_size -= shared;
    call.scratch_size = (scratch + 63) / 64 * 64;
    call.threads = threads_of_a_head(&plan, &call, (workspace_size - 64) / call.scratch_size);
    if (call.threads > 1) {
        run_heads(&plan, &call, (char *)(((uintptr_t)rest + 63) & ~(uintptr_t)63));
    } else {
        status = plan_run(&plan, TASK_HEAD, backward_task, &call, rest, workspace_size, scratch);
    }
    for (int64_t h = 0; h < p->heads && call.d_sinks && !status; h++) {
        double sum = 0;
        for (int64_t b = 0; b < p->sequences; b++) {
            sum += call.d_sinks[b * p->heads + h];
        }
        gradients->sinks[h] = (float)sum;
    }
    return status;
}
