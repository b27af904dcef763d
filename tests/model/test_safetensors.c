/* safetensors: what is well formed is read exactly, and every malformed file is
 * refused with a sentence that names the file and the tensor. */
#include "test.h"

#include <math.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/safetensors.h"
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

/* A file in memory: the length, the header and data_size bytes 0, 1, 2, ... */
typedef struct image {
    unsigned char *bytes;
    size_t size;
} image;

static image make_image(const char *header, size_t header_size, size_t data_size) {
    uint64_t length = header_size;
    image made = {NULL, 8 + header_size + data_size};
    made.bytes = memory_allocate(made.size, 1);
    assert_non_null(made.bytes);
    memcpy(made.bytes, &length, 8);
    memcpy(made.bytes + 8, header, header_size);
    for (size_t i = 0; i < data_size; i++) {
        made.bytes[8 + header_size + i] = (unsigned char)i;
    }
    return made;
}

static attn_status parse(const char *header, size_t data_size, safetensors **file) {
    static image last; /* must outlive the file: freed by the next call */
    memory_free(last.bytes);
    last = make_image(header, strlen(header), data_size);
    return safetensors_parse("some/model.safetensors", last.bytes, last.size, file);
}

#define F32_PAIR(name, begin, end) "\"" name "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" begin "," end "]}"
#define ENTRY(dtype, shape, offsets) \
    "{\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void malformed_headers_are_refused_with_a_sentence(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data_size;
        attn_status status;
        const char *sentence;
    } CASES[] = {
        {"", 0, ATTN_ERROR_FORMAT, "does not begin with {"},
        {" {}", 0, ATTN_ERROR_FORMAT, "does not begin with {"},
        {"[]", 0, ATTN_ERROR_FORMAT, "does not begin with {"},
        {"{", 0, ATTN_ERROR_FORMAT, "not valid JSON"},
        {"{} x", 0, ATTN_ERROR_FORMAT, "not valid JSON"},
        {"{\"a\":\"\xff\"}", 0, ATTN_ERROR_FORMAT, "not valid JSON"},
        {"{\"a\\u0000b\":{}}", 0, ATTN_ERROR_FORMAT, "not valid JSON"},
        {"{}", 1, ATTN_ERROR_FORMAT, "1 bytes of data, its tensors account for 0"},
        {"{\"a\":1}", 0, ATTN_ERROR_FORMAT, "tensor \"a\": its entry in the header is not an object"},
        {"{\"a\":{}}", 0, ATTN_ERROR_FORMAT, "\"dtype\" is missing"},
        {"{\"a\":{\"dtype\":\"F32\"}}", 0, ATTN_ERROR_FORMAT, "\"shape\" is missing"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0]}}", 0, ATTN_ERROR_FORMAT, "\"data_offsets\" is missing"},
        /* dtype */
        {ENTRY("3", "[2]", "[0,8]"), 8, ATTN_ERROR_FORMAT, "\"dtype\" is not a string"},
        {ENTRY("\"F33\"", "[2]", "[0,8]"), 8, ATTN_ERROR_UNSUPPORTED, "unknown dtype \"F33\""},
        {ENTRY("\"f32\"", "[2]", "[0,8]"), 8, ATTN_ERROR_UNSUPPORTED, "unknown dtype \"f32\""},
        {ENTRY("\"\"", "[2]", "[0,8]"), 8, ATTN_ERROR_UNSUPPORTED, "unknown dtype \"\""},
        /* shape */
        {ENTRY("\"F32\"", "2", "[0,8]"), 8, ATTN_ERROR_FORMAT, "\"shape\" is not an array"},
        {ENTRY("\"F32\"", "[\"2\"]", "[0,8]"), 8, ATTN_ERROR_FORMAT, "\"shape\" holds something that is not an integer"},
        {ENTRY("\"F32\"", "[2.0]", "[0,8]"), 8, ATTN_ERROR_FORMAT, "not an integer"},
        {ENTRY("\"F32\"", "[null]", "[0,8]"), 8, ATTN_ERROR_FORMAT, "not an integer"},
        {ENTRY("\"F32\"", "[-2]", "[0,8]"), 8, ATTN_ERROR_FORMAT, "\"shape\" holds -2, which is out of range"},
        {ENTRY("\"F32\"", "[3]", "[0,8]"), 8, ATTN_ERROR_FORMAT, "give 8 bytes, shape and dtype F32 call for 12"},
        {ENTRY("\"F64\"", "[2]", "[0,8]"), 8, ATTN_ERROR_FORMAT, "give 8 bytes, shape and dtype F64 call for 16"},
        {ENTRY("\"F32\"", "[9223372036854775807]", "[0,8]"), 8, ATTN_ERROR_FORMAT, "size of its shape overflows"},
        {ENTRY("\"F32\"", "[9223372036854775808]", "[0,8]"), 8, ATTN_ERROR_FORMAT, "9223372036854775808"},
        {ENTRY("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 0, ATTN_ERROR_FORMAT, "size of its shape overflows"},
        {ENTRY("\"F32\"", "[4611686018427387904]", "[0,0]"), 0, ATTN_ERROR_FORMAT, "size of its shape overflows"},
        {ENTRY("\"U8\"", "[4611686018427387904,2,2,2,0]", "[0,0]"), 0, ATTN_ERROR_FORMAT, "size of its shape overflows"},
        {ENTRY("\"U8\"", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, ATTN_ERROR_UNSUPPORTED, "9 dimensions, at most 8"},
        /* offsets */
        {ENTRY("\"F32\"", "[2]", "8"), 8, ATTN_ERROR_FORMAT, "\"data_offsets\" is not an array of two"},
        {ENTRY("\"F32\"", "[2]", "[8]"), 8, ATTN_ERROR_FORMAT, "\"data_offsets\" is not an array of two"},
        {ENTRY("\"F32\"", "[2]", "[0,8,8]"), 8, ATTN_ERROR_FORMAT, "\"data_offsets\" is not an array of two"},
        {ENTRY("\"F32\"", "[2]", "[0,\"8\"]"), 8, ATTN_ERROR_FORMAT, "\"data_offsets\" holds something"},
        {ENTRY("\"F32\"", "[2]", "[-8,0]"), 8, ATTN_ERROR_FORMAT, "\"data_offsets\" holds -8"},
        {ENTRY("\"F32\"", "[2]", "[8,0]"), 8, ATTN_ERROR_FORMAT, "data_offsets [8, 0] do not lie in the file's 8"},
        {ENTRY("\"F32\"", "[2]", "[8,16]"), 8, ATTN_ERROR_FORMAT, "data_offsets [8, 16] do not lie in the file's 8"},
        {ENTRY("\"F32\"", "[2]", "[9223372036854775800,9223372036854775807]"), 8, ATTN_ERROR_FORMAT, "do not lie in"},
        {ENTRY("\"F32\"", "[2]", "[4,12]"), 12, ATTN_ERROR_FORMAT, "leave a hole behind"},
        {ENTRY("\"F32\"", "[2]", "[0,8]"), 12, ATTN_ERROR_FORMAT, "12 bytes of data, its tensors account for 8"},
        {"{" F32_PAIR("a", "0", "8") "," F32_PAIR("b", "12", "20") "}", 20, ATTN_ERROR_FORMAT,
         "tensor \"b\": its data begin at 12 and leave a hole behind the tensor before, which ends at 8"},
        {"{" F32_PAIR("a", "0", "8") "," F32_PAIR("b", "4", "12") "}", 12, ATTN_ERROR_FORMAT,
         "tensor \"b\": its data begin at 4 and overlap the tensor before, which ends at 8"},
        {"{" F32_PAIR("a", "0", "8") "," F32_PAIR("b", "0", "8") "}", 8, ATTN_ERROR_FORMAT, "overlap"},
        /* names and metadata */
        {"{" F32_PAIR("a", "0", "8") "," F32_PAIR("a", "8", "16") "}", 16, ATTN_ERROR_FORMAT, "duplicate"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, ATTN_ERROR_FORMAT,
         "duplicate"},
        {"{\"__metadata__\":3}", 0, ATTN_ERROR_FORMAT, "\"__metadata__\" is not an object"},
        {"{\"__metadata__\":{\"step\":3}}", 0, ATTN_ERROR_FORMAT, "the value of \"step\" is not a string"},
        {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, ATTN_ERROR_FORMAT, "duplicate"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        safetensors *file = NULL;
        attn_status status = parse(CASES[i].header, CASES[i].data_size, &file);
        if (status != CASES[i].status || file) {
            fail_msg("%s gives %s, %s was expected (%s)", CASES[i].header, attn_status_name(status),
                     attn_status_name(CASES[i].status), attn_last_error());
        }
        assert_sentence_has("some/model.safetensors");
        assert_sentence_has(CASES[i].sentence);
    }
}

static void header_lengths_beyond_the_file_are_refused(void **state) {
    (void)state;
    static const struct {
        uint64_t length;
        const char *sentence;
    } CASES[] = {{3, "cut short"},          {100000000, "cut short"},        {100000001, "not a safetensors file"},
                 {UINT64_MAX, "not a safetensors file"}, {UINT64_MAX - 7, "not a safetensors file"},
                 {(uint64_t)1 << 63, "not a safetensors file"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        unsigned char bytes[10] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
        safetensors *file;
        memcpy(bytes, &CASES[i].length, 8);
        assert_int_equal(safetensors_parse("f", bytes, sizeof bytes, &file), ATTN_ERROR_FORMAT);
        assert_sentence_has(CASES[i].sentence);
        assert_null(file);
    }
}

static void deep_json_is_refused(void **state) {
    (void)state;
    enum { DEPTH = 1000000 };
    char *header = memory_allocate(DEPTH + 32, 1);
    safetensors *file;
    for (int brackets = 0; brackets < 2; brackets++) {
        size_t used = (size_t)sprintf(header, "{\"a\":");
        for (int i = 0; i < DEPTH / 5; i++) {
            used += (size_t)sprintf(header + used, "%s", brackets ? "[" : "{\"a\":");
        }
        assert_int_equal(parse(header, 0, &file), ATTN_ERROR_FORMAT);
        assert_sentence_has("depth");
    }
    memory_free(header);
}

/* Writes a small file with several dtypes; returns its bytes. */
static image small_file(void) {
    static const double wide[2] = {1.5, -2.25};
    static const float numbers[6] = {1, 2, 3, 4, 5, 6};
    static const uint16_t half[3] = {0x3c00, 0xc000, 0x7bff};
    static const unsigned char bits[2] = {1, 0};
    const safetensors_tensor tensors[] = {
        {"wide", SAFETENSORS_F64, 1, {2}, wide},         {"numbers", SAFETENSORS_F32, 2, {2, 3}, numbers},
        {"scalar", SAFETENSORS_F32, 0, {0}, numbers},    {"empty", SAFETENSORS_F32, 2, {0, 7}, NULL},
        {"half", SAFETENSORS_F16, 1, {3}, half},         {"brain \"quoted\" \xe4\xb8\xad", SAFETENSORS_BF16, 1, {3}, half},
        {"bits", SAFETENSORS_BOOL, 2, {2, 1}, bits},
    };
    const safetensors_metadata metadata[] = {{"step", "17"}, {"note", "a\nb \xc3\xa4"}};
    const char *path = temporary_path(folder, "small.safetensors");
    char *bytes;
    image made;
    assert_int_equal(safetensors_save(path, tensors, sizeof tensors / sizeof *tensors, metadata, 2), ATTN_OK);
    assert_int_equal(file_read(path, &bytes, &made.size), ATTN_OK);
    made.bytes = (unsigned char *)bytes;
    return made;
}

static void what_is_written_is_read_back(void **state) {
    (void)state;
    image small = small_file();
    safetensors *file;
    float out[6];
    uint64_t header;
    const char *path = temporary_path(folder, "small.safetensors");
    assert_int_equal(safetensors_open(path, &file), ATTN_OK);
    assert_string_equal(safetensors_path(file), path);
    assert_int_equal(safetensors_count(file), 7);
    assert_string_equal(safetensors_at(file, 0)->name, "wide");
    assert_string_equal(safetensors_at(file, 6)->name, "bits");
    assert_string_equal(safetensors_metadata_value(file, "format"), "pt");
    assert_string_equal(safetensors_metadata_value(file, "step"), "17");
    assert_string_equal(safetensors_metadata_value(file, "note"), "a\nb \xc3\xa4");
    assert_null(safetensors_metadata_value(file, "none"));
    assert_null(safetensors_find(file, "none"));
    assert_null(safetensors_find(file, "__metadata__"));
    memcpy(&header, small.bytes, 8);
    assert_int_equal(header % 8, 0);

    const size_t shape[] = {2, 3}, other[] = {3, 2};
    const safetensors_tensor *tensor;
    assert_int_equal(safetensors_require(file, "numbers", 2, shape, &tensor), ATTN_OK);
    assert_int_equal(safetensors_to_f32(file, tensor, out), ATTN_OK);
    for (int i = 0; i < 6; i++) {
        assert_true(out[i] == (float)(i + 1));
    }
    assert_int_equal(safetensors_require(file, "numbers", 2, other, &tensor), ATTN_ERROR_FORMAT);
    assert_sentence_has("tensor \"numbers\": its shape is [2, 3], [3, 2] was expected");
    assert_int_equal(safetensors_require(file, "numbers", 1, shape, &tensor), ATTN_ERROR_FORMAT);
    assert_int_equal(safetensors_require(file, "nothing", 2, shape, &tensor), ATTN_ERROR_FORMAT);
    assert_sentence_has("tensor \"nothing\" is missing");

    assert_int_equal(safetensors_to_f32(file, safetensors_find(file, "wide"), out), ATTN_OK);
    assert_true(out[0] == 1.5f && out[1] == -2.25f);
    assert_int_equal(safetensors_to_f32(file, safetensors_find(file, "half"), out), ATTN_OK);
    assert_true(out[0] == 1.0f && out[1] == -2.0f && out[2] == 65504.0f);
    assert_int_equal(safetensors_to_f32(file, safetensors_find(file, "brain \"quoted\" \xe4\xb8\xad"), out), ATTN_OK);
    assert_true(out[0] == 0.0078125f && out[1] == -2.0f);
    assert_int_equal(safetensors_to_f32(file, safetensors_find(file, "scalar"), out), ATTN_OK);
    assert_true(out[0] == 1.0f);
    assert_int_equal(safetensors_elements(safetensors_find(file, "empty")), 0);
    assert_int_equal(safetensors_to_f32(file, safetensors_find(file, "empty"), out), ATTN_OK);
    assert_int_equal(safetensors_to_f32(file, safetensors_find(file, "bits"), out), ATTN_ERROR_UNSUPPORTED);
    assert_sentence_has("tensor \"bits\": its dtype is BOOL");
    safetensors_close(file);
    safetensors_close(NULL);
    memory_free(small.bytes);
}

static void a_file_cut_at_any_byte_is_refused(void **state) {
    (void)state;
    image small = small_file();
    for (size_t size = 0; size < small.size; size++) {
        safetensors *file;
        unsigned char *cut = malloc(size ? size : 1); /* its own block: ASan sees a read behind it */
        assert_non_null(cut);
        memcpy(cut, small.bytes, size);
        assert_int_equal(safetensors_parse("cut", cut, size, &file), ATTN_ERROR_FORMAT);
        assert_null(file);
        free(cut);
    }
    memory_free(small.bytes);
}

/* A wrong byte may leave a well-formed file (a letter of a name): then all data must lie inside it. */
static void a_wrong_byte_never_leads_outside_the_file(void **state) {
    (void)state;
    static const unsigned char BYTES[] = {0, 1, 0x20, '"', '0', '9', ',', '-', '[', ']', '{', '}', 0x7f, 0x80, 0xff};
    image small = small_file();
    float out[16];
    for (size_t at = 0; at < small.size; at++) {
        unsigned char old = small.bytes[at];
        for (size_t b = 0; b < sizeof BYTES; b++) {
            safetensors *file;
            small.bytes[at] = BYTES[b];
            if (safetensors_parse("wrong", small.bytes, small.size, &file) == ATTN_OK) {
                for (size_t i = 0; i < safetensors_count(file); i++) {
                    const safetensors_tensor *tensor = safetensors_at(file, i);
                    assert_true((const unsigned char *)tensor->data >= small.bytes);
                    assert_true((const unsigned char *)tensor->data +
                                    safetensors_elements(tensor) * safetensors_dtype_size(tensor->dtype) <=
                                small.bytes + small.size);
                    assert_ptr_equal(safetensors_find(file, tensor->name), tensor);
                    assert_true(safetensors_elements(tensor) <= 16);
                    (void)safetensors_to_f32(file, tensor, out);
                }
                safetensors_close(file);
            }
        }
        small.bytes[at] = old;
    }
    memory_free(small.bytes);
}

static void a_file_of_the_reference_library_is_read(void **state) {
    (void)state;
    safetensors *file;
    float loss;
    const size_t ids[] = {20};
    const safetensors_tensor *tensor;
    assert_int_equal(safetensors_open(TEST_VECTORS "/marian_tiny/expected.safetensors", &file), ATTN_OK);
    assert_int_equal(safetensors_require(file, "loss", 0, NULL, &tensor), ATTN_OK);
    assert_int_equal(safetensors_to_f32(file, tensor, &loss), ATTN_OK);
    assert_true(fabsf(loss - 4.523112f) < 1e-5f);
    assert_int_equal(safetensors_require(file, "source_ids", 1, ids, &tensor), ATTN_OK);
    assert_int_equal(tensor->dtype, SAFETENSORS_I32);
    for (size_t i = 1; i < safetensors_count(file); i++) {
        assert_true((const char *)safetensors_at(file, i - 1)->data <= (const char *)safetensors_at(file, i)->data);
    }
    safetensors_close(file);
    assert_int_equal(safetensors_open(temporary_path(folder, "none"), &file), ATTN_ERROR_FILE);
    assert_null(file);
}

static void names_that_cannot_be_written_are_refused(void **state) {
    (void)state;
    const float number = 1;
    const safetensors_tensor twice[] = {{"a", SAFETENSORS_F32, 0, {0}, &number}, {"a", SAFETENSORS_F32, 0, {0}, &number}};
    const safetensors_tensor bad[] = {{"\xff", SAFETENSORS_F32, 0, {0}, &number}};
    const safetensors_tensor reserved[] = {{"__metadata__", SAFETENSORS_F32, 0, {0}, &number}};
    const safetensors_tensor huge[] = {{"a", SAFETENSORS_F32, 2, {SIZE_MAX / 2, 3}, &number}};
    const safetensors_metadata metadata[] = {{"k", "\xff"}};
    const char *path = temporary_path(folder, "a");
    assert_int_equal(safetensors_save(path, twice, 2, NULL, 0), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("taken twice");
    assert_int_equal(safetensors_save(path, bad, 1, NULL, 0), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("not UTF-8");
    assert_int_equal(safetensors_save(path, reserved, 1, NULL, 0), ATTN_ERROR_ARGUMENT);
    assert_int_equal(safetensors_save(path, huge, 1, NULL, 0), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("overflows");
    assert_int_equal(safetensors_save(path, NULL, 0, metadata, 1), ATTN_ERROR_ARGUMENT);
    assert_int_equal(temporary_entries(folder), 0);
}

/* sign, 5 bits of exponent (bias 15), 10 of fraction: by its definition. */
static void every_f16_has_its_value(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        int exponent = (int)(bits >> 10 & 31), fraction = (int)(bits & 1023);
        float value = safetensors_f16_to_f32((uint16_t)bits);
        double expected = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
        assert_int_equal(signbit(value) != 0, bits >> 15);
        if (exponent == 31) {
            assert_true(fraction ? isnan(value) : isinf(value));
        } else {
            assert_true(fabs((double)value) == expected);
        }
    }
}

static void every_bf16_is_the_upper_half_of_its_f32(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        float value = safetensors_bf16_to_f32((uint16_t)bits);
        uint32_t found;
        memcpy(&found, &value, sizeof found);
        assert_int_equal(found, bits << 16);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(malformed_headers_are_refused_with_a_sentence),
        CASE(header_lengths_beyond_the_file_are_refused),
        CASE(deep_json_is_refused),
        CASE(what_is_written_is_read_back),
        CASE(a_file_cut_at_any_byte_is_refused),
        CASE(a_wrong_byte_never_leads_outside_the_file),
        CASE(a_file_of_the_reference_library_is_read),
        CASE(names_that_cannot_be_written_are_refused),
        CASE(every_f16_has_its_value),
        CASE(every_bf16_is_the_upper_half_of_its_f32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
