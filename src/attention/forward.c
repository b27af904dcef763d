/* The forward pass. A task holds the queries of a chunk of rows and passes once
 * over the blocks of keys that they see:
 *
 *     S = Q K^T;  m' = max(m, row maxima of S);  P = exp(S - m')
 *     sum = sum exp(m - m') + row sums of P;  O = O exp(m - m') + P V
 *
 * and ends with O / sum and log-sum-exp = m + log(sum) (Milakov & Gimelshein 2018). */
#include <math.h>
#include <string.h>

#include "attention/forward_block.h"
#include "attention/passes.h"
#include "attention/reference.h"

enum { LARGE_PAIRS = 1 << 20 }; /* bytes: a usual second cache */

static size_t lay_out(const work_plan *plan, void *base, forward_scratch *s) {
    scratch_cursor at = {.base = base};
    const size_t ldq = (size_t)plan->ldq, ldv = (size_t)plan->ldv;
    const size_t blocks = (size_t)window_blocks(plan), kept = (blocks ? blocks : 1) * BLOCK_KEYS;
    const size_t chunk =
        blocks ? WINDOW_ROWS : (size_t)plan_joined_rows(plan, plan->size.most_queries * plan->group);
    const size_t scores = (blocks ? WINDOW_ROWS : FORWARD_ROWS) * (kept + 16);
    s->q = scratch_take(&at, chunk * ldq, sizeof(float));
    s->o = scratch_take(&at, chunk * ldv, sizeof(float));
    s->maximum = scratch_take(&at, chunk, sizeof(float));
    s->sum = scratch_take(&at, chunk, sizeof(float));
    s->k = scratch_take(&at, BLOCK_KEYS * ldq, sizeof(float));
    s->k_panels = scratch_take(&at, kept * ldq, sizeof(float));
    s->v = scratch_take(&at, kept * ldv, sizeof(float));
    s->v_rows = scratch_take(&at, BLOCK_KEYS * ldv, sizeof(uint16_t));
    s->scores = scratch_take(&at, scores, sizeof(float));
    s->rounded = scratch_take(&at, scores, sizeof(uint16_t));
    s->rows = scratch_take(&at, chunk, sizeof(score_row));
    s->low = scratch_take(&at, chunk, sizeof(int32_t));
    s->high = scratch_take(&at, chunk, sizeof(int32_t));
    return at.used;
}

/* A step of a task: a block of rows against a block of keys. */
typedef struct block_step {
    int64_t first_key, end_key; /* of the task's blocks of keys */
    int64_t block, blocks;
    int64_t from, next; /* the first rows of this block of rows and of the one after it */
    int64_t row_block, row_blocks; /* that see the block of keys */
} block_step;

/* The part of `count` rows that falls to a step. */
static void add_part(rows_ahead *ahead, const char *first, int64_t stride, int64_t bytes, int64_t count,
                     int64_t step, int64_t steps) {
    const int64_t from = count * step / steps, to = count * (step + 1) / steps;
    ahead_add(ahead, first + from * stride, stride, bytes, to - from);
}

/* Bias and mask of the rows that come next. */
static void add_next_pairs(const work_plan *plan, const work_task *task, const block_step *at,
                           rows_ahead *ahead) {
    const int last = at->row_block + 1 == at->row_blocks;
    const int64_t from = last ? 0 : at->next, key = at->first_key + (at->block + last) * BLOCK_KEYS;
    const int64_t left = task->sequence.keys - key, keys = left < BLOCK_KEYS ? left : BLOCK_KEYS;
    const int64_t rows = task->count - from < FORWARD_ROWS ? task->count - from : FORWARD_ROWS;
    if (keys > 0 && !(last && at->block + 1 == at->blocks)) {
        add_pairs(plan, task, NULL, from, rows, key, keys, ahead);
    }
}

/* Bytes of a bias or mask that a pass reads. */
static double distinct_bytes(const work_plan *plan, attn_score_strides strides, size_t each) {
    const problem_t *p = plan->problem;
    return (double)(strides.sequence ? p->sequences : 1) * (double)(strides.head ? p->heads : 1) *
           (double)(strides.query ? plan->size.most_queries : 1) * (double)plan->size.most_keys *
           (double)each;
}

