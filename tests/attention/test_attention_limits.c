/* The limits of numbers: scores whose last digit is worth thousands, rows that only turning or normalising
 * makes infinite, and gradients that nothing adds to. */
#include "test.h"

#include <float.h>

#include "cases.h"

static void run(case_arrays *a) {
    if (case_forward(a) || case_backward(a)) {
        fail_msg("%s", attn_last_error());
    }
}

/* Within `bound` of the largest. */
static void assert_like(const char *what, const void *x, const void *y, attn_dtype dtype, size_t count,
                        double bound) {
    double most = 1e-30;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, fabs((double)case_get(y, dtype, i)));
    }
    for (size_t i = 0; i < count; i++) {
        const double a = (double)case_get(x, dtype, i), b = (double)case_get(y, dtype, i);
        if (!(fabs(a - b) <= bound * most)) {
            fail_msg("%s: element %zu is %g, expected %g", what, i, a, b);
        }
    }
}

/* Small whole numbers, whose products are exact and often the same. */
static void whole_numbers(void *x, attn_dtype dtype, size_t count, uint64_t key) {
    for (size_t i = 0; i < count; i++) {
        case_set(x, dtype, i, floorf(5 * random_uniform(key, i)) - 2);
    }
}

static void all_weights(case_arrays *a, float *weights, float *sums) {
    if (case_workspace(a, ATTN_PASS_WEIGHTS) ||
        attn_attention_weights(&a->problem, a->q, a->k, weights, a->workspace, a->workspace_size) ||
        case_workspace(a, ATTN_PASS_COLUMN_SUMS) ||
        attn_attention_column_sums(&a->problem, a->q, a->k, a->log_sum_exp, sums, a->workspace,
                                   a->workspace_size)) {
        fail_msg("%s", attn_last_error());
    }
}

static void compare_kernels(const attention_case *c, float scale) {
    case_arrays a = case_make(c, 3);
    const size_t pairs = (size_t)(c->heads * c->queries * c->keys), columns = (size_t)(c->heads * c->keys);
    float *weights[2], *sums[2];
    whole_numbers(a.q, c->dtype, a.q_count, 5);
    whole_numbers(a.k, c->dtype, a.k_count, 6);
    a.problem.scale = scale;
    for (int kernel = ATTN_KERNEL_PORTABLE; kernel <= last_kernel(); kernel++) {
        case_arrays b = case_make(c, 3);
        memcpy(b.q, a.q, a.q_count * (size_t)dtype_size(c->dtype));
        memcpy(b.k, a.k, a.k_count * (size_t)dtype_size(c->dtype));
        a.problem.kernel = ATTN_KERNEL_REFERENCE;
        b.problem.scale = scale;
        b.problem.kernel = (attn_kernel)kernel;
        for (int n = 0; n < 2; n++) {
            weights[n] = case_new(pairs, sizeof(float));
            sums[n] = case_new(columns, sizeof(float));
        }
        run(&a);
        run(&b);
        all_weights(&a, weights[0], sums[0]);
        all_weights(&b, weights[1], sums[1]);
        const double bound = c->dtype == ATTN_F32 ? 1e-5 : 0.02;
        assert_like("o", b.o, a.o, c->dtype, a.o_count, bound);
        assert_like("log_sum_exp", b.log_sum_exp, a.log_sum_exp, ATTN_F32, a.rows, 1e-6);
        assert_like("weights", weights[1], weights[0], ATTN_F32, pairs, 1e-5);
        assert_like("column sums", sums[1], sums[0], ATTN_F32, columns, 1e-5);
        assert_like("d_q", b.d_q, a.d_q, c->dtype, a.d_q_count, 2 * bound);
        assert_like("d_k", b.d_k, a.d_k, c->dtype, a.d_k_count, 2 * bound);
        assert_like("d_v", b.d_v, a.d_v, c->dtype, a.d_v_count, 2 * bound);
        for (int n = 0; n < 2; n++) {
            free(weights[n]);
            free(sums[n]);
        }
        case_free(&b);
    }
    case_free(&a);
}

static void scores_of_any_size(void **state) {
    (void)state;
    const float scales[] = {1e5f, 3e6f, 1e8f, -1e10f, 1e12f, 1e20f, 1e30f};
    for (size_t n = 0; n < sizeof scales / sizeof *scales; n++) {
        const attention_case cases[] = {
            {SHAPE(1, 40, 150, 2, 1, 16, 16)},
            {SHAPE(1, 20, 30, 2, 2, 16, 16)},
            {SHAPE(1, 20, 30, 2, 2, 16, 16), .causal = ATTN_CAUSAL_TOP_LEFT},
            {SHAPE(1, 300, 300, 1, 1, 16, 16), .window = 1, .left = 40, .right = 3},
            {SHAPE(1, 40, 300, 2, 1, 16, 16), .softcap = fabsf(scales[n]) * 100},
            {SHAPE(1, 40, 150, 2, 1, 16, 16), .dtype = ATTN_BF16},
            {SHAPE(1, 20, 30, 2, 2, 16, 16), .dtype = ATTN_BF16}};
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            compare_kernels(cases + i, scales[n]);
        }
    }
}

