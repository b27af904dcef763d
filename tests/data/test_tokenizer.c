/* Tokenizers: trained, saved, loaded, equal to transformers', hostile files refused. */
#include "test.h"
#include "temporary.h"

#include <jansson.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/threads.h"
#include "data/sample_text.h"
#include "data/sentencepiece_shim.h"
#include "data/tokenizer.h"
#include "data/vocabulary.h"

static char folder[256];

static int make_folder(void **state) {
    (void)state;
    return temporary_make(folder);
}

static int remove_folder(void **state) {
    (void)state;
    temporary_remove(folder);
    return 0;
}

static void write_file(const char *name, const char *text) {
    assert_int_equal(file_replace(temporary_path(folder, name), text, strlen(text)), ATTN_OK);
}

static tokenizer *train(const parallel_text *text, tokenizer_kind kind, size_t size) {
    tokenizer_options options;
    tokenizer_options_defaults(&options);
    options.kind = kind;
    options.vocabulary_size = size;
    tokenizer *t = NULL;
    if (tokenizer_train(text->source, text->pairs, text->target, text->pairs, &options, &t))
        fail_msg("%s", attn_last_error());
    return t;
}

static tokenizer *train_on_words(const char *line, tokenizer_options options) {
    text_line lines[1] = {{line, strlen(line)}};
    tokenizer *t = NULL;
    options.kind = TOKENIZER_WHITESPACE;
    if (tokenizer_train(lines, 1, NULL, 0, &options, &t))
        fail_msg("%s", attn_last_error());
    return t;
}

static tokenizer_options defaults(void) {
    tokenizer_options options;
    tokenizer_options_defaults(&options);
    return options;
}

static id_buffer encode(const tokenizer *t, tokenizer_side side, const char *text) {
    id_buffer ids = {0};
    if (tokenizer_encode(t, side, text, strlen(text), &ids))
        fail_msg("%s", attn_last_error());
    return ids;
}

static void expect_ids(const tokenizer *t, tokenizer_side side, const char *text, const json_t *expected) {
    id_buffer ids = encode(t, side, text);
    int same = ids.count == json_array_size(expected);
    for (size_t i = 0; i < ids.count && same; i++)
        same = ids.ids[i] == json_integer_value(json_array_get(expected, i));
    if (!same)
        fail_msg("side %d of \"%s\" has other ids than transformers gives", (int)side, text);
    id_buffer_release(&ids);
}

/* --- equal to transformers ----------------------------------------------------- */

static void foreign_folder_gives_the_ids_and_texts_of_transformers(void **state) {
    (void)state;
    tokenizer *t;
    assert_int_equal(tokenizer_load(TEST_VECTORS "/marian_tokenizer", &t), ATTN_OK);
    json_t *root = json_load_file(TEST_VECTORS "/marian_tokenizer/expected.json", 0, NULL), *row, *id;
    assert_non_null(root);
    assert_int_equal(tokenizer_vocabulary_size(t), json_integer_value(json_object_get(root, "size")));
    assert_int_equal(tokenizer_eos(t), json_integer_value(json_object_get(root, "eos")));
    assert_int_equal(tokenizer_unk(t), json_integer_value(json_object_get(root, "unk")));
    assert_int_equal(tokenizer_pad(t), json_integer_value(json_object_get(root, "pad")));
    size_t index, i;
    json_array_foreach(json_object_get(root, "encoded"), index, row) {
        const char *text = json_string_value(json_object_get(row, "text"));
        expect_ids(t, TOKENIZER_SOURCE, text, json_object_get(row, "source"));
        expect_ids(t, TOKENIZER_TARGET, text, json_object_get(row, "target"));
    }
    assert_true(index >= 10);
    json_array_foreach(json_object_get(root, "decoded"), index, row) {
        int32_t ids[32];
        char *text;
        json_array_foreach(json_object_get(row, "ids"), i, id) ids[i] = (int32_t)json_integer_value(id);
        assert_int_equal(tokenizer_decode(t, ids, i, &text), ATTN_OK);
        assert_string_equal(text, json_string_value(json_object_get(row, "text")));
        memory_free(text);
    }
    assert_true(index >= 10);
    json_decref(root);
    tokenizer_free(t);
}

/* --- SentencePiece ------------------------------------------------------------- */

