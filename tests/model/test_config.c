/* config.json: what transformers writes is read, what we write says the same again,
 * and every wrong setting is refused with file, key, found and expected. */
#include "test.h"

#include <jansson.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/config.h"
#include "model/kept_heads.h"
#include "temporary.h"

static char folder[256];

static int set_up(void **state) {
    (void)state;
    return temporary_make(folder);
}

static int tear_down(void **state) {
    (void)state;
    temporary_remove(folder);
    return 0;
}

/* Reads transformers' config with one key set to a JSON value, or removed (NULL). */
static attn_status read_with(const char *key, const char *value, model_config *config) {
    const char *path = temporary_path(folder, "config.json");
    json_t *root = json_load_file(TEST_VECTORS "/marian_tiny/config.json", 0, NULL);
    assert_non_null(root);
    if (value) {
        json_t *parsed = json_loads(value, JSON_DECODE_ANY, NULL);
        assert_non_null(parsed);
        assert_int_equal(json_object_set_new(root, key, parsed), 0);
    } else if (key) {
        assert_int_equal(json_object_del(root, key), 0);
    }
    assert_int_equal(json_dump_file(root, path, 0), 0);
    json_decref(root);
    return model_config_read(path, config);
}

static void the_config_of_transformers_is_read(void **state) {
    (void)state;
    model_config c;
    assert_int_equal(model_config_read(TEST_VECTORS "/marian_tiny/config.json", &c), ATTN_OK);
    assert_int_equal(c.type, MODEL_MARIAN);
    assert_int_equal(c.vocab_size, 37);
    assert_int_equal(c.d_model, 16);
    assert_int_equal(c.encoder_layers, 2);
    assert_int_equal(c.decoder_layers, 2);
    assert_int_equal(c.encoder_attention_heads, 2);
    assert_int_equal(c.decoder_attention_heads, 2);
    assert_int_equal(c.encoder_ffn_dim, 32);
    assert_int_equal(c.decoder_ffn_dim, 32);
    assert_int_equal(c.max_position_embeddings, 64);
    assert_true(c.dropout == 0.1 && c.attention_dropout == 0 && c.activation_dropout == 0 && c.init_std == 0.02);
    assert_int_equal(c.activation_function, MODEL_SWISH);
    assert_int_equal(c.scale_embedding, 1);
    assert_int_equal(c.tie_word_embeddings, 1);
    assert_int_equal(c.pad_token_id, 36);
    assert_int_equal(c.eos_token_id, 0);
    assert_int_equal(c.bos_token_id, TOKEN_NONE);
    assert_int_equal(c.decoder_start_token_id, 36);
    assert_int_equal(c.num_beams, 4); /* nothing is said: our default */
}

