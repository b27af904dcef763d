/* Gradient times input against central differences: what an embedded row is scaled by is
 * changed a little, through a weight that nothing else reads. */
#include <math.h>
#include <string.h>

#include "test.h"

#include <attn/attn.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "infer/model.h"
#include "model/folder.h"
#include "model/transformer.h"
#include "temporary.h"

static char folder[256];
static const double STEP = 4e-3;

/* Words w0 .. w37 and three special tokens: the 41 of the vectors' models. */
static tokenizer *make_words(void) {
    char words[38][8];
    text_line lines[38];
    tokenizer_options options;
    tokenizer *t;
    tokenizer_options_defaults(&options);
    options.kind = TOKENIZER_WHITESPACE;
    for (int i = 0; i < 38; i++) {
        lines[i] = (text_line){words[i], (size_t)snprintf(words[i], sizeof words[i], "w%d", i)};
    }
    assert_int_equal(tokenizer_train(lines, 38, NULL, 0, &options, &t), ATTN_OK);
    assert_int_equal(tokenizer_vocabulary_size(t), 41);
    return t;
}

static void copy_file(const char *from, const char *name) {
    char *path = file_join(from, name), *text, *to = file_join(folder, name);
    size_t size;
    assert_int_equal(file_read(path, &text, &size), ATTN_OK);
    assert_int_equal(file_replace(to, text, size), ATTN_OK);
    memory_free(path);
    memory_free(text);
    memory_free(to);
}

static attn_model *load(void) {
    attn_model *model;
    if (attn_model_load(folder, &model)) {
        fail_msg("%s", attn_last_error());
    }
    return model;
}

static attn_attribution *attribute(const attn_model *model, const char *text, const char *answer) {
    attn_attribution *a;
    if (attn_attribute(model, text, answer, NULL, &a)) {
        fail_msg("%s", attn_last_error());
    }
    return a;
}

static double log_probability(const attn_model *model, const char *text, const char *answer, size_t which) {
    attn_attribution *a = attribute(model, text, answer);
    double value = attn_attribution_log_probability(a, which);
    attn_attribution_free(a);
    return value;
}

/* d log p / d e where row += e * direction. */
static double difference(const attn_model *model, const char *text, const char *answer, size_t which, float *row,
                         const float *direction, int64_t n) {
    double ends[2];
    for (int side = 0; side < 2; side++) {
        float kept[n];
        memcpy(kept, row, (size_t)n * sizeof *kept);
        for (int64_t j = 0; j < n; j++) {
            row[j] += (float)((side ? STEP : -STEP) * (double)direction[j]);
        }
        ends[side] = log_probability(model, text, answer, which);
        memcpy(row, kept, (size_t)n * sizeof *kept);
    }
    return (ends[1] - ends[0]) / (2 * STEP);
}

/* Llama's embedded row is the table's, and its output has a table of its own. */
static void of_a_next_token(void **state) {
    (void)state;
    tokenizer *t = make_words();
    copy_file(TEST_VECTORS "/llama_tiny", "config.json");
    copy_file(TEST_VECTORS "/llama_tiny", "generation_config.json");
    copy_file(TEST_VECTORS "/llama_tiny", "model.safetensors");
    assert_int_equal(tokenizer_save(t, folder), ATTN_OK);
    attn_model *model = load();
    language_model *m = model->network.model;
    static const char TEXT[] = "w3 w17 w5 w8 w21";
    attn_attribution *a = attribute(model, TEXT, NULL);
    assert_int_equal(attn_attribution_tokens(a), 5);
    assert_int_equal(attn_attribution_answers(a), 1);
    assert_string_equal(attn_attribution_token(a, 1), " w17");
    for (size_t i = 0; i < 5; i++) {
        int32_t id = tokenizer_find(t, attn_attribution_token(a, i) + 1, strlen(attn_attribution_token(a, i)) - 1);
        float *row = parameter_values(&m->parameters, m->embedding) + id * m->config.width, direction[64];
        memcpy(direction, row, (size_t)m->config.width * sizeof *row);
        double expected = difference(model, TEXT, NULL, 0, row, direction, m->config.width);
        assert_true(fabs(expected - (double)attn_attribution_gradient(a)[i]) < 3e-3 + 1e-2 * fabs(expected));
    }
    /* the newest token sees all; shares sum to 1; attention is causal */
    double sum = 0;
    int heads;
    for (size_t i = 0; i < 5; i++) {
        sum += (double)attn_attribution_rollout(a)[i];
    }
    assert_true(fabs(sum - 1) < 1e-5);
    assert_int_equal(attn_attribution_layers(a), 2);
    const float *weights = attn_attribution_attention(a, 1, &heads);
    assert_int_equal(heads, 4);
    assert_true(weights[0] == 1 && weights[1] == 0 && weights[24] > 0);
    assert_null(attn_attribution_attention(a, 2, &heads));
    assert_null(attn_attribution_pooling(a));
    attn_attribution_free(a);
    assert_int_equal(attn_attribute(model, TEXT, "w1", NULL, &a), ATTN_ERROR_ARGUMENT);
    attn_model_free(model);
    tokenizer_free(t);
}

