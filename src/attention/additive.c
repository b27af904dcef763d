/* Additive scores (Bahdanau et al. 2015):
 *
 *     s_ij = sum_c v_c tanh(a_ic + u_jc)      a = Q W^T + b,  u = K U^T
 *
 * then masks, softmax and values as in the other passes (score rule with scale 1). A
 * block of keys has u^T [width, keys], so that lanes are keys; tanh of each (i, j, c) is
 * made in registers and never kept. Backward, with t = tanh(...) made again and ds_ij as
 * in backward.c:
 *
 *     g_ijc = ds_ij v_c (1 - t^2)       da_ic = sum_j g_ijc     du_jc = sum_i g_ijc
 *     dv_c = sum_ij ds_ij t_ijc         dQ = da W,  dW = da^T Q,  db = sum_i da,
 *     dK = du U,  dU = du^T K
 *
 * Here: the entry points, the forward and the weights. */
#include "attention/additive.h"

#include <math.h>
#include <string.h>

#include "base/threads.h"

enum { MOST_WIDTH = 4096 };

size_t additive_lay_out(const work_plan *plan, int64_t width, int backward, void *base,
                        additive_scratch *s) {
    scratch_cursor at = {.base = base};
    const size_t ldq = (size_t)plan->ldq, ldv = (size_t)plan->ldv, w = (size_t)padded_width(width);
    const size_t rows = backward ? (size_t)(plan->size.most_queries * plan->group) : ADDITIVE_ROWS;
    s->parameters = scratch_take(&at, 2 * w * ldq + w, sizeof(float));
    s->panels = scratch_take(&at, (w > BLOCK_KEYS ? w : BLOCK_KEYS) * (ldq > ldv ? ldq : ldv),
                             sizeof(float));
    s->q = scratch_take(&at, ADDITIVE_ROWS * ldq, sizeof(float));
    s->k = scratch_take(&at, BLOCK_KEYS * ldq, sizeof(float));
    s->values = scratch_take(&at, BLOCK_KEYS * ldv, sizeof(float));
    s->d_o = scratch_take(&at, ADDITIVE_ROWS * ldv, sizeof(float));
    s->o = scratch_take(&at, ADDITIVE_ROWS * ldv, sizeof(float));
    s->a = scratch_take(&at, rows * w, sizeof(float));
    s->u = scratch_take(&at, w * ADDITIVE_LD, sizeof(float));
    s->scores = scratch_take(&at, ADDITIVE_ROWS * ADDITIVE_LD, sizeof(float));
    s->maximum = scratch_take(&at, ADDITIVE_ROWS, sizeof(float));
    s->sum = scratch_take(&at, ADDITIVE_ROWS, sizeof(float));
    s->rows = scratch_take(&at, ADDITIVE_ROWS, sizeof(score_row));
    s->tiles = scratch_take(&at, w / TILE_ROWS + BLOCK_KEYS, sizeof(row_tile));
    s->row_tiles = scratch_take(&at, ADDITIVE_ROWS, sizeof(row_tile));
    s->key_tiles = scratch_take(&at, BLOCK_KEYS, sizeof(row_tile));
    s->log_sum_exp = scratch_take(&at, rows, sizeof(float));
    if (backward) {
        s->d_a = scratch_take(&at, rows * w, sizeof(float));
        s->d_u = scratch_take(&at, w * ADDITIVE_LD, sizeof(float));
        s->products = scratch_take(&at, ADDITIVE_ROWS * ADDITIVE_LD, sizeof(float));
        s->d_k = scratch_take(&at, BLOCK_KEYS * ldq, sizeof(float));
        s->d_v = scratch_take(&at, BLOCK_KEYS * ldv, sizeof(float));
        s->factor = scratch_take(&at, rows, sizeof(float));
        s->delta = scratch_take(&at, rows, sizeof(float));
        s->d_bias = scratch_take(&at, ADDITIVE_ROWS, sizeof(float *));
    }
    return at.used;
}

/* --- products ---------------------------------------------------------------------------- */

static int even_tiles(int64_t count, int depth, row_tile *tiles) {
    const int64_t wanted = (count + TILE_ROWS - 1) / TILE_ROWS;
    int64_t first = 0;
    for (int64_t t = 0; t < wanted; t++) {
        const int64_t size = count / wanted + (t < count % wanted);
        tiles[t] = (row_tile){(int32_t)first, (int32_t)size, 0, depth};
        first += size;
    }
    return (int)wanted;
}

