/* Choosing kernels, cutting work, laying out the workspace, loading rows; see plan.h. */
#include "attention/passes.h"

#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/threads.h"

static const tile_kernels *tile_for(cpu_level level) {
#if defined(__x86_64__)
    switch (level) {
    case CPU_AVX512_BF16:
        return &tile_avx512bf16;
    case CPU_AVX512:
        return &tile_avx512;
    case CPU_AVX2:
        return &tile_avx2;
    case CPU_PORTABLE:
        break;
    }
    return &tile_portable;
#else
    (void)level;
    return &tile_portable;
#endif
}

static attn_status choose_kernels(work_plan *plan, attn_kernel kernel) {
    if (kernel == ATTN_KERNEL_AUTO) {
        const char *forced = getenv("ATTN_KERNEL");
        plan->tile = forced && strcmp(forced, "reference") == 0 ? NULL : tile_for(cpu_selected());
    } else if (kernel == ATTN_KERNEL_REFERENCE) {
        plan->tile = NULL;
    } else {
        cpu_level wanted = (cpu_level)(kernel - ATTN_KERNEL_PORTABLE);
        if (wanted > cpu_detected()) {
            return fail(ATTN_ERROR_UNSUPPORTED, "attention: this processor has no %s",
                        cpu_level_name(wanted));
        }
        plan->tile = tile_for(wanted);
    }
    return ATTN_OK;
}

/* Whole vectors of every instruction set; not a multiple of 512 bytes, since rows that
 * far apart fall into few sets of the first cache. */
static int64_t padded(int64_t width) {
    int64_t whole = (width + 15) / 16 * 16;
    return whole > 64 && whole % 64 == 0 ? whole + 16 : whole;
}

attn_status plan_make(work_plan *plan, const problem_t *p, int caches) {
    memset(plan, 0, sizeof *plan);
    attn_status status = problem_check(p, caches, &plan->size);
    if (status || (status = choose_kernels(plan, p->kernel))) {
        return status;
    }
    plan->problem = p;
    if (p->score == ATTN_SCORE_LINEAR && (status = linear_check(plan))) {
        return status;
    }
    plan->group = p->heads / p->kv_heads;
    plan->ldq = padded(p->d);
    plan->ldv = padded(p->d_v);
    plan->packed = problem_packed(p);
    plan->hides = problem_hides(p);
    plan->transforms = p->score == ATTN_SCORE_COSINE || p->rotary != ATTN_ROTARY_NONE;
    plan->pairs = p->dtype == ATTN_BF16 && plan->tile && plan->tile->product_terms_bf16 &&
                  !plan->transforms && p->score != ATTN_SCORE_LINEAR;
    uint32_t threshold = dropout_threshold(p->dropout);
    threshold = threshold > 65535 ? 65535 : threshold;
    plan->rule = (score_rule){
        .scale = problem_scale(p),
        .softcap = p->softcap,
        .softcap_inverse = fminf(1.0f / p->softcap, FLT_MAX),
        .modified = p->bias || p->mask || p->alibi || p->softcap < INFINITY,
        .bias_stride = p->bias_strides.key,
        .mask_stride = p->mask_strides.key,
        .drop_below = threshold,
        .keep_scale = dropout_scale(threshold),
    };
    return ATTN_OK;
}

void *scratch_take(scratch_cursor *cursor, size_t count, size_t size) {
    void *piece = cursor->base ? cursor->base + cursor->used : NULL;
    cursor->used += (count * size + 63) / 64 * 64;
    return piece;
}

size_t plan_workspace(size_t scratch_size) {
    return (size_t)threads_get() * ((scratch_size + 63) / 64 * 64) + 64;
}

/* Tasks are numbered sequence by sequence; a thread meets them in ascending order, so
 * it finds each from where it stood. */
typedef struct task_walk {
    int64_t sequence;
    int64_t first_task, tasks; /* of that sequence */
    int64_t rows, chunk_rows, chunks; /* of one of its key/value heads */
    sequence_view view;
} task_walk;