static void trained_ids_are_laid_out_as_marian_has_them(void **state) {
    (void)state;
    parallel_text text = sample_text(400);
    tokenizer *t = train(&text, TOKENIZER_SENTENCEPIECE, 120);
    assert_int_equal(tokenizer_vocabulary_size(t), 120);
    assert_int_equal(tokenizer_eos(t), 0);
    assert_int_equal(tokenizer_unk(t), 1);
    assert_int_equal(tokenizer_pad(t), 119);
    assert_string_equal(tokenizer_piece(t, 0), "</s>");
    assert_string_equal(tokenizer_piece(t, 1), "<unk>");
    assert_string_equal(tokenizer_piece(t, 119), "<pad>");
    assert_string_equal(tokenizer_piece(t, 120), "");
    assert_string_equal(tokenizer_piece(t, -1), "");
    tokenizer_free(t);
    sample_text_free(&text);
}

static void text_survives_encoding_and_decoding(void **state) {
    (void)state;
    parallel_text text = sample_text(400);
    tokenizer *t = train(&text, TOKENIZER_SENTENCEPIECE, 120);
    for (size_t i = 0; i < text.pairs; i++) {
        id_buffer ids = {0};
        char *decoded;
        assert_int_equal(tokenizer_encode(t, TOKENIZER_TARGET, text.target[i].bytes, text.target[i].length, &ids), ATTN_OK);
        for (size_t k = 0; k < ids.count; k++)
            assert_true(ids.ids[k] > 1 && ids.ids[k] < 119);
        assert_int_equal(tokenizer_decode(t, ids.ids, ids.count, &decoded), ATTN_OK);
        assert_int_equal(strlen(decoded), text.target[i].length);
        assert_memory_equal(decoded, text.target[i].bytes, text.target[i].length);
        memory_free(decoded);
        id_buffer_release(&ids);
    }
    tokenizer_free(t);
    sample_text_free(&text);
}

static void same_text_gives_the_same_model_for_any_number_of_threads(void **state) {
    (void)state;
    parallel_text text = sample_text(600);
    char *bytes[2];
    size_t sizes[2];
    int threads = threads_get();
    for (int run = 0; run < 2; run++) {
        threads_set(run ? 3 : 1);
        tokenizer *t = train(&text, TOKENIZER_SENTENCEPIECE, 150);
        assert_int_equal(tokenizer_save(t, folder), ATTN_OK);
        assert_int_equal(file_read(temporary_path(folder, "source.spm"), &bytes[run], &sizes[run]), ATTN_OK);
        tokenizer_free(t);
    }
    threads_set(threads);
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(bytes[0], bytes[1], sizes[0]);
    memory_free(bytes[0]);
    memory_free(bytes[1]);
    sample_text_free(&text);
}

static void saved_folder_loads_as_the_same_tokenizer(void **state) {
    (void)state;
    parallel_text text = sample_text(200);
    for (int kind = TOKENIZER_SENTENCEPIECE; kind <= TOKENIZER_WHITESPACE; kind++) {
        tokenizer *a = train(&text, (tokenizer_kind)kind, 100), *b;
        assert_int_equal(tokenizer_save(a, folder), ATTN_OK);
        if (tokenizer_load(folder, &b))
            fail_msg("%s", attn_last_error());
        assert_int_equal(tokenizer_get_kind(b), kind);
        assert_int_equal(tokenizer_vocabulary_size(a), tokenizer_vocabulary_size(b));
        for (size_t i = 0; i < tokenizer_vocabulary_size(a); i++)
            assert_string_equal(tokenizer_piece(a, (int32_t)i), tokenizer_piece(b, (int32_t)i));
        for (size_t i = 0; i < text.pairs; i++) {
            id_buffer x = {0}, y = {0};
            assert_int_equal(tokenizer_encode(a, TOKENIZER_SOURCE, text.source[i].bytes, text.source[i].length, &x), 0);
            assert_int_equal(tokenizer_encode(b, TOKENIZER_SOURCE, text.source[i].bytes, text.source[i].length, &y), 0);
            assert_int_equal(x.count, y.count);
            assert_memory_equal(x.ids, y.ids, x.count * sizeof *x.ids);
            id_buffer_release(&x);
            id_buffer_release(&y);
        }
        tokenizer_free(a);
        tokenizer_free(b);
    }
    sample_text_free(&text);
}

