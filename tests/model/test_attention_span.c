/* "full", "window:N", "linear": read, written, refused; and what a folder with them says. */
#include "test.h"

#include "base/file.h"
#include "base/memory.h"
#include "model/bert_config.h"
#include "model/language_config.h"
#include "temporary.h"

static char directory[256];

static void what_is_written_reads_as_it_was(void **state) {
    (void)state;
    static const char *const TEXTS[] = {"full", "linear", "window:1", "window:256", "window:1073741824"};
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        char text[ATTENTION_SPAN_TEXT];
        attention_span span;
        assert_int_equal(attention_span_parse(TEXTS[i], "x", &span), ATTN_OK);
        assert_string_equal(attention_span_print(span, text), TEXTS[i]);
    }
    attention_span full, narrow, wide;
    assert_int_equal(attention_span_parse("full", "x", &full), ATTN_OK);
    assert_int_equal(attention_span_parse("window:2", "x", &narrow), ATTN_OK);
    assert_int_equal(attention_span_parse("window:3", "x", &wide), ATTN_OK);
    assert_true(attention_span_equal(wide, wide));
    assert_false(attention_span_equal(full, narrow));
    assert_false(attention_span_equal(narrow, wide));
}

static void anything_else_is_refused(void **state) {
    (void)state;
    static const char *const TEXTS[] = {"", "Full", "full ", "window", "window:", "window:0", "window:-1", "window:+1", "window: 1",
                                        "window:1.5", "window:1073741825", "window:99999999999999999999", "window:1x", "linear:2"};
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        attention_span span;
        assert_int_equal(attention_span_parse(TEXTS[i], "attention", &span), ATTN_ERROR_ARGUMENT);
        assert_sentence_has("attention is \"");
        assert_sentence_has(TEXTS[i]);
    }
    assert_int_equal(attention_span_check((attention_span){ATTENTION_WINDOW, 0}, 0, "x"), ATTN_ERROR_ARGUMENT);
    assert_int_equal(attention_span_check((attention_span){ATTENTION_LINEAR, 0}, 0.1, "x"), ATTN_ERROR_ARGUMENT);
    assert_int_equal(attention_span_check((attention_span){ATTENTION_WINDOW, 1}, 0.1, "x"), ATTN_OK);
}

static void assert_config_has(const char *folder, const char *part) {
    char *path = file_join(folder, "config.json"), *text;
    size_t size;
    assert_int_equal(file_read(path, &text, &size), ATTN_OK);
    if (!strstr(text, part)) {
        fail_msg("%s is not in %s", part, text);
    }
    memory_free(text);
    memory_free(path);
}

/* transformers opens what it computes likewise, and nothing else. */
static void a_folder_says_what_its_attention_is(void **state) {
    (void)state;
    static const struct {
        language_family family;
        const char *attention, *type, *key;
    } CASES[] = {{LANGUAGE_GPT2, "full", "\"model_type\": \"gpt2\"", "GPT2LMHeadModel"},
                 {LANGUAGE_GPT2, "window:7", "\"model_type\": \"attn_gpt2\"", "\"attention\": \"window:7\""},
                 {LANGUAGE_GPT2, "linear", "\"model_type\": \"attn_gpt2\"", "\"attention\": \"linear\""},
                 {LANGUAGE_LLAMA, "full", "\"model_type\": \"llama\"", "LlamaForCausalLM"},
                 {LANGUAGE_LLAMA, "window:7", "\"model_type\": \"mistral\"", "\"sliding_window\": 7"},
                 {LANGUAGE_LLAMA, "linear", "\"model_type\": \"attn_llama\"", "\"attention\": \"linear\""}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        language_config c = {.family = CASES[i].family, .vocab_size = 9, .width = 8, .layers = 1, .heads = 2, .kv_heads = 2,
                             .head_dim = 4, .hidden = 8, .positions = 16, .kind = ACTIVATION_GELU_TANH, .norm_epsilon = 1e-5,
                             .rope_theta = 10000, .tied = 1, .bos = -1, .eos = 0, .pad = -1}, read;
        assert_int_equal(attention_span_parse(CASES[i].attention, "x", &c.span), ATTN_OK);
        const char *folder = temporary_path(directory, "language");
        assert_int_equal(language_config_write(folder, &c), ATTN_OK);
        assert_int_equal(language_config_read(folder, &read), ATTN_OK);
        assert_true(language_config_equal(&c, &read));
        assert_config_has(folder, CASES[i].type);
        assert_config_has(folder, CASES[i].key);
        read.span = (attention_span){ATTENTION_WINDOW, 8};
        assert_false(language_config_equal(&c, &read));
        temporary_remove(folder);
    }
}

