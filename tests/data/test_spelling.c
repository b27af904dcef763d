/* How words are spelled: the groups of letters by hand, hashes by FNV's published ones. */
#include "test.h"

#include <string.h>

#include "base/memory.h"
#include "data/spelling.h"
#include "data/tokenizer.h"

static uint32_t fnv(const char *text) {
    uint32_t h = 0x811c9dc5;
    for (; *text; text++) {
        h ^= (uint8_t)*text;
        h *= 0x01000193;
    }
    return h;
}

static void check_word(int buckets, const char *word, const char *const *groups) {
    spelling s = {.buckets = buckets, .first = 7};
    size_t count, expected = 0;
    assert_int_equal(spelling_add(&s, "before", 6), ATTN_OK);
    assert_int_equal(spelling_add(&s, word, strlen(word)), ATTN_OK);
    const int32_t *numbers = spelling_numbers(&s, 8, &count);
    for (; groups[expected]; expected++) {
        assert_true(expected < count);
        assert_int_equal(numbers[expected], fnv(groups[expected]) % (uint32_t)buckets);
    }
    assert_int_equal(count, expected);
    spelling_release(&s);
}

static void groups_are_three_to_five_letters(void **state) {
    (void)state;
    assert_int_equal(fnv("foobar"), 0xbf9cf968); /* the authors' test vector */
    check_word(1000, "where", (const char *const[]){"<wh", "<whe", "<wher", "whe", "wher", "where", "her", "here", "here>", "ere",
                                                    "ere>", "re>", NULL});
    check_word(4096, "a", (const char *const[]){"<a>", NULL});
    check_word(97, "\xc3\xa9t\xc3\xa9", (const char *const[]){"<\xc3\xa9t", "<\xc3\xa9t\xc3\xa9", "<\xc3\xa9t\xc3\xa9>",
                                                               "\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9>", "t\xc3\xa9>", NULL});
    check_word(1, "", (const char *const[]){NULL});
}

static const char TEXT[] = "the cat sat on the mat";

static tokenizer *learn(bool whole_words) {
    tokenizer *t = NULL;
    tokenizer_options options;
    tokenizer_options_defaults(&options);
    options.kind = TOKENIZER_WORDPIECE;
    options.whole_words = whole_words;
    options.vocabulary_size = 40;
    const text_line line = {TEXT, sizeof TEXT - 1};
    assert_int_equal(tokenizer_train(&line, 1, NULL, 0, &options, &t), ATTN_OK);
    return t;
}

static void words_outside_the_vocabulary_get_ids_behind_it(void **state) {
    (void)state;
    tokenizer *t = learn(true);
    size_t size = tokenizer_vocabulary_size(t), count;
    assert_int_equal(size, 10); /* five special tokens, five words */
    spelling known = {0}, more = {.buckets = 50, .first = (int32_t)size};
    assert_int_equal(spelling_of_vocabulary(&known, t, 50), ATTN_OK);
    for (int32_t id = 0; id < 10; id++) {
        (void)spelling_numbers(&known, id, &count);
        assert_true(id < 5 ? count == 0 : count > 0);
    }
    id_buffer ids = {.unknown = &more};
    assert_int_equal(tokenizer_encode(t, TOKENIZER_SOURCE, "the dog THE dog", 15, &ids), ATTN_OK);
    int32_t the = tokenizer_find(t, "the", 3);
    assert_true(ids.count == 4 && the >= 5);
    const int32_t expected[] = {the, 10, the, 11};
    assert_memory_equal(ids.ids, expected, sizeof expected);
    size_t again;
    const int32_t *first = spelling_numbers(&more, 10, &count), *second = spelling_numbers(&more, 11, &again);
    assert_true(count == again && count == 6); /* <do <dog <dog> dog dog> og> */
    assert_memory_equal(first, second, count * sizeof *first);
    id_buffer_release(&ids);
    assert_int_equal(tokenizer_encode(t, TOKENIZER_SOURCE, "dog", 3, &ids), ATTN_OK);
    assert_int_equal(ids.ids[0], tokenizer_unk(t));
    id_buffer_release(&ids);
    spelling_release(&more);
    spelling_release(&known);
    tokenizer_free(t);
}

static void pieces_of_words_are_refused(void **state) {
    (void)state;
    tokenizer *t = learn(false);
    spelling known = {0};
    assert_int_equal(spelling_of_vocabulary(&known, t, 50), ATTN_ERROR_UNSUPPORTED);
    assert_non_null(strstr(attn_last_error(), "pieces of words"));
    spelling_release(&known);
    tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(groups_are_three_to_five_letters),
                                       cmocka_unit_test(words_outside_the_vocabulary_get_ids_behind_it),
                                       cmocka_unit_test(pieces_of_words_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
