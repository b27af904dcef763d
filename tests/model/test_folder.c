/* A model's folder: what is missing is said, what does not belong together is
 * refused, and a save that fails or is killed anywhere leaves a usable folder. */
#include "test.h"

#include <math.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/memory.h"
#include "faults.h"
#include "model/folder.h"
#include "temporary.h"

#define TINY TEST_VECTORS "/marian_tiny"

static char folder[256];

static int set_up(void **state) {
    (void)state;
    faults_none();
    return temporary_make(folder);
}

static int tear_down(void **state) {
    (void)state;
    faults_none();
    temporary_remove(folder);
    return 0;
}

static void put(const char *name, const char *text) {
    assert_int_equal(file_replace(temporary_path(folder, name), text, strlen(text)), ATTN_OK);
}

/* A model of two tensors, for saving; all values of a step are that step. */
enum { VALUES = 20000 };
static float embedding[VALUES], bias[7];
static const folder_tensor TENSORS[] = {{"model.shared.weight", 2, {VALUES / 8, 8}, embedding, 0},
                                        {"final_logits_bias", 2, {1, 7}, bias, 0}};

static void set_values(int step) {
    for (int i = 0; i < VALUES; i++) {
        embedding[i] = (float)step;
    }
    for (int i = 0; i < 7; i++) {
        bias[i] = (float)step;
    }
}

static void assert_values(int step) {
    for (int i = 0; i < VALUES; i++) {
        assert_true(embedding[i] == (float)step);
    }
    for (int i = 0; i < 7; i++) {
        assert_true(bias[i] == (float)step);
    }
}

static void tiny_config(model_config *config) {
    assert_int_equal(model_config_read(TINY "/config.json", config), ATTN_OK);
}

static void a_folder_that_lacks_a_file_is_refused_by_its_name(void **state) {
    (void)state;
    assert_int_equal(folder_check(temporary_path(folder, "none")), ATTN_ERROR_FILE);
    assert_sentence_has("there is no such model folder");
    assert_int_equal(folder_check(folder), ATTN_ERROR_FILE);
    assert_sentence_has("config.json is missing");
    put("config.json", "{}");
    assert_int_equal(folder_check(folder), ATTN_ERROR_FILE);
    assert_sentence_has("model.safetensors is missing");
    put("training.safetensors", "x");
    assert_int_equal(folder_check(folder), ATTN_ERROR_FILE);
    assert_sentence_has("resume");
    put("pytorch_model.bin", "x");
    assert_int_equal(folder_check(folder), ATTN_ERROR_UNSUPPORTED);
    assert_sentence_has("save_pretrained");
    put("model.safetensors.index.json", "{}");
    assert_int_equal(folder_check(folder), ATTN_ERROR_UNSUPPORTED);
    assert_sentence_has("max_shard_size");
    put("model.safetensors", "x");
    assert_int_equal(folder_check(folder), ATTN_OK);
    assert_int_equal(folder_check(TINY), ATTN_OK);
}

static void the_folder_of_transformers_is_read(void **state) {
    (void)state;
    model_config config;
    safetensors *file;
    folder_tensor tensors[100];
    assert_int_equal(folder_read_config(TINY, &config), ATTN_OK);
    assert_int_equal(safetensors_open(TINY "/model.safetensors", &file), ATTN_OK);
    size_t count = safetensors_count(file);
    assert_int_equal(count, 86);
    for (size_t i = 0; i < count; i++) {
        const safetensors_tensor *stored = safetensors_at(file, i);
        tensors[i] = (folder_tensor){.name = stored->name, .dims = stored->dims,
                                     .values = memory_allocate(safetensors_elements(stored), sizeof(float))};
        memcpy(tensors[i].shape, stored->shape, sizeof stored->shape);
    }
    size_t elements = 0;
    for (size_t i = 0; i < count; i++) {
        elements += safetensors_elements(safetensors_at(file, i));
    }
    assert_int_equal(model_config_weights(&config), elements);
    assert_int_equal(folder_read_weights(TINY, tensors, count), ATTN_OK);
    for (size_t i = 0; i < count; i++) {
        const safetensors_tensor *stored = safetensors_at(file, i);
        assert_memory_equal(tensors[i].values, stored->data, safetensors_elements(stored) * sizeof(float));
    }
    assert_int_equal(folder_read_weights(TINY, tensors, count - 1), ATTN_ERROR_FORMAT);
    assert_sentence_has("has no place in the model");
    for (size_t i = 0; i < count; i++) {
        memory_free(tensors[i].values);
    }
    safetensors_close(file);
}

