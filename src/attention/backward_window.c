/* The backward pass through a narrow window: backward_block.c's blocks, groups and sums, and so the same
 * bits, but rows are loaded when the first block of keys sees them and their dQ is stored after the last one,
 * so that a few hundred rows wait in the caches instead of all. What the next block needs is asked for beside
 * the products of this one: that takes memory's time and none of the products'. */
#include "attention/backward_block.h"

#include <string.h>

enum {
    MOST_WIDTH = 256, /* of a row */
    SPARE_ROWS = 512  /* beyond those that a block sees: the more, the more seldom rows are moved */
};

/* The rows that are there: loaded ones from `stored` on. */
typedef struct moving_rows {
    int64_t capacity;
    int64_t loaded, stored;     /* rows before these have been */
    int64_t parked, parked_end; /* rows of which s->d_q_group keeps what the last group of keys gave to dQ */
} moving_rows;

static int64_t rows_at_most(const work_plan *plan) {
    const problem_t *p = plan->problem;
    const int64_t right = p->causal != ATTN_CAUSAL_NONE ? 0 : p->window_right;
    const int64_t most =
        GROUP_KEYS - BLOCK_KEYS; /* so no row, nor a pair of two, sees three groups of keys */
    if (p->window_left > most || right > most - p->window_left) {
        return 0;
    }
    return (BLOCK_KEYS + p->window_left + right + 2) * plan->group + SPARE_ROWS;
}

int backward_window_fits(const work_plan *plan, const work_task *task, const attention_arrays *a) {
    const problem_t *p = plan->problem;
    const int64_t rows = rows_at_most(plan);
    return rows > 0 && task->count >= 2 * rows && !p->bias && !p->mask && !p->sinks &&
           !backward_has_large(plan, task, a);
}

/* dQ of the rows before `end`. */
static void store_rows(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t end,
                       moving_rows *m, backward_scratch *s) {
    const int64_t first = m->stored;
    m->stored = end > first ? end : first;
    for (int64_t r = first; r < end && a->gradients.q; r++) {
        float nothing[MOST_WIDTH];
        float *row = r < m->loaded ? s->d_q + (r - s->base) * plan->ldq : memset(nothing, 0, sizeof nothing);
        if (r >= m->parked && r < m->parked_end) {
            const float *before = s->d_q_group + (r - m->parked) * plan->ldq;
            for (int64_t e = 0; e < plan->ldq; e++) {
                row[e] += before[e];
            }
        }
        backward_store_query(plan, task, a, r, row);
    }
}

static void move_rows(void *array, int64_t from, int64_t count, size_t bytes) {
    memmove(array, (const char *)array + (size_t)from * bytes, (size_t)count * bytes);
}

/* The rows that are not stored yet go to the front. */
static void move_to_front(const work_plan *plan, moving_rows *m, backward_scratch *s) {
    const int64_t first = plan->pairs ? m->stored / 2 * 2 : m->stored;
    const int64_t from = first - s->base, count = m->loaded - first;
    const size_t size = plan->pairs ? sizeof(uint16_t) : sizeof(float);
    if (from > 0 && count > 0) {
        move_rows(s->d_q, from, count, (size_t)plan->ldq * sizeof(float));
        move_rows(s->loaded.q, from, count, (size_t)plan->ldq * size);
        move_rows(s->loaded.d_o, from, count, (size_t)plan->ldv * size);
    }
    if (from > 0 && count > 0 && plan->pairs) {
        move_rows(s->loaded.q_pairs, from / 2, (count + 1) / 2, (size_t)plan->ldq * sizeof(float));
        move_rows(s->loaded.d_o_pairs, from / 2, (count + 1) / 2, (size_t)plan->ldv * sizeof(float));
    }
    s->base = first;
}

/* Rows until `end` that no key sees: dQ is 0. As for all rows, one that is not finite leaves the task to the
 * reference: 0. */
static int pass_rows(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t end,
                     moving_rows *m, backward_scratch *s) {
    store_rows(plan, task, a, end, m, s);
    for (int64_t rows; m->loaded < end; m->loaded += rows) {
        rows = backward_rows_at_once((row_range){m->loaded, end}, m->loaded);
        s->base = m->loaded;
        if (!backward_load_rows(plan, task, a, m->loaded, (int)rows, s) && plan->hides) {
            return 0;
        }
    }
    s->base = end;
    return 1;
}

/* Loads the rows that a block is the first to see. 0 where the reference has to do the task. */
static int load_rows_until(const work_plan *plan, const work_task *task, const attention_arrays *a,
                           row_range range, moving_rows *m, backward_scratch *s) {
    int64_t end = plan->pairs ? (range.to + 1) / 2 * 2 : range.to;
    end = end < task->count ? end : task->count;
    if (range.from > m->loaded && !pass_rows(plan, task, a, range.from, m, s)) {
        return 0;
    }
    if (end - s->base > m->capacity) {
        move_to_front(plan, m, s);
    }
    if (end > m->loaded) {
        memset(s->d_q + (m->loaded - s->base) * plan->ldq, 0,
               (size_t)((end - m->loaded) * plan->ldq) * sizeof(float));
    }
    for (int64_t rows; m->loaded < end; m->loaded += rows) {
        rows = backward_rows_at_once((row_range){m->loaded, end}, m->loaded);
        if (!backward_load_rows(plan, task, a, m->loaded, (int)rows, s) && plan->hides) {
            return 0;
        }
    }
    return 1;
}

