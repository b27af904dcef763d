/* The passes that look at the weights: all of them written out, or what each key
 * receives in sum, block by block. */
#include <math.h>
#include <string.h>

#include "attention/passes.h"
#include "attention/reference.h"

enum { WEIGHT_ROWS = 48 };

typedef struct weights_scratch {
    float *q, *k, *k_panels, *scores, *maximum, *sum, *log_sum_exp;
    float *factor; /* column sums: of all rows */
    score_row *rows;
} weights_scratch;

typedef struct weights_call {
    attention_arrays arrays;
    float *weights; /* all sequences */
    float *sums;    /* [heads, tokens_k] */
} weights_call;

static size_t lay_out(const work_plan *plan, int sums, void *base, weights_scratch *s) {
    scratch_cursor at = {.base = base};
    const size_t ldq = (size_t)plan->ldq;
    s->q = scratch_take(&at, WEIGHT_ROWS * ldq, sizeof(float));
    s->k = scratch_take(&at, BLOCK_KEYS * ldq, sizeof(float));
    s->k_panels = scratch_take(&at, BLOCK_KEYS * ldq, sizeof(float));
    s->scores = scratch_take(&at, WEIGHT_ROWS * BLOCK_KEYS, sizeof(float));
    s->maximum = scratch_take(&at, WEIGHT_ROWS, sizeof(float));
    s->sum = scratch_take(&at, WEIGHT_ROWS, sizeof(float));
    s->log_sum_exp = scratch_take(&at, WEIGHT_ROWS, sizeof(float));
    s->rows = scratch_take(&at, WEIGHT_ROWS, sizeof(score_row));
    s->factor = scratch_take(&at, sums ? (size_t)(plan->size.most_queries * plan->group) : 0, sizeof(float));
    return at.used;
}

/* Rows from .. from + count of the task are loaded with what their scores need. */
static void load_queries(const work_plan *plan, const work_task *task, const attention_arrays *a,
                         int64_t from, int count, weights_scratch *s) {
    const problem_t *p = plan->problem;
    const void *source[WEIGHT_ROWS];
    int32_t positions[WEIGHT_ROWS];
    task_rows(plan, task, a->q, p->q, from, count, source);
    for (int n = 0; n < count; n++) {
        positions[n] = (int32_t)(row_token(plan, from + n) + task->sequence.shift);
        s->maximum[n] = -INFINITY;
        s->sum[n] = 0;
    }
    load_rows(plan, source, count, (int)p->d, s->q, plan->ldq, ROW_QUERY, positions);
}

/* The tiles of the loaded rows against the loaded keys, scores made. */
static int make_scores(const work_plan *plan, const work_task *task, int64_t from, int count, int64_t first,
                       int keys, weights_scratch *s, row_tile *tiles) {
    const problem_t *p = plan->problem;
    for (int n = 0; n < count; n++) {
        int64_t low, high;
        problem_visible(p, &task->sequence, row_token(plan, from + n), &low, &high);
        fill_score_row(plan, task, from + n, low, high, first, keys, s->rows + n);
    }
    const int made = cut_tiles(s->rows, count, tiles);
    plan->tile->product_columns(tiles, made, s->q, plan->ldq, (int)p->d, s->k_panels, keys,
                                s->scores, BLOCK_KEYS, NULL);
    return made;
}

static int block_keys(const work_task *task, int64_t first) {
    const int64_t left = task->sequence.length - first;
    return (int)(left < BLOCK_KEYS ? left : BLOCK_KEYS);
}

/* --- weights ---------------------------------------------------------------------- */

static float *weight_row(const work_plan *plan, const work_task *task, const weights_call *call, int64_t r) {
    const problem_t *p = plan->problem;
    const int64_t head = row_head(plan, task, r);
    int64_t origin = 0;
    for (int64_t b = 0; b < task->sequence.index && problem_packed(p); b++) {
        const sequence_view before = problem_sequence(p, b);
        origin += p->heads * before.queries * before.keys;
    }
    if (!problem_packed(p)) {
        origin = task->sequence.index * p->heads * p->queries * p->keys;
    }
    return call->weights + origin +
           (head * task->sequence.queries + row_token(plan, r)) * task->sequence.keys;
}