static void a_saved_folder_is_read_back(void **state) {
    (void)state;
    const char *inner = temporary_path(folder, "runs/model");
    const safetensors_metadata metadata[] = {{"attn.step", "3"}};
    model_config config, found;
    model_config_defaults(&config, 100); /* small: both tensors stand for all weights */
    config.d_model = 16;
    config.encoder_layers = config.decoder_layers = 1;
    config.encoder_ffn_dim = config.decoder_ffn_dim = 16;
    config.num_beams = 9;
    set_values(3);
    assert_int_equal(folder_write_config(inner, &config), ATTN_OK);
    assert_int_equal(folder_check(inner), ATTN_ERROR_FILE); /* no model before its weights */
    assert_int_equal(folder_write_weights(inner, TENSORS, 2, metadata, 1), ATTN_OK);
    assert_int_equal(folder_check(inner), ATTN_OK);
    assert_int_equal(folder_read_config(inner, &found), ATTN_OK);
    assert_true(model_config_equal(&config, &found));
    assert_int_equal(found.num_beams, 9);
    set_values(0);
    assert_int_equal(folder_read_weights(inner, TENSORS, 2), ATTN_OK);
    assert_values(3);
    assert_int_equal(temporary_entries(inner), 3);
}

static void weights_that_do_not_fit_the_model_are_refused(void **state) {
    (void)state;
    const folder_tensor more[] = {TENSORS[0], TENSORS[1], {"model.encoder.layers.0.fc1.bias", 1, {7}, bias, 0}};
    const folder_tensor wider[] = {TENSORS[0], {"final_logits_bias", 2, {1, 8}, bias, 0}};
    set_values(1);
    assert_int_equal(folder_write_weights(folder, TENSORS, 2, NULL, 0), ATTN_OK);
    assert_int_equal(folder_read_weights(folder, more, 3), ATTN_ERROR_FORMAT);
    assert_sentence_has("model.safetensors: tensor \"model.encoder.layers.0.fc1.bias\" is missing");
    assert_int_equal(folder_read_weights(folder, wider, 2), ATTN_ERROR_FORMAT);
    assert_sentence_has("tensor \"final_logits_bias\": its shape is [1, 7], [1, 8] was expected");
    assert_int_equal(folder_read_weights(folder, TENSORS, 1), ATTN_ERROR_FORMAT);
    assert_sentence_has("tensor \"final_logits_bias\" has no place");
    bias[3] = NAN;
    assert_int_equal(folder_write_weights(folder, TENSORS, 2, NULL, 0), ATTN_OK);
    assert_int_equal(folder_read_weights(folder, TENSORS, 2), ATTN_ERROR_NUMERIC);
    assert_sentence_has("element 3 is nan");
}

static void a_config_larger_than_its_weights_is_refused_before_they_are_read(void **state) {
    (void)state;
    model_config config;
    tiny_config(&config);
    config.vocab_size = 1 << 24;
    config.d_model = 1 << 16;
    config.max_position_embeddings = 1 << 12;
    config.encoder_layers = config.decoder_layers = 1024;
    config.encoder_ffn_dim = config.decoder_ffn_dim = 1 << 18;
    assert_int_equal(folder_write_config(folder, &config), ATTN_OK);
    assert_int_equal(folder_read_config(folder, &config), ATTN_OK); /* no weights yet */
    assert_int_equal(folder_write_weights(folder, TENSORS, 2, NULL, 0), ATTN_OK);
    assert_int_equal(folder_read_config(folder, &config), ATTN_ERROR_FORMAT);
    assert_sentence_has("model.safetensors holds");
    assert_sentence_has("too few for the");
}

