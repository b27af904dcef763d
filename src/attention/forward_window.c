/* The forward pass through a narrow window. Few rows at a time meet all the keys that they see, so that a row
 * has one softmax and one sum of values, and what is asked for ahead is used soon. The keys wait in a ring of
 * blocks, packed once for all rows of the task. */
#include "attention/forward_block.h"

int64_t window_blocks(const work_plan *plan) {
    const problem_t *p = plan->problem;
    const int64_t most = WINDOW_BLOCKS * BLOCK_KEYS,
                  right = p->causal != ATTN_CAUSAL_NONE ? 0 : p->window_right;
    if (p->window_left > most || right > most) {
        return 0;
    }
    const int64_t span = p->window_left + right + WINDOW_ROWS; /* it may begin with a block's last key */
    const int64_t blocks = (span + BLOCK_KEYS - 2) / BLOCK_KEYS + 1;
    return blocks <= WINDOW_BLOCKS ? blocks : 0;
}

/* The last blocks of keys that were loaded: block b in slot b % blocks. */
typedef struct key_ring {
    int64_t blocks;
    int64_t loaded; /* keys before this one have been */
    int64_t asked;  /* and been asked for */
} key_ring;

static float *ring_keys(const work_plan *plan, const key_ring *ring, const forward_scratch *s, int64_t key) {
    return s->k_panels + key / BLOCK_KEYS % ring->blocks * BLOCK_KEYS * plan->ldq;
}

/* In bf16 a row is a pair of keys. */
static float *ring_values(const work_plan *plan, const key_ring *ring, const forward_scratch *s,
                          int64_t key) {
    return s->v + key / BLOCK_KEYS % ring->blocks * (BLOCK_KEYS >> plan->pairs) * plan->ldv;
}

/* Loads what is missing of the keys first .. high - 1; 0 as forward_load_keys(). */
static int fill_ring(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t first,
                     int64_t high, key_ring *ring, const forward_scratch *s) {
    ring->loaded = ring->loaded > first ? ring->loaded : first;
    for (; ring->loaded < high; ring->loaded += BLOCK_KEYS) {
        const int64_t left = task->sequence.length - ring->loaded;
        forward_scratch slot = *s;
        slot.k_panels = ring_keys(plan, ring, s, ring->loaded);
        slot.v = ring_values(plan, ring, s, ring->loaded);
        if (!forward_load_keys(plan, task, a, ring->loaded, (int)(left < BLOCK_KEYS ? left : BLOCK_KEYS),
                               &slot)) {
            return 0;
        }
    }
    return 1;
}

/* The tiles' parts in columns from .. from + columns - 1, counted from `from`; how many tiles have one. */
static int clip_tiles(const row_tile *tiles, int count, int64_t from, int64_t columns, row_tile *clipped) {
    int made = 0;
    for (int t = 0; t < count; t++) {
        const int64_t low = tiles[t].low - from, high = tiles[t].high - from;
        row_tile part = tiles[t];
        part.low = (int32_t)(low > 0 ? low : 0);
        part.high = (int32_t)(high < columns ? high : columns);
        if (part.low < part.high) {
            clipped[made++] = part;
        }
    }
    return made;
}

/* Beside the rows' products: queries and output of the task's next rows, and as many keys as those will see
 * besides, one block ahead. */
static void look_ahead(const work_plan *plan, const work_task *task, const work_task *rows,
                       const attention_arrays *a, int64_t first, int64_t high, const row_tile *tiles,
                       int count, key_ring *ring, const forward_scratch *s) {
    const problem_t *p = plan->problem;
    const int64_t size = dtype_size(p->dtype), length = task->sequence.length;
    const int64_t behind = rows->first + rows->count, left = task->first + task->count - behind;
    const work_task *const next = left > 0 ? task : task->next;
    int64_t calls = 0, from = ring->asked > ring->loaded ? ring->asked : ring->loaded,
            to = high + BLOCK_KEYS + WINDOW_ROWS;
    rows_ahead *ahead = s->ahead;
    ahead_clear(ahead);
    to = to < length ? to : length;
    if (to > from) {
        ahead_add(ahead, key_row(p, &task->sequence, a->k, p->k, from, task->kv_head), p->k.token * size,
                  p->d * size, to - from);
        ahead_add(ahead, key_row(p, &task->sequence, a->v, p->v, from, task->kv_head), p->v.token * size,
                  p->d_v * size, to - from);
        ring->asked = to;
    }
    if (plan->group == 1 && next) {
        const int64_t start = left > 0 ? behind : next->first, most = left > 0 ? left : next->count;
        const int64_t some = most < WINDOW_ROWS ? most : WINDOW_ROWS;
        ahead_add(ahead, query_row(p, &next->sequence, a->q, p->q, start, next->kv_head), p->q.token * size,
                  p->d * size, some);
        ahead_add(ahead, query_row(p, &next->sequence, a->out, p->o, start, next->kv_head), p->o.token * size,
                  p->d_v * size, some);
    }
    if (s->pairs_ahead && left > 0) {
        const int64_t keys = high - first + WINDOW_ROWS;
        add_pairs(plan, task, NULL, behind - task->first, left < WINDOW_ROWS ? left : WINDOW_ROWS, first,
                  keys < length - first ? keys : length - first, ahead);
    }
    const int panel = plan->tile->panel;
    for (int t = 0; t < count; t++) {
        calls += (tiles[t].high - 1) / panel - tiles[t].low / panel + 1 + (plan->ldv + panel - 1) / panel;
    }
    ahead_spread(ahead, calls);
}