/* Two rounds over the keys: the rows' maxima and sums, then the weights. */
static void weights_rows(const work_plan *plan, const work_task *task, const weights_call *call, int64_t from,
                         int count, weights_scratch *s) {
    const tile_kernels *tile = plan->tile;
    const problem_t *p = plan->problem;
    row_tile tiles[WEIGHT_ROWS / TILE_ROWS];
    score_rule rule = plan->rule;
    rule.drop_below = 0;
    float *target[WEIGHT_ROWS];
    load_queries(plan, task, &call->arrays, from, count, s);
    for (int n = 0; n < count; n++) {
        target[n] = n && (from + n) % plan->group
                        ? target[n - 1] + task->sequence.queries * task->sequence.keys
                        : weight_row(plan, task, call, from + n);
        memset(target[n], 0, (size_t)task->sequence.keys * sizeof(float));
    }
    for (int64_t first = 0; first < task->sequence.length; first += BLOCK_KEYS) {
        const int keys = block_keys(task, first);
        load_key_rows(plan, task, &call->arrays, first, keys, s->k, s->k_panels);
        const int made = make_scores(plan, task, from, count, first, keys, s, tiles);
        tile->softmax(tiles, made, s->rows, &rule, first, s->scores, BLOCK_KEYS, NULL, s->maximum, s->sum,
                      s->q, 0, 0);
    }
    for (int n = 0; n < count; n++) {
        const float unit = plan->rule.modified ? 1.0f : 1.44269504f;
        if (p->sinks) {
            const int64_t head = row_head(plan, task, from + n);
            const float m = s->maximum[n] / unit, sink = p->sinks[head];
            if (sink > m) {
                s->sum[n] = 1 + (m == -INFINITY ? 0 : s->sum[n] * expf(m - sink));
                s->maximum[n] = sink * unit;
            } else if (sink > -INFINITY) { /* a maximum that stays keeps its last bit */
                s->sum[n] += expf(sink - m);
            }
        }
        /* the maximum alone goes into the exponent; dividing by the sum keeps scores of
         * any size */
        s->log_sum_exp[n] = s->maximum[n] == -INFINITY ? INFINITY : s->maximum[n];
    }
    for (int64_t first = 0; first < task->sequence.length; first += BLOCK_KEYS) {
        const int keys = block_keys(task, first);
        load_key_rows(plan, task, &call->arrays, first, keys, s->k, s->k_panels);
        const int made = make_scores(plan, task, from, count, first, keys, s, tiles);
        tile->weights(tiles, made, s->rows, &plan->rule, s->scores, BLOCK_KEYS, s->log_sum_exp);
        for (int n = 0; n < count; n++) {
            const int64_t head = row_head(plan, task, from + n);
            const dropout_row keys_of_row = dropout_row_keys(
                dropout_head_key(p->dropout_seed, p->dropout_first_sequence + task->sequence.index, head),
                row_token(plan, from + n));
            const float factor = plan->rule.keep_scale / s->sum[n];
            for (int j = s->rows[n].low; j < s->rows[n].high; j++) {
                const int drops = plan->rule.drop_below &&
                                  dropout_bits(keys_of_row, first + j) < plan->rule.drop_below;
                const float weight = s->scores[n * BLOCK_KEYS + j];
                target[n][first + j] = drops || weight == 0 ? 0 : weight * factor;
            }
        }
    }
}

