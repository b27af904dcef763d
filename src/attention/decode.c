/* Decoding: a few queries of each sequence against a long cache of keys and values.
 * Reading the cache once is all the time there is to lose, so rows are used where they
 * lie, all heads of DECODE_KEYS tokens before the next tokens (they share pages), and the
 * keys are cut into parts of PART_KEYS that different threads may take:
 * each part leaves a maximum, a sum and an unfinished output, which are then added up
 * in order (split over keys: Dao et al., "Flash-Decoding", 2023). */
#include <math.h>
#include <string.h>

#include "attention/passes.h"
#include "attention/reference.h"
#include "base/threads.h"

enum { PART_KEYS = 256, DECODE_KEYS = 32, MOST_QUERIES = 16 };

typedef struct decode_call {
    attention_arrays arrays;
    int64_t parts; /* of the longest sequence */
    char *partials;
    char *scratch;
    size_t scratch_size, partial_size;
} decode_call;

/* What a part leaves for the rows of its head. */
typedef struct partial {
    float *maximum, *sum, *output;
} partial;

typedef struct decode_scratch {
    float *q, *scores; /* q: of all heads */
    score_row *rows;
    row_tile *tiles;
} decode_scratch;

static int64_t most_rows(const work_plan *plan) {
    return plan->size.most_queries * plan->group;
}

static int64_t most_parts(const work_plan *plan) {
    const int64_t parts = (plan->size.most_keys + PART_KEYS - 1) / PART_KEYS;
    return parts > 0 ? parts : 1;
}

static size_t lay_out(const work_plan *plan, void *base, decode_scratch *s) {
    scratch_cursor at = {.base = base};
    const size_t rows = (size_t)most_rows(plan);
    s->q = scratch_take(&at, rows * (size_t)(plan->ldq * plan->problem->kv_heads), sizeof(float));
    s->scores = scratch_take(&at, rows * DECODE_KEYS, sizeof(float));
    s->rows = scratch_take(&at, rows, sizeof(score_row));
    s->tiles = scratch_take(&at, rows, sizeof(row_tile));
    return at.used;
}

static size_t lay_out_partial(const work_plan *plan, void *base, partial *part) {
    scratch_cursor at = {.base = base};
    const size_t rows = (size_t)most_rows(plan);
    part->maximum = scratch_take(&at, rows, sizeof(float));
    part->sum = scratch_take(&at, rows, sizeof(float));
    part->output = scratch_take(&at, rows * (size_t)plan->ldv, sizeof(float));
    return at.used;
}

static partial partial_of(const work_plan *plan, const decode_call *call, int64_t sequence,
                          int64_t kv_head, int64_t number) {
    partial part;
    const int64_t index = (sequence * plan->problem->kv_heads + kv_head) * call->parts + number;
    lay_out_partial(plan, call->partials + (size_t)index * call->partial_size, &part);
    return part;
}

const void *cache_row(const attn_attention_cache *cache, const void *base, attn_strides strides,
                      int64_t sequence, int64_t j, int64_t head) {
    int64_t at = head * strides.head;
    if (cache->page_table) {
        const int64_t page = cache->page_table[sequence * cache->page_table_stride +
                                               j / cache->page_size];
        at += page * strides.sequence + j % cache->page_size * strides.token;
    } else {
        at += sequence * strides.sequence + j * strides.token;
    }
    return (const char *)base + at * dtype_size(cache->dtype);
}

float cache_scale(const attn_attention_cache *cache, const float *scales, attn_strides strides,
                  int64_t sequence, int64_t j, int64_t head) {
    if (cache->dtype != ATTN_I8) {
        return 1.0f;
    }
    attn_attention_cache as_f32 = *cache;
    as_f32.dtype = ATTN_F32;
    return *(const float *)cache_row(&as_f32, scales, strides, sequence, j, head);
}

static void load_queries(const work_plan *plan, const work_task *task, const attention_arrays *a,
                         decode_scratch *s, partial *part) {
    const problem_t *p = plan->problem;
    for (int64_t r = 0; r < task->count; r++) {
        const int64_t i = r / plan->group, head = task->kv_head * plan->group + r % plan->group;
        const void *source = query_row(p, &task->sequence, a->q, p->q, i, head);
        const int32_t position = (int32_t)(i + task->sequence.shift);
        load_rows(plan, &source, 1, (int)p->d, s->q + r * plan->ldq, plan->ldq, ROW_QUERY, &position);
        part->maximum[r] = -INFINITY;
        part->sum[r] = 0;
    }
    memset(part->output, 0, (size_t)(task->count * plan->ldv) * sizeof(float));
}

