/* Convolution over time and places: loss and gradients of a small chain of both against the
 * same sums in f64 and their central differences; the same bits with one thread and two. */
#include <math.h>
#include <omp.h>

#include "differences.h"
#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "tensor/ops.h"

enum { WORDS = 9, WIDTH = 5, HIDDEN = 7, CLASSES = 4, SEQUENCES = 4, TOKENS = 15, MOST = 8 };

static const uint64_t SEED = 20201022;
static const int32_t IDS[TOKENS] = {3, 1, 4, 1, 5, 8, 2, 6, 5, 3, 5, 8, 7, 0, 2};
static const int32_t OFFSETS[SEQUENCES + 1] = {0, 1, 6, 8, 15};
static const int32_t LABELS[TOKENS + SEQUENCES] = {2, 0, 1, 2, 3, 3, 1, 0, 0, 2, 1, 3, 1, 2, 0, 1, 2, 3, 0};

typedef struct chain {
    int64_t kernel, stride;
    int first, learned;
    parameters set;
    parameter table, weight, bias, token, positions, out, out_bias;
    tape tape;
} chain;

static void open_chain(chain *c, int64_t kernel, int64_t stride, int first, int learned) {
    *c = (chain){.kernel = kernel, .stride = stride, .first = first, .learned = learned};
    parameters *set = &c->set;
    assert_int_equal(parameters_declare(set, 1, 2, WORDS, WIDTH, &c->table, "table"), ATTN_OK);
    assert_int_equal(parameters_declare(set, 1, 2, HIDDEN, kernel * WIDTH, &c->weight, "weight"), ATTN_OK);
    assert_int_equal(parameters_declare(set, 1, 1, 1, HIDDEN, &c->bias, "bias"), ATTN_OK);
    assert_int_equal(parameters_declare(set, 1, 1, 1, HIDDEN, &c->token, "token"), ATTN_OK);
    assert_int_equal(parameters_declare(set, 1, 2, MOST, HIDDEN, &c->positions, "positions"), ATTN_OK);
    assert_int_equal(parameters_declare(set, 1, 2, CLASSES, HIDDEN, &c->out, "out"), ATTN_OK);
    assert_int_equal(parameters_declare(set, 1, 1, 1, CLASSES, &c->out_bias, "out_bias"), ATTN_OK);
    assert_int_equal(parameters_allocate(set, 1, 0), ATTN_OK);
    for (int64_t i = 0; i < set->size; i++) {
        set->values[i] = 0.5f * random_normal(SEED, (uint64_t)i);
    }
    assert_int_equal(tape_open(&c->tape, set), ATTN_OK);
}

static void close_chain(chain *c) {
    tape_close(&c->tape);
    parameters_free(&c->set);
}

static double run(chain *c) {
    tape *t = &c->tape;
    loss_result loss;
    packing p = {OFFSETS, SEQUENCES};
    memset(c->set.gradients, 0, (size_t)c->set.size * sizeof(float));
    tape_start(t, 1, 1, 1);
    tensor *x = op_embedding(t, c->table, IDS, p, NULL, 1, 0);
    packing narrow = windows_packing(t, p, c->stride);
    x = op_windows(t, x, p, narrow, c->kernel, c->stride);
    x = op_linear(t, x, c->weight, c->bias, ACTIVATION_TANH);
    place_options options = {.first = c->first ? &c->token : NULL, .learned = c->learned ? &c->positions : NULL};
    packing placed = place_packing(t, narrow, &options);
    x = op_place(t, x, narrow, placed, options);
    attn_status status = op_cross_entropy(t, x, c->out, c->out_bias, LABELS, 0, 1, &loss, NULL);
    status = status ? status : tape_backward(t);
    if (status) {
        fail_msg("%s", attn_last_error());
    }
    return loss.loss;
}

