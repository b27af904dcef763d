/* Additive scores (Bahdanau et al. 2015):
 *
 *     s_ij = sum_c v_c tanh(a_ic + u_jc)      a = Q W^T + b,  u = K U^T
 *
 * then masks, softmax and values as in the other passes (score rule with scale 1). A
 * block of keys has u^T [width, keys], so that lanes are keys; tanh of each (i, j, c) is
 * made in registers and never kept. Backward, with t = tanh(...) made again:
 *
 *     g_ijc = ds_ij v_c (1 - t^2)       da_ic = sum_j g_ijc     du_jc = sum_i g_ijc
 *     dv_c = sum_ij ds_ij t_ijc         dQ = da W,  dW = da^T Q,  db = sum_i da,
 *     dK = du U,  dU = du^T K
 *
 * Parameters' gradients are summed in SHARES runs of sequences, then over these. The
 * reference kernel is not provided here; ATTN_KERNEL_REFERENCE takes the portable one. */
#include <math.h>
#include <string.h>

#include "attention/passes.h"
#include "base/threads.h"

enum { ROWS = 48, SHARES = 8, LD = BLOCK_KEYS + 16, MOST_WIDTH = 4096 };

typedef struct additive_call {
    attention_arrays arrays;
    const attn_additive_parameters *parameters;
    float *weights;  /* the weights pass */
    float *partials; /* [SHARES][heads][partial_size] */
    int64_t partial_size;
} additive_call;

typedef struct additive_scratch {
    float *parameters; /* W and U of a head in rows of ldq, v */
    float *panels, *q, *k, *values, *d_o, *o;
    float *a, *d_a;    /* all rows of the group [rows][ldw]; forward: of a block */
    float *u, *d_u;    /* [width][LD] */
    float *scores, *products;
    float *d_k, *d_v, *log_sum_exp, *factor, *delta, *maximum, *sum;
    score_row *rows;
    row_tile *tiles, *row_tiles, *key_tiles;
} additive_scratch;

static int64_t padded_width(int64_t width) {
    return (width + 15) / 16 * 16;
}

