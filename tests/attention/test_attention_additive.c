/* Additive attention in every kernel against itself written out in f64, and all of its gradients
 * against that one's central differences, with every kind of mask. */
#include "cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <omp.h>

enum { SEQUENCES = 3, HEADS = 4, KV = 2, D = 5, DV = 6, WIDTH = 7 };
static const int32_t Q_OFFSETS[] = {0, 9, 9, 60}, K_OFFSETS[] = {0, 12, 20, 160}, LENGTHS[] = {0, 3, 133};
enum { Q_TOKENS = 60, K_TOKENS = 160, MOST_Q = 51, MOST_K = 140 };

typedef struct variant {
    const char *name;
    attn_causal causal;
    int window, mask, alibi, sinks, lengths;
    int bias; /* 1: [sequences, heads, q, k], 2: the same over sequences, 3: over heads, 4: over all, [k] */
    float softcap, dropout;
} variant;

static const variant VARIANTS[] = {
    {.name = "causal, dropout", .causal = ATTN_CAUSAL_BOTTOM_RIGHT, .dropout = 0.2f},
    {.name = "top left, sinks, lengths", .causal = ATTN_CAUSAL_TOP_LEFT, .sinks = 1, .lengths = 1},
    {.name = "bias, soft cap, window", .bias = 1, .softcap = 2, .window = 1},
    {.name = "bias over sequences, mask", .bias = 2, .mask = 1, .sinks = 1},
    {.name = "bias over heads, slopes", .bias = 3, .alibi = 1, .causal = ATTN_CAUSAL_BOTTOM_RIGHT},
    {.name = "bias over all but keys", .bias = 4, .mask = 1, .dropout = 0.3f},
};
enum { VARIANT_COUNT = sizeof VARIANTS / sizeof *VARIANTS };

typedef struct inputs { /* in f64, one after the other */
    double q[Q_TOKENS * HEADS * D], k[K_TOKENS * KV * D], v[K_TOKENS * KV * DV];
    double w[HEADS * WIDTH * D], u[HEADS * WIDTH * D], b[HEADS * WIDTH], s[HEADS * WIDTH];
    double sinks[HEADS], bias[SEQUENCES * HEADS * MOST_Q * MOST_K];
} inputs;

typedef struct inputs_f32 {
    float q[Q_TOKENS * HEADS * D], k[K_TOKENS * KV * D], v[K_TOKENS * KV * DV];
    float w[HEADS * WIDTH * D], u[HEADS * WIDTH * D], b[HEADS * WIDTH], s[HEADS * WIDTH];
    float sinks[HEADS], bias[SEQUENCES * HEADS * MOST_Q * MOST_K];
} inputs_f32;

enum { INPUTS = sizeof(inputs_f32) / sizeof(float), BIAS_AT = offsetof(inputs_f32, bias) / sizeof(float) };

static inputs X;
static inputs_f32 F, G;
static float O[Q_TOKENS * HEADS * DV], D_O[Q_TOKENS * HEADS * DV], LSE[HEADS * Q_TOKENS];
static uint8_t MASK[HEADS * MOST_Q * MOST_K];
static const float SLOPES[HEADS] = {0.5f, 0.1f, 0.03f, 0.01f};

static attn_attention_problem problem(const variant *c) {
    attn_attention_problem p;
    attn_attention_defaults(&p, HEADS, KV, D, DV);
    attn_attention_packed(&p, SEQUENCES, Q_OFFSETS, K_OFFSETS);
    p.causal = c->causal;
    p.dropout = c->dropout;
    p.dropout_seed = 5;
    p.softcap = c->softcap > 0 ? c->softcap : INFINITY;
    p.window_left = c->window ? 30 : ATTN_WINDOW_UNLIMITED;
    p.window_right = c->window ? 20 : ATTN_WINDOW_UNLIMITED;
    p.alibi = c->alibi ? SLOPES : NULL;
    p.sinks = c->sinks ? F.sinks : NULL;
    p.key_lengths.i32 = c->lengths ? LENGTHS : NULL;
    if (c->mask) { /* differs from head to head, also within a group */
        p.mask = MASK;
        p.mask_strides = (attn_score_strides){0, MOST_Q * MOST_K, MOST_K, 1};
    }
    if (c->bias) {
        p.bias = F.bias;
        p.bias_strides = (attn_score_strides){c->bias == 1 || c->bias == 3 ? HEADS * MOST_Q * MOST_K : 0,
                                              c->bias < 3 ? MOST_Q * MOST_K : 0, c->bias < 4 ? MOST_K : 0, 1};
    }
    return p;
}

