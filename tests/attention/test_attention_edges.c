/* The edges: rows that see nothing, values that are no numbers, extreme biases and
 * scales, empty shapes, bits that may not change, arguments that must be refused. */
#include "cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <omp.h>

static int first_kernel(void) {
    return ATTN_KERNEL_REFERENCE;
}

static void run(case_arrays *a) {
    if (case_forward(a) || case_backward(a)) {
        fail_msg("%s", attn_last_error());
    }
}

static void masked_row_gives_zero_output_and_gradients(void **state) {
    (void)state;
    for (int kernel = first_kernel(); kernel <= last_kernel(); kernel++) {
        attention_case c = {SHAPE(1, 20, 10, 2, 2, 16, 16), .causal = ATTN_CAUSAL_BOTTOM_RIGHT};
        case_arrays a = case_make(&c, 1);
        a.problem.kernel = (attn_kernel)kernel;
        run(&a);
        for (size_t i = 0; i < 10 * 2 * 16; i++) {
            assert_true(((float *)a.o)[i] == 0.0f);
            assert_true(((float *)a.d_q)[i] == 0.0f);
        }
        for (size_t h = 0; h < 2; h++) {
            for (size_t i = 0; i < 20; i++) {
                assert_int_equal(a.log_sum_exp[h * 20 + i] == -INFINITY, i < 10);
            }
        }
        case_free(&a);
    }
}

/* Query 3 of every head sees nothing: by mask, bias, window, key length, or what has no keys. Its own
 * rows of Q and dO hold anything. */
static void a_row_that_sees_nothing_is_zero_however_it_is_hidden(void **state) {
    (void)state;
    for (int how = 0; how < 30; how++) {
        const attn_score score = (attn_score[]){ATTN_SCORE_SCALED_DOT, ATTN_SCORE_COSINE, ATTN_SCORE_LINEAR}[how / 10];
        for (int kernel = first_kernel(); kernel <= last_kernel() && (how % 5 >= 2 || how < 20); kernel++) {
            const int all = how % 5 >= 3; /* nobody sees anything */
            attention_case c = {SHAPE(1, 9, 20, 2, 2, 16, 16), .bias = how % 5 == 1, .mask = how % 5 == 0,
                                .key_lengths = how % 5 == 3, .dtype = how % 10 < 5 ? ATTN_F32 : ATTN_BF16,
                                .score = score};
            case_arrays a = case_make(&c, 1);
            a.problem.kernel = (attn_kernel)kernel;
            for (size_t j = 0; j < 20; j++) {
                if (c.mask) {
                    a.mask[3 * 20 + j] = 0;
                }
                if (c.bias) {
                    a.bias[3 * 20 + j] = a.bias[180 + 3 * 20 + j] = -INFINITY;
                }
            }
            if (how % 5 == 2) { /* bottom-right with queries 0 .. 3 before the first key */
                a.problem.causal = ATTN_CAUSAL_BOTTOM_RIGHT;
                attn_attention_batch(&a.problem, 1, 9, 5);
            }
            if (how % 5 == 3) {
                a.key_lengths[0] = 0;
            }
            if (how % 5 == 4) {
                attn_attention_batch(&a.problem, 1, 9, 0);
            }
            for (size_t e = 3 * 32; e < 4 * 32; e++) {
                case_set(a.q, c.dtype, e, how % 2 ? INFINITY : NAN);
                case_set(a.d_o, c.dtype, e, how % 2 ? -INFINITY : NAN);
            }
            run(&a);
            for (size_t e = 0; e < 9 * 32; e++) {
                if (all || (e >= 96 && e < 128)) {
                    assert_true(case_get(a.o, c.dtype, e) == 0.0f);
                    assert_true(case_get(a.d_q, c.dtype, e) == 0.0f);
                }
            }
            for (size_t e = 0; e < a.k_count && how % 5 != 4; e++) {
                assert_true(isfinite(case_get(a.d_k, c.dtype, e)) && isfinite(case_get(a.d_v, c.dtype, e)));
            }
            for (size_t h = 0; h < 2; h++) {
                for (size_t i = 0; i < 9; i++) {
                    const int nothing = all || i == 3 || (how % 5 == 2 && i < 4);
                    assert_int_equal(a.log_sum_exp[h * 9 + i] == -INFINITY, nothing);
                }
            }
            case_free(&a);
        }
    }
}

/* Its weight is 1 whatever the score. */
static void a_row_that_sees_one_key_gives_its_score_no_gradient(void **state) {
    (void)state;
    for (int how = 0; how < 8; how++) {
        for (int kernel = ATTN_KERNEL_PORTABLE; kernel <= last_kernel(); kernel++) {
            const attention_case c = {SHAPE(1, 150, 150, 2, 2, 64, 48), .causal = ATTN_CAUSAL_TOP_LEFT,
                                      .bias = how & 1, .dtype = how & 2 ? ATTN_BF16 : ATTN_F32,
                                      .dropout = how & 4 ? 0.3f : 0.0f};
            case_arrays a = case_make(&c, 7);
            a.problem.kernel = (attn_kernel)kernel;
            run(&a);
            for (size_t e = 0; e < (size_t)2 * 64; e++) {
                assert_true(case_get(a.d_q, c.dtype, e) == 0.0f);
                assert_true(case_get(a.d_q, c.dtype, 2 * 64 + e) != 0.0f);
            }
            assert_true(!c.bias || (a.d_bias[0] == 0.0f && a.d_bias[151] != 0.0f));
            case_free(&a);
        }
    }
}

