/* Recurrent networks with attention against what PyTorch computed with the same weights
 * (tests/vectors/make_recurrent.py), for every cell and score: outputs, attention, loss and
 * every parameter's gradient; and against themselves: threads, company, dropout. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "model/recurrent.h"
#include "model/safetensors.h"
#include "vectors.h"

typedef struct fixture {
    recurrent *model;
    tape tape;
    safetensors *expected;
    batch batch;
} fixture;

static model_config config_of(cell_kind cell, score_kind score) {
    model_config c;
    model_config_recurrent(&c, 23);
    c.d_model = 4;
    c.hidden_size = 6;
    c.encoder_layers = c.decoder_layers = 2;
    c.cell = cell;
    c.score = score;
    c.dropout = 0;
    return c;
}

static const void *vector_of(const fixture *f, const char *name) {
    return vector_in(f->expected, name);
}

static void open_fixture(fixture *f, cell_kind cell, score_kind score, element_type type) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/recurrent_tiny/%s_%s.safetensors", TEST_VECTORS, CELL_NAMES[cell], SCORE_NAMES[score]);
    assert_int_equal(safetensors_open(path, &f->expected), ATTN_OK);
    model_config c = config_of(cell, score);
    assert_int_equal(recurrent_new(&c, (network_purpose){1, type}, &f->model), ATTN_OK);
    parameters *set = &f->model->parameters;
    assert_int_equal(parameters_count(set), model_config_weights(&c));
    for (size_t i = 0; i < set->count; i++) {
        parameter p = set->list[i].where;
        memcpy(parameter_values(set, p), vector_of(f, set->list[i].name), (size_t)(p.rows * p.columns) * sizeof(float));
    }
    parameters_update_copies(set);
    assert_int_equal(tape_open(&f->tape, set), ATTN_OK);
    f->batch = (batch){.sequences = 3,
                       .source = vector_of(f, "source_ids"),
                       .source_offsets = vector_of(f, "source_offsets"),
                       .target_input = vector_of(f, "decoder_input_ids"),
                       .labels = vector_of(f, "labels"),
                       .target_offsets = vector_of(f, "target_offsets")};
    f->batch.tokens_source = (size_t)f->batch.source_offsets[3];
    f->batch.tokens_target = (size_t)f->batch.target_offsets[3];
}

static void close_fixture(fixture *f) {
    tape_close(&f->tape);
    recurrent_free(f->model);
    safetensors_close(f->expected);
}

/* Relative to the largest value of the array, as sums of the array's kind round. */
static void assert_close(const char *name, const float *found, const float *expected, int64_t count, double bound) {
    assert_near(name, found, expected, count, bound, 1e-3);
}

static attn_status compare_weights(void *context, const char *part, int64_t sequence, int64_t heads, int64_t queries,
                                   int64_t keys, const float *weights) {
    char name[64];
    assert_string_equal(part, "decoder.0.cross");
    (void)snprintf(name, sizeof name, "attention.%lld", (long long)sequence);
    assert_close(name, weights, vector_of(context, name), heads * queries * keys, 1e-5);
    return ATTN_OK;
}

static void outputs_and_weights_equal_pytorch(void **state) {
    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        fixture f;
        open_fixture(&f, (cell_kind)(kind / 3), (score_kind)(kind % 3), ELEMENT_F32);
        packing source = {f.batch.source_offsets, 3}, target = {f.batch.target_offsets, 3};
        f.tape.probe = (attention_probe){compare_weights, &f};
        tape_start(&f.tape, 0, 1, 1);
        tensor *memory = recurrent_encode(&f.tape, f.model, f.batch.source, source);
        if (!memory) {
            fail_msg("%s", attn_last_error());
        }
        assert_close("encoder_output", memory->data, vector_of(&f, "encoder_output"), memory->rows * memory->columns, 1e-5);
        tensor *x = recurrent_decode(&f.tape, f.model, f.batch.target_input, target, memory, source);
        if (!x) {
            fail_msg("%s", attn_last_error());
        }
        assert_close("decoder_output", x->data, vector_of(&f, "decoder_output"), x->rows * x->columns, 1e-5);
        close_fixture(&f);
    }
}