static double naive_score(const attn_attention_problem *p, const sequence_view *s, int64_t h, int64_t i,
                          int64_t j, const double *a) {
    const int64_t kj = (s->k_first + j) * KV + h / (HEADS / KV);
    double score = 0;
    for (int c = 0; c < WIDTH; c++) {
        double u = a[c];
        for (int e = 0; e < D; e++) {
            u += X.u[(h * WIDTH + c) * D + e] * X.k[kj * D + e];
        }
        score += X.s[h * WIDTH + c] * tanh(u);
    }
    score = p->softcap < INFINITY ? (double)p->softcap * tanh(score / (double)p->softcap) : score;
    score -= p->alibi ? (double)p->alibi[h] * fabs((double)(i + s->shift - j)) : 0;
    return score + (p->bias ? X.bias[bias_at(p, s->index, h, i, j) - p->bias] : 0);
}

/* <d_o, o> of a row; o is written where it is wanted */
static double naive_row(const attn_attention_problem *p, const sequence_view *s, int64_t h, int64_t i, float *o) {
    const uint32_t threshold = dropout_threshold(p->dropout);
    const int64_t qi = (s->q_first + i) * HEADS + h;
    const dropout_row keys = dropout_row_keys(dropout_head_key(p->dropout_seed, s->index, h), i);
    double a[WIDTH], weight[MOST_K] = {0}, sum = p->sinks ? exp(X.sinks[h]) : 0, out[DV] = {0}, total = 0;
    int64_t low, high;
    problem_visible(p, s, i, &low, &high);
    for (int c = 0; c < WIDTH; c++) {
        a[c] = X.b[h * WIDTH + c];
        for (int e = 0; e < D; e++) {
            a[c] += X.w[(h * WIDTH + c) * D + e] * X.q[qi * D + e];
        }
    }
    for (int64_t j = low; j < high; j++) {
        weight[j] = p->mask && !*mask_at(p, s->index, h, i, j) ? 0 : exp(naive_score(p, s, h, i, j, a));
        sum += weight[j];
    }
    for (int64_t j = low; j < high && sum > 0; j++) {
        const int64_t kj = (s->k_first + j) * KV + h / (HEADS / KV);
        const double keep = dropout_bits(keys, j) < threshold ? 0 : (double)dropout_scale(threshold);
        for (int e = 0; e < DV; e++) {
            out[e] += weight[j] / sum * keep * X.v[kj * DV + e];
        }
    }
    for (int e = 0; e < DV; e++) {
        total += out[e] * (double)D_O[qi * DV + e];
        if (o) {
            o[qi * DV + e] = (float)out[e];
        }
    }
    return total;
}

/* sum(d_o * o), the rows of a query token or (-1) all */
static double naive(const variant *c, float *o, int64_t token) {
    const attn_attention_problem p = problem(c);
    double total = 0;
    for (int b = 0; b < SEQUENCES; b++) {
        const sequence_view s = problem_sequence(&p, b);
        for (int64_t h = 0; h < HEADS; h++) {
            for (int64_t i = 0; i < s.queries; i++) {
                total += token < 0 || token == s.q_first + i ? naive_row(&p, &s, h, i, o) : 0;
            }
        }
    }
    return total;
}

