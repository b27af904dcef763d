/* Additive attention against itself written out in f64, and its gradients against that
 * one's central differences. */
#include "cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <omp.h>

#include "base/cpu.h"

enum { SEQUENCES = 3, HEADS = 4, KV = 2, D = 5, DV = 6, WIDTH = 7 };
static const int32_t Q_OFFSETS[] = {0, 9, 9, 60}, K_OFFSETS[] = {0, 12, 20, 160};
enum { Q_TOKENS = 60, K_TOKENS = 160 };

typedef struct inputs { /* in f64, one after the other */
    double q[Q_TOKENS * HEADS * D], k[K_TOKENS * KV * D], v[K_TOKENS * KV * DV];
    double w[HEADS * WIDTH * D], u[HEADS * WIDTH * D], b[HEADS * WIDTH], s[HEADS * WIDTH];
} inputs;

typedef struct inputs_f32 {
    float q[Q_TOKENS * HEADS * D], k[K_TOKENS * KV * D], v[K_TOKENS * KV * DV];
    float w[HEADS * WIDTH * D], u[HEADS * WIDTH * D], b[HEADS * WIDTH], s[HEADS * WIDTH];
} inputs_f32;

static inputs X;
static inputs_f32 F, G;
static float O[Q_TOKENS * HEADS * DV], D_O[Q_TOKENS * HEADS * DV], LSE[HEADS * Q_TOKENS];

static attn_attention_problem problem(void) {
    attn_attention_problem p;
    attn_attention_defaults(&p, HEADS, KV, D, DV);
    attn_attention_packed(&p, SEQUENCES, Q_OFFSETS, K_OFFSETS);
    p.causal = ATTN_CAUSAL_BOTTOM_RIGHT;
    p.dropout = 0.2f;
    p.dropout_seed = 5;
    return p;
}