static void wrong_settings_are_refused_with_a_sentence(void **state) {
    (void)state;
    static const struct {
        const char *key, *value;
        attn_status status;
        const char *sentence;
    } CASES[] = {
        {"model_type", NULL, ATTN_ERROR_FORMAT, "model_type is missing"},
        {"model_type", "7", ATTN_ERROR_FORMAT, "model_type is an integer, \"marian\" was expected"},
        {"model_type", "\"bart\"", ATTN_ERROR_UNSUPPORTED, "model_type is \"bart\""},
        {"architectures", "[\"MarianModel\"]", ATTN_ERROR_UNSUPPORTED, "\"MarianModel\""},
        {"architectures", "[3]", ATTN_ERROR_UNSUPPORTED, "architectures"},
        {"architectures", "{}", ATTN_ERROR_FORMAT, "architectures is an object"},
        {"vocab_size", NULL, ATTN_ERROR_FORMAT, "vocab_size is missing, an integer was expected"},
        {"vocab_size", "null", ATTN_ERROR_FORMAT, "vocab_size is null"},
        {"vocab_size", "0", ATTN_ERROR_UNSUPPORTED, "decoder_vocab_size"},
        {"vocab_size", "36", ATTN_ERROR_UNSUPPORTED, "decoder_vocab_size"},
        {"decoder_vocab_size", "38", ATTN_ERROR_UNSUPPORTED, "decoder_vocab_size differs from vocab_size (37)"},
        {"decoder_vocab_size", "\"37\"", ATTN_ERROR_UNSUPPORTED, "decoder_vocab_size"},
        {"d_model", "\"16\"", ATTN_ERROR_FORMAT, "d_model is a string"},
        {"d_model", "16.0", ATTN_ERROR_FORMAT, "d_model is a number that is not an integer"},
        {"d_model", "15", ATTN_ERROR_FORMAT, "d_model is 15, an even number"},
        {"d_model", "0", ATTN_ERROR_FORMAT, "d_model is 0, 2 to 65536 was expected"},
        {"d_model", "-16", ATTN_ERROR_FORMAT, "d_model is -16"},
        {"d_model", "65538", ATTN_ERROR_FORMAT, "d_model is 65538"},
        {"d_model", "4294967312", ATTN_ERROR_FORMAT, "d_model is 4294967312, which is out of range"},
        {"d_model", "9223372036854775807", ATTN_ERROR_FORMAT, "out of range"},
        {"encoder_layers", "0", ATTN_ERROR_FORMAT, "encoder_layers is 0, 1 to 1024"},
        {"decoder_layers", "1025", ATTN_ERROR_FORMAT, "decoder_layers is 1025"},
        {"encoder_attention_heads", "3", ATTN_ERROR_FORMAT,
         "d_model is 16, a multiple of encoder_attention_heads (3) was expected"},
        {"decoder_attention_heads", "5", ATTN_ERROR_FORMAT, "a multiple of decoder_attention_heads (5)"},
        {"encoder_attention_heads", "0", ATTN_ERROR_FORMAT, "encoder_attention_heads is 0"},
        {"attn_heads", "[2, 2]", ATTN_ERROR_FORMAT, "attn_heads is no object"},
        {"attn_heads", "{}", ATTN_ERROR_FORMAT, "encoder_self is no array"},
        {"attn_heads", "{\"encoder_self\": [1, 2], \"decoder_self\": [1, 2, 1], \"cross\": [1, 1]}", ATTN_ERROR_FORMAT,
         "decoder_self is an array of 3, an array of 2 numbers was expected"},
        {"attn_heads", "{\"encoder_self\": [1, 2], \"decoder_self\": [1, 2], \"cross\": [1, 0]}", ATTN_ERROR_FORMAT,
         "cross of layer 1 is not a number of heads from 1 to 2"},
        {"attn_heads", "{\"encoder_self\": [3, 2], \"decoder_self\": [1, 2], \"cross\": [1, 1]}", ATTN_ERROR_FORMAT,
         "encoder_self of layer 0 is not"},
        {"attn_heads", "{\"encoder_self\": [1, \"2\"], \"decoder_self\": [1, 2], \"cross\": [1, 1]}", ATTN_ERROR_FORMAT,
         "encoder_self of layer 1 is not"},
        {"attn_heads", "{\"encoder_self\": [1, 18446744073709551], \"decoder_self\": [1, 2], \"cross\": [1, 1]}",
         ATTN_ERROR_FORMAT, "encoder_self of layer 1 is not"},
        {"encoder_ffn_dim", "true", ATTN_ERROR_FORMAT, "encoder_ffn_dim is true"},
        {"decoder_ffn_dim", "[]", ATTN_ERROR_FORMAT, "decoder_ffn_dim is an array"},
        {"max_position_embeddings", "0", ATTN_ERROR_FORMAT, "max_position_embeddings is 0"},
        {"max_position_embeddings", "1048577", ATTN_ERROR_FORMAT, "max_position_embeddings is 1048577, 1 to 1048576"},
        {"dropout", "1", ATTN_ERROR_FORMAT, "dropout is 1, a number in [0, 1) was expected"},
        {"dropout", "-0.1", ATTN_ERROR_FORMAT, "dropout is -0.1"},
        {"attention_dropout", "\"0\"", ATTN_ERROR_FORMAT, "attention_dropout is a string, a number"},
        {"init_std", "0", ATTN_ERROR_FORMAT, "init_std is 0"},
        {"activation_function", "\"tanh\"", ATTN_ERROR_UNSUPPORTED, "activation_function is \"tanh\""},
        {"activation_function", NULL, ATTN_ERROR_FORMAT, "activation_function is missing"},
        {"scale_embedding", "1", ATTN_ERROR_FORMAT, "scale_embedding is an integer, true or false"},
        {"tie_word_embeddings", "false", ATTN_ERROR_UNSUPPORTED, "tie_word_embeddings is false, only true"},
        {"share_encoder_decoder_embeddings", "false", ATTN_ERROR_UNSUPPORTED, "only true"},
        {"static_position_embeddings", "false", ATTN_ERROR_UNSUPPORTED, "only true"},
        {"normalize_before", "true", ATTN_ERROR_UNSUPPORTED, "normalize_before is true, only false"},
        {"normalize_embedding", "true", ATTN_ERROR_UNSUPPORTED, "normalize_embedding"},
        {"is_encoder_decoder", "false", ATTN_ERROR_UNSUPPORTED, "is_encoder_decoder is false"},
        {"pad_token_id", "37", ATTN_ERROR_FORMAT, "pad_token_id is 37, 0 to vocab_size - 1 = 36 was expected"},
        {"pad_token_id", "-1", ATTN_ERROR_FORMAT, "pad_token_id is -1"},
        {"pad_token_id", "null", ATTN_ERROR_FORMAT, "pad_token_id is null"},
        {"pad_token_id", "0", ATTN_ERROR_FORMAT, "both 0"},
        {"eos_token_id", "[0, 1]", ATTN_ERROR_FORMAT, "eos_token_id is an array"},
        {"bos_token_id", "99", ATTN_ERROR_FORMAT, "bos_token_id is 99"},
        {"decoder_start_token_id", NULL, ATTN_ERROR_FORMAT, "decoder_start_token_id is missing"},
        {"num_beams", "0", ATTN_ERROR_FORMAT, "num_beams is 0"},
        {"max_length", "\"x\"", ATTN_ERROR_FORMAT, "max_length is a string"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        model_config config;
        attn_status status = read_with(CASES[i].key, CASES[i].value, &config);
        if (status != CASES[i].status) {
            fail_msg("%s = %s gives %s (%s)", CASES[i].key, CASES[i].value ? CASES[i].value : "nothing",
                     attn_status_name(status), status ? attn_last_error() : "");
        }
        assert_sentence_has("/config.json: ");
        assert_sentence_has(CASES[i].sentence);
    }
}

static void keys_that_may_be_absent_have_the_defaults_of_transformers(void **state) {
    (void)state;
    model_config c;
    assert_int_equal(read_with("dropout", NULL, &c), ATTN_OK);
    assert_true(c.dropout == 0.1);
    assert_int_equal(read_with("scale_embedding", NULL, &c), ATTN_OK);
    assert_int_equal(c.scale_embedding, 0);
    assert_int_equal(read_with("architectures", NULL, &c), ATTN_OK);
    assert_int_equal(read_with("decoder_vocab_size", "null", &c), ATTN_OK);
    assert_int_equal(read_with("static_position_embeddings", NULL, &c), ATTN_OK);
    assert_int_equal(read_with("bos_token_id", "0", &c), ATTN_OK);
    assert_int_equal(c.bos_token_id, 0);
    assert_int_equal(read_with("num_beams", "6", &c), ATTN_OK); /* where older versions left it */
    assert_int_equal(c.num_beams, 6);
    assert_int_equal(read_with("activation_function", "\"silu\"", &c), ATTN_OK);
    assert_int_equal(c.activation_function, MODEL_SWISH);
    assert_int_equal(read_with("a_key_of_tomorrow", "{\"x\":[1,2]}", &c), ATTN_OK);
}

static void put(const char *path, const char *bytes, size_t size) {
    assert_int_equal(file_replace(path, bytes, size), ATTN_OK);
}

static void files_that_are_not_json_objects_are_refused(void **state) {
    (void)state;
    static const char *const TEXTS[] = {"", "x", "{", "[]", "3", "{\"d_model\":1,\"d_model\":1}", "{}}", "\xff"};
    const char *path = temporary_path(folder, "config.json");
    model_config c;
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        put(path, TEXTS[i], strlen(TEXTS[i]));
        assert_int_equal(model_config_read(path, &c), ATTN_ERROR_FORMAT);
        assert_sentence_has("/config.json");
        assert_int_equal(model_config_read_generation(path, &c), ATTN_ERROR_FORMAT);
    }
    assert_int_equal(model_config_read(temporary_path(folder, "none"), &c), ATTN_ERROR_FILE);
}