static void text_never_gives_end_or_padding(void **state) {
    (void)state;
    parallel_text text = sample_text(200);
    for (int kind = TOKENIZER_SENTENCEPIECE; kind <= TOKENIZER_WHITESPACE; kind++) {
        tokenizer *t = train(&text, (tokenizer_kind)kind, 100);
        id_buffer ids = encode(t, TOKENIZER_SOURCE, "</s> <pad> <unk> <s> </s></s><pad>");
        assert_true(ids.count > 0);
        for (size_t i = 0; i < ids.count; i++)
            assert_true(ids.ids[i] != tokenizer_eos(t) && ids.ids[i] != tokenizer_pad(t));
        id_buffer_release(&ids);
        tokenizer_free(t);
    }
    sample_text_free(&text);
}

static void encoding_appends_and_takes_any_text(void **state) {
    (void)state;
    parallel_text text = sample_text(200);
    tokenizer *t = train(&text, TOKENIZER_SENTENCEPIECE, 100);
    id_buffer ids = encode(t, TOKENIZER_SOURCE, "");
    assert_int_equal(ids.count, 0);
    assert_int_equal(tokenizer_encode(t, TOKENIZER_SOURCE, "   ", 3, &ids), ATTN_OK);
    assert_int_equal(ids.count, 0);
    assert_int_equal(tokenizer_encode(t, TOKENIZER_SOURCE, "ba ki", 5, &ids), ATTN_OK);
    size_t once = ids.count;
    assert_int_equal(tokenizer_encode(t, TOKENIZER_SOURCE, "ba ki", 5, &ids), ATTN_OK);
    assert_int_equal(ids.count, 2 * once);
    assert_memory_equal(ids.ids, ids.ids + once, once * sizeof *ids.ids);
    ids.count = 0;
    assert_int_equal(tokenizer_encode(t, TOKENIZER_SOURCE, "\xD0\x96", 2, &ids), ATTN_OK);
    assert_int_equal(ids.ids[ids.count - 1], tokenizer_unk(t));
    assert_int_equal(tokenizer_encode(t, TOKENIZER_SOURCE, "a\0b", 3, &ids), ATTN_OK);
    assert_int_equal(tokenizer_encode(t, TOKENIZER_SOURCE, "a\xFF", 2, &ids), ATTN_ERROR_FORMAT);
    id_buffer_release(&ids);
    tokenizer_free(t);
    sample_text_free(&text);
}

static void text_that_leaves_nothing_to_learn_is_refused(void **state) {
    (void)state;
    static const char *const nothing[] = {"", " ", "\t", "\xE3\x80\x80", "\xE2\x96\x81", "\xE2\x96\x85", "\xE2\x80\x8B",
                                          "\xEF\xBF\xBD", "\x01\x02", "\xEF\xBB\xBF"};
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++) {
        text_line line = {nothing[i], strlen(nothing[i])};
        tokenizer_options options = defaults();
        tokenizer *t;
        assert_int_equal(tokenizer_train(&line, 1, NULL, 0, &options, &t), ATTN_ERROR_FORMAT);
        assert_null(t);
    }
}

static void strange_text_is_learnt(void **state) {
    (void)state;
    static const char *const strange[] = {"a", "</s>", "<unk> <pad>", "\xE2\x96\x85 a", "\xF4\x8F\xBF\xBF",
                                          "\xE4\xB8\xAD", ">>de<< x", "\"\\/\b"};
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        text_line line = {strange[i], strlen(strange[i])};
        tokenizer_options options = defaults();
        tokenizer *t;
        if (tokenizer_train(&line, 1, NULL, 0, &options, &t))
            fail_msg("\"%s\": %s", strange[i], attn_last_error());
        assert_int_equal(tokenizer_save(t, folder), ATTN_OK);
        tokenizer_free(t);
        if (tokenizer_load(folder, &t))
            fail_msg("\"%s\": %s", strange[i], attn_last_error());
        tokenizer_free(t);
    }
}

