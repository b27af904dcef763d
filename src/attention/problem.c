/* A problem's defaults and checks, and the geometry of its sequences. */
#include "attention/problem.h"

#include <math.h>
#include <string.h>

void attn_attention_defaults(attn_attention_problem *p, int64_t heads, int64_t kv_heads, int64_t d,
                             int64_t d_v) {
    memset(p, 0, sizeof *p);
    p->sequences = 1;
    p->heads = heads;
    p->kv_heads = kv_heads;
    p->d = d;
    p->d_v = d_v;
    p->q = p->d_q = (attn_strides){.token = heads * d, .head = d};
    p->k = p->d_k = (attn_strides){.token = kv_heads * d, .head = d};
    p->v = p->d_v_ = (attn_strides){.token = kv_heads * d_v, .head = d_v};
    p->o = p->d_o = (attn_strides){.token = heads * d_v, .head = d_v};
    p->scale = d > 0 ? 1.0f / sqrtf((float)d) : 1.0f;
    p->softcap = INFINITY;
    p->window_left = ATTN_WINDOW_UNLIMITED;
    p->window_right = ATTN_WINDOW_UNLIMITED;
}

void attn_attention_batch(attn_attention_problem *p, int64_t sequences, int64_t queries,
                          int64_t keys) {
    p->sequences = sequences;
    p->queries = queries;
    p->keys = keys;
    p->q.sequence = queries * p->q.token;
    p->d_q.sequence = queries * p->d_q.token;
    p->o.sequence = queries * p->o.token;
    p->d_o.sequence = queries * p->d_o.token;
    p->k.sequence = keys * p->k.token;
    p->d_k.sequence = keys * p->d_k.token;
    p->v.sequence = keys * p->v.token;
    p->d_v_.sequence = keys * p->d_v_.token;
}

void attn_attention_packed(attn_attention_problem *p, int64_t sequences, const int32_t *q_offsets,
                           const int32_t *k_offsets) {
    p->sequences = sequences;
    p->q_offsets = (attn_indices){.i32 = q_offsets};
    p->k_offsets = (attn_indices){.i32 = k_offsets};
}

static int is_set(attn_indices indices) {
    return indices.i32 || indices.i64;
}

attn_status problem_check_strides(const char *name, attn_strides s, int64_t sequences, int64_t tokens,
                                  int64_t heads, int packed) {
    int64_t a, b, c = 0, sum;
    if (__builtin_mul_overflow(s.token, tokens, &a) || __builtin_mul_overflow(s.head, heads, &b) ||
        (!packed && __builtin_mul_overflow(s.sequence, sequences, &c)) ||
        __builtin_add_overflow(a, b, &sum) || __builtin_add_overflow(sum, c, &sum) ||
        sum > INT64_MAX / 16 || sum < -(INT64_MAX / 16)) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: the strides of %s overflow: token %lld, head %lld, "
                    "sequence %lld", name, (long long)s.token, (long long)s.head,
                    (long long)s.sequence);
    }
    return ATTN_OK;
}

static attn_status check_score_strides(const char *name, attn_score_strides s, const problem_t *p,
                                       const problem_size *size) {
    int64_t a, b, c, d, sum;
    if (__builtin_mul_overflow(s.sequence, p->sequences, &a) ||
        __builtin_mul_overflow(s.head, p->heads, &b) ||
        __builtin_mul_overflow(s.query, size->most_queries, &c) ||
        __builtin_mul_overflow(s.key, size->most_keys, &d) || __builtin_add_overflow(a, b, &sum) ||
        __builtin_add_overflow(sum, c, &sum) || __builtin_add_overflow(sum, d, &sum) ||
        sum > INT64_MAX / 16 || sum < -(INT64_MAX / 16)) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: the strides of the %s overflow", name);
    }
    return ATTN_OK;
}

static attn_status check_offsets(const char *name, attn_indices offsets, int64_t sequences,
                                 int64_t *end, int64_t *most) {
    if (offsets.i32 && offsets.i64) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: %s has both an i32 and an i64 pointer", name);
    }
    int64_t before = index_at(offsets, 0);
    if (before < 0) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: %s[0] is %lld, expected 0 or more", name,
                    (long long)before);
    }
    for (int64_t b = 1; b <= sequences; b++) {
        int64_t now = index_at(offsets, b);
        if (now < before) {
            return fail(ATTN_ERROR_ARGUMENT, "attention: %s falls from %lld to %lld at %lld", name,
                        (long long)before, (long long)now, (long long)b);
        }
        *most = now - before > *most ? now - before : *most;
        before = now;
    }
    *end = before;
    return ATTN_OK;
}

