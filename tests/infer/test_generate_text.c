/* attn_generate: the text as it comes is the text as a whole, in whole characters; stopping;
 * options out of range. The model is random, so that byte-level pieces break characters often. */
#include <math.h>
#include <string.h>

#include "test.h"

#include <attn/attn.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "infer/model.h"
#include "temporary.h"

static char folder[256];
static attn_model *model;

static int make(void **state) {
    (void)state;
    tokenizer *t;
    network n;
    language_model *made;
    if (temporary_make(folder) || tokenizer_load(TEST_VECTORS "/bpe_tokenizer", &t)) {
        return -1;
    }
    language_config c = {.family = LANGUAGE_GPT2, .vocab_size = (int)tokenizer_vocabulary_size(t), .width = 16, .layers = 2,
                         .heads = 2, .kv_heads = 2, .head_dim = 8, .hidden = 24, .positions = 24, .kind = ACTIVATION_GELU_TANH,
                         .norm_epsilon = 1e-5, .tied = 1, .bos = 0, .eos = 0, .pad = TOKEN_NONE};
    if (language_model_new(&c, (network_purpose){0, ELEMENT_F32}, &made)) {
        return -1;
    }
    language_model_initialize(made, 4);
    n = network_of(&language_gpt2_kind, made);
    folder_tensor *tensors = network_tensors(n.parameters, n.parameters->values);
    int failed = n.kind->write_config(folder, made) || tokenizer_save(t, folder) ||
                 folder_write_weights(folder, tensors, n.parameters->count, NULL, 0) || attn_model_load(folder, &model);
    memory_free(tensors);
    network_free(&n);
    tokenizer_free(t);
    return failed;
}

static int clean(void **state) {
    (void)state;
    attn_model_free(model);
    temporary_remove(folder);
    return 0;
}

typedef struct listener {
    char text[8192];
    size_t length;
    int pieces, most, warnings;
} listener;

static int listen(void *context, const char *piece, size_t length) {
    listener *l = context;
    assert_true(length > 0 && utf8_is_valid(piece, length));
    assert_true(l->length + length < sizeof l->text);
    memcpy(l->text + l->length, piece, length);
    l->length += length;
    return ++l->pieces == l->most;
}

static void count_warning(void *context, const char *sentence) {
    listener *l = context;
    assert_true(strlen(sentence) > 0);
    l->warnings++;
}

static attn_generation *generate(const char *prompt, attn_generate_options *o, listener *l) {
    attn_generation *g;
    o->text = listen;
    o->warn = count_warning;
    o->context = l;
    if (attn_generate(model, prompt, o, &g)) {
        fail_msg("%s", attn_last_error());
    }
    return g;
}

static void what_comes_is_the_text(void **state) {
    (void)state;
    attn_generate_options o;
    attn_generate_options_defaults(&o);
    o.max_tokens = 200;
    int broken = 0, ended = 0;
    for (int seed = 0; seed < 8; seed++) {
        listener l = {.most = -1};
        o.seed = (uint64_t)seed;
        attn_generation *g = generate("the house 我", &o, &l);
        size_t count = attn_generation_tokens(g);
        int32_t ids[256];
        for (size_t i = 0; i < count; i++) {
            const char *piece = attn_generation_token(g, i);
            ids[i] = tokenizer_find(model->tokenizer, piece, strlen(piece));
            assert_true(attn_generation_log_probability(g, i) < 0);
        }
        char *whole;
        assert_int_equal(tokenizer_decode(model->tokenizer, ids, count, &whole), ATTN_OK);
        assert_string_equal(attn_generation_text(g), whole);
        assert_int_equal(l.length, strlen(whole));
        assert_memory_equal(l.text, whole, l.length);
        broken += strstr(whole, "\xEF\xBF\xBD") != NULL;
        ended += attn_generation_ended(g);
        assert_true(attn_generation_ended(g) ? ids[count - 1] == 0 : count == 200);
        assert_null(attn_generation_token(g, count));
        assert_true(isnan(attn_generation_log_probability(g, count)));
        memory_free(whole);
        attn_generation_free(g);
    }
    assert_true(broken > 0);
    assert_true(ended < 8);
}

static void a_listener_ends_it(void **state) {
    (void)state;
    attn_generate_options o;
    attn_generate_options_defaults(&o);
    listener l = {.most = 3};
    attn_generation *g = generate("", &o, &l);
    assert_int_equal(l.pieces, 3);
    assert_true(attn_generation_tokens(g) < 200);
    assert_string_equal(attn_generation_text(g), l.text);
    attn_generation_free(g);
}

static void prompts_that_are_changed_are_told_of(void **state) {
    (void)state;
    attn_generate_options o;
    attn_generate_options_defaults(&o);
    o.max_tokens = 3;
    listener quiet = {.most = -1}, broken = {.most = -1}, longer = {.most = -1};
    attn_generation_free(generate("the", &o, &quiet));
    attn_generation_free(generate("the \xFF", &o, &broken));
    attn_generation_free(generate("z1 z2 z3 z4 z5 z6 z7 z8 z9 z10 z11 z12 z13 z14", &o, &longer));
    assert_int_equal(quiet.warnings, 0);
    assert_int_equal(broken.warnings, 1);
    assert_int_equal(longer.warnings, 1);
}

static void options_out_of_range_are_refused(void **state) {
    (void)state;
    attn_generation *g = NULL;
    for (int i = 0; i < 11; i++) {
        attn_generate_options o;
        attn_generate_options_defaults(&o);
        switch (i) {
        case 0: o.temperature = -1; break;
        case 1: o.temperature = (double)NAN; break;
        case 2: o.temperature = 1e-3; break;
        case 3: o.temperature = (double)INFINITY; break;
        case 4: o.top_p = 0; break;
        case 5: o.top_p = (double)NAN; break;
        case 6: o.top_p = 1.5; break;
        case 7: o.top_k = -1; break;
        case 8: o.max_tokens = 0; break;
        case 9: o.sample = -1; break;
        default: o.max_tokens = (1 << 24) + 1; break;
        }
        assert_int_equal(attn_generate(model, "the", &o, &g), ATTN_ERROR_ARGUMENT);
        assert_null(g);
    }
    assert_int_equal(attn_generate(NULL, "the", NULL, &g), ATTN_ERROR_ARGUMENT);
    assert_int_equal(attn_generate(model, NULL, NULL, &g), ATTN_ERROR_ARGUMENT);
    assert_int_equal(attn_generate(model, "the", NULL, NULL), ATTN_ERROR_ARGUMENT);
    assert_int_equal(attn_model_generates(model), 1);
    assert_int_equal(attn_model_generates(NULL), 0);
    attn_text_evaluation e;
    assert_int_equal(attn_evaluate_text(model, "/nowhere/text", 0, &e), ATTN_ERROR_FILE);
    assert_int_equal(attn_evaluate_text(model, "/nowhere/text", 25, &e), ATTN_ERROR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_is_the_text),
        cmocka_unit_test(a_listener_ends_it),
        cmocka_unit_test(prompts_that_are_changed_are_told_of),
        cmocka_unit_test(options_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
