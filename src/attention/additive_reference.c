/* Additive attention in f64, pair by pair (Bahdanau et al. 2015; the formula and the gradient
 * stand at the top of additive.c). Also what the blocks fall back on where something that may be
 * hidden is not finite. */
#include <math.h>
#include <string.h>

#include "attention/additive.h"
#include "attention/reference.h"

typedef struct row_state {
    double maximum, sum, delta;
    int64_t low, high;
    dropout_row keys;
} row_state;

typedef struct reference_scratch_areas {
    row_state *rows;
    double *a, *u;           /* [rows][width], [width] */
    double *out;             /* forward: [rows][d_v] */
    double *d_a, *d_u;       /* [rows][width], [width] */
    double *d_keys;          /* [keys][d + d_v]: dK and dV, summed over the group's heads */
    double *d_w, *d_uw;      /* [width][d] */
    double *d_b, *d_score_v; /* [width] */
} areas;

static size_t lay_out(const work_plan *plan, int64_t width, int backward, void *base, areas *s) {
    const problem_t *p = plan->problem;
    scratch_cursor at = {.base = base};
    const size_t rows = backward ? (size_t)plan->size.most_queries : ADDITIVE_ROWS, w = (size_t)width;
    s->rows = scratch_take(&at, rows, sizeof(row_state));
    s->a = scratch_take(&at, rows * w, sizeof(double));
    s->u = scratch_take(&at, w, sizeof(double));
    s->out = scratch_take(&at, backward ? 0 : rows * (size_t)p->d_v, sizeof(double));
    if (backward) {
        s->d_a = scratch_take(&at, rows * w, sizeof(double));
        s->d_u = scratch_take(&at, w, sizeof(double));
        s->d_keys = scratch_take(&at, (size_t)(plan->size.most_keys * (p->d + p->d_v)), sizeof(double));
        s->d_w = scratch_take(&at, w * (size_t)p->d, sizeof(double));
        s->d_uw = scratch_take(&at, w * (size_t)p->d, sizeof(double));
        s->d_b = scratch_take(&at, w, sizeof(double));
        s->d_score_v = scratch_take(&at, w, sizeof(double));
    }
    return at.used;
}

size_t additive_reference_scratch(const work_plan *plan, int64_t width, int backward) {
    areas s;
    return lay_out(plan, width, backward, NULL, &s);
}

/* out = matrix x (+ bias): [width][d] times a row of the arrays */
static void project(const work_plan *plan, const float *matrix, const float *bias, int64_t width,
                    const void *row, double *out) {
    const problem_t *p = plan->problem;
    for (int64_t c = 0; c < width; c++) {
        out[c] = bias ? bias[c] : 0;
        for (int64_t e = 0; e < p->d; e++) {
            out[c] += (double)matrix[c * p->d + e] * reference_element(row, p->dtype, e);
        }
    }
}

static const void *query_at(const work_plan *plan, const work_task *task, const additive_call *call, int64_t i,
                            int64_t head) {
    return query_row(plan->problem, &task->sequence, call->arrays.q, plan->problem->q, i, head);
}

static const void *key_at(const work_plan *plan, const work_task *task, const additive_call *call, int64_t j) {
    return key_row(plan->problem, &task->sequence, call->arrays.k, plan->problem->k, j, task->kv_head);
}

static void make_u(const work_plan *plan, const work_task *task, const additive_call *call, int64_t head,
                   int64_t j, double *u) {
    const attn_additive_parameters *w = call->parameters;
    project(plan, w->u + head * w->width * plan->problem->d, NULL, w->width, key_at(plan, task, call, j), u);
}

/* Queries from .. with a and what they see; the softmax is that of the sink alone. */
static void open_rows(const work_plan *plan, const work_task *task, const additive_call *call, int64_t head,
                      int64_t from, int64_t count, areas *s) {
    const problem_t *p = plan->problem;
    const attn_additive_parameters *w = call->parameters;
    const uint64_t head_key = dropout_head_key(
        p->dropout_seed, p->dropout_first_sequence + task->sequence.index, head);
    for (int64_t n = 0; n < count; n++) {
        row_state *row = s->rows + n;
        project(plan, w->w + head * w->width * p->d, w->b ? w->b + head * w->width : NULL, w->width,
                query_at(plan, task, call, from + n, head), s->a + n * w->width);
        problem_visible(p, &task->sequence, from + n, &row->low, &row->high);
        row->keys = dropout_row_keys(head_key, from + n);
        row->maximum = p->sinks ? p->sinks[head] : -INFINITY;
        row->sum = row->maximum > -INFINITY ? 1 : 0;
        row->delta = 0;
    }
}

