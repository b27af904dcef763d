/* The Transformer against what PyTorch computed with the same weights
 * (tests/vectors/make_marian.py): outputs, loss, every parameter's gradient and the
 * losses of 20 updates of Adam. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "test.h"

#include "base/memory.h"
#include "model/safetensors.h"
#include "model/transformer.h"
#include "train/optimizer.h"
#include "vectors.h"

#define FOLDER TEST_VECTORS "/marian_tiny"

typedef struct fixture {
    transformer *model;
    tape tape;
    safetensors *expected;
    batch batch;
} fixture;

static const void *vector_of(const fixture *f, const char *name) {
    return vector_in(f->expected, name);
}

static void open_fixture(fixture *f, element_type type) {
    assert_int_equal(safetensors_open(FOLDER "/expected.safetensors", &f->expected), ATTN_OK);
    if (transformer_load(FOLDER, (network_purpose){1, type}, &f->model)) {
        fail_msg("%s", attn_last_error());
    }
    assert_int_equal(tape_open(&f->tape, &f->model->parameters), ATTN_OK);
    f->model->config.dropout = 0;
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
    transformer_free(f->model);
    safetensors_close(f->expected);
}

/* Relative to the largest value of the array, as sums of the array's kind round. */
static void assert_close(const char *name, const float *found, const float *expected, int64_t count, double bound) {
    assert_near(name, found, expected, count, bound, 1e-3);
}

static void outputs_equal_pytorch(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, ELEMENT_F32);
    packing source = {f.batch.source_offsets, 3}, target = {f.batch.target_offsets, 3};
    tape_start(&f.tape, 0, 1, 1);
    tensor *memory = transformer_encode(&f.tape, f.model, f.batch.source, source);
    tensor *x = transformer_decode(&f.tape, f.model, f.batch.target_input, target, memory, source);
    if (!x) {
        fail_msg("%s", attn_last_error());
    }
    int64_t width = f.model->config.d_model, vocabulary = f.model->config.vocab_size;
    assert_close("encoder_output", memory->data, vector_of(&f, "encoder_output"), memory->rows * width, 1e-5);
    assert_close("decoder_output", x->data, vector_of(&f, "decoder_output"), x->rows * width, 1e-5);
    float *logits = memory_allocate((size_t)(x->rows * vocabulary), sizeof *logits);
    assert_int_equal(gemm(f.tape.gemm, matrix_of(logits, x->rows, vocabulary, ELEMENT_F32), tensor_matrix(x),
                          matrix_transpose(parameter_matrix(&f.model->parameters, f.model->embedding)),
                          (gemm_options){.bias = parameter_values(&f.model->parameters, f.model->logits_bias)}),
                     ATTN_OK);
    assert_close("logits", logits, vector_of(&f, "logits"), x->rows * vocabulary, 1e-5);
    memory_free(logits);
    close_fixture(&f);
}

static void loss_and_gradients(fixture *f, loss_result *loss) {
    const parameters *set = &f->model->parameters;
    memset(set->gradients, 0, (size_t)set->size * sizeof(float));
    tape_start(&f->tape, 1, 1, 1);
    attn_status status = transformer_loss(&f->tape, f->model, &f->batch, 0.1f, (double)f->batch.tokens_target, loss);
    status = status ? status : tape_backward(&f->tape);
    if (status) {
        fail_msg("%s", attn_last_error());
    }
}

static void check_gradients(element_type type, double bound) {
    fixture f;
    loss_result loss;
    open_fixture(&f, type);
    loss_and_gradients(&f, &loss);
    const float *expected_loss = vector_of(&f, "loss");
    double error = fabs(loss.loss / (double)loss.tokens - (double)*expected_loss);
    if (!(error < bound)) {
        fail_msg("loss: error %g", error);
    }
    const parameters *set = &f.model->parameters;
    for (size_t i = 0; i < set->count; i++) {
        char name[300];
        parameter p = set->list[i].where;
        (void)snprintf(name, sizeof name, "gradient.%s", set->list[i].name);
        if (strstr(name, "k_proj.bias")) {
            continue; /* 0 but for rounding */
        }
        assert_close(name, parameter_gradients(set, p), vector_of(&f, name), p.rows * p.columns, bound);
    }
    close_fixture(&f);
}