static void vocabulary_too_small_for_the_characters_says_what_it_needs(void **state) {
    (void)state;
    text_line line = {"abcdefghijklmnopqrstuvwxyz", 26};
    tokenizer_options options = defaults();
    options.vocabulary_size = 16;
    tokenizer *t;
    assert_int_equal(tokenizer_train(&line, 1, NULL, 0, &options, &t), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("vocabulary size 16 is too small");
    assert_sentence_has("need 30"); /* 26, the space's mark, </s>, <unk>, <pad> */
    options.vocabulary_size = 30;
    assert_int_equal(tokenizer_train(&line, 1, NULL, 0, &options, &t), ATTN_OK);
    tokenizer_free(t);
}

static void options_out_of_range_are_refused(void **state) {
    (void)state;
    text_line line = {"some text", 9}, invalid = {"some \xFF", 6};
    tokenizer *t;
    tokenizer_options options = defaults();
    options.vocabulary_size = 15;
    assert_int_equal(tokenizer_train(&line, 1, NULL, 0, &options, &t), ATTN_ERROR_ARGUMENT);
    options.vocabulary_size = 1000001;
    assert_int_equal(tokenizer_train(&line, 1, NULL, 0, &options, &t), ATTN_ERROR_ARGUMENT);
    options = defaults();
    options.character_coverage = 1.5;
    assert_int_equal(tokenizer_train(&line, 1, NULL, 0, &options, &t), ATTN_ERROR_ARGUMENT);
    options = defaults();
    options.sample_lines = 0;
    assert_int_equal(tokenizer_train(&line, 1, NULL, 0, &options, &t), ATTN_ERROR_ARGUMENT);
    options = defaults();
    assert_int_equal(tokenizer_train(&invalid, 1, NULL, 0, &options, &t), ATTN_ERROR_FORMAT);
    assert_sentence_has("source line 1");
    assert_int_equal(tokenizer_train(&line, 1, &invalid, 1, &options, &t), ATTN_ERROR_FORMAT);
    assert_sentence_has("target line 1");
}

/* --- whitespace ---------------------------------------------------------------- */

static void words_are_numbered_by_falling_count_and_then_bytes(void **state) {
    (void)state;
    tokenizer *t = train_on_words(" b  a\tb c b </s> a <pad> d", defaults());
    static const char *const expected[] = {"</s>", "<unk>", "b", "a", "c", "d", "<pad>"};
    assert_int_equal(tokenizer_vocabulary_size(t), 7);
    for (int32_t i = 0; i < 7; i++)
        assert_string_equal(tokenizer_piece(t, i), expected[i]);
    assert_int_equal(tokenizer_find(t, "c", 1), 4);
    assert_int_equal(tokenizer_find(t, "e", 1), -1);
    id_buffer ids = encode(t, TOKENIZER_TARGET, "a e\tb </s>");
    const int32_t found[] = {3, 1, 2, 1};
    assert_int_equal(ids.count, 4);
    assert_memory_equal(ids.ids, found, sizeof found);
    id_buffer_release(&ids);
    tokenizer_free(t);
}

static void minimum_count_and_size_limit_the_words(void **state) {
    (void)state;
    tokenizer_options options = defaults();
    options.minimum_count = 2;
    tokenizer *t = train_on_words("b a b c b a d", options);
    assert_int_equal(tokenizer_vocabulary_size(t), 5);
    tokenizer_free(t);
    options.minimum_count = 1;
    options.vocabulary_size = 16;
    t = train_on_words("a b c d e f g h i j k l m n o p q r s t", options);
    assert_int_equal(tokenizer_vocabulary_size(t), 16);
    assert_string_equal(tokenizer_piece(t, 14), "m");
    tokenizer_free(t);
}

static void continuations_are_joined_only_where_wanted(void **state) {
    (void)state;
    tokenizer_options options = defaults();
    for (int join = 0; join < 2; join++) {
        options.join_continuation = join;
        tokenizer *t = train_on_words("vie@@ l@@ er bu@@ @@ x", options), *loaded;
        assert_int_equal(tokenizer_save(t, folder), ATTN_OK);
        assert_int_equal(tokenizer_load(folder, &loaded), ATTN_OK);
        id_buffer ids = encode(loaded, TOKENIZER_TARGET, "vie@@ l@@ er x @@ x bu@@");
        char *text;
        assert_int_equal(tokenizer_decode(loaded, ids.ids, ids.count, &text), ATTN_OK);
        assert_string_equal(text, join ? "vieler x x bu" : "vie@@ l@@ er x @@ x bu@@");
        memory_free(text);
        id_buffer_release(&ids);
        tokenizer_free(t);
        tokenizer_free(loaded);
    }
}

static void decoding_leaves_end_and_padding_out_and_checks_ids(void **state) {
    (void)state;
    tokenizer *t = train_on_words("a b", defaults());
    const int32_t ids[] = {4, 2, 1, 3, 0, 4}, high[] = {5}, low[] = {-1};
    char *text;
    assert_int_equal(tokenizer_decode(t, ids, 6, &text), ATTN_OK);
    assert_string_equal(text, "a <unk> b");
    memory_free(text);
    assert_int_equal(tokenizer_decode(t, ids, 0, &text), ATTN_OK);
    assert_string_equal(text, "");
    memory_free(text);
    assert_int_equal(tokenizer_decode(t, high, 1, &text), ATTN_ERROR_ARGUMENT);
    assert_null(text);
    assert_int_equal(tokenizer_decode(t, low, 1, &text), ATTN_ERROR_ARGUMENT);
    tokenizer_free(t);
}

/* --- hostile files ------------------------------------------------------------- */

static void malformed_vocabularies_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *json, *sentence;
    } rows[] = {
        {"", "not valid JSON"},
        {"{", "not valid JSON"},
        {"[]", "not an object"},
        {"{}", "not an object"},
        {"3", "not valid JSON"},
        {"{\"</s>\":0,\"</s>\":1}", "not valid JSON"},
        {"{\"</s>\":0,\"<unk>\":1,\"<pad>\":3}", "no id from 0 to 2"},
        {"{\"</s>\":0,\"<unk>\":1,\"<pad>\":-1}", "no id from 0 to 2"},
        {"{\"</s>\":0,\"<unk>\":1,\"<pad>\":1}", "gives the id 1 to"},
        {"{\"</s>\":0,\"<unk>\":1,\"<pad>\":2.0}", "no id from 0 to 2"},
        {"{\"</s>\":0,\"<unk>\":1,\"<pad>\":\"2\"}", "no id from 0 to 2"},
        {"{\"</s>\":0,\"<unk>\":1,\"<pad>\":9223372036854775807}", "no id from 0 to 2"},
        {"{\"</s>\":0,\"<unk>\":1,\"<pad>\":9223372036854775808}", "not valid JSON"},
        {"{\"</s>\":0,\"<unk>\":1,\"a\":2}", "lacks the piece <pad>"},
        {"{\"a\":0,\"<unk>\":1,\"<pad>\":2}", "lacks the piece </s>"},
        {"{\"</s>\":0,\"<unk>\":1,\"<pad>\":2,\"\xFF\":3}", "not valid JSON"},
        {"{\"</s>\":0,\"<unk>\":1,\"<pad>\":2,\"a\\u0000b\":3}", "not valid JSON"},
        {"{\"</s>\":0,\"<unk>\":1,\"<pad>\":2} x", "not valid JSON"},
    };
    write_file("tokenizer_config.json", "{\"attn_tokenizer\":\"whitespace\"}");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tokenizer *t;
        write_file("vocab.json", rows[i].json);
        if (tokenizer_load(folder, &t) != ATTN_ERROR_FORMAT)
            fail_msg("row %zu was not refused", i);
        assert_null(t);
        assert_sentence_has(rows[i].sentence);
        assert_sentence_has("vocab.json");
    }
    char *deep = malloc(100001);
    assert_non_null(deep);
    memset(deep, '[', 100000);
    deep[100000] = 0;
    vocabulary v;
    assert_int_equal(vocabulary_parse(deep, 100000, "deep", &v), ATTN_ERROR_FORMAT);
    assert_sentence_has("depth");
    free(deep);
}