/* c [rows][columns] += a b */
void additive_add_product(const work_plan *plan, additive_scratch *s, int64_t rows, int depth,
                        const float *a, int64_t row_stride, int64_t k_stride, const float *b,
                        int64_t ldb, int64_t columns, float *c, int64_t ldc) {
    const int tiles = even_tiles(rows, depth, s->tiles);
    plan->tile->product_terms(s->tiles, tiles, a, row_stride, k_stride, b, ldb, plan_columns(plan, columns), c,
                              ldc, NULL);
}

/* c [rows][count] = a b^T, b in rows */
static void product_of_rows(const work_plan *plan, additive_scratch *s, int64_t rows, int depth,
                            const float *a, int64_t lda, const float *b, int64_t ldb, int64_t count,
                            float *c, int64_t ldc) {
    const float *source[BLOCK_KEYS] = {0};
    for (int64_t first = 0; first < count; first += BLOCK_KEYS) {
        const int some = (int)(count - first < BLOCK_KEYS ? count - first : BLOCK_KEYS);
        for (int n = 0; n < some; n++) {
            source[n] = b + (first + n) * ldb;
        }
        plan->tile->transpose(source, some, depth, s->panels);
        const int tiles = even_tiles(rows, some, s->tiles);
        plan->tile->product_columns(s->tiles, tiles, a, lda, depth, s->panels, some, c + first, ldc, NULL);
    }
}

/* --- loading ----------------------------------------------------------------------------- */

void additive_load_parameters(const work_plan *plan, const attn_additive_parameters *w, int64_t head,
                            additive_scratch *s) {
    const int64_t d = plan->problem->d, ldw = padded_width(w->width);
    for (int64_t c = 0; c < w->width; c++) {
        const void *row = w->w + (head * w->width + c) * d;
        plan->tile->load_f32(&row, 1, (int)d, s->parameters + c * plan->ldq, plan->ldq);
        row = w->u + (head * w->width + c) * d;
        plan->tile->load_f32(&row, 1, (int)d, s->parameters + (ldw + c) * plan->ldq, plan->ldq);
    }
    memcpy(s->parameters + 2 * ldw * plan->ldq, w->v + head * w->width,
           (size_t)w->width * sizeof(float));
}

int additive_load_queries(const work_plan *plan, const work_task *task, const void *base,
                            attn_strides strides, int64_t width, int64_t head, int64_t from, int count,
                            float *rows, int64_t ld) {
    const void *source[ADDITIVE_ROWS] = {0};
    for (int n = 0; n < count; n++) {
        source[n] = query_row(plan->problem, &task->sequence, base, strides, from + n, head);
    }
    return load_rows(plan, source, count, (int)width, rows, ld, ROW_PLAIN, NULL);
}

int additive_load_keys(const work_plan *plan, const work_task *task, const attention_arrays *a,
                     int64_t first, int keys, additive_scratch *s) {
    const problem_t *p = plan->problem;
    const void *source[BLOCK_KEYS] = {0};
    int finite = 1;
    key_rows(p, &task->sequence, a->k, p->k, first, keys, task->kv_head, source);
    finite &= load_rows(plan, source, keys, (int)p->d, s->k, plan->ldq, ROW_PLAIN, NULL);
    for (int j = 0; j < keys && a->v; j++) {
        source[j] = key_row(p, &task->sequence, a->v, p->v, first + j, task->kv_head);
    }
    if (a->v) {
        finite &= load_rows(plan, source, keys, (int)p->d_v, s->values, plan->ldv, ROW_PLAIN, NULL);
    }
    return finite;
}

/* a of rows from .. of a head */
void additive_make_a(const work_plan *plan, const work_task *task, const additive_call *call, int64_t head,
                   int64_t from, int count, float *a, additive_scratch *s) {
    const attn_additive_parameters *w = call->parameters;
    const int64_t ldw = padded_width(w->width);
    additive_load_queries(plan, task, call->arrays.q, plan->problem->q, plan->problem->d, head, from, count, s->q,
                    plan->ldq);
    product_of_rows(plan, s, count, (int)plan->problem->d, s->q, plan->ldq, s->parameters, plan->ldq,
                    w->width, a, ldw);
    for (int n = 0; n < count && w->b; n++) {
        for (int64_t c = 0; c < w->width; c++) {
            a[n * ldw + c] += w->b[head * w->width + c];
        }
    }
}