static void a_config_cut_at_any_byte_is_refused(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "config.json");
    char *bytes;
    size_t size;
    model_config c;
    assert_int_equal(file_read(TEST_VECTORS "/marian_tiny/config.json", &bytes, &size), ATTN_OK);
    size_t end = size;
    while (bytes[end - 1] != '}') {
        end--;
    }
    for (size_t i = 0; i < end; i++) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(bytes, 1, i, file), i);
        assert_int_equal(fclose(file), 0);
        assert_int_equal(model_config_read(path, &c), ATTN_ERROR_FORMAT);
    }
    memory_free(bytes);
}

static void what_is_written_is_read_back(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "config.json"), *generation = temporary_path(folder, "generation.json");
    model_config a, b;
    model_config_defaults(&a, 8000);
    a.d_model = 126;
    a.encoder_layers = 3;
    a.decoder_attention_heads = 7;
    a.encoder_attention_heads = 2;
    a.decoder_ffn_dim = 77;
    a.dropout = 0.3;
    a.attention_dropout = 0.05;
    a.activation_function = MODEL_GELU;
    a.scale_embedding = 0;
    a.bos_token_id = 5;
    a.num_beams = 6;
    a.max_length = 99;
    a.length_penalty = 0.7;
    assert_int_equal(model_config_write(path, &a), ATTN_OK);
    assert_int_equal(model_config_write_generation(generation, &a), ATTN_OK);
    assert_int_equal(model_config_read(path, &b), ATTN_OK);
    assert_int_equal(b.num_beams, 4);
    assert_true(model_config_equal(&a, &b));
    assert_int_equal(model_config_read_generation(generation, &b), ATTN_OK);
    assert_int_equal(b.num_beams, 6);
    assert_int_equal(b.max_length, 99);
    assert_true(b.length_penalty == 0.7 && b.dropout == 0.3 && b.attention_dropout == 0.05);
    assert_int_equal(b.activation_function, MODEL_GELU);
    assert_int_equal(b.bos_token_id, 5);
    b.decoder_ffn_dim++;
    assert_false(model_config_equal(&a, &b));
    b = a;
    b.scale_embedding = 1;
    assert_false(model_config_equal(&a, &b));
    b = a;
    b.activation_function = MODEL_RELU;
    assert_false(model_config_equal(&a, &b));
}