/* The score of query i = from + n and the key of s->u; -inf if hidden. */
static double score(const work_plan *plan, const work_task *task, const additive_call *call, int64_t head,
                    int64_t i, int64_t n, int64_t j, const areas *s, double *slope) {
    const attn_additive_parameters *w = call->parameters;
    if (j < s->rows[n].low || j >= s->rows[n].high || reference_hidden(plan, task, head, i, j)) {
        return -INFINITY;
    }
    double sum = 0;
    for (int64_t c = 0; c < w->width; c++) {
        sum += (double)w->v[head * w->width + c] * tanh(s->a[n * w->width + c] + s->u[c]);
    }
    return reference_score(plan, task, head, i, j, sum, slope);
}

static double keep_factor(const work_plan *plan, const row_state *row, int64_t j) {
    const int drops = plan->rule.drop_below && dropout_bits(row->keys, j) < plan->rule.drop_below;
    return drops ? 0 : (double)plan->rule.keep_scale;
}

/* Maximum and sum of all rows. */
static void sum_rows(const work_plan *plan, const work_task *task, const additive_call *call, int64_t head,
                     int64_t from, int64_t count, areas *s) {
    double slope;
    for (int64_t j = 0; j < task->sequence.length; j++) {
        make_u(plan, task, call, head, j, s->u);
        for (int64_t n = 0; n < count; n++) {
            const double x = score(plan, task, call, head, from + n, n, j, s, &slope);
            if (x != -INFINITY) {
                reference_add_score(x, &s->rows[n].maximum, &s->rows[n].sum);
            }
        }
    }
}

/* --- forward and weights --------------------------------------------------------------------- */

static void store_rows(const work_plan *plan, const work_task *task, const additive_call *call, int64_t head,
                       int64_t from, int count, const areas *s) {
    const problem_t *p = plan->problem;
    const attention_arrays *a = &call->arrays;
    for (int n = 0; n < count; n++) {
        void *target = (void *)(uintptr_t)query_row(p, &task->sequence, a->out, p->o, from + n, head);
        for (int64_t c = 0; c < p->d_v; c++) {
            reference_store(target, p->dtype, c, s->out[n * p->d_v + c]);
        }
        if (a->log_sum_exp) {
            a->log_sum_exp[head * plan->size.q_tokens + task->sequence.q_first + from + n] =
                (float)(s->rows[n].sum == 0 ? -INFINITY : s->rows[n].maximum + log(s->rows[n].sum));
        }
    }
}

void additive_reference_rows(const work_plan *plan, const work_task *task, const additive_call *call,
                             int64_t head, int64_t from, int count, void *scratch) {
    const problem_t *p = plan->problem;
    const int64_t keys = task->sequence.keys;
    float *weights = !call->weights ? NULL
                     : additive_weights_of(plan, task, call) +
                           (head % plan->group * task->sequence.queries + from) * keys;
    areas s;
    double slope;
    lay_out(plan, call->parameters->width, 0, scratch, &s);
    open_rows(plan, task, call, head, from, count, &s);
    sum_rows(plan, task, call, head, from, count, &s);
    memset(s.out, 0, (size_t)(count * p->d_v) * sizeof(double));
    if (weights) {
        memset(weights, 0, (size_t)(count * keys) * sizeof(float));
    }
    for (int64_t j = 0; j < task->sequence.length; j++) {
        make_u(plan, task, call, head, j, s.u);
        for (int n = 0; n < count; n++) {
            const double x = score(plan, task, call, head, from + n, n, j, &s, &slope);
            if (x == -INFINITY) {
                continue;
            }
            const double w = exp(x - s.rows[n].maximum) / s.rows[n].sum * keep_factor(plan, s.rows + n, j);
            if (weights) {
                weights[n * keys + j] = (float)w;
                continue;
            }
            const void *value = key_row(p, &task->sequence, call->arrays.v, p->v, j, task->kv_head);
            for (int64_t c = 0; c < p->d_v; c++) {
                s.out[n * p->d_v + c] += w * reference_element(value, p->dtype, c);
            }
        }
    }
    if (!weights) {
        store_rows(plan, task, call, head, from, count, &s);
    }
}

