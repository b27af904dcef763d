/* The language models of both families, and Llama with a window (Mistral), against what transformers computed with the same
 * weights (tests/vectors/make_language.py): logits, loss and every parameter's gradient; and
 * their folders written and read again. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "base/file.h"
#include "base/memory.h"
#include "model/language_model.h"
#include "temporary.h"
#include "vectors.h"

static char directory[256];
static const char *const FOLDERS[] = {TEST_VECTORS "/gpt2_tiny", TEST_VECTORS "/llama_tiny", TEST_VECTORS "/mistral_tiny"};
enum { MISTRAL = 2, FOLDER_COUNT };

typedef struct fixture {
    network network;
    language_model *model;
    tape tape;
    safetensors *expected;
    batch batch;
} fixture;

static const void *vector_of(const fixture *f, const char *name) {
    return vector_in(f->expected, name);
}

static void open_fixture(fixture *f, int family, element_type type) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/expected.safetensors", FOLDERS[family]);
    assert_int_equal(safetensors_open(path, &f->expected), ATTN_OK);
    if (network_load(FOLDERS[family], (network_purpose){1, type}, &f->network)) {
        fail_msg("%s", attn_last_error());
    }
    assert_ptr_equal(f->network.kind, language_kind(family == LANGUAGE_GPT2 ? LANGUAGE_GPT2 : LANGUAGE_LLAMA));
    f->model = f->network.model;
    f->network.kind->set_dropout(f->model, 0, 0);
    assert_int_equal(tape_open(&f->tape, f->network.parameters), ATTN_OK);
    f->batch = (batch){.sequences = 3, .target_input = vector_of(f, "ids"), .labels = vector_of(f, "labels"),
                       .target_offsets = vector_of(f, "offsets")};
    f->batch.tokens_target = (size_t)f->batch.target_offsets[3];
}

static void close_fixture(fixture *f) {
    tape_close(&f->tape);
    network_free(&f->network);
    safetensors_close(f->expected);
}

/* Relative to the largest value of the array, as sums of the array's kind round. */
static void assert_close(const char *name, const float *found, const float *expected, int64_t count, double bound) {
    assert_near(name, found, expected, count, bound, 1e-3);
}

static void logits_equal_transformers(void **state) {
    (void)state;
    for (int family = 0; family < FOLDER_COUNT; family++) {
        fixture f;
        open_fixture(&f, family, ELEMENT_F32);
        tape_start(&f.tape, 0, 1, 1);
        tensor *x = language_forward(&f.tape, f.model, f.batch.target_input, (packing){f.batch.target_offsets, 3});
        if (!x) {
            fail_msg("%s", attn_last_error());
        }
        int64_t vocabulary = f.model->config.vocab_size;
        float *logits = memory_allocate((size_t)(x->rows * vocabulary), sizeof *logits);
        assert_int_equal(gemm(f.tape.gemm, matrix_of(logits, x->rows, vocabulary, ELEMENT_F32), tensor_matrix(x),
                              matrix_transpose(parameter_matrix(f.network.parameters, f.model->logits)), (gemm_options){0}),
                         ATTN_OK);
        assert_close(FOLDERS[family], logits, vector_of(&f, "logits"), x->rows * vocabulary, 1e-5);
        memory_free(logits);
        close_fixture(&f);
    }
}

/* A gradient of our layout in the file's. */
static float in_file_order(const named_parameter *p, const float *values, int64_t i) {
    return p->transposed ? values[i % p->where.rows * p->where.columns + i / p->where.rows] : values[i];
}

static void check_gradients(int family, element_type type, double bound) {
    fixture f;
    loss_result loss;
    open_fixture(&f, family, type);
    tape_start(&f.tape, 1, 1, 1);
    attn_status status = f.network.kind->loss(&f.tape, f.model, &f.batch, 0, (double)f.batch.tokens_target, &loss);
    status = status ? status : tape_backward(&f.tape);
    if (status) {
        fail_msg("%s", attn_last_error());
    }
    const float *expected_loss = vector_of(&f, "loss");
    assert_true(fabs(loss.loss / (double)loss.tokens - (double)*expected_loss) < bound);
    const parameters *set = f.network.parameters;
    for (size_t i = 0; i < set->count; i++) {
        const named_parameter *p = &set->list[i];
        char name[300];
        int64_t count = p->where.rows * p->where.columns;
        float *found = memory_allocate((size_t)count, sizeof *found);
        (void)snprintf(name, sizeof name, "gradient.%s", p->name);
        /* The file's first name covers its own rows alone. */
        for (int64_t j = 0; j < count; j++) {
            found[j] = in_file_order(p, parameter_gradients(set, p->where), j);
        }
        assert_close(name, found, vector_of(&f, name), count, bound);
        memory_free(found);
    }
    close_fixture(&f);
}

