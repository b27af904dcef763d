/* Attention with windows and without softmax, as layers call it: result and gradients of packed
 * sequences against the same sums in f64 over all pairs, masked; the same bits for any number of
 * threads and for a sequence alone. */
#include <math.h>
#include <stdlib.h>

#include "test.h"

#include "base/cpu.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/threads.h"
#include "tensor/ops.h"

enum { HEADS = 4, KV_HEADS = 2, DIM = 24, COLUMNS = (HEADS + 2 * KV_HEADS) * DIM, OUT = HEADS * DIM, SEQUENCES = 4, TOKENS = 402 };

static const uint64_t SEED = 20200407;
static const int32_t OFFSETS[SEQUENCES + 1] = {0, 1, 38, 102, TOKENS}; /* 300: several blocks of rows and of keys */

static const struct {
    attention_span span;
    int causal;
} CASES[] = {{{ATTENTION_FULL, 0}, 1},     {{ATTENTION_FULL, 0}, 0},    {{ATTENTION_WINDOW, 1}, 1},  {{ATTENTION_WINDOW, 1}, 0},
             {{ATTENTION_WINDOW, 2}, 1},   {{ATTENTION_WINDOW, 9}, 0},  {{ATTENTION_WINDOW, 65}, 1}, {{ATTENTION_WINDOW, 130}, 0},
             {{ATTENTION_WINDOW, 200}, 1}, {{ATTENTION_WINDOW, 1 << 30}, 1}, {{ATTENTION_WINDOW, 1 << 30}, 0},
             {{ATTENTION_LINEAR, 0}, 1},   {{ATTENTION_LINEAR, 0}, 0}};

typedef struct run_of {
    double in[TOKENS * COLUMNS], d_out[TOKENS * OUT];    /* as the operation saw them */
    double out[TOKENS * OUT], d_in[TOKENS * COLUMNS];    /* what it gave */
} run_of;

static double value_at(const void *data, element_type type, int64_t i) {
    float value;
    if (type == ELEMENT_F32) {
        return (double)((const float *)data)[i];
    }
    uint32_t bits = (uint32_t)((const uint16_t *)data)[i] << 16;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static void fill(void *data, element_type type, int64_t count, uint64_t use) {
    for (int64_t i = 0; i < count; i++) {
        float value = random_normal(random_key(SEED, use, 0), (uint64_t)i);
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        if (type == ELEMENT_F32) {
            ((float *)data)[i] = value;
        } else {
            ((uint16_t *)data)[i] = (uint16_t)(bits >> 16);
        }
    }
}

/* The operation over the tokens first .. end - 1, sequences from `sequence` on. */
static void run(size_t which, element_type type, int first_sequence, int sequences, run_of *r) {
    parameters set = {0};
    parameter unused;
    tape t;
    int32_t offsets[SEQUENCES + 1];
    int64_t from = OFFSETS[first_sequence], tokens = OFFSETS[first_sequence + sequences] - from;
    int adds;
    for (int s = 0; s <= sequences; s++) {
        offsets[s] = OFFSETS[first_sequence + s] - (int32_t)from;
    }
    assert_int_equal(parameters_declare(&set, 1, 1, 1, 1, &unused, "unused"), ATTN_OK);
    assert_int_equal(parameters_allocate(&set, 1, type == ELEMENT_BF16), ATTN_OK);
    assert_int_equal(tape_open(&t, &set), ATTN_OK);
    tape_start(&t, 1, 1, 1);
    /* one fill for all tokens, so that a sequence alone has the values that it has in company */
    void *whole = memory_allocate(TOKENS * COLUMNS, element_size(type));
    tensor *x = tape_tensor(&t, tokens, COLUMNS);
    fill(whole, type, TOKENS * COLUMNS, 1);
    memcpy(x->data, element_at(whole, type, from * COLUMNS), (size_t)(tokens * COLUMNS) * element_size(type));
    attention_inputs in = {.queries = x, .keys = x, .key_column = OUT, .value_column = OUT + KV_HEADS * DIM, .heads = HEADS,
                           .head_dim = DIM, .query_packing = {offsets, sequences}, .key_packing = {offsets, sequences},
                           .causal = CASES[which].causal, .part = "x", .kv_heads = KV_HEADS, .span = CASES[which].span};
    tensor *y = op_attention(&t, &in);
    if (!y || !tape_gradient(&t, y, &adds)) {
        fail_msg("%s", attn_last_error());
    }
    fill(whole, type, TOKENS * OUT, 2);
    memcpy(y->gradient, element_at(whole, type, from * OUT), (size_t)(tokens * OUT) * element_size(type));
    for (int64_t i = 0; i < tokens * OUT; i++) {
        r->out[i] = value_at(y->data, type, i);
        r->d_out[i] = value_at(y->gradient, type, i);
    }
    assert_int_equal(tape_backward(&t), ATTN_OK);
    for (int64_t i = 0; i < tokens * COLUMNS; i++) {
        r->in[i] = value_at(x->data, type, i);
        r->d_in[i] = value_at(x->gradient, type, i);
    }
    memory_free(whole);
    tape_close(&t);
    parameters_free(&set);
}

/* --- the same in f64 ------------------------------------------------------------------- */

static int sees(size_t which, int i, int j) {
    attention_span span = CASES[which].span;
    if (CASES[which].causal) {
        return j <= i && (span.kind != ATTENTION_WINDOW || i - j < span.window);
    }
    return span.kind != ATTENTION_WINDOW || abs(i - j) <= span.window / 2;
}

static double feature(double x, double *slope) {
    *slope = x > 0 ? 1 : exp(x);
    return x > 0 ? x + 1 : exp(x);
}

static double unnormalised(int linear, const double *q, const double *k) {
    double sum = 0, slope;
    for (int c = 0; c < DIM; c++) {
        sum += linear ? feature(q[c], &slope) * feature(k[c], &slope) : q[c] * k[c];
    }
    return linear ? sum : exp(sum / sqrt(DIM));
}

/* One query of a sequence of n tokens; its output, and what it gives to the gradients. */
static void plain_query(size_t which, const double *in, int n, int i, int head, const double *d_o, double *o, double *d_in) {
    int linear = CASES[which].span.kind == ATTENTION_LINEAR, at_k = OUT + head / (HEADS / KV_HEADS) * DIM;
    int at_v = at_k + KV_HEADS * DIM;
    const double *q = in + i * COLUMNS + head * DIM;
    double *d_q = d_in + i * COLUMNS + head * DIM, weights[TOKENS], sum = 0, inner = 0, slope_q, slope_k;
    for (int j = 0; j < n; j++) {
        weights[j] = sees(which, i, j) ? unnormalised(linear, q, in + j * COLUMNS + at_k) : 0;
        sum += weights[j];
    }
    for (int c = 0; c < DIM; c++) {
        o[c] = 0;
        for (int j = 0; j < n; j++) {
            o[c] += weights[j] / sum * in[j * COLUMNS + at_v + c];
        }
        inner += o[c] * d_o[c];
    }
    for (int j = 0; j < n; j++) {
        const double *k = in + j * COLUMNS + at_k, *v = in + j * COLUMNS + at_v;
        double *d_k = d_in + j * COLUMNS + at_k, *d_v = d_in + j * COLUMNS + at_v, d_weight = -inner;
        for (int c = 0; c < DIM && sees(which, i, j); c++) {
            d_weight += d_o[c] * v[c];
            d_v[c] += weights[j] / sum * d_o[c];
        }
        for (int c = 0; c < DIM && sees(which, i, j); c++) {
            double in_features = d_weight / sum, in_scores = d_weight * weights[j] / sum / sqrt(DIM);
            double f_q = feature(q[c], &slope_q), f_k = feature(k[c], &slope_k);
            d_q[c] += linear ? in_features * f_k * slope_q : in_scores * k[c];
            d_k[c] += linear ? in_features * f_q * slope_k : in_scores * q[c];
        }
    }
}

static void assert_near(size_t which, const char *what, const double *found, const double *expected, int64_t count, double bound) {
    double largest = 0, error = 0;
    for (int64_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs(expected[i]));
        double difference = fabs(found[i] - expected[i]);
        error = difference > error || isnan(difference) ? difference : error;
    }
    if (!(error <= bound * largest)) {
        fail_msg("case %zu: %s: error %g above %g of %g", which, what, error, bound, largest);
    }
}