int64_t plan_chunk_rows(int64_t rows) {
    int64_t chunk = CHUNK_ROWS;
    while (chunk < MOST_CHUNK_ROWS && rows >= 8 * chunk) {
        chunk *= 2;
    }
    return chunk;
}

int64_t plan_joined_rows(const work_plan *plan, int64_t rows) {
    const int64_t heads = plan->problem->sequences * plan->problem->kv_heads;
    int64_t chunk = plan_chunk_rows(rows);
    while (chunk < MOST_CHUNK_ROWS && chunk < rows && heads * ((rows + 2 * chunk - 1) / (2 * chunk)) >= MANY_TASKS) {
        chunk *= 2;
    }
    return chunk;
}

static int64_t rows_of_a_task(const work_plan *plan, task_cut cut, int64_t rows) {
    return cut == TASK_HEAD ? rows : cut == TASK_CHUNK ? plan_chunk_rows(rows) : plan_joined_rows(plan, rows);
}

static int walk_to(const work_plan *plan, task_cut cut, task_walk *walk, int64_t number, work_task *task) {
    while (number >= walk->first_task + walk->tasks) {
        walk->first_task += walk->tasks;
        walk->sequence++;
        if (walk->sequence >= plan->problem->sequences) {
            return 0;
        }
        walk->view = problem_sequence(plan->problem, walk->sequence);
        walk->rows = walk->view.queries * plan->group;
        walk->chunk_rows = rows_of_a_task(plan, cut, walk->rows);
        walk->chunks = cut != TASK_HEAD ? (walk->rows + walk->chunk_rows - 1) / walk->chunk_rows : 1;
        walk->tasks = walk->chunks * plan->problem->kv_heads;
    }
    const int64_t inside = number - walk->first_task;
    task->sequence = walk->view;
    /* the heads of some rows one after the other: their rows lie in the same pages of memory */
    task->kv_head = inside % plan->problem->kv_heads;
    task->first = inside / plan->problem->kv_heads * walk->chunk_rows;
    task->count = walk->rows - task->first < walk->chunk_rows ? walk->rows - task->first : walk->chunk_rows;
    return 1;
}

task_chain plan_chain(const problem_t *p) {
    const int sequence = p->bias_strides.sequence == 0 && p->sequences > 1;
    const int head = p->bias_strides.head == 0 && p->heads > 1;
    return sequence && head ? CHAIN_ALL : sequence ? CHAIN_HEAD : head ? CHAIN_SEQUENCE : CHAIN_NONE;
}

void plan_clear_bias(const problem_t *p, float *d_bias) {
    const attn_score_strides *st = &p->bias_strides;
    for (int64_t b = 0; b < p->sequences; b++) {
        if (b > 0 && st->sequence == 0 && !problem_packed(p)) {
            break;
        }
        const sequence_view s = problem_sequence(p, b);
        for (int64_t h = 0; h < (st->head ? p->heads : 1); h++) {
            for (int64_t i = 0; i < (st->query ? s.queries : 1); i++) {
                float *row = d_bias + (bias_at(p, b, h, i, 0) - p->bias);
                if (st->key == 1) {
                    memset(row, 0, (size_t)s.keys * sizeof *row);
                    continue;
                }
                for (int64_t j = 0; j < (st->key ? s.keys : 1); j++) {
                    row[j * st->key] = 0;
                }
            }
        }
    }
}

attn_status plan_check_workspace(const void *workspace, size_t workspace_size, size_t needed) {
    if (!workspace || workspace_size < needed + 64) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: workspace of %zu bytes, at least %zu are needed",
                    workspace ? workspace_size : (size_t)0, needed + 64);
    }
    return ATTN_OK;
}

/* A chain's tasks are those of one key/value head and one sequence, or of all. */
static void run_chain(const work_plan *plan, int64_t number, task_function work, void *context,
                      char *scratch) {
    const problem_t *p = plan->problem;
    const int one_sequence = plan->chain == CHAIN_SEQUENCE, one_head = plan->chain == CHAIN_HEAD;
    for (int64_t b = one_sequence ? number : 0; b < (one_sequence ? number + 1 : p->sequences); b++) {
        work_task task = {.sequence = problem_sequence(p, b)};
        task.count = task.sequence.queries * plan->group;
        for (int64_t h = one_head ? number : 0; h < (one_head ? number + 1 : p->kv_heads); h++) {
            task.kv_head = h;
            work(plan, &task, context, scratch);
        }
    }
}

