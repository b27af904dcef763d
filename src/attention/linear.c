/* Linear attention (Katharopoulos et al. 2020): weights f(q_i).f(k_j) / D_i with
 * f(x) = elu(x) + 1 and D_i = f(q_i) . sum_j f(k_j) over the keys that i may see. With
 *
 *     S = sum_j f(k_j) v_j^T,  z = sum_j f(k_j):      o_i = S^T f(q_i) / D_i
 *
 * the cost is linear in the length. Queries go in blocks; whole blocks of keys that all
 * of a block's queries see are in S and z, the few others (the diagonal) are weighed
 * one by one. Backward, with g_i = do_i / D_i and e_i = <do_i, o_i> / D_i:
 *
 *     df(q_i) = S g_i - e_i z
 *     R = sum_i f(q_i) g_i^T,  r = sum_i e_i f(q_i)  over the queries that see j, from the end:
 *     df(k_j) = R v_j - r        dv_j = R^T f(k_j)                                        */
#include <math.h>
#include <string.h>

#include "attention/passes.h"
#include "attention/reference.h"

enum { LINEAR_ROWS = 96, LD_WEIGHTS = BLOCK_KEYS + 16 };

typedef struct linear_scratch {
    float *q, *rows;           /* f(q) and d_o (backward: g), a block */
    float *k, *v, *panels;     /* f(k) and v, a block; a transpose */
    float *weights, *out;      /* LINEAR_ROWS x BLOCK_KEYS, rows of the result */
    float *state, *transposed; /* S or R [d][ldv] and its transpose [d_v][ldq] */
    float *sum;                /* z or r */
    float *denominators;       /* D of all rows of a head, which the way back finds first */
    float *delta;
    float *key_gradient, *value_gradient;
    row_tile *tiles;
} linear_scratch;

static size_t largest(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t lay_out(const work_plan *plan, void *base, linear_scratch *s) {
    scratch_cursor at = {.base = base};
    const size_t ldq = (size_t)plan->ldq, ldv = (size_t)plan->ldv, ld = largest(ldq, ldv);
    s->q = scratch_take(&at, LINEAR_ROWS * ldq, sizeof(float));
    s->rows = scratch_take(&at, LINEAR_ROWS * ldv, sizeof(float));
    s->k = scratch_take(&at, BLOCK_KEYS * ldq, sizeof(float));
    s->v = scratch_take(&at, BLOCK_KEYS * ldv, sizeof(float));
    s->panels = scratch_take(&at, BLOCK_KEYS * ld, sizeof(float));
    s->weights = scratch_take(&at, LINEAR_ROWS * LD_WEIGHTS, sizeof(float));
    s->out = scratch_take(&at, LINEAR_ROWS * ld, sizeof(float));
    s->key_gradient = scratch_take(&at, BLOCK_KEYS * ldq, sizeof(float));
    s->value_gradient = scratch_take(&at, BLOCK_KEYS * ldv, sizeof(float));
    s->state = scratch_take(&at, ldq * ldv, sizeof(float));
    s->transposed = scratch_take(&at, ldv * ldq, sizeof(float));
    s->sum = scratch_take(&at, ldq, sizeof(float));
    s->denominators = scratch_take(&at, (size_t)(plan->size.most_queries * plan->group), sizeof(float));
    s->delta = scratch_take(&at, LINEAR_ROWS, sizeof(float));
    s->tiles = scratch_take(&at, 64, sizeof(row_tile));
    return at.used;
}

size_t linear_scratch_size(const work_plan *plan) {
    linear_scratch s;
    return lay_out(plan, NULL, &s);
}

attn_status linear_check(const work_plan *plan) {
    const problem_t *p = plan->problem;
    if (p->mask || p->bias || p->alibi || p->sinks || p->softcap < INFINITY || p->dropout > 0 ||
        p->rotary != ATTN_ROTARY_NONE || p->window_left != ATTN_WINDOW_UNLIMITED ||
        p->window_right != ATTN_WINDOW_UNLIMITED) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: the linear score takes key lengths and causal "
                    "alone, without mask, bias, slopes, sinks, soft cap, dropout, rotary or window");
    }
    return ATTN_OK;
}

