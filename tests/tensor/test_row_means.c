/* Means of a table's rows added to tokens: loss and gradients against the same sums in f64 and
 * their central differences; the same bits with one thread and three. */
#include <math.h>
#include <omp.h>

#include "differences.h"
#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "tensor/ops.h"

enum { WORDS = 6, LETTERS = 9, WIDTH = 70 /* more than a slice of columns */, CLASSES = 3, TOKENS = 6 };

static const uint64_t SEED = 20170607;
static const int32_t IDS[TOKENS] = {3, 1, 5, 1, 0, 2};
static const int32_t OFFSETS[] = {0, TOKENS};
static const int32_t NUMBERS[] = {4, 8, 8, 0, 1, 2, 3, 4, 5, 8, 7}, ENDS[TOKENS + 1] = {0, 3, 3, 4, 9, 9, 11}; /* 8 comes twice, 2 tokens have none */
static const int32_t LABELS[TOKENS] = {2, 0, 1, 1, 0, 2};

typedef struct chain {
    parameters set;
    parameter words, letters, out, bias;
    tape tape;
} chain;

static void open_chain(chain *c) {
    *c = (chain){0};
    parameters *set = &c->set;
    assert_int_equal(parameters_declare(set, 1, 2, WORDS, WIDTH, &c->words, "words"), ATTN_OK);
    assert_int_equal(parameters_declare(set, 1, 2, LETTERS, WIDTH, &c->letters, "letters"), ATTN_OK);
    assert_int_equal(parameters_declare(set, 1, 2, CLASSES, WIDTH, &c->out, "out"), ATTN_OK);
    assert_int_equal(parameters_declare(set, 1, 1, 1, CLASSES, &c->bias, "bias"), ATTN_OK);
    assert_int_equal(parameters_allocate(set, 1, 0), ATTN_OK);
    for (int64_t i = 0; i < set->size; i++) {
        set->values[i] = 0.3f * random_normal(SEED, (uint64_t)i);
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
    memset(c->set.gradients, 0, (size_t)c->set.size * sizeof(float));
    tape_start(t, 1, 1, 1);
    tensor *x = op_embedding(t, c->words, IDS, (packing){OFFSETS, 1}, NULL, 1, 0);
    x = op_row_means(t, x, c->letters, NUMBERS, ENDS);
    attn_status status = op_cross_entropy(t, x, c->out, c->bias, LABELS, 0, 1, &loss, NULL);
    status = status ? status : tape_backward(t);
    if (status) {
        fail_msg("%s", attn_last_error());
    }
    return loss.loss;
}

static double plain_loss(const void *context, const double *v) {
    const chain *c = context;
    double loss = 0;
    for (int64_t i = 0; i < TOKENS; i++) {
        double sum = 0, own = 0;
        for (int64_t k = 0; k < CLASSES; k++) {
            double z = v[c->bias.offset + k];
            for (int64_t j = 0; j < WIDTH; j++) {
                double y = 0;
                for (int64_t n = ENDS[i]; n < ENDS[i + 1]; n++) {
                    y += v[c->letters.offset + NUMBERS[n] * WIDTH + j] / (ENDS[i + 1] - ENDS[i]);
                }
                z += (y + v[c->words.offset + IDS[i] * WIDTH + j]) * v[c->out.offset + k * WIDTH + j];
            }
            sum += exp(z);
            own = k == LABELS[i] ? z : own;
        }
        loss += log(sum) - own;
    }
    return loss;
}

/* f32 sums of at most 70 terms near 0.1; differences of step 1e-5 in f64 are exact to 1e-9. */
static void gradients_are_central_differences(void **state) {
    (void)state;
    chain c;
    open_chain(&c);
    expect_differences(&c.set, run(&c), plain_loss, &c, 2e-5, 5e-6, 0, SEED);
    close_chain(&c);
}

static void threads_change_no_bit(void **state) {
    (void)state;
    chain c;
    open_chain(&c);
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_are_central_differences), cmocka_unit_test(threads_change_no_bit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