int64_t plan_threads(const work_plan *plan) {
    const problem_t *p = plan->problem;
    const double products = (double)plan->size.q_tokens * (double)plan->size.most_keys *
                            (double)(p->heads * (p->d + p->d_v));
    return products < 5e5 ? 1 : threads_get(); /* some ten microseconds */
}

int plan_is_large(const work_plan *plan, int backward) {
    const problem_t *p = plan->problem;
    const int64_t row = p->heads * (p->d + p->d_v) * dtype_size(p->dtype) * (backward ? 2 : 1);
    return (plan->size.q_tokens + plan->size.k_tokens) * row > (int64_t)4 << 20;
}

/* Tasks that wait, in their order. */
typedef struct task_queue {
    int64_t next, all; /* all: 0 where they are taken one by one */
    int64_t takers;    /* each takes its share of what is left, */
    int64_t together;  /* in whole sequences as long as that is enough for one */
} task_queue;

static int64_t count_tasks(const work_plan *plan, task_cut cut) {
    task_walk walk = {.sequence = -1};
    work_task task;
    (void)walk_to(plan, cut, &walk, INT64_MAX, &task);
    return walk.first_task;
}

static void take_tasks(task_queue *queue, int64_t *first, int64_t *end) {
#pragma omp critical(attn_attention_tasks)
    {
        int64_t share = (queue->all - queue->next) / queue->takers;
        share = share >= queue->together ? share / queue->together * queue->together : share;
        *first = queue->next;
        queue->next += share > 1 ? share : 1;
        *end = queue->next;
    }
}

attn_status plan_run(const work_plan *plan, task_cut cut, task_function work, void *context,
                     void *workspace, size_t workspace_size, size_t scratch_size) {
    const size_t each = (scratch_size + 63) / 64 * 64;
    attn_status status = plan_check_workspace(workspace, workspace_size, each);
    if (status) {
        return status;
    }
    char *base = (char *)(((uintptr_t)workspace + 63) & ~(uintptr_t)63);
    const int64_t chains = plan->chain == CHAIN_SEQUENCE ? plan->problem->sequences
                           : plan->chain == CHAIN_HEAD   ? plan->problem->kv_heads
                                                         : 1;
    int64_t threads = plan_threads(plan), room = (int64_t)((workspace_size - 64) / each);
    threads = threads < room ? threads : room;
    /* Of short sequences a thread takes a run of neighbours, which it can ask for ahead, less and less as they
     * become few. */
    const int64_t tokens = plan->size.q_tokens + plan->size.k_tokens;
    const int runs = plan->chain == CHAIN_NONE && tokens * plan->group <= NEIGHBOUR_ROWS * plan->problem->sequences;
    const int looks_ahead = runs || (cut == TASK_JOINED && plan_is_large(plan, 0));
    task_queue queue = {.all = runs ? count_tasks(plan, cut) : 0,
                        .takers = threads > 1 ? 2 * threads : 1,
                        .together = plan->problem->kv_heads};
#pragma omp parallel num_threads((int)threads) if (threads > 1)
    {
        task_walk walk = {.sequence = -1}, walk_ahead = walk;
        char *scratch = base + (size_t)threads_index() * each;
        work_task task, coming;
        for (int64_t number = 0, end = 0;; number++) {
            if (number == end) {
                take_tasks(&queue, &number, &end);
            }
            if (plan->chain != CHAIN_NONE) {
                if (number >= chains) {
                    break;
                }
                run_chain(plan, number, work, context, scratch);
            } else if (walk_to(plan, cut, &walk, number, &task)) {
                const int64_t then = number + (runs ? plan->problem->kv_heads : threads);
                task.next = looks_ahead && (!runs || then < end) && walk_to(plan, cut, &walk_ahead, then, &coming) ? &coming
                                                                                                             : NULL;
                work(plan, &task, context, scratch);
            } else {
                break;
            }
        }
    }
    return ATTN_OK;
}