/* Whether biases and masks are too many to stay in the third cache. Those that do stay are not worth asking
 * for: the processor's own prefetching is in time. */
static int pairs_are_large(const work_plan *plan) {
    const problem_t *p = plan->problem;
    return (p->bias ? distinct_bytes(plan, p->bias_strides, sizeof *p->bias) : 0) +
               (p->mask ? distinct_bytes(plan, p->mask_strides, sizeof *p->mask) : 0) >=
           LARGE_PAIRS;
}

/* Where the blocks of keys begin that a task's rows see. */
static int64_t begin_key(const work_plan *plan, const work_task *task) {
    int64_t low, high;
    problem_visible(plan->problem, &task->sequence, row_token(plan, task->first), &low, &high);
    return low / BLOCK_KEYS * BLOCK_KEYS;
}

/* Beside a step's products its part is asked for of the next block of keys, or at the end of those that
 * the next task begins with, of the rows of output and of the next task's queries. */
static void look_ahead(const work_plan *plan, const work_task *task, const attention_arrays *a,
                       const block_step *at, int rows, int pairs, rows_ahead *ahead) {
    const problem_t *p = plan->problem;
    const int64_t size = dtype_size(p->dtype), behind = at->first_key + (at->block + 1) * BLOCK_KEYS;
    const work_task *const next = task->next, *const owner = behind < at->end_key ? task : next;
    const int64_t step = at->block * at->row_blocks + at->row_block, steps = at->blocks * at->row_blocks;
    ahead_clear(ahead);
    if (owner && owner->sequence.length > 0) {
        const int64_t from = behind < at->end_key ? behind : begin_key(plan, owner);
        const int64_t left = owner->sequence.length - from;
        const int64_t keys = left < BLOCK_KEYS ? left : BLOCK_KEYS;
        add_part(ahead, key_row(p, &owner->sequence, a->k, p->k, from, owner->kv_head), p->k.token * size,
                 p->d * size, keys, at->row_block, at->row_blocks);
        add_part(ahead, key_row(p, &owner->sequence, a->v, p->v, from, owner->kv_head), p->v.token * size,
                 p->d_v * size, keys, at->row_block, at->row_blocks);
    }
    if (plan->group == 1) {
        add_part(ahead, query_row(p, &task->sequence, a->out, p->o, task->first, task->kv_head),
                 p->o.token * size, p->d_v * size, task->count, step, steps);
    }
    if (plan->group == 1 && next) {
        add_part(ahead, query_row(p, &next->sequence, a->q, p->q, next->first, next->kv_head),
                 p->q.token * size, p->d * size, next->count, step, steps);
    }
    if (pairs) {
        add_next_pairs(plan, task, at, ahead);
    }
    const int panel = plan->tile->panel;
    const int64_t calls = (rows + TILE_ROWS - 1) / TILE_ROWS * (BLOCK_KEYS / panel + (plan->ldv + panel - 1) / panel);
    ahead_spread(ahead, calls);
}

void forward_load_queries(const work_plan *plan, const work_task *task, const attention_arrays *a,
                          forward_scratch *s) {
    const problem_t *p = plan->problem;
    const void *source[MOST_CHUNK_ROWS];
    int32_t positions[MOST_CHUNK_ROWS];
    uint64_t head_key = 0;
    task_rows(plan, task, a->q, p->q, task->first, task->count, source);
    for (int64_t n = 0; n < task->count; n++) {
        const int64_t i = row_token(plan, task->first + n);
        int64_t low, high;
        positions[n] = (int32_t)(i + task->sequence.shift);
        problem_visible(p, &task->sequence, i, &low, &high);
        s->low[n] = (int32_t)low;
        s->high[n] = (int32_t)high;
        s->maximum[n] = -INFINITY;
        s->sum[n] = 0;
    }
    for (int64_t n = 0; n < task->count && plan->rule.drop_below; n++) {
        const int64_t r = task->first + n;
        if (n == 0 || plan->group > 1) {
            head_key = dropout_head_key(p->dropout_seed, p->dropout_first_sequence + task->sequence.index,
                                        row_head(plan, task, r));
        }
        s->rows[n].keys = dropout_row_keys(head_key, row_token(plan, r));
    }
    if (plan->pairs) {
        plan->tile->load_pairs(source, (int)task->count, (int)p->d, (uint16_t *)s->q, plan->ldq);
    } else {
        load_rows(plan, source, (int)task->count, (int)p->d, s->q, plan->ldq, ROW_QUERY, positions);
    }
    memset(s->o, 0, (size_t)(task->count * plan->ldv) * sizeof(float));
}

