/* Decoding: a few queries of each sequence against a long cache of keys and values.
 * Reading the cache once is all the time there is to lose, so rows are used where they
 * lie, token by token with all of its heads, and the keys are cut into parts of PART_KEYS
 * that different threads may take: each part leaves a maximum, a sum and an unfinished
 * output, which are then added up in order (split over keys: Dao et al., "Flash-Decoding",
 * 2023). Rows of a part are numbered head by head: row h * rows + r is row r of
 * key/value head h. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "attention/passes.h"
#include "attention/reference.h"
#include "base/threads.h"

enum { PART_KEYS = 256, LD_SCORES = PART_KEYS + 16, MOST_QUERIES = 16 };

typedef struct decode_call {
    attention_arrays arrays;
    int64_t parts; /* of the longest sequence */
    char *partials;
    char *scratch;
    size_t scratch_size, partial_size;
} decode_call;

/* What a part leaves, all rows. */
typedef struct partial {
    float *maximum, *sum, *output;
} partial;

/* All rows of a part. */
typedef struct decode_scratch {
    float *q, *scores;
    score_row *rows;
    float *k_scales, *v_scales; /* [kv_heads][LD_SCORES] */
    const void **k, **v;        /* where the first head's rows lie */
} decode_scratch;

static int64_t most_rows(const work_plan *plan) {
    return plan->size.most_queries * plan->problem->heads;
}

static int64_t most_parts(const work_plan *plan) {
    const int64_t parts = (plan->size.most_keys + PART_KEYS - 1) / PART_KEYS;
    return parts > 0 ? parts : 1;
}

static size_t lay_out(const work_plan *plan, void *base, decode_scratch *s) {
    scratch_cursor at = {.base = base};
    const size_t rows = (size_t)most_rows(plan), scales = (size_t)plan->problem->kv_heads * LD_SCORES;
    s->q = scratch_take(&at, rows * (size_t)plan->ldq, sizeof(float));
    s->scores = scratch_take(&at, rows * LD_SCORES, sizeof(float));
    s->rows = scratch_take(&at, rows, sizeof(score_row));
    s->k_scales = scratch_take(&at, scales, sizeof(float));
    s->v_scales = scratch_take(&at, scales, sizeof(float));
    s->k = scratch_take(&at, PART_KEYS, sizeof(void *));
    s->v = scratch_take(&at, PART_KEYS, sizeof(void *));
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
                          int64_t number) {
    partial part;
    const int64_t index = sequence * call->parts + number;
    lay_out_partial(plan, call->partials + (size_t)index * call->partial_size, &part);
    return part;
}

/* Elements before row j of keys, values or their scales. */
static int64_t cache_at(const attn_attention_cache *cache, attn_strides strides, int64_t sequence, int64_t j,
                        int64_t head) {
    if (!cache->page_table) {
        return head * strides.head + sequence * strides.sequence + j * strides.token;
    }
    const int64_t page = cache->page_table[sequence * cache->page_table_stride + j / cache->page_size];
    return head * strides.head + page * strides.sequence + j % cache->page_size * strides.token;
}

const void *cache_row(const attn_attention_cache *cache, const void *base, attn_strides strides,
                      int64_t sequence, int64_t j, int64_t head) {
    return (const char *)base + cache_at(cache, strides, sequence, j, head) * dtype_size(cache->dtype);
}

float cache_scale(const attn_attention_cache *cache, const float *scales, attn_strides strides,
                  int64_t sequence, int64_t j, int64_t head) {
    return cache->dtype == ATTN_I8 ? scales[cache_at(cache, strides, sequence, j, head)] : 1.0f;
}

/* A part of a sequence's keys at work. */
typedef struct decode_part {
    work_task task; /* of all heads; kv_head where one is meant */
    int64_t first;  /* key */
    int keys;
    decode_scratch scratch;
    partial result;
} decode_part;

