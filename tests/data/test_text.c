/* Lines and parallel text from files, well-formed and not. */
#include "test.h"
#include "temporary.h"

#include "base/file.h"
#include "data/text.h"

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

static const char *file_of(const char *name, const char *bytes, size_t size) {
    const char *path = temporary_path(folder, name);
    assert_int_equal(file_replace(path, bytes, size), ATTN_OK);
    return path;
}

#define TEXT(name, literal) file_of(name, literal, sizeof literal - 1)

static void expect_line(text_line line, const char *expected) {
    if (line.length != strlen(expected) || memcmp(line.bytes, expected, line.length) != 0)
        fail_msg("\"%.*s\" is not \"%s\"", (int)line.length, line.bytes, expected);
}

static text_options defaults(void) {
    text_options options;
    text_options_defaults(&options);
    return options;
}

static void lines_are_cut_at_newlines_alone(void **state) {
    (void)state;
    text_options options = defaults();
    text_lines text;
    const char bytes[] = "\xEF\xBB\xBF" "one\r\n\ntwo \r three\n\xE2\x80\xA8""four\r";
    assert_int_equal(text_lines_parse(bytes, sizeof bytes - 1, "here", &options, &text), ATTN_OK);
    assert_int_equal(text.count, 4);
    expect_line(text.lines[0], "one");
    expect_line(text.lines[1], "");
    expect_line(text.lines[2], "two \r three");
    expect_line(text.lines[3], "\xE2\x80\xA8" "four\r");
    text_lines_release(&text);
}