/* Even tiles over `count` rows, each of the same depth. */
static int plain_tiles(int count, int depth, row_tile *tiles) {
    const int wanted = (count + TILE_ROWS - 1) / TILE_ROWS;
    for (int t = 0, first = 0; t < wanted; t++) {
        const int size = count / wanted + (t < count % wanted);
        tiles[t] = (row_tile){first, size, 0, depth};
        first += size;
    }
    return wanted;
}

/* c [rows][columns] += a b, the left operand by strides */
static void add_product(const work_plan *plan, linear_scratch *s, int rows, int depth,
                        const float *a, int64_t row_stride, int64_t k_stride, const float *b,
                        int64_t ldb, int64_t columns, float *c, int64_t ldc) {
    const int tiles = plain_tiles(rows, depth, s->tiles);
    plan->tile->product_terms(s->tiles, tiles, a, row_stride, k_stride, b, ldb, plan_columns(plan, columns), c,
                              ldc, NULL);
}

/* --- loading ------------------------------------------------------------------------------ */

static int load_query_rows(const work_plan *plan, const work_task *task, const void *base,
                           attn_strides strides, int64_t width, int64_t from, int count, float *rows,
                           int64_t ld) {
    const void *source[LINEAR_ROWS];
    task_rows(plan, task, base, strides, from, count, source);
    return load_rows(plan, source, count, (int)width, rows, ld, ROW_PLAIN, NULL);
}

static int load_keys(const work_plan *plan, const work_task *task, const attention_arrays *a,
                     int64_t first, int keys, linear_scratch *s) {
    const problem_t *p = plan->problem;
    const void *source[BLOCK_KEYS] = {0};
    key_rows(p, &task->sequence, a->k, p->k, first, keys, task->kv_head, source);
    int finite = load_rows(plan, source, keys, (int)p->d, s->k, plan->ldq, ROW_PLAIN, NULL);
    key_rows(p, &task->sequence, a->v, p->v, first, keys, task->kv_head, source);
    finite &= load_rows(plan, source, keys, (int)p->d_v, s->v, plan->ldv, ROW_PLAIN, NULL);
    plan->tile->feature_map(s->k, keys, (int)p->d, plan->ldq);
    return finite;
}

static void transpose_rows(const work_plan *plan, const float *rows, int64_t ld, int count,
                           int64_t width, float *panels) {
    const float *source[BLOCK_KEYS] = {0};
    for (int r = 0; r < count; r++) {
        source[r] = rows + r * ld;
    }
    plan->tile->transpose(source, count, (int)width, panels);
}

/* Keys that row r sees: 0 .. end. */
static int64_t row_end(const work_plan *plan, const work_task *task, int64_t r) {
    int64_t low, high;
    problem_visible(plan->problem, &task->sequence, row_token(plan, r), &low, &high);
    return high;
}

/* Zeroes what the rows may not see of keys first .. first + keys - 1. */
static void hide(const work_plan *plan, const work_task *task, int64_t from, int rows,
                 int64_t first, int keys, float *weights) {
    for (int n = 0; n < rows; n++) {
        int64_t end = row_end(plan, task, from + n) - first;
        end = end < 0 ? 0 : end;
        for (int64_t j = end; j < keys; j++) {
            weights[n * LD_WEIGHTS + j] = 0;
        }
    }
}

/* --- the states --------------------------------------------------------------------------- */

/* S and z take the loaded keys. */
static void add_keys(const work_plan *plan, int keys, linear_scratch *s) {
    const problem_t *p = plan->problem;
    add_product(plan, s, (int)p->d, keys, s->k, 1, plan->ldq, s->v, plan->ldv, p->d_v, s->state,
                plan->ldv);
    for (int j = 0; j < keys; j++) {
        for (int64_t c = 0; c < p->d; c++) {
            s->sum[c] += s->k[j * plan->ldq + c];
        }
    }
}

static void clear_state(const work_plan *plan, linear_scratch *s) {
    memset(s->state, 0, (size_t)(plan->ldq * plan->ldv) * sizeof(float));
    memset(s->sum, 0, (size_t)plan->ldq * sizeof(float));
}

/* Takes the blocks of keys that all rows from `from` on see into the state; 0 if something is
 * not finite that others may not see. */