/* Queries, and what each row sees. Returns the keys that any of them sees, *low .. *high. */
static void load_queries(const work_plan *plan, const attention_arrays *a, decode_part *part, int *low,
                         int *high) {
    const problem_t *p = plan->problem;
    decode_scratch *s = &part->scratch;
    *low = part->keys;
    *high = 0;
    for (int64_t r = 0; r < part->task.count; r++) {
        const int64_t i = row_token(plan, r);
        const int32_t position = (int32_t)(i + part->task.sequence.shift);
        int64_t from, to;
        problem_visible(p, &part->task.sequence, i, &from, &to);
        for (int64_t h = 0; h < p->kv_heads; h++) {
            const int64_t n = h * part->task.count + r;
            const void *source = query_row(p, &part->task.sequence, a->q, p->q, i,
                                           h * plan->group + r % plan->group);
            load_rows(plan, &source, 1, (int)p->d, s->q + n * plan->ldq, plan->ldq, ROW_QUERY, &position);
            part->task.kv_head = h;
            fill_score_row(plan, &part->task, r, from, to, part->first, part->keys, s->rows + n);
            part->result.maximum[n] = -INFINITY;
            part->result.sum[n] = 0;
        }
        if (s->rows[r].low < s->rows[r].high) {
            *low = s->rows[r].low < *low ? s->rows[r].low : *low;
            *high = s->rows[r].high > *high ? s->rows[r].high : *high;
        }
    }
    memset(part->result.output, 0, (size_t)(part->task.count * p->kv_heads * plan->ldv) * sizeof(float));
}

/* Where the rows of keys low .. high of the part lie, and their scales. */
static void find_rows(const work_plan *plan, const attn_attention_cache *c, int low, int high,
                      decode_part *part) {
    const int64_t sequence = part->task.sequence.index;
    decode_scratch *s = &part->scratch;
    for (int j = low; j < high; j++) {
        s->k[j] = cache_row(c, c->k, c->k_strides, sequence, part->first + j, 0);
        s->v[j] = cache_row(c, c->v, c->v_strides, sequence, part->first + j, 0);
    }
    if (c->dtype != ATTN_I8) {
        return;
    }
    for (int j = low; j < high; j++) {
        const float *k = c->k_scales + cache_at(c, c->k_scale_strides, sequence, part->first + j, 0);
        const float *v = c->v_scales + cache_at(c, c->v_scale_strides, sequence, part->first + j, 0);
        for (int64_t h = 0; h < plan->problem->kv_heads; h++) {
            s->k_scales[h * LD_SCORES + j] = k[h * c->k_scale_strides.head];
            s->v_scales[h * LD_SCORES + j] = v[h * c->v_scale_strides.head];
        }
    }
}

/* Keys low .. high of a part, as the kernels take them. */
static cache_block block_of(const work_plan *plan, const attn_attention_cache *c, const decode_part *part,
                            int values, int low, int high) {
    const decode_scratch *s = &part->scratch;
    const attn_strides strides = values ? c->v_strides : c->k_strides;
    const float *scales = values ? s->v_scales : s->k_scales;
    return (cache_block){.dtype = c->dtype, .token = (values ? s->v : s->k) + low, .count = high - low,
                         .head_bytes = strides.head * dtype_size(c->dtype),
                         .heads = (int)plan->problem->kv_heads, .rows = (int)part->task.count,
                         .width = (int)(values ? plan->problem->d_v : plan->problem->d),
                         .scales = c->dtype == ATTN_I8 ? scales + low : NULL};
}

static void widen(attn_dtype dtype, const void *row, int64_t width, float *out) {
    for (int64_t e = 0; e < width; e++) {
        uint32_t bits;
        switch (dtype) {
        case ATTN_F32:
            out[e] = ((const float *)row)[e];
            break;
        case ATTN_BF16:
            bits = (uint32_t)((const uint16_t *)row)[e] << 16;
            memcpy(out + e, &bits, sizeof bits);
            break;
        case ATTN_I8:
            out[e] = ((const int8_t *)row)[e];
            break;
        }
    }
}

/* Cosine scores: instead of its scale, a key has one over its length. */
static void find_lengths(const work_plan *plan, const attn_attention_cache *c, int low, int high,
                         decode_part *part) {
    const int64_t width = plan->problem->d, head_bytes = c->k_strides.head * dtype_size(c->dtype);
    for (int j = low; j < high; j++) {
        for (int64_t h = 0; h < plan->problem->kv_heads; h++) {
            float row[256 + 16] = {0};
            widen(c->dtype, (const char *)part->scratch.k[j] + h * head_bytes, width, row);
            const float squared = plan->tile->dot(row, row, (int)width);
            double inverse = 1.0 / sqrt((double)squared);
            if (!(squared > 1e-30f && squared < 1e30f)) { /* squares that a float does not hold */
                inverse = row_inverse_norm(row, (int)width);
            }
            part->scratch.k_scales[h * LD_SCORES + j] = inverse > FLT_MAX ? FLT_MAX : (float)inverse;
        }
    }
}