static void other_names_of_the_tied_embedding_are_understood(void **state) {
    (void)state;
    float positions[8] = {0};
    const folder_tensor stored[] = {{"lm_head.weight", 2, {VALUES / 8, 8}, embedding, 0}, TENSORS[1],
                                    {"model.encoder.embed_positions.weight", 2, {1, 8}, positions, 0}};
    set_values(4);
    assert_int_equal(folder_write_weights(folder, stored, 3, NULL, 0), ATTN_OK);
    set_values(0);
    assert_int_equal(folder_read_weights(folder, TENSORS, 2), ATTN_OK);
    assert_values(4);
}

static void the_config_of_another_model_is_not_overwritten(void **state) {
    (void)state;
    model_config config, other;
    char *before, *after;
    size_t size, size_after;
    tiny_config(&config);
    other = config;
    other.encoder_layers++;
    /* One of the same model stays as it is, to the byte, with the keys that only others know. */
    assert_int_equal(file_read(TINY "/config.json", &before, &size), ATTN_OK);
    assert_int_equal(file_replace(temporary_path(folder, "config.json"), before, size), ATTN_OK);
    assert_int_equal(folder_write_config(folder, &config), ATTN_OK);
    assert_int_equal(file_read(temporary_path(folder, "config.json"), &after, &size_after), ATTN_OK);
    assert_int_equal(size, size_after);
    assert_memory_equal(before, after, size);
    memory_free(before);
    memory_free(after);
    /* Without weights another model may take the folder; with weights it may not. */
    assert_int_equal(folder_write_config(folder, &other), ATTN_OK);
    assert_int_equal(folder_write_weights(folder, TENSORS, 2, NULL, 0), ATTN_OK);
    assert_int_equal(folder_write_config(folder, &config), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("another model");
    put("config.json", "{broken");
    assert_int_equal(folder_write_config(folder, &config), ATTN_ERROR_ARGUMENT);
}

static void a_weights_file_cut_anywhere_is_refused(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "model.safetensors");
    char *bytes;
    size_t size;
    assert_int_equal(file_read(TINY "/model.safetensors", &bytes, &size), ATTN_OK);
    for (size_t end = 0; end < size; end += end < 64 || end > size - 64 ? 1 : 997) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(bytes, 1, end, file), end);
        assert_int_equal(fclose(file), 0);
        assert_int_equal(folder_read_weights(folder, TENSORS, 2), ATTN_ERROR_FORMAT);
        assert_sentence_has(path);
    }
    memory_free(bytes);
}

/* --- the training state --- */

static float moment[VALUES], bias_moment[7];
static const folder_tensor MOMENTS[] = {{"model.shared.weight", 2, {VALUES / 8, 8}, moment, 0},
                                        {"final_logits_bias", 2, {1, 7}, bias_moment, 0}};
static const folder_group GROUPS[] = {{"weights", TENSORS, 2}, {"adam.first_moment", MOMENTS, 2}};

static attn_status save_step(int step) {
    char text[16];
    const safetensors_metadata metadata[] = {{"attn.step", text}};
    (void)snprintf(text, sizeof text, "%d", step);
    set_values(step);
    for (int i = 0; i < VALUES; i++) {
        moment[i] = (float)-step;
    }
    attn_status status = folder_write_training(folder, GROUPS, 2, metadata, 1);
    return status ? status : folder_write_weights(folder, TENSORS, 2, metadata, 1);
}

/* The step that a file is of, all of whose values must agree with it. */
static int step_of(const safetensors *file) {
    int step = atoi(safetensors_metadata_value(file, "attn.step"));
    assert_values(step);
    return step;
}

static int training_step(void) {
    safetensors *file;
    assert_int_equal(folder_read_training(folder, GROUPS, 2, &file), ATTN_OK);
    int step = step_of(file);
    for (int i = 0; i < VALUES; i++) {
        assert_true(moment[i] == (float)-step);
    }
    safetensors_close(file);
    return step;
}

