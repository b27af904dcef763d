/* One case run in every kernel that the processor has, against the f64 reference: the error may
 * be at most twice that of plain f32 (three times for gradients). And cases made from a seed. */
#ifndef ATTN_TESTS_ATTENTION_CHECK_H
#define ATTN_TESTS_ATTENTION_CHECK_H

#include "base/cpu.h"
#include "plain.h"

static inline double largest_difference(const void *x, const void *y, attn_dtype dtype, size_t count) {
    double most = 0;
    for (size_t i = 0; i < count; i++) {
        const double a = case_get(x, dtype, i), b = case_get(y, dtype, i);
        if (a == b || (a != a && b != b)) {
            continue;
        }
        const double difference = fabs(a - b);
        if (!(difference <= most)) {
            most = difference;
            if (difference != difference) {
                return INFINITY;
            }
        }
    }
    return most;
}

/* plain is f32 whatever the dtype */
/* 1 if it is worse than that. */
static inline int compare(const char *name, const char *kernel, const char *what, const void *got,
                    const void *want, attn_dtype dtype, const float *plain, size_t count,
                    double factor) {
    double size = 0, plain_error = 0;
    for (size_t i = 0; i < count; i++) {
        const double w = case_get(want, dtype, i);
        if (isfinite(w)) {
            size = fabs(w) > size ? fabs(w) : size;
            const double e = fabs(w - (double)plain[i]);
            plain_error = e > plain_error ? e : plain_error;
        }
    }
    const double error = largest_difference(got, want, dtype, count);
    /* an error of zero in plain is luck: allow the last bit of the largest element */
    const double unit = dtype == ATTN_F32 ? 0x1p-23 : 0x1p-8;
    const double bound = factor * plain_error + factor * unit * size;
    if (error <= bound) {
        return 0;
    }
    printf("%s, %s: error of %s %.3g, bound %.3g (plain %.3g, size %.3g)\n", name, kernel, what, error,
           bound, plain_error, size);
    return 1;
}

/* 1 if a kernel is worse, after saying so. */
static inline int run_case(const attention_case *c, uint64_t seed, int dtype) {
    attention_case with = *c;
    int bad = 0;
    with.dtype = (attn_dtype)dtype;
    case_arrays want = case_make(&with, seed);
    want.problem.kernel = ATTN_KERNEL_REFERENCE;
    if (case_forward(&want) || case_backward(&want)) {
        printf("%s: %s\n", c->name, attn_last_error());
        case_free(&want);
        return 1;
    }
    plain_result plain = plain_run(&want);
    for (int kernel = ATTN_KERNEL_PORTABLE; kernel <= ATTN_KERNEL_AVX512_BF16; kernel++) {
        if (kernel - ATTN_KERNEL_PORTABLE > (int)cpu_detected()) {
            continue;
        }
        case_arrays got = case_make(&with, seed);
        got.problem.kernel = (attn_kernel)kernel;
        char name[200];
        snprintf(name, sizeof name, "%s%s (seed %llu)", c->name, dtype ? " bf16" : "",
                 (unsigned long long)seed);
        const char *tile = cpu_level_name((cpu_level)(kernel - ATTN_KERNEL_PORTABLE));
        if (case_forward(&got) || case_backward(&got)) {
            printf("%s, %s: %s\n", name, tile, attn_last_error());
            bad = 1;
        } else {
            const attn_dtype t = with.dtype;
            bad |= compare(name, tile, "o", got.o, want.o, t, plain.o, want.o_count, 2);
            bad |= compare(name, tile, "log_sum_exp", got.log_sum_exp, want.log_sum_exp, ATTN_F32,
                    plain.log_sum_exp, want.rows, 2);
            bad |= compare(name, tile, "d_q", got.d_q, want.d_q, t, plain.d_q, want.q_count, 3);
            bad |= compare(name, tile, "d_k", got.d_k, want.d_k, t, plain.d_k, want.k_count, 3);
            bad |= compare(name, tile, "d_v", got.d_v, want.d_v, t, plain.d_v, want.v_count, 3);
            if (want.d_bias) {
                bad |= compare(name, tile, "d_bias", got.d_bias, want.d_bias, ATTN_F32, plain.d_bias,
                               want.bias_count, 3);
            }
            if (want.d_sinks) {
                /* a few numbers, each a sum over all rows: plain's error may be luck */
                bad |= compare(name, tile, "d_sinks", got.d_sinks, want.d_sinks, ATTN_F32, plain.d_sinks,
                               (size_t)c->heads, 8);
            }
        }
        case_free(&got);
    }
    plain_free(&plain);
    case_free(&want);
    return bad;
}

/* A case of any kind, of moderate size. */
static inline attention_case random_case(uint64_t seed) {
    uint64_t n = 0;
#define DRAW(bound) ((int)random_below(seed, n++, (uint32_t)(bound)))
    attention_case c = {.name = "random"};
    const int group = 1 + DRAW(4), self = DRAW(2);
    c.sequences = 1 + DRAW(4);
    c.kv_heads = 1 + DRAW(2);
    c.heads = c.kv_heads * group;
    const int most_queries = DRAW(3) ? 80 : 300, most_keys = DRAW(3) ? 80 : 300;
    c.queries = 1 + DRAW(most_queries);
    c.keys = self ? c.queries : 1 + DRAW(most_keys);
    c.d = DRAW(2) ? 16 * (1 + DRAW(6)) : 4 + DRAW(90);
    c.d_v = DRAW(2) ? c.d : 1 + DRAW(90);
    c.causal = (attn_causal)DRAW(3);
    c.packed = DRAW(2);
    c.fused = DRAW(2);
    c.dtype = (attn_dtype)DRAW(2);
    c.score = (attn_score)(DRAW(4) ? DRAW(3) : 3);
    if (c.score == ATTN_SCORE_DOT) {
        c.amplitude = 0.5f;
    }
    c.key_lengths = DRAW(4) == 0;
    if (c.score != ATTN_SCORE_LINEAR) {
        c.window = DRAW(4) == 0;
        c.left = DRAW(100);
        c.right = DRAW(100);
        c.mask = DRAW(4) == 0;
        c.bias = DRAW(3) ? 0 : 1 + DRAW(3);
        c.alibi = DRAW(4) == 0;
        c.sinks = DRAW(4) == 0;
        c.softcap = DRAW(4) ? 0 : 5.0f;
        c.dropout = DRAW(3) ? 0 : 0.2f;
        const int bottom_right_needs = c.causal == ATTN_CAUSAL_BOTTOM_RIGHT;
        c.rotary = bottom_right_needs || DRAW(3) ? 0 : 1 + DRAW(2); /* no negative positions */
    }
#undef DRAW
    return c;
}

#endif
