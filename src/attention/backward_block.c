/* The work of the backward pass on blocks (Dao et al. 2022, algorithm 4): the scores are
 * recomputed from the log-sum-exp l:
 *
 *     delta_i = <do_i, o_i>                     P = exp(S - l)
 *     dV += P^T dO     dP = dO V^T              dS = P (dP - delta)
 *     dQ += scale dS K     dK += scale dS^T Q
 *
 * See backward_block.h. */
#include "attention/backward_block.h"

#include <math.h>
#include <string.h>

enum { LD_SCORES = BLOCK_KEYS + 16 };

size_t backward_lay_out(const work_plan *plan, void *base, backward_scratch *s) {
    scratch_cursor at = {.base = base};
    const size_t ldq = (size_t)plan->ldq, ldv = (size_t)plan->ldv;
    *s = (backward_scratch){0};
    const size_t all = (size_t)(plan->size.most_queries * plan->group);
    s->d_q = scratch_take(&at, all * ldq, sizeof(float));
    s->d_q_group = plan->size.most_keys > GROUP_KEYS ? scratch_take(&at, all * ldq, sizeof(float)) : NULL;
    s->loaded.log_sum_exp = scratch_take(&at, all, sizeof(float));
    s->loaded.factor = scratch_take(&at, all, sizeof(float));
    s->loaded.delta = scratch_take(&at, all, sizeof(float));
    const size_t value = plan->pairs ? sizeof(uint16_t) : sizeof(float);
    s->loaded.q = scratch_take(&at, all * ldq, value);
    s->loaded.d_o = scratch_take(&at, all * ldv, value);
    s->scores = scratch_take(&at, BACKWARD_ROWS * LD_SCORES, sizeof(float));
    s->products = scratch_take(&at, BACKWARD_ROWS * LD_SCORES, sizeof(float));
    s->k = scratch_take(&at, BLOCK_KEYS * ldq, sizeof(float));
    s->v = scratch_take(&at, BLOCK_KEYS * ldv, sizeof(float));
    s->k_panels = scratch_take(&at, BLOCK_KEYS * ldq, sizeof(float));
    s->v_panels = scratch_take(&at, BLOCK_KEYS * ldv, sizeof(float));
    s->d_k = scratch_take(&at, BLOCK_KEYS * ldq, sizeof(float));
    s->d_v = scratch_take(&at, BLOCK_KEYS * ldv, sizeof(float));
    if (plan->pairs) {
        s->loaded.q_pairs = scratch_take(&at, (all + 1) / 2 * ldq, sizeof(float));
        s->loaded.d_o_pairs = scratch_take(&at, (all + 1) / 2 * ldv, sizeof(float));
        s->k_pairs = scratch_take(&at, BLOCK_KEYS / 2 * ldq, sizeof(float));
        s->score_pairs = scratch_take(&at, BACKWARD_ROWS / 2 * LD_SCORES, sizeof(float));
        s->rounded = scratch_take(&at, BACKWARD_ROWS * LD_SCORES, sizeof(uint16_t));
    }
    s->rows = scratch_take(&at, BACKWARD_ROWS, sizeof(score_row));
    s->d_bias = scratch_take(&at, BACKWARD_ROWS, sizeof(float *));
    return at.used;
}

static int whole(int64_t width) {
    return (int)((width + 15) / 16 * 16);
}

/* Rows from .. from + rows - 1 of the queries and of d_o, and delta = <d_o, o>. Returns 1 if all are
 * finite. */