/* The weights that the backward pass makes from scores and log-sum-exp sum to 1, though both are rounded
 * and so large that their last bits are worth a ten-thousandth: dV of all keys together is dO. */
static void weights_of_large_scores_sum_to_one_backward(void **state) {
    (void)state;
    static const attention_case cases[] = {
        {.name = "plain"},
        {.name = "bias", .bias = 1},
        {.name = "bias, mask", .bias = 4, .mask = 1},
        {.name = "slopes", .alibi = 1},
        {.name = "slopes, bias", .alibi = 1, .bias = 2},
        {.name = "soft cap", .softcap = 900},
        {.name = "soft cap, bias over queries", .softcap = 900, .bias = 3},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        for (int kernel = ATTN_KERNEL_PORTABLE; kernel <= last_kernel(); kernel++) {
            const attention_case c = {SHAPE(1, 70, 150, 2, 2, 32, 16),
                                      .causal = ATTN_CAUSAL_BOTTOM_RIGHT,
                                      .bias = cases[n].bias,
                                      .mask = cases[n].mask,
                                      .alibi = cases[n].alibi,
                                      .softcap = cases[n].softcap,
                                      .amplitude = 30};
            case_arrays a = case_make(&c, 11 + n);
            a.problem.kernel = (attn_kernel)kernel;
            run(&a);
            assert_true(fabsf(a.log_sum_exp[69]) > 100);
            for (int64_t e = 0; e < (int64_t)2 * 16; e++) {
                double sum = 0, want = 0, size = 0;
                for (int64_t j = 0; j < 150; j++) {
                    sum += (double)((float *)a.d_v)[j * 2 * 16 + e];
                }
                for (int64_t i = 0; i < 70; i++) {
                    const double d_o = (double)((float *)a.d_o)[i * 2 * 16 + e];
                    want += a.log_sum_exp[e / 16 * 70 + i] > -INFINITY ? d_o : 0;
                    size += fabs(d_o);
                }
                if (!(fabs(sum - want) < 1e-6 * size)) {
                    fail_msg("%s, kernel %d: dV sums to %.9g, dO to %.9g", cases[n].name, kernel, sum, want);
                }
            }
            case_free(&a);
        }
    }
}

/* With the linear score the way back divides by D itself: log D, rounded, would give back fewer digits. */
static void linear_gradients_do_not_hang_on_the_last_digit_of_log_sum_exp(void **state) {
    (void)state;
    for (int kernel = ATTN_KERNEL_PORTABLE; kernel <= last_kernel(); kernel++) {
        for (int causal = 0; causal < 2; causal++) {
            const attention_case c = {SHAPE(1, 70, 150, 2, 1, 32, 16), .score = ATTN_SCORE_LINEAR,
                                      .causal = causal ? ATTN_CAUSAL_TOP_LEFT : ATTN_CAUSAL_NONE};
            enum { DQ = 70 * 2 * 32, DK = 150 * 32, DV = 150 * 16 };
            float d_q[DQ], d_k[DK], d_v[DV];
            case_arrays a = case_make(&c, 5);
            a.problem.kernel = (attn_kernel)kernel;
            run(&a);
            memcpy(d_q, a.d_q, sizeof d_q);
            memcpy(d_k, a.d_k, sizeof d_k);
            memcpy(d_v, a.d_v, sizeof d_v);
            for (int i = 0; i < 2 * 70; i++) {
                a.log_sum_exp[i] = nextafterf(a.log_sum_exp[i], INFINITY);
            }
            assert_int_equal(case_backward(&a), ATTN_OK);
            assert_memory_equal(a.d_q, d_q, sizeof d_q);
            assert_memory_equal(a.d_k, d_k, sizeof d_k);
            assert_memory_equal(a.d_v, d_v, sizeof d_v);
            case_free(&a);
        }
    }
}

static void least_finite_bias_is_a_plain_number(void **state) {
    (void)state;
    for (int kernel = first_kernel(); kernel <= last_kernel(); kernel++) {
        attention_case c = {SHAPE(1, 5, 40, 1, 1, 16, 16), .bias = 1};
        case_arrays a = case_make(&c, 2);
        a.problem.kernel = (attn_kernel)kernel;
        for (size_t j = 0; j < 40; j++) {
            a.bias[2 * 40 + j] = -3.4028234663852886e38f; /* all alike: uniform weights */
        }
        run(&a);
        for (size_t e = 0; e < 16; e++) {
            double mean = 0;
            for (size_t j = 0; j < 40; j++) {
                mean += (double)((float *)a.v)[j * 16 + e] / 40;
            }
            assert_true(fabs(mean - (double)((float *)a.o)[2 * 16 + e]) < 1e-6);
        }
        double sum = 0; /* the weights' gradient sums to zero in such a row too */
        for (size_t j = 0; j < 40; j++) {
            assert_true(isfinite(a.d_bias[2 * 40 + j]));
            sum += (double)a.d_bias[2 * 40 + j];
        }
        assert_true(fabs(sum) < 1e-6);
        case_free(&a);
    }
}