static int advance(const work_plan *plan, const work_task *task, const attention_arrays *a,
                   int64_t from, int64_t *taken, linear_scratch *s) {
    const int64_t end = row_end(plan, task, from), length = task->sequence.length;
    int changed = 0;
    while (*taken < end) {
        const int64_t to = *taken + BLOCK_KEYS < length ? *taken + BLOCK_KEYS : length;
        if (to > end) {
            break;
        }
        if (!load_keys(plan, task, a, *taken, (int)(to - *taken), s) && plan->hides) {
            return -1;
        }
        add_keys(plan, (int)(to - *taken), s);
        *taken = to;
        changed = 1;
    }
    return changed;
}

/* --- forward ------------------------------------------------------------------------------ */

/* f(q) of a block of rows; 1 if all are finite. */
static int load_features(const work_plan *plan, const work_task *task, const attention_arrays *a,
                         int64_t from, int rows, linear_scratch *s) {
    const problem_t *p = plan->problem;
    const int finite = load_query_rows(plan, task, a->q, p->q, p->d, from, rows, s->q, plan->ldq);
    plan->tile->feature_map(s->q, rows, (int)p->d, plan->ldq);
    return finite;
}

/* What the rows' D have of the state. */
static float *begin_denominators(const work_plan *plan, int64_t from, int rows, linear_scratch *s) {
    float *d = s->denominators + from;
    for (int n = 0; n < rows; n++) {
        d[n] = plan->tile->dot(s->q + n * plan->ldq, s->sum, (int)plan->problem->d);
    }
    return d;
}

/* Loads keys that some of the rows see: s->weights = f(q) f(k), 0 where hidden, which are added to D. 0 if
 * something is not finite that others may not see. */
static int weigh_diagonal(const work_plan *plan, const work_task *task, const attention_arrays *a,
                          int64_t from, int rows, int64_t first, int keys, linear_scratch *s) {
    if (!load_keys(plan, task, a, first, keys, s) && plan->hides) {
        return 0;
    }
    transpose_rows(plan, s->k, plan->ldq, keys, plan->problem->d, s->panels);
    const int tiles = plain_tiles(rows, keys, s->tiles);
    plan->tile->product_columns(s->tiles, tiles, s->q, plan->ldq, (int)plan->problem->d, s->panels, keys,
                                s->weights, LD_WEIGHTS, NULL);
    hide(plan, task, from, rows, first, keys, s->weights);
    for (int n = 0; n < rows; n++) {
        float sum = 0;
        for (int j = 0; j < keys; j++) {
            sum += s->weights[n * LD_WEIGHTS + j];
        }
        s->denominators[from + n] += sum;
    }
    return 1;
}

static int forward_rows(const work_plan *plan, const work_task *task, const attention_arrays *a,
                        int64_t from, int rows, int64_t *taken, linear_scratch *s) {
    const problem_t *p = plan->problem;
    if (advance(plan, task, a, from, taken, s) < 0) {
        return 0;
    }
    (void)load_features(plan, task, a, from, rows, s);
    memset(s->out, 0, (size_t)(rows * plan->ldv) * sizeof(float));
    add_product(plan, s, rows, (int)p->d, s->q, plan->ldq, 1, s->state, plan->ldv, p->d_v, s->out,
                plan->ldv);
    const float *denominators = begin_denominators(plan, from, rows, s);
    const int64_t end = row_end(plan, task, from + rows - 1);
    for (int64_t first = *taken; first < end; first += BLOCK_KEYS) {
        const int keys = (int)(end - first < BLOCK_KEYS ? end - first : BLOCK_KEYS);
        if (!weigh_diagonal(plan, task, a, from, rows, first, keys, s)) {
            return 0;
        }
        add_product(plan, s, rows, keys, s->weights, LD_WEIGHTS, 1, s->v, plan->ldv, p->d_v, s->out,
                    plan->ldv);
    }
    for (int n = 0; n < rows; n++) {
        const int64_t r = from + n, i = row_token(plan, r);
        const int64_t head = row_head(plan, task, r);
        const int sees = row_end(plan, task, r) > 0; /* a row that sees nothing may hold anything */
        const float d = sees ? denominators[n] : 0.0f;
        if (!sees) {
            memset(s->out + n * plan->ldv, 0, (size_t)plan->ldv * sizeof(float));
        }
        (p->dtype == ATTN_F32 ? plan->tile->store_f32 : plan->tile->store_bf16)(
            s->out + n * plan->ldv, d != 0 ? 1.0f / d : 0.0f, (int)p->d_v,
            (void *)(uintptr_t)query_row(p, &task->sequence, a->out, p->o, i, head));
        if (a->log_sum_exp) {
            a->log_sum_exp[head * plan->size.q_tokens + task->sequence.q_first + i] =
                d != 0 ? logf(d) : -INFINITY;
        }
    }
    return 1;
}