static void weights_task(const work_plan *plan, const work_task *task, void *context, void *scratch) {
    const weights_call *call = context;
    weights_scratch s;
    if (task->sequence.keys == 0) {
        return;
    }
    if (!plan->tile || plan->problem->score == ATTN_SCORE_LINEAR) {
        for (int64_t r = task->first; r < task->first + task->count; r++) {
            reference_weights(plan, task, &call->arrays, row_token(plan, r), row_head(plan, task, r),
                              weight_row(plan, task, call, r));
        }
        return;
    }
    lay_out(plan, 0, scratch, &s);
    for (int64_t from = task->first; from < task->first + task->count; from += WEIGHT_ROWS) {
        const int64_t left = task->first + task->count - from;
        weights_rows(plan, task, call, from, (int)(left < WEIGHT_ROWS ? left : WEIGHT_ROWS), &s);
    }
}

static size_t weights_scratch_size(const work_plan *plan) {
    weights_scratch s;
    return plan->tile ? lay_out(plan, 0, NULL, &s) : 64;
}

size_t weights_workspace(const work_plan *plan) {
    return plan_workspace(weights_scratch_size(plan));
}

attn_status attn_attention_weights(const attn_attention_problem *p, const void *q, const void *k,
                                   float *weights, void *workspace, size_t workspace_size) {
    work_plan plan;
    attn_status status = plan_make(&plan, p, 0);
    if (status || (status = problem_check_pairs(p, &plan.size, 1))) {
        return status;
    }
    if ((plan.size.q_tokens && !q) || (plan.size.k_tokens && !k) ||
        (plan.size.q_tokens && plan.size.k_tokens && !weights)) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: q, k or weights is NULL");
    }
    weights_call call = {.arrays = {.q = q, .k = k}, .weights = weights};
    return plan_run(&plan, TASK_CHUNK, weights_task, &call, workspace, workspace_size,
                    weights_scratch_size(&plan));
}

/* --- column sums ------------------------------------------------------------------- */

/* The weights, before dropout, of rows from .. on the loaded keys, into the scores. */
static void block_weights(const work_plan *plan, const work_task *task, const weights_call *call,
                          int64_t from, int count, int64_t first, int keys, weights_scratch *s) {
    row_tile tiles[WEIGHT_ROWS / TILE_ROWS];
    load_queries(plan, task, &call->arrays, from, count, s);
    const int made = make_scores(plan, task, from, count, first, keys, s, tiles);
    for (int n = 0; n < count; n++) {
        const float l = row_log_sum_exp(plan, task, &call->arrays, from + n);
        s->log_sum_exp[n] = l == -INFINITY ? INFINITY : plan->rule.modified ? l : l * 1.44269504f;
    }
    plan->tile->weights(tiles, made, s->rows, &plan->rule, s->scores, BLOCK_KEYS, s->log_sum_exp);
}

static int rows_left(const work_task *task, int64_t from) {
    return (int)(task->count - from < WEIGHT_ROWS ? task->count - from : WEIGHT_ROWS);
}

/* With a log-sum-exp that is large its last bit, an error of all weights of the row, counts: the
 * inverse of the weights' sum becomes the row's factor (see correct_rows() in backward_block.c). */
static void row_factors(const work_plan *plan, const work_task *task, const weights_call *call,
                        weights_scratch *s) {
    const float *sinks = plan->problem->sinks;
    int large = 0;
    for (int64_t r = 0; r < task->count; r++) {
        const float l = row_log_sum_exp(plan, task, &call->arrays, r);
        large |= fabsf(l) > 16.0f && l > -INFINITY;
        s->factor[r] = 1;
    }
    if (!large) {
        return;
    }
    for (int64_t r = 0; r < task->count; r++) {
        const float l = row_log_sum_exp(plan, task, &call->arrays, r);
        s->factor[r] = sinks && l > -INFINITY ? expf(sinks[row_head(plan, task, r)] - l) : 0;
    }
    for (int64_t first = 0; first < task->sequence.length; first += BLOCK_KEYS) {
        const int keys = block_keys(task, first);
        load_key_rows(plan, task, &call->arrays, first, keys, s->k, s->k_panels);
        for (int64_t from = 0; from < task->count; from += WEIGHT_ROWS) {
            const int count = rows_left(task, from);
            block_weights(plan, task, call, from, count, first, keys, s);
            for (int n = 0; n < count; n++) {
                for (int j = s->rows[n].low; j < s->rows[n].high; j++) {
                    s->factor[from + n] += s->scores[n * BLOCK_KEYS + j];
                }
            }
        }
    }
    for (int64_t r = 0; r < task->count; r++) {
        s->factor[r] = s->factor[r] == 0 ? 0 : 1.0f / s->factor[r];
    }
}