/* sum(d_o * o); o is written when it is wanted */
static double naive(float *o) {
    const attn_attention_problem p = problem();
    const uint32_t threshold = dropout_threshold(p.dropout);
    double total = 0;
    for (int b = 0; b < SEQUENCES; b++) {
        const sequence_view s = problem_sequence(&p, b);
        for (int64_t h = 0; h < HEADS; h++) {
            for (int64_t i = 0; i < s.queries; i++) {
                int64_t low, high;
                double a[WIDTH], weight[200], sum = 0, out[DV] = {0};
                const int64_t qi = (s.q_first + i) * HEADS + h;
                const dropout_row keys = dropout_row_keys(dropout_head_key(p.dropout_seed, b, h), i);
                problem_visible(&p, &s, i, &low, &high);
                for (int c = 0; c < WIDTH; c++) {
                    a[c] = X.b[h * WIDTH + c];
                    for (int e = 0; e < D; e++) {
                        a[c] += X.w[(h * WIDTH + c) * D + e] * X.q[qi * D + e];
                    }
                }
                for (int64_t j = low; j < high; j++) {
                    const int64_t kj = (s.k_first + j) * KV + h / (HEADS / KV);
                    double score = 0;
                    for (int c = 0; c < WIDTH; c++) {
                        double u = a[c];
                        for (int e = 0; e < D; e++) {
                            u += X.u[(h * WIDTH + c) * D + e] * X.k[kj * D + e];
                        }
                        score += X.s[h * WIDTH + c] * tanh(u);
                    }
                    weight[j] = exp(score);
                    sum += weight[j];
                }
                for (int64_t j = low; j < high; j++) {
                    const int64_t kj = (s.k_first + j) * KV + h / (HEADS / KV);
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
            }
        }
    }
    return total;
}

static void fill(void) {
    float *f = (float *)&F;
    double *x = (double *)&X;
    for (size_t i = 0; i < sizeof F / sizeof(float); i++) {
        f[i] = random_normal(11, i);
        x[i] = (double)f[i];
    }
    for (size_t i = 0; i < sizeof O / sizeof(float); i++) {
        D_O[i] = random_normal(12, i);
    }
}

static void run(int kernel) {
    attn_attention_problem p = problem();
    const attn_additive_parameters w = {WIDTH, F.w, F.u, F.b, F.s};
    const attn_additive_gradients g = {G.q, G.k, G.v, G.w, G.u, G.b, G.s};
    size_t size, backward;
    p.kernel = (attn_kernel)kernel;
    assert_int_equal(attn_additive_workspace(&p, WIDTH, ATTN_PASS_FORWARD, &size), 0);
    assert_int_equal(attn_additive_workspace(&p, WIDTH, ATTN_PASS_BACKWARD, &backward), 0);
    void *workspace = case_new(size > backward ? size : backward, 1);
    assert_int_equal(attn_additive_forward(&p, &w, F.q, F.k, F.v, O, LSE, workspace, size), 0);
    assert_int_equal(attn_additive_backward(&p, &w, F.q, F.k, F.v, O, LSE, D_O, &g, workspace, backward), 0);
    free(workspace);
}

static void output_and_gradients_are_the_formula(void **state) {
    (void)state;
    static float want[Q_TOKENS * HEADS * DV];
    fill();
    naive(want);
    for (int kernel = ATTN_KERNEL_PORTABLE; kernel <= ATTN_KERNEL_PORTABLE + (int)cpu_detected(); kernel++) {
        run(kernel);
        for (size_t i = 0; i < sizeof O / sizeof(float); i++) {
            if (!(fabsf(O[i] - want[i]) < 2e-6f)) {
                fail_msg("kernel %d: o[%zu] is %g, expected %g", kernel, i, (double)O[i], (double)want[i]);
            }
        }
        double *x = (double *)&X;
        const float *g = (const float *)&G;
        const size_t count = sizeof F / sizeof(float);
        for (size_t i = (size_t)kernel % 7; i < count; i += 23) {
            const double before = x[i], step = 1e-5;
            x[i] = before + step;
            const double plus = naive(NULL);
            x[i] = before - step;
            const double minus = naive(NULL);
            x[i] = before;
            const double slope = (plus - minus) / (2 * step);
            if (!(fabs(slope - (double)g[i]) < 1e-5 * (1 + fabs(slope)))) {
                fail_msg("kernel %d: gradient %zu is %g, central difference %g", kernel, i, (double)g[i], slope);
            }
        }
    }
}

static void threads_give_the_same_bits(void **state) {
    (void)state;
    static inputs_f32 one;
    static float o[Q_TOKENS * HEADS * DV];
    fill();
    omp_set_num_threads(1);
    run(ATTN_KERNEL_AUTO);
    memcpy(&one, &G, sizeof G);
    memcpy(o, O, sizeof O);
    omp_set_num_threads(3);
    run(ATTN_KERNEL_AUTO);
    assert_memory_equal(&one, &G, sizeof G);
    assert_memory_equal(o, O, sizeof O);
    omp_set_num_threads(2);
}

static void weights_times_values_is_the_output(void **state) {
    (void)state;
    fill();
    run(ATTN_KERNEL_AUTO);
    attn_attention_problem p = problem();
    const attn_additive_parameters w = {WIDTH, F.w, F.u, F.b, F.s};
    static float weights[HEADS * (9 * 12 + 51 * 140)];
    size_t size;
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

static void hidden_poison_never_leaks(void **state) {
    (void)state;
    static inputs_f32 clean;
    static float o[Q_TOKENS * HEADS * DV];
    attn_attention_problem p = problem();
    fill();
    /* the last sequence has 51 queries to 140 keys: key 130 is hidden from the first 41 */
    run(ATTN_KERNEL_AUTO);
    memcpy(o, O, sizeof O);
    memcpy(&clean, &G, sizeof G);
    const size_t key = (size_t)K_OFFSETS[2] + 130;
    for (size_t e = 0; e < KV * D; e++) {
        F.k[key * KV * D + e] = NAN;
    }
    for (size_t e = 0; e < KV * DV; e++) {
        F.v[key * KV * DV + e] = INFINITY;
    }
    run(ATTN_KERNEL_AUTO);
    const sequence_view s = problem_sequence(&p, 2);
    for (int64_t i = 0; i < 41; i++) {
        for (size_t e = 0; e < HEADS * DV; e++) {
            assert_true(fabsf(O[(size_t)(s.q_first + i) * HEADS * DV + e] - o[(size_t)(s.q_first + i) * HEADS * DV + e]) < 1e-5f);
        }
        for (size_t e = 0; e < HEADS * D; e++) {
            assert_true(fabsf(G.q[(size_t)(s.q_first + i) * HEADS * D + e] - clean.q[(size_t)(s.q_first + i) * HEADS * D + e]) < 1e-4f);
        }
    }
    assert_true(isnan(O[(size_t)(s.q_first + 45) * HEADS * DV]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_and_gradients_are_the_formula),
        cmocka_unit_test(threads_give_the_same_bits),
        cmocka_unit_test(weights_times_values_is_the_output),
        cmocka_unit_test(hidden_poison_never_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
