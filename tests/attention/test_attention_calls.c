/* How the operator may be called: arguments that must be refused, sequences without tokens,
 * workspaces anywhere and of any size, several callers at once. */
#include "cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <omp.h>
#include <pthread.h>

/* Everything that the passes write, to be found untouched. */
typedef struct call {
    case_arrays a;
    const void *q, *k, *v, *o, *d_o;
    const float *log_sum_exp;
    attn_attention_gradients g;
    float *weights, *sums;
    size_t size;
    int no_gradients;
} call;

enum { FORWARD, BACKWARD, WEIGHTS, SUMS, PASSES };
static const char *const PASS_NAMES[] = {"forward", "backward", "weights", "column sums"};

static attn_status run_pass(call *c, int pass) {
    case_arrays *a = &c->a;
    const attn_attention_problem *p = &a->problem;
    switch (pass) {
    case FORWARD:
        return attn_attention_forward(p, c->q, c->k, c->v, (void *)(uintptr_t)c->o, a->log_sum_exp, a->workspace, c->size);
    case BACKWARD:
        return attn_attention_backward(p, c->q, c->k, c->v, c->o, c->log_sum_exp, c->d_o,
                                       c->no_gradients ? NULL : &c->g, a->workspace, c->size);
    case WEIGHTS:
        return attn_attention_weights(p, c->q, c->k, c->weights, a->workspace, c->size);
    default:
        return attn_attention_column_sums(p, c->q, c->k, c->log_sum_exp, c->sums, a->workspace, c->size);
    }
}

static int touched(const void *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (((const unsigned char *)data)[i] != 0x5a) {
            return 1;
        }
    }
    return 0;
}

typedef struct wrong {
    const char *name;
    void (*make)(call *c);
    int passes; /* bits; 0: all */
} wrong;

static const int32_t FALLING[] = {0, 9, 8}, FINE[] = {0, 8, 16}, NEGATIVE[] = {-1, 8, 16}, LONG[] = {8, 9}, BELOW[] = {8, -1};
static const int64_t HUGE_OFFSETS[] = {0, (int64_t)1 << 29, (int64_t)1 << 30}, FINE64[] = {0, 8, 16};
static const float ONE[1] = {0};

#define WRONG(name, statement) static void name(call *c) { statement; }
WRONG(kv_heads_do_not_divide, c->a.problem.kv_heads = 3)
WRONG(no_heads, c->a.problem.heads = c->a.problem.kv_heads = 0)
WRONG(offsets_fall, attn_attention_packed(&c->a.problem, 2, FALLING, FINE))
WRONG(offsets_are_negative, attn_attention_packed(&c->a.problem, 2, NEGATIVE, FINE))
WRONG(offsets_of_one_kind, c->a.problem.q_offsets.i32 = FINE)
WRONG(offsets_in_two_widths, attn_attention_packed(&c->a.problem, 2, FINE, FINE); c->a.problem.q_offsets.i64 = FINE64)
WRONG(no_q, c->q = NULL)
WRONG(no_k, c->k = NULL)
WRONG(no_v, c->v = NULL)
WRONG(no_o, c->o = NULL)
WRONG(no_d_o, c->d_o = NULL)
WRONG(no_log_sum_exp, c->log_sum_exp = NULL)
WRONG(no_gradients, c->no_gradients = 1)
WRONG(no_weights, c->weights = NULL)
WRONG(no_sums, c->sums = NULL)
WRONG(bias_gradient_without_bias, c->g.bias = c->weights)
WRONG(sink_gradient_without_sinks, c->g.sinks = c->weights)
WRONG(workspace_too_small, c->size = 100)
WRONG(width_zero, c->a.problem.d = 0)
WRONG(width_too_large, c->a.problem.d_v = 257)
WRONG(sequences_negative, c->a.problem.sequences = -1)
WRONG(queries_negative, c->a.problem.queries = -1)
WRONG(dropout_of_one, c->a.problem.dropout = 1)
WRONG(dropout_nan, c->a.problem.dropout = NAN)
WRONG(scale_nan, c->a.problem.scale = NAN)
WRONG(queries_overflow, c->a.problem.queries = INT64_MAX / 2)
WRONG(keys_overflow, c->a.problem.keys = INT64_MAX / 3)
WRONG(rows_overflow, attn_attention_batch(&c->a.problem, (1 << 30), 1 << 29, 1))
WRONG(heads_and_tokens_overflow, c->a.problem.heads = c->a.problem.kv_heads = 1 << 20;
      c->a.problem.q_offsets.i64 = c->a.problem.k_offsets.i64 = HUGE_OFFSETS)
