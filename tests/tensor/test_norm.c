/* Pre-norm sub-layers, both normalisations: loss and gradients of two of them against the
 * same sums in f64 and their central differences; the same bits with one thread and two;
 * dropout the same on the way back. */
#include <math.h>
#include <omp.h>

#include "differences.h"
#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "tensor/ops.h"

enum { WORDS = 7, WIDTH = 19, CLASSES = 3, TOKENS = 6 };

static const uint64_t SEED = 20200212;
static const int32_t IDS[TOKENS] = {3, 1, 4, 1, 5, 6}, OFFSETS[2] = {0, TOKENS}, LABELS[TOKENS] = {2, 0, 1, 2, 1, 0};
static const float EPSILON = 1e-5f;

typedef struct model {
    norm_kind kind;
    parameters set;
    parameter table, gain[3], bias[3], weight[2], weight_bias[2], out, out_bias;
    tape tape;
} model;

static void open_model(model *m, norm_kind kind) {
    *m = (model){.kind = kind};
    parameters *set = &m->set;
    assert_int_equal(parameters_declare(set, 1, 2, WORDS, WIDTH, &m->table, "table"), ATTN_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(parameters_declare(set, 1, 1, 1, WIDTH, &m->gain[i], "gain%d", i), ATTN_OK);
        assert_int_equal(parameters_declare(set, 1, 1, 1, WIDTH, &m->bias[i], "bias%d", i), ATTN_OK);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(parameters_declare(set, 1, 2, WIDTH, WIDTH, &m->weight[i], "weight%d", i), ATTN_OK);
        assert_int_equal(parameters_declare(set, 1, 1, 1, WIDTH, &m->weight_bias[i], "wbias%d", i), ATTN_OK);
    }
    assert_int_equal(parameters_declare(set, 1, 2, CLASSES, WIDTH, &m->out, "out"), ATTN_OK);
    assert_int_equal(parameters_declare(set, 1, 1, 1, CLASSES, &m->out_bias, "out_bias"), ATTN_OK);
    assert_int_equal(parameters_allocate(set, 1, 0), ATTN_OK);
    for (int64_t i = 0; i < set->size; i++) {
        set->values[i] = 0.5f * random_normal(SEED, (uint64_t)i);
    }
    assert_int_equal(tape_open(&m->tape, set), ATTN_OK);
}

static void close_model(model *m) {
    tape_close(&m->tape);
    parameters_free(&m->set);
}

static double run(model *m, float dropout) {
    tape *t = &m->tape;
    loss_result loss;
    memset(m->set.gradients, 0, (size_t)m->set.size * sizeof(float));
    tape_start(t, 1, 1, 1);
    tensor *x = op_embedding(t, m->table, IDS, (packing){OFFSETS, 1}, NULL, 1, 0), *f = NULL, *y;
    for (int i = 0; i < 2; i++) {
        y = op_norm(t, x, f, (norm_layer){m->kind, m->gain[i], m->bias[i], EPSILON}, dropout, &x);
        f = op_linear(t, y, m->weight[i], m->weight_bias[i], ACTIVATION_TANH);
    }
    y = op_norm(t, x, f, (norm_layer){m->kind, m->gain[2], m->bias[2], EPSILON}, dropout, &x);
    attn_status status = op_cross_entropy(t, y, m->out, m->out_bias, LABELS, 0, 1, &loss, NULL);
    status = status ? status : tape_backward(t);
    if (status) {
        fail_msg("%s", attn_last_error());
    }
    return loss.loss;
}

static void plain_norm(const model *m, const double *v, int i, const double *s, double *y) {
    double mean = 0, square = 0;
    for (int j = 0; j < WIDTH; j++) {
        mean += m->kind == NORM_LAYER ? s[j] / WIDTH : 0;
    }
    for (int j = 0; j < WIDTH; j++) {
        square += (s[j] - mean) * (s[j] - mean) / WIDTH;
    }
    for (int j = 0; j < WIDTH; j++) {
        y[j] = v[m->gain[i].offset + j] * (s[j] - mean) / sqrt(square + (double)EPSILON) +
               (m->kind == NORM_LAYER ? v[m->bias[i].offset + j] : 0);
    }
}

