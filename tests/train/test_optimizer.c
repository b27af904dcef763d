/* The optimizers and schedules against their formulas in double, what is frozen or
 * decays, and that a gradient gathered in pieces is the whole one. */
#include <math.h>

#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "model/transformer.h"
#include "train/step.h"

enum { MATRIX = 6, VECTOR = 3, UPDATES = 5 };

typedef struct two_parameters {
    parameters set;
    parameter matrix, vector;
} two_parameters;

static double gradient_at(int update, int i) {
    return sin(1.0 + 3.7 * update + 1.3 * i);
}

static void make_two(two_parameters *p) {
    *p = (two_parameters){0};
    assert_int_equal(parameters_declare(&p->set, 1, 2, 2, 3, &p->matrix, "model.encoder.weight"), ATTN_OK);
    assert_int_equal(parameters_declare(&p->set, 1, 1, 1, VECTOR, &p->vector, "model.decoder.bias"), ATTN_OK);
    assert_int_equal(parameters_allocate(&p->set, 1, 0), ATTN_OK);
    for (int i = 0; i < MATRIX; i++) {
        parameter_values(&p->set, p->matrix)[i] = 0.5f + 0.25f * (float)i;
    }
    for (int i = 0; i < VECTOR; i++) {
        parameter_values(&p->set, p->vector)[i] = 1.0f - 0.5f * (float)i;
    }
}

static void set_gradients(two_parameters *p, int update) {
    for (int i = 0; i < MATRIX + VECTOR; i++) {
        float *at = i < MATRIX ? parameter_gradients(&p->set, p->matrix) + i
                               : parameter_gradients(&p->set, p->vector) + i - MATRIX;
        *at = (float)gradient_at(update, i);
    }
}

/* The formulas of optimizer.h, one number at a time. */
static double expected_value(const optimizer_settings *s, double start, int index, double rate, double scale) {
    double w = start, m = 0, v = 0;
    for (int t = 1; t <= UPDATES; t++) {
        double g = scale * (double)(float)gradient_at(t, index);
        if (s->kind == ATTN_OPTIMIZER_SGD) {
            v = s->momentum * v + g;
            w -= rate * v;
            continue;
        }
        m = s->beta1 * m + (1 - s->beta1) * g;
        v = s->beta2 * v + (1 - s->beta2) * g * g;
        double decay = s->kind == ATTN_OPTIMIZER_ADAMW && index < MATRIX ? s->weight_decay : 0;
        w -= rate * m / (1 - pow(s->beta1, t)) / (sqrt(v / (1 - pow(s->beta2, t))) + s->epsilon) + rate * decay * w;
    }
    return w;
}

static void each_optimizer_follows_its_formula(void **state) {
    (void)state;
    const double rate = 0.01, scale = 0.5;
    for (attn_optimizer kind = ATTN_OPTIMIZER_ADAM; kind <= ATTN_OPTIMIZER_SGD; kind++) {
        optimizer_settings settings = {.kind = kind, .beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-9, .momentum = 0.8,
                                       .weight_decay = 0.1};
        two_parameters p;
        optimizer o;
        make_two(&p);
        float start[MATRIX + VECTOR];
        memcpy(start, parameter_values(&p.set, p.matrix), MATRIX * sizeof *start);
        memcpy(start + MATRIX, parameter_values(&p.set, p.vector), VECTOR * sizeof *start);
        assert_int_equal(optimizer_open(&o, &p.set, &settings), ATTN_OK);
        for (int t = 1; t <= UPDATES; t++) {
            double norm;
            set_gradients(&p, t);
            assert_int_equal(optimizer_update(&o, rate, scale, &norm), ATTN_OK);
        }
        for (int i = 0; i < MATRIX + VECTOR; i++) {
            float got = i < MATRIX ? parameter_values(&p.set, p.matrix)[i] : parameter_values(&p.set, p.vector)[i - MATRIX];
            double expected = expected_value(&settings, (double)start[i], i, rate, scale);
            if (!(fabs((double)got - expected) < 2e-6)) {
                fail_msg("optimizer %d, element %d: %.8f, expected %.8f", kind, i, (double)got, expected);
            }
        }
        optimizer_close(&o);
        parameters_free(&p.set);
    }
}

