/* The reference in f64; see reference.h. A row's softmax is kept as its maximum and its
 * sum, so that even scores of -3e38 keep their differences. */
#include "attention/reference.h"

#include <math.h>
#include <string.h>

/* A query row in f64 with what its scores need. */
typedef struct query_state {
    double row[256];
    int64_t i, head, low, high;
    dropout_row keys;
} query_state;

double reference_element(const void *row, attn_dtype dtype, int64_t c) {
    if (dtype == ATTN_I8) {
        return ((const int8_t *)row)[c];
    }
    if (dtype == ATTN_F32) {
        float x;
        memcpy(&x, (const char *)row + 4 * c, sizeof x);
        return x;
    }
    uint16_t half;
    memcpy(&half, (const char *)row + 2 * c, sizeof half);
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

void reference_store(void *row, attn_dtype dtype, int64_t c, double value) {
    if (dtype == ATTN_F32) {
        float x = (float)value;
        memcpy((char *)row + 4 * c, &x, sizeof x);
    } else {
        float x[16] = {(float)value}; /* whole vectors are read */
        tile_portable.store_bf16(x, 1.0f, 1, (char *)row + 2 * c);
    }
}

/* Pairs of a rotation: element first[c] and second[c] of the row. */
static void rotate(const problem_t *p, double *row, int64_t position, double direction) {
    const int64_t half = p->rotary_d / 2;
    for (int64_t c = 0; c < half; c++) {
        const int64_t x = p->rotary == ATTN_ROTARY_HALVES ? c : 2 * c;
        const int64_t y = p->rotary == ATTN_ROTARY_HALVES ? c + half : 2 * c + 1;
        const double cosine = p->rotary_cos[position * half + c];
        const double sine = direction * p->rotary_sin[position * half + c];
        const double a = row[x], b = row[y];
        row[x] = a * cosine - b * sine;
        row[y] = a * sine + b * cosine;
    }
}

static double norm(const double *row, int64_t width) {
    double sum = 0;
    for (int64_t c = 0; c < width; c++) {
        sum += row[c] * row[c];
    }
    return sqrt(sum);
}

/* Normalised, then rotated unless position is negative; mapped by elu(x) + 1 for the
 * linear score, which is then the softmax of log <f(q), f(k)>. */
static void transform(const problem_t *p, int64_t position, double *row) {
    for (int64_t c = 0; p->score == ATTN_SCORE_LINEAR && c < p->d; c++) {
        row[c] = row[c] > 0 ? row[c] + 1 : exp(row[c]);
    }
    if (p->score == ATTN_SCORE_COSINE) {
        const double length = norm(row, p->d);
        for (int64_t c = 0; c < p->d; c++) {
            row[c] = length == 0 ? 0 : row[c] / length;
        }
    }
    if (p->rotary != ATTN_ROTARY_NONE && position >= 0) {
        rotate(p, row, position, 1);
    }
}

/* A query or key as the scores see it. */
static void load(const problem_t *p, const void *source, int64_t position, double *row) {
    for (int64_t c = 0; c < p->d; c++) {
        row[c] = reference_element(source, p->dtype, c);
    }
    transform(p, position, row);
}

/* The gradient of `source` from that of the loaded row, scaled, stored at target. */
static void unload(const problem_t *p, const void *source, int64_t position, double *gradient,
                   double factor, void *target) {
    int any = 0;
    for (int64_t c = 0; c < p->d && !any; c++) {
        any = gradient[c] != 0;
    }
    if (!any) { /* a row that nothing sees, or that sees nothing, may hold anything */
        for (int64_t c = 0; c < p->d; c++) {
            reference_store(target, p->dtype, c, 0);
        }
        return;
    }
    if (p->rotary != ATTN_ROTARY_NONE && position >= 0) {
        rotate(p, gradient, position, -1);
    }
    if (p->score == ATTN_SCORE_COSINE) {
        double row[256], along = 0;
        for (int64_t c = 0; c < p->d; c++) {
            row[c] = reference_element(source, p->dtype, c);
        }
        const double length = norm(row, p->d);
        for (int64_t c = 0; c < p->d; c++) {
            along += length == 0 ? 0 : row[c] / length * gradient[c];
        }
        for (int64_t c = 0; c < p->d; c++) {
            gradient[c] = length == 0 ? 0 : (gradient[c] - row[c] / length * along) / length;
        }
    }
    for (int64_t c = 0; p->score == ATTN_SCORE_LINEAR && c < p->d; c++) {
        const double x = reference_element(source, p->dtype, c);
        gradient[c] *= x > 0 ? 1 : exp(x);
    }
    for (int64_t c = 0; c < p->d; c++) {
        reference_store(target, p->dtype, c, gradient[c] * factor);
    }
}

static void load_query(const work_plan *plan, const work_task *task, const void *q, int64_t i, int64_t head,
                       query_state *state) {
    const problem_t *p = plan->problem;
    const sequence_view *s = &task->sequence;
    load(p, query_row(p, s, q, p->q, i, head), i + s->shift, state->row);
    state->i = i;
    state->head = head;
    problem_visible(p, s, i, &state->low, &state->high);
    state->keys = dropout_row_keys(
        dropout_head_key(p->dropout_seed, p->dropout_first_sequence + s->index, head), i);
}

int reference_hidden(const work_plan *plan, const work_task *task, int64_t head, int64_t i, int64_t j) {
    const problem_t *p = plan->problem;
    const int64_t b = task->sequence.index;
    return (p->mask && !*mask_at(p, b, head, i, j)) || (p->bias && *bias_at(p, b, head, i, j) == -INFINITY);
}

double reference_score(const work_plan *plan, const work_task *task, int64_t head, int64_t i, int64_t j,
                       double score, double *slope) {
    const problem_t *p = plan->problem;
    *slope = 1;
    if (p->softcap < INFINITY) {
        const double t = tanh(score / (double)p->softcap);
        score = t * (double)p->softcap;
        *slope = 1 - t * t;
    }
    if (p->alibi) {
        score -= (double)p->alibi[head] * fabs((double)(i + task->sequence.shift - j));
    }
    return p->bias ? score + (double)*bias_at(p, task->sequence.index, head, i, j) : score;
}

void reference_add_score(double s, double *maximum, double *sum) {
    if (!(s <= *maximum)) { /* larger, or not a number */
        *sum = *maximum == -INFINITY ? 0 : *sum * exp(*maximum - s);
        *maximum = s;
    }
    *sum += exp(s - *maximum);
}

/* The natural score of a query and a loaded key; -inf if hidden. *slope: what the soft
 * cap does to its derivative. */
static double pair_score(const work_plan *plan, const work_task *task, const query_state *query, int64_t j,
                         const double *key, double *slope) {
    const problem_t *p = plan->problem;
    *slope = 1;
    if (j < query->low || j >= query->high || reference_hidden(plan, task, query->head, query->i, j)) {
        return -INFINITY;
    }
    double score = 0;
    for (int64_t c = 0; c < p->d; c++) {
        score += query->row[c] * key[c];
    }
    if (p->score == ATTN_SCORE_LINEAR) {
        *slope = 1 / score;
        return log(score);
    }
    return reference_score(plan, task, query->head, query->i, j, score * (double)problem_scale(p), slope);
}

static void load_key(const work_plan *plan, const work_task *task, const attention_arrays *a,
                     int64_t j, double *key) {
    const problem_t *p = plan->problem;
    const attn_attention_cache *cache = a->cache;
    if (!cache) {
        load(p, key_row(p, &task->sequence, a->k, p->k, j, task->kv_head), j, key);
        return;
    }
    const int64_t b = task->sequence.index;
    const void *row = cache_row(cache, cache->k, cache->k_strides, b, j, task->kv_head);
    const double scale = cache_scale(cache, cache->k_scales, cache->k_scale_strides, b, j,
                                     task->kv_head);
    for (int64_t c = 0; c < p->d; c++) {
        key[c] = reference_element(row, cache->dtype, c) * scale;
    }
    transform(p, -1, key); /* cached keys are rotated already */
}

static void load_value(const work_plan *plan, const work_task *task, const attention_arrays *a,
                       int64_t j, double *value) {
    const problem_t *p = plan->problem;
    const attn_attention_cache *cache = a->cache;
    const int64_t b = task->sequence.index;
    const void *row = cache ? cache_row(cache, cache->v, cache->v_strides, b, j, task->kv_head)
                            : key_row(p, &task->sequence, a->v, p->v, j, task->kv_head);
    const double scale = cache ? cache_scale(cache, cache->v_scales, cache->v_scale_strides, b, j,
                                             task->kv_head)
                               : 1;
    for (int64_t c = 0; c < p->d_v; c++) {
        value[c] = reference_element(row, cache ? cache->dtype : p->dtype, c) * scale;
    }
}

/* Maximum and sum of exp(s - maximum) of a row, its sink included. */
static void row_softmax(const work_plan *plan, const work_task *task, const attention_arrays *a,
                        const query_state *query, double *maximum, double *sum) {
    double key[256], slope;
    *maximum = plan->problem->sinks ? plan->problem->sinks[query->head] : -INFINITY;
    *sum = *maximum > -INFINITY ? 1 : 0;
    for (int64_t j = query->low; j < query->high; j++) {
        load_key(plan, task, a, j, key);
        const double s = pair_score(plan, task, query, j, key, &slope);
        if (s == -INFINITY) {
            continue;
        }
        reference_add_score(s, maximum, sum);
    }
}

static double keep_factor(const work_plan *plan, const query_state *query, int64_t j) {
    const int drops = plan->rule.drop_below &&
                      dropout_bits(query->keys, j) < plan->rule.drop_below;
    return drops ? 0 : (double)plan->rule.keep_scale;
}

void reference_forward(const work_plan *plan, const work_task *task, const attention_arrays *a) {
    const problem_t *p = plan->problem;
    for (int64_t r = task->first; r < task->first + task->count; r++) {
        query_state query;
        double maximum, sum, slope, key[256], value[256], output[256] = {0};
        load_query(plan, task, a->q, row_token(plan, r), row_head(plan, task, r), &query);
        row_softmax(plan, task, a, &query, &maximum, &sum);
        for (int64_t j = query.low; j < query.high; j++) {
            load_key(plan, task, a, j, key);
            const double s = pair_score(plan, task, &query, j, key, &slope);
            if (s == -INFINITY) {
                continue;
            }
            const double w = exp(s - maximum) / sum * keep_factor(plan, &query, j);
            load_value(plan, task, a, j, value);
            for (int64_t c = 0; c < p->d_v; c++) {
                output[c] += w * value[c];
            }
        }
        void *target = (void *)(uintptr_t)query_row(p, &task->sequence, a->out, p->o, query.i,
                                                    query.head);
        for (int64_t c = 0; c < p->d_v; c++) {
            reference_store(target, p->dtype, c, output[c]);
        }
        if (a->log_sum_exp) {
            a->log_sum_exp[query.head * plan->size.q_tokens + task->sequence.q_first + query.i] =
                (float)(sum == 0 ? -INFINITY : maximum + log(sum));
        }
    }
}

void reference_weights(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t i,
                       int64_t head, float *weights) {
    query_state query;
    double maximum, sum, slope, key[256];
    load_query(plan, task, a->q, i, head, &query);
    row_softmax(plan, task, a, &query, &maximum, &sum);
    memset(weights, 0, (size_t)task->sequence.keys * sizeof(float));
    for (int64_t j = query.low; j < query.high; j++) {
        load_key(plan, task, a, j, key);
        const double s = pair_score(plan, task, &query, j, key, &slope);
        if (s != -INFINITY) {
            weights[j] = (float)(exp(s - maximum) / sum * keep_factor(plan, &query, j));
        }
    }
}

/* --- backward --------------------------------------------------------------------- */

typedef struct row_statistics {
    double maximum, sum, delta;
} row_statistics;

size_t reference_scratch(const work_plan *plan) {
    return (size_t)(plan->size.most_queries * plan->group) * sizeof(row_statistics) + 64;
}

/* <d_o, v> of a pair */
static double value_product(const work_plan *plan, const work_task *task, const attention_arrays *a,
                            const query_state *query, int64_t j) {
    const problem_t *p = plan->problem;
    const void *value = key_row(p, &task->sequence, a->v, p->v, j, task->kv_head);
    const void *d_o = query_row(p, &task->sequence, a->d_o, p->d_o, query->i, query->head);
    double product = 0;
    for (int64_t c = 0; c < p->d_v; c++) {
        product += reference_element(value, p->dtype, c) * reference_element(d_o, p->dtype, c);
    }
    return product;
}

/* Statistics of a row, d_q, d_bias and the sink's gradient. */
static void query_gradient(const work_plan *plan, const work_task *task, const attention_arrays *a,
                           const query_state *query, row_statistics *row, double *d_sinks) {
    const problem_t *p = plan->problem;
    double key[256], slope, d_q[256] = {0};
    row->delta = 0;
    row_softmax(plan, task, a, query, &row->maximum, &row->sum);
    for (int pass = 0; pass < 2; pass++) { /* delta first, then what needs it */
        for (int64_t j = query->low; j < query->high; j++) {
            load_key(plan, task, a, j, key);
            const double s = pair_score(plan, task, query, j, key, &slope);
            if (s == -INFINITY) {
                continue;
            }
            const double weight = exp(s - row->maximum) / row->sum;
            const double product = keep_factor(plan, query, j) * value_product(plan, task, a, query, j);
            if (pass == 0) {
                row->delta += weight * product;
                continue;
            }
            const double d_s = weight * (product - row->delta);
            if (a->gradients.bias) {
                a->gradients.bias[bias_at(p, task->sequence.index, query->head, query->i, j) -
                                  p->bias] += (float)d_s;
            }
            for (int64_t c = 0; c < p->d; c++) {
                d_q[c] += d_s * slope * key[c];
            }
        }
    }
    if (d_sinks && row->sum > 0) {
        d_sinks[query->head] -=
            exp((double)p->sinks[query->head] - row->maximum) / row->sum * row->delta;
    }
    if (a->gradients.q) {
        unload(p, query_row(p, &task->sequence, a->q, p->q, query->i, query->head),
               query->i + task->sequence.shift, d_q, (double)problem_scale(p),
               (void *)(uintptr_t)query_row(p, &task->sequence, a->gradients.q, p->d_q, query->i,
                                            query->head));
    }
}

static void key_gradient(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t j,
                         const row_statistics *rows) {
    const problem_t *p = plan->problem;
    const sequence_view *s = &task->sequence;
    double key[256], slope, d_k[256] = {0}, d_v[256] = {0};
    load_key(plan, task, a, j, key);
    for (int64_t r = 0; r < task->count; r++) {
        query_state query;
        load_query(plan, task, a->q, row_token(plan, r), row_head(plan, task, r), &query);
        const double score = pair_score(plan, task, &query, j, key, &slope);
        if (score == -INFINITY) {
            continue;
        }
        const double weight = exp(score - rows[r].maximum) / rows[r].sum;
        const double keep = keep_factor(plan, &query, j);
        const double product = keep * value_product(plan, task, a, &query, j);
        const double d_s = weight * (product - rows[r].delta) * slope;
        const void *d_o = query_row(p, s, a->d_o, p->d_o, query.i, query.head);
        for (int64_t c = 0; c < p->d; c++) {
            d_k[c] += d_s * query.row[c];
        }
        for (int64_t c = 0; c < p->d_v; c++) {
            d_v[c] += weight * keep * reference_element(d_o, p->dtype, c);
        }
    }
    if (a->gradients.k) {
        unload(p, key_row(p, s, a->k, p->k, j, task->kv_head), j, d_k, (double)problem_scale(p),
               (void *)(uintptr_t)key_row(p, s, a->gradients.k, p->d_k, j, task->kv_head));
    }
    if (a->gradients.v) {
        void *target = (void *)(uintptr_t)key_row(p, s, a->gradients.v, p->d_v_, j, task->kv_head);
        for (int64_t c = 0; c < p->d_v; c++) {
            reference_store(target, p->dtype, c, d_v[c]);
        }
    }
}

void reference_backward(const work_plan *plan, const work_task *task, const attention_arrays *a,
                        double *d_sinks, void *scratch) {
    row_statistics *rows = scratch;
    for (int64_t r = 0; r < task->count; r++) {
        query_state query;
        load_query(plan, task, a->q, row_token(plan, r), row_head(plan, task, r), &query);
        query_gradient(plan, task, a, &query, rows + r, d_sinks);
    }
    for (int64_t j = 0; j < task->sequence.length; j++) {
        key_gradient(plan, task, a, j, rows);
    }
}