static attn_status check_sequences(const problem_t *p, int caches, problem_size *size) {
    attn_status status;
    *size = (problem_size){0};
    if (p->sequences < 0 || p->sequences > INT32_MAX) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: %lld sequences, expected 0 to 2^31-1",
                    (long long)p->sequences);
    }
    if (!caches && is_set(p->q_offsets) != is_set(p->k_offsets)) {
        return fail(ATTN_ERROR_ARGUMENT,
                    "attention: q_offsets and k_offsets must be given both or not at all");
    }
    if (is_set(p->q_offsets)) {
        status = check_offsets("q_offsets", p->q_offsets, p->sequences, &size->q_tokens,
                               &size->most_queries);
        if (status) {
            return status;
        }
    } else {
        if (p->queries < 0 || __builtin_mul_overflow(p->sequences, p->queries, &size->q_tokens)) {
            return fail(ATTN_ERROR_ARGUMENT, "attention: %lld queries in a sequence",
                        (long long)p->queries);
        }
        size->most_queries = p->sequences ? p->queries : 0;
    }
    if (is_set(p->k_offsets) && !caches) {
        status = check_offsets("k_offsets", p->k_offsets, p->sequences, &size->k_tokens,
                               &size->most_keys);
        if (status) {
            return status;
        }
    } else {
        if (p->keys < 0 || __builtin_mul_overflow(p->sequences, p->keys, &size->k_tokens)) {
            return fail(ATTN_ERROR_ARGUMENT, "attention: %lld keys in a sequence",
                        (long long)p->keys);
        }
        size->most_keys = p->sequences ? p->keys : 0;
    }
    if (p->key_lengths.i32 && p->key_lengths.i64) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: key_lengths has both an i32 and an i64 pointer");
    }
    if (is_set(p->key_lengths)) {
        for (int64_t b = 0; b < p->sequences; b++) {
            int64_t length = index_at(p->key_lengths, b);
            int64_t keys = is_set(p->k_offsets) && !caches
                               ? index_at(p->k_offsets, b + 1) - index_at(p->k_offsets, b)
                               : p->keys;
            if (length < 0 || length > keys) {
                return fail(ATTN_ERROR_ARGUMENT,
                            "attention: key_lengths[%lld] is %lld, expected 0 to %lld",
                            (long long)b, (long long)length, (long long)keys);
            }
        }
    }
    /* Indices within a sequence are 32 bits wide in the kernels. */
    if (size->most_queries > INT32_MAX / 2 || size->most_keys > INT32_MAX / 2) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: a sequence of more than 2^30 tokens");
    }
    return ATTN_OK;
}

/* Rows and pairs are counted in 64 bits, and workspaces in bytes: a row of every kind takes less than
 * 2^14 of them, so that 2^40 rows on 2^9 threads are still a number. */
static attn_status check_extent(const problem_t *p, const problem_size *size) {
    const int64_t most = (int64_t)1 << 40;
    const int64_t tokens = size->q_tokens > size->k_tokens ? size->q_tokens : size->k_tokens;
    if (tokens > most / p->heads) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: %lld tokens of %lld heads are more than 2^40 rows",
                    (long long)tokens, (long long)p->heads);
    }
    return ATTN_OK;
}

attn_status problem_check_pairs(const problem_t *p, const problem_size *size, int64_t each) {
    int64_t pairs;
    if (__builtin_mul_overflow(p->heads, size->q_tokens, &pairs) ||
        __builtin_mul_overflow(pairs, size->most_keys, &pairs) ||
        __builtin_mul_overflow(pairs, each, &pairs) || pairs > INT64_MAX / 16) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: %lld queries of %lld heads on %lld keys are too many to count",
                    (long long)size->q_tokens, (long long)p->heads, (long long)size->most_keys);
    }
    return ATTN_OK;
}

static attn_status check_ranges(const problem_t *p) {
    if (p->dtype != ATTN_F32 && p->dtype != ATTN_BF16) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: dtype %d, expected ATTN_F32 or ATTN_BF16",
                    (int)p->dtype);
    }
    if ((int)p->kernel < ATTN_KERNEL_AUTO || p->kernel > ATTN_KERNEL_AVX512_BF16) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: unknown kernel %d", (int)p->kernel);
    }
    if (p->heads > 1 << 20) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: %lld heads, expected 1 to 2^20", (long long)p->heads);
    }
    if (p->heads < 1 || p->kv_heads < 1 || p->heads % p->kv_heads != 0) {
        return fail(ATTN_ERROR_ARGUMENT,
                    "attention: %lld heads and %lld key/value heads: the second must divide the first",
                    (long long)p->heads, (long long)p->kv_heads);
    }
    if (p->d < 1 || p->d > 256 || p->d_v < 1 || p->d_v > 256) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: d %lld and d_v %lld, expected 1 to 256",
                    (long long)p->d, (long long)p->d_v);
    }
    if ((int)p->score < 0 || p->score > ATTN_SCORE_LINEAR) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: unknown score %d", (int)p->score);
    }
    if ((int)p->causal < 0 || p->causal > ATTN_CAUSAL_BOTTOM_RIGHT) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: unknown causal kind %d", (int)p->causal);
    }
    if (!isfinite(p->scale)) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: scale %g is not finite", (double)p->scale);
    }
    if (!(p->softcap > 0)) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: softcap %g, expected more than 0",
                    (double)p->softcap);
    }
    if (p->window_left < 0 || p->window_right < 0) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: window %lld, %lld, expected 0 or more",
                    (long long)p->window_left, (long long)p->window_right);
    }
    if (!(p->dropout >= 0 && p->dropout < 1)) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: dropout %g, expected 0 <= dropout < 1",
                    (double)p->dropout);
    }
    return ATTN_OK;
}