static void fill(void) {
    float *f = (float *)&F;
    double *x = (double *)&X;
    for (size_t i = 0; i < INPUTS; i++) {
        f[i] = random_normal(11, i);
        x[i] = (double)f[i];
    }
    for (size_t i = 0; i < sizeof O / sizeof(float); i++) {
        D_O[i] = random_normal(12, i);
    }
    for (size_t i = 0; i < sizeof MASK; i++) {
        MASK[i] = random_uniform(13, i) < 0.7f;
    }
}

static void run(const variant *c, int kernel) {
    attn_attention_problem p = problem(c);
    const attn_additive_parameters w = {WIDTH, F.w, F.u, F.b, F.s};
    const attn_additive_gradients g = {.q = G.q, .k = G.k, .v = G.v, .w = G.w, .u = G.u, .b = G.b, .score_v = G.s,
                                       .bias = c->bias ? G.bias : NULL, .sinks = c->sinks ? G.sinks : NULL};
    size_t size, backward;
    p.kernel = (attn_kernel)kernel;
    assert_int_equal(attn_additive_workspace(&p, WIDTH, ATTN_PASS_FORWARD, &size), 0);
    assert_int_equal(attn_additive_workspace(&p, WIDTH, ATTN_PASS_BACKWARD, &backward), 0);
    char *workspace = case_new((size > backward ? size : backward) + 1, 1);
    memset(&G, 0xff, sizeof G);
    assert_int_equal(attn_additive_forward(&p, &w, F.q, F.k, F.v, O, LSE, workspace + 1, size), 0);
    assert_int_equal(attn_additive_backward(&p, &w, F.q, F.k, F.v, O, LSE, D_O, &g, workspace + 1, backward), 0);
    free(workspace);
}

/* The elements that get a gradient in this variant: of a broadcast bias only the first ones. */
static size_t inputs_used(const variant *c) {
    const size_t all[] = {0, SEQUENCES * HEADS * MOST_Q * MOST_K, HEADS * MOST_Q * MOST_K, 0, MOST_K};
    return BIAS_AT + (c->bias == 3 ? 2 * HEADS * MOST_Q * MOST_K + MOST_Q * MOST_K : all[c->bias]);
}

static void output_and_gradients_are_the_formula(void **state) {
    (void)state;
    static float want[Q_TOKENS * HEADS * DV];
    static inputs_f32 gradients[ATTN_KERNEL_AVX512_BF16 + 1];
    fill();
    for (int n = 0; n < VARIANT_COUNT; n++) {
        const variant *c = &VARIANTS[n];
        naive(c, want, -1);
        for (int kernel = ATTN_KERNEL_REFERENCE; kernel <= last_kernel(); kernel++) {
            run(c, kernel);
            gradients[kernel] = G;
            for (size_t i = 0; i < sizeof O / sizeof(float); i++) {
                if (!(fabsf(O[i] - want[i]) < 3e-6f)) {
                    fail_msg("%s, kernel %d: o[%zu] is %g, expected %g", c->name, kernel, i, (double)O[i],
                             (double)want[i]);
                }
            }
        }
        double *x = (double *)&X;
        const size_t count = inputs_used(c), step_to = count > 4000 ? 499 : 37;
        for (size_t i = (size_t)n % 7; i < count; i += i < BIAS_AT ? 37 : step_to) {
            if (i >= BIAS_AT - HEADS && i < BIAS_AT && !c->sinks) {
                continue;
            }
            const int64_t token = i < Q_TOKENS * HEADS * D ? (int64_t)i / (HEADS * D) : -1;
            const double before = x[i], step = 1e-5;
            x[i] = before + step;
            const double plus = naive(c, NULL, token);
            x[i] = before - step;
            const double slope = (plus - naive(c, NULL, token)) / (2 * step);
            x[i] = before;
            for (int kernel = ATTN_KERNEL_REFERENCE; kernel <= last_kernel(); kernel++) {
                const float got = ((const float *)&gradients[kernel])[i];
                /* bias elements between the rows of short sequences are used by none */
                if (slope == 0 && isnan(got) && i >= BIAS_AT) {
                    continue;
                }
                if (!(fabs(slope - (double)got) < 1e-5 * (1 + fabs(slope)))) {
                    fail_msg("%s, kernel %d: gradient %zu is %g, central difference %g", c->name, kernel, i,
                             (double)got, slope);
                }
            }
        }
    }
}