static void touch(const char *row, int64_t bytes, int to_write) {
    for (int64_t at = 0; at < bytes; at += 64) {
        if (to_write) {
            __builtin_prefetch(row + at, 1);
        } else {
            (void)*(const volatile char *)(row + at);
        }
    }
}

void add_pairs(const work_plan *plan, const work_task *task, float *d_bias, int64_t from, int64_t rows,
               int64_t key, int64_t keys, rows_ahead *ahead) {
    const problem_t *p = plan->problem;
    const int64_t b = task->sequence.index, i = task->first + from, bytes = keys * (int64_t)sizeof(float);
    if (plan->group > 1) {
        return;
    }
    if (p->bias && p->bias_strides.key == 1 && p->bias_strides.query != 0) {
        const float *bias = bias_at(p, b, task->kv_head, i, key);
        const int64_t stride = p->bias_strides.query * (int64_t)sizeof(float);
        ahead_add(ahead, (const char *)bias, stride, bytes, rows);
        if (d_bias) {
            ahead_add(ahead, (const char *)(d_bias + (bias - p->bias)), stride, bytes, rows);
        }
    }
    if (p->mask && p->mask_strides.key == 1 && p->mask_strides.query != 0) {
        ahead_add(ahead, (const char *)mask_at(p, b, task->kv_head, i, key), p->mask_strides.query, keys,
                  rows);
    }
}

void ask_for_pairs(const work_plan *plan, const row_tile *tile, const score_row *rows, float *const *d_bias) {
    const int bias = plan->rule.bias_stride == 1, mask = plan->rule.mask_stride == 1;
    for (int r = tile->first; r < tile->first + tile->count; r++) {
        for (int j = tile->low; j < tile->high && rows[r].bias && bias; j += 16) {
            __builtin_prefetch(rows[r].bias + j);
        }
        for (int j = tile->low; j < tile->high && d_bias && d_bias[r] && bias; j += 16) {
            __builtin_prefetch(d_bias[r] + j, 1);
        }
        for (int j = tile->low; j < tile->high && rows[r].mask && mask; j += 64) {
            __builtin_prefetch(rows[r].mask + j);
        }
    }
}

void touch_queries(const work_plan *plan, const work_task *task, const void *q, attn_strides strides,
                   int64_t width, int to_write) {
    const problem_t *p = plan->problem;
    const int64_t bytes = p->heads * width * dtype_size(p->dtype);
    for (int64_t i = 0; i < task->sequence.queries && strides.head == width && q; i++) {
        touch(query_row(p, &task->sequence, q, strides, i, 0), bytes, to_write);
    }
}

void touch_keys(const work_plan *plan, const work_task *task, const void *k, attn_strides strides,
                int64_t width, int to_write) {
    const problem_t *p = plan->problem;
    const int64_t bytes = p->kv_heads * width * dtype_size(p->dtype);
    for (int64_t j = 0; j < task->sequence.length && strides.head == width && k; j++) {
        touch(key_row(p, &task->sequence, k, strides, j, 0), bytes, to_write);
    }
}

/* --- rows ------------------------------------------------------------------------- */

/* A query before the first key sees nothing (bottom-right, more queries than keys) and has no
 * position: it is left alone. */
static void rotate_row(const problem_t *p, float *row, int64_t position, float direction) {
    if (position < 0) {
        return;
    }
    const int64_t half = p->rotary_d / 2;
    const float *cosine = p->rotary_cos + position * half, *sine = p->rotary_sin + position * half;
    const int64_t apart = p->rotary == ATTN_ROTARY_HALVES ? half : 1;
    const int64_t step = p->rotary == ATTN_ROTARY_HALVES ? 1 : 2;
    for (int64_t c = 0; c < half; c++) {
        float *x = row + c * step, *y = x + apart;
        float a = *x, b = *y, s = direction * sine[c];
        *x = a * cosine[c] - b * s;
        *y = a * s + b * cosine[c];
    }
}