/* u^T [width][ADDITIVE_LD] of the loaded keys */
void additive_make_u(const work_plan *plan, const additive_call *call, int keys, additive_scratch *s) {
    const int64_t width = call->parameters->width;
    product_of_rows(plan, s, width, (int)plan->problem->d,
                    s->parameters + padded_width(width) * plan->ldq, plan->ldq, s->k, plan->ldq, keys,
                    s->u, ADDITIVE_LD);
}

/* What rows from .. of a head see of a block; the tiles that see something. */
int additive_fill_rows(const work_plan *plan, const work_task *task, const additive_call *call, int64_t head,
                       int64_t from, int count, int64_t first, int keys, additive_scratch *s) {
    const problem_t *p = plan->problem;
    const uint64_t head_key = dropout_head_key(
        p->dropout_seed, p->dropout_first_sequence + task->sequence.index, head);
    float *d_bias = call->arrays.gradients.bias;
    for (int n = 0; n < count; n++) {
        int64_t low, high;
        problem_visible(p, &task->sequence, from + n, &low, &high);
        fill_score_row(plan, task, (from + n) * plan->group + head % plan->group, low, high, first,
                       keys, s->rows + n);
        s->rows[n].keys = dropout_row_keys(head_key, from + n);
        if (d_bias) {
            s->d_bias[n] = d_bias + (bias_at(p, task->sequence.index, head, from + n, first) - p->bias);
        }
    }
    return cut_tiles(s->rows, count, s->row_tiles);
}

void additive_make_scores(const work_plan *plan, const additive_call *call, const float *a, int tiles,
                        additive_scratch *s) {
    const int64_t width = call->parameters->width, ldw = padded_width(width);
    plan->tile->additive_scores(s->row_tiles, tiles, a, ldw, s->u, ADDITIVE_LD,
                                s->parameters + 2 * ldw * plan->ldq, (int)width, s->scores, ADDITIVE_LD);
}

/* --- forward ------------------------------------------------------------------------------- */

/* Output of rows from .. of a head. 0 where something that may be hidden is not finite: zero
 * weights would not keep it out. */
static int forward_rows(const work_plan *plan, const work_task *task, const additive_call *call,
                        int64_t head, int64_t from, int count, additive_scratch *s) {
    const problem_t *p = plan->problem;
    const attention_arrays *a = &call->arrays;
    additive_make_a(plan, task, call, head, from, count, s->a, s);
    memset(s->o, 0, (size_t)(count * plan->ldv) * sizeof(float));
    for (int n = 0; n < count; n++) {
        s->maximum[n] = -INFINITY;
        s->sum[n] = 0;
    }
    for (int64_t first = 0; first < task->sequence.length; first += BLOCK_KEYS) {
        const int64_t left = task->sequence.length - first;
        const int keys = (int)(left < BLOCK_KEYS ? left : BLOCK_KEYS);
        const int tiles = additive_fill_rows(plan, task, call, head, from, count, first, keys, s);
        if (tiles == 0) {
            continue;
        }
        if (!additive_load_keys(plan, task, a, first, keys, s) && plan->hides) {
            return 0;
        }
        additive_make_u(plan, call, keys, s);
        additive_make_scores(plan, call, s->a, tiles, s);
        plan->tile->softmax(s->row_tiles, tiles, s->rows, &plan->rule, first, s->scores, ADDITIVE_LD, NULL, s->maximum,
                            s->sum, s->o, plan->ldv, plan_columns(plan, p->d_v));
        plan->tile->product_terms(s->row_tiles, tiles, s->scores, ADDITIVE_LD, 1, s->values, plan->ldv,
                                  plan_columns(plan, p->d_v), s->o, plan->ldv, NULL);
    }
    for (int n = 0; n < count; n++) {
        float m = plan->rule.modified ? s->maximum[n] : s->maximum[n] * 0.693147181f;
        float sum = s->sum[n], factor = 1;
        if (p->sinks) {
            const float sink = p->sinks[head], most = m > sink ? m : sink;
            factor = m == -INFINITY ? 0.0f : expf(m - most);
            sum = sum * factor + (sink == -INFINITY ? 0.0f : expf(sink - most));
            m = most;
        }
        additive_store(plan, s->o + n * plan->ldv, sum != 0 ? factor * plan->rule.keep_scale / sum : 0.0f,
                       p->d_v, query_row(p, &task->sequence, a->out, p->o, from + n, head));
        if (a->log_sum_exp) {
            a->log_sum_exp[head * plan->size.q_tokens + task->sequence.q_first + from + n] =
                sum != 0 ? m + logf(sum) : -INFINITY;
        }
    }
    return 1;
}