static void bf16_is_f32_rounded(void **state) {
    (void)state;
    enum { Q = Q_TOKENS * HEADS * D, K = K_TOKENS * KV * D, V = K_TOKENS * KV * DV, N = Q_TOKENS * HEADS * DV };
    static uint16_t q[Q], k[K], v[V], o[N], d_o[N], d_q[Q], d_k[K], d_v[V];
    fill();
    for (size_t i = 0; i < Q + K + V + N; i++) {
        uint16_t *to = i < Q ? q + i : i < Q + K ? k + (i - Q) : i < Q + K + V ? v + (i - Q - K) : d_o + (i - Q - K - V);
        float *from = i < Q + K + V ? F.q + i : D_O + (i - Q - K - V);
        *to = to_bf16(*from);
        *from = from_bf16(*to);
    }
    for (int n = 0; n < VARIANT_COUNT; n++) {
        for (int kernel = ATTN_KERNEL_REFERENCE; kernel <= last_kernel(); kernel++) {
            const variant *c = &VARIANTS[n];
            attn_attention_problem p = problem(c);
            const attn_additive_parameters w = {WIDTH, F.w, F.u, F.b, F.s};
            static inputs_f32 g;
            const attn_additive_gradients to = {.q = d_q, .k = d_k, .v = d_v, .w = g.w, .u = g.u, .b = g.b,
                                                .score_v = g.s, .bias = c->bias ? g.bias : NULL};
            size_t size;
            run(c, kernel);
            p.kernel = (attn_kernel)kernel;
            p.dtype = ATTN_BF16;
            assert_int_equal(attn_additive_workspace(&p, WIDTH, ATTN_PASS_BACKWARD, &size), 0);
            void *workspace = case_new(size, 1);
            assert_int_equal(attn_additive_forward(&p, &w, q, k, v, o, LSE, workspace, size), 0);
            assert_int_equal(attn_additive_backward(&p, &w, q, k, v, o, LSE, d_o, &to, workspace, size), 0);
            free(workspace);
            const struct {
                const uint16_t *got;
                const float *want;
                size_t count;
            } pairs[] = {{o, O, N}, {d_q, G.q, Q}, {d_k, G.k, K}, {d_v, G.v, V}};
            for (size_t a = 0; a < 4; a++) {
                float most = 0;
                for (size_t i = 0; i < pairs[a].count; i++) {
                    most = fmaxf(most, fabsf(pairs[a].want[i]));
                }
                for (size_t i = 0; i < pairs[a].count; i++) { /* half a unit for o and, through o, delta; three for gradients */
                    if (!(fabsf(from_bf16(pairs[a].got[i]) - pairs[a].want[i]) <= most * (a ? 3 : 1) * 0x1p-8f)) {
                        fail_msg("%s, kernel %d: array %zu, element %zu is %g, expected %g", c->name, kernel, a, i,
                                 (double)from_bf16(pairs[a].got[i]), (double)pairs[a].want[i]);
                    }
                }
            }
        }
    }
}

static void threads_give_the_same_bits(void **state) {
    (void)state;
    static inputs_f32 one;
    static float o[Q_TOKENS * HEADS * DV];
    fill();
    for (int n = 0; n < VARIANT_COUNT; n++) {
        omp_set_num_threads(1);
        run(&VARIANTS[n], ATTN_KERNEL_AUTO);
        memcpy(&one, &G, sizeof G);
        memcpy(o, O, sizeof O);
        for (int threads = 1; threads <= 7; threads += threads == 3 ? 4 : 1) {
            omp_set_num_threads(threads);
            run(&VARIANTS[n], ATTN_KERNEL_AUTO);
            assert_memory_equal(&one, &G, sizeof G);
            assert_memory_equal(o, O, sizeof O);
        }
    }
    omp_set_num_threads(2);
}

