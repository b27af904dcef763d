#include "infer/kept_context.h"

#include <attn/attention.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"

enum { MOST_HEAD_DIM = 256 }; /* the operator's */

static int64_t row_width(const kept_context *k) {
    return 2 * k->kv_heads * k->head_dim;
}

static size_t sums_size(const kept_context *k) {
    return (size_t)(k->kv_heads * k->head_dim * (k->head_dim + 1));
}

attn_status kept_context_open(kept_context *k, const language_config *c, int64_t tokens) {
    *k = (kept_context){.span = c->span, .heads = c->heads, .kv_heads = c->kv_heads, .head_dim = c->head_dim};
    if (c->span.kind == ATTENTION_LINEAR) {
        if (c->head_dim > MOST_HEAD_DIM) {
            return fail(ATTN_ERROR_UNSUPPORTED, "a head is %d wide, at most %d is supported", c->head_dim, MOST_HEAD_DIM);
        }
        k->sums = memory_allocate(sums_size(k), sizeof *k->sums);
        return k->sums ? ATTN_OK : ATTN_ERROR_MEMORY;
    }
    /* Twice the window: the older half is moved away once in so many tokens. */
    int64_t enough = 2 * (int64_t)c->span.window;
    k->room = c->span.kind == ATTENTION_WINDOW && enough < tokens ? enough : tokens;
    k->rows = memory_allocate((size_t)k->room, (size_t)row_width(k) * sizeof *k->rows);
    return k->rows ? ATTN_OK : ATTN_ERROR_MEMORY;
}

void kept_context_close(kept_context *k) {
    memory_free(k->rows);
    memory_free(k->sums);
    *k = (kept_context){.count = 0};
}

void kept_context_clear(kept_context *k) {
    k->count = 0;
    if (k->sums) {
        memset(k->sums, 0, sums_size(k) * sizeof *k->sums);
    }
}

static float feature(float x) {
    return x > 0 ? x + 1.0f : expf(x);
}

static void add_to_sums(kept_context *k, const float *keys, const float *values) {
    int64_t d = k->head_dim;
    for (int64_t h = 0; h < k->kv_heads; h++) {
        for (int64_t i = 0; i < d; i++) {
            double weight = (double)feature(keys[h * d + i]), *sums = k->sums + (h * d + i) * (d + 1);
            for (int64_t j = 0; j < d; j++) {
                sums[j] += weight * (double)values[h * d + j];
            }
            sums[d] += weight;
        }
    }
}

void kept_context_add(kept_context *k, const float *keys_values, int64_t count, int64_t stride) {
    int64_t width = row_width(k);
    if (k->sums) {
        for (int64_t r = 0; r < count; r++) {
            add_to_sums(k, keys_values + r * stride, keys_values + r * stride + width / 2);
        }
        return;
    }
    if (k->span.kind == ATTENTION_WINDOW && count > k->span.window) {
        keys_values += (count - k->span.window) * stride;
        count = k->span.window;
        k->count = 0;
    }
    if (k->count + count > k->room) {
        int64_t kept = k->count < k->span.window ? k->count : k->span.window - 1;
        memmove(k->rows, k->rows + (k->count - kept) * width, (size_t)(kept * width) * sizeof *k->rows);
        k->count = kept;
    }
    for (int64_t r = 0; r < count; r++) {
        memcpy(k->rows + (k->count + r) * width, keys_values + r * stride, (size_t)width * sizeof *k->rows);
    }
    k->count += count;
}

static void attend_to_sums(const kept_context *k, const float *queries, float *out) {
    int64_t d = k->head_dim, group = k->heads / k->kv_heads;
    for (int64_t h = 0; h < k->heads; h++) {
        const double *sums = k->sums + h / group * d * (d + 1);
        double total[MOST_HEAD_DIM + 1] = {0};
        for (int64_t i = 0; i < d; i++) {
            double weight = (double)feature(queries[h * d + i]);
            for (int64_t j = 0; j <= d; j++) {
                total[j] += weight * sums[i * (d + 1) + j];
            }
        }
        for (int64_t j = 0; j < d; j++) {
            out[h * d + j] = (float)(total[d] > 0 ? total[j] / total[d] : 0);
        }
    }
}

attn_status kept_context_attend(const kept_context *k, tape *t, const float *queries, float *out) {
    if (k->sums) {
        attend_to_sums(k, queries, out);
        return ATTN_OK;
    }
    int64_t width = row_width(k), seen = k->count;
    seen = k->span.kind == ATTENTION_WINDOW && seen > k->span.window ? k->span.window : seen;
    const float *rows = k->rows + (k->count - seen) * width;
    attn_attention_problem problem;
    attn_attention_defaults(&problem, k->heads, k->kv_heads, k->head_dim, k->head_dim);
    attn_attention_batch(&problem, 1, 1, seen);
    const attn_strides strides = {.sequence = width * k->room, .token = width, .head = k->head_dim};
    attn_attention_cache kept = {.dtype = ATTN_F32, .k = rows, .v = rows + width / 2, .k_strides = strides,
                                 .v_strides = strides, .page_size = 1};
    arena_mark mark = arena_get_mark(t->memory);
    size_t size = 0;
    attn_status status = attn_attention_workspace(&problem, ATTN_PASS_DECODE, &size);
    void *workspace = status ? NULL : tape_memory(t, (int64_t)size, 1);
    if (workspace) {
        status = attn_attention_decode(&problem, &kept, queries, out, NULL, workspace, size);
    }
    arena_return_to(t->memory, mark);
    return status ? status : t->status;
}