/* A translator's embedded row holds its position's; those behind the target's end are the
 * encoder's alone. */
static void of_a_translation(void **state) {
    (void)state;
    tokenizer *t = make_words();
    model_config config;
    transformer *made;
    char inner[300];
    (void)snprintf(inner, sizeof inner, "%s/translator", folder);
    model_config_defaults(&config, 41);
    config.eos_token_id = tokenizer_eos(t);
    config.pad_token_id = config.decoder_start_token_id = tokenizer_pad(t);
    config.d_model = 16;
    config.encoder_layers = config.decoder_layers = 2;
    config.encoder_attention_heads = config.decoder_attention_heads = 2;
    config.encoder_ffn_dim = config.decoder_ffn_dim = 24;
    config.max_position_embeddings = 12;
    config.dropout = 0.5; /* explaining has none */
    assert_int_equal(transformer_new(&config, (network_purpose){0, ELEMENT_F32}, &made), ATTN_OK);
    transformer_initialize(made, 5);
    folder_tensor *tensors = network_tensors(&made->parameters, made->parameters.values);
    assert_int_equal(folder_write_config(inner, &config), ATTN_OK);
    assert_int_equal(tokenizer_save(t, inner), ATTN_OK);
    assert_int_equal(folder_write_weights(inner, tensors, made->parameters.count, NULL, 0), ATTN_OK);
    memory_free(tensors);
    transformer_free(made);
    attn_model *model;
    assert_int_equal(attn_model_load(inner, &model), ATTN_OK);
    transformer *m = model->network.model;
    static const char TEXT[] = "w3 w17 w5 w8 w21 w30", ANSWER[] = "w9 w12";
    attn_attribution *a = attribute(model, TEXT, ANSWER);
    assert_int_equal(attn_attribution_tokens(a), 7);
    assert_int_equal(attn_attribution_answers(a), 3); /* with </s> */
    const float *gradient = attn_attribution_gradient(a), *rollout = attn_attribution_rollout(a);
    for (size_t answer = 0; answer < 3; answer++) {
        double sum = 0;
        for (size_t i = 0; i < 7; i++) {
            sum += (double)rollout[answer * 7 + i];
            if (i < 3) {
                continue;
            }
            const char *word = attn_attribution_token(a, i);
            int32_t id = i == 6 ? tokenizer_eos(t) : tokenizer_find(t, word + 1, strlen(word) - 1);
            const float *table = parameter_values(&m->parameters, m->embedding) + id * 16;
            float *position = (float *)(uintptr_t)m->positions + i * 16, direction[16];
            for (int j = 0; j < 16; j++) {
                direction[j] = table[j] * m->embedding_scale + position[j];
            }
            double expected = difference(model, TEXT, ANSWER, answer, position, direction, 16);
            assert_true(fabs(expected - (double)gradient[answer * 7 + i]) < 3e-3 + 1e-2 * fabs(expected));
        }
        assert_true(fabs(sum - 1) < 1e-5);
    }
    attn_attribution_free(a);
    attn_model_free(model);
    tokenizer_free(t);
}

static int make(void **state) {
    (void)state;
    return temporary_make(folder);
}

static int clean(void **state) {
    (void)state;
    temporary_remove(folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_a_next_token),
        cmocka_unit_test(of_a_translation),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