static int load_queries(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t from,
                        int rows, backward_scratch *s) {
    const problem_t *p = plan->problem;
    const int64_t ldq = plan->ldq, ldv = plan->ldv;
    const void *q[BACKWARD_ROWS], *d_o[BACKWARD_ROWS], *o[BACKWARD_ROWS];
    int32_t positions[BACKWARD_ROWS];
    task_rows(plan, task, a->q, p->q, from, rows, q);
    task_rows(plan, task, a->d_o, p->d_o, from, rows, d_o);
    task_rows(plan, task, a->o, p->o, from, rows, o);
    for (int n = 0; n < rows; n++) {
        positions[n] = (int32_t)(row_token(plan, from + n) + task->sequence.shift);
    }
    plan->tile->row_products(p->dtype, o, d_o, rows, (int)p->d_v, s->loaded.delta + from);
    const int64_t at = from - s->base;
    if (!plan->pairs) {
        return load_rows(plan, q, rows, (int)p->d, s->loaded.q + at * ldq, ldq, ROW_QUERY, positions) &
               load_rows(plan, d_o, rows, (int)p->d_v, s->loaded.d_o + at * ldv, ldv, ROW_PLAIN, NULL);
    }
    uint16_t *q_rows = (uint16_t *)s->loaded.q + at * ldq, *d_o_rows = (uint16_t *)s->loaded.d_o + at * ldv;
    int finite = plan->tile->load_pairs(d_o, rows, (int)p->d_v, d_o_rows, ldv);
    plan->tile->pair_rows(d_o_rows, ldv, rows, whole(p->d_v), s->loaded.d_o_pairs + at / 2 * ldv, ldv);
    finite &= plan->tile->load_pairs(q, rows, (int)p->d, q_rows, ldq);
    plan->tile->pair_rows(q_rows, ldq, rows, whole(p->d), s->loaded.q_pairs + at / 2 * ldq, ldq);
    return finite;
}

/* So large a log-sum-exp that its last bit, an error of every weight of the row, is worth correct_rows(). */
static int is_large(float log_sum_exp) {
    return fabsf(log_sum_exp) > 16.0f && log_sum_exp > -INFINITY;
}

/* The log-sum-exp, in the unit of the kernels, of rows from .. from + rows - 1. Those that see
 * nothing get +inf, so that their weights are 0. Returns 1 if one is
 * large. */
static int row_statistics(const work_plan *plan, const work_task *task, const attention_arrays *a,
                          int64_t from, int rows, backward_scratch *s) {
    int large = 0;
    for (int64_t r = from; r < from + rows; r++) {
        const float l = row_log_sum_exp(plan, task, a, r);
        large |= is_large(l);
        const double exponent = plan->rule.modified ? (double)l : (double)l * 1.4426950408889634;
        s->loaded.log_sum_exp[r] = l == -INFINITY ? INFINITY : (float)exponent;
        /* what rounding the exponent takes away */
        s->loaded.factor[r] =
            isfinite(l) ? 1.0f + 0.693147181f * (float)((double)s->loaded.log_sum_exp[r] - exponent) : 1.0f;
    }
    return large;
}

/* Keys and values in bf16: k and v rows of pairs of the width, k_panels and v_panels their
 * transposes, k_pairs pairs of keys. */
static int load_key_pairs(const work_plan *plan, const work_task *task, const attention_arrays *a,
                          int64_t first, int keys, backward_scratch *s) {
    const problem_t *p = plan->problem;
    const tile_kernels *tile = plan->tile;
    const void *source[BLOCK_KEYS] = {0};
    const float *rows[BLOCK_KEYS] = {0};
    uint16_t *k = (uint16_t *)s->k, *v = (uint16_t *)s->v;
    key_rows(p, &task->sequence, a->k, p->k, first, keys, task->kv_head, source);
    for (int j = 0; j < keys; j++) {
        rows[j] = (const float *)(const void *)(k + j * plan->ldq);
    }
    int finite = tile->load_pairs(source, keys, (int)p->d, k, plan->ldq);
    tile->transpose(rows, keys, (int)(p->d + 1) / 2, s->k_panels);
    tile->pair_rows(k, plan->ldq, keys, whole(p->d), s->k_pairs, plan->ldq);
    key_rows(p, &task->sequence, a->v, p->v, first, keys, task->kv_head, source);
    for (int j = 0; j < keys; j++) {
        rows[j] = (const float *)(const void *)(v + j * plan->ldv);
    }
    finite &= tile->load_pairs(source, keys, (int)p->d_v, v, plan->ldv);
    tile->transpose(rows, keys, (int)(p->d_v + 1) / 2, s->v_panels);
    return finite;
}