static void the_norm_is_of_the_scaled_gradient_and_clipped(void **state) {
    (void)state;
    optimizer_settings settings = {.kind = ATTN_OPTIMIZER_SGD, .clip = 0.5};
    two_parameters p;
    optimizer o;
    make_two(&p);
    assert_int_equal(optimizer_open(&o, &p.set, &settings), ATTN_OK);
    set_gradients(&p, 1);
    double squares = 0, norm;
    for (int i = 0; i < MATRIX + VECTOR; i++) {
        squares += gradient_at(1, i) * gradient_at(1, i);
    }
    float before = parameter_values(&p.set, p.matrix)[0];
    assert_int_equal(optimizer_update(&o, 1, 2, &norm), ATTN_OK);
    assert_true(fabs(norm - 2 * sqrt(squares)) < 1e-5);
    double expected = (double)before - 0.5 * gradient_at(1, 0) / sqrt(squares);
    assert_true(fabs((double)parameter_values(&p.set, p.matrix)[0] - expected) < 1e-6);
    optimizer_close(&o);
    parameters_free(&p.set);
}

static void frozen_parts_keep_their_bits(void **state) {
    (void)state;
    static const char *const FROZEN[] = {"model.encoder.", NULL};
    optimizer_settings settings = {.kind = ATTN_OPTIMIZER_ADAMW, .beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-9,
                                   .weight_decay = 0.1, .average_decay = 0.9, .frozen = FROZEN};
    two_parameters p;
    optimizer o;
    double norm;
    make_two(&p);
    assert_int_equal(optimizer_open(&o, &p.set, &settings), ATTN_OK);
    float before[MATRIX], free_before = parameter_values(&p.set, p.vector)[0];
    memcpy(before, parameter_values(&p.set, p.matrix), sizeof before);
    set_gradients(&p, 1);
    parameter_gradients(&p.set, p.matrix)[0] = NAN; /* is nobody's concern */
    assert_int_equal(optimizer_update(&o, 0.1, 1, &norm), ATTN_OK);
    assert_memory_equal(before, parameter_values(&p.set, p.matrix), sizeof before);
    assert_memory_equal(before, o.average + p.matrix.offset, sizeof before);
    assert_true(parameter_values(&p.set, p.vector)[0] != free_before);
    optimizer_close(&o);
    parameters_free(&p.set);
}

static void a_gradient_that_is_not_finite_changes_nothing(void **state) {
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        optimizer_settings settings = {.beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-9, .average_decay = 0.9, .clip = 1};
        two_parameters p;
        optimizer o;
        double norm;
        make_two(&p);
        assert_int_equal(optimizer_open(&o, &p.set, &settings), ATTN_OK);
        set_gradients(&p, 1);
        float before[MATRIX];
        memcpy(before, parameter_values(&p.set, p.matrix), sizeof before);
        parameter_gradients(&p.set, p.vector)[1] = bad[k];
        assert_int_equal(optimizer_update(&o, 0.1, 1, &norm), ATTN_ERROR_NUMERIC);
        assert_sentence_has("model.decoder.bias");
        assert_sentence_has("element 1");
        assert_int_equal(o.skipped, 1);
        assert_int_equal(o.skipped_in_a_row, 1);
        assert_int_equal(o.updates, 0);
        assert_memory_equal(before, parameter_values(&p.set, p.matrix), sizeof before);
        assert_true(o.first[p.matrix.offset] == 0 && o.second[p.matrix.offset] == 0);
        set_gradients(&p, 1);
        assert_int_equal(optimizer_update(&o, 0.1, 1, &norm), ATTN_OK);
        assert_int_equal(o.skipped, 1);
        assert_int_equal(o.skipped_in_a_row, 0);
        assert_int_equal(o.updates, 1);
        optimizer_close(&o);
        parameters_free(&p.set);
    }
}

/* --- schedules --- */

static void assert_rate(attn_schedule kind, int64_t update, double expected) {
    const schedule s = {kind, 0.4, 10, 29}; /* 10 of warm-up, then to 0 at update 30 */
    double rate = schedule_rate(&s, update);
    if (!(fabs(rate - expected) < 1e-12)) {
        fail_msg("schedule %d, update %lld: %.12f, expected %.12f", kind, (long long)update, rate, expected);
    }
}