static void loss_and_gradients(recurrent *model, tape *t, const batch *b, loss_result *loss) {
    memset(model->parameters.gradients, 0, (size_t)model->parameters.size * sizeof(float));
    tape_start(t, 1, 1, 1);
    attn_status status = recurrent_loss(t, model, b, 0.1f, (double)b->tokens_target, loss);
    status = status ? status : tape_backward(t);
    if (status) {
        fail_msg("%s", attn_last_error());
    }
}

static void check_gradients(element_type type, double bound) {
    for (int kind = 0; kind < 6; kind++) {
        fixture f;
        loss_result loss;
        open_fixture(&f, (cell_kind)(kind / 3), (score_kind)(kind % 3), type);
        loss_and_gradients(f.model, &f.tape, &f.batch, &loss);
        const float *expected_loss = vector_of(&f, "loss");
        double error = fabs(loss.loss / (double)loss.tokens - (double)*expected_loss);
        if (!(error < bound)) {
            fail_msg("kind %d, loss: error %g", kind, error);
        }
        const parameters *set = &f.model->parameters;
        for (size_t i = 0; i < set->count; i++) {
            char name[300];
            parameter p = set->list[i].where;
            (void)snprintf(name, sizeof name, "gradient.%s", set->list[i].name);
            assert_close(name, parameter_gradients(set, p), vector_of(&f, name), p.rows * p.columns, bound);
        }
        close_fixture(&f);
    }
}

static void gradients_equal_pytorch(void **state) {
    (void)state;
    check_gradients(ELEMENT_F32, 2e-5);
}

/* Activations and products of 8 bits: the error of a sum of roundings of 2^-9, through time. */
static void bf16_gradients_are_near_pytorch(void **state) {
    (void)state;
    if (network_best_type() != ELEMENT_BF16) {
        skip();
    }
    check_gradients(ELEMENT_BF16, 0.15);
}

/* --- larger random batches: more sequences than a block, layers wider than a vector --- */

enum { SEQUENCES = 70, WORDS = 40, LONGEST = 10 };

typedef struct random_batch {
    int32_t source[SEQUENCES * LONGEST], input[SEQUENCES * LONGEST], labels[SEQUENCES * LONGEST];
    int32_t source_offsets[SEQUENCES + 1], target_offsets[SEQUENCES + 1];
    batch batch;
} random_batch;

static void fill_batch(random_batch *b, uint64_t seed) {
    b->source_offsets[0] = b->target_offsets[0] = 0;
    for (int s = 0; s < SEQUENCES; s++) {
        int32_t source = 1 + (int32_t)(random_uniform(seed, (uint64_t)s) * (LONGEST - 1));
        int32_t target = 1 + (int32_t)(random_uniform(seed + 1, (uint64_t)s) * (LONGEST - 1));
        b->source_offsets[s + 1] = b->source_offsets[s] + source;
        b->target_offsets[s + 1] = b->target_offsets[s] + target;
    }
    for (int i = 0; i < SEQUENCES * LONGEST; i++) {
        b->source[i] = (int32_t)(random_uniform(seed + 2, (uint64_t)i) * WORDS);
        b->input[i] = (int32_t)(random_uniform(seed + 3, (uint64_t)i) * WORDS);
        b->labels[i] = (int32_t)(random_uniform(seed + 4, (uint64_t)i) * WORDS);
    }
    b->batch = (batch){.sequences = SEQUENCES, .source = b->source, .target_input = b->input, .labels = b->labels,
                       .source_offsets = b->source_offsets, .target_offsets = b->target_offsets,
                       .tokens_source = (size_t)b->source_offsets[SEQUENCES],
                       .tokens_target = (size_t)b->target_offsets[SEQUENCES]};
}