static void weights_times_values_is_the_output(void **state) {
    (void)state;
    static float weights[HEADS * (9 * 12 + 51 * 140)];
    fill();
    for (int n = 0; n < VARIANT_COUNT; n++) {
        for (int kernel = ATTN_KERNEL_REFERENCE; kernel <= last_kernel(); kernel++) {
            attn_attention_problem p = problem(&VARIANTS[n]);
            const attn_additive_parameters w = {WIDTH, F.w, F.u, F.b, F.s};
            size_t size;
            run(&VARIANTS[n], kernel);
            p.kernel = (attn_kernel)kernel;
            assert_int_equal(attn_additive_workspace(&p, WIDTH, ATTN_PASS_WEIGHTS, &size), 0);
            void *workspace = case_new(size, 1);
            assert_int_equal(attn_additive_weights(&p, &w, F.q, F.k, weights, workspace, size), 0);
            free(workspace);
            const float *row = weights;
            for (int b = 0; b < SEQUENCES; b++) {
                const sequence_view s = problem_sequence(&p, b);
                for (int64_t h = 0; h < HEADS; h++) {
                    for (int64_t i = 0; i < s.queries; i++, row += s.keys) {
                        double sum = 0;
                        for (int64_t j = 0; j < s.keys; j++) {
                            sum += (double)row[j] * (double)F.v[((s.k_first + j) * KV + h / 2) * DV + 2];
                        }
                        assert_true(fabs(sum - (double)O[((s.q_first + i) * HEADS + h) * DV + 2]) < 3e-6);
                    }
                }
            }
        }
    }
}

/* Key 130 of the last sequence, hidden from some by causality or mask (also from one head of a group and
 * not from the other), from all by a bias. */
static void hidden_poison_never_leaks(void **state) {
    (void)state;
    static inputs_f32 clean;
    static float o[Q_TOKENS * HEADS * DV];
    const variant hiding[] = {{.name = "causal", .causal = ATTN_CAUSAL_BOTTOM_RIGHT},
                              {.name = "mask", .mask = 1}, {.name = "bias", .bias = 1}};
    const size_t key = (size_t)K_OFFSETS[2] + 130;
    for (int n = 0; n < 3; n++) {
        for (int kernel = ATTN_KERNEL_REFERENCE; kernel <= last_kernel(); kernel++) {
            fill();
            for (size_t i = 0; i < HEADS * MOST_Q; i++) {
                F.bias[(2 * HEADS * MOST_Q + i) * MOST_K + 130] = -INFINITY;
            }
            const attn_attention_problem p = problem(&hiding[n]);
            const sequence_view s = problem_sequence(&p, 2);
            run(&hiding[n], kernel);
            memcpy(o, O, sizeof O);
            memcpy(&clean, &G, sizeof G);
            for (size_t e = 0; e < KV * D; e++) {
                F.k[key * KV * D + e] = NAN;
            }
            for (size_t e = 0; e < KV * DV; e++) {
                F.v[key * KV * DV + e] = INFINITY;
            }
            run(&hiding[n], kernel);
            for (int64_t i = 0; i < s.queries; i++) {
                for (int64_t h = 0; h < HEADS; h++) {
                    const int64_t row = (s.q_first + i) * HEADS + h;
                    int64_t low, high;
                    problem_visible(&p, &s, i, &low, &high);
                    if (n == 2 || high <= 130 || (p.mask && !*mask_at(&p, 2, h, i, 130))) {
                        for (int64_t e = 0; e < DV; e++) {
                            assert_true(fabsf(O[row * DV + e] - o[row * DV + e]) < 1e-5f);
                        }
                        for (int64_t e = 0; e < D; e++) {
                            assert_true(fabsf(G.q[row * D + e] - clean.q[row * D + e]) < 1e-4f);
                        }
                    } else {
                        assert_true(isnan(O[row * DV]));
                    }
                }
            }
            for (size_t i = 0; i < HEADS * WIDTH * D && n == 2; i++) { /* seen by nobody: no sum has it */
                assert_true(fabsf(G.w[i] - clean.w[i]) < 1e-3f && fabsf(G.u[i] - clean.u[i]) < 1e-3f);
            }
            for (size_t j = 0; j < K_TOKENS && n == 2; j++) {
                assert_true(fabsf(G.k[j * KV * D] - clean.k[j * KV * D]) < 1e-4f);
            }
        }
    }
}