double row_inverse_norm(const float *row, int width) {
    double sum = 0;
    for (int c = 0; c < width; c++) {
        sum += (double)row[c] * row[c];
    }
    return sum > 0 || sum != sum ? 1 / sqrt(sum) : 0;
}

static int row_finite(const float *row, int width) {
    int finite = 1;
    for (int c = 0; c < width; c++) {
        finite &= isfinite(row[c]) != 0;
    }
    return finite;
}

int load_rows(const work_plan *plan, const void *const *source, int count, int width, float *rows,
              int64_t ld, row_kind kind, const int32_t *positions) {
    const problem_t *p = plan->problem;
    int finite = (p->dtype == ATTN_F32 ? plan->tile->load_f32 : plan->tile->load_bf16)(
        source, count, width, rows, ld);
    if (kind != ROW_PLAIN && plan->transforms) {
        for (int r = 0; r < count; r++) {
            float *row = rows + r * ld;
            if (p->score == ATTN_SCORE_COSINE) {
                const double factor = row_inverse_norm(row, width); /* of tiny rows more than a float holds */
                for (int c = 0; c < width; c++) {
                    row[c] = (float)(row[c] * factor);
                }
            }
            if (p->rotary != ATTN_ROTARY_NONE) {
                rotate_row(p, row, positions[r], 1.0f);
                finite &= row_finite(row, width); /* sums of large values may not be */
            }
        }
    }
    return finite;
}

int load_key_rows(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t first, int keys,
                  float *rows, float *panels) {
    const problem_t *p = plan->problem;
    const void *source[BLOCK_KEYS];
    const float *loaded[BLOCK_KEYS] = {0};
    int32_t positions[BLOCK_KEYS];
    key_rows(p, &task->sequence, a->k, p->k, first, keys, task->kv_head, source);
    for (int j = 0; j < keys; j++) {
        loaded[j] = rows + j * plan->ldq;
        positions[j] = (int32_t)(first + j);
    }
    const int finite = load_rows(plan, source, keys, (int)p->d, rows, plan->ldq, ROW_KEY, positions);
    plan->tile->transpose(loaded, keys, (int)p->d, panels);
    return finite;
}

void unload_gradient(const work_plan *plan, const void *source, int width, int32_t position, float *row) {
    const problem_t *p = plan->problem;
    int any = 0;
    for (int c = 0; c < width && !any; c++) {
        any = row[c] != 0;
    }
    if (!any) { /* a row that sees nothing may hold anything */
        return;
    }
    if (p->rotary != ATTN_ROTARY_NONE) {
        rotate_row(p, row, position, -1.0f);
    }
    if (p->score == ATTN_SCORE_COSINE) {
        /* y = x / |x|: dx = (dy - y <y, dy>) / |x|; for x = 0, y = 0 and dx = 0 */
        float x[256 + 16];
        (p->dtype == ATTN_F32 ? plan->tile->load_f32 : plan->tile->load_bf16)(&source, 1, width, x,
                                                                              256 + 16);
        const double factor = row_inverse_norm(x, width);
        double along = 0;
        for (int c = 0; c < width; c++) {
            x[c] = (float)(x[c] * factor);
            along += (double)x[c] * row[c];
        }
        for (int c = 0; c < width; c++) {
            row[c] = (float)((row[c] - x[c] * along) * factor);
        }
    }
}

