/* Pooling by learned attention, the choice of rows and tanh: values and gradients of a
 * small classifier against the same sums in f64 and their central differences, and the
 * same bits with one thread and two. */
#include <math.h>
#include <omp.h>

#include "differences.h"
#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "tensor/ops.h"

enum { WORDS = 11, WIDTH = 17, HIDDEN = 19, CLASSES = 3, SEQUENCES = 4, TOKENS = 12 };

static const uint64_t SEED = 20160612;
static const int32_t IDS[TOKENS] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8};
static const int32_t OFFSETS[SEQUENCES + 1] = {0, 1, 6, 8, 12};
static const int32_t LABELS[SEQUENCES] = {2, 0, 1, 2};

typedef struct classifier {
    parameters set;
    parameter table, weight, bias, query, out, out_bias;
    tape tape;
    int pooled; /* else the first token of each sequence */
} classifier;

static void open_classifier(classifier *c, int pooled, int copies) {
    *c = (classifier){.pooled = pooled};
    parameters *set = &c->set;
    assert_int_equal(parameters_declare(set, 1, 2, WORDS, WIDTH, &c->table, "table"), ATTN_OK);
    assert_int_equal(parameters_declare(set, 1, 2, HIDDEN, WIDTH, &c->weight, "weight"), ATTN_OK);
    assert_int_equal(parameters_declare(set, 1, 1, 1, HIDDEN, &c->bias, "bias"), ATTN_OK);
    assert_int_equal(parameters_declare(set, 1, 2, 1, HIDDEN, &c->query, "query"), ATTN_OK);
    assert_int_equal(parameters_declare(set, 1, 2, CLASSES, WIDTH, &c->out, "out"), ATTN_OK);
    assert_int_equal(parameters_declare(set, 1, 1, 1, CLASSES, &c->out_bias, "out_bias"), ATTN_OK);
    assert_int_equal(parameters_allocate(set, 1, copies), ATTN_OK);
    for (int64_t i = 0; i < set->size; i++) {
        set->values[i] = 0.5f * random_normal(SEED, (uint64_t)i);
    }
    parameters_update_copies(set);
    assert_int_equal(tape_open(&c->tape, set), ATTN_OK);
}

static void close_classifier(classifier *c) {
    tape_close(&c->tape);
    parameters_free(&c->set);
}

static packing packed(void) {
    return (packing){OFFSETS, SEQUENCES};
}

/* Loss and gradients by the operations; weights [TOKENS] from the probe. */
static attn_status take_weights(void *context, const char *part, int64_t sequence, int64_t heads, int64_t queries,
                                int64_t keys, const float *weights) {
    assert_string_equal(part, "pool");
    assert_true(heads == 1 && queries == 1 && keys == OFFSETS[sequence + 1] - OFFSETS[sequence]);
    memcpy((float *)context + OFFSETS[sequence], weights, (size_t)keys * sizeof(float));
    return ATTN_OK;
}

static double run(classifier *c, float *weights) {
    tape *t = &c->tape;
    loss_result loss;
    memset(c->set.gradients, 0, (size_t)c->set.size * sizeof(float));
    tape_start(t, 1, 1, 1);
    t->probe = weights ? (attention_probe){take_weights, weights} : (attention_probe){0};
    tensor *h = op_embedding(t, c->table, IDS, packed(), NULL, 1, 0), *y;
    if (c->pooled) {
        tensor *k = op_linear(t, h, c->weight, c->bias, ACTIVATION_TANH);
        y = op_attention_pool(t, h, k, c->query, packed(), "pool");
    } else {
        y = op_select_rows(t, h, OFFSETS, SEQUENCES);
    }
    attn_status status = op_cross_entropy(t, y, c->out, c->out_bias, LABELS, 0, 1, &loss, NULL);
    status = status ? status : tape_backward(t);
    if (status) {
        fail_msg("%s", attn_last_error());
    }
    return loss.loss;
}

/* --- the same in f64 ------------------------------------------------------------- */

static void plain_weights(const classifier *c, const double *v, int64_t sequence, double *weights) {
    double sum = 0;
    for (int64_t i = OFFSETS[sequence]; i < OFFSETS[sequence + 1]; i++) {
        double score = 0;
        for (int64_t a = 0; a < HIDDEN; a++) {
            double k = v[c->bias.offset + a];
            for (int64_t j = 0; j < WIDTH; j++) {
                k += v[c->weight.offset + a * WIDTH + j] * v[c->table.offset + IDS[i] * WIDTH + j];
            }
            score += v[c->query.offset + a] * tanh(k);
        }
        weights[i] = exp(score);
        sum += weights[i];
    }
    for (int64_t i = OFFSETS[sequence]; i < OFFSETS[sequence + 1]; i++) {
        weights[i] /= sum;
    }
}