/* With the first block of a group of keys dQ begins anew: what the group before gave is added at the end. */
static void park_rows(const work_plan *plan, moving_rows *m, backward_scratch *s) {
    const int64_t count = m->loaded - m->stored;
    m->parked = m->stored;
    m->parked_end = m->loaded;
    if (count > 0) {
        float *rows = s->d_q + (m->stored - s->base) * plan->ldq;
        memcpy(s->d_q_group, rows, (size_t)(count * plan->ldq) * sizeof(float));
        memset(rows, 0, (size_t)(count * plan->ldq) * sizeof(float));
    }
}

/* Asks for rows from .. to - 1 of an array of queries. */
static void ask_rows(const work_plan *plan, const work_task *task, const void *array, attn_strides strides,
                     int64_t width, int64_t from, int64_t to, backward_scratch *s) {
    const problem_t *p = plan->problem;
    const int64_t first = from / plan->group, end = (to + plan->group - 1) / plan->group,
                  size = dtype_size(p->dtype);
    if (array && to > from && (plan->group == 1 || strides.head == width)) {
        ahead_add(&s->ahead,
                  query_row(p, &task->sequence, array, strides, first, task->kv_head * plan->group),
                  strides.token * size, width * plan->group * size, end - first);
    }
}

static void ask_keys(const work_plan *plan, const work_task *task, const void *array, attn_strides strides,
                     int64_t width, int64_t first, int64_t count, backward_scratch *s) {
    const problem_t *p = plan->problem;
    const int64_t size = dtype_size(p->dtype);
    if (array) {
        ahead_add(&s->ahead, key_row(p, &task->sequence, array, strides, first, task->kv_head),
                  strides.token * size, width * size, count);
    }
}

/* Beside a block's products: the keys and new rows of the next, and where its own gradients will go. */
static void look_ahead(const work_plan *plan, const work_task *task, const attention_arrays *a,
                       const key_step *at, const key_step *coming, const moving_rows *m,
                       backward_scratch *s) {
    const problem_t *p = plan->problem;
    const int64_t rows = at->range.to - at->range.from;
    ahead_clear(&s->ahead);
    if (!plan_is_large(plan, 1) || rows <= 0) {
        return;
    }
    if (coming->keys > 0) {
        ask_keys(plan, task, a->k, p->k, p->d, coming->first_key, coming->keys, s);
        ask_keys(plan, task, a->v, p->v, p->d_v, coming->first_key, coming->keys, s);
        ask_rows(plan, task, a->o, p->o, p->d_v, m->loaded, coming->range.to, s);
        ask_rows(plan, task, a->d_o, p->d_o, p->d_v, m->loaded, coming->range.to, s);
        ask_rows(plan, task, a->q, p->q, p->d, m->loaded, coming->range.to, s);
        ask_rows(plan, task, a->gradients.q, p->d_q, p->d, m->stored, coming->range.from, s);
    }
    ask_keys(plan, task, a->gradients.k, p->d_k, p->d, at->first_key, at->keys, s);
    ask_keys(plan, task, a->gradients.v, p->d_v_, p->d_v, at->first_key, at->keys, s);
    /* half of the tiles that there would be without a window */
    ahead_spread(&s->ahead, (rows + TILE_ROWS - 1) / TILE_ROWS * (BLOCK_KEYS / plan->tile->panel));
}

int backward_window(const work_plan *plan, const work_task *task, const attention_arrays *a,
                    backward_scratch *s) {
    const int64_t keys = task->sequence.length;
    moving_rows m = {.capacity = rows_at_most(plan)};
    s->base = 0;
    for (key_step at = backward_step(plan, task, 0, keys), coming; at.keys > 0; at = coming) {
        coming = backward_step(plan, task, at.first_key + at.keys, keys);
        if (at.first_key > 0 && at.first_key % GROUP_KEYS == 0) {
            park_rows(plan, &m, s);
        }
        if (!backward_load_keys(plan, task, a, at.first_key, at.keys, s) && plan->hides) {
            return 0;
        }
        if (at.range.from < at.range.to && !load_rows_until(plan, task, a, at.range, &m, s)) {
            return 0;
        }
        look_ahead(plan, task, a, &at, &coming, &m, s);
        for (int rows; at.from < at.range.to; at.from += rows) {
            rows = backward_rows_at_once(at.range, at.from);
            backward_block(plan, task, a, at.from, rows, at.first_key, at.keys, s->d_q, s);
        }
        backward_store_keys(plan, task, a, at.first_key, at.keys, s);
        if (coming.keys > 0) {
            store_rows(plan, task, a, coming.range.from < m.loaded ? coming.range.from : m.loaded, &m, s);
        }
    }
    return pass_rows(plan, task, a, task->count, &m, s);
}
