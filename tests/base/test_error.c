/* Failing: a status, and a sentence that is safe to print. */
#include "test.h"

#include <pthread.h>
#include <string.h>

static void fail_returns_the_status_and_keeps_the_sentence(void **state) {
    (void)state;
    assert_int_equal(fail(ATTN_ERROR_FILE, "cannot open %s: %d", "x", 7), ATTN_ERROR_FILE);
    assert_string_equal(attn_last_error(), "cannot open x: 7");
}

static void control_characters_become_question_marks(void **state) {
    (void)state;
    (void)fail(ATTN_ERROR_FILE, "%s", "a\033[31m\nb\tc\177 \xc3\xa4");
    assert_string_equal(attn_last_error(), "a?[31m?b?c? \xc3\xa4");
}

static void a_long_sentence_is_cut_and_ended(void **state) {
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)fail(ATTN_ERROR_FORMAT, "%s", text);
    assert_int_equal(strlen(attn_last_error()), 2047);
    (void)fail_within(ATTN_ERROR_FORMAT, "%s", text);
    assert_true(strlen(attn_last_error()) <= 2047);
    (void)fail_within(ATTN_ERROR_FORMAT, "line %d", 3);
    assert_memory_equal(attn_last_error(), "line 3: xxx", 11);
}

static void an_argument_may_be_the_old_sentence(void **state) {
    (void)state;
    (void)fail(ATTN_ERROR_FORMAT, "inner");
    (void)fail(ATTN_ERROR_FORMAT, "outer: %s", attn_last_error());
    assert_string_equal(attn_last_error(), "outer: inner");
    assert_int_equal(fail_within(ATTN_ERROR_MEMORY, "first"), ATTN_ERROR_MEMORY);
    assert_string_equal(attn_last_error(), "first: outer: inner");
}

static void *read_fresh_sentence(void *result) {
    *(int *)result = (int)strlen(attn_last_error());
    (void)fail(ATTN_ERROR_MEMORY, "of the other thread");
    return NULL;
}

static void the_sentence_belongs_to_its_thread(void **state) {
    (void)state;
    pthread_t thread;
    int length = -1;
    (void)fail(ATTN_ERROR_FILE, "mine");
    assert_int_equal(pthread_create(&thread, NULL, read_fresh_sentence, &length), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(length, 0);
    assert_string_equal(attn_last_error(), "mine");
}

static void every_status_has_a_name_and_a_text(void **state) {
    (void)state;
    assert_string_equal(attn_status_name(ATTN_OK), "ATTN_OK");
    assert_string_equal(attn_status_name(ATTN_ERROR_NUMERIC), "ATTN_ERROR_NUMERIC");
    assert_string_equal(attn_status_text(ATTN_ERROR_MEMORY), "out of memory");
    assert_string_equal(attn_status_name((attn_status)-99), "ATTN_ERROR_?");
    assert_string_equal(attn_status_text((attn_status)-99), "unknown status");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_returns_the_status_and_keeps_the_sentence),
        cmocka_unit_test(control_characters_become_question_marks),
        cmocka_unit_test(a_long_sentence_is_cut_and_ended),
        cmocka_unit_test(an_argument_may_be_the_old_sentence),
        cmocka_unit_test(the_sentence_belongs_to_its_thread),
        cmocka_unit_test(every_status_has_a_name_and_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