/* Adds values so that rows leave out keys of weight 0: a hidden value that is not finite
 * stays out. */
static void add_values_carefully(const work_plan *plan, const cache_block *values, float *weights,
                                 float *output) {
    for (int64_t n = 0; n < (int64_t)values->heads * values->rows; n++) {
        const int64_t head = n / values->rows;
        for (int j = 0; j < values->count; j++) {
            if (weights[n * LD_SCORES + j] != 0) {
                const void *token = (const char *)values->token[j] + head * values->head_bytes;
                cache_block one = *values;
                float scale[16] = {0}, weight[16] = {weights[n * LD_SCORES + j]};
                one.token = &token;
                one.count = one.heads = one.rows = 1;
                if (values->scales) {
                    scale[0] = values->scales[head * LD_SCORES + j];
                    one.scales = scale;
                }
                plan->tile->cache_values(&one, weight, LD_SCORES, output + n * plan->ldv, plan->ldv);
            }
        }
    }
}

static void score_run(const work_plan *plan, const cache_block *keys, float *scores, float *q) {
    plan->tile->cache_scores(keys, q, plan->ldq, scores, LD_SCORES);
}

static void add_run(const work_plan *plan, const cache_block *values, float *weights, float *output) {
    plan->tile->cache_values(values, weights, LD_SCORES, output, plan->ldv);
}

/* Works on all heads of a block at once where a token's heads lie together, else head by
 * head, which then is the order in which rows are adjacent. */
static void each_run(const work_plan *plan, cache_block *block,
                     void (*work)(const work_plan *, const cache_block *, float *, float *),
                     float *scores, float *rows, int64_t ld) {
    const int64_t bytes = block->width * dtype_size(block->dtype);
    if (block->head_bytes >= bytes && block->head_bytes <= 2 * bytes) {
        work(plan, block, scores, rows);
        return;
    }
    cache_block one = *block;
    one.heads = 1;
    one.then = NULL;
    for (int h = 0; h < block->heads; h++) {
        work(plan, &one, scores + (int64_t)h * block->rows * LD_SCORES, rows + (int64_t)h * block->rows * ld);
        for (int j = 0; j < block->count; j++) {
            block->token[j] = (const char *)block->token[j] + block->head_bytes;
        }
        one.scales = one.scales ? one.scales + LD_SCORES : NULL;
    }
}

static void run_heads(const work_plan *plan, const attention_arrays *a, int careful, decode_part *part) {
    const problem_t *p = plan->problem;
    const attn_attention_cache *c = a->cache;
    decode_scratch *s = &part->scratch;
    int low, high;
    load_queries(plan, a, part, &low, &high);
    if (low >= high) {
        return;
    }
    /* whole vectors of the bits that a row has wherever its keys begin */
    low = low / 16 * 16;
    find_rows(plan, c, low, high, part);
    cache_block keys = block_of(plan, c, part, 0, low, high), values = block_of(plan, c, part, 1, low, high);
    if (p->score == ATTN_SCORE_COSINE) {
        find_lengths(plan, c, low, high, part);
        keys.scales = s->k_scales + low;
    }
    keys.then = &values;
    each_run(plan, &keys, score_run, s->scores + low, s->q, plan->ldq);
    const row_tile all = {.first = 0, .count = (int)(part->task.count * p->kv_heads), .low = low, .high = high};
    plan->tile->softmax(&all, 1, s->rows, &plan->rule, part->first, s->scores, LD_SCORES, NULL,
                        part->result.maximum, part->result.sum, part->result.output, plan->ldv,
                        plan_columns(plan, p->d_v));
    if (careful) {
        add_values_carefully(plan, &values, s->scores + low, part->result.output);
    } else {
        each_run(plan, &values, add_run, s->scores + low, part->result.output, plan->ldv);
    }
}

static int part_finite(const work_plan *plan, const decode_part *part) {
    float test = 0;
    for (int64_t n = 0; n < part->task.count * plan->problem->kv_heads * plan->ldv; n++) {
        test += part->result.output[n] * 0.0f;
    }
    return test == 0;
}

