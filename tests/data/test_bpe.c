/* GPT-2's byte-level pieces against the tokenizers library (tests/vectors/make_bpe.py), and
 * files that are none. */
#include <jansson.h>
#include <string.h>

#include "test.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/tokenizer.h"
#include "temporary.h"

static char folder[256];

static void ids_and_texts_equal_the_library(void **state) {
    (void)state;
    tokenizer *t;
    if (tokenizer_load(TEST_VECTORS "/bpe_tokenizer", &t)) {
        fail_msg("%s", attn_last_error());
    }
    assert_int_equal(tokenizer_get_kind(t), TOKENIZER_BPE);
    assert_int_equal(tokenizer_eos(t), 0);
    json_t *cases = json_load_file(TEST_VECTORS "/bpe_tokenizer/expected.json", 0, NULL), *test;
    size_t index, i;
    assert_true(json_array_size(cases) > 100);
    json_array_foreach(cases, index, test) {
        json_t *ids = json_object_get(test, "ids"), *id;
        const char *text = json_string_value(json_object_get(test, "text"));
        const char *decoded = json_string_value(json_object_get(test, "decoded"));
        id_buffer expected = {0}, found = {0};
        assert_int_equal(memory_grow(&expected.ids, &expected.capacity, json_array_size(ids) + 1, sizeof *expected.ids), ATTN_OK);
        json_array_foreach(ids, i, id) {
            expected.ids[expected.count++] = (int32_t)json_integer_value(id);
        }
        if (text) {
            assert_int_equal(tokenizer_encode(t, TOKENIZER_SOURCE, text, strlen(text), &found), ATTN_OK);
            if (found.count != expected.count || (found.count && memcmp(found.ids, expected.ids, found.count * sizeof *found.ids))) {
                fail_msg("case %zu, \"%s\": other ids", index, text);
            }
        }
        char *back;
        assert_int_equal(tokenizer_decode(t, expected.ids, expected.count, &back), ATTN_OK);
        if (strcmp(back, decoded) != 0) {
            fail_msg("case %zu: \"%s\", not \"%s\"", index, back, decoded);
        }
        memory_free(back);
        id_buffer_release(&found);
        id_buffer_release(&expected);
    }
    json_decref(cases);
    tokenizer_free(t);
}

static void refused(const char *file, const char *what) {
    tokenizer *t;
    char *path = file_join(folder, "tokenizer.json");
    assert_int_equal(file_replace(path, file, strlen(file)), ATTN_OK);
    assert_int_not_equal(tokenizer_load(folder, &t), ATTN_OK);
    if (!strstr(attn_last_error(), what)) {
        fail_msg("\"%s\" does not hold \"%s\"", attn_last_error(), what);
    }
    memory_free(path);
}

static void broken_files_are_named(void **state) {
    (void)state;
    static const char BPE[] = "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": %s}, \"merges\": [%s]}, "
                              "\"pre_tokenizer\": {\"type\": \"ByteLevel\"}, \"decoder\": {\"type\": \"ByteLevel\"}}";
    char file[512];
    (void)snprintf(file, sizeof file, BPE, "7", "");
    refused(file, "id");
    (void)snprintf(file, sizeof file, BPE, "1", "\"a c\"");
    refused(file, "merge 0");
    (void)snprintf(file, sizeof file, BPE, "1", "\"ab\"");
    refused(file, "merge 0");
    (void)snprintf(file, sizeof file, BPE, "0", "");
    refused(file, "two pieces");
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
        cmocka_unit_test(ids_and_texts_equal_the_library),
        cmocka_unit_test(broken_files_are_named),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