static void poison(float *x, size_t count) {
    for (size_t i = 0; i < count; i++) {
        x[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : -INFINITY;
    }
}

static void assert_near(const void *x, const void *y, attn_dtype dtype, size_t count, float bound) {
    for (size_t i = 0; i < count; i++) {
        const float a = case_get(x, dtype, i), b = case_get(y, dtype, i);
        if (!(fabsf(a - b) <= bound)) {
            fail_msg("element %zu is %g, expected %g", i, (double)a, (double)b);
        }
    }
}

static void assert_close(const float *x, const float *y, size_t count, float bound) {
    assert_near(x, y, ATTN_F32, count, bound);
}

enum { HIDES_CAUSAL, HIDES_MASK, HIDES_BIAS, HIDES_LENGTH, HIDES_FROM_SOME, HIDES_KINDS };

/* 30 queries, 60 keys of which none sees those from `return value` on; HIDES_FROM_SOME: the first
 * 20 do not see those. */
static size_t hide_keys(case_arrays *a, int how) {
    for (size_t i = 0; i < 30 && how == HIDES_MASK; i++) {
        memset(a->mask + i * 60 + 40, 0, 20);
    }
    for (size_t i = 0; i < 60 && how == HIDES_BIAS; i++) {
        for (size_t j = 40; j < 60; j++) {
            a->bias[i * 60 + j] = -INFINITY;
        }
    }
    if (how == HIDES_LENGTH) {
        a->key_lengths[0] = 33;
    }
    return (size_t[]){30, 40, 40, 33, 20}[how];
}

static void poison_hidden_keys(const attention_case *c, int how, int kernel) {
    case_arrays a = case_make(c, 3), b = case_make(c, 3);
    const size_t row = (size_t)(c->kv_heads * c->d), from = hide_keys(&a, how);
    const float bound = c->dtype == ATTN_F32 ? 1e-5f : 0.02f; /* the reference may have done one of them */
    hide_keys(&b, how);
    a.problem.kernel = b.problem.kernel = (attn_kernel)kernel;
    for (size_t e = from * row; e < 60 * row; e++) {
        const float bad = e % 3 == 0 ? NAN : e % 3 == 1 ? INFINITY : -INFINITY;
        uint16_t half = e % 3 == 0 ? 0x7fc0 : e % 3 == 1 ? 0x7f80 : 0xff80;
        if (c->dtype == ATTN_F32) {
            ((float *)b.k)[e] = ((float *)b.v)[e] = bad;
        } else {
            ((uint16_t *)b.k)[e] = ((uint16_t *)b.v)[e] = half;
        }
    }
    run(&a);
    run(&b);
    if (how == HIDES_FROM_SOME) { /* o of the rows before is clean, later ones are not */
        assert_near(b.o, a.o, c->dtype, 20 * 2 * 16, bound);
        assert_near(b.d_q, a.d_q, c->dtype, 20 * 2 * 16, bound);
        assert_true(isnan(case_get(b.o, c->dtype, 25 * 32)));
    } else {
        assert_near(b.o, a.o, c->dtype, a.o_count, bound);
        assert_near(b.d_q, a.d_q, c->dtype, a.q_count, bound);
        assert_near(b.d_k, a.d_k, c->dtype, a.k_count, bound);
        assert_near(b.d_v, a.d_v, c->dtype, a.v_count, bound);
    }
    case_free(&a);
    case_free(&b);
}

/* Keys and values that no query sees may hold anything: in both types, and with a key/value head of
 * its own for each query head, which short sequences have kernels for. */
static void hidden_poison_never_leaks(void **state) {
    (void)state;
    for (int n = 0; n < 4 * HIDES_KINDS; n++) {
        const int how = n / 4;
        const attention_case c = {SHAPE(1, 30, 60, 2, 1 + n % 2, 16, 16), .mask = how == HIDES_MASK,
                                  .bias = how == HIDES_BIAS, .key_lengths = how == HIDES_LENGTH,
                                  .causal = how == HIDES_CAUSAL || how == HIDES_FROM_SOME,
                                  .dtype = n / 2 % 2 ? ATTN_BF16 : ATTN_F32};
        for (int kernel = first_kernel(); kernel <= last_kernel(); kernel++) {
            poison_hidden_keys(&c, how, kernel);
        }
    }
}

/* The passes that look at weights, and the linear score, with the same poison. */
static void hidden_poison_never_leaks_into_weights(void **state) {
    (void)state;
    for (int how = 0; how < 4; how++) {
        for (int kernel = first_kernel(); kernel <= last_kernel(); kernel++) {
            attention_case c = {SHAPE(1, 30, 60, 2, 1, 16, 16), .mask = how == 1, .bias = how == 2,
                                .score = how == 3 ? ATTN_SCORE_LINEAR : ATTN_SCORE_SCALED_DOT,
                                .causal = how == 0 || how == 3 ? ATTN_CAUSAL_TOP_LEFT : ATTN_CAUSAL_NONE};
            case_arrays a = case_make(&c, 3);
            float *weights[2], *sums[2], *o = case_new(a.o_count, 4), *d_k = case_new(a.k_count, 4);
            a.problem.kernel = (attn_kernel)kernel;
            for (size_t i = 0; i < 30; i++) {
                for (size_t j = 40; j < 60 && (c.mask || c.bias); j++) {
                    if (c.mask) {
                        a.mask[i * 60 + j] = 0;
                    } else {
                        a.bias[i * 60 + j] = a.bias[1800 + i * 60 + j] = -INFINITY;
                    }
                }
            }
            for (int poisoned = 0; poisoned < 2; poisoned++) {
                weights[poisoned] = case_new(2 * 30 * 60, 4);
                sums[poisoned] = case_new(2 * 60, 4);
                if (poisoned) {
                    memcpy(o, a.o, a.o_count * 4);
                    memcpy(d_k, a.d_k, a.k_count * 4);
                    poison((float *)a.k + 40 * 16, 20 * 16);
                    poison((float *)a.v + 40 * 16, 20 * 16);
                }
                run(&a);
                assert_int_equal(case_workspace(&a, ATTN_PASS_WEIGHTS), 0);
                assert_int_equal(case_workspace(&a, ATTN_PASS_COLUMN_SUMS), 0);
                assert_int_equal(attn_attention_weights(&a.problem, a.q, a.k, weights[poisoned], a.workspace,
                                                        a.workspace_size), 0);
                assert_int_equal(attn_attention_column_sums(&a.problem, a.q, a.k, a.log_sum_exp, sums[poisoned],
                                                            a.workspace, a.workspace_size), 0);
            }
            assert_close(weights[1], weights[0], 2 * 30 * 60, 1e-6f);
            assert_close(sums[1], sums[0], 2 * 60, 1e-5f);
            assert_close(a.o, o, a.o_count, 1e-5f);
            assert_close(a.d_k, d_k, a.k_count, 1e-4f);
            float *all[] = {weights[0], weights[1], sums[0], sums[1], o, d_k};
            for (size_t i = 0; i < 6; i++) {
                free(all[i]);
            }
            case_free(&a);
        }
    }
}

static void seen_not_a_number_reaches_the_output(void **state) {
    (void)state;
    for (int kernel = first_kernel(); kernel <= last_kernel(); kernel++) {
        for (int n = 0; n < 8; n++) { /* in K or V, f32 or bf16, a short sequence or not */
            attention_case c = {SHAPE(1, n / 4 ? 70 : 10, 40, 1, 1, 16, 16), .dtype = n / 2 % 2 ? ATTN_BF16 : ATTN_F32};
            case_arrays a = case_make(&c, 4);
            a.problem.kernel = (attn_kernel)kernel;
            case_set(n % 2 ? a.k : a.v, c.dtype, 20 * 16 + 5, NAN);
            run(&a);
            for (size_t i = 0; i < (size_t)c.queries; i++) {
                assert_true(isnan(case_get(a.o, c.dtype, i * 16 + 5)));
                assert_true(isnan(case_get(a.d_q, c.dtype, i * 16 + 5)));
            }
            case_free(&a);
        }
    }
}

/* Rows that wait in the caches only as long as keys see them: one value in the middle, or one query, that is
 * not a number reaches those that see it and no other. */
static void one_bad_row_of_a_long_window_reaches_its_own(void **state) {
    (void)state;
    enum { TOKENS = 1700, BAD = 1400, LEFT = 60 };
    for (int n = 0; n < 4 * (last_kernel() - ATTN_KERNEL_PORTABLE + 1); n++) { /* in V or Q, f32 or bf16 */
        const attention_case c = {SHAPE(1, TOKENS, TOKENS, 2, 2, 16, 16),
                                  .dtype = n / 2 % 2 ? ATTN_BF16 : ATTN_F32, .window = 1, .left = LEFT,
                                  .causal = ATTN_CAUSAL_TOP_LEFT};
        case_arrays a = case_make(&c, 9);
        a.problem.kernel = (attn_kernel)(ATTN_KERNEL_PORTABLE + n / 4);
        omp_set_num_threads(1);                                  /* more would share a head */
        case_set(n % 2 ? a.q : a.v, c.dtype, BAD * 32 + 5, NAN); /* of the first head */
        run(&a);
        for (size_t i = 0; i < TOKENS; i++) {
            const int sees = n % 2 ? i == BAD : i >= BAD && i <= BAD + LEFT;
            const int seen = n % 2 ? i >= BAD - LEFT && i <= BAD : i >= BAD - LEFT && i <= BAD + LEFT;
            assert_true((isnan(case_get(a.o, c.dtype, i * 32 + 5)) != 0) == sees);
            assert_true((isnan(case_get(a.d_q, c.dtype, i * 32 + 5)) != 0) == sees);
            assert_true((isnan(case_get(a.d_k, c.dtype, i * 32 + 5)) != 0) == seen);
            assert_true(!isnan(case_get(a.d_q, c.dtype, i * 32 + 21)));
        }
        case_free(&a);
    }
    omp_set_num_threads(2);
}

static void scale_may_be_zero_or_negative(void **state) {
    (void)state;
    for (int n = 0; n < 4 * (last_kernel() + 1); n++) { /* f32 or bf16, a head of its own for each query head or not */
        attention_case c = {SHAPE(1, 30, 50, 2, 1 + n % 2, 16, 16), .causal = ATTN_CAUSAL_BOTTOM_RIGHT,
                            .dtype = n / 2 % 2 ? ATTN_BF16 : ATTN_F32};
        const float loose = c.dtype == ATTN_F32 ? 1e-6f : 0.01f;
        case_arrays a = case_make(&c, 5), b = case_make(&c, 5);
        a.problem.kernel = b.problem.kernel = (attn_kernel)(n / 4);
        a.problem.scale = -0.5f;
        b.problem.scale = 0.5f;
        for (size_t i = 0; i < b.q_count; i++) {
            case_set(b.q, c.dtype, i, -case_get(b.q, c.dtype, i));
        }
        run(&a);
        run(&b);
        assert_near(a.o, b.o, c.dtype, a.o_count, loose);
        assert_near(a.d_k, b.d_k, c.dtype, a.k_count, 10 * loose);
        a.problem.scale = 0;
        run(&a);
        double mean = 0; /* the last query sees all keys alike */
        for (size_t j = 0; j < 50; j++) {
            mean += (double)case_get(a.v, c.dtype, j * (size_t)(16 * c.kv_heads)) / 50;
        }
        assert_true(fabs(mean - (double)case_get(a.o, c.dtype, 29 * 32)) < (double)loose);
        case_free(&a);
        case_free(&b);
    }
}

static void empty_shapes_are_fine(void **state) {
    (void)state;
    for (int kernel = first_kernel(); kernel <= last_kernel(); kernel++) {
        const attention_case shapes[] = {{SHAPE(1, 0, 10, 1, 1, 8, 8)}, {SHAPE(1, 10, 0, 1, 1, 8, 8)},
                                         {SHAPE(0, 10, 10, 1, 1, 8, 8)}, {SHAPE(2, 1, 1, 1, 1, 8, 8)}};
        for (size_t n = 0; n < 4; n++) {
            case_arrays a = case_make(&shapes[n], 6);
            a.problem.kernel = (attn_kernel)kernel;
            memset(a.d_k, 0xff, a.k_count * 4);
            run(&a);
            for (size_t i = 0; n == 0 && i < a.k_count; i++) {
                assert_true(((float *)a.d_k)[i] == 0.0f);
            }
            for (size_t i = 0; n == 1 && i < 10; i++) {
                assert_true(a.log_sum_exp[i] == -INFINITY && ((float *)a.o)[i] == 0.0f);
            }
            case_free(&a);
        }
    }
}

static const attention_case BITS = {SHAPE(7, 150, 150, 4, 2, 32, 32), .packed = 1,
                                    .causal = ATTN_CAUSAL_TOP_LEFT, .dropout = 0.2f, .bias = 1,
                                    .sinks = 1};

static const attention_case SHORT_BITS = {SHAPE(40, 60, 60, 4, 4, 32, 32), .packed = 1,
                                          .causal = ATTN_CAUSAL_TOP_LEFT, .dropout = 0.2f};
/* One head of many keys: the backward pass's threads share it. */
static const attention_case GROUP_BITS = {SHAPE(1, 60, 2200, 1, 1, 16, 16), .causal = ATTN_CAUSAL_BOTTOM_RIGHT,
                                          .window = 1, .left = 1500, .right = 0, .sinks = 1};

/* The same through a window: one thread keeps only the rows that wait for keys. */
static const attention_case WINDOW_BITS = {
    SHAPE(1, 2600, 2600, 1, 1, 16, 16), .window = 1, .left = 100, .right = 20, .dropout = 0.2f, .alibi = 1};

/* Heads of a group, rows that see nothing before and keys that do not exist. */
static const attention_case GROUPED_WINDOW_BITS = {SHAPE(1, 1500, 2300, 2, 1, 16, 24),
                                                   .causal = ATTN_CAUSAL_BOTTOM_RIGHT,
                                                   .window = 1,
                                                   .left = 60,
                                                   .rotary = ATTN_ROTARY_HALVES,
                                                   .softcap = 9};
static const attention_case LATE_WINDOW_BITS = {SHAPE(1, 3000, 2100, 1, 1, 16, 16),
                                                .causal = ATTN_CAUSAL_BOTTOM_RIGHT, .window = 1, .left = 64,
                                                .key_lengths = 1};

/* Everything a case gives, one after the other. */
typedef struct everything {
    char *bytes;
    size_t size;
} everything;

static void keep(everything *all, const void *data, size_t size) {
    all->bytes = realloc(all->bytes, all->size + size + 1);
    assert_true(all->bytes != NULL);
    memcpy(all->bytes + all->size, data ? data : "", data ? size : 0);
    all->size += data ? size : 0;
}

static everything run_everything(const attention_case *c, int kernel) {
    case_arrays a = case_make(c, 7);
    const size_t size = (size_t)dtype_size(c->dtype), heads = (size_t)c->heads;
    everything all = {0};
    size_t count = 0;
    a.problem.kernel = (attn_kernel)kernel;
    run(&a);
    for (int64_t b = 0; b < c->sequences; b++) {
        const sequence_view s = problem_sequence(&a.problem, b);
        count += heads * (size_t)(s.queries * s.keys);
    }
    float *weights = case_new(count, 4), *sums = case_new(heads * (size_t)a.k_tokens, 4);
    assert_int_equal(case_workspace(&a, ATTN_PASS_WEIGHTS), 0);
    assert_int_equal(case_workspace(&a, ATTN_PASS_COLUMN_SUMS), 0);
    assert_int_equal(attn_attention_weights(&a.problem, a.q, a.k, weights, a.workspace, a.workspace_size), 0);
    assert_int_equal(attn_attention_column_sums(&a.problem, a.q, a.k, a.log_sum_exp, sums, a.workspace,
                                                a.workspace_size), 0);
    keep(&all, a.o, a.o_count * size);
    keep(&all, a.log_sum_exp, a.rows * 4);
    keep(&all, a.d_q, a.d_q_count * size);
    keep(&all, a.d_k, a.d_k_count * size);
    keep(&all, a.d_v, a.d_v_count * size);
    keep(&all, a.d_bias, a.bias_count * 4);
    keep(&all, a.d_sinks, heads * 4);
    keep(&all, weights, count * 4);
    keep(&all, sums, heads * (size_t)a.k_tokens * 4);
    free(weights);
    free(sums);
    case_free(&a);
    return all;
}

static void threads_and_runs_give_the_same_bits(void **state) {
    (void)state;
    const attention_case linear = {SHAPE(5, 150, 150, 4, 2, 32, 32), .packed = 1, .score = ATTN_SCORE_LINEAR,
                                   .causal = ATTN_CAUSAL_TOP_LEFT};
    const attention_case *const cases[] = {
        &BITS, &linear, &SHORT_BITS, &GROUP_BITS, &WINDOW_BITS, &GROUPED_WINDOW_BITS, &LATE_WINDOW_BITS};
    for (int kernel = ATTN_KERNEL_PORTABLE; kernel <= last_kernel(); kernel++) {
        for (int n = 0; n < 14; n++) {
            attention_case c = *cases[n / 2];
            c.dtype = (attn_dtype)(n % 2);
            omp_set_num_threads(1);
            everything one = run_everything(&c, kernel);
            for (int threads = 1; threads <= 7; threads += threads == 3 ? 4 : 1) {
                omp_set_num_threads(threads);
                everything many = run_everything(&c, kernel);
                assert_int_equal(one.size, many.size);
                assert_memory_equal(one.bytes, many.bytes, one.size);
                free(many.bytes);
            }
            free(one.bytes);
        }
    }
    omp_set_num_threads(2);
}

/* Rows in front of all windows and behind them, in which a number may be none; and zeros of a negative scale.
 */
static void rows_that_see_nothing_do_not_depend_on_threads(void **state) {
    (void)state;
    enum { QUERIES = 3000, ROWS = QUERIES * 16 };
    for (int n = 0; n < 8 * (last_kernel() - ATTN_KERNEL_PORTABLE + 1); n++) {
        const int before = n % 2, bad = n / 2 % 2;
        const attention_case c = {SHAPE(1, QUERIES, 1300, 1, 1, 16, 16),
                                  .dtype = n / 4 % 2 ? ATTN_BF16 : ATTN_F32, .window = 1, .left = 40,
                                  .causal = before ? ATTN_CAUSAL_BOTTOM_RIGHT : ATTN_CAUSAL_NONE};
        case_arrays one = case_make(&c, 10), many = case_make(&c, 10);
        one.problem.kernel = many.problem.kernel = (attn_kernel)(ATTN_KERNEL_PORTABLE + n / 8);
        one.problem.scale = many.problem.scale = -0.25f;
        const size_t at = before ? 5 : ROWS - 5;
        if (bad) {
            case_set(one.q, c.dtype, at, NAN);
            case_set(many.q, c.dtype, at, NAN);
        }
        omp_set_num_threads(1);
        run(&one);
        omp_set_num_threads(3);
        run(&many);
        const size_t size = (size_t)dtype_size(c.dtype);
        assert_memory_equal(one.d_q, many.d_q, one.d_q_count * size);
        assert_memory_equal(one.d_k, many.d_k, one.d_k_count * size);
        assert_memory_equal(one.d_v, many.d_v, one.d_v_count * size);
        assert_true(case_get(one.d_q, c.dtype, at) == 0.0f);
        case_free(&one);
        case_free(&many);
    }
    omp_set_num_threads(2);
}

/* Sequence b of what `all` holds gives the same alone. */
static void assert_alone(const attention_case *c, int kernel, const case_arrays *all, int64_t b) {
    case_arrays alone = case_make(c, 8);
    const size_t size = (size_t)dtype_size(c->dtype), first = (size_t)all->q_offsets[b];
    const size_t count = (size_t)all->q_offsets[b + 1] - first;
    const size_t q_row = (size_t)(c->heads * c->d) * size, k_row = (size_t)(c->kv_heads * c->d) * size;
    const int32_t offsets[2] = {0, (int32_t)count};
    char *q = alone.q, *k = alone.k, *v = alone.v, *d_o = alone.d_o;
    alone.problem.kernel = (attn_kernel)kernel;
    attn_attention_packed(&alone.problem, 1, offsets, offsets);
    alone.problem.dropout_first_sequence = b;
    alone.q = q + first * q_row;
    alone.k = k + first * k_row;
    alone.v = v + first * k_row;
    alone.d_o = d_o + first * q_row;
    run(&alone);
    assert_memory_equal(alone.o, (char *)all->o + first * q_row, count * q_row);
    assert_memory_equal(alone.d_q, (char *)all->d_q + first * q_row, count * q_row);
    assert_memory_equal(alone.d_k, (char *)all->d_k + first * k_row, count * k_row);
    assert_memory_equal(alone.d_v, (char *)all->d_v + first * k_row, count * k_row);
    alone.q = q;
    alone.k = k;
    alone.v = v;
    alone.d_o = d_o;
    case_free(&alone);
}

static void a_sequence_alone_gives_the_bits_of_the_batch(void **state) {
    (void)state;
    const attention_case long_ones = {SHAPE(3, 1100, 1100, 1, 1, 16, 16), .packed = 1,
                                      .causal = ATTN_CAUSAL_TOP_LEFT};
    const attention_case windows = {SHAPE(3, 1100, 1100, 6, 6, 16, 16), .packed = 1, .window = 1, .left = 200,
                                    .right = 30};
    /* rows that see whole vectors, beside others that see more */
    const attention_case capped = {SHAPE(3, 1104, 1104, 6, 6, 16, 16),
                                   .packed = 1,
                                   .window = 1,
                                   .left = 64,
                                   .right = 800,
                                   .softcap = 20};
    const attention_case *const cases[] = {&BITS, &SHORT_BITS, &long_ones, &windows, &capped};
    omp_set_num_threads(2);
    for (int n = 0; n < 10 * (last_kernel() - ATTN_KERNEL_PORTABLE + 1); n++) {
        const int kernel = ATTN_KERNEL_PORTABLE + n / 10;
        attention_case c = *cases[n / 2 % 5];
        c.bias = 0;
        c.dtype = (attn_dtype)(n % 2);
        case_arrays all = case_make(&c, 8);
        all.problem.kernel = (attn_kernel)kernel;
        run(&all);
        for (int64_t b = 0; b < c.sequences && b < 7; b++) {
            assert_alone(&c, kernel, &all, b);
        }
        case_free(&all);
    }
}

/* Too many to stay in the caches, so that the next one's rows are asked for meanwhile: of one query there
 * is nothing to transpose beside which to ask. */
static void many_short_sequences_of_few_queries(void **state) {
    (void)state;
    for (int how = 0; how < 4; how++) {
        const attention_case c = {SHAPE(200, how & 1 ? 1 : 17, 20, 4, 4, 64, 64),
                                  .dtype = how & 2 ? ATTN_BF16 : ATTN_F32};
        case_arrays want = case_make(&c, 9);
        want.problem.kernel = ATTN_KERNEL_REFERENCE;
        run(&want);
        for (int kernel = ATTN_KERNEL_PORTABLE; kernel <= last_kernel(); kernel++) {
            const float bound = c.dtype == ATTN_F32 ? 2e-5f : 0.06f;
            case_arrays got = case_make(&c, 9);
            got.problem.kernel = (attn_kernel)kernel;
            run(&got);
            assert_near(got.o, want.o, c.dtype, want.o_count, bound);
            assert_near(got.d_q, want.d_q, c.dtype, want.d_q_count, bound);
            assert_near(got.d_k, want.d_k, c.dtype, want.d_k_count, bound);
            case_free(&got);
        }
        case_free(&want);
    }
}

static void weights_times_values_is_the_output(void **state) {
    (void)state;
    for (int kernel = first_kernel(); kernel <= last_kernel(); kernel++) {
        attention_case c = {SHAPE(4, 60, 200, 4, 2, 16, 16), .packed = 1, .dropout = 0.2f, .sinks = 1,
                            .causal = ATTN_CAUSAL_BOTTOM_RIGHT, .alibi = 1};
        case_arrays a = case_make(&c, 9);
        a.problem.kernel = (attn_kernel)kernel;
        run(&a);
        size_t total = 0;
        for (int64_t b = 0; b < 4; b++) {
            const sequence_view s = problem_sequence(&a.problem, b);
            total += (size_t)(4 * s.queries * s.keys);
        }
        float *weights = case_new(total, 4), *w = weights;
        const size_t k_tokens = (size_t)a.k_offsets[4];
        float *sums = case_new(4 * k_tokens, 4);
        assert_int_equal(case_workspace(&a, ATTN_PASS_WEIGHTS), 0);
        assert_int_equal(attn_attention_weights(&a.problem, a.q, a.k, weights, a.workspace,
                                                a.workspace_size), 0);
        a.problem.dropout = 0;
        assert_int_equal(case_workspace(&a, ATTN_PASS_COLUMN_SUMS), 0);
        assert_int_equal(attn_attention_column_sums(&a.problem, a.q, a.k, a.log_sum_exp, sums,
                                                    a.workspace, a.workspace_size), 0);
        float *without = case_new(total, 4), *u = without;
        assert_int_equal(case_workspace(&a, ATTN_PASS_WEIGHTS), 0);
        assert_int_equal(attn_attention_weights(&a.problem, a.q, a.k, without, a.workspace,
                                                a.workspace_size), 0);
        for (int64_t b = 0; b < 4; b++) {
            const sequence_view s = problem_sequence(&a.problem, b);
            for (int64_t h = 0; h < 4; h++) {
                for (int64_t j = 0; j < s.keys; j++) {
                    double sum = 0;
                    for (int64_t i = 0; i < s.queries; i++) {
                        sum += (double)u[i * s.keys + j];
                    }
                    assert_true(fabs(sum - (double)sums[(size_t)h * k_tokens + (size_t)(s.k_first + j)]) < 1e-5);
                }
                u += s.queries * s.keys;
                for (int64_t i = 0; i < s.queries; i++) {
                    double o = 0;
                    for (int64_t j = 0; j < s.keys; j++) {
                        o += (double)w[j] * (double)((float *)a.v)[(s.k_first + j) * 32 + h / 2 * 16 + 3];
                    }
                    w += s.keys;
                    const float got = ((float *)a.o)[(s.q_first + i) * 64 + h * 16 + 3];
                    assert_true(fabs(o - (double)got) < 1e-5);
                }
            }
        }
        free(weights);
        free(without);
        free(sums);
        case_free(&a);
    }
}

static void dropout_drops_its_share_independently(void **state) {
    (void)state;
    const uint32_t threshold = dropout_threshold(0.1f);
    double dropped = 0, pairs = 0, columns = 0;
    const int rows = 2000, keys = 128;
    static unsigned char before[128], now[128];
    for (int i = 0; i < rows; i++) {
        const dropout_row row = dropout_row_keys(dropout_head_key(1, i / 50, 3), i % 50);
        for (int j = 0; j < keys; j++) {
            now[j] = dropout_bits(row, j) < threshold;
            dropped += now[j];
            pairs += j && now[j] && now[j - 1];
            columns += i && now[j] && before[j];
        }
        memcpy(before, now, sizeof before);
    }
    const double n = rows * (double)keys; /* five standard deviations */
    assert_true(fabs(dropped / n - 0.1) < 5 * sqrt(0.09 / n));
    assert_true(fabs(pairs / n - 0.01) < 5 * sqrt(0.0099 / n) + 0.01 / keys);
    assert_true(fabs(columns / n - 0.01) < 5 * sqrt(0.0099 / n) + 0.01 / rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masked_row_gives_zero_output_and_gradients),
        cmocka_unit_test(a_row_that_sees_nothing_is_zero_however_it_is_hidden),
        cmocka_unit_test(a_row_that_sees_one_key_gives_its_score_no_gradient),
        cmocka_unit_test(weights_of_large_scores_sum_to_one_backward),
        cmocka_unit_test(linear_gradients_do_not_hang_on_the_last_digit_of_log_sum_exp),
        cmocka_unit_test(least_finite_bias_is_a_plain_number),
        cmocka_unit_test(hidden_poison_never_leaks),
        cmocka_unit_test(hidden_poison_never_leaks_into_weights),
        cmocka_unit_test(seen_not_a_number_reaches_the_output),
        cmocka_unit_test(one_bad_row_of_a_long_window_reaches_its_own),
        cmocka_unit_test(scale_may_be_zero_or_negative),
        cmocka_unit_test(empty_shapes_are_fine),
        cmocka_unit_test(threads_and_runs_give_the_same_bits),
        cmocka_unit_test(rows_that_see_nothing_do_not_depend_on_threads),
        cmocka_unit_test(a_sequence_alone_gives_the_bits_of_the_batch),
        cmocka_unit_test(many_short_sequences_of_few_queries),
        cmocka_unit_test(weights_times_values_is_the_output),
        cmocka_unit_test(dropout_drops_its_share_independently),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