static void the_heads_that_are_left_are_read_back(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "pruned.json");
    model_config a, b;
    model_config_defaults(&a, 100);
    a.encoder_layers = 3;
    a.decoder_layers = 2;
    a.kept_heads[MODEL_ENCODER_SELF][2] = 5;
    a.kept_heads[MODEL_DECODER_CROSS][0] = 1;
    assert_int_equal(model_config_write(path, &a), ATTN_OK);
    assert_int_equal(model_config_read(path, &b), ATTN_OK);
    assert_true(model_config_equal(&a, &b));
    assert_int_equal(model_config_heads(&b, MODEL_ENCODER_SELF, 1), 8);
    assert_int_equal(model_config_heads(&b, MODEL_ENCODER_SELF, 2), 5);
    assert_int_equal(model_config_heads(&b, MODEL_DECODER_CROSS, 0), 1);
    assert_int_equal(model_config_head_number(&b, MODEL_DECODER_SELF, 1), 8 + 8 + 5 + 8);
    assert_int_equal(model_config_head_number(&b, MODEL_ATTENTIONS, 0), 8 + 8 + 5 + 8 + 8 + 1 + 8);
    b.kept_heads[MODEL_DECODER_SELF][1] = 7;
    assert_false(model_config_equal(&a, &b));
    b.kept_heads[MODEL_DECODER_SELF][1] = 9;
    assert_int_equal(model_config_check(&b, "the model's settings"), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("decoder_self of layer 1 is 9, 1 to 8 heads were expected");
    memset(a.kept_heads, 0, sizeof a.kept_heads); /* a whole model says nothing of it */
    a.kept_heads[MODEL_DECODER_SELF][0] = 8;
    assert_int_equal(model_config_write(path, &a), ATTN_OK);
    json_t *root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    assert_null(json_object_get(root, "attn_heads"));
    json_decref(root);
}