/* The same in bf16: k_panels holds pairs of the width, v pairs of keys. */
static int load_key_pairs(const work_plan *plan, const work_task *task, const attention_arrays *a,
                          int64_t first, int keys, const forward_scratch *s) {
    const problem_t *p = plan->problem;
    const void *source[BLOCK_KEYS] = {0};
    const float *rows[BLOCK_KEYS] = {0};
    uint16_t *loaded = (uint16_t *)s->k;
    key_rows(p, &task->sequence, a->k, p->k, first, keys, task->kv_head, source);
    for (int j = 0; j < keys; j++) {
        rows[j] = (const float *)(const void *)(loaded + j * plan->ldq);
    }
    plan->tile->load_pairs(source, keys, (int)p->d, loaded, plan->ldq);
    plan->tile->transpose(rows, keys, (int)(p->d + 1) / 2, s->k_panels);
    key_rows(p, &task->sequence, a->v, p->v, first, keys, task->kv_head, source);
    loaded = s->v_rows;
    int finite = plan->tile->load_pairs(source, keys, (int)p->d_v, loaded, plan->ldv);
    plan->tile->pair_rows(loaded, plan->ldv, keys, (int)(p->d_v + 15) / 16 * 16, s->v, plan->ldv);
    return finite || !plan->hides;
}

int forward_load_keys(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t first,
                      int keys, const forward_scratch *s) {
    if (plan->pairs) {
        return load_key_pairs(plan, task, a, first, keys, s);
    }
    const problem_t *p = plan->problem;
    const void *source[BLOCK_KEYS] = {0};
    const float *rows[BLOCK_KEYS] = {0};
    int32_t positions[BLOCK_KEYS];
    const int direct = p->dtype == ATTN_F32 && !plan->transforms && p->d % 4 == 0;
    key_rows(p, &task->sequence, a->k, p->k, first, keys, task->kv_head, source);
    for (int j = 0; j < keys; j++) {
        rows[j] = direct ? source[j] : s->k + j * plan->ldq;
        positions[j] = (int32_t)(first + j);
    }
    if (!direct) {
        load_rows(plan, source, keys, (int)p->d, s->k, plan->ldq, ROW_KEY, positions);
    }
    plan->tile->transpose(rows, keys, (int)p->d, s->k_panels);
    key_rows(p, &task->sequence, a->v, p->v, first, keys, task->kv_head, source);
    return load_rows(plan, source, keys, (int)p->d_v, s->v, plan->ldv, ROW_PLAIN, NULL) ||
           !plan->hides;
}

/* Scores of rows `from` on, and weights of them. */
static void make_weights(const work_plan *plan, const row_tile *tiles, int count, int64_t from,
                         int64_t first_key, int keys, forward_scratch *s) {
    const problem_t *p = plan->problem;
    const tile_kernels *tile = plan->tile;
    const int64_t ld = BLOCK_KEYS + 16;
    if (plan->pairs) {
        tile->product_columns_bf16(tiles, count, s->q + from * plan->ldq / 2, plan->ldq / 2,
                                   (int)(p->d + 1) / 2, s->k_panels, keys, s->scores, ld, s->ahead);
    } else {
        tile->product_columns(tiles, count, s->q + from * plan->ldq, plan->ldq, (int)p->d, s->k_panels, keys,
                              s->scores, ld, s->ahead);
    }
    tile->softmax(tiles, count, s->rows + from, &plan->rule, first_key, s->scores, ld,
                  plan->pairs ? s->rounded : NULL, s->maximum + from, s->sum + from,
                  s->o + from * plan->ldv, plan->ldv, plan_columns(plan, p->d_v));
}

/* The first rows from `from` on that see some of the keys, task->count: none; what rows see begins and
 * ends no earlier than for the rows before. */