/* A row at once: all scores that its window shows, one softmax, a sum of values (two where the ring ends). */
static void attend_window(const work_plan *plan, const work_task *task, const work_task *rows,
                          const attention_arrays *a, int64_t first, int64_t high, key_ring *ring,
                          forward_scratch *s) {
    const problem_t *p = plan->problem;
    const tile_kernels *tile = plan->tile;
    const int64_t turn = ring->blocks * BLOCK_KEYS, ld = turn + 16;
    const int columns = plan_columns(plan, p->d_v), keys = (int)(high - first);
    row_tile tiles[WINDOW_ROWS / TILE_ROWS], part[WINDOW_ROWS / TILE_ROWS];
    for (int64_t n = 0; n < rows->count; n++) {
        fill_score_row(plan, rows, rows->first + n, s->low[n], s->high[n], first, keys, s->rows + n);
    }
    const int count = cut_tiles(s->rows, (int)rows->count, tiles);
    if (s->ahead) {
        look_ahead(plan, task, rows, a, first, high, tiles, count, ring, s);
    }
    for (int64_t key = first; key < high; key += BLOCK_KEYS) {
        const int64_t left = task->sequence.length - key, width = left < BLOCK_KEYS ? left : BLOCK_KEYS;
        const int parts = clip_tiles(tiles, count, key - first, width, part);
        const float *panels = ring_keys(plan, ring, s, key);
        if (plan->pairs) {
            tile->product_columns_bf16(part, parts, s->q, plan->ldq / 2, (int)(p->d + 1) / 2, panels,
                                       (int)width, s->scores + (key - first), ld, s->ahead);
        } else {
            tile->product_columns(part, parts, s->q, plan->ldq, (int)p->d, panels, (int)width,
                                  s->scores + (key - first), ld, s->ahead);
        }
    }
    tile->softmax(tiles, count, s->rows, &plan->rule, first, s->scores, ld, plan->pairs ? s->rounded : NULL,
                  s->maximum, s->sum, s->o, plan->ldv, columns);
    for (int64_t key = first, end; key < high; key = end) {
        end = key / turn * turn + turn;
        const int parts = clip_tiles(tiles, count, key - first, end - key, part);
        const float *values = ring_values(plan, ring, s, key);
        if (plan->pairs) {
            tile->product_terms_bf16(part, parts, (const float *)(const void *)(s->rounded + (key - first)),
                                     ld / 2, 1, values, plan->ldv, columns, s->o, plan->ldv, s->ahead);
        } else {
            tile->product_terms(part, parts, s->scores + (key - first), ld, 1, values, plan->ldv, columns,
                                s->o, plan->ldv, s->ahead);
        }
    }
}

int forward_window(const work_plan *plan, const work_task *task, const attention_arrays *a,
                   forward_scratch *s) {
    key_ring ring = {.blocks = window_blocks(plan)};
    for (int64_t from = 0; from < task->count; from += WINDOW_ROWS) {
        work_task rows = *task;
        int64_t low, high;
        rows.first += from;
        rows.count = task->count - from < WINDOW_ROWS ? task->count - from : WINDOW_ROWS;
        forward_load_queries(plan, &rows, a, s);
        forward_seen(&rows, s, &low, &high);
        if (high > 0) {
            const int64_t first = low / BLOCK_KEYS * BLOCK_KEYS;
            if (!fill_ring(plan, task, a, first, high, &ring, s)) {
                return 0;
            }
            attend_window(plan, task, &rows, a, first, high, &ring, s);
        }
        forward_finish(plan, &rows, a, s);
    }
    return 1;
}