/* A query's bits do not hang on the scores of another. */
static void a_large_score_stays_with_its_row(void **state) {
    (void)state;
    const attention_case c = {SHAPE(1, 20, 30, 1, 1, 16, 16)};
    for (int kernel = ATTN_KERNEL_PORTABLE; kernel <= last_kernel(); kernel++) {
        case_arrays a = case_make(&c, 3), b = case_make(&c, 3);
        a.problem.kernel = b.problem.kernel = (attn_kernel)kernel;
        for (size_t e = 5 * 16; e < 6 * 16; e++) {
            ((float *)b.q)[e] *= 1e9f;
        }
        run(&a);
        run(&b);
        assert_memory_equal(b.o, a.o, 5 * 16 * sizeof(float));
        assert_memory_equal((float *)b.o + 6 * 16, (float *)a.o + 6 * 16, 14 * 16 * sizeof(float));
        case_free(&a);
        case_free(&b);
    }
}

/* All that a row sees has a bias of -1e9, as frameworks hide what is padded. */
static void a_row_hidden_by_a_finite_bias(void **state) {
    (void)state;
    const attention_case c = {SHAPE(1, 40, 300, 1, 1, 16, 16), .bias = 4};
    for (int kernel = ATTN_KERNEL_PORTABLE; kernel <= last_kernel(); kernel++) {
        case_arrays a = case_make(&c, 3), b = case_make(&c, 3);
        for (size_t j = 0; j < 300; j++) {
            a.bias[7 * 300 + j] = b.bias[7 * 300 + j] = -1e9f;
        }
        a.problem.kernel = ATTN_KERNEL_REFERENCE;
        b.problem.kernel = (attn_kernel)kernel;
        run(&a);
        run(&b);
        /* a score of 1 is lost in -1e9: all weights of that row are 1 / 300 */
        for (size_t e = 0; e < 16; e++) {
            double mean = 0;
            for (size_t j = 0; j < 300; j++) {
                mean += (double)((float *)b.v)[j * 16 + e] / 300;
            }
            assert_true(fabs((double)((float *)b.o)[7 * 16 + e] - mean) < 1e-5);
        }
        assert_like("o", (float *)b.o + 8 * 16, (float *)a.o + 8 * 16, ATTN_F32, a.o_count - 8 * 16, 1e-5);
        assert_like("d_q", (float *)b.d_q + 8 * 16, (float *)a.d_q + 8 * 16, ATTN_F32, a.d_q_count - 8 * 16,
                    1e-5);
        for (size_t e = 0; e < b.d_k_count; e++) {
            assert_true(isfinite(((float *)b.d_k)[e]) && isfinite(((float *)b.d_v)[e]));
        }
        case_free(&a);
        case_free(&b);
    }
}

static void decoding_with_scores_of_any_size(void **state) {
    (void)state;
    const attention_case c = {SHAPE(1, 1, 300, 4, 2, 16, 16)};
    for (int kernel = ATTN_KERNEL_PORTABLE; kernel <= last_kernel(); kernel++) {
        for (int n = 0; n < 2; n++) {
            case_arrays a = case_make(&c, 3);
            float expected[4 * 16];
            whole_numbers(a.q, ATTN_F32, a.q_count, 5);
            whole_numbers(a.k, ATTN_F32, a.k_count, 6);
            a.problem.scale = n ? 1e20f : 1e10f;
            a.problem.kernel = ATTN_KERNEL_REFERENCE;
            assert_int_equal(case_forward(&a), ATTN_OK);
            memcpy(expected, a.o, sizeof expected);
            a.problem.kernel = (attn_kernel)kernel;
            const attn_attention_cache cache = {
                .dtype = ATTN_F32, .k = a.k, .v = a.v, .k_strides = a.problem.k, .v_strides = a.problem.v};
            assert_int_equal(case_workspace(&a, ATTN_PASS_DECODE), ATTN_OK);
            assert_int_equal(
                attn_attention_decode(&a.problem, &cache, a.q, a.o, NULL, a.workspace, a.workspace_size),
                ATTN_OK);
            assert_like("o", a.o, expected, ATTN_F32, 4 * 16, 1e-5);
            case_free(&a);
        }
    }
}