static double plain_loss(const void *context, const double *v) {
    const model *m = context;
    double loss = 0;
    for (int token = 0; token < TOKENS; token++) {
        double s[WIDTH], y[WIDTH], sum = 0, own = 0;
        memcpy(s, v + m->table.offset + IDS[token] * WIDTH, sizeof s);
        for (int i = 0; i < 2; i++) {
            plain_norm(m, v, i, s, y);
            for (int j = 0; j < WIDTH; j++) {
                double z = v[m->weight_bias[i].offset + j];
                for (int k = 0; k < WIDTH; k++) {
                    z += y[k] * v[m->weight[i].offset + j * WIDTH + k];
                }
                s[j] += tanh(z);
            }
        }
        plain_norm(m, v, 2, s, y);
        for (int k = 0; k < CLASSES; k++) {
            double z = v[m->out_bias.offset + k];
            for (int j = 0; j < WIDTH; j++) {
                z += y[j] * v[m->out.offset + k * WIDTH + j];
            }
            sum += exp(z);
            own = k == LABELS[token] ? z : own;
        }
        loss += log(sum) - own;
    }
    return loss;
}

/* f32 sums of 19 terms near 1 through three normalisations: errors of some 1e-5;
 * differences of step 1e-5 in f64 are exact to 1e-9. */
static void gradients_are_central_differences(void **state) {
    (void)state;
    for (int kind = NORM_LAYER; kind <= NORM_RMS; kind++) {
        model m;
        open_model(&m, (norm_kind)kind);
        expect_differences(&m.set, run(&m, 0), plain_loss, &m, 2e-5, 2e-5, kind, SEED);
        close_model(&m);
    }
}

/* With dropout the loss is another function, with the same draws at each run: its
 * differences in f32 are good to some 1e-3. */
static void dropout_goes_back_as_it_went_forward(void **state) {
    (void)state;
    model m;
    open_model(&m, NORM_LAYER);
    float *gradients = memory_allocate((size_t)m.set.size, sizeof *gradients);
    double plain = run(&m, 0);
    assert_true(fabs(run(&m, 0.4f) - plain) > 1e-3);
    memcpy(gradients, m.set.gradients, (size_t)m.set.size * sizeof *gradients);
    for (int64_t i = m.weight[0].offset; i < m.weight[0].offset + WIDTH * WIDTH; i += 7) {
        float kept = m.set.values[i], step = 1e-2f;
        m.set.values[i] = kept + step;
        double above = run(&m, 0.4f);
        m.set.values[i] = kept - step;
        double difference = (above - run(&m, 0.4f)) / (2 * (double)step);
        m.set.values[i] = kept;
        if (!(fabs(difference - (double)gradients[i]) < 3e-3)) {
            fail_msg("parameter %lld: gradient %.6f, %.6f was expected", (long long)i, (double)gradients[i], difference);
        }
    }
    memory_free(gradients);
    close_model(&m);
}

static void threads_change_no_bit(void **state) {
    (void)state;
    model m;
    open_model(&m, NORM_RMS);
    float *first = memory_allocate((size_t)m.set.size, sizeof *first);
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    (void)run(&m, 0.1f);
    memcpy(first, m.set.gradients, (size_t)m.set.size * sizeof *first);
    omp_set_num_threads(2);
    (void)run(&m, 0.1f);
    assert_memory_equal(first, m.set.gradients, (size_t)m.set.size * sizeof *first);
    omp_set_num_threads(before);
    memory_free(first);
    close_model(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_are_central_differences),
                                       cmocka_unit_test(dropout_goes_back_as_it_went_forward),
                                       cmocka_unit_test(threads_change_no_bit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