WRONG(pairs_overflow, attn_attention_batch(&c->a.problem, 1 << 8, 1 << 29, 1 << 29))
WRONG(stride_overflows, c->a.problem.q.token = INT64_MAX / 4)
WRONG(bias_stride_overflows, c->a.problem.bias = ONE; c->a.problem.bias_strides.query = INT64_MAX / 4)
WRONG(mask_stride_overflows, c->a.problem.mask = (const uint8_t *)ONE; c->a.problem.mask_strides.key = INT64_MIN / 4)
WRONG(length_too_long, c->a.problem.key_lengths.i32 = LONG)
WRONG(length_negative, c->a.problem.key_lengths.i32 = BELOW)
WRONG(window_negative, c->a.problem.window_left = -1)
WRONG(softcap_zero, c->a.problem.softcap = 0)
WRONG(dtype_int8, c->a.problem.dtype = ATTN_I8)
WRONG(score_unknown, c->a.problem.score = (attn_score)9)
WRONG(causal_unknown, c->a.problem.causal = (attn_causal)9)
WRONG(kernel_unknown, c->a.problem.kernel = (attn_kernel)9)
WRONG(rotary_without_tables, c->a.problem.rotary = ATTN_ROTARY_HALVES)
WRONG(rotary_too_short, c->a.problem.rotary = ATTN_ROTARY_HALVES; c->a.problem.rotary_d = 2;
      c->a.problem.rotary_positions = 7; c->a.problem.rotary_cos = c->a.problem.rotary_sin = (const float *)c->v)
WRONG(linear_with_sinks, c->a.problem.score = ATTN_SCORE_LINEAR; c->a.problem.sinks = ONE)

#define ROW(name, passes) {#name, name, passes}
static const wrong WRONGS[] = {
    ROW(kv_heads_do_not_divide, 0), ROW(no_heads, 0), ROW(offsets_fall, 0), ROW(offsets_are_negative, 0),
    ROW(offsets_of_one_kind, 0), ROW(offsets_in_two_widths, 0), ROW(no_q, 0), ROW(no_k, 0),
    ROW(no_v, 1 << FORWARD | 1 << BACKWARD), ROW(no_o, 1 << FORWARD | 1 << BACKWARD), ROW(no_d_o, 1 << BACKWARD),
    ROW(no_log_sum_exp, 1 << BACKWARD | 1 << SUMS), ROW(no_gradients, 1 << BACKWARD), ROW(no_weights, 1 << WEIGHTS),
    ROW(no_sums, 1 << SUMS), ROW(bias_gradient_without_bias, 1 << BACKWARD),
    ROW(sink_gradient_without_sinks, 1 << BACKWARD), ROW(workspace_too_small, 0), ROW(width_zero, 0),
    ROW(width_too_large, 0), ROW(sequences_negative, 0), ROW(queries_negative, 0), ROW(dropout_of_one, 0),
    ROW(dropout_nan, 0), ROW(scale_nan, 0), ROW(queries_overflow, 0), ROW(keys_overflow, 0), ROW(rows_overflow, 0),
    ROW(heads_and_tokens_overflow, 0), ROW(pairs_overflow, 1 << WEIGHTS), ROW(stride_overflows, 0),
    ROW(bias_stride_overflows, 0), ROW(mask_stride_overflows, 0), ROW(length_too_long, 0), ROW(length_negative, 0),
    ROW(window_negative, 0), ROW(softcap_zero, 0), ROW(dtype_int8, 0), ROW(score_unknown, 0), ROW(causal_unknown, 0),
    ROW(kernel_unknown, 0), ROW(rotary_without_tables, 0), ROW(rotary_too_short, 0), ROW(linear_with_sinks, 0),
};