static void what_is_written_has_the_keys_of_transformers(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "config.json");
    model_config c;
    assert_int_equal(model_config_read(TEST_VECTORS "/marian_tiny/config.json", &c), ATTN_OK);
    assert_int_equal(model_config_write(path, &c), ATTN_OK);
    json_t *theirs = json_load_file(TEST_VECTORS "/marian_tiny/config.json", 0, NULL);
    json_t *ours = json_load_file(path, 0, NULL);
    assert_int_equal(json_object_del(theirs, "transformers_version"), 0);
    assert_true(json_equal(ours, theirs));
    json_decref(ours);
    json_decref(theirs);
}

static void a_config_out_of_range_is_not_written(void **state) {
    (void)state;
    model_config c;
    model_config_defaults(&c, 100);
    c.encoder_attention_heads = 7;
    assert_int_equal(model_config_check(&c, "the model's settings"), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("the model's settings: d_model is 512, a multiple of encoder_attention_heads (7)");
    assert_int_equal(model_config_write(temporary_path(folder, "config.json"), &c), ATTN_ERROR_ARGUMENT);
    assert_int_equal(model_config_write_generation(temporary_path(folder, "g.json"), &c), ATTN_ERROR_ARGUMENT);
    assert_int_equal(temporary_entries(folder), 0);
    model_config_defaults(&c, 100);
    assert_int_equal(model_config_check(&c, "defaults"), ATTN_OK);
}

static void the_table_of_positions_cannot_ask_for_all_memory(void **state) {
    (void)state;
    model_config c;
    model_config_defaults(&c, 100);
    c.max_position_embeddings = 1 << 19; /* times 512 is 2^28 */
    assert_int_equal(model_config_check(&c, "x"), ATTN_OK);
    c.max_position_embeddings++;
    assert_int_equal(model_config_check(&c, "x"), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("max_position_embeddings is 524289, at most 524288 was expected at d_model 512");
}

static void a_bad_generation_config_changes_nothing(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "g.json");
    model_config c;
    model_config_defaults(&c, 100);
    put(path, "{\"num_beams\":7,\"max_length\":0}", 30);
    assert_int_equal(model_config_read_generation(path, &c), ATTN_ERROR_FORMAT);
    assert_sentence_has("max_length is 0, 1 to 1048576");
    assert_int_equal(c.num_beams, 4);
    put(path, "{\"num_beams\":null,\"length_penalty\":2}", 37);
    assert_int_equal(model_config_read_generation(path, &c), ATTN_OK);
    assert_true(c.length_penalty == 2.0 && c.num_beams == 4);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(the_config_of_transformers_is_read),
        CASE(wrong_settings_are_refused_with_a_sentence),
        CASE(keys_that_may_be_absent_have_the_defaults_of_transformers),
        CASE(files_that_are_not_json_objects_are_refused),
        CASE(a_config_cut_at_any_byte_is_refused),
        CASE(what_is_written_is_read_back),
        CASE(the_heads_that_are_left_are_read_back),
        CASE(what_is_written_has_the_keys_of_transformers),
        CASE(a_config_out_of_range_is_not_written),
        CASE(the_table_of_positions_cannot_ask_for_all_memory),
        CASE(a_bad_generation_config_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