/* --- weights --------------------------------------------------------------------------------- */

/* Weights of rows from .. of a head: two rounds over the keys. */
static void weights_rows(const work_plan *plan, const work_task *task, const additive_call *call,
                         int64_t head, int64_t from, int count, additive_scratch *s) {
    const problem_t *p = plan->problem;
    float *target = additive_weights_of(plan, task, call) +
                    (head % plan->group * task->sequence.queries + from) * task->sequence.keys;
    score_rule rule = plan->rule;
    rule.drop_below = 0;
    additive_make_a(plan, task, call, head, from, count, s->a, s);
    memset(target, 0, (size_t)(count * task->sequence.keys) * sizeof(float));
    for (int n = 0; n < count; n++) {
        s->maximum[n] = -INFINITY;
        s->sum[n] = 0;
    }
    for (int round = 0; round < 2; round++) {
        for (int64_t first = 0; first < task->sequence.length; first += BLOCK_KEYS) {
            const int64_t left = task->sequence.length - first;
            const int keys = (int)(left < BLOCK_KEYS ? left : BLOCK_KEYS);
            const int tiles = additive_fill_rows(plan, task, call, head, from, count, first, keys, s);
            additive_load_keys(plan, task, &call->arrays, first, keys, s);
            additive_make_u(plan, call, keys, s);
            additive_make_scores(plan, call, s->a, tiles, s);
            if (round == 0) {
                plan->tile->softmax(s->row_tiles, tiles, s->rows, &rule, first, s->scores, ADDITIVE_LD, NULL,
                                    s->maximum, s->sum, s->o, 0, 0);
                continue;
            }
            plan->tile->weights(s->row_tiles, tiles, s->rows, &rule, s->scores, ADDITIVE_LD, s->log_sum_exp);
            for (int n = 0; n < count; n++) {
                for (int j = s->rows[n].low; j < s->rows[n].high; j++) {
                    const int drops = plan->rule.drop_below &&
                                      dropout_bits(s->rows[n].keys, first + j) < plan->rule.drop_below;
                    const float weight = s->scores[n * ADDITIVE_LD + j];
                    target[n * task->sequence.keys + first + j] =
                        drops || weight == 0 ? 0 : weight * plan->rule.keep_scale / s->sum[n];
                }
            }
        }
        for (int n = 0; n < count && round == 0; n++) {
            const float unit = rule.modified ? 1.0f : 1.44269504f;
            if (p->sinks) {
                const float m = s->maximum[n] / unit, sink = p->sinks[head];
                const float most = m > sink ? m : sink;
                s->sum[n] = (m == -INFINITY ? 0 : s->sum[n] * expf(m - most)) +
                            (sink == -INFINITY ? 0 : expf(sink - most));
                s->maximum[n] = most * unit;
            }
            s->log_sum_exp[n] = s->maximum[n] == -INFINITY ? INFINITY : s->maximum[n];
        }
    }
}

/* Forward, or with call->weights the weights: a sequence and the heads of a group. */
static void rows_task(const work_plan *plan, const work_task *task, void *context, void *scratch) {
    const additive_call *call = context;
    additive_scratch s;
    additive_lay_out(plan, call->parameters->width, 0, scratch, &s);
    for (int64_t head = task->kv_head * plan->group; head < (task->kv_head + 1) * plan->group; head++) {
        if (plan->tile) {
            additive_load_parameters(plan, call->parameters, head, &s);
        }
        for (int64_t from = 0; from < task->sequence.queries; from += ADDITIVE_ROWS) {
            const int64_t left = task->sequence.queries - from;
            const int count = (int)(left < ADDITIVE_ROWS ? left : ADDITIVE_ROWS);
            if (plan->tile && call->weights) {
                weights_rows(plan, task, call, head, from, count, &s);
            } else if (!plan->tile || !forward_rows(plan, task, call, head, from, count, &s)) {
                /* its scratch takes the place of the blocks' */
                additive_reference_rows(plan, task, call, head, from, count, scratch);
                if (plan->tile) {
                    additive_load_parameters(plan, call->parameters, head, &s);
                }
            }
        }
    }
}

static size_t rows_scratch(const work_plan *plan, int64_t width) {
    additive_scratch s;
    const size_t blocks = plan->tile ? additive_lay_out(plan, width, 0, NULL, &s) : 0;
    const size_t reference = additive_reference_scratch(plan, width, 0);
    return blocks > reference ? blocks : reference;
}