static void a_row_of_padding_that_is_zero_has_no_gradient(void **state) {
    (void)state;
    fixture f;
    loss_result loss;
    open_fixture(&f, ELEMENT_F32);
    const parameter table = f.model->embedding;
    const int64_t pad = f.model->config.pad_token_id, n = table.columns;
    memset(parameter_values(&f.model->parameters, table) + pad * n, 0, (size_t)n * sizeof(float));
    loss_and_gradients(&f, &loss);
    const float *gradient = parameter_gradients(&f.model->parameters, table);
    for (int64_t i = 0; i < table.rows; i++) {
        float most = 0;
        for (int64_t j = 0; j < n; j++) {
            most = fmaxf(most, fabsf(gradient[i * n + j]));
        }
        assert_true(i == pad ? most == 0 : most > 0);
    }
    close_fixture(&f);
}

static void gradients_equal_pytorch(void **state) {
    (void)state;
    check_gradients(ELEMENT_F32, 1e-5);
}

/* Activations and products of 8 bits: the error of a sum of roundings of 2^-9. */
static void bf16_gradients_are_near_pytorch(void **state) {
    (void)state;
    if (network_best_type() != ELEMENT_BF16) {
        skip();
    }
    check_gradients(ELEMENT_BF16, 0.1);
}

static void twenty_updates_of_adam_follow_pytorch(void **state) {
    (void)state;
    fixture f;
    optimizer adam;
    open_fixture(&f, ELEMENT_F32);
    optimizer_settings settings = {.kind = ATTN_OPTIMIZER_ADAM, .beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-9};
    assert_int_equal(optimizer_open(&adam, &f.model->parameters, &settings), ATTN_OK);
    const float *expected = vector_of(&f, "adam_losses");
    for (int i = 0; i < 20; i++) {
        loss_result loss;
        double norm;
        loss_and_gradients(&f, &loss);
        double error = fabs(loss.loss / (double)loss.tokens - (double)expected[i]);
        if (!(error < 1e-4)) {
            fail_msg("update %d: loss %.6f, PyTorch %.6f", i, loss.loss / (double)loss.tokens, (double)expected[i]);
        }
        assert_int_equal(optimizer_update(&adam, 1e-3, 1, &norm), ATTN_OK);
    }
    optimizer_close(&adam);
    close_fixture(&f);
}

/* The attention's weights that a probe is shown. */
typedef struct seen_weights {
    const fixture *f;
    int count;
} seen_weights;

static attn_status compare_weights(void *context, const char *part, int64_t sequence, int64_t heads, int64_t queries,
                                   int64_t keys, const float *weights) {
    seen_weights *seen = context;
    char name[64];
    int layer = part[8] - '0';
    const char *kind = strstr(part, "cross") ? "cross" : part[0] == 'e' ? "encoder" : "decoder";
    (void)snprintf(name, sizeof name, "%s_attention.%d.%lld", kind, layer, (long long)sequence);
    assert_close(name, weights, vector_of(seen->f, name), heads * queries * keys, 1e-5);
    seen->count++;
    return ATTN_OK;
}

static void probed_weights_equal_pytorch(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, ELEMENT_F32);
    seen_weights seen = {&f, 0};
    packing source = {f.batch.source_offsets, 3}, target = {f.batch.target_offsets, 3};
    f.tape.probe = (attention_probe){compare_weights, &seen};
    tape_start(&f.tape, 0, 1, 1);
    tensor *memory = transformer_encode(&f.tape, f.model, f.batch.source, source);
    assert_non_null(transformer_decode(&f.tape, f.model, f.batch.target_input, target, memory, source));
    assert_int_equal(seen.count, 3 * (2 + 2 + 2));
    close_fixture(&f);
}

static void gradients_have_the_same_bits_for_any_threads(void **state) {
    (void)state;
    for (int type = 0; type <= (network_best_type() == ELEMENT_BF16); type++) {
        float *first = NULL;
        for (int threads = 1; threads <= 4; threads++) {
            fixture f;
            loss_result loss;
            omp_set_num_threads(threads);
            open_fixture(&f, (element_type)type);
            f.model->config.dropout = 0.1;
            f.model->config.attention_dropout = 0.1;
            loss_and_gradients(&f, &loss);
            size_t bytes = (size_t)f.model->parameters.size * sizeof(float);
            if (!first) {
                first = memory_allocate(bytes, 1);
                memcpy(first, f.model->parameters.gradients, bytes);
            }
            assert_memory_equal(first, f.model->parameters.gradients, bytes);
            close_fixture(&f);
        }
        memory_free(first);
    }
    omp_set_num_threads(2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_equal_pytorch),
        cmocka_unit_test(gradients_equal_pytorch),
        cmocka_unit_test(a_row_of_padding_that_is_zero_has_no_gradient),
        cmocka_unit_test(bf16_gradients_are_near_pytorch),
        cmocka_unit_test(twenty_updates_of_adam_follow_pytorch),
        cmocka_unit_test(probed_weights_equal_pytorch),
        cmocka_unit_test(gradients_have_the_same_bits_for_any_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