static int64_t next_rows(const work_task *task, const forward_scratch *s, int64_t from, int64_t first_key,
                         int keys) {
    for (; from < task->count; from += FORWARD_ROWS) {
        const int64_t last = (from + FORWARD_ROWS < task->count ? from + FORWARD_ROWS : task->count) - 1;
        if (s->high[last] > first_key && s->low[from] < first_key + keys) {
            return from;
        }
    }
    return task->count;
}

/* at: the block of keys. */
static void attend_block(const work_plan *plan, const work_task *task, const attention_arrays *a,
                         block_step at, int keys, forward_scratch *s) {
    const problem_t *p = plan->problem;
    const tile_kernels *tile = plan->tile;
    const int64_t ld = BLOCK_KEYS + 16, first_key = at.first_key + at.block * BLOCK_KEYS;
    const int columns = plan_columns(plan, p->d_v);
    row_tile tiles[FORWARD_ROWS / TILE_ROWS];
    at.from = next_rows(task, s, 0, first_key, keys);
    for (int64_t from = at.from; s->ahead && from < task->count; at.row_blocks++) {
        from = next_rows(task, s, from + FORWARD_ROWS, first_key, keys);
    }
    for (; at.from < task->count; at.from = at.next, at.row_block++) {
        const int64_t from = at.from;
        const int rows = (int)(task->count - from < FORWARD_ROWS ? task->count - from : FORWARD_ROWS);
        at.next = next_rows(task, s, from + FORWARD_ROWS, first_key, keys);
        for (int64_t n = from; n < from + rows; n++) {
            fill_score_row(plan, task, task->first + n, s->low[n], s->high[n], first_key, keys,
                           s->rows + n);
        }
        const int count = cut_tiles(s->rows + from, rows, tiles);
        if (count == 0) {
            continue;
        }
        if (s->ahead) {
            look_ahead(plan, task, a, &at, rows, s->pairs_ahead, s->ahead);
        }
        float *o = s->o + from * plan->ldv;
        make_weights(plan, tiles, count, from, first_key, keys, s);
        if (plan->pairs) {
            tile->product_terms_bf16(tiles, count, (const float *)(const void *)s->rounded, ld / 2, 1,
                                     s->v, plan->ldv, columns, o, plan->ldv, s->ahead);
        } else {
            tile->product_terms(tiles, count, s->scores, ld, 1, s->v, plan->ldv, columns, o,
                                plan->ldv, s->ahead);
        }
    }
}

void forward_finish(const work_plan *plan, const work_task *task, const attention_arrays *a,
                    const forward_scratch *s) {
    const problem_t *p = plan->problem;
    const float ln2 = 0.693147181f;
    for (int64_t n = 0; n < task->count; n++) {
        const int64_t r = task->first + n, i = row_token(plan, r);
        const int64_t head = row_head(plan, task, r);
        float m = plan->rule.modified ? s->maximum[n] : s->maximum[n] * ln2;
        float sum = s->sum[n], factor = 1.0f;
        if (p->sinks) {
            const float sink = p->sinks[head];
            const float most = m > sink ? m : sink;
            factor = m == -INFINITY ? 0.0f : expf(m - most);
            sum = sum * factor + (sink == -INFINITY ? 0.0f : expf(sink - most));
            m = most;
        }
        factor = sum != 0 ? factor * plan->rule.keep_scale / sum : 0.0f;
        const void *target = query_row(p, &task->sequence, a->out, p->o, i, head);
        (p->dtype == ATTN_F32 ? plan->tile->store_f32 : plan->tile->store_bf16)(
            s->o + n * plan->ldv, factor, (int)p->d_v, (void *)(uintptr_t)target);
        if (a->log_sum_exp) {
            a->log_sum_exp[head * plan->size.q_tokens + task->sequence.q_first + i] =
                sum != 0 ? m + logf(sum) : -INFINITY;
        }
    }
}

void forward_seen(const work_task *task, const forward_scratch *s, int64_t *low, int64_t *high) {
    *low = INT64_MAX;
    *high = 0;
    for (int64_t n = 0; n < task->count; n++) {
        if (s->low[n] < s->high[n]) {
            *low = s->low[n] < *low ? s->low[n] : *low;
            *high = s->high[n] > *high ? s->high[n] : *high;
        }
    }
}