attn_status attn_rotary_apply(const attn_attention_problem *p, void *x, int64_t tokens,
                              int64_t heads, attn_strides strides, int64_t first_position,
                              int inverse) {
    problem_size size;
    attn_status status = problem_check(p, 1, &size);
    if (status) {
        return status;
    }
    if (p->rotary == ATTN_ROTARY_NONE) {
        return fail(ATTN_ERROR_ARGUMENT, "rotary: the problem has ATTN_ROTARY_NONE");
    }
    if (!x && tokens && heads) {
        return fail(ATTN_ERROR_ARGUMENT, "rotary: x is NULL");
    }
    if (tokens < 0 || heads < 0 || first_position < 0 || first_position > p->rotary_positions - tokens) {
        return fail(ATTN_ERROR_ARGUMENT,
                    "rotary: %lld tokens from position %lld on, the tables have %lld",
                    (long long)tokens, (long long)first_position, (long long)p->rotary_positions);
    }
    work_plan plan;
    if ((status = problem_check_strides("x", strides, 0, tokens, heads, 1)) ||
        (status = plan_make(&plan, p, 1))) {
        return status;
    }
    const tile_kernels *tile = plan.tile ? plan.tile : &tile_portable;
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t h = 0; h < heads; h++) {
            char *at = (char *)x + (t * strides.token + h * strides.head) * dtype_size(p->dtype);
            const void *source = at;
            float row[256 + 16];
            (p->dtype == ATTN_F32 ? tile->load_f32 : tile->load_bf16)(&source, 1, (int)p->d, row,
                                                                      256 + 16);
            rotate_row(p, row, first_position + t, inverse ? -1.0f : 1.0f);
            (p->dtype == ATTN_F32 ? tile->store_f32 : tile->store_bf16)(row, 1.0f, (int)p->d, at);
        }
    }
    return ATTN_OK;
}

/* Rows are spread evenly over the fewest tiles. */
int cut_tiles(const score_row *rows, int count, row_tile *tiles) {
    const int wanted = (count + TILE_ROWS - 1) / TILE_ROWS;
    int made = 0;
    for (int t = 0, first = 0; t < wanted; t++) {
        const int size = count / wanted + (t < count % wanted);
        row_tile tile = {.first = first, .count = size, .low = INT32_MAX, .high = 0};
        for (int r = first; r < first + size; r++) {
            if (rows[r].low < rows[r].high) {
                tile.low = rows[r].low < tile.low ? rows[r].low : tile.low;
                tile.high = rows[r].high > tile.high ? rows[r].high : tile.high;
            }
        }
        if (tile.low < tile.high) {
            tiles[made++] = tile;
        }
        first += size;
    }
    return made;
}

int cut_key_tiles(const score_row *rows, int count, int keys, row_tile *tiles) {
    const int wanted = (keys + TILE_ROWS - 1) / TILE_ROWS;
    int made = 0, all = 1;
    for (int r = 0; r < count && all; r++) {
        all = rows[r].low == 0 && rows[r].high == keys;
    }
    for (int t = 0, first = 0; t < wanted; t++) {
        const int size = keys / wanted + (t < keys % wanted);
        row_tile tile = {.first = first, .count = size, .low = 0, .high = count};
        if (!all) {
            while (tile.low < count &&
                   (rows[tile.low].low >= first + size || rows[tile.low].high <= first)) {
                tile.low++;
            }
            while (tile.high > tile.low && (rows[tile.high - 1].low >= first + size ||
                                            rows[tile.high - 1].high <= first)) {
                tile.high--;
            }
        }
        if (tile.low < tile.high) {
            tiles[made++] = tile;
        }
        first += size;
    }
    return made;
}

void fill_score_row(const work_plan *plan, const work_task *task, int64_t r, int64_t low, int64_t high,
                    int64_t first_key, int keys, score_row *row) {
    const problem_t *p = plan->problem;
    const int64_t from = low - first_key, to = high - first_key;
    row->low = (int32_t)(from < 0 ? 0 : from > keys ? keys : from);
    row->high = (int32_t)(to < row->low ? row->low : to > keys ? keys : to);
    row->alone = high - low == 1 && !p->sinks;
    if (!plan->rule.modified) {
        return;
    }
    const int64_t i = row_token(plan, r), head = row_head(plan, task, r);
    const int64_t b = task->sequence.index;
    row->bias = p->bias ? bias_at(p, b, head, i, first_key) : NULL;
    row->mask = p->mask ? mask_at(p, b, head, i, first_key) : NULL;
    row->slope = p->alibi ? p->alibi[head] : 0.0f;
    row->distance = (float)(i + task->sequence.shift - first_key);
}