/* Where the rows of a block lie. */
typedef struct block_rows {
    const void *k[DECODE_KEYS], *v[DECODE_KEYS];
} block_rows;

static void find_rows(const work_task *task, const attn_attention_cache *c, int64_t first, int keys,
                      block_rows *rows) {
    for (int j = 0; j < DECODE_KEYS; j++) {
        rows->k[j] = j >= keys ? NULL
                               : cache_row(c, c->k, c->k_strides, task->sequence.index, first + j,
                                           task->kv_head);
        rows->v[j] = j >= keys ? NULL
                               : cache_row(c, c->v, c->v_strides, task->sequence.index, first + j,
                                           task->kv_head);
    }
}

/* Scores of a block of keys, read where they lie; the values are asked for meanwhile. */
static void score_block(const work_plan *plan, const work_task *task, const attn_attention_cache *c,
                        int64_t first, int keys, const block_rows *block, decode_scratch *s) {
    const problem_t *p = plan->problem;
    const void *const *rows = block->k;
    plan->tile->cache_scores(c->dtype, s->q, plan->ldq, (int)task->count, rows, keys, (int)p->d,
                             s->scores, DECODE_KEYS, block->v,
                             (int)(p->d_v * dtype_size(c->dtype)));
    if (p->score == ATTN_SCORE_COSINE) {
        for (int j = 0; j < keys; j++) {
            float one[256 + 16] = {0};
            for (int64_t e = 0; e < p->d; e++) {
                uint16_t half;
                uint32_t bits;
                switch (c->dtype) {
                case ATTN_F32:
                    memcpy(one + e, (const float *)rows[j] + e, sizeof(float));
                    break;
                case ATTN_BF16:
                    memcpy(&half, (const uint16_t *)rows[j] + e, sizeof half);
                    bits = (uint32_t)half << 16;
                    memcpy(one + e, &bits, sizeof bits);
                    break;
                case ATTN_I8:
                    one[e] = ((const int8_t *)rows[j])[e];
                    break;
                }
            }
            const float squared = plan->tile->dot(one, one, (int)p->d);
            const float factor = squared == 0 ? 0 : 1.0f / sqrtf(squared);
            for (int64_t r = 0; r < task->count; r++) {
                s->scores[r * DECODE_KEYS + j] *= factor;
            }
        }
    } else if (c->dtype == ATTN_I8) {
        for (int j = 0; j < keys; j++) {
            const float scale = cache_scale(c, c->k_scales, c->k_scale_strides,
                                            task->sequence.index, first + j, task->kv_head);
            for (int64_t r = 0; r < task->count; r++) {
                s->scores[r * DECODE_KEYS + j] *= scale;
            }
        }
    }
}

/* Adds the block's values. With `careful`, rows leave out keys of weight 0, so that a
 * hidden value that is not finite stays out. */
static void add_values(const work_plan *plan, const work_task *task, const attn_attention_cache *c,
                       int64_t first, int keys, int careful, const block_rows *block,
                       const block_rows *next, decode_scratch *s, partial *part) {
    const int width = (int)plan->problem->d_v;
    const void *const *rows = block->v;
    for (int j = 0; j < keys; j++) {
        if (c->dtype == ATTN_I8) {
            const float scale = cache_scale(c, c->v_scales, c->v_scale_strides,
                                            task->sequence.index, first + j, task->kv_head);
            for (int64_t r = 0; r < task->count; r++) {
                s->scores[r * DECODE_KEYS + j] *= scale;
            }
        }
    }
    if (!careful) {
        plan->tile->cache_values(c->dtype, s->scores, DECODE_KEYS, (int)task->count, rows, keys, width,
                                 part->output, plan->ldv, next->k,
                                 (int)(plan->problem->d * dtype_size(c->dtype)));
        return;
    }
    for (int64_t r = 0; r < task->count; r++) {
        for (int j = 0; j < keys; j++) {
            if (s->scores[r * DECODE_KEYS + j] != 0) {
                plan->tile->cache_values(c->dtype, s->scores + r * DECODE_KEYS + j, DECODE_KEYS, 1,
                                         rows + j, 1, width, part->output + r * plan->ldv, plan->ldv,
                                         NULL, 0);
            }
        }
    }
}