/* A key or a query that nobody sees is finite, but too large to be turned, or too small to be divided by. */
static void hidden_rows_that_become_infinite(void **state) {
    (void)state;
    for (int how = 0; how < 8; how++) {
        const int cosine = how >= 4, query = how & 1;
        const attention_case c = {SHAPE(1, 20, 300, 1, 1, 16, 16), .mask = 1, .bias = how & 2 ? 1 : 0,
                                  .rotary = cosine ? 0 : ATTN_ROTARY_HALVES,
                                  .score = cosine ? ATTN_SCORE_COSINE : ATTN_SCORE_SCALED_DOT};
        for (int kernel = ATTN_KERNEL_REFERENCE; kernel <= last_kernel(); kernel++) {
            case_arrays a = case_make(&c, 3), b = case_make(&c, 3);
            case_arrays *both[] = {&a, &b};
            for (int n = 0; n < 2; n++) {
                for (size_t i = 0; i < (query ? 300U : 20U); i++) {
                    both[n]->mask[query ? 7 * 300 + i : i * 300 + 207] = 0;
                }
                both[n]->problem.kernel = n ? (attn_kernel)kernel : ATTN_KERNEL_REFERENCE;
            }
            for (size_t e = 0; e < 16; e++) {
                ((float *)(query ? b.q : b.k))[(query ? 7U : 207U) * 16 + e] = cosine  ? 1e-42f
                                                                               : e % 2 ? -3e38f
                                                                                       : 3e38f;
            }
            run(&a);
            run(&b);
            assert_like("o", b.o, a.o, ATTN_F32, a.o_count, 1e-5);
            assert_like("d_q", b.d_q, a.d_q, ATTN_F32, a.d_q_count, 1e-5);
            assert_like("d_k", b.d_k, a.d_k, ATTN_F32, a.d_k_count, 1e-5);
            assert_like("d_v", b.d_v, a.d_v, ATTN_F32, a.d_v_count, 1e-5);
            if (c.bias) {
                assert_like("d_bias", b.d_bias, a.d_bias, ATTN_F32, a.bias_count, 1e-5);
            }
            case_free(&a);
            case_free(&b);
        }
    }
}

/* One over its length is more than a float holds; the direction is not. */
static void cosine_of_a_tiny_row(void **state) {
    (void)state;
    const attention_case c = {SHAPE(1, 9, 20, 1, 1, 16, 16), .score = ATTN_SCORE_COSINE};
    for (int kernel = ATTN_KERNEL_PORTABLE; kernel <= last_kernel(); kernel++) {
        case_arrays a = case_make(&c, 3), b = case_make(&c, 3);
        for (size_t e = 0; e < 16; e++) {
            ((float *)a.k)[3 * 16 + e] = ((float *)b.k)[3 * 16 + e] = e % 3 ? 1e-40f : -2e-40f;
        }
        a.problem.kernel = ATTN_KERNEL_REFERENCE;
        b.problem.kernel = (attn_kernel)kernel;
        run(&a);
        run(&b);
        assert_like("o", b.o, a.o, ATTN_F32, a.o_count, 1e-5);
        assert_like("d_q", b.d_q, a.d_q, ATTN_F32, a.d_q_count, 1e-5);
        assert_like("d_v", b.d_v, a.d_v, ATTN_F32, a.d_v_count, 1e-5);
        case_free(&a);
        case_free(&b);
    }
}

/* Where no key exists a row sees nothing, and its d_o may hold anything. */
static void sinks_beside_no_keys(void **state) {
    (void)state;
    const attention_case c = {SHAPE(1, 7, 0, 2, 2, 16, 16), .sinks = 1};
    for (int kernel = ATTN_KERNEL_REFERENCE; kernel <= last_kernel(); kernel++) {
        case_arrays a = case_make(&c, 3);
        a.problem.kernel = (attn_kernel)kernel;
        case_set(a.d_o, ATTN_F32, 0, NAN);
        run(&a);
        assert_true(a.d_sinks[0] == 0 && a.d_sinks[1] == 0);
        case_free(&a);
    }
}

/* A bias that is broadcast over queries and keys is there without any, and so is its gradient. */
static void a_broadcast_bias_without_pairs(void **state) {
    (void)state;
    for (int kernel = ATTN_KERNEL_REFERENCE; kernel <= last_kernel(); kernel++) {
        for (int n = 0; n < 2; n++) {
            const attention_case c = {SHAPE(1, n ? 3 : 0, n ? 0 : 3, 2, 2, 16, 16)};
            case_arrays a = case_make(&c, 3);
            float bias[2] = {1, 2}, d_bias[2] = {7, 7};
            a.problem.kernel = (attn_kernel)kernel;
            a.problem.bias = bias;
            a.problem.bias_strides = (attn_score_strides){.head = 1};
            a.d_bias = d_bias;
            run(&a);
            assert_true(d_bias[0] == 0 && d_bias[1] == 0);
            case_free(&a);
        }
    }
}

static void key_lengths_in_two_types(void **state) {
    (void)state;
    const attention_case c = {SHAPE(1, 4, 5, 1, 1, 16, 16), .key_lengths = 1};
    const int64_t wide[] = {3};
    case_arrays a = case_make(&c, 3);
    a.problem.key_lengths.i64 = wide;
    assert_int_equal(case_forward(&a), ATTN_ERROR_ARGUMENT);
    assert_non_null(strstr(attn_last_error(), "key_lengths has both"));
    case_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_of_any_size),
        cmocka_unit_test(a_large_score_stays_with_its_row),
        cmocka_unit_test(a_row_hidden_by_a_finite_bias),
        cmocka_unit_test(decoding_with_scores_of_any_size),
        cmocka_unit_test(hidden_rows_that_become_infinite),
        cmocka_unit_test(cosine_of_a_tiny_row),
        cmocka_unit_test(sinks_beside_no_keys),
        cmocka_unit_test(a_broadcast_bias_without_pairs),
        cmocka_unit_test(key_lengths_in_two_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