static size_t lay_out(const work_plan *plan, int64_t width, int backward, void *base,
                      additive_scratch *s) {
    scratch_cursor at = {.base = base};
    const size_t ldq = (size_t)plan->ldq, ldv = (size_t)plan->ldv, w = (size_t)padded_width(width);
    const size_t rows = backward ? (size_t)(plan->size.most_queries * plan->group) : ROWS;
    s->parameters = scratch_take(&at, 2 * w * ldq + w, sizeof(float));
    s->panels = scratch_take(&at, (w > BLOCK_KEYS ? w : BLOCK_KEYS) * (ldq > ldv ? ldq : ldv),
                             sizeof(float));
    s->q = scratch_take(&at, ROWS * ldq, sizeof(float));
    s->k = scratch_take(&at, BLOCK_KEYS * ldq, sizeof(float));
    s->values = scratch_take(&at, BLOCK_KEYS * ldv, sizeof(float));
    s->d_o = scratch_take(&at, ROWS * ldv, sizeof(float));
    s->o = scratch_take(&at, ROWS * ldv, sizeof(float));
    s->a = scratch_take(&at, rows * w, sizeof(float));
    s->u = scratch_take(&at, w * LD, sizeof(float));
    s->scores = scratch_take(&at, ROWS * LD, sizeof(float));
    s->maximum = scratch_take(&at, ROWS, sizeof(float));
    s->sum = scratch_take(&at, ROWS, sizeof(float));
    s->rows = scratch_take(&at, ROWS, sizeof(score_row));
    s->tiles = scratch_take(&at, w / TILE_ROWS + BLOCK_KEYS, sizeof(row_tile));
    s->row_tiles = scratch_take(&at, ROWS, sizeof(row_tile));
    s->key_tiles = scratch_take(&at, BLOCK_KEYS, sizeof(row_tile));
    s->log_sum_exp = scratch_take(&at, rows, sizeof(float));
    if (backward) {
        s->d_a = scratch_take(&at, rows * w, sizeof(float));
        s->d_u = scratch_take(&at, w * LD, sizeof(float));
        s->products = scratch_take(&at, ROWS * LD, sizeof(float));
        s->d_k = scratch_take(&at, BLOCK_KEYS * ldq, sizeof(float));
        s->d_v = scratch_take(&at, BLOCK_KEYS * ldv, sizeof(float));
        s->factor = scratch_take(&at, rows, sizeof(float));
        s->delta = scratch_take(&at, rows, sizeof(float));
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

static int whole(const work_plan *plan, int64_t width) {
    return (int)((width + plan->tile->vector - 1) / plan->tile->vector * plan->tile->vector);
}

/* c [rows][columns] += a b */
static void add_product(const work_plan *plan, additive_scratch *s, int64_t rows, int depth,
                        const float *a, int64_t row_stride, int64_t k_stride, const float *b,
                        int64_t ldb, int64_t columns, float *c, int64_t ldc) {
    const int tiles = even_tiles(rows, depth, s->tiles);
    plan->tile->product_terms(s->tiles, tiles, a, row_stride, k_stride, b, ldb, whole(plan, columns), c,
                              ldc);
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
        plan->tile->product_columns(s->tiles, tiles, a, lda, depth, s->panels, some, c + first, ldc);
    }
}

/* --- loading ----------------------------------------------------------------------------- */

static void load_parameters(const work_plan *plan, const attn_additive_parameters *w, int64_t head,
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

static void load_query_rows(const work_plan *plan, const work_task *task, const void *base,
                            attn_strides strides, int64_t width, int64_t head, int64_t from, int count,
                            float *rows, int64_t ld) {
    const void *source[ROWS] = {0};
    for (int n = 0; n < count; n++) {
        source[n] = query_row(plan->problem, &task->sequence, base, strides, from + n, head);
    }
    load_rows(plan, source, count, (int)width, rows, ld, ROW_PLAIN, NULL);
}

/* Clears rows that are hidden from all of the rows' queries: whatever stands in them
 * must not meet a zero weight. */
static void clear_hidden(const score_row *rows, int count, int keys, float *loaded, int64_t ld) {
    for (int j = 0; j < keys; j++) {
        int seen = 0;
        for (int n = 0; n < count && !seen; n++) {
            seen = j >= rows[n].low && j < rows[n].high;
        }
        if (!seen) {
            memset(loaded + j * ld, 0, (size_t)ld * sizeof(float));
        }
    }
}

static int load_keys(const work_plan *plan, const work_task *task, const attention_arrays *a,
                     int64_t first, int keys, additive_scratch *s) {
    const problem_t *p = plan->problem;
    const void *source[BLOCK_KEYS] = {0};
    int finite = 1;
    for (int j = 0; j < keys; j++) {
        source[j] = key_row(p, &task->sequence, a->k, p->k, first + j, task->kv_head);
    }
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
static void make_a(const work_plan *plan, const work_task *task, const additive_call *call, int64_t head,
                   int64_t from, int count, float *a, additive_scratch *s) {
    const attn_additive_parameters *w = call->parameters;
    const int64_t ldw = padded_width(w->width);
    load_query_rows(plan, task, call->arrays.q, plan->problem->q, plan->problem->d, head, from, count, s->q,
                    plan->ldq);
    product_of_rows(plan, s, count, (int)plan->problem->d, s->q, plan->ldq, s->parameters, plan->ldq,
                    w->width, a, ldw);
    for (int n = 0; n < count && w->b; n++) {
        for (int64_t c = 0; c < w->width; c++) {
            a[n * ldw + c] += w->b[head * w->width + c];
        }
    }
}

/* u^T [width][LD] of the loaded keys */
static void make_u(const work_plan *plan, const additive_call *call, int keys, additive_scratch *s) {
    const int64_t width = call->parameters->width;
    product_of_rows(plan, s, width, (int)plan->problem->d,
                    s->parameters + padded_width(width) * plan->ldq, plan->ldq, s->k, plan->ldq, keys,
                    s->u, LD);
}

/* What rows from .. of a head see of a block; the tiles that see something. */
static int fill_rows(const work_plan *plan, const work_task *task, int64_t head, int64_t from,
                     int count, int64_t first, int keys, additive_scratch *s) {
    const problem_t *p = plan->problem;
    const uint64_t head_key = dropout_head_key(
        p->dropout_seed, p->dropout_first_sequence + task->sequence.index, head);
    for (int n = 0; n < count; n++) {
        int64_t low, high;
        problem_visible(p, &task->sequence, from + n, &low, &high);
        fill_score_row(plan, task, (from + n) * plan->group + head % plan->group, low, high, first,
                       keys, s->rows + n);
        s->rows[n].keys = dropout_row_keys(head_key, from + n);
    }
    return cut_tiles(s->rows, count, s->row_tiles);
}

static void make_scores(const work_plan *plan, const additive_call *call, const float *a, int tiles,
                        additive_scratch *s) {
    const int64_t width = call->parameters->width, ldw = padded_width(width);
    plan->tile->additive_scores(s->row_tiles, tiles, a, ldw, s->u, LD,
                                s->parameters + 2 * ldw * plan->ldq, (int)width, s->scores, LD);
}

/* --- forward ------------------------------------------------------------------------------- */

/* Output of rows from .. of a head; with one row, hidden keys may hold anything. Returns 0
 * where several rows met something not finite that may be hidden from one of them. */
static int forward_rows(const work_plan *plan, const work_task *task, const additive_call *call,
                        int64_t head, int64_t from, int count, additive_scratch *s) {
    const problem_t *p = plan->problem;
    const attention_arrays *a = &call->arrays;
    make_a(plan, task, call, head, from, count, s->a, s);
    memset(s->o, 0, (size_t)(count * plan->ldv) * sizeof(float));
    for (int n = 0; n < count; n++) {
        s->maximum[n] = -INFINITY;
        s->sum[n] = 0;
    }
    for (int64_t first = 0; first < task->sequence.length; first += BLOCK_KEYS) {
        const int64_t left = task->sequence.length - first;
        const int keys = (int)(left < BLOCK_KEYS ? left : BLOCK_KEYS);
        const int tiles = fill_rows(plan, task, head, from, count, first, keys, s);
        if (tiles == 0) {
            continue;
        }
        if (!load_keys(plan, task, a, first, keys, s) && plan->hides) {
            if (count > 1) {
                return 0;
            }
            clear_hidden(s->rows, count, keys, s->values, plan->ldv);
        }
        make_u(plan, call, keys, s);
        make_scores(plan, call, s->a, tiles, s);
        plan->tile->softmax(s->row_tiles, tiles, s->rows, &plan->rule, first, s->scores, LD, s->maximum,
                            s->sum, s->o, plan->ldv, whole(plan, p->d_v));
        if (count == 1) { /* a masked key's weight is 0, and so its value shall be */
            for (int j = 0; j < keys; j++) {
                if (s->scores[j] == 0) {
                    memset(s->values + j * plan->ldv, 0, (size_t)plan->ldv * sizeof(float));
                }
            }
        }
        plan->tile->product_terms(s->row_tiles, tiles, s->scores, LD, 1, s->values, plan->ldv,
                                  whole(plan, p->d_v), s->o, plan->ldv);
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
        plan->tile->store_f32(s->o + n * plan->ldv,
                              sum != 0 ? factor * plan->rule.keep_scale / sum : 0.0f, (int)p->d_v,
                              (void *)(uintptr_t)query_row(p, &task->sequence, a->out, p->o, from + n,
                                                           head));
        if (a->log_sum_exp) {
            a->log_sum_exp[head * plan->size.q_tokens + task->sequence.q_first + from + n] =
                sum != 0 ? m + logf(sum) : -INFINITY;
        }
    }
    return 1;
}

static void forward_task(const work_plan *plan, const work_task *task, void *context, void *scratch) {
    const additive_call *call = context;
    additive_scratch s;
    lay_out(plan, call->parameters->width, 0, scratch, &s);
    for (int64_t head = task->kv_head * plan->group; head < (task->kv_head + 1) * plan->group; head++) {
        load_parameters(plan, call->parameters, head, &s);
        for (int64_t from = 0; from < task->sequence.queries; from += ROWS) {
            const int64_t left = task->sequence.queries - from;
            const int count = (int)(left < ROWS ? left : ROWS);
            if (!forward_rows(plan, task, call, head, from, count, &s)) {
                for (int n = 0; n < count; n++) {
                    forward_rows(plan, task, call, head, from + n, 1, &s);
                }
            }
        }
    }
}

/* --- weights --------------------------------------------------------------------------------- */

/* Weights of rows from .. of a head: two rounds over the keys. */
static void weights_rows(const work_plan *plan, const work_task *task, const additive_call *call,
                         int64_t head, int64_t from, int count, float *target, additive_scratch *s) {
    const problem_t *p = plan->problem;
    score_rule rule = plan->rule;
    rule.drop_below = 0;
    make_a(plan, task, call, head, from, count, s->a, s);
    memset(target, 0, (size_t)(count * task->sequence.keys) * sizeof(float));
    for (int n = 0; n < count; n++) {
        s->maximum[n] = -INFINITY;
        s->sum[n] = 0;
    }
    for (int round = 0; round < 2; round++) {
        for (int64_t first = 0; first < task->sequence.length; first += BLOCK_KEYS) {
            const int64_t left = task->sequence.length - first;
            const int keys = (int)(left < BLOCK_KEYS ? left : BLOCK_KEYS);
            const int tiles = fill_rows(plan, task, head, from, count, first, keys, s);
            load_keys(plan, task, &call->arrays, first, keys, s);
            make_u(plan, call, keys, s);
            make_scores(plan, call, s->a, tiles, s);
            if (round == 0) {
                plan->tile->softmax(s->row_tiles, tiles, s->rows, &rule, first, s->scores, LD,
                                    s->maximum, s->sum, s->o, 0, 0);
                continue;
            }
            plan->tile->weights(s->row_tiles, tiles, s->rows, &rule, s->scores, LD, s->log_sum_exp);
            for (int n = 0; n < count; n++) {
                for (int j = s->rows[n].low; j < s->rows[n].high; j++) {
                    const int drops = plan->rule.drop_below &&
                                      dropout_bits(s->rows[n].keys, first + j) < plan->rule.drop_below;
                    const float weight = s->scores[n * LD + j];
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

static void weights_task(const work_plan *plan, const work_task *task, void *context, void *scratch) {
    const additive_call *call = context;
    const problem_t *p = plan->problem;
    additive_scratch s;
    float *target = call->weights;
    lay_out(plan, call->parameters->width, 0, scratch, &s);
    for (int64_t b = 0; b < task->sequence.index; b++) {
        const sequence_view before = problem_sequence(p, b);
        target += p->heads * before.queries * before.keys;
    }
    target += task->kv_head * plan->group * task->sequence.queries * task->sequence.keys;
    for (int64_t head = task->kv_head * plan->group; head < (task->kv_head + 1) * plan->group; head++) {
        load_parameters(plan, call->parameters, head, &s);
        for (int64_t from = 0; from < task->sequence.queries; from += ROWS) {
            const int64_t left = task->sequence.queries - from;
            const int count = (int)(left < ROWS ? left : ROWS);
            weights_rows(plan, task, call, head, from, count, target, &s);
            target += count * task->sequence.keys;
        }
    }
}

/* --- backward -------------------------------------------------------------------------------- */

/* a, delta and log-sum-exp of all rows of the group's heads. */
static void prepare_rows(const work_plan *plan, const work_task *task, const additive_call *call,
                         additive_scratch *s) {
    const problem_t *p = plan->problem;
    const attention_arrays *arrays = &call->arrays;
    const int64_t ldw = padded_width(call->parameters->width), queries = task->sequence.queries;
    for (int64_t g = 0; g < plan->group; g++) {
        const int64_t head = task->kv_head * plan->group + g;
        load_parameters(plan, call->parameters, head, s);
        for (int64_t from = 0; from < queries; from += ROWS) {
            const int count = (int)(queries - from < ROWS ? queries - from : ROWS);
            make_a(plan, task, call, head, from, count, s->a + (g * queries + from) * ldw, s);
            load_query_rows(plan, task, arrays->d_o, p->d_o, p->d_v, head, from, count, s->d_o, plan->ldv);
            load_query_rows(plan, task, arrays->o, p->o, p->d_v, head, from, count, s->o, plan->ldv);
            for (int n = 0; n < count; n++) {
                const int64_t r = g * queries + from + n;
                const float l = arrays->saved_log_sum_exp[head * plan->size.q_tokens +
                                                          task->sequence.q_first + from + n];
                s->delta[r] = plan->tile->dot(s->d_o + n * plan->ldv, s->o + n * plan->ldv, (int)p->d_v);
                s->factor[r] = 1;
                s->log_sum_exp[r] = l == -INFINITY ? INFINITY
                                    : plan->rule.modified ? l : l * 1.44269504f;
            }
        }
    }
    memset(s->d_a, 0, (size_t)(plan->group * queries * ldw) * sizeof(float));
}

/* A block of rows of a head against the loaded keys. */
static int backward_rows(const work_plan *plan, const work_task *task, const additive_call *call,
                         int64_t head, int64_t from, int count, int64_t first, int keys, float *d_score_v,
                         additive_scratch *s) {
    const problem_t *p = plan->problem;
    const int64_t width = call->parameters->width, ldw = padded_width(width);
    const int64_t r = head % plan->group * task->sequence.queries + from;
    const int tiles = fill_rows(plan, task, head, from, count, first, keys, s);
    if (tiles == 0) {
        return 1;
    }
    load_query_rows(plan, task, call->arrays.d_o, p->d_o, p->d_v, head, from, count, s->d_o, plan->ldv);
    memset(s->scores, 0, ROWS * LD * sizeof(float));
    memset(s->products, 0, ROWS * LD * sizeof(float));
    make_scores(plan, call, s->a + r * ldw, tiles, s);
    const float *rows[BLOCK_KEYS] = {0};
    for (int j = 0; j < keys; j++) {
        rows[j] = s->values + j * plan->ldv;
    }
    plan->tile->transpose(rows, keys, (int)p->d_v, s->panels);
    plan->tile->product_columns(s->row_tiles, tiles, s->d_o, plan->ldv, (int)p->d_v, s->panels, keys,
                                s->products, LD);
    plan->tile->gradient(s->row_tiles, tiles, s->rows, &plan->rule, first, s->scores, s->products, LD,
                         s->log_sum_exp + r, s->factor + r, s->delta + r, NULL, 0);
    const int key_tiles = cut_key_tiles(s->rows, count, keys, s->key_tiles);
    plan->tile->product_terms(s->key_tiles, key_tiles, s->scores, 1, LD, s->d_o, plan->ldv,
                              whole(plan, p->d_v), s->d_v, plan->ldv);
    plan->tile->additive_gradient(s->row_tiles, tiles, s->a + r * ldw, ldw, s->u, LD,
                                  s->parameters + 2 * ldw * plan->ldq, (int)width, s->products, LD,
                                  s->d_a + r * ldw, s->d_u, d_score_v);
    return 1;
}

/* Gradients of one sequence and key/value head; parameters' are added to the share's. */
static void backward_task(const work_plan *plan, const work_task *task, const additive_call *call,
                          float *partials, additive_scratch *s) {
    const problem_t *p = plan->problem;
    const attention_arrays *arrays = &call->arrays;
    const int64_t width = call->parameters->width, ldw = padded_width(width);
    const int64_t queries = task->sequence.queries;
    prepare_rows(plan, task, call, s);
    for (int64_t first = 0; first < task->sequence.keys; first += BLOCK_KEYS) {
        const int64_t left = task->sequence.keys - first, real = task->sequence.length - first;
        const int all = (int)(left < BLOCK_KEYS ? left : BLOCK_KEYS);
        const int keys = (int)(real < 0 ? 0 : real < all ? real : all);
        memset(s->d_k, 0, (size_t)(BLOCK_KEYS * plan->ldq) * sizeof(float));
        memset(s->d_v, 0, (size_t)(BLOCK_KEYS * plan->ldv) * sizeof(float));
        const int finite = load_keys(plan, task, arrays, first, keys, s);
        if (!finite && plan->hides) { /* keys that nobody sees */
            for (int j = 0; j < keys; j++) {
                int seen = 0;
                for (int64_t i = 0; i < queries && !seen; i++) {
                    int64_t low, high;
                    problem_visible(p, &task->sequence, i, &low, &high);
                    seen = first + j >= low && first + j < high;
                    if (seen && p->mask) {
                        seen = *mask_at(p, task->sequence.index, task->kv_head * plan->group, i, first + j);
                    }
                    if (seen && p->bias) {
                        seen = *bias_at(p, task->sequence.index, task->kv_head * plan->group, i,
                                        first + j) > -INFINITY;
                    }
                }
                if (!seen) {
                    memset(s->k + j * plan->ldq, 0, (size_t)plan->ldq * sizeof(float));
                    memset(s->values + j * plan->ldv, 0, (size_t)plan->ldv * sizeof(float));
                }
            }
        }
        for (int64_t g = 0; g < plan->group && keys > 0; g++) {
            const int64_t head = task->kv_head * plan->group + g;
            float *mine = partials + g * call->partial_size;
            load_parameters(plan, call->parameters, head, s);
            make_u(plan, call, keys, s);
            memset(s->d_u, 0, (size_t)(ldw * LD) * sizeof(float));
            for (int64_t from = 0; from < queries; from += ROWS) {
                backward_rows(plan, task, call, head, from,
                              (int)(queries - from < ROWS ? queries - from : ROWS), first, keys,
                              mine + 2 * ldw * plan->ldq + ldw, s);
            }
            /* dK += du U, dU += du^T K */
            add_product(plan, s, keys, (int)width, s->d_u, 1, LD, s->parameters + ldw * plan->ldq,
                        plan->ldq, p->d, s->d_k, plan->ldq);
            add_product(plan, s, width, keys, s->d_u, LD, 1, s->k, plan->ldq, p->d,
                        mine + ldw * plan->ldq, plan->ldq);
        }
        for (int j = 0; j < all; j++) {
            if (arrays->gradients.k) {
                plan->tile->store_f32(s->d_k + j * plan->ldq, 1, (int)p->d,
                                      (void *)(uintptr_t)key_row(p, &task->sequence, arrays->gradients.k,
                                                                 p->d_k, first + j, task->kv_head));
            }
            if (arrays->gradients.v) {
                plan->tile->store_f32(s->d_v + j * plan->ldv, plan->rule.keep_scale, (int)p->d_v,
                                      (void *)(uintptr_t)key_row(p, &task->sequence, arrays->gradients.v,
                                                                 p->d_v_, first + j, task->kv_head));
            }
        }
    }
    for (int64_t g = 0; g < plan->group; g++) { /* dQ = da W, dW += da^T Q, db += sum da */
        const int64_t head = task->kv_head * plan->group + g;
        float *mine = partials + g * call->partial_size;
        load_parameters(plan, call->parameters, head, s);
        for (int64_t from = 0; from < queries; from += ROWS) {
            const int count = (int)(queries - from < ROWS ? queries - from : ROWS);
            const float *d_a = s->d_a + (g * queries + from) * ldw;
            float *d_q = s->panels;
            memset(d_q, 0, (size_t)(count * plan->ldq) * sizeof(float));
            add_product(plan, s, count, (int)width, d_a, ldw, 1, s->parameters, plan->ldq, p->d, d_q,
                        plan->ldq);
            load_query_rows(plan, task, arrays->q, p->q, p->d, head, from, count, s->q, plan->ldq);
            add_product(plan, s, width, count, d_a, 1, ldw, s->q, plan->ldq, p->d, mine, plan->ldq);
            for (int n = 0; n < count; n++) {
                for (int64_t c = 0; c < width; c++) {
                    mine[2 * ldw * plan->ldq + c] += d_a[n * ldw + c];
                }
                if (arrays->gradients.q) {
                    plan->tile->store_f32(d_q + n * plan->ldq, 1, (int)p->d,
                                          (void *)(uintptr_t)query_row(p, &task->sequence,
                                                                       arrays->gradients.q, p->d_q,
                                                                       from + n, head));
                }
            }
        }
    }
}

/* A share is a run of sequences of one key/value head, taken in order. */
static void backward_shares(const work_plan *plan, const additive_call *call, char *base, size_t each,
                            int64_t threads) {
    const problem_t *p = plan->problem;
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)threads) if (threads > 1)
    for (int64_t n = 0; n < SHARES * p->kv_heads; n++) {
        const int64_t share = n / p->kv_heads, kv_head = n % p->kv_heads;
        additive_scratch s;
        lay_out(plan, call->parameters->width, 1, base + (size_t)threads_index() * each, &s);
        float *partials = call->partials +
                          (share * p->heads + kv_head * plan->group) * call->partial_size;
        memset(partials, 0, (size_t)(plan->group * call->partial_size) * sizeof(float));
        for (int64_t b = p->sequences * share / SHARES; b < p->sequences * (share + 1) / SHARES; b++) {
            work_task task = {.sequence = problem_sequence(p, b), .kv_head = kv_head};
            task.count = task.sequence.queries * plan->group;
            backward_task(plan, &task, call, partials, &s);
        }
    }
}

static void sum_shares(const work_plan *plan, const additive_call *call,
                       const attn_additive_gradients *to) {
    const problem_t *p = plan->problem;
    const int64_t width = call->parameters->width, ldw = padded_width(width);
    for (int64_t h = 0; h < p->heads; h++) {
        for (int64_t c = 0; c < width; c++) {
            double b = 0, v = 0;
            for (int64_t e = 0; e < p->d; e++) {
                double w = 0, u = 0;
                for (int64_t n = 0; n < SHARES; n++) {
                    const float *from = call->partials + (n * p->heads + h) * call->partial_size;
                    w += (double)from[c * plan->ldq + e];
                    u += (double)from[(ldw + c) * plan->ldq + e];
                }
                if (to->w) {
                    to->w[(h * width + c) * p->d + e] = (float)w;
                }
                if (to->u) {
                    to->u[(h * width + c) * p->d + e] = (float)u;
                }
            }
            for (int64_t n = 0; n < SHARES; n++) {
                const float *from = call->partials + (n * p->heads + h) * call->partial_size +
                                    2 * ldw * plan->ldq;
                b += (double)from[c];
                v += (double)from[ldw + c];
            }
            if (to->b) {
                to->b[h * width + c] = (float)b;
            }
            if (to->score_v) {
                to->score_v[h * width + c] = (float)v;
            }
        }
    }
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
    if (own->kernel == ATTN_KERNEL_REFERENCE) {
        own->kernel = ATTN_KERNEL_PORTABLE;
    }
    attn_status status = plan_make(plan, own, 0);
    if (status) {
        return status;
    }
    if (p->dtype != ATTN_F32) {
        return fail(ATTN_ERROR_ARGUMENT, "additive: scores of this kind are computed in f32 alone");
    }
    plan->tile = plan->tile ? plan->tile : &tile_portable;
    return ATTN_OK;
}

static int64_t partial_floats(const work_plan *plan, int64_t width) {
    const int64_t ldw = padded_width(width);
    return 2 * ldw * plan->ldq + 2 * ldw;
}

static size_t partials_size(const work_plan *plan, int64_t width) {
    return ((size_t)(SHARES * plan->problem->heads * partial_floats(plan, width)) * sizeof(float) + 63) /
           64 * 64;
}

attn_status attn_additive_workspace(const attn_attention_problem *p, int64_t width,
                                    attn_attention_pass pass, size_t *size) {
    work_plan plan;
    attn_attention_problem own;
    additive_scratch s;
    attn_status status = prepare(&plan, &own, p, width);
    if (status) {
        return status;
    }
    if (!size || (pass != ATTN_PASS_FORWARD && pass != ATTN_PASS_BACKWARD && pass != ATTN_PASS_WEIGHTS)) {
        return fail(ATTN_ERROR_ARGUMENT, "additive: size is NULL or pass %d has no additive form",
                    (int)pass);
    }
    const int backward = pass == ATTN_PASS_BACKWARD;
    *size = plan_workspace(lay_out(&plan, width, backward, NULL, &s)) +
            (backward ? partials_size(&plan, width) : 0);
    return ATTN_OK;
}

static attn_status check_parameters(const attn_additive_parameters *w) {
    if (!w || !w->w || !w->u || !w->v) {
        return fail(ATTN_ERROR_ARGUMENT, "additive: w, u or v of the parameters is NULL");
    }
    return ATTN_OK;
}

attn_status attn_additive_forward(const attn_attention_problem *p, const attn_additive_parameters *w,
                                  const float *q, const float *k, const float *v, float *o,
                                  float *log_sum_exp, void *workspace, size_t workspace_size) {
    work_plan plan;
    attn_attention_problem own;
    additive_scratch s;
    attn_status status = check_parameters(w);
    if (status || (status = prepare(&plan, &own, p, w->width))) {
        return status;
    }
    if ((plan.size.q_tokens && (!q || !o)) || (plan.size.k_tokens && (!k || !v))) {
        return fail(ATTN_ERROR_ARGUMENT, "additive: q, k, v or o is NULL");
    }
    additive_call call = {.arrays = {.q = q, .k = k, .v = v, .out = o, .log_sum_exp = log_sum_exp},
                          .parameters = w};
    return plan_run(&plan, 0, forward_task, &call, workspace, workspace_size,
                    lay_out(&plan, w->width, 0, NULL, &s));
}

attn_status attn_additive_weights(const attn_attention_problem *p, const attn_additive_parameters *w,
                                  const float *q, const float *k, float *weights, void *workspace,
                                  size_t workspace_size) {
    work_plan plan;
    attn_attention_problem own;
    additive_scratch s;
    attn_status status = check_parameters(w);
    if (status || (status = prepare(&plan, &own, p, w->width))) {
        return status;
    }
    if ((plan.size.q_tokens && !q) || (plan.size.k_tokens && !k) ||
        (plan.size.q_tokens && plan.size.k_tokens && !weights)) {
        return fail(ATTN_ERROR_ARGUMENT, "additive: q, k or weights is NULL");
    }
    additive_call call = {.arrays = {.q = q, .k = k}, .parameters = w, .weights = weights};
    return plan_run(&plan, 0, weights_task, &call, workspace, workspace_size,
                    lay_out(&plan, w->width, 0, NULL, &s));
}

attn_status attn_additive_backward(const attn_attention_problem *p, const attn_additive_parameters *w,
                                   const float *q, const float *k, const float *v, const float *o,
                                   const float *log_sum_exp, const float *d_o,
                                   const attn_additive_gradients *g, void *workspace,
                                   size_t workspace_size) {
    work_plan plan;
    attn_attention_problem own;
    additive_scratch s;
    attn_status status = check_parameters(w);
    if (status || (status = prepare(&plan, &own, p, w->width))) {
        return status;
    }
    if (!g || (plan.size.q_tokens && (!q || !o || !d_o || !log_sum_exp)) ||
        (plan.size.k_tokens && (!k || !v))) {
        return fail(ATTN_ERROR_ARGUMENT, "additive: an array of the backward is NULL");
    }
    const size_t each = (lay_out(&plan, w->width, 1, NULL, &s) + 63) / 64 * 64;
    const size_t partials = partials_size(&plan, w->width);
    if ((status = plan_check_workspace(workspace, workspace_size, partials + each))) {
        return status;
    }
    additive_call call = {.arrays = {.q = q, .k = k, .v = v, .o = o, .d_o = d_o,
                                     .saved_log_sum_exp = log_sum_exp,
                                     .gradients = {.q = g->q, .k = g->k, .v = g->v}},
                          .parameters = w};
    char *base = (char *)(((uintptr_t)workspace + 63) & ~(uintptr_t)63);
    call.partials = (float *)(void *)base;
    call.partial_size = partial_floats(&plan, w->width);
    const int64_t room = (int64_t)((workspace_size - 64 - partials) / each);
    backward_shares(&plan, &call, base + partials, each, threads_get() < room ? threads_get() : room);
    sum_shares(&plan, &call, g);
    return ATTN_OK;
}