/* A block of keys for one head. */
static void decode_block(const work_plan *plan, const work_task *task, const attention_arrays *a,
                         int64_t first, int keys, int careful, const block_rows *block,
                         const block_rows *next, decode_scratch *s, partial *part) {
    for (int64_t r = 0; r < task->count; r++) {
        int64_t low, high;
        problem_visible(plan->problem, &task->sequence, r / plan->group, &low, &high);
        fill_score_row(plan, task, r, low, high, first, keys, s->rows + r);
    }
    const int tiles = cut_tiles(s->rows, (int)task->count, s->tiles);
    if (tiles == 0) {
        return;
    }
    memset(s->scores, 0, (size_t)task->count * DECODE_KEYS * sizeof(float));
    score_block(plan, task, a->cache, first, keys, block, s);
    /* whole rows, so that what lies outside every tile's range becomes 0 as well */
    for (int t = 0; t < tiles; t++) {
        s->tiles[t].low = 0;
        s->tiles[t].high = keys;
    }
    for (int64_t r = 0; r < task->count; r++) {
        if (s->rows[r].low >= s->rows[r].high) {
            memset(s->scores + r * DECODE_KEYS, 0, DECODE_KEYS * sizeof(float));
        }
    }
    const int columns = (int)(plan->problem->d_v + plan->tile->vector - 1) / plan->tile->vector *
                        plan->tile->vector;
    plan->tile->softmax(s->tiles, tiles, s->rows, &plan->rule, first, s->scores, DECODE_KEYS,
                        part->maximum, part->sum, part->output, plan->ldv, columns);
    add_values(plan, task, a->cache, first, keys, careful, block, next, s, part);
}

static int keys_from(int64_t first, int64_t to) {
    return (int)(to - first < 0 ? 0 : to - first < DECODE_KEYS ? to - first : DECODE_KEYS);
}

/* Keys from .. to of one sequence, all heads. */
static void decode_part(const work_plan *plan, const decode_call *call, work_task *task,
                        int64_t number, int careful, decode_scratch *all) {
    const attention_arrays *a = &call->arrays;
    const int64_t heads = plan->problem->kv_heads, from = number * PART_KEYS;
    const int64_t length = task->sequence.length;
    const int64_t to = from + PART_KEYS < length ? from + PART_KEYS : length;
    const size_t head_q = (size_t)(most_rows(plan) * plan->ldq);
    block_rows rows[2];
    int turn = 0;
    for (int64_t h = 0; h < heads; h++) {
        decode_scratch s = *all;
        partial part = partial_of(plan, call, task->sequence.index, h, number);
        s.q += (size_t)h * head_q;
        task->kv_head = h;
        load_queries(plan, task, a, &s, &part);
    }
    task->kv_head = 0;
    find_rows(task, a->cache, from, keys_from(from, to), &rows[turn]);
    for (int64_t first = from; first < to; first += DECODE_KEYS) {
        for (int64_t h = 0; h < heads; h++, turn ^= 1) {
            decode_scratch s = *all;
            partial part = partial_of(plan, call, task->sequence.index, h, number);
            const int64_t then = h + 1 < heads ? first : first + DECODE_KEYS;
            s.q += (size_t)h * head_q;
            task->kv_head = h + 1 < heads ? h + 1 : 0;
            find_rows(task, a->cache, then, keys_from(then, length), &rows[turn ^ 1]);
            task->kv_head = h;
            decode_block(plan, task, a, first, keys_from(first, to), careful, &rows[turn],
                         &rows[turn ^ 1], &s, &part);
        }
    }
}

static int part_finite(const work_plan *plan, const work_task *task, const partial *part) {
    float test = 0;
    for (int64_t n = 0; n < task->count * plan->ldv; n++) {
        test += part->output[n] * 0.0f;
    }
    return test == 0;
}

