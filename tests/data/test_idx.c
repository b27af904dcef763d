/* IDX files: well-formed, plain and compressed, and malformed. */
#include "test.h"
#include "temporary.h"

#include <zlib.h>

#include "base/file.h"
#include "base/memory.h"
#include "data/idx.h"

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

/* Two pictures of 2 x 3. */
static const unsigned char PICTURES[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

static void assert_pictures(const idx_array *a) {
    assert_int_equal(a->dimensions, 3);
    assert_int_equal(a->shape[0], 2);
    assert_int_equal(a->shape[1], 2);
    assert_int_equal(a->shape[2], 3);
    assert_int_equal(a->count, 12);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->values[i], i + 1);
    }
}

static void plain_and_compressed_files_are_read(void **state) {
    (void)state;
    idx_array a;
    const char *plain = temporary_path(folder, "plain"), *packed = temporary_path(folder, "packed.gz");
    assert_int_equal(file_replace(plain, PICTURES, sizeof PICTURES), ATTN_OK);
    assert_int_equal(idx_read(plain, 3, 1 << 20, &a), ATTN_OK);
    assert_pictures(&a);
    idx_release(&a);
    gzFile file = gzopen(packed, "wb");
    assert_int_equal(gzwrite(file, PICTURES, sizeof PICTURES), sizeof PICTURES);
    assert_int_equal(gzclose(file), Z_OK);
    assert_int_equal(idx_read(packed, 3, 1 << 20, &a), ATTN_OK);
    assert_pictures(&a);
    idx_release(&a);
    assert_int_equal(idx_read(packed, 3, 10, &a), ATTN_ERROR_FORMAT);
    assert_sentence_has("unpacks to more than 10 bytes");

    char *bytes;
    size_t size;
    assert_int_equal(file_read(packed, &bytes, &size), ATTN_OK);
    for (size_t cut = 3; cut < size; cut++) {
        assert_int_equal(file_replace(packed, bytes, cut), ATTN_OK);
        assert_int_equal(idx_read(packed, 3, 1 << 20, &a), ATTN_ERROR_FORMAT);
        assert_null(a.values);
    }
    memory_free(bytes);
    assert_int_equal(idx_read(temporary_path(folder, "none"), 3, 1 << 20, &a), ATTN_ERROR_FILE);
}

static void malformed_files_are_refused(void **state) {
    (void)state;
    idx_array a;
    for (size_t cut = 0; cut < sizeof PICTURES; cut++) {
        assert_int_equal(idx_parse(PICTURES, cut, "cut", 3, &a), ATTN_ERROR_FORMAT);
        assert_null(a.values);
    }
    static const struct {
        size_t at;
        unsigned char value;
        const char *sentence;
    } ROWS[] = {{0, 1, "is not an IDX file"},       {2, 0x0D, "type 0x0d"},
                {3, 1, "has 1 dimensions; 3 were"}, {3, 255, "has 255 dimensions"},
                {4, 0xFF, "its dimensions say"},    {7, 3, "has 12 bytes of elements; its dimensions say 18"}};
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        unsigned char bytes[sizeof PICTURES];
        memcpy(bytes, PICTURES, sizeof bytes);
        bytes[ROWS[i].at] = ROWS[i].value;
        assert_int_equal(idx_parse(bytes, sizeof bytes, "bad", 3, &a), ATTN_ERROR_FORMAT);
        assert_sentence_has(ROWS[i].sentence);
        assert_null(a.values);
    }
    const unsigned char huge[] = {0, 0, 8, 3, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    assert_int_equal(idx_parse(huge, sizeof huge, "huge", 3, &a), ATTN_ERROR_FORMAT);
    assert_sentence_has("too large");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(plain_and_compressed_files_are_read),
                                       cmocka_unit_test(malformed_files_are_refused)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
