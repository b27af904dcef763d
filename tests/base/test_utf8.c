/* UTF-8: what is valid, what invalid bytes become, how wide characters are. */
#include "test.h"

#include "base/memory.h"
#include "base/utf8.h"

static void every_codepoint_survives_encoding_and_decoding(void **state) {
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        char bytes[4];
        uint32_t decoded;
        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        size_t length = utf8_encode(c, bytes);
        assert_int_equal(length, c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4);
        assert_true(utf8_is_valid(bytes, length));
        assert_int_equal(utf8_decode(bytes, length, &decoded), length);
        assert_int_equal(decoded, c);
        for (size_t cut = 1; cut < length; cut++)
            assert_false(utf8_is_valid(bytes, cut));
    }
}

static void surrogates_and_too_large_values_are_encoded_as_replacement(void **state) {
    (void)state;
    const uint32_t wrong[] = {0xD800, 0xDFFF, 0x110000, 0xFFFFFFFF};
    for (size_t i = 0; i < 4; i++) {
        char bytes[4];
        assert_int_equal(utf8_encode(wrong[i], bytes), 3);
        assert_memory_equal(bytes, "\xEF\xBF\xBD", 3);
    }
}

#define R "\xEF\xBF\xBD"

/* Unicode 15, tables 3-8 to 3-11, and the edges of table 3-7. */
static void invalid_bytes_become_one_replacement_for_each_maximal_subpart(void **state) {
    (void)state;
    static const struct {
        const char *bytes, *repaired;
        size_t replaced;
    } rows[] = {
        {"plain", "plain", 0},
        {"", "", 0},
        {"a " R " b", "a " R " b", 0},
        {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", R R R R R R R R "A", 8},
        {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", R R R R R R R R "A", 8},
        {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", R R R R R "A" R R "B", 7},
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", R R R R "A", 4},
        {"\xC2", R, 1},
        {"\xE4\xB8", R, 1},
        {"\xF0\x9F\x98", R, 1},
        {"\xF5\x80", R R, 2},
        {"\xE0\x9F\x80", R R R, 3},
        {"\xF0\x8F\xBF\xBF", R R R R, 4},
        {"\xF4\x90\x80\x80", R R R R, 4},
        {"\xED\x9F\xBF", "\xED\x9F\xBF", 0},
        {"\xEE\x80\x80", "\xEE\x80\x80", 0},
        {"\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF", 0},
        {"12345678\xFF" "12345678", "12345678" R "12345678", 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t length = strlen(rows[i].bytes), out_length, replaced;
        char *out;
        assert_int_equal(utf8_repair(rows[i].bytes, length, &out, &out_length, &replaced), ATTN_OK);
        if (strcmp(out, rows[i].repaired) != 0 || replaced != rows[i].replaced)
            fail_msg("row %zu: %zu replaced", i, replaced);
        assert_int_equal(out_length, strlen(out));
        assert_int_equal(utf8_is_valid(rows[i].bytes, length), rows[i].replaced == 0);
        assert_true(utf8_is_valid(out, out_length));
        memory_free(out);
    }
}

static void valid_prefix_ends_at_the_first_invalid_byte(void **state) {
    (void)state;
    assert_int_equal(utf8_valid_prefix("0123456789\xC3\xA4\xFFzz", 15), 12);
    assert_int_equal(utf8_valid_prefix("\x80", 1), 0);
    assert_int_equal(utf8_valid_prefix("abc", 3), 3);
}

static void widths_are_those_of_terminals(void **state) {
    (void)state;
    static const struct {
        uint32_t codepoint;
        int width;
    } rows[] = {
        {'a', 1},     {' ', 1},      {0, 0},       {0x1B, 0},   {0x7F, 0},    {0xAD, 1},    {0xE4, 1},    {0x301, 0},
        {0x200B, 0},  {0x200D, 0},   {0xFE0F, 0},  {0x2014, 1}, {0x2581, 1},  {0x3000, 2},  {0x3042, 2},  {0x4E2D, 2},
        {0x9FFF, 2},  {0xAC00, 2},   {0x1160, 0},  {0xFF21, 2}, {0xFF71, 1},  {0xFFFD, 1},  {0x1F600, 2}, {0x20000, 2},
        {0x2FFFD, 2}, {0x10FFFF, 1}, {0x1100, 2},  {0x0E01, 1}, {0x0E31, 0},  {0x05D0, 1},  {0x0627, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (utf8_codepoint_width(rows[i].codepoint) != rows[i].width)
            fail_msg("U+%04X", rows[i].codepoint);
    assert_int_equal(utf8_width("a\xCC\x88\xE4\xB8\xAD\xFF!", 8), 5);
}

static void truncation_never_cuts_a_character(void **state) {
    (void)state;
    const char *text = "a\xC3\xA4\xE4\xB8\xAD\xF0\x9F\x98\x80z";
    const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
    for (size_t limit = 0; limit <= 12; limit++)
        assert_int_equal(utf8_truncate(text, 11, limit), expected[limit]);
    assert_int_equal(utf8_truncate("\x80\x80\x80\x80\x80\x80", 6, 5), 5);
    assert_int_equal(utf8_truncate_width(text, 11, 2), 3);
    assert_int_equal(utf8_truncate_width(text, 11, 3), 3);
    assert_int_equal(utf8_truncate_width(text, 11, 4), 6);
    assert_int_equal(utf8_truncate_width("e\xCC\x81x", 4, 1), 3);
}

static void lower_case_is_unicodes(void **state) {
    (void)state;
    const uint32_t rows[][2] = {{'A', 'a'},       {'Z', 'z'},       {'[', '['},       {0xC4, 0xE4},     {0xD7, 0xD7},
                                {0x100, 0x101},   {0x101, 0x101},   {0x391, 0x3B1},   {0x416, 0x436},   {0x1E9E, 0xDF},
                                {0x10400, 0x10428}, {0x4E2D, 0x4E2D}, {0x1C4, 0x1C6},   {0x130, 0x130},   {0x10FFFF, 0x10FFFF}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (utf8_codepoint_lower(rows[i][0]) != rows[i][1])
            fail_msg("U+%04X became U+%04X", rows[i][0], utf8_codepoint_lower(rows[i][0]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_codepoint_survives_encoding_and_decoding),
        cmocka_unit_test(surrogates_and_too_large_values_are_encoded_as_replacement),
        cmocka_unit_test(invalid_bytes_become_one_replacement_for_each_maximal_subpart),
        cmocka_unit_test(valid_prefix_ends_at_the_first_invalid_byte),
        cmocka_unit_test(widths_are_those_of_terminals),
        cmocka_unit_test(truncation_never_cuts_a_character),
        cmocka_unit_test(lower_case_is_unicodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