void linear_forward_task(const work_plan *plan, const work_task *task, void *context,
                         void *scratch) {
    const attention_arrays *a = context;
    linear_scratch s;
    int64_t taken = 0;
    lay_out(plan, scratch, &s);
    clear_state(plan, &s);
    for (int64_t from = 0; from < task->count; from += LINEAR_ROWS) {
        const int64_t left = task->count - from;
        if (!forward_rows(plan, task, a, from, (int)(left < LINEAR_ROWS ? left : LINEAR_ROWS), &taken,
                          &s)) {
            reference_forward(plan, task, a);
            return;
        }
    }
}

/* --- backward ----------------------------------------------------------------------------- */

/* g and e of a block of rows whose D are known; rows that see nothing get zeros. D is what forward had: of
 * log D no more than its own digits would come back. */
static int load_gradients(const work_plan *plan, const work_task *task, const attention_arrays *a,
                          int64_t from, int rows, linear_scratch *s) {
    const problem_t *p = plan->problem;
    const int finite = load_query_rows(plan, task, a->d_o, p->d_o, p->d_v, from, rows, s->rows, plan->ldv);
    load_query_rows(plan, task, a->o, p->o, p->d_v, from, rows, s->out, plan->ldv);
    for (int n = 0; n < rows; n++) {
        const int sees = row_end(plan, task, from + n) > 0;
        const float d = sees ? s->denominators[from + n] : 0.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
        s->delta[n] = inverse * plan->tile->dot(s->rows + n * plan->ldv, s->out + n * plan->ldv,
                                                (int)p->d_v);
        for (int64_t c = 0; c < p->d_v; c++) {
            s->rows[n * plan->ldv + c] *= inverse;
        }
        if (d == 0) { /* whatever d_o is */
            memset(s->rows + n * plan->ldv, 0, (size_t)plan->ldv * sizeof(float));
            s->delta[n] = 0;
        }
    }
    return finite;
}

static int load_both(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t from,
                     int rows, linear_scratch *s) {
    const int finite = load_features(plan, task, a, from, rows, s);
    return load_gradients(plan, task, a, from, rows, s) && finite;
}

/* D of a block of rows whose f(q) are loaded, once the state has what all of them see. 0 as weigh_diagonal().
 */
static int find_denominators(const work_plan *plan, const work_task *task, const attention_arrays *a,
                             int64_t from, int rows, int64_t taken, linear_scratch *s) {
    const int64_t end = row_end(plan, task, from + rows - 1);
    (void)begin_denominators(plan, from, rows, s);
    for (int64_t first = taken; first < end; first += BLOCK_KEYS) {
        const int keys = (int)(end - first < BLOCK_KEYS ? end - first : BLOCK_KEYS);
        if (!weigh_diagonal(plan, task, a, from, rows, first, keys, s)) {
            return 0;
        }
    }
    return 1;
}

static void store_feature_gradient(const work_plan *plan, const float *features, float *gradient,
                                   const void *target) {
    const problem_t *p = plan->problem;
    plan->tile->feature_slope(features, gradient, (int)p->d);
    (p->dtype == ATTN_F32 ? plan->tile->store_f32 : plan->tile->store_bf16)(
        gradient, 1.0f, (int)p->d, (void *)(uintptr_t)target);
}

/* S or R [d][ldv] turned over: [d_v][ldq]. */
static void turn_state(const work_plan *plan, linear_scratch *s) {
    for (int64_t c = 0; c < plan->problem->d; c++) {
        for (int64_t e = 0; e < plan->problem->d_v; e++) {
            s->transposed[e * plan->ldq + c] = s->state[c * plan->ldv + e];
        }
    }
    for (int64_t e = 0; e < plan->problem->d_v; e++) {
        for (int64_t c = plan->problem->d; c < plan->ldq; c++) {
            s->transposed[e * plan->ldq + c] = 0;
        }
    }
}