/* A bias that takes every score to 16,384, where the log-sum-exp's last bit is 2e-3 of a weight: a row's
 * weights must sum to 1 all the same, so that all dV together are the sum of dO. */
static void large_scores_keep_the_sum_of_the_weights(void **state) {
    (void)state;
    const variant c = {.name = "large", .bias = 1};
    for (int kernel = ATTN_KERNEL_REFERENCE; kernel <= last_kernel(); kernel++) {
        fill();
        for (size_t i = 0; i < sizeof F.bias / sizeof(float); i++) {
            F.bias[i] = 16384;
        }
        run(&c, kernel);
        for (int e = 0; e < DV; e++) {
            double sum = 0;
            for (int64_t j = K_OFFSETS[2]; j < K_OFFSETS[3]; j++) {
                sum += (double)G.v[j * KV * DV + e];
            }
            for (int64_t i = Q_OFFSETS[2]; i < Q_OFFSETS[3]; i++) {
                sum -= (double)D_O[i * HEADS * DV + e] + (double)D_O[(i * HEADS + 1) * DV + e];
            }
            assert_true(fabs(sum) < 1e-4);
        }
    }
}

static void wrong_arguments_are_refused_and_touch_nothing(void **state) {
    (void)state;
    const variant c = {.name = "plain"};
    fill();
    run(&c, ATTN_KERNEL_AUTO);
    for (int wrong = 0; wrong < 12; wrong++) {
        attn_attention_problem p = problem(&c);
        attn_additive_parameters w = {WIDTH, F.w, F.u, F.b, F.s};
        attn_additive_gradients g = {.q = G.q, .k = G.k, .v = G.v, .w = G.w, .u = G.u, .b = G.b, .score_v = G.s};
        static char workspace[1 << 22];
        size_t size = sizeof workspace;
        const float *q = F.q;
        switch (wrong) {
        case 0: w.width = 0; break;
        case 1: w.width = 4097; break;
        case 2: w.u = NULL; break;
        case 3: q = NULL; break;
        case 4: size = 5000; break;
        case 5: p.kv_heads = 3; break;
        case 6: g.bias = G.bias; break;  /* there is none */
        case 7: g.sinks = G.sinks; break;
        case 8: p.dtype = ATTN_I8; break;
        case 9: p.softcap = -1; break;
        case 10: p.queries = -1; p.q_offsets = p.k_offsets = (attn_indices){0}; break;
        case 11: p.heads = p.kv_heads = 0; break;
        }
        memset(&G, 0x5a, sizeof G);
        memset(O, 0x5a, sizeof O);
        if (wrong != 6 && wrong != 7) {
            assert_int_equal(attn_additive_forward(&p, &w, q, F.k, F.v, O, LSE, workspace, size), ATTN_ERROR_ARGUMENT);
            assert_true(attn_last_error()[0] != 0);
        }
        assert_int_equal(attn_additive_backward(&p, &w, q, F.k, F.v, O, LSE, D_O, &g, workspace, size),
                         ATTN_ERROR_ARGUMENT);
        for (size_t i = 0; i < sizeof G; i++) {
            assert_int_equal(((unsigned char *)&G)[i], 0x5a);
        }
        for (size_t i = 0; i < sizeof O; i++) {
            assert_int_equal(((unsigned char *)O)[i], 0x5a);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_and_gradients_are_the_formula),
        cmocka_unit_test(bf16_is_f32_rounded),
        cmocka_unit_test(threads_give_the_same_bits),
        cmocka_unit_test(weights_times_values_is_the_output),
        cmocka_unit_test(hidden_poison_never_leaks),
        cmocka_unit_test(large_scores_keep_the_sum_of_the_weights),
        cmocka_unit_test(wrong_arguments_are_refused_and_touch_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