/* Adds the parts of a sequence and head up in order and writes the result. */
static void combine(const work_plan *plan, const work_task *task, const decode_call *call,
                    int64_t parts) {
    const problem_t *p = plan->problem;
    const float unit = plan->rule.modified ? 1.0f : 0.693147181f; /* maxima to natural ones */
    for (int64_t r = 0; r < task->count; r++) {
        const int64_t i = r / plan->group, head = task->kv_head * plan->group + r % plan->group;
        float most = p->sinks ? p->sinks[head] : -INFINITY;
        float output[256 + 16] = {0}, sum;
        for (int64_t n = 0; n < parts; n++) {
            const partial part = partial_of(plan, call, task->sequence.index, task->kv_head, n);
            const float m = part.maximum[r] * unit;
            most = m > most ? m : most;
        }
        sum = p->sinks && most > -INFINITY ? expf(p->sinks[head] - most) : 0;
        for (int64_t n = 0; n < parts && most > -INFINITY; n++) {
            const partial part = partial_of(plan, call, task->sequence.index, task->kv_head, n);
            const float factor = expf(part.maximum[r] * unit - most);
            if (part.maximum[r] == -INFINITY && part.sum[r] == 0) {
                continue;
            }
            sum += part.sum[r] * factor;
            for (int64_t c = 0; c < p->d_v; c++) {
                output[c] += part.output[r * plan->ldv + c] * factor;
            }
        }
        /* a part of scores that are no numbers has no maximum but a sum */
        for (int64_t n = 0; n < parts && most == -INFINITY; n++) {
            const partial part = partial_of(plan, call, task->sequence.index, task->kv_head, n);
            sum += part.sum[r];
            for (int64_t c = 0; c < p->d_v; c++) {
                output[c] += part.output[r * plan->ldv + c];
            }
        }
        void *target = (void *)(uintptr_t)query_row(p, &task->sequence, call->arrays.out, p->o, i, head);
        (p->dtype == ATTN_F32 ? plan->tile->store_f32 : plan->tile->store_bf16)(
            output, sum == 0 ? 0.0f : 1.0f / sum, (int)p->d_v, target);
        if (call->arrays.log_sum_exp) {
            call->arrays.log_sum_exp[head * plan->size.q_tokens + task->sequence.q_first + i] =
                sum == 0 ? -INFINITY : (most == -INFINITY ? 0 : most) + logf(sum);
        }
    }
}

static work_task head_task(const work_plan *plan, int64_t number) {
    work_task task = {.sequence = problem_sequence(plan->problem, number / plan->problem->kv_heads)};
    task.kv_head = number % plan->problem->kv_heads;
    task.count = task.sequence.queries * plan->group;
    return task;
}

/* Part `number` of all parts of all sequences. */
static void run_part(const work_plan *plan, const decode_call *call, int64_t number, char *scratch) {
    const int64_t heads = plan->problem->kv_heads, n = number % call->parts;
    work_task task = head_task(plan, number / call->parts * heads);
    const int64_t length = task.sequence.length;
    if (n * PART_KEYS >= length && n > 0) {
        return;
    }
    decode_scratch s;
    lay_out(plan, scratch, &s);
    decode_part(plan, call, &task, n, 0, &s);
    int finite = 1;
    for (int64_t h = 0; h < heads && plan->hides; h++) {
        partial part = partial_of(plan, call, task.sequence.index, h, n);
        finite &= part_finite(plan, &task, &part);
    }
    if (!finite) {
        decode_part(plan, call, &task, n, 1, &s);
    }
    for (int64_t h = 0; h < heads && length <= PART_KEYS; h++) {
        task.kv_head = h;
        combine(plan, &task, call, 1);
    }
}

static void run_all(const work_plan *plan, const decode_call *call, int threads) {
    const int64_t heads = plan->problem->sequences * plan->problem->kv_heads;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
    for (int64_t number = 0; number < plan->problem->sequences * call->parts; number++) {
        run_part(plan, call, number, call->scratch + (size_t)threads_index() * call->scratch_size);
    }
    if (call->parts > 1) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
        for (int64_t number = 0; number < heads; number++) {
            work_task task = head_task(plan, number);
            if (task.sequence.length > PART_KEYS) {
                combine(plan, &task, call, (task.sequence.length + PART_KEYS - 1) / PART_KEYS);
            }
        }
    }
}

static size_t partials_size(const work_plan *plan) {
    partial part;
    return lay_out_partial(plan, NULL, &part) *
           (size_t)(plan->problem->sequences * plan->problem->kv_heads * most_parts(plan));
}

size_t decode_workspace(const work_plan *plan) {
    decode_scratch s;
    return partials_size(plan) + plan_workspace(lay_out(plan, NULL, &s));
}