static void gradients_equal_transformers(void **state) {
    (void)state;
    check_gradients(LANGUAGE_GPT2, ELEMENT_F32, 2e-5);
    check_gradients(LANGUAGE_LLAMA, ELEMENT_F32, 2e-5);
    check_gradients(MISTRAL, ELEMENT_F32, 2e-5);
}

static void bf16_gradients_are_near(void **state) {
    (void)state;
    if (network_best_type() == ELEMENT_BF16) {
        check_gradients(LANGUAGE_GPT2, ELEMENT_BF16, 0.2);
        check_gradients(LANGUAGE_LLAMA, ELEMENT_BF16, 0.2);
        check_gradients(MISTRAL, ELEMENT_BF16, 0.2);
    }
}

static void a_written_folder_reads_as_it_was(void **state) {
    (void)state;
    for (int family = 0; family < FOLDER_COUNT; family++) {
        fixture f;
        network again;
        int same = 0;
        open_fixture(&f, family, ELEMENT_F32);
        const char *folder = temporary_path(directory, "written");
        const parameters *set = f.network.parameters;
        folder_tensor *tensors = network_tensors(set, set->values);
        assert_int_equal(f.network.kind->write_config(folder, f.model), ATTN_OK);
        assert_int_equal(folder_write_weights(folder, tensors, set->count, NULL, 0), ATTN_OK);
        if (network_load(folder, (network_purpose){0, ELEMENT_F32}, &again)) {
            fail_msg("%s", attn_last_error());
        }
        assert_int_equal(again.kind->same_shape(FOLDERS[family], again.model, &same), ATTN_OK);
        assert_true(same);
        assert_int_equal(again.parameters->size, set->size);
        assert_memory_equal(again.parameters->values, set->values, (size_t)set->size * sizeof(float));
        network_free(&again);
        /* Another shape is refused while weights stand there. */
        f.model->config.positions++;
        assert_int_equal(f.network.kind->write_config(folder, f.model), ATTN_ERROR_ARGUMENT);
        memory_free(tensors);
        close_fixture(&f);
        temporary_remove(folder);
    }
}

/* What would change the computation and is not built is refused in a sentence. */
static void foreign_settings_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *config, *said;
        attn_status status;
    } CASES[] = {
        {"{\"model_type\": \"gpt2\", \"vocab_size\": 9, \"scale_attn_by_inverse_layer_idx\": true}",
         "scale_attn_by_inverse_layer_idx", ATTN_ERROR_UNSUPPORTED},
        {"{\"model_type\": \"gpt2\", \"vocab_size\": 9, \"n_embd\": 10, \"n_head\": 3}", "do not fit the width 10",
         ATTN_ERROR_FORMAT},
        {"{\"model_type\": \"gpt2\", \"vocab_size\": 9, \"n_layer\": -1}", "n_layer", ATTN_ERROR_FORMAT},
        {"{\"model_type\": \"gpt2\"}", "vocab_size is missing", ATTN_ERROR_FORMAT},
        {"{\"model_type\": \"gpt2\", \"vocab_size\": 9, \"eos_token_id\": 9}", "eos_token_id is 9", ATTN_ERROR_FORMAT},
        {"{\"model_type\": \"llama\", \"vocab_size\": 9, \"hidden_size\": 8, \"num_hidden_layers\": 1, "
         "\"num_attention_heads\": 2, \"intermediate_size\": 8, \"rope_scaling\": {\"rope_type\": \"yarn\"}}",
         "yarn", ATTN_ERROR_UNSUPPORTED},
        {"{\"model_type\": \"llama\", \"vocab_size\": 9, \"hidden_size\": 8, \"num_hidden_layers\": 1, "
         "\"num_attention_heads\": 4, \"num_key_value_heads\": 3, \"intermediate_size\": 8}", "3 key/value heads",
         ATTN_ERROR_FORMAT},
        {"{\"model_type\": \"llama\", \"vocab_size\": 9, \"hidden_size\": 8, \"num_hidden_layers\": 1, "
         "\"num_attention_heads\": 2, \"intermediate_size\": 8, \"attention_bias\": true}", "attention_bias",
         ATTN_ERROR_UNSUPPORTED}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        language_config c;
        const char *path = temporary_path(directory, "config.json");
        assert_int_equal(file_replace(path, CASES[i].config, strlen(CASES[i].config)), ATTN_OK);
        attn_status status = language_config_read(directory, &c);
        if (status != CASES[i].status || !strstr(attn_last_error(), CASES[i].said)) {
            fail_msg("case %zu: status %d, \"%s\"", i, (int)status, attn_last_error());
        }
    }
}

static int set_up(void **state) {
    (void)state;
    return temporary_make(directory);
}

static int tear_down(void **state) {
    (void)state;
    temporary_remove(directory);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_equal_transformers), cmocka_unit_test(gradients_equal_transformers),
        cmocka_unit_test(bf16_gradients_are_near), cmocka_unit_test_setup_teardown(a_written_folder_reads_as_it_was, set_up, tear_down),
        cmocka_unit_test_setup_teardown(foreign_settings_are_refused, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