/* --- entry points ----------------------------------------------------------------------------- */

static attn_status prepare(work_plan *plan, attn_attention_problem *own, const attn_attention_problem *p,
                           int64_t width) {
    if (!p) {
        return fail(ATTN_ERROR_ARGUMENT, "additive: the problem is NULL");
    }
    if (width < 1 || width > MOST_WIDTH) {
        return fail(ATTN_ERROR_ARGUMENT, "additive: width %lld, expected 1 to %d", (long long)width,
                    MOST_WIDTH);
    }
    *own = *p;
    own->score = ATTN_SCORE_DOT;
    own->rotary = ATTN_ROTARY_NONE;
    attn_status status = plan_make(plan, own, 0);
    if (status) {
        return status;
    }
    plan->pairs = 0;
    return ATTN_OK;
}

static size_t rounded_up(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* The sums of all shares: parameters' gradients, then sinks'. */
static size_t partials_size(const work_plan *plan, int64_t width) {
    const size_t heads = (size_t)(ADDITIVE_SHARES * plan->problem->heads);
    return rounded_up(heads * (size_t)additive_partial_size(plan, width) * sizeof(float)) +
           rounded_up(heads * sizeof(double));
}

attn_status attn_additive_workspace(const attn_attention_problem *p, int64_t width,
                                    attn_attention_pass pass, size_t *size) {
    work_plan plan;
    attn_attention_problem own;
    attn_status status = prepare(&plan, &own, p, width);
    if (status) {
        return status;
    }
    if (!size || (pass != ATTN_PASS_FORWARD && pass != ATTN_PASS_BACKWARD && pass != ATTN_PASS_WEIGHTS)) {
        return fail(ATTN_ERROR_ARGUMENT, "additive: size is NULL or pass %d has no additive form",
                    (int)pass);
    }
    *size = pass == ATTN_PASS_BACKWARD
                ? plan_workspace(additive_backward_scratch(&plan, width)) + partials_size(&plan, width)
                : plan_workspace(rows_scratch(&plan, width));
    return ATTN_OK;
}

static attn_status check_parameters(const attn_additive_parameters *w) {
    if (!w || !w->w || !w->u || !w->v) {
        return fail(ATTN_ERROR_ARGUMENT, "additive: w, u or v of the parameters is NULL");
    }
    return ATTN_OK;
}

attn_status attn_additive_forward(const attn_attention_problem *p, const attn_additive_parameters *w,
                                  const void *q, const void *k, const void *v, void *o,
                                  float *log_sum_exp, void *workspace, size_t workspace_size) {
    work_plan plan;
    attn_attention_problem own;
    attn_status status = check_parameters(w);
    if (status || (status = prepare(&plan, &own, p, w->width))) {
        return status;
    }
    if ((plan.size.q_tokens && (!q || !o)) || (plan.size.k_tokens && (!k || !v))) {
        return fail(ATTN_ERROR_ARGUMENT, "additive: q, k, v or o is NULL");
    }
    additive_call call = {.arrays = {.q = q, .k = k, .v = v, .out = o, .log_sum_exp = log_sum_exp},
                          .parameters = w};
    return plan_run(&plan, TASK_HEAD, rows_task, &call, workspace, workspace_size, rows_scratch(&plan, w->width));
}

attn_status attn_additive_weights(const attn_attention_problem *p, const attn_additive_parameters *w,
                                  const void *q, const void *k, float *weights, void *workspace,
                                  size_t workspace_size) {
    work_plan plan;
    attn_attention_problem own;
    attn_status status = check_parameters(w);
    if (status || (status = prepare(&plan, &own, p, w->width)) ||
        (status = problem_check_pairs(p, &plan.size, 1))) {
        return status;
    }
    if ((plan.size.q_tokens && !q) || (plan.size.k_tokens && !k)) {
        return fail(ATTN_ERROR_ARGUMENT, "additive: q or k is NULL");
    }
    if (plan.size.q_tokens == 0 || plan.size.k_tokens == 0) {
        return ATTN_OK;
    }
    if (!weights) {
        return fail(ATTN_ERROR_ARGUMENT, "additive: weights is NULL");
    }
    additive_call call = {.arrays = {.q = q, .k = k}, .parameters = w, .weights = weights};
    return plan_run(&plan, TASK_HEAD, rows_task, &call, workspace, workspace_size, rows_scratch(&plan, w->width));
}

/* Adds up one number of every share, `at` floats into a head's. */
static float sum_shares(const work_plan *plan, const additive_call *call, int64_t head, int64_t at) {
    double sum = 0;
    for (int64_t n = 0; n < ADDITIVE_SHARES; n++) {
        sum += (double)call->partials[(n * plan->problem->heads + head) * call->partial_size + at];
    }
    return (float)sum;
}

static void store_parameters(const work_plan *plan, const additive_call *call, const attn_additive_gradients *to) {
    const int64_t width = call->parameters->width, ldw = padded_width(width), d = plan->problem->d;
    const int64_t heads = plan->problem->heads;
    for (int64_t h = 0; h < heads; h++) {
        for (int64_t c = 0; c < width; c++) {
            for (int64_t e = 0; e < d && to->w; e++) {
                to->w[(h * width + c) * d + e] = sum_shares(plan, call, h, c * plan->ldq + e);
            }
            for (int64_t e = 0; e < d && to->u; e++) {
                to->u[(h * width + c) * d + e] = sum_shares(plan, call, h, (ldw + c) * plan->ldq + e);
            }
            if (to->b) {
                to->b[h * width + c] = sum_shares(plan, call, h, 2 * ldw * plan->ldq + c);
            }
            if (to->score_v) {
                to->score_v[h * width + c] = sum_shares(plan, call, h, 2 * ldw * plan->ldq + ldw + c);
            }
        }
        double sink = 0;
        for (int64_t n = 0; n < ADDITIVE_SHARES && to->sinks; n++) {
            sink += call->d_sinks[n * heads + h];
        }
        if (to->sinks) {
            to->sinks[h] = (float)sink;
        }
    }
}

static attn_status check_backward(const work_plan *plan, const attention_arrays *a,
                                  const attn_additive_gradients *g) {
    if (!g || (plan->size.q_tokens && (!a->q || !a->o || !a->d_o || !a->saved_log_sum_exp)) ||
        (plan->size.k_tokens && (!a->k || !a->v))) {
        return fail(ATTN_ERROR_ARGUMENT, "additive: q, k, v, o, log_sum_exp, d_o or gradients is NULL");
    }
    if ((g->bias && !plan->problem->bias) || (g->sinks && !plan->problem->sinks)) {
        return fail(ATTN_ERROR_ARGUMENT,
                    "additive: a gradient of a bias or of sinks that the problem has not");
    }
    return ATTN_OK;
}

attn_status attn_additive_backward(const attn_attention_problem *p, const attn_additive_parameters *w,
                                   const void *q, const void *k, const void *v, const void *o,
                                   const float *log_sum_exp, const void *d_o,
                                   const attn_additive_gradients *g, void *workspace,
                                   size_t workspace_size) {
    work_plan plan;
    attn_attention_problem own;
    attn_status status = check_parameters(w);
    if (status || (status = prepare(&plan, &own, p, w->width))) {
        return status;
    }
    additive_call call = {.arrays = {.q = q, .k = k, .v = v, .o = o, .d_o = d_o, .saved_log_sum_exp = log_sum_exp},
                          .parameters = w,
                          .partial_size = additive_partial_size(&plan, w->width)};
    const size_t each = rounded_up(additive_backward_scratch(&plan, w->width));
    const size_t partials = partials_size(&plan, w->width);
    if ((status = check_backward(&plan, &call.arrays, g)) ||
        (status = plan_check_workspace(workspace, workspace_size, partials + each))) {
        return status;
    }
    call.arrays.gradients = (attn_attention_gradients){g->q, g->k, g->v, g->bias, g->sinks};
    char *base = (char *)(((uintptr_t)workspace + 63) & ~(uintptr_t)63);
    call.partials = (float *)(void *)base;
    call.d_sinks = (double *)(void *)(base + partials - rounded_up((size_t)(ADDITIVE_SHARES * own.heads) * sizeof(double)));
    memset(base, 0, partials);
    if (g->bias) {
        plan_clear_bias(&own, g->bias);
    }
    plan.chain = g->bias ? plan_chain(&own) : CHAIN_NONE;
    const int64_t room = (int64_t)((workspace_size - 64 - partials) / each);
    additive_backward_shares(&plan, &call, base + partials, each, threads_get() < room ? threads_get() : room);
    store_parameters(&plan, &call, g);
    return ATTN_OK;
}