static void wrong_arguments_are_refused_and_touch_nothing(void **state) {
    (void)state;
    const attention_case shape = {SHAPE(2, 8, 8, 4, 2, 16, 16)};
    for (size_t n = 0; n < sizeof WRONGS / sizeof *WRONGS; n++) {
        for (int pass = 0; pass < PASSES; pass++) {
            call c = {.a = case_make(&shape, 10)};
            case_arrays *a = &c.a;
            const size_t sizes[] = {a->o_count * 4, a->rows * 4, a->d_q_count * 4, a->d_k_count * 4, a->d_v_count * 4,
                                    2 * 4 * 64 * 4, 4 * 16 * 4};
            if (WRONGS[n].passes && !(WRONGS[n].passes >> pass & 1)) {
                case_free(a);
                continue;
            }
            for (int each = ATTN_PASS_FORWARD; each <= ATTN_PASS_COLUMN_SUMS; each++) {
                assert_int_equal(case_workspace(a, (attn_attention_pass)each), 0);
            }
            float *weights = case_new(2 * 4 * 64, 4), *sums = case_new(4 * 16, 4);
            void *written[] = {a->o, a->log_sum_exp, a->d_q, a->d_k, a->d_v, weights, sums};
            for (int i = 0; i < 7; i++) {
                memset(written[i], 0x5a, sizes[i]);
            }
            c.q = a->q;
            c.k = a->k;
            c.v = a->v;
            c.o = a->o;
            c.d_o = a->d_o;
            c.log_sum_exp = a->log_sum_exp;
            c.g = (attn_attention_gradients){a->d_q, a->d_k, a->d_v, NULL, NULL};
            c.weights = weights;
            c.sums = sums;
            c.size = a->workspace_size;
            WRONGS[n].make(&c);
            const attn_status status = run_pass(&c, pass);
            if (status != ATTN_ERROR_ARGUMENT || !attn_last_error()[0]) {
                fail_msg("%s: %s gave %s", WRONGS[n].name, PASS_NAMES[pass], attn_status_name(status));
            }
            for (int i = 0; i < 7; i++) {
                if (touched(written[i], sizes[i])) {
                    fail_msg("%s: %s wrote to array %d", WRONGS[n].name, PASS_NAMES[pass], i);
                }
            }
            free(weights);
            free(sums);
            case_free(a);
        }
    }
}

static void sizes_that_overflow_have_no_workspace(void **state) {
    (void)state;
    attn_attention_problem p;
    size_t size = 7;
    attn_attention_defaults(&p, 1 << 20, 1, 256, 256);
    attn_attention_batch(&p, 1, 1 << 29, 1 << 29);
    for (int pass = ATTN_PASS_FORWARD; pass <= ATTN_PASS_DECODE; pass++) {
        assert_int_equal(attn_attention_workspace(&p, (attn_attention_pass)pass, &size), ATTN_ERROR_ARGUMENT);
        assert_int_equal(size, 7);
    }
    attn_attention_defaults(&p, 1 << 10, 1, 256, 256);
    attn_attention_batch(&p, 1 << 20, 16, 1 << 20);
    assert_int_equal(attn_attention_workspace(&p, ATTN_PASS_DECODE, &size), ATTN_ERROR_ARGUMENT);
    assert_int_equal(attn_attention_workspace(NULL, ATTN_PASS_FORWARD, &size), ATTN_ERROR_ARGUMENT);
    assert_int_equal(attn_attention_workspace(&p, (attn_attention_pass)9, &size), ATTN_ERROR_ARGUMENT);
    attn_attention_defaults(&p, 1, 1, 8, 8);
    assert_int_equal(attn_attention_workspace(&p, ATTN_PASS_FORWARD, NULL), ATTN_ERROR_ARGUMENT);
}

/* The workspace follows the tokens, not their product. */
static void workspace_is_linear_in_tokens(void **state) {
    (void)state;
    for (int pass = ATTN_PASS_FORWARD; pass <= ATTN_PASS_DECODE; pass++) {
        size_t sizes[3];
        for (int n = 0; n < 3; n++) {
            attn_attention_problem p;
            attn_attention_defaults(&p, 8, 4, 64, 64);
            attn_attention_batch(&p, 1, pass == ATTN_PASS_DECODE ? 16 : 1000 << n, 1000 << n);
            assert_int_equal(attn_attention_workspace(&p, (attn_attention_pass)pass, &sizes[n]), 0);
        }
        assert_true(sizes[2] - sizes[1] <= 2 * (sizes[1] - sizes[0]) + 4096);
        /* a thread's share, of which rows of the queries have 2,048 bytes each; one that grew with queries
         * times keys would be many times as large */
        assert_true(sizes[2] < (size_t)4000 * 2304 * (size_t)omp_get_max_threads());
    }
}