static void check(size_t which, element_type type, double bound) {
    static run_of r;
    static double out[TOKENS * OUT], d_in[TOKENS * COLUMNS];
    run(which, type, 0, SEQUENCES, &r);
    memset(d_in, 0, sizeof d_in);
    for (int s = 0; s < SEQUENCES; s++) {
        int n = OFFSETS[s + 1] - OFFSETS[s];
        const double *in = r.in + OFFSETS[s] * COLUMNS;
        for (int i = 0; i < n * HEADS; i++) {
            int64_t at = (OFFSETS[s] + i / HEADS) * OUT + i % HEADS * DIM;
            plain_query(which, in, n, i / HEADS, i % HEADS, r.d_out + at, out + at, d_in + OFFSETS[s] * COLUMNS);
        }
    }
    assert_near(which, "result", r.out, out, TOKENS * OUT, bound);
    assert_near(which, "gradient", r.d_in, d_in, TOKENS * COLUMNS, bound);
}

static void every_span_equals_all_pairs_in_f64(void **state) {
    (void)state;
    printf("seed %llu\n", (unsigned long long)SEED);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        check(i, ELEMENT_F32, 1e-5);
        if (cpu_selected() == CPU_AVX512_BF16) {
            check(i, ELEMENT_BF16, 2e-2);
        }
    }
}

static void threads_and_company_change_no_bit(void **state) {
    (void)state;
    static run_of first, again;
    int before = threads_get();
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        threads_set(1);
        run(i, ELEMENT_F32, 0, SEQUENCES, &first);
        for (int threads = 2; threads <= 5; threads += 3) {
            threads_set(threads);
            run(i, ELEMENT_F32, 0, SEQUENCES, &again);
            assert_memory_equal(first.out, again.out, sizeof first.out);
            assert_memory_equal(first.d_in, again.d_in, sizeof first.d_in);
        }
        for (int s = 0; s < SEQUENCES; s++) {
            size_t tokens = (size_t)(OFFSETS[s + 1] - OFFSETS[s]);
            run(i, ELEMENT_F32, s, 1, &again);
            assert_memory_equal(first.out + OFFSETS[s] * OUT, again.out, tokens * OUT * sizeof(double));
            assert_memory_equal(first.d_in + OFFSETS[s] * COLUMNS, again.d_in, tokens * COLUMNS * sizeof(double));
        }
        threads_set(before);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_span_equals_all_pairs_in_f64),
        cmocka_unit_test(threads_and_company_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