static double row_loss(const chain *c, const double *v, const double *y, int32_t label) {
    double sum = 0, own = 0;
    for (int64_t k = 0; k < CLASSES; k++) {
        double z = v[c->out_bias.offset + k];
        for (int64_t j = 0; j < HIDDEN; j++) {
            z += y[j] * v[c->out.offset + k * HIDDEN + j];
        }
        sum += exp(z);
        own = k == label ? z : own;
    }
    return log(sum) - own;
}

static double plain_loss(const void *context, const double *v) {
    const chain *c = context;
    double loss = 0;
    int64_t row = 0;
    for (int64_t s = 0; s < SEQUENCES; s++) {
        int64_t begin = OFFSETS[s], tokens = OFFSETS[s + 1] - begin, windows = (tokens + c->stride - 1) / c->stride;
        for (int64_t place = 0; place < windows + c->first; place++) {
            double y[HIDDEN];
            int64_t window = place - c->first;
            for (int64_t h = 0; h < HIDDEN; h++) {
                double z = v[c->bias.offset + h];
                for (int64_t i = 0; i < c->kernel * WIDTH; i++) {
                    int64_t at = window * c->stride - (c->kernel - 1) / 2 + i / WIDTH;
                    double x = at < 0 || at >= tokens ? 0 : v[c->table.offset + IDS[begin + at] * WIDTH + i % WIDTH];
                    z += x * v[c->weight.offset + h * c->kernel * WIDTH + i];
                }
                y[h] = (window < 0 ? v[c->token.offset + h] : tanh(z)) +
                       (c->learned ? v[c->positions.offset + place * HIDDEN + h] : 0);
            }
            loss += row_loss(c, v, y, LABELS[row++]);
        }
    }
    return loss;
}

/* f32 sums of at most 15 terms near 1: errors of some 1e-6; differences of step 1e-5 in
 * f64 are exact to 1e-9. */
static void gradients_are_central_differences(void **state) {
    (void)state;
    static const int64_t SHAPES[][2] = {{3, 2}, {3, 1}, {1, 1}, {5, 3}, {2, 4}, {7, 2}};
    for (size_t s = 0; s < 4 * sizeof SHAPES / sizeof *SHAPES; s++) {
        chain c;
        open_chain(&c, SHAPES[s / 4][0], SHAPES[s / 4][1], s & 1, s >> 1 & 1);
        expect_differences(&c.set, run(&c), plain_loss, &c, 2e-5, 5e-6, (int)s, SEED);
        close_chain(&c);
    }
}

static void threads_change_no_bit(void **state) {
    (void)state;
    chain c;
    open_chain(&c, 3, 2, 1, 1);
    float *first = memory_allocate((size_t)c.set.size, sizeof *first);
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    (void)run(&c);
    memcpy(first, c.set.gradients, (size_t)c.set.size * sizeof *first);
    omp_set_num_threads(3);
    (void)run(&c);
    assert_memory_equal(first, c.set.gradients, (size_t)c.set.size * sizeof *first);
    omp_set_num_threads(before);
    memory_free(first);
    close_chain(&c);
}

static void constant_positions_and_features_are_taken_as_they_are(void **state) {
    (void)state;
    chain c;
    float features[3 * 2] = {1, 2, 3, 4, 5, 6}, positions[2 * 2] = {10, 20, 30, 40};
    const int32_t offsets[] = {0, 2, 3};
    packing p = {offsets, 2};
    open_chain(&c, 3, 2, 0, 0);
    tape_start(&c.tape, 0, 1, 1);
    place_options options = {.constant = positions};
    assert_ptr_equal(place_packing(&c.tape, p, &options).offsets, offsets);
    tensor *y = op_place(&c.tape, op_features(&c.tape, features, 3, 2), p, p, options);
    assert_non_null(y);
    const float expected[] = {11, 22, 33, 44, 15, 26};
    assert_memory_equal(y->data, expected, sizeof expected);
    close_chain(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_are_central_differences),
                                       cmocka_unit_test(threads_change_no_bit),
                                       cmocka_unit_test(constant_positions_and_features_are_taken_as_they_are)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