/* And D of all rows. */
static int query_gradients(const work_plan *plan, const work_task *task, const attention_arrays *a,
                           linear_scratch *s) {
    const problem_t *p = plan->problem;
    int64_t taken = 0;
    clear_state(plan, s);
    turn_state(plan, s);
    for (int64_t from = 0; from < task->count; from += LINEAR_ROWS) {
        const int rows = (int)(task->count - from < LINEAR_ROWS ? task->count - from : LINEAR_ROWS);
        const int changed = advance(plan, task, a, from, &taken, s);
        if (changed < 0 || (!load_features(plan, task, a, from, rows, s) && plan->hides) ||
            !find_denominators(plan, task, a, from, rows, taken, s)) {
            return 0;
        }
        if (!a->gradients.q) {
            continue;
        }
        if (!load_gradients(plan, task, a, from, rows, s) && plan->hides) {
            return 0;
        }
        if (changed) {
            turn_state(plan, s);
        }
        float *d_q = s->out;
        for (int n = 0; n < rows; n++) {
            for (int64_t c = 0; c < plan->ldq; c++) {
                d_q[n * plan->ldq + c] = c < p->d ? -s->delta[n] * s->sum[c] : 0;
            }
        }
        add_product(plan, s, rows, (int)p->d_v, s->rows, plan->ldv, 1, s->transposed, plan->ldq, p->d,
                    d_q, plan->ldq);
        const int64_t end = row_end(plan, task, from + rows - 1);
        for (int64_t first = taken; first < end; first += BLOCK_KEYS) {
            const int keys = (int)(end - first < BLOCK_KEYS ? end - first : BLOCK_KEYS);
            if (!load_keys(plan, task, a, first, keys, s) && plan->hides) {
                return 0;
            }
            transpose_rows(plan, s->v, plan->ldv, keys, p->d_v, s->panels);
            const int tiles = plain_tiles(rows, keys, s->tiles);
            plan->tile->product_columns(s->tiles, tiles, s->rows, plan->ldv, (int)p->d_v, s->panels,
                                        keys, s->weights, LD_WEIGHTS, NULL);
            for (int n = 0; n < rows; n++) {
                for (int j = 0; j < keys; j++) {
                    s->weights[n * LD_WEIGHTS + j] -= s->delta[n];
                }
            }
            hide(plan, task, from, rows, first, keys, s->weights);
            add_product(plan, s, rows, keys, s->weights, LD_WEIGHTS, 1, s->k, plan->ldq, p->d, d_q,
                        plan->ldq);
        }
        for (int n = 0; n < rows; n++) {
            const int64_t r = from + n;
            store_feature_gradient(plan, s->q + n * plan->ldq, d_q + n * plan->ldq,
                                   query_row(p, &task->sequence, a->gradients.q, p->d_q, row_token(plan, r),
                                             row_head(plan, task, r)));
        }
    }
    return 1;
}

/* R and r take the loaded rows. */
static void add_rows(const work_plan *plan, int rows, linear_scratch *s) {
    const problem_t *p = plan->problem;
    add_product(plan, s, (int)p->d, rows, s->q, 1, plan->ldq, s->rows, plan->ldv, p->d_v, s->state,
                plan->ldv);
    for (int n = 0; n < rows; n++) {
        for (int64_t c = 0; c < p->d; c++) {
            s->sum[c] += s->delta[n] * s->q[n * plan->ldq + c];
        }
    }
}

/* The rows of a block that see a part of the loaded keys, added to d_k and d_v directly. */
static void add_diagonal(const work_plan *plan, const work_task *task, int64_t from, int rows,
                         int64_t first, int keys, float *d_k, float *d_v, linear_scratch *s) {
    const problem_t *p = plan->problem;
    int tiles = plain_tiles(rows, keys, s->tiles);
    transpose_rows(plan, s->k, plan->ldq, keys, p->d, s->panels);
    plan->tile->product_columns(s->tiles, tiles, s->q, plan->ldq, (int)p->d, s->panels, keys,
                                s->weights, LD_WEIGHTS, NULL);
    hide(plan, task, from, rows, first, keys, s->weights);
    add_product(plan, s, keys, rows, s->weights, 1, LD_WEIGHTS, s->rows, plan->ldv, p->d_v, d_v,
                plan->ldv);
    transpose_rows(plan, s->v, plan->ldv, keys, p->d_v, s->panels);
    tiles = plain_tiles(rows, keys, s->tiles);
    plan->tile->product_columns(s->tiles, tiles, s->rows, plan->ldv, (int)p->d_v, s->panels, keys,
                                s->weights, LD_WEIGHTS, NULL);
    for (int n = 0; n < rows; n++) {
        for (int j = 0; j < keys; j++) {
            s->weights[n * LD_WEIGHTS + j] -= s->delta[n];
        }
    }
    hide(plan, task, from, rows, first, keys, s->weights);
    add_product(plan, s, keys, rows, s->weights, 1, LD_WEIGHTS, s->q, plan->ldq, p->d, d_k, plan->ldq);
}