static void malformed_configs_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *json;
        attn_status status;
    } rows[] = {
        {"[]", ATTN_ERROR_FORMAT},
        {"{\"attn_tokenizer\":\"words\"}", ATTN_ERROR_UNSUPPORTED},
        {"{\"separate_vocabs\":true}", ATTN_ERROR_UNSUPPORTED},
        {"{\"attn_tokenizer\":\"whitespace\",\"join_continuation\":1}", ATTN_ERROR_FORMAT},
        {"{\"a\":1,\"a\":1}", ATTN_ERROR_FORMAT},
    };
    write_file("vocab.json", "{\"</s>\":0,\"<unk>\":1,\"<pad>\":2}");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tokenizer *t;
        write_file("tokenizer_config.json", rows[i].json);
        assert_int_equal(tokenizer_load(folder, &t), rows[i].status);
        assert_sentence_has("tokenizer_config.json");
    }
}

static void folder_that_misses_a_file_is_refused_naming_it(void **state) {
    (void)state;
    static const char *const names[] = {"source.spm", "target.spm", "vocab.json"};
    parallel_text text = sample_text(100);
    tokenizer *t = train(&text, TOKENIZER_SENTENCEPIECE, 80), *loaded;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(tokenizer_save(t, folder), ATTN_OK);
        assert_int_equal(unlink(temporary_path(folder, names[i])), 0);
        assert_int_equal(tokenizer_load(folder, &loaded), ATTN_ERROR_FILE);
        assert_sentence_has(names[i]);
    }
    assert_int_equal(tokenizer_load(temporary_path(folder, "nothing"), &loaded), ATTN_ERROR_FILE);
    assert_int_equal(tokenizer_save(t, temporary_path(folder, "nothing")), ATTN_ERROR_FILE);
    tokenizer_free(t);
    sample_text_free(&text);
}

