/* Where sentences end. */
#include <stdlib.h>

#include "test.h"

#include <attn/attn.h>

/* The text with "|" between its sentences. */
static void check(const char *text, const char *expected) {
    attn_sentence sentences[16];
    char joined[512] = "";
    size_t count = attn_split_sentences(text, sentences, 16);
    assert_int_equal(attn_split_sentences(text, NULL, 0), count);
    for (size_t i = 0; i < count; i++) {
        assert_true(sentences[i].end <= sentences[i].next);
        assert_true(i == 0 || sentences[i].begin == sentences[i - 1].next);
        (void)strcat(joined, i ? "|" : "");
        (void)strncat(joined, text + sentences[i].begin, sentences[i].end - sentences[i].begin);
    }
    assert_true(count == 0 || sentences[count - 1].next == strlen(text));
    if (strcmp(joined, expected) != 0) {
        fail_msg("\"%s\" was split into \"%s\"", text, joined);
    }
}

static void sentences_end_at_closing_marks(void **state) {
    (void)state;
    check("", "");
    check("  \t", "");
    check("no end", "no end");
    check(" One.  Two! Three? ", "One.|Two!|Three?");
    check("What?! \"Yes.\" He left (at once.) Then", "What?!|\"Yes.\"|He left (at once.)|Then");
    check("Wait... Go.", "Wait...|Go.");
    check("\xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x82\xe5\x86\x8d\xe8\xa7\x81\xef\xbc\x81", "\xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x82|\xe5\x86\x8d\xe8\xa7\x81\xef\xbc\x81");
    check("\xd0\x94\xd0\xb0. \xd0\x9d\xd0\xb5\xd1\x82.", "\xd0\x94\xd0\xb0.|\xd0\x9d\xd0\xb5\xd1\x82.");
}

static void full_stops_within_a_sentence_end_nothing(void **state) {
    (void)state;
    check("Mr. Smith met Dr. J. R. Brown.", "Mr. Smith met Dr. J. R. Brown.");
    check("It costs 3.50 euros. Cheap.", "It costs 3.50 euros.|Cheap.");
    check("Am 3. Oktober z.B. Berlin. Dort", "Am 3. Oktober z.B. Berlin.|Dort");
    check("In 2016. Then", "In 2016.|Then");
    check("see approx. five e.g. here", "see approx. five e.g. here");
    check("a.b.c www.example.org done", "a.b.c www.example.org done");
    check("at 5 p.m. we left", "at 5 p.m. we left");
}

static void broken_bytes_are_passed_through(void **state) {
    (void)state;
    check("\xff\xfe. \xc3", "\xff\xfe.|\xc3");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentences_end_at_closing_marks),
        cmocka_unit_test(full_stops_within_a_sentence_end_nothing),
        cmocka_unit_test(broken_bytes_are_passed_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