static attn_status check_rotary(const problem_t *p, const problem_size *size, int caches) {
    if (p->rotary == ATTN_ROTARY_NONE) {
        return ATTN_OK;
    }
    if (p->rotary != ATTN_ROTARY_HALVES && p->rotary != ATTN_ROTARY_INTERLEAVED) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: unknown rotary kind %d", (int)p->rotary);
    }
    if (!p->rotary_cos || !p->rotary_sin) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: rotary positions without their tables");
    }
    if (p->rotary_d < 2 || p->rotary_d % 2 || p->rotary_d > p->d) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: rotary_d %lld, expected even, 2 to %lld",
                    (long long)p->rotary_d, (long long)p->d);
    }
    if (size->most_keys > p->rotary_positions && !caches) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: %lld rotary positions for %lld keys",
                    (long long)p->rotary_positions, (long long)size->most_keys);
    }
    for (int64_t b = 0; b < p->sequences; b++) {
        sequence_view s = problem_sequence(p, b);
        if (s.queries && s.queries + s.shift > p->rotary_positions) {
            return fail(ATTN_ERROR_ARGUMENT,
                        "attention: sequence %lld has query positions %lld to %lld, the rotary "
                        "tables 0 to %lld", (long long)b, (long long)s.shift,
                        (long long)(s.queries + s.shift - 1), (long long)p->rotary_positions - 1);
        }
    }
    return ATTN_OK;
}

attn_status problem_check(const problem_t *p, int caches, problem_size *size) {
    attn_status status;
    if (!p) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: the problem is NULL");
    }
    const int packed = problem_packed(p);
    if ((status = check_ranges(p)) || (status = check_sequences(p, caches, size)) ||
        (status = check_extent(p, size)) ||
        (status = problem_check_strides("q", p->q, p->sequences, size->q_tokens, p->heads, packed)) ||
        (status = problem_check_strides("o", p->o, p->sequences, size->q_tokens, p->heads, packed))) {
        return status;
    }
    if (!caches &&
        ((status = problem_check_strides("k", p->k, p->sequences, size->k_tokens, p->heads, packed)) ||
         (status = problem_check_strides("v", p->v, p->sequences, size->k_tokens, p->heads, packed)) ||
         (status = problem_check_strides("d_q", p->d_q, p->sequences, size->q_tokens, p->heads, packed)) ||
         (status = problem_check_strides("d_o", p->d_o, p->sequences, size->q_tokens, p->heads, packed)) ||
         (status = problem_check_strides("d_k", p->d_k, p->sequences, size->k_tokens, p->heads, packed)) ||
         (status = problem_check_strides("d_v", p->d_v_, p->sequences, size->k_tokens, p->heads, packed)))) {
        return status;
    }
    if ((p->bias && (status = check_score_strides("bias", p->bias_strides, p, size))) ||
        (p->mask && (status = check_score_strides("mask", p->mask_strides, p, size)))) {
        return status;
    }
    return check_rotary(p, size, caches);
}

sequence_view problem_sequence(const problem_t *p, int64_t b) {
    sequence_view s = {.index = b};
    if (is_set(p->q_offsets)) {
        s.q_first = index_at(p->q_offsets, b);
        s.queries = index_at(p->q_offsets, b + 1) - s.q_first;
    } else {
        s.q_first = b * p->queries;
        s.queries = p->queries;
    }
    if (is_set(p->k_offsets)) {
        s.k_first = index_at(p->k_offsets, b);
        s.keys = index_at(p->k_offsets, b + 1) - s.k_first;
    } else {
        s.k_first = b * p->keys;
        s.keys = p->keys;
    }
    s.length = is_set(p->key_lengths) ? index_at(p->key_lengths, b) : s.keys;
    s.shift = p->causal == ATTN_CAUSAL_BOTTOM_RIGHT ? s.length - s.queries : 0;
    return s;
}

int problem_hides(const problem_t *p) {
    return p->causal != ATTN_CAUSAL_NONE || p->window_left != ATTN_WINDOW_UNLIMITED ||
           p->window_right != ATTN_WINDOW_UNLIMITED || p->mask || p->bias;
}
