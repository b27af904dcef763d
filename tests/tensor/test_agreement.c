/* The loss of two readings that ought to agree: its value against the formula in f64, its gradient
 * against central differences of that formula; without the second part, cross-entropy itself. */
#include <math.h>

#include "test.h"

#include "base/random.h"
#include "tensor/ops.h"

enum { TEXTS = 3, CLASSES = 4 };
static const int32_t LABELS[2 * TEXTS] = {2, 0, 3, 2, 0, 3};
static const int32_t IDS[2 * TEXTS] = {0, 1, 2, 3, 4, 5};
static const int32_t OFFSETS[] = {0, 2 * TEXTS};

static void assert_near(double found, double expected, double bound) {
    if (!(fabs(found - expected) <= bound)) {
        fail_msg("%.9g, %.9g was expected", found, expected);
    }
}

static double log_p(const double *z, int k) {
    double sum = 0;
    for (int j = 0; j < CLASSES; j++) {
        sum += exp(z[j] - z[k]);
    }
    return -log(sum);
}

/* What the paper says, halved; z [2 TEXTS, CLASSES]. */
static double formula(const double *z, double smoothing, double weight) {
    double loss = 0;
    for (int i = 0; i < TEXTS; i++) {
        for (int reading = 0; reading < 2; reading++) {
            const double *p = z + (reading * TEXTS + i) * CLASSES, *q = z + ((1 - reading) * TEXTS + i) * CLASSES;
            for (int k = 0; k < CLASSES; k++) {
                double target = smoothing / CLASSES + (k == LABELS[i] ? 1 - smoothing : 0);
                loss -= target * log_p(p, k) / 2;
                loss += weight / 4 * exp(log_p(p, k)) * (log_p(p, k) - log_p(q, k));
            }
        }
    }
    return loss;
}

typedef struct logits {
    parameters set;
    parameter table, weight, bias;
    tape tape;
} logits;

static void open_logits(logits *l) {
    *l = (logits){0};
    assert_int_equal(parameters_declare(&l->set, 1, 2, 2 * TEXTS, CLASSES, &l->table, "table"), ATTN_OK);
    assert_int_equal(parameters_declare(&l->set, 1, 2, CLASSES, CLASSES, &l->weight, "weight"), ATTN_OK);
    assert_int_equal(parameters_allocate(&l->set, 1, 0), ATTN_OK);
    for (int64_t i = 0; i < 2 * TEXTS * CLASSES; i++) {
        parameter_values(&l->set, l->table)[i] = 1.5f * random_normal(11, (uint64_t)i);
    }
    for (int i = 0; i < CLASSES; i++) { /* logits = rows of the table */
        parameter_values(&l->set, l->weight)[i * CLASSES + i] = 1;
    }
    assert_int_equal(tape_open(&l->tape, &l->set), ATTN_OK);
}

static void close_logits(logits *l) {
    tape_close(&l->tape);
    parameters_free(&l->set);
}

static void loss_and_gradient_are_the_formula_s(void **state) {
    (void)state;
    static const float CASES[][2] = {{0, 0}, {0, 1}, {0.1f, 4}, {0.3f, 0.5f}};
    logits l;
    open_logits(&l);
    for (size_t n = 0; n < sizeof CASES / sizeof *CASES; n++) {
        loss_result loss;
        double z[2 * TEXTS * CLASSES], smoothing = (double)CASES[n][0], weight = (double)CASES[n][1];
        memset(l.set.gradients, 0, (size_t)l.set.size * sizeof(float));
        tape_start(&l.tape, 1, 1, 1);
        tensor *x = op_embedding(&l.tape, l.table, IDS, (packing){OFFSETS, 1}, NULL, 1, 0);
        assert_int_equal(op_agreement(&l.tape, x, LABELS, CASES[n][0], CASES[n][1], 7, &loss), ATTN_OK);
        assert_int_equal(tape_backward(&l.tape), ATTN_OK);
        for (int i = 0; i < 2 * TEXTS * CLASSES; i++) {
            z[i] = (double)parameter_values(&l.set, l.table)[i];
        }
        assert_near(loss.loss, formula(z, smoothing, weight), 1e-5);
        assert_int_equal(loss.tokens, TEXTS);
        for (int i = 0; i < 2 * TEXTS * CLASSES; i++) {
            double kept = z[i], step = 1e-5;
            z[i] = kept + step;
            double above = formula(z, smoothing, weight);
            z[i] = kept - step;
            double below = formula(z, smoothing, weight);
            z[i] = kept;
            assert_near((double)parameter_gradients(&l.set, l.table)[i], (above - below) / (2 * step) / 7, 1e-6);
        }
    }
    close_logits(&l);
}

static void without_its_weight_it_is_cross_entropy(void **state) {
    (void)state;
    logits l;
    loss_result loss, plain;
    open_logits(&l);
    tape_start(&l.tape, 0, 1, 1);
    tensor *x = op_embedding(&l.tape, l.table, IDS, (packing){OFFSETS, 1}, NULL, 1, 0);
    assert_int_equal(op_agreement(&l.tape, x, LABELS, 0.1f, 0, 1, &loss), ATTN_OK);
    assert_int_equal(op_cross_entropy(&l.tape, x, l.weight, l.bias, LABELS, 0.1f, 1, &plain, NULL), ATTN_OK);
    assert_near(2 * loss.loss, plain.loss, 1e-5);
    assert_near(2 * loss.likelihood, plain.likelihood, 1e-5);
    close_logits(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_and_gradient_are_the_formula_s),
        cmocka_unit_test(without_its_weight_it_is_cross_entropy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