static void a_classifier_says_what_its_attention_is(void **state) {
    (void)state;
    static const char *const TEXTS[] = {"full", "window:6", "linear"};
    for (int i = 0; i < 3; i++) {
        bert_config c = {.vocab_size = 9, .hidden_size = 8, .layers = 1, .heads = 2, .intermediate_size = 8,
                         .max_position_embeddings = 16, .type_vocab_size = 2, .layer_norm_epsilon = 1e-12, .cls_token_id = 1,
                         .sep_token_id = 2, .unk_token_id = 3, .mask_token_id = 4, .head = BERT_MASKED}, read;
        assert_int_equal(attention_span_parse(TEXTS[i], "x", &c.span), ATTN_OK);
        const char *folder = temporary_path(directory, "bert");
        assert_int_equal(bert_config_write(folder, &c), ATTN_OK);
        assert_int_equal(bert_config_read(folder, &read), ATTN_OK);
        assert_true(bert_config_equal(&c, &read));
        assert_config_has(folder, i == 0 ? "\"model_type\": \"bert\"" : "\"model_type\": \"attn_bert\"");
        temporary_remove(folder);
    }
}

static void bad_configs_are_refused(void **state) {
    (void)state;
#define LLAMA "\"vocab_size\": 9, \"hidden_size\": 8, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"intermediate_size\": 8, " \
              "\"num_key_value_heads\": 2, "
    static const struct {
        const char *config, *said;
    } CASES[] = {{"{" LLAMA "\"model_type\": \"mistral\", \"sliding_window\": 0}", "window is 0 tokens"},
                 {"{" LLAMA "\"model_type\": \"mistral\", \"sliding_window\": -3}", "sliding_window"},
                 {"{" LLAMA "\"model_type\": \"mistral\", \"sliding_window\": \"4\"}", "sliding_window"},
                 {"{" LLAMA "\"model_type\": \"attn_llama\"}", "attention is missing"},
                 {"{" LLAMA "\"model_type\": \"attn_llama\", \"attention\": 7}", "attention is something else"},
                 {"{" LLAMA "\"model_type\": \"attn_llama\", \"attention\": \"window:0\"}", "attention is \"window:0\""},
                 {"{" LLAMA "\"model_type\": \"attn_llama\", \"attention\": \"linear\", \"attention_dropout\": 0.1}", "makes no weights"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        language_config c;
        const char *path = temporary_path(directory, "config.json");
        assert_int_equal(file_replace(path, CASES[i].config, strlen(CASES[i].config)), ATTN_OK);
        if (language_config_read(directory, &c) != ATTN_ERROR_FORMAT || !strstr(attn_last_error(), CASES[i].said)) {
            fail_msg("case %zu: \"%s\"", i, attn_last_error());
        }
    }
    language_config c;
    const char *path = temporary_path(directory, "config.json"), *open = "{" LLAMA "\"model_type\": \"mistral\", \"sliding_window\": null}";
    assert_int_equal(file_replace(path, open, strlen(open)), ATTN_OK);
    assert_int_equal(language_config_read(directory, &c), ATTN_OK);
    assert_int_equal(c.span.kind, ATTENTION_FULL);
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
        cmocka_unit_test(what_is_written_reads_as_it_was),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(a_folder_says_what_its_attention_is),
        cmocka_unit_test(a_classifier_says_what_its_attention_is),
        cmocka_unit_test(bad_configs_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