static attn_status check_cache(const work_plan *plan, const attn_attention_cache *c) {
    const problem_t *p = plan->problem;
    if (plan->size.most_queries > MOST_QUERIES) {
        return fail(ATTN_ERROR_ARGUMENT, "decode: %lld queries in a sequence, expected at most %d",
                    (long long)plan->size.most_queries, MOST_QUERIES);
    }
    if (p->dropout > 0) {
        return fail(ATTN_ERROR_ARGUMENT, "decode: dropout %g, expected 0", (double)p->dropout);
    }
    if (c->dtype != ATTN_F32 && c->dtype != ATTN_BF16 && c->dtype != ATTN_I8) {
        return fail(ATTN_ERROR_ARGUMENT, "decode: unknown dtype %d of the cache", (int)c->dtype);
    }
    if (plan->size.k_tokens && (!c->k || !c->v)) {
        return fail(ATTN_ERROR_ARGUMENT, "decode: k or v of the cache is NULL");
    }
    if (c->dtype == ATTN_I8 && plan->size.k_tokens && (!c->k_scales || !c->v_scales)) {
        return fail(ATTN_ERROR_ARGUMENT, "decode: an int8 cache without its scales");
    }
    if (!c->page_table) {
        return ATTN_OK;
    }
    if (c->page_size < 1 || c->pages < 0) {
        return fail(ATTN_ERROR_ARGUMENT, "decode: page size %lld, %lld pages",
                    (long long)c->page_size, (long long)c->pages);
    }
    for (int64_t b = 0; b < p->sequences; b++) {
        const int64_t used = (problem_sequence(p, b).length + c->page_size - 1) / c->page_size;
        for (int64_t n = 0; n < used; n++) {
            const int64_t page = c->page_table[b * c->page_table_stride + n];
            if (page < 0 || page >= c->pages) {
                return fail(ATTN_ERROR_ARGUMENT,
                            "decode: page %lld of sequence %lld is %lld, expected 0 to %lld",
                            (long long)n, (long long)b, (long long)page, (long long)c->pages - 1);
            }
        }
    }
    return ATTN_OK;
}

attn_status attn_attention_decode(const attn_attention_problem *given,
                                  const attn_attention_cache *cache, const void *q, void *o,
                                  float *log_sum_exp, void *workspace, size_t workspace_size) {
    work_plan plan;
    if (!given || !cache) {
        return fail(ATTN_ERROR_ARGUMENT, "decode: the problem or the cache is NULL");
    }
    attn_attention_problem problem = *given;
    problem.k_offsets = (attn_indices){0};
    attn_status status = plan_make(&plan, &problem, 1);
    if (status || (status = check_cache(&plan, cache))) {
        return status;
    }
    if (plan.size.q_tokens && (!q || !o)) {
        return fail(ATTN_ERROR_ARGUMENT, "decode: q or o is NULL");
    }
    decode_scratch s;
    partial part;
    decode_call call = {.arrays = {.q = q, .out = o, .log_sum_exp = log_sum_exp, .cache = cache}};
    call.parts = most_parts(&plan);
    call.scratch_size = lay_out(&plan, NULL, &s);
    call.partial_size = lay_out_partial(&plan, NULL, &part);
    const size_t partials = partials_size(&plan);
    if ((status = plan_check_workspace(workspace, workspace_size, partials + call.scratch_size))) {
        return status;
    }
    if (plan.size.q_tokens == 0) {
        return ATTN_OK;
    }
    call.partials = (char *)(((uintptr_t)workspace + 63) & ~(uintptr_t)63);
    call.scratch = call.partials + partials;
    const int64_t heads = problem.sequences * problem.kv_heads;
    if (!plan.tile || problem.score == ATTN_SCORE_LINEAR) {
        for (int64_t number = 0; number < heads; number++) {
            work_task task = head_task(&plan, number);
            reference_forward(&plan, &task, &call.arrays);
        }
        return ATTN_OK;
    }
    const int64_t room = (int64_t)((workspace_size - 64 - partials) /
                                   (call.scratch_size ? call.scratch_size : 1));
    const int64_t wanted = plan_threads(&plan), threads = wanted < room ? wanted : room;
    run_all(&plan, &call, (int)threads);
    return ATTN_OK;
}