static void schedules_pass_through_their_points(void **state) {
    (void)state;
    for (attn_schedule kind = ATTN_SCHEDULE_INVERSE_SQUARE_ROOT; kind <= ATTN_SCHEDULE_LINEAR; kind++) {
        assert_rate(kind, 1, 0.04);
        assert_rate(kind, 5, 0.2);
        assert_rate(kind, 10, 0.4);
    }
    assert_rate(ATTN_SCHEDULE_INVERSE_SQUARE_ROOT, 40, 0.2);
    assert_rate(ATTN_SCHEDULE_CONSTANT, 1000000, 0.4);
    assert_rate(ATTN_SCHEDULE_COSINE, 20, 0.2);
    assert_rate(ATTN_SCHEDULE_COSINE, 15, 0.2 * (1 + sqrt(0.5)));
    assert_rate(ATTN_SCHEDULE_COSINE, 30, 0);
    assert_rate(ATTN_SCHEDULE_LINEAR, 15, 0.3);
    assert_rate(ATTN_SCHEDULE_LINEAR, 29, 0.02);
    assert_rate(ATTN_SCHEDULE_LINEAR, 31, 0);
    const schedule none = {ATTN_SCHEDULE_LINEAR, 1, 0, 9};
    assert_true(fabs(schedule_rate(&none, 1) - 0.9) < 1e-12);
}

/* --- accumulation --- */

enum { SEQUENCES = 8, LENGTH = 5 };

/* Sequences first .. end - 1 of eight; offsets from `offsets`, which start at 0. */
static batch some_sequences(const int32_t *ids, const int32_t *offsets, size_t first, size_t end) {
    size_t tokens = (end - first) * LENGTH;
    const int32_t *at = ids + first * LENGTH;
    return (batch){.sequences = end - first, .tokens_source = tokens, .tokens_target = tokens, .source = at,
                   .source_offsets = offsets, .target_input = at, .labels = at, .target_offsets = offsets};
}

static void gathered_gradients_are_the_whole_gradient(void **state) {
    (void)state;
    model_config config;
    transformer *model;
    gradient_step *step;
    int32_t ids[SEQUENCES * LENGTH], offsets[SEQUENCES + 1];
    model_config_defaults(&config, 20);
    config.d_model = 16;
    config.encoder_layers = config.decoder_layers = 1;
    config.encoder_attention_heads = config.decoder_attention_heads = 2;
    config.encoder_ffn_dim = config.decoder_ffn_dim = 24;
    config.max_position_embeddings = 16;
    config.dropout = config.attention_dropout = config.activation_dropout = 0;
    for (int i = 0; i < SEQUENCES * LENGTH; i++) {
        ids[i] = (int32_t)random_below(random_key(3, 0, 0), (uint64_t)i, 19);
    }
    for (int i = 0; i <= SEQUENCES; i++) {
        offsets[i] = i * LENGTH;
    }
    assert_int_equal(transformer_new(&config, (network_purpose){1, ELEMENT_F32}, &model), ATTN_OK);
    network n = network_of(&transformer_kind, model);
    transformer_initialize(model, 1);
    assert_int_equal(gradient_step_open(&n, 0, &step), ATTN_OK);
    size_t size = (size_t)model->parameters.size;
    float *whole = memory_allocate(size, sizeof *whole), largest = 0;
    loss_result loss, loss_a, loss_b;
    batch all = some_sequences(ids, offsets, 0, 8), a = some_sequences(ids, offsets, 0, 3),
          b = some_sequences(ids, offsets, 3, 8);
    gradient_task task = {0.1f, 8 * LENGTH, 0, 1, 0, NULL};
    assert_int_equal(gradient_step_run(step, &all, &task, &loss), ATTN_OK);
    memcpy(whole, model->parameters.gradients, size * sizeof *whole);
    task.divisor = 3 * LENGTH;
    assert_int_equal(gradient_step_run(step, &a, &task, &loss_a), ATTN_OK);
    task.adds = 1;
    assert_int_equal(gradient_step_run(step, &b, &task, &loss_b), ATTN_OK);
    assert_true(fabs(loss.loss - loss_a.loss - loss_b.loss) < 1e-5 * loss.loss);
    for (size_t i = 0; i < size; i++) {
        largest = fmaxf(largest, fabsf(whole[i]));
    }
    for (size_t i = 0; i < size; i++) {
        float gathered = model->parameters.gradients[i] * (3.0f / 8.0f);
        if (!(fabsf(gathered - whole[i]) <= 1e-5f * largest)) {
            fail_msg("element %zu: %g gathered, %g whole", i, (double)gathered, (double)whole[i]);
        }
    }
    memory_free(whole);
    gradient_step_free(step);
    transformer_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_optimizer_follows_its_formula),
        cmocka_unit_test(the_norm_is_of_the_scaled_gradient_and_clipped),
        cmocka_unit_test(frozen_parts_keep_their_bits),
        cmocka_unit_test(a_gradient_that_is_not_finite_changes_nothing),
        cmocka_unit_test(schedules_pass_through_their_points),
        cmocka_unit_test(gathered_gradients_are_the_whole_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