static recurrent *wide_model(int kind, element_type type, double dropout) {
    model_config c;
    recurrent *model;
    model_config_recurrent(&c, WORDS);
    c.d_model = 18;
    c.hidden_size = 36;
    c.encoder_layers = c.decoder_layers = 2;
    c.cell = (cell_kind)(kind / 3);
    c.score = (score_kind)(kind % 3);
    c.dropout = dropout;
    assert_int_equal(recurrent_new(&c, (network_purpose){1, type}, &model), ATTN_OK);
    recurrent_initialize(model, 7);
    return model;
}

static void gradients_have_the_same_bits_for_any_threads(void **state) {
    (void)state;
    random_batch *b = memory_allocate(1, sizeof *b);
    fill_batch(b, 11);
    for (int type = 0; type <= (network_best_type() == ELEMENT_BF16); type++) {
        for (int kind = 0; kind < 6; kind += 4) {
            float *first = NULL;
            for (int threads = 1; threads <= 4; threads++) {
                tape t;
                loss_result loss;
                omp_set_num_threads(threads);
                recurrent *model = wide_model(kind, (element_type)type, 0.2);
                assert_int_equal(tape_open(&t, &model->parameters), ATTN_OK);
                loss_and_gradients(model, &t, &b->batch, &loss);
                size_t bytes = (size_t)model->parameters.size * sizeof(float);
                if (!first) {
                    first = memory_allocate(bytes, 1);
                    memcpy(first, model->parameters.gradients, bytes);
                }
                assert_memory_equal(first, model->parameters.gradients, bytes);
                tape_close(&t);
                recurrent_free(model);
            }
            memory_free(first);
        }
    }
    omp_set_num_threads(2);
    memory_free(b);
}

/* The loss as a function of the weights, in f32: dropout's masks are the same each time. */
static double loss_of(recurrent *model, tape *t, const batch *b) {
    loss_result loss;
    tape_start(t, 1, 1, 1);
    if (recurrent_loss(t, model, b, 0.1f, (double)b->tokens_target, &loss)) {
        fail_msg("%s", attn_last_error());
    }
    return loss.loss / (double)b->tokens_target;
}

/* Along the gradient itself, where the difference is largest beside the rounding. */
static void gradients_with_dropout_equal_central_differences(void **state) {
    (void)state;
    random_batch *b = memory_allocate(1, sizeof *b);
    fill_batch(b, 23);
    for (int kind = 0; kind < 6; kind++) {
        tape t;
        loss_result loss;
        recurrent *model = wide_model(kind, ELEMENT_F32, 0.3);
        parameters *set = &model->parameters;
        assert_int_equal(tape_open(&t, set), ATTN_OK);
        loss_and_gradients(model, &t, &b->batch, &loss);
        float *gradients = memory_allocate((size_t)set->size, sizeof *gradients);
        memcpy(gradients, set->gradients, (size_t)set->size * sizeof *gradients);
        for (size_t i = 0; i < set->count; i++) {
            parameter p = set->list[i].where;
            float *values = parameter_values(set, p), *gradient = gradients + p.offset;
            int64_t count = p.rows * p.columns;
            double norm = 0;
            for (int64_t j = 0; j < count; j++) {
                norm += (double)gradient[j] * (double)gradient[j];
            }
            norm = sqrt(norm);
            const double step = 1e-2;
            double sides[2];
            for (int side = 0; side < 2; side++) {
                for (int64_t j = 0; j < count; j++) {
                    values[j] += (float)((side ? -2 : 1) * step * (double)gradient[j] / norm);
                }
                sides[side] = loss_of(model, &t, &b->batch);
            }
            for (int64_t j = 0; j < count; j++) {
                values[j] += (float)(step * (double)gradient[j] / norm);
            }
            double found = (sides[0] - sides[1]) / (2 * step);
            /* f32 losses round at 1e-7 of 4, over 2e-2; and the step's own third-order term */
            if (!(fabs(found - norm) < 2e-2 * norm + 4e-5)) {
                fail_msg("kind %d, %s: %g by differences, %g by the gradient", kind, set->list[i].name, found, norm);
            }
        }
        memory_free(gradients);
        tape_close(&t);
        recurrent_free(model);
    }
    memory_free(b);
}