static double plain_loss(const void *context, const double *v) {
    const classifier *c = context;
    double loss = 0, weights[TOKENS];
    for (int64_t s = 0; s < SEQUENCES; s++) {
        plain_weights(c, v, s, weights);
        double y[WIDTH] = {0}, sum = 0, own = 0;
        for (int64_t i = OFFSETS[s]; i < OFFSETS[s + 1]; i++) {
            double share = c->pooled ? weights[i] : i == OFFSETS[s];
            for (int64_t j = 0; j < WIDTH; j++) {
                y[j] += share * v[c->table.offset + IDS[i] * WIDTH + j];
            }
        }
        for (int64_t k = 0; k < CLASSES; k++) {
            double z = v[c->out_bias.offset + k];
            for (int64_t j = 0; j < WIDTH; j++) {
                z += y[j] * v[c->out.offset + k * WIDTH + j];
            }
            sum += exp(z);
            own = k == LABELS[s] ? z : own;
        }
        loss += log(sum) - own;
    }
    return loss;
}

/* f32 sums of at most 19 terms near 1: errors of some 1e-6; differences of step 1e-5 in
 * f64 are exact to 1e-9. */
static void check_gradients(int pooled) {
    classifier c;
    open_classifier(&c, pooled, 0);
    expect_differences(&c.set, run(&c, NULL), plain_loss, &c, 1e-5, 5e-6, pooled, SEED);
    close_classifier(&c);
}

static void pooled_gradients_are_central_differences(void **state) {
    (void)state;
    check_gradients(1);
}

static void selected_gradients_are_central_differences(void **state) {
    (void)state;
    check_gradients(0);
}

static void the_probe_sees_the_weights(void **state) {
    (void)state;
    classifier c;
    open_classifier(&c, 1, 0);
    float weights[TOKENS];
    double values[WORDS * WIDTH + HIDDEN * WIDTH + HIDDEN + 200 + CLASSES * WIDTH], expected[TOKENS];
    assert_true((size_t)c.set.size <= sizeof values / sizeof *values);
    for (int64_t i = 0; i < c.set.size; i++) {
        values[i] = (double)c.set.values[i];
    }
    (void)run(&c, weights);
    for (int64_t s = 0; s < SEQUENCES; s++) {
        double sum = 0;
        plain_weights(&c, values, s, expected);
        for (int64_t i = OFFSETS[s]; i < OFFSETS[s + 1]; i++) {
            assert_true(fabs((double)weights[i] - expected[i]) < 1e-6);
            sum += (double)weights[i];
        }
        assert_true(fabs(sum - 1) < 1e-6);
    }
    close_classifier(&c);
}

static void threads_change_no_bit(void **state) {
    (void)state;
    for (int pooled = 0; pooled < 2; pooled++) {
        classifier c;
        open_classifier(&c, pooled, 0);
        float *first = memory_allocate((size_t)c.set.size, sizeof *first);
        int before = omp_get_max_threads();
        omp_set_num_threads(1);
        (void)run(&c, NULL);
        memcpy(first, c.set.gradients, (size_t)c.set.size * sizeof *first);
        omp_set_num_threads(2);
        (void)run(&c, NULL);
        assert_memory_equal(first, c.set.gradients, (size_t)c.set.size * sizeof *first);
        omp_set_num_threads(before);
        memory_free(first);
        close_classifier(&c);
    }
}

/* bf16 keeps 8 bits: a loss of about 1 a sequence within some hundredths. */
static void bf16_is_near(void **state) {
    (void)state;
    classifier exact, rounded;
    open_classifier(&exact, 1, 0);
    double loss = run(&exact, NULL);
    open_classifier(&rounded, 1, 1);
    tape *t = &rounded.tape;
    if (gemm(t->gemm, matrix_of((float[4]){0}, 2, 2, ELEMENT_F32), matrix_of((bf16[4]){0}, 2, 2, ELEMENT_BF16),
             matrix_of((bf16[4]){0}, 2, 2, ELEMENT_BF16), (gemm_options){0}) == ATTN_OK) {
        assert_true(fabs(run(&rounded, NULL) - loss) < 0.05);
        for (int64_t i = 0; i < exact.set.size; i++) {
            assert_true(fabs((double)exact.set.gradients[i] - (double)rounded.set.gradients[i]) < 0.05);
        }
    }
    close_classifier(&exact);
    close_classifier(&rounded);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pooled_gradients_are_central_differences),
        cmocka_unit_test(selected_gradients_are_central_differences),
        cmocka_unit_test(the_probe_sees_the_weights),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(bf16_is_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