static void sums_reference_task(const work_plan *plan, const work_task *task, void *context, void *scratch) {
    const weights_call *call = context;
    float *row = scratch;
    for (int64_t r = 0; r < task->count || r < plan->group; r++) {
        const int64_t head = row_head(plan, task, r);
        float *sums = call->sums + head * plan->size.k_tokens + task->sequence.k_first;
        if (r < plan->group) {
            memset(sums, 0, (size_t)task->sequence.keys * sizeof(float));
        }
        if (r < task->count) {
            reference_weights(plan, task, &call->arrays, row_token(plan, r), head, row);
            for (int64_t j = 0; j < task->sequence.keys; j++) {
                sums[j] += row[j];
            }
        }
    }
}

static void sums_task(const work_plan *plan, const work_task *task, void *context, void *scratch) {
    const weights_call *call = context;
    weights_scratch s;
    if (rows_are_huge(plan, task, &call->arrays)) {
        sums_reference_task(plan, task, context, scratch);
        return;
    }
    lay_out(plan, 1, scratch, &s);
    row_factors(plan, task, call, &s);
    for (int64_t g = 0; g < plan->group; g++) {
        memset(call->sums + (task->kv_head * plan->group + g) * plan->size.k_tokens +
                   task->sequence.k_first, 0, (size_t)task->sequence.keys * sizeof(float));
    }
    for (int64_t first = 0; first < task->sequence.length; first += BLOCK_KEYS) {
        const int keys = block_keys(task, first);
        load_key_rows(plan, task, &call->arrays, first, keys, s.k, s.k_panels);
        for (int64_t from = 0; from < task->count; from += WEIGHT_ROWS) {
            const int count = rows_left(task, from);
            block_weights(plan, task, call, from, count, first, keys, &s);
            for (int n = 0; n < count; n++) {
                const int64_t head = row_head(plan, task, from + n);
                float *sums = call->sums + head * plan->size.k_tokens + task->sequence.k_first + first;
                for (int j = s.rows[n].low; j < s.rows[n].high; j++) {
                    sums[j] += s.scores[n * BLOCK_KEYS + j] * s.factor[from + n];
                }
            }
        }
    }
}

static int by_blocks(const work_plan *plan) {
    return plan->tile && plan->problem->score != ATTN_SCORE_LINEAR;
}

static size_t sums_scratch_size(const work_plan *plan) {
    weights_scratch s;
    const size_t blocks = by_blocks(plan) ? lay_out(plan, 1, NULL, &s) : 0;
    const size_t reference = (size_t)plan->size.most_keys * sizeof(float) + 64;
    return blocks > reference ? blocks : reference;
}

size_t column_sums_workspace(const work_plan *plan) {
    return plan_workspace(sums_scratch_size(plan));
}

attn_status attn_attention_column_sums(const attn_attention_problem *p, const void *q,
                                       const void *k, const float *log_sum_exp, float *sums,
                                       void *workspace, size_t workspace_size) {
    work_plan plan;
    attn_status status = plan_make(&plan, p, 0);
    if (status) {
        return status;
    }
    if ((plan.size.q_tokens && (!q || !log_sum_exp)) || (plan.size.k_tokens && (!k || !sums))) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: q, k, log_sum_exp or sums is NULL");
    }
    plan.rule.drop_below = 0;
    plan.rule.keep_scale = 1.0f;
    weights_call call = {.arrays = {.q = q, .k = k, .saved_log_sum_exp = log_sum_exp}, .sums = sums};
    return plan_run(&plan, TASK_HEAD, by_blocks(&plan) ? sums_task : sums_reference_task, &call, workspace,
                    workspace_size, sums_scratch_size(&plan));
}