int backward_load_keys(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t first,
                       int keys, backward_scratch *s) {
    const problem_t *p = plan->problem;
    memset(s->d_k, 0, (size_t)(keys * plan->ldq) * sizeof(float));
    memset(s->d_v, 0, (size_t)(keys * plan->ldv) * sizeof(float));
    if (plan->pairs) {
        return load_key_pairs(plan, task, a, first, keys, s);
    }
    int finite = load_key_rows(plan, task, a, first, keys, s->k, s->k_panels);
    const void *source[BLOCK_KEYS];
    const float *rows[BLOCK_KEYS] = {0};
    key_rows(p, &task->sequence, a->v, p->v, first, keys, task->kv_head, source);
    for (int j = 0; j < keys; j++) {
        rows[j] = s->v + j * plan->ldv;
    }
    finite &= load_rows(plan, source, keys, (int)p->d_v, s->v, plan->ldv, ROW_PLAIN, NULL);
    plan->tile->transpose(rows, keys, (int)p->d_v, s->v_panels);
    return finite;
}

/* The rows' visible keys, dropout keys and bias gradients for a block. */
static void fill_rows(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t from,
                      int rows, int64_t first_key, int keys, backward_scratch *s) {
    const problem_t *p = plan->problem;
    uint64_t head_key = 0;
    for (int n = 0; n < rows; n++) {
        const int64_t r = from + n, i = row_token(plan, r), head = row_head(plan, task, r);
        int64_t low, high;
        problem_visible(p, &task->sequence, i, &low, &high);
        fill_score_row(plan, task, r, low, high, first_key, keys, s->rows + n);
        if (plan->rule.drop_below) {
            if (n == 0 || plan->group > 1) {
                head_key = dropout_head_key(p->dropout_seed,
                                            p->dropout_first_sequence + task->sequence.index, head);
            }
            s->rows[n].keys = dropout_row_keys(head_key, i);
        }
        s->d_bias[n] = p->bias && a->gradients.bias
                           ? a->gradients.bias +
                                 (bias_at(p, task->sequence.index, head, i, first_key) - p->bias)
                           : NULL;
    }
}

/* scores = Q K^T of the rows from `from` on and the loaded keys. */
static void make_scores(const work_plan *plan, const row_tile *tiles, int count, int64_t from, int keys,
                        backward_scratch *s) {
    const int width = (int)plan->problem->d;
    from -= s->base;
    if (plan->pairs) {
        plan->tile->product_columns_bf16(tiles, count, s->loaded.q + from * plan->ldq / 2, plan->ldq / 2,
                                         (width + 1) / 2, s->k_panels, keys, s->scores, LD_SCORES, &s->ahead);
    } else {
        plan->tile->product_columns(tiles, count, s->loaded.q + from * plan->ldq, plan->ldq, width,
                                    s->k_panels, keys, s->scores, LD_SCORES, &s->ahead);
    }
}

/* The same and products = dO V^T. */
static void make_products(const work_plan *plan, const row_tile *tiles, int count, int64_t from, int keys,
                          backward_scratch *s) {
    const int width = (int)plan->problem->d_v;
    make_scores(plan, tiles, count, from, keys, s);
    from -= s->base;
    if (plan->pairs) {
        plan->tile->product_columns_bf16(tiles, count, s->loaded.d_o + from * plan->ldv / 2, plan->ldv / 2,
                                         (width + 1) / 2, s->v_panels, keys, s->products, LD_SCORES,
                                         &s->ahead);
    } else {
        plan->tile->product_columns(tiles, count, s->loaded.d_o + from * plan->ldv, plan->ldv, width,
                                    s->v_panels, keys, s->products, LD_SCORES, &s->ahead);
    }
}

/* What a row may see moves on with the row (problem_visible). So the rows that see nothing from a key on
 * (ends), or begin to see before it, are the first ones: the number of these. */