static attn_status keep_likelihood(const recurrent *model, tape *t, const batch *b, float *likelihood) {
    packing source = {b->source_offsets, (int64_t)b->sequences}, target = {b->target_offsets, (int64_t)b->sequences};
    tape_start(t, 0, 0, 0);
    tensor *memory = recurrent_encode(t, model, b->source, source);
    tensor *x = recurrent_decode(t, model, b->target_input, target, memory, source);
    if (x) {
        memcpy(likelihood, x->data, (size_t)(x->rows * x->columns) * sizeof *likelihood);
    }
    return t->status;
}

static void a_sequence_alone_has_the_bits_of_the_batch_but_for_products(void **state) {
    (void)state;
    random_batch *b = memory_allocate(1, sizeof *b);
    fill_batch(b, 31);
    recurrent *model = wide_model(0, ELEMENT_F32, 0);
    tape t;
    assert_int_equal(tape_open(&t, &model->parameters), ATTN_OK);
    int64_t width = model->config.d_model;
    float *together = memory_allocate(b->batch.tokens_target * (size_t)width, sizeof *together), alone[LONGEST * 18];
    assert_int_equal(keep_likelihood(model, &t, &b->batch, together), ATTN_OK);
    for (int s = 0; s < SEQUENCES; s += 23) {
        int32_t source[2] = {0, b->source_offsets[s + 1] - b->source_offsets[s]};
        int32_t target[2] = {0, b->target_offsets[s + 1] - b->target_offsets[s]};
        batch one = {.sequences = 1, .source = b->source + b->source_offsets[s], .source_offsets = source,
                     .target_input = b->input + b->target_offsets[s], .target_offsets = target};
        assert_int_equal(keep_likelihood(model, &t, &one, alone), ATTN_OK);
        assert_close("alone", alone, together + b->target_offsets[s] * width, target[1] * width, 1e-6);
    }
    memory_free(together);
    tape_close(&t);
    recurrent_free(model);
    memory_free(b);
}

static void bad_sequences_are_refused(void **state) {
    (void)state;
    recurrent *model = wide_model(0, ELEMENT_F32, 0);
    model->config.max_position_embeddings = 3;
    tape t;
    assert_int_equal(tape_open(&t, &model->parameters), ATTN_OK);
    const int32_t ids[] = {1, 2, WORDS, 0}, empty[] = {0, 0, 1}, longer[] = {0, 4}, beyond[] = {0, 3};
    tape_start(&t, 0, 0, 0);
    assert_null(recurrent_encode(&t, model, ids, (packing){empty, 2}));
    assert_sentence_has("a sequence has 0 tokens; 1 to 3 were expected");
    tape_start(&t, 0, 0, 0);
    assert_null(recurrent_encode(&t, model, ids, (packing){longer, 1}));
    assert_sentence_has("a sequence has 4 tokens; 1 to 3 were expected");
    tape_start(&t, 0, 0, 0);
    assert_null(recurrent_encode(&t, model, ids, (packing){beyond, 1}));
    assert_sentence_has("token 40 is outside the vocabulary of 40");
    tape_close(&t);
    recurrent_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_and_weights_equal_pytorch),
        cmocka_unit_test(gradients_equal_pytorch),
        cmocka_unit_test(bf16_gradients_are_near_pytorch),
        cmocka_unit_test(gradients_have_the_same_bits_for_any_threads),
        cmocka_unit_test(gradients_with_dropout_equal_central_differences),
        cmocka_unit_test(a_sequence_alone_has_the_bits_of_the_batch_but_for_products),
        cmocka_unit_test(bad_sequences_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