/* Maximum, sum and output of row n over its parts, added up in order. */
static float combine_row(const work_plan *plan, const decode_call *call, int64_t sequence, int64_t n,
                         int64_t parts, float sink, float *sum, float *output) {
    const float unit = plan->rule.modified ? 1.0f : 0.693147181f; /* maxima to natural ones */
    float most = sink;
    for (int64_t part = 0; part < parts; part++) {
        const float m = partial_of(plan, call, sequence, part).maximum[n] * unit;
        most = m > most ? m : most;
    }
    *sum = sink > -INFINITY ? expf(sink - most) : 0;
    for (int64_t number = 0; number < parts; number++) {
        const partial part = partial_of(plan, call, sequence, number);
        if (part.maximum[n] == -INFINITY && part.sum[n] == 0) {
            continue;
        }
        /* a part of scores that are no numbers has no maximum but a sum */
        const float m = part.maximum[n] * unit;
        const float factor = m == most || most == -INFINITY ? 1.0f : expf(m - most);
        *sum += part.sum[n] * factor;
        for (int64_t c = 0; c < plan->ldv; c++) {
            output[c] += part.output[n * plan->ldv + c] * factor;
        }
    }
    return most;
}

/* Writes the results of a sequence and head. */
static void combine(const work_plan *plan, const work_task *task, const decode_call *call,
                    int64_t parts) {
    const problem_t *p = plan->problem;
    for (int64_t r = 0; r < task->count; r++) {
        const int64_t i = row_token(plan, r), head = row_head(plan, task, r);
        float output[256 + 16], sum;
        memset(output, 0, (size_t)plan->ldv * sizeof(float));
        const float most = combine_row(plan, call, task->sequence.index, task->kv_head * task->count + r,
                                       parts, p->sinks ? p->sinks[head] : -INFINITY, &sum, output);
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
    decode_part part = {.task = head_task(plan, number / call->parts * heads), .first = n * PART_KEYS};
    const int64_t length = part.task.sequence.length, left = length - part.first;
    if (left <= 0 && n > 0) {
        return;
    }
    part.keys = (int)(left < PART_KEYS ? left : PART_KEYS);
    part.result = partial_of(plan, call, part.task.sequence.index, n);
    lay_out(plan, scratch, &part.scratch);
    run_heads(plan, &call->arrays, 0, &part);
    if (plan->hides && !part_finite(plan, &part)) {
        run_heads(plan, &call->arrays, 1, &part);
    }
    for (int64_t h = 0; h < heads && length <= PART_KEYS; h++) {
        part.task.kv_head = h;
        combine(plan, &part.task, call, 1);
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
    return lay_out_partial(plan, NULL, &part) * (size_t)(plan->problem->sequences * most_parts(plan));
}

size_t decode_workspace(const work_plan *plan) {
    decode_scratch s;
    return partials_size(plan) + plan_workspace(lay_out(plan, NULL, &s));
}

attn_status decode_check_size(const work_plan *plan) {
    return problem_check_pairs(plan->problem, &plan->size, 4 * (plan->ldv + 32));
}

/* Strides of keys, values or scales: pages take the place of sequences. */
static attn_status check_cache_strides(const work_plan *plan, const attn_attention_cache *c) {
    const problem_t *p = plan->problem;
    const int64_t blocks = c->page_table ? c->pages : p->sequences;
    const int64_t tokens = c->page_table ? c->page_size : p->keys;
    attn_status status;
    if ((status = problem_check_strides("the cache's k", c->k_strides, blocks, tokens, p->kv_heads, 0)) ||
        (status = problem_check_strides("the cache's v", c->v_strides, blocks, tokens, p->kv_heads, 0)) ||
        c->dtype != ATTN_I8 ||
        (status = problem_check_strides("k_scales", c->k_scale_strides, blocks, tokens, p->kv_heads, 0))) {
        return status;
    }
    return problem_check_strides("v_scales", c->v_scale_strides, blocks, tokens, p->kv_heads, 0);
}

static attn_status check_cache(const work_plan *plan, const attn_attention_cache *c) {
    const problem_t *p = plan->problem;
    attn_status status = decode_check_size(plan);
    if (status) {
        return status;
    }
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
    if (c->page_table && (c->page_size < 1 || c->pages < 0)) {
        return fail(ATTN_ERROR_ARGUMENT, "decode: page size %lld, %lld pages",
                    (long long)c->page_size, (long long)c->pages);
    }
    if ((status = check_cache_strides(plan, c))) {
        return status;
    }
    for (int64_t b = 0; b < p->sequences && c->page_table; b++) {
        const int64_t length = problem_sequence(p, b).length;
        const int64_t used = length ? (length - 1) / c->page_size + 1 : 0;
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