/* Sequences without queries, without keys, without both, first, last and between. */
static void sequences_without_tokens_are_fine(void **state) {
    (void)state;
    const int32_t q_offsets[] = {0, 0, 5, 5, 5, 12, 12}, k_offsets[] = {0, 4, 4, 4, 11, 20, 20};
    for (int n = 0; n < 4; n++) {
        for (int kernel = ATTN_KERNEL_REFERENCE; kernel <= last_kernel(); kernel++) {
            const attention_case c = {SHAPE(1, 12, 20, 4, 2, 16, 16), .dtype = (attn_dtype)(n % 2),
                                      .score = n < 2 ? ATTN_SCORE_SCALED_DOT : ATTN_SCORE_LINEAR};
            case_arrays a = case_make(&c, 3);
            float *weights = case_new(4 * 7 * 9, 4), *sums = case_new(4 * 20, 4);
            a.problem.kernel = (attn_kernel)kernel;
            attn_attention_packed(&a.problem, 6, q_offsets, k_offsets);
            memset(a.o, 0xff, a.o_count * (size_t)dtype_size(c.dtype));
            memset(a.d_q, 0xff, a.d_q_count * (size_t)dtype_size(c.dtype));
            memset(a.d_k, 0xff, a.d_k_count * (size_t)dtype_size(c.dtype));
            memset(a.d_v, 0xff, a.d_v_count * (size_t)dtype_size(c.dtype));
            assert_int_equal(case_forward(&a), 0);
            assert_int_equal(case_backward(&a), 0);
            assert_int_equal(case_workspace(&a, ATTN_PASS_WEIGHTS), 0);
            assert_int_equal(case_workspace(&a, ATTN_PASS_COLUMN_SUMS), 0);
            memset(sums, 0xff, 4 * 20 * 4);
            assert_int_equal(attn_attention_weights(&a.problem, a.q, a.k, weights, a.workspace, a.workspace_size), 0);
            assert_int_equal(attn_attention_column_sums(&a.problem, a.q, a.k, a.log_sum_exp, sums, a.workspace,
                                                        a.workspace_size), 0);
            for (size_t e = 0; e < 5 * 64; e++) { /* queries without keys */
                assert_true(case_get(a.o, c.dtype, e) == 0 && case_get(a.d_q, c.dtype, e) == 0);
            }
            for (size_t e = 0; e < 20 * 32; e++) { /* keys 0 .. 3 and 4 .. 10 without queries */
                const float d_k = case_get(a.d_k, c.dtype, e), d_v = case_get(a.d_v, c.dtype, e);
                assert_true(e < 11 * 32 ? d_k == 0 && d_v == 0 : isfinite(d_k) && d_v != 0);
            }
            for (size_t i = 0; i < 4 * 12; i++) {
                assert_int_equal(a.log_sum_exp[i] == -INFINITY, i % 12 < 5);
            }
            for (size_t i = 0; i < 4 * 20; i++) {
                assert_true(i % 20 < 11 ? sums[i] == 0 : sums[i] > 0);
            }
            for (size_t r = 0; r < 4 * 7; r++) {
                double sum = 0;
                for (size_t j = 0; j < 9; j++) {
                    sum += (double)weights[r * 9 + j];
                }
                assert_true(fabs(sum - 1) < 1e-5);
            }
            free(weights);
            free(sums);
            case_free(&a);
        }
    }
}