/* 0 where the reference has to do it: a value that is not finite is hidden from some query. */
static int forward_rows(const work_plan *plan, const work_task *task, const attention_arrays *a,
                        forward_scratch *s) {
    int64_t low, high;
    if (window_blocks(plan)) {
        return forward_window(plan, task, a, s);
    }
    forward_load_queries(plan, task, a, s);
    forward_seen(task, s, &low, &high);
    block_step at = {.first_key = low / BLOCK_KEYS * BLOCK_KEYS, .end_key = high};
    at.blocks = high > low ? (high - at.first_key + BLOCK_KEYS - 1) / BLOCK_KEYS : 0;
    for (; at.block < at.blocks; at.block++) {
        const int64_t first = at.first_key + at.block * BLOCK_KEYS, left = task->sequence.length - first;
        const int keys = (int)(left < BLOCK_KEYS ? left : BLOCK_KEYS);
        if (!forward_load_keys(plan, task, a, first, keys, s)) {
            return 0;
        }
        attend_block(plan, task, a, at, keys, s);
    }
    forward_finish(plan, task, a, s);
    return 1;
}

static void forward_task(const work_plan *plan, const work_task *task, void *context, void *scratch) {
    const attention_arrays *a = context;
    forward_scratch s;
    rows_ahead ahead;
    if (short_fits(plan, task) && short_run(plan, task, a, 0, scratch)) {
        return;
    }
    lay_out(plan, scratch, &s);
    s.pairs_ahead = pairs_are_large(plan);
    s.ahead = s.pairs_ahead || plan_is_large(plan, 0) ? &ahead : NULL;
    if (task_is_short(task) && task->kv_head == 0) {
        touch_queries(plan, task, a->q, plan->problem->q, plan->problem->d, 0);
        touch_keys(plan, task, a->k, plan->problem->k, plan->problem->d, 0);
        touch_keys(plan, task, a->v, plan->problem->v, plan->problem->d_v, 0);
        touch_queries(plan, task, a->out, plan->problem->o, plan->problem->d_v, 1);
    }
    if (forward_rows(plan, task, a, &s)) {
        return;
    }
    /* chunk by chunk, however they are joined: the reference's bits are others */
    const int64_t chunk = plan_chunk_rows(task->sequence.queries * plan->group);
    for (int64_t first = 0; first < task->count; first += chunk) {
        work_task piece = *task;
        piece.first = task->first + first;
        piece.count = task->count - first < chunk ? task->count - first : chunk;
        if (piece.count == task->count || !forward_rows(plan, &piece, a, &s)) {
            reference_forward(plan, &piece, a);
        }
    }
}

static void forward_reference_task(const work_plan *plan, const work_task *task, void *context,
                                   void *scratch) {
    (void)scratch;
    reference_forward(plan, task, context);
}

static size_t forward_scratch_size(const work_plan *plan) {
    forward_scratch s;
    if (plan->tile && plan->problem->score == ATTN_SCORE_LINEAR) {
        return linear_scratch_size(plan);
    }
    const size_t size = plan->tile ? lay_out(plan, NULL, &s) : 64, least = short_scratch_size(plan);
    return size > least ? size : least;
}

size_t forward_workspace(const work_plan *plan) {
    return plan_workspace(forward_scratch_size(plan));
}

attn_status attn_attention_forward(const attn_attention_problem *p, const void *q, const void *k,
                                   const void *v, void *o, float *log_sum_exp, void *workspace,
                                   size_t workspace_size) {
    work_plan plan;
    attn_status status = plan_make(&plan, p, 0);
    if (status) {
        return status;
    }
    if ((plan.size.q_tokens && (!q || !o)) || (plan.size.k_tokens && (!k || !v))) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: q, k, v or o is NULL");
    }
    attention_arrays a = {.q = q, .k = k, .v = v, .out = o, .log_sum_exp = log_sum_exp};
    if (plan.tile && p->score == ATTN_SCORE_LINEAR) {
        return plan_run(&plan, TASK_HEAD, linear_forward_task, &a, workspace, workspace_size,
                        forward_scratch_size(&plan));
    }
    return plan_run(&plan, TASK_JOINED, plan.tile ? forward_task : forward_reference_task, &a,
                    workspace, workspace_size, forward_scratch_size(&plan));
}