static void final_newline_makes_no_line(void **state) {
    (void)state;
    text_options options = defaults();
    static const struct {
        const char *bytes;
        size_t count;
    } rows[] = {{"", 0}, {"a", 1}, {"a\n", 1}, {"a\nb", 2}, {"\n", 1}, {"\n\n", 2}, {"\xEF\xBB\xBF", 0}, {"\r\n", 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        text_lines text;
        assert_int_equal(text_lines_parse(rows[i].bytes, strlen(rows[i].bytes), "here", &options, &text), ATTN_OK);
        assert_int_equal(text.count, rows[i].count);
        text_lines_release(&text);
    }
}

static void invalid_utf8_is_refused_skipped_or_repaired(void **state) {
    (void)state;
    const char bytes[] = "good\nbad \xFF\xFF here\n\xC3\xA4\n";
    text_options options = defaults();
    text_lines text;
    assert_int_equal(text_lines_parse(bytes, sizeof bytes - 1, "name.txt", &options, &text), ATTN_ERROR_FORMAT);
    assert_sentence_has("name.txt line 2 is not valid UTF-8 (byte 5");
    assert_null(text.lines);

    options.invalid = INVALID_SKIP;
    assert_int_equal(text_lines_parse(bytes, sizeof bytes - 1, "name.txt", &options, &text), ATTN_OK);
    assert_int_equal(text.count, 2);
    assert_int_equal(text.invalid, 1);
    expect_line(text.lines[1], "\xC3\xA4");
    text_lines_release(&text);

    options.invalid = INVALID_REPAIR;
    assert_int_equal(text_lines_parse(bytes, sizeof bytes - 1, "name.txt", &options, &text), ATTN_OK);
    assert_int_equal(text.count, 3);
    assert_int_equal(text.invalid, 1);
    expect_line(text.lines[1], "bad \xEF\xBF\xBD\xEF\xBF\xBD here");
    text_lines_release(&text);
}

static void nul_byte_is_refused_with_its_line(void **state) {
    (void)state;
    for (int invalid = INVALID_REFUSE; invalid <= INVALID_REPAIR; invalid++) {
        text_options options = defaults();
        options.invalid = (invalid_utf8)invalid;
        text_lines text;
        assert_int_equal(text_lines_parse("a\nb\0c\n", 6, "name.txt", &options, &text), ATTN_ERROR_FORMAT);
        assert_sentence_has("name.txt line 2 holds a NUL");
    }
}

static void pairs_with_an_empty_side_are_dropped_and_counted(void **state) {
    (void)state;
    text_options options = defaults();
    const char *source = TEXT("a", "one\n\n  \t\nfour\nfive\n"), *target = TEXT("b", "eins\nzwei\ndrei\n\nfuenf");
    parallel_text text;
    assert_int_equal(parallel_text_read(source, target, &options, &text), ATTN_OK);
    assert_int_equal(text.pairs, 2);
    assert_int_equal(text.lines, 5);
    assert_int_equal(text.blank, 3);
    expect_line(text.source[1], "five");
    expect_line(text.target[1], "fuenf");
    parallel_text_release(&text);

    options.keep_blank = true;
    assert_int_equal(parallel_text_read(source, target, &options, &text), ATTN_OK);
    assert_int_equal(text.pairs, 5);
    assert_int_equal(text.blank, 0);
    parallel_text_release(&text);
}

static void different_line_counts_are_both_named(void **state) {
    (void)state;
    text_options options = defaults();
    const char *source = TEXT("a", "1\n2\n3\n"), *target = TEXT("b", "1\n2");
    parallel_text text;
    assert_int_equal(parallel_text_read(source, target, &options, &text), ATTN_ERROR_FORMAT);
    assert_sentence_has("a has 3 lines and ");
    assert_sentence_has("b has 2");
    assert_null(text.source);
}

static void a_pair_goes_when_either_side_is_invalid(void **state) {
    (void)state;
    text_options options = defaults();
    const char *source = TEXT("a", "1\n2\xFF\n3\n\xFE\n"), *target = TEXT("b", "1\n2\n\xFF\n\xFF\n");
    parallel_text text;
    assert_int_equal(parallel_text_read(source, target, &options, &text), ATTN_ERROR_FORMAT);
    assert_sentence_has("line 2");
    options.invalid = INVALID_SKIP;
    assert_int_equal(parallel_text_read(source, target, &options, &text), ATTN_OK);
    assert_int_equal(text.pairs, 1);
    assert_int_equal(text.invalid, 3);
    parallel_text_release(&text);
}

static void text_without_a_pair_is_refused(void **state) {
    (void)state;
    text_options options = defaults();
    parallel_text text;
    const char *empty = TEXT("e", ""), *blank = TEXT("k", "\n\n"), *words = TEXT("w", "a\nb\n");
    assert_int_equal(parallel_text_read(empty, empty, &options, &text), ATTN_ERROR_FORMAT);
    assert_sentence_has("is empty");
    assert_int_equal(parallel_text_read(words, blank, &options, &text), ATTN_ERROR_FORMAT);
    assert_sentence_has("of 2 lines 2 have an empty side");
    assert_int_equal(parallel_text_read_tsv(empty, &options, &text), ATTN_ERROR_FORMAT);
    assert_int_equal(parallel_text_read_tsv(blank, &options, &text), ATTN_ERROR_FORMAT);
    assert_int_equal(parallel_text_read("-", "-", &options, &text), ATTN_ERROR_ARGUMENT);
    assert_int_equal(parallel_text_read(words, temporary_path(folder, "none"), &options, &text), ATTN_ERROR_FILE);
    assert_sentence_has("none");
}

static void tabs_cut_pairs(void **state) {
    (void)state;
    text_options options = defaults();
    parallel_text text;
    const char *good = TEXT("t", "\xEF\xBB\xBF" "a b\tc d\r\n\n\tx\ny\t\n \nlast\tzuletzt");
    assert_int_equal(parallel_text_read_tsv(good, &options, &text), ATTN_OK);
    assert_int_equal(text.pairs, 2);
    assert_int_equal(text.blank, 4);
    expect_line(text.source[0], "a b");
    expect_line(text.target[0], "c d");
    expect_line(text.target[1], "zuletzt");
    parallel_text_release(&text);

    assert_int_equal(parallel_text_read_tsv(TEXT("t", "a\tb\nno tab here\n"), &options, &text), ATTN_ERROR_FORMAT);
    assert_sentence_has("line 2 has no tab");
    assert_int_equal(parallel_text_read_tsv(TEXT("t", "a\tb\tc\n"), &options, &text), ATTN_ERROR_FORMAT);
    assert_sentence_has("line 1 has more than one tab");
}

static void line_of_megabytes_is_read(void **state) {
    (void)state;
    size_t size = 5u << 20;
    char *bytes = malloc(size);
    assert_non_null(bytes);
    memset(bytes, 'x', size);
    bytes[size / 2] = '\n';
    text_options options = defaults();
    text_lines text;
    assert_int_equal(text_lines_parse(bytes, size, "big", &options, &text), ATTN_OK);
    assert_int_equal(text.count, 2);
    assert_int_equal(text.lines[0].length, size / 2);
    text_lines_release(&text);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_cut_at_newlines_alone),
        cmocka_unit_test(final_newline_makes_no_line),
        cmocka_unit_test(invalid_utf8_is_refused_skipped_or_repaired),
        cmocka_unit_test(nul_byte_is_refused_with_its_line),
        cmocka_unit_test(pairs_with_an_empty_side_are_dropped_and_counted),
        cmocka_unit_test(different_line_counts_are_both_named),
        cmocka_unit_test(a_pair_goes_when_either_side_is_invalid),
        cmocka_unit_test(text_without_a_pair_is_refused),
        cmocka_unit_test(tabs_cut_pairs),
        cmocka_unit_test(line_of_megabytes_is_read),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