/* Any address and any size from one thread's need on: the same bits. */
static void workspace_may_lie_anywhere(void **state) {
    (void)state;
    const attention_case c = {SHAPE(3, 60, 90, 4, 2, 20, 36), .sinks = 1, .bias = 1};
    case_arrays want = case_make(&c, 5);
    assert_int_equal(case_forward(&want), 0);
    assert_int_equal(case_backward(&want), 0);
    for (size_t off = 1; off < 64; off += 13) {
        case_arrays a = case_make(&c, 5);
        size_t forward, backward;
        omp_set_num_threads(1);
        assert_int_equal(attn_attention_workspace(&a.problem, ATTN_PASS_FORWARD, &forward), 0);
        assert_int_equal(attn_attention_workspace(&a.problem, ATTN_PASS_BACKWARD, &backward), 0);
        omp_set_num_threads(3); /* and given that of one */
        char *space = case_new((forward > backward ? forward : backward) + off, 1);
        const attn_attention_gradients g = {a.d_q, a.d_k, a.d_v, a.d_bias, a.d_sinks};
        assert_int_equal(attn_attention_forward(&a.problem, a.q, a.k, a.v, a.o, a.log_sum_exp, space + off, forward), 0);
        assert_int_equal(attn_attention_backward(&a.problem, a.q, a.k, a.v, a.o, a.log_sum_exp, a.d_o, &g, space + off,
                                                 backward), 0);
        assert_memory_equal(a.o, want.o, a.o_count * 4);
        assert_memory_equal(a.d_q, want.d_q, a.d_q_count * 4);
        assert_memory_equal(a.d_v, want.d_v, a.d_v_count * 4);
        assert_memory_equal(a.d_bias, want.d_bias, a.bias_count * 4);
        assert_memory_equal(a.d_sinks, want.d_sinks, 16);
        free(space);
        case_free(&a);
    }
    omp_set_num_threads(2);
    case_free(&want);
}

/* --- several callers ---------------------------------------------------------------------- */

enum { CALLERS = 5, TIMES = 3 };

typedef struct caller {
    case_arrays want;
    attention_case c;
    uint64_t seed;
    int failed;
} caller;

static void *call_often(void *context) {
    caller *who = context;
    const size_t size = (size_t)dtype_size(who->c.dtype);
    omp_set_num_threads(1 + (int)who->seed % 3);
    for (int n = 0; n < TIMES; n++) {
        case_arrays a = case_make(&who->c, who->seed);
        who->failed |= case_forward(&a) || case_backward(&a);
        who->failed |= memcmp(a.o, who->want.o, a.o_count * size) || memcmp(a.d_q, who->want.d_q, a.d_q_count * size) ||
                       memcmp(a.d_k, who->want.d_k, a.d_k_count * size);
        a.problem.d = -(int64_t)who->seed; /* each thread has an error of its own */
        char text[20];
        (void)snprintf(text, sizeof text, "d -%d ", (int)who->seed);
        who->failed |= case_forward(&a) != ATTN_ERROR_ARGUMENT || !strstr(attn_last_error(), text);
        case_free(&a);
    }
    return NULL;
}

static void several_threads_may_call_at_once(void **state) {
    (void)state;
    static caller callers[CALLERS];
    pthread_t threads[CALLERS];
    for (int n = 0; n < CALLERS; n++) {
        callers[n].c = attention_case_random(50 + (uint64_t)n);
        callers[n].seed = 50 + (uint64_t)n;
        callers[n].want = case_make(&callers[n].c, callers[n].seed);
        assert_int_equal(case_forward(&callers[n].want), 0);
        assert_int_equal(case_backward(&callers[n].want), 0);
    }
    for (int n = 0; n < CALLERS; n++) {
        assert_int_equal(pthread_create(&threads[n], NULL, call_often, &callers[n]), 0);
    }
    for (int n = 0; n < CALLERS; n++) {
        assert_int_equal(pthread_join(threads[n], NULL), 0);
        assert_int_equal(callers[n].failed, 0);
        case_free(&callers[n].want);
    }
}

/* From inside a parallel region too. */
static void calls_within_a_parallel_region_are_fine(void **state) {
    (void)state;
    const attention_case c = {SHAPE(2, 70, 90, 2, 2, 32, 32)};
    case_arrays want = case_make(&c, 5);
    int failed = 0;
    assert_int_equal(case_forward(&want), 0);
#pragma omp parallel for num_threads(3) reduction(| : failed)
    for (int n = 0; n < 6; n++) {
        case_arrays a = case_make(&c, 5);
        failed |= case_forward(&a) || memcmp(a.o, want.o, a.o_count * 4);
        case_free(&a);
    }
    assert_int_equal(failed, 0);
    case_free(&want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_arguments_are_refused_and_touch_nothing),
        cmocka_unit_test(sizes_that_overflow_have_no_workspace),
        cmocka_unit_test(workspace_is_linear_in_tokens),
        cmocka_unit_test(sequences_without_tokens_are_fine),
        cmocka_unit_test(workspace_may_lie_anywhere),
        cmocka_unit_test(several_threads_may_call_at_once),
        cmocka_unit_test(calls_within_a_parallel_region_are_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