/* --- backward ----------------------------------------------------------------------------------- */

/* <d_o, v> of a pair, times what dropout keeps of it */
static double value_product(const work_plan *plan, const work_task *task, const additive_call *call,
                            int64_t head, int64_t i, int64_t j, double keep) {
    const problem_t *p = plan->problem;
    const void *value = key_row(p, &task->sequence, call->arrays.v, p->v, j, task->kv_head);
    const void *d_o = query_row(p, &task->sequence, call->arrays.d_o, p->d_o, i, head);
    double product = 0;
    for (int64_t c = 0; c < p->d_v; c++) {
        product += reference_element(value, p->dtype, c) * reference_element(d_o, p->dtype, c);
    }
    return keep * product;
}

/* What pair (i, j) adds to the gradients; s->u, s->d_u are the key's. */
static void pair_gradient(const work_plan *plan, const work_task *task, const additive_call *call,
                          int64_t head, int64_t i, int64_t j, double x, double slope, areas *s) {
    const problem_t *p = plan->problem;
    const attn_additive_parameters *w = call->parameters;
    const row_state *row = s->rows + i;
    const double weight = exp(x - row->maximum) / row->sum, keep = keep_factor(plan, row, j);
    const double d_s = weight * (value_product(plan, task, call, head, i, j, keep) - row->delta);
    const void *d_o = query_row(p, &task->sequence, call->arrays.d_o, p->d_o, i, head);
    double *d_v = s->d_keys + j * (p->d + p->d_v) + p->d;
    for (int64_t c = 0; c < p->d_v; c++) {
        d_v[c] += weight * keep * reference_element(d_o, p->dtype, c);
    }
    if (call->arrays.gradients.bias) {
        call->arrays.gradients.bias[bias_at(p, task->sequence.index, head, i, j) - p->bias] += (float)d_s;
    }
    for (int64_t c = 0; c < w->width; c++) {
        const double t = tanh(s->a[i * w->width + c] + s->u[c]);
        const double g = d_s * slope * (double)w->v[head * w->width + c] * (1 - t * t);
        s->d_a[i * w->width + c] += g;
        s->d_u[c] += g;
        s->d_score_v[c] += d_s * slope * t;
    }
}

/* dQ = da W, dW = da^T Q, db = sum da. A row that sees nothing has da = 0 and may hold anything. */
static void close_row(const work_plan *plan, const work_task *task, const additive_call *call, int64_t head,
                      int64_t i, areas *s) {
    const problem_t *p = plan->problem;
    const attn_additive_parameters *w = call->parameters;
    const void *query = query_at(plan, task, call, i, head);
    double d_q[256] = {0};
    for (int64_t c = 0; c < w->width; c++) {
        const double g = s->d_a[i * w->width + c];
        s->d_b[c] += g;
        for (int64_t e = 0; e < p->d && g != 0; e++) {
            d_q[e] += g * (double)w->w[(head * w->width + c) * p->d + e];
            s->d_w[c * p->d + e] += g * reference_element(query, p->dtype, e);
        }
    }
    if (call->arrays.gradients.q) {
        void *target = (void *)(uintptr_t)query_row(p, &task->sequence, call->arrays.gradients.q, p->d_q, i,
                                                    head);
        for (int64_t e = 0; e < p->d; e++) {
            reference_store(target, p->dtype, e, d_q[e]);
        }
    }
}

static void close_key(const work_plan *plan, const work_task *task, const additive_call *call, int64_t head,
                      int64_t j, areas *s) {
    const problem_t *p = plan->problem;
    const attn_additive_parameters *w = call->parameters;
    const void *key = key_at(plan, task, call, j);
    double *d_k = s->d_keys + j * (p->d + p->d_v);
    for (int64_t c = 0; c < w->width; c++) {
        for (int64_t e = 0; e < p->d && s->d_u[c] != 0; e++) {
            d_k[e] += s->d_u[c] * (double)w->u[(head * w->width + c) * p->d + e];
            s->d_uw[c * p->d + e] += s->d_u[c] * reference_element(key, p->dtype, e);
        }
    }
}