static int64_t rows_before(const work_plan *plan, const work_task *task, int64_t key, int ends) {
    int64_t from = 0, to = task->count;
    while (from < to) {
        const int64_t middle = from + (to - from) / 2;
        int64_t low, high;
        problem_visible(plan->problem, &task->sequence, row_token(plan, middle), &low, &high);
        if (ends ? high <= key : low < key) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

static row_range rows_that_see(const work_plan *plan, const work_task *task, int64_t first, int64_t end) {
    const int64_t from = rows_before(plan, task, first, 1);
    return (row_range){plan->pairs ? from / 2 * 2 : from, rows_before(plan, task, end, 0)};
}

int backward_rows_at_once(row_range range, int64_t from) {
    return (int)(range.to - from < BACKWARD_ROWS ? range.to - from : BACKWARD_ROWS);
}

/* 1 if the tiles are all of a block. */
static int is_covered(const row_tile *tiles, int count, int rows, int keys) {
    for (int t = 0; t < count; t++) {
        if (tiles[t].low > 0 || tiles[t].high < keys) {
            return 0;
        }
        rows -= tiles[t].count;
    }
    return rows == 0;
}

key_step backward_step(const work_plan *plan, const work_task *task, int64_t first, int64_t end) {
    key_step step = {.first_key = first, .keys = (int)(end - first < BLOCK_KEYS ? end - first : BLOCK_KEYS)};
    if (step.keys > 0) {
        step.range = rows_that_see(plan, task, first, first + step.keys);
        step.from = step.range.from;
    }
    return step;
}

/* Rows that lie one after the other. */
static void add_rows(rows_ahead *ahead, const void *first, int64_t from, int64_t count, int64_t bytes) {
    ahead_add(ahead, (const char *)first + from * bytes, 0, count * bytes, 1);
}

/* What the next step needs of the keys, and of a large head's rows. */
static void add_next(const work_plan *plan, const work_task *task, const attention_arrays *a,
                     const key_step *at, const key_step *next, const float *d_q, backward_scratch *s) {
    const problem_t *p = plan->problem;
    const int64_t size = dtype_size(p->dtype), value = plan->pairs ? sizeof(uint16_t) : sizeof(float);
    const int64_t bytes = task->count * (2 * plan->ldq + plan->ldv) * (int64_t)sizeof(float);
    if (next->keys > 0 && next->first_key != at->first_key) {
        ahead_add(&s->ahead, key_row(p, &task->sequence, a->k, p->k, next->first_key, task->kv_head),
                  p->k.token * size, p->d * size, next->keys);
        ahead_add(&s->ahead, key_row(p, &task->sequence, a->v, p->v, next->first_key, task->kv_head),
                  p->v.token * size, p->d_v * size, next->keys);
    }
    if (next->from < next->range.to && bytes > (int64_t)1 << 19) { /* else they are in the second cache */
        const int64_t rows = backward_rows_at_once(next->range, next->from);
        add_rows(&s->ahead, s->loaded.q, next->from, rows, plan->ldq * value);
        add_rows(&s->ahead, s->loaded.d_o, next->from, rows, plan->ldv * value);
        add_rows(&s->ahead, d_q, next->from, rows, plan->ldq * (int64_t)sizeof *d_q);
        if (plan->pairs) {
            add_rows(&s->ahead, s->loaded.q_pairs, next->from, rows, plan->ldq * value);
            add_rows(&s->ahead, s->loaded.d_o_pairs, next->from, rows, plan->ldv * value);
        }
    }
}

/* Beside a step's products, of `rows` rows, its own bias, the bias's gradient and its mask are asked for and
 * what the next step needs. */
static void look_ahead(const work_plan *plan, const work_task *task, const attention_arrays *a,
                       const key_step *at, int rows, const key_step *next, const float *d_q,
                       backward_scratch *s) {
    ahead_clear(&s->ahead);
    add_pairs(plan, task, a->gradients.bias, at->from, rows, at->first_key, at->keys, &s->ahead);
    if (plan_is_large(plan, 1)) {
        add_next(plan, task, a, at, next, d_q, s);
    }
    const int64_t calls = 2 * ((rows + TILE_ROWS - 1) / TILE_ROWS) * (BLOCK_KEYS / plan->tile->panel);
    ahead_spread(&s->ahead, calls);
}

void backward_block(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t from,
                    int rows, int64_t first_key, int keys, float *d_q, backward_scratch *s) {
    const problem_t *p = plan->problem;
    const tile_kernels *tile = plan->tile;
    const int columns_q = plan_columns(plan, p->d), columns_v = plan_columns(plan, p->d_v);
    row_tile tiles[BACKWARD_ROWS / TILE_ROWS], key_tiles[BLOCK_KEYS / TILE_ROWS + 1];
    fill_rows(plan, task, a, from, rows, first_key, keys, s);
    const int count = cut_tiles(s->rows, rows, tiles);
    if (count == 0) {
        return;
    }
    const int key_count = cut_key_tiles(s->rows, rows, keys, key_tiles);
    if (!is_covered(tiles, count, rows, keys)) {
        /* what no tile computes must still be 0 for the transposed products; all at once, since a
         * memset of a short row may be compiled to something slow */
        memset(s->scores, 0, (size_t)rows * LD_SCORES * sizeof(float));
        memset(s->products, 0, (size_t)rows * LD_SCORES * sizeof(float));
    }
    const int apart = (p->bias || p->mask) && plan->group > 1, step = apart ? 1 : count;
    for (int t = 0; t < count; t += step) {
        if (apart) {
            ask_for_pairs(plan, tiles + t, s->rows, s->d_bias);
        }
        make_products(plan, tiles + t, step, from, keys, s);
        tile->gradient(tiles + t, step, s->rows, &plan->rule, first_key, s->scores, s->products, LD_SCORES,
                       s->loaded.log_sum_exp + from, s->loaded.factor + from, s->loaded.delta + from,
                       s->d_bias, p->bias_strides.key);
    }
    from -= s->base;
    d_q += from * plan->ldq;
    if (plan->pairs) {
        const int even = (rows + 1) / 2 * 2;
        if (even > rows) {
            memset(s->scores + rows * LD_SCORES, 0, (size_t)whole(keys) * sizeof(float));
            memset(s->products + rows * LD_SCORES, 0, (size_t)whole(keys) * sizeof(float));
        }
        tile->round_pairs(s->scores, LD_SCORES, even, whole(keys), s->score_pairs, LD_SCORES);
        tile->product_terms_bf16(key_tiles, key_count, s->score_pairs, 1, LD_SCORES,
                                 s->loaded.d_o_pairs + from / 2 * plan->ldv, plan->ldv, columns_v, s->d_v,
                                 plan->ldv, NULL);
        tile->round_pairs(s->products, LD_SCORES, even, whole(keys), s->score_pairs, LD_SCORES);
        tile->product_terms_bf16(key_tiles, key_count, s->score_pairs, 1, LD_SCORES,
                                 s->loaded.q_pairs + from / 2 * plan->ldq, plan->ldq, columns_q, s->d_k,
                                 plan->ldq, NULL);
        tile->round_rows(tiles, count, s->products, LD_SCORES, s->rounded, LD_SCORES);
        tile->product_terms_bf16(tiles, count, (const float *)(const void *)s->rounded, LD_SCORES / 2,
                                 1, s->k_pairs, plan->ldq, columns_q, d_q, plan->ldq, NULL);
        return;
    }
    tile->product_terms(key_tiles, key_count, s->scores, 1, LD_SCORES, s->loaded.d_o + from * plan->ldv,
                        plan->ldv, columns_v, s->d_v, plan->ldv, NULL);
    tile->product_terms(key_tiles, key_count, s->products, 1, LD_SCORES, s->loaded.q + from * plan->ldq,
                        plan->ldq, columns_q, s->d_k, plan->ldq, NULL);
    tile->product_terms(tiles, count, s->products, LD_SCORES, 1, s->k, plan->ldq, columns_q, d_q, plan->ldq,
                        NULL);
}

static void store_row(const work_plan *plan, float *row, float factor, int64_t width, const void *to) {
    (plan->problem->dtype == ATTN_F32 ? plan->tile->store_f32 : plan->tile->store_bf16)(
        row, factor, (int)width, (void *)(uintptr_t)to);
}

void backward_store_keys(const work_plan *plan, const work_task *task, const attention_arrays *a,
                         int64_t first, int keys, backward_scratch *s) {
    const problem_t *p = plan->problem;
    for (int j = 0; j < keys; j++) {
        if (a->gradients.k) {
            float *row = s->d_k + j * plan->ldq;
            if (plan->transforms) {
                unload_gradient(plan,
                                key_row(p, &task->sequence, a->k, p->k, first + j, task->kv_head),
                                (int)p->d, (int32_t)(first + j), row);
            }
            store_row(plan, row, plan->rule.scale, p->d,
                      key_row(p, &task->sequence, a->gradients.k, p->d_k, first + j, task->kv_head));
        }
        if (a->gradients.v) {
            store_row(plan, s->d_v + j * plan->ldv, plan->rule.keep_scale, p->d_v,
                      key_row(p, &task->sequence, a->gradients.v, p->d_v_, first + j, task->kv_head));
        }
    }
}

void backward_store_query(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t r,
                          float *row) {
    const problem_t *p = plan->problem;
    const int64_t i = row_token(plan, r), head = row_head(plan, task, r);
    const char *to = query_row(p, &task->sequence, a->gradients.q, p->d_q, i, head);
    if (plan->transforms) {
        unload_gradient(plan, query_row(p, &task->sequence, a->q, p->q, i, head), (int)p->d,
                        (int32_t)(i + task->sequence.shift), row);
    }
    store_row(plan, row, plan->rule.scale, p->d, to);
}

void backward_store_queries(const work_plan *plan, const work_task *task, const attention_arrays *a,
                            backward_scratch *s) {
    for (int64_t r = 0; r < task->count && a->gradients.q; r++) {
        backward_store_query(plan, task, a, r, s->d_q + r * plan->ldq);
    }
}

/* exp(sink - l) with the exponent that the kernels have, as rounded: the row's factor is for that. */
static double sink_weight(const work_plan *plan, const work_task *task, int64_t r, const backward_scratch *s) {
    const double sink = (double)plan->problem->sinks[row_head(plan, task, r)],
                 l = (double)s->loaded.log_sum_exp[r];
    return plan->rule.modified ? exp(sink - l) : exp2(sink * 1.4426950408889634 - l);
}

/* The sink takes part of the weight and has no value: its score's gradient is
 * -exp(sink - l) delta. */
void backward_sinks(const work_plan *plan, const work_task *task, const attention_arrays *a,
                    const backward_scratch *s, double *d_sinks) {
    for (int64_t r = 0; r < task->count; r++) {
        int64_t low, high; /* what sees nothing may hold anything */
        problem_visible(plan->problem, &task->sequence, row_token(plan, r), &low, &high);
        if (row_log_sum_exp(plan, task, a, r) > -INFINITY && low < high) {
            d_sinks[row_head(plan, task, r)] -=
                sink_weight(plan, task, r, s) * (double)(s->loaded.factor[r] * s->loaded.delta[r]);
        }
    }
}

/* 1 if all of the task's keys and values are finite. */
static int finite_keys(const work_plan *plan, const work_task *task, const attention_arrays *a,
                       backward_scratch *s) {
    const problem_t *p = plan->problem;
    int finite = 1;
    for (int64_t first = 0; first < task->sequence.length; first += BLOCK_KEYS) {
        const int64_t left = task->sequence.length - first;
        const int keys = (int)(left < BLOCK_KEYS ? left : BLOCK_KEYS);
        const void *k[BLOCK_KEYS], *v[BLOCK_KEYS];
        int32_t positions[BLOCK_KEYS];
        key_rows(p, &task->sequence, a->k, p->k, first, keys, task->kv_head, k);
        key_rows(p, &task->sequence, a->v, p->v, first, keys, task->kv_head, v);
        for (int j = 0; j < keys; j++) {
            positions[j] = (int32_t)(first + j);
        }
        if (plan->pairs) {
            finite &= plan->tile->load_pairs(k, keys, (int)p->d, (uint16_t *)s->k, plan->ldq);
            finite &= plan->tile->load_pairs(v, keys, (int)p->d_v, (uint16_t *)s->v, plan->ldv);
        } else {
            finite &= load_rows(plan, k, keys, (int)p->d, s->k, plan->ldq, ROW_KEY, positions);
            finite &= load_rows(plan, v, keys, (int)p->d_v, s->v, plan->ldv, ROW_PLAIN, NULL);
        }
    }
    return finite;
}

/* With l rounded, the weights of a row sum to 1 but for that rounding. Sums them and
 * leaves the inverse as the row's factor; costs one more product of Q and K. */
static void correct_rows(const work_plan *plan, const work_task *task, const attention_arrays *a,
                         backward_scratch *s) {
    const problem_t *p = plan->problem;
    row_tile tiles[BACKWARD_ROWS / TILE_ROWS];
    for (int64_t r = 0; r < task->count; r++) {
        const float l = row_log_sum_exp(plan, task, a, r);
        s->loaded.factor[r] = p->sinks && l > -INFINITY ? (float)sink_weight(plan, task, r, s) : 0;
    }
    for (int64_t first = 0; first < task->sequence.length; first += BLOCK_KEYS) {
        const int64_t left = task->sequence.length - first;
        const int keys = (int)(left < BLOCK_KEYS ? left : BLOCK_KEYS);
        backward_load_keys(plan, task, a, first, keys, s);
        const row_range range = rows_that_see(plan, task, first, first + keys);
        for (int64_t from = range.from; from < range.to; from += BACKWARD_ROWS) {
            const int rows = backward_rows_at_once(range, from);
            fill_rows(plan, task, a, from, rows, first, keys, s);
            const int count = cut_tiles(s->rows, rows, tiles);
            make_scores(plan, tiles, count, from, keys, s);
            plan->tile->weights(tiles, count, s->rows, &plan->rule, s->scores, LD_SCORES,
                                s->loaded.log_sum_exp + from);
            for (int n = 0; n < rows; n++) {
                for (int j = s->rows[n].low; j < s->rows[n].high; j++) {
                    s->loaded.factor[from + n] += s->scores[n * LD_SCORES + j];
                }
            }
        }
    }
    for (int64_t r = 0; r < task->count; r++) {
        s->loaded.factor[r] = s->loaded.log_sum_exp[r] < INFINITY ? 1.0f / s->loaded.factor[r] : 0;
    }
}

int backward_load_rows(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t from,
                       int rows, backward_scratch *s) {
    const int finite = load_queries(plan, task, a, from, rows, s);
    (void)row_statistics(plan, task, a, from, rows, s);
    return finite;
}

int backward_has_large(const work_plan *plan, const work_task *task, const attention_arrays *a) {
    int large = 0;
    for (int64_t r = 0; r < task->count; r++) {
        large |= is_large(row_log_sum_exp(plan, task, a, r));
    }
    return large;
}

int backward_rows(const work_plan *plan, const work_task *task, const attention_arrays *a,
                  backward_scratch *s) {
    int large = 0, finite = 1;
    for (int64_t from = 0; from < task->count; from += BACKWARD_ROWS) {
        const int rows = backward_rows_at_once((row_range){0, task->count}, from);
        finite &= load_queries(plan, task, a, from, rows, s);
        large |= row_statistics(plan, task, a, from, rows, s);
    }
    if (plan->hides && (!finite || (a->gradients.bias && !finite_keys(plan, task, a, s)))) {
        return 0;
    }
    if (large) {
        correct_rows(plan, task, a, s);
    }
    return 1;
}

static int64_t group_end(const work_task *task, int64_t number) {
    const int64_t end = (number + 1) * GROUP_KEYS;
    return end < task->sequence.length ? end : task->sequence.length;
}

void backward_group_rows(const work_plan *plan, const work_task *task, int64_t number, int64_t *from,
                         int64_t *to) {
    const row_range range = rows_that_see(plan, task, number * GROUP_KEYS, group_end(task, number));
    *from = range.from;
    *to = range.to;
}

int backward_group(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t number,
                   float *d_q, backward_scratch *s) {
    const int64_t end = group_end(task, number);
    const row_range all = rows_that_see(plan, task, number * GROUP_KEYS, end);
    if (all.from < all.to) {
        memset(d_q + all.from * plan->ldq, 0, (size_t)((all.to - all.from) * plan->ldq) * sizeof(float));
    }
    for (key_step at = backward_step(plan, task, number * GROUP_KEYS, end), coming; at.keys > 0;
         at = coming) {
        coming = backward_step(plan, task, at.first_key + at.keys, end);
        if (!backward_load_keys(plan, task, a, at.first_key, at.keys, s) && plan->hides) {
            return 0;
        }
        for (key_step next = at; at.from < at.range.to; at.from = next.from) {
            const int rows = backward_rows_at_once(at.range, at.from);
            next.from = at.from + rows;
            look_ahead(plan, task, a, &at, rows, next.from < at.range.to ? &next : &coming, d_q, s);
            backward_block(plan, task, a, at.from, rows, at.first_key, at.keys, d_q, s);
        }
        backward_store_keys(plan, task, a, at.first_key, at.keys, s);
    }
    return 1;
}