static int weights_step(void) {
    safetensors *file;
    assert_int_equal(folder_read_weights(folder, TENSORS, 2), ATTN_OK);
    assert_int_equal(safetensors_open(temporary_path(folder, "model.safetensors"), &file), ATTN_OK);
    int step = step_of(file);
    safetensors_close(file);
    return step;
}

static void a_training_state_is_read_back_and_strictly(void **state) {
    (void)state;
    safetensors *file;
    const folder_group more[] = {GROUPS[0], GROUPS[1], {"adam.second_moment", MOMENTS, 2}};
    assert_int_equal(save_step(12), ATTN_OK);
    assert_int_equal(training_step(), 12);
    assert_int_equal(folder_read_training(folder, more, 3, &file), ATTN_ERROR_FORMAT);
    assert_sentence_has("tensor \"adam.second_moment.model.shared.weight\" is missing");
    assert_null(file);
    assert_int_equal(folder_read_training(folder, GROUPS, 1, &file), ATTN_ERROR_FORMAT);
    assert_sentence_has("holds 4 tensors, the training state of this model has 2");
    assert_int_equal(folder_read_training(temporary_path(folder, "none"), GROUPS, 2, &file), ATTN_ERROR_FILE);
    assert_null(file);
}

static void a_full_disk_leaves_the_old_checkpoint(void **state) {
    (void)state;
    assert_int_equal(save_step(1), ATTN_OK);
    for (int at = 1;; at++) {
        fault.seen = 0;
        fault.call = "write";
        fault.at = at;
        fault.error = ENOSPC;
        attn_status status = save_step(2);
        faults_none();
        if (!status) {
            assert_true(at > 4); /* the fault lay beyond the last write */
            break;
        }
        assert_sentence_has("No space left");
        int training = training_step(), weights = weights_step();
        assert_int_equal(weights, 1);
        assert_true(training == 1 || training == 2);
        assert_int_equal(temporary_entries(folder), 2);
    }
    assert_int_equal(training_step(), 2);
    assert_int_equal(weights_step(), 2);
}

/* Ends the saving process before its n-th write, fsync or rename, for every n. */
static void a_kill_at_any_call_leaves_a_usable_folder(void **state) {
    (void)state;
    int code = 9, old_pairs = 0, mixed_pairs = 0;
    for (int at = 1; code == 9; at++) {
        assert_int_equal(save_step(1), ATTN_OK);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            fault.call = "any";
            fault.at = at;
            fault.kill = 1;
            _exit(save_step(2) ? 1 : 0);
        }
        int result;
        assert_true(waitpid(child, &result, 0) == child && WIFEXITED(result));
        code = WEXITSTATUS(result);
        int training = training_step(), weights = weights_step();
        old_pairs += training == 1 && weights == 1;
        mixed_pairs += training == 2 && weights == 1; /* each whole: resuming goes on from step 2 */
        assert_false(training == 1 && weights == 2);
    }
    assert_int_equal(code, 0);
    assert_true(old_pairs >= 3 && mixed_pairs >= 3);
    assert_int_equal(training_step(), 2);
    assert_int_equal(weights_step(), 2);
    assert_int_equal(temporary_entries(folder), 2); /* the next save took the stale temporaries over */
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_folder_that_lacks_a_file_is_refused_by_its_name),
        CASE(the_folder_of_transformers_is_read),
        CASE(a_saved_folder_is_read_back),
        CASE(weights_that_do_not_fit_the_model_are_refused),
        CASE(a_config_larger_than_its_weights_is_refused_before_they_are_read),
        CASE(other_names_of_the_tied_embedding_are_understood),
        CASE(the_config_of_another_model_is_not_overwritten),
        CASE(a_weights_file_cut_anywhere_is_refused),
        CASE(a_training_state_is_read_back_and_strictly),
        CASE(a_full_disk_leaves_the_old_checkpoint),
        CASE(a_kill_at_any_call_leaves_a_usable_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