static int key_gradients(const work_plan *plan, const work_task *task, const attention_arrays *a,
                         linear_scratch *s) {
    const problem_t *p = plan->problem;
    const int64_t length = task->sequence.length;
    const int64_t blocks = (task->count + LINEAR_ROWS - 1) / LINEAR_ROWS;
    int64_t above = blocks; /* blocks of rows from here on are in the state */
    clear_state(plan, s);
    for (int64_t first = (length - 1) / BLOCK_KEYS * BLOCK_KEYS; first >= 0; first -= BLOCK_KEYS) {
        const int keys = (int)(length - first < BLOCK_KEYS ? length - first : BLOCK_KEYS);
        while (above > 0 && row_end(plan, task, (above - 1) * LINEAR_ROWS) >= first + keys) {
            above--;
            const int64_t from = above * LINEAR_ROWS, left = task->count - from;
            const int rows = (int)(left < LINEAR_ROWS ? left : LINEAR_ROWS);
            if (!load_both(plan, task, a, from, rows, s) && plan->hides) {
                return 0;
            }
            add_rows(plan, rows, s);
        }
        turn_state(plan, s);
        if (!load_keys(plan, task, a, first, keys, s) && plan->hides) {
            return 0;
        }
        float *d_k = s->key_gradient;
        float *d_v = s->value_gradient;
        for (int j = 0; j < keys; j++) {
            for (int64_t c = 0; c < plan->ldq; c++) {
                d_k[j * plan->ldq + c] = c < p->d ? -s->sum[c] : 0;
            }
        }
        add_product(plan, s, keys, (int)p->d_v, s->v, plan->ldv, 1, s->transposed, plan->ldq, p->d, d_k,
                    plan->ldq);
        memset(d_v, 0, (size_t)(keys * plan->ldv) * sizeof(float));
        add_product(plan, s, keys, (int)p->d, s->k, plan->ldq, 1, s->state, plan->ldv, p->d_v, d_v,
                    plan->ldv);
        for (int64_t block = above - 1; block >= 0; block--) {
            const int64_t from = block * LINEAR_ROWS, left = task->count - from;
            const int rows = (int)(left < LINEAR_ROWS ? left : LINEAR_ROWS);
            if (row_end(plan, task, from + rows - 1) <= first) {
                break;
            }
            if (!load_both(plan, task, a, from, rows, s) && plan->hides) {
                return 0;
            }
            add_diagonal(plan, task, from, rows, first, keys, d_k, d_v, s);
        }
        for (int j = 0; j < keys; j++) {
            if (a->gradients.k) {
                store_feature_gradient(plan, s->k + j * plan->ldq, d_k + j * plan->ldq,
                                       key_row(p, &task->sequence, a->gradients.k, p->d_k, first + j,
                                               task->kv_head));
            }
            if (a->gradients.v) {
                (p->dtype == ATTN_F32 ? plan->tile->store_f32 : plan->tile->store_bf16)(
                    d_v + j * plan->ldv, 1.0f, (int)p->d_v,
                    (void *)(uintptr_t)key_row(p, &task->sequence, a->gradients.v, p->d_v_, first + j,
                                               task->kv_head));
            }
        }
    }
    return 1;
}

int linear_backward(const work_plan *plan, const work_task *task, const attention_arrays *a,
                    void *scratch) {
    linear_scratch s;
    lay_out(plan, scratch, &s);
    return query_gradients(plan, task, a, &s) &&
           ((!a->gradients.k && !a->gradients.v) || key_gradients(plan, task, a, &s));
}