static attn_status count_bytes(void *context, const char *piece, size_t length) {
    (void)piece;
    *(size_t *)context += length;
    return ATTN_OK;
}

/* Every prefix and many flipped bytes of a model: refused, or usable. */
static void damaged_sentencepiece_models_do_no_harm(void **state) {
    (void)state;
    char *bytes;
    size_t size, opened = 0, total = 0;
    assert_int_equal(file_read(TEST_VECTORS "/marian_tokenizer/source.spm", &bytes, &size), ATTN_OK);
    for (size_t i = 0; i < 3 * size; i++) {
        sentencepiece_model *model;
        char kept = bytes[i % size];
        size_t length = i < size ? i : size;
        if (i >= size)
            bytes[i % size] = (char)(i < 2 * size ? kept ^ (1 << i % 8) : (int)random_bits(5, i));
        if (sentencepiece_open(bytes, length, "damaged.spm", &model) == ATTN_OK) {
            opened++;
            (void)sentencepiece_encode(model, "the small \xEF\xAC\x81 house", 17, count_bytes, &total);
            sentencepiece_close(model);
        } else {
            assert_sentence_has("damaged.spm");
            assert_null(model);
        }
        bytes[i % size] = kept;
    }
    assert_true(opened > 0);
    memory_free(bytes);
}

static void pieces_for_display_hold_no_control_characters(void **state) {
    (void)state;
    tokenizer *t;
    write_file("tokenizer_config.json", "{\"attn_tokenizer\":\"whitespace\"}");
    write_file("vocab.json", "{\"</s>\":0,\"<unk>\":1,\"a\\u001b[2Jb\\u009b\\u202e\\u00e4\":2,\"<pad>\":3}");
    assert_int_equal(tokenizer_load(folder, &t), ATTN_OK);
    assert_string_equal(tokenizer_piece(t, 2), "a\xEF\xBF\xBD[2Jb\xEF\xBF\xBD\xEF\xBF\xBD\xC3\xA4");
    tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_folder_gives_the_ids_and_texts_of_transformers),
        cmocka_unit_test(trained_ids_are_laid_out_as_marian_has_them),
        cmocka_unit_test(text_survives_encoding_and_decoding),
        cmocka_unit_test(same_text_gives_the_same_model_for_any_number_of_threads),
        cmocka_unit_test(saved_folder_loads_as_the_same_tokenizer),
        cmocka_unit_test(text_never_gives_end_or_padding),
        cmocka_unit_test(encoding_appends_and_takes_any_text),
        cmocka_unit_test(text_that_leaves_nothing_to_learn_is_refused),
        cmocka_unit_test(strange_text_is_learnt),
        cmocka_unit_test(vocabulary_too_small_for_the_characters_says_what_it_needs),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(words_are_numbered_by_falling_count_and_then_bytes),
        cmocka_unit_test(minimum_count_and_size_limit_the_words),
        cmocka_unit_test(continuations_are_joined_only_where_wanted),
        cmocka_unit_test(decoding_leaves_end_and_padding_out_and_checks_ids),
        cmocka_unit_test(malformed_vocabularies_are_refused),
        cmocka_unit_test(malformed_configs_are_refused),
        cmocka_unit_test(folder_that_misses_a_file_is_refused_naming_it),
        cmocka_unit_test(damaged_sentencepiece_models_do_no_harm),
        cmocka_unit_test(pieces_for_display_hold_no_control_characters),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