/* Deltas first, then all gradients; one head. */
static void head_gradients(const work_plan *plan, const work_task *task, const additive_call *call,
                           int64_t head, areas *s) {
    const int64_t queries = task->sequence.queries, width = call->parameters->width;
    double slope = 1;
    open_rows(plan, task, call, head, 0, queries, s);
    sum_rows(plan, task, call, head, 0, queries, s);
    memset(s->d_a, 0, (size_t)(queries * width) * sizeof(double));
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t j = 0; j < task->sequence.length; j++) {
            make_u(plan, task, call, head, j, s->u);
            memset(s->d_u, 0, (size_t)width * sizeof(double));
            for (int64_t i = 0; i < queries; i++) {
                const double x = score(plan, task, call, head, i, i, j, s, &slope);
                if (x == -INFINITY) {
                    continue;
                }
                if (pass == 1) {
                    pair_gradient(plan, task, call, head, i, j, x, slope, s);
                    continue;
                }
                const double weight = exp(x - s->rows[i].maximum) / s->rows[i].sum;
                s->rows[i].delta += weight * value_product(plan, task, call, head, i, j,
                                                           keep_factor(plan, s->rows + i, j));
            }
            if (pass == 1) {
                close_key(plan, task, call, head, j, s);
            }
        }
    }
    for (int64_t i = 0; i < queries; i++) {
        close_row(plan, task, call, head, i, s);
    }
}

static void store_keys(const work_plan *plan, const work_task *task, const additive_call *call, const areas *s) {
    const problem_t *p = plan->problem;
    const attn_attention_gradients *to = &call->arrays.gradients;
    for (int64_t j = 0; j < task->sequence.keys; j++) { /* beyond the length: zeros */
        const double *row = s->d_keys + j * (p->d + p->d_v);
        for (int64_t e = 0; e < p->d && to->k; e++) {
            reference_store((void *)(uintptr_t)key_row(p, &task->sequence, to->k, p->d_k, j, task->kv_head),
                            p->dtype, e, row[e]);
        }
        for (int64_t e = 0; e < p->d_v && to->v; e++) {
            reference_store((void *)(uintptr_t)key_row(p, &task->sequence, to->v, p->d_v_, j, task->kv_head),
                            p->dtype, e, row[p->d + e]);
        }
    }
}

void additive_reference_backward(const work_plan *plan, const work_task *task, const additive_call *call,
                                 float *partials, double *d_sinks, void *scratch) {
    const problem_t *p = plan->problem;
    const int64_t width = call->parameters->width, ldw = padded_width(width);
    areas s;
    lay_out(plan, width, 1, scratch, &s);
    memset(s.d_keys, 0, (size_t)(task->sequence.keys * (p->d + p->d_v)) * sizeof(double));
    for (int64_t g = 0; g < plan->group; g++) {
        const int64_t head = task->kv_head * plan->group + g;
        float *to = partials + g * call->partial_size;
        memset(s.d_w, 0, (size_t)(width * p->d) * sizeof(double));
        memset(s.d_uw, 0, (size_t)(width * p->d) * sizeof(double));
        memset(s.d_b, 0, (size_t)width * sizeof(double));
        memset(s.d_score_v, 0, (size_t)width * sizeof(double));
        head_gradients(plan, task, call, head, &s);
        for (int64_t c = 0; c < width; c++) {
            for (int64_t e = 0; e < p->d; e++) {
                to[c * plan->ldq + e] += (float)s.d_w[c * p->d + e];
                to[(ldw + c) * plan->ldq + e] += (float)s.d_uw[c * p->d + e];
            }
            to[2 * ldw * plan->ldq + c] += (float)s.d_b[c];
            to[2 * ldw * plan->ldq + ldw + c] += (float)s.d_score_v[c];
        }
        for (int64_t i = 0; i < task->sequence.queries && d_sinks; i++) {
            if (s.rows[i].sum > 0) {
                d_sinks[head] -= exp((double)p->sinks[head] - s.rows[i].maximum) / s.rows[i].sum * s.rows[i].delta;
            }
        }
    }
    store_keys(plan, task, call, &s);
}
