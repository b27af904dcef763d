/* HTML cut into texts and put together again. */
#include "test.h"

#include "data/html_check.h"
#include "data/html_references.h"

/* The document with "|" where tokens meet, and their kinds: t(ext), o(pen), c(lose), k(ept), b(reak). */
static void check_tokens(const char *html, const char *cut, const char *kinds) {
    char joined[512] = "", found[64] = "";
    html_reader reader = {html, strlen(html), 0, 0};
    html_token t;
    for (size_t i = 0; html_read_token(&reader, &t); i++) {
        (void)strcat(joined, i ? "|" : "");
        (void)strncat(joined, html + t.begin, t.end - t.begin);
        found[i] = "tockb"[t.kind];
    }
    assert_string_equal(joined, cut);
    assert_string_equal(found, kinds);
}

static void tags_are_cut_as_browsers_cut_them(void **state) {
    (void)state;
    check_tokens("", "", "");
    check_tokens("a<b>c</b>", "a|<b>|c|</b>", "totc");
    check_tokens("<A HREF='a>b' x=\"c>d\" y=e/f>g</A >", "<A HREF='a>b' x=\"c>d\" y=e/f>|g|</A >", "otc");
    check_tokens("a < b <3 </ x> d", "a < b <3 |</ x>| d", "tkt");
    check_tokens("<p>a<br/>b<hr><img src=x>", "<p>|a|<br/>|b|<hr>|<img src=x>", "btktbk");
    check_tokens("<!DOCTYPE html><?xml a?>x<!-- <b> --> y <!-->z<!--->-<!-- a --!>-<!-- open", "<!DOCTYPE html>|<?xml a?>|x|<!-- <b> -->| y |<!-->|z|<!--->|-|<!-- a --!>|-|<!-- open",
                 "bbtktktktktk");
    check_tokens("a<b c='d", "a|<b c='d", "tb");
    check_tokens("a<b =x>d</b/ y>", "a|<b =x>|d|</b/ y>", "totc");
}

static void contents_that_are_no_text_are_one_token(void **state) {
    (void)state;
    check_tokens("<script>a</b><p>'</scripty' </SCRIPT >b", "<script>a</b><p>'</scripty' </SCRIPT >|b", "bt");
    check_tokens("<script><!-- <script> </script> --></script>b", "<script><!-- <script> </script> --></script>|b", "bt");
    check_tokens("<style>a>b{}</style>c", "<style>a>b{}</style>|c", "bt");
    check_tokens("run <code>a <b>c</b></code> now", "run |<code>a <b>c</b></code>| now", "tkt");
    check_tokens("<pre>a<pre>b</pre>c</pre>d", "<pre>a<pre>b</pre>c</pre>|d", "bt");
    check_tokens("<span translate=no>a<span>b</span></span>c", "<span translate=no>a<span>b</span></span>|c", "kt");
    check_tokens("<i class='x notranslate y'>a</i>b", "<i class='x notranslate y'>a</i>|b", "kt");
    check_tokens("<i class='notranslated'>a</i>", "<i class='notranslated'>|a|</i>", "otc");
    check_tokens("<p translate='no'>a<p>b", "<p translate='no'>a|<p>|b", "bbt");
    check_tokens("<div translate=no><script></div></script>a</div>b", "<div translate=no><script></div></script>a</div>|b", "bt");
    check_tokens("<title>a <b> &lt; </title>c", "<title>|a <b> &lt; |</title>|c", "btbt");
    check_tokens("<code>never closed <p>", "<code>never closed <p>", "b");
    check_tokens("<plaintext>a</plaintext>", "<plaintext>a</plaintext>", "b");
}

static void check_reference(const char *text, size_t length, const char *expected) {
    char decoded[7] = "";
    assert_int_equal(html_reference_read(text, strlen(text), decoded), length);
    assert_string_equal(decoded, expected);
}

static void references_are_read_as_the_standard_says(void **state) {
    (void)state;
    check_reference("&amp;x", 5, "&");
    check_reference("&auml;", 6, "\xc3\xa4");
    check_reference("&auml", 5, "\xc3\xa4");
    check_reference("&notit;", 4, "\xc2\xac");
    check_reference("&notin;", 7, "\xe2\x88\x89");
    check_reference("&bne;", 5, "=\xe2\x83\xa5");
    check_reference("&CounterClockwiseContourIntegral;", 33, "\xe2\x88\xb3");
    check_reference("&#228;", 6, "\xc3\xa4");
    check_reference("&#xE4 ", 5, "\xc3\xa4");
    check_reference("&#x80;", 6, "\xe2\x82\xac");
    check_reference("&#0;", 4, "\xef\xbf\xbd");
    check_reference("&#xd800;", 8, "\xef\xbf\xbd");
    check_reference("&#99999999999999999999;", 23, "\xef\xbf\xbd");
    check_reference("&#;", 0, "");
    check_reference("&#x;", 0, "");
    check_reference("&", 0, "");
    check_reference("& b", 0, "");
    check_reference("&nosuchthing;", 0, "");
}

/* The texts, with "|" between, and what is left of the document where each was. */
static void check_segments(const char *html, const char *texts, const char *rest) {
    html_document d;
    char joined[512] = "", left[512] = "";
    size_t at = 0;
    assert_int_equal(html_document_parse(html, strlen(html), &d), ATTN_OK);
    for (size_t i = 0; i < d.count; i++) {
        (void)strcat(strcat(joined, i ? "|" : ""), d.texts + d.segments[i].text);
        (void)strcat(strncat(left, html + at, d.segments[i].begin - at), "|");
        at = d.segments[i].end;
    }
    (void)strcat(left, html + at);
    assert_string_equal(joined, texts);
    assert_string_equal(left, rest);
    html_document_release(&d);
}

static void texts_lie_between_block_tags(void **state) {
    (void)state;
    check_segments("<p> One <b>two</b>\n three. </p><p>Four</p>", "One two three.|Four", "<p> | </p><p>|</p>");
    check_segments("<ul><li>One<li>Two</ul>", "One|Two", "<ul><li>|<li>|</ul>");
    check_segments("a&lt;b &amp;&nbsp;c", "a<b &\xc2\xa0" "c", "|");
    check_segments("<p>2016 | &bull;</p> <p></p>", "", "<p>2016 | &bull;</p> <p></p>");
    check_segments("one<br>two <img> three", "one two three", "|");
    check_segments("<img> <b></b> one<i></i>two <!-- c --> <br>", "onetwo", "<img> <b></b> | <!-- c --> <br>");
    check_segments("<td><a><i> </i>x</a></td>", "x", "<td>|</td>");
    check_segments("<b>one <p>two</b> three</p>", "one|two|three", "<b>| <p>|</b> |</p>");
    check_segments("<b>one <i>two</b> three</i>", "one|two|three", "<b>| <i>|</b> |</i>");
    check_segments("one<sup><a>[1]</a></sup>, CO<sub>two</sub>", "one, COtwo", "|");
    check_segments("a \xff b<p>c", "c", "a \xff b<p>|");
}

/* What each word becomes: words of the target in its order, each the number of the source's unit ('a' the first). */
static void check_placed(const char *html, const char *translation, const char *links, const char *expected) {
    html_document d;
    html_alignment a = {0};
    html_buffer out = {0};
    size_t source_of[26], target_of[26];
    assert_int_equal(html_document_parse(html, strlen(html), &d), ATTN_OK);
    assert_int_equal(d.count, 1);
    assert_int_equal(html_units_add(&a.source, d.texts + d.segments[0].text, 0, d.segments[0].text_length, 0), ATTN_OK);
    assert_int_equal(html_units_add(&a.target, translation, 0, strlen(translation), 0), ATTN_OK);
    assert_int_equal(a.target.count, strlen(links));
    for (size_t i = 0; i < 26; i++) {
        target_of[i] = HTML_NO_UNIT;
    }
    for (size_t t = strlen(links); t-- > 0;) {
        source_of[t] = links[t] == '-' ? HTML_NO_UNIT : (size_t)(links[t] - 'a');
        if (links[t] != '-') {
            assert_true(source_of[t] < a.source.count);
            target_of[source_of[t]] = t;
        }
    }
    a.source_of = source_of;
    a.target_of = target_of;
    assert_int_equal(html_place(&d, &d.segments[0], translation, &a, &out), ATTN_OK);
    out.bytes[out.count] = '\0';
    assert_string_equal(out.bytes, expected);
    memory_free(a.source.units);
    memory_free(a.target.units);
    memory_free(out.bytes);
    html_document_release(&d);
}

static void tags_go_round_the_words_that_translate_theirs(void **state) {
    (void)state;
    check_placed("a <b>red</b> car.", "une voiture rouge.", "acbd", "une voiture <b>rouge</b>.");
    check_placed("<i>Hello</i>, <b>world</b>!", "Hallo, Welt!", "abcd", "<i>Hallo</i>, <b>Welt</b>!");
    check_placed("<b>One</b> <i>two</i>", "Zwei eins", "ba", "<i>Zwei</i> <b>eins</b>");
    check_placed("x <a>y <b>z</b></a> w", "Z Y x w", "cbad", "<a><b>Z</b> Y</a> x w");
    /* a hole in a stretch is closed, a far word is left out */
    check_placed("<a>University Hospital</a> today", "Krankenhaus der Universitaet heute", "bcac",
                 "<a>Krankenhaus der Universitaet</a> heute");
    check_placed("<b>call</b> the man", "ruft den Mann laut an", "abcca", "<b>ruft</b> den Mann laut an");
    /* part of a word is all of it */
    check_placed("under<u>line</u>d here", "hier unterstrichen", "ba", "hier <u>unterstrichen</u>");
    check_placed("a &lt; <b>b</b> &amp; c", "a < B & c", "abcde", "a &lt; <b>B</b> &amp; c");
    /* scripts without spaces: each character is a word */
    check_placed("I <b>love</b> you", "\xe6\x88\x91\xe7\x88\xb1\xe4\xbd\xa0", "abc", "\xe6\x88\x91<b>\xe7\x88\xb1</b>\xe4\xbd\xa0");
}

static void no_tag_is_lost_with_its_word(void **state) {
    (void)state;
    check_placed("one <b>two</b> three", "eins drei", "ac", "eins <b></b> drei");
    check_placed("<b>d</b><i>o</i><a id=\"1\">g</a>", "Hund", "a", "<b>Hund</b><i></i><a id=\"1\"></a>");
    check_placed("one <b>two <i>three</i></b>", "", "", "<b> <i></i></b>");
    check_placed("one <b>two <img></b> three", "drei", "c", "<b> <img></b> drei");
}

static void what_stands_between_words_keeps_its_side_and_its_spaces(void **state) {
    (void)state;
    check_placed("one <img> two", "eins zwei", "ab", "eins <img> zwei");
    check_placed("one<img> two", "eins zwei", "ab", "eins<img> zwei");
    check_placed("one <img>two", "eins zwei", "ab", "eins <img>zwei");
    check_placed("one<br>two", "eins zwei", "ab", "eins<br>zwei");
    check_placed("one<!-- c -->two three", "eins zwei", "ab", "eins<!-- c --> zwei");
    check_placed("press <code>x</code> twice", "zweimal druecken", "ba", "<code>x</code> zweimal druecken");
    check_placed("the note<sup></sup>, here", "hier, die Notiz", "dcab", "hier, die Notiz<sup></sup>");
    check_placed("noted <sup>1</sup> here", "notiert hier", "ab", "notiert <sup>1</sup> hier");
    check_placed("a <b>b<br>c</b> d", "D A B C", "dabc", "D A <b>B<br>C</b>");
    check_placed("&nbsp;one two&nbsp;", "eins\xc2\xa0zwei", "ab", "&nbsp;eins&nbsp;zwei&nbsp;");
    check_placed("a <b>b </b>c", "A B C", "abc", "A <b>B</b> C");
}

/* --- any bytes ----------------------------------------------------------------------- */

static const char *const PARTS[] = {
    "one ", "two", " ", "\n", ".", ", ", "<b>", "</b>", "<i>", "</i>", "<span class='a>b'>", "</span>", "<a href=\"x\">", "</a>",
    "<br>", "<img alt='>'>", "<p>", "</p>", "<li>", "<!-- <b> -->", "<code>x <i></code>", "<script>a</b></script>", "&amp;", "&lt;",
    "&", "<", ">", "\xc3\xa4", "\xe4\xbd\xa0", "\xff", "<i translate=no>", "<textarea>", "</textarea>", "<wbr>", "<title>", "</title>",
    "don't", "<sup>", "</sup>", "3.50", "<b/>", "</", "<!", "<pre>", "</pre>", "&nbsp;", "'", "\""};

static void any_document_keeps_each_tag_once_and_pairs_whole(void **state) {
    (void)state;
    enum { PART_COUNT = sizeof PARTS / sizeof *PARTS };
    for (uint64_t round = 0; round < 20000; round++) {
        uint64_t seed = round * 0x9e3779b97f4a7c15u + 1;
        char html[4096];
        size_t length = 0, parts = html_check_draw(&seed, 40), kinds = round % 2 ? PART_COUNT : 16;
        for (size_t i = 0; i < parts; i++) {
            const char *part = PARTS[html_check_draw(&seed, kinds)];
            memcpy(html + length, part, strlen(part));
            length += strlen(part);
        }
        if (round % 4 == 3 && length) {
            html[html_check_draw(&seed, length)] = (char)html_check_draw(&seed, 256);
        }
        const char *wrong = html_check(html, length, round);
        if (wrong) {
            fail_msg("seed %llu: %s: %.*s", (unsigned long long)round, wrong, (int)length, html);
        }
    }
}

static char *repeat(const char *part, size_t times, const char *end, size_t *length) {
    const size_t size = strlen(part);
    char *all = malloc(size * times + strlen(end) + 1);
    for (size_t i = 0; i < times; i++) {
        memcpy(all + i * size, part, size);
    }
    memcpy(all + size * times, end, strlen(end));
    *length = size * times + strlen(end);
    return all;
}

static void huge_ones_take_no_more_than_their_length(void **state) {
    (void)state;
    static const char *const HUGE_PARTS[][2] = {
        {"<b>a ", ""}, {"<b>", "a"}, {"<b>a</b> ", ""}, {"<", ""}, {"<!--", "a"}, {"a</b>", ""}, {"<a b=\"", ">c"}, {"x ", ""},
        {"<code>", "x"}, {"<script><!--", "x"}, {"&amp", "x"}, {"<b>a<i>b</i> </b>", ""}, {"a<br>", ""}, {"<title>", "x"}};
    for (size_t i = 0; i < sizeof HUGE_PARTS / sizeof *HUGE_PARTS; i++) {
        size_t length;
        char *html = repeat(HUGE_PARTS[i][0], 20000, HUGE_PARTS[i][1], &length);
        const char *wrong = html_check(html, length, i);
        free(html);
        if (wrong) {
            fail_msg("%s, 20,000 times: %s", HUGE_PARTS[i][0], wrong);
        }
    }
    size_t length;
    char *name = repeat("a", 1 << 20, "", &length), *html = malloc(length + 32);
    int size = sprintf(html, "x <b c='%s'>y</b> z", name);
    assert_null(html_check(html, (size_t)size, 1));
    assert_null(html_check("a\0b<p>c \0 d", 11, 1));
    free(name);
    free(html);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_are_cut_as_browsers_cut_them),
        cmocka_unit_test(contents_that_are_no_text_are_one_token),
        cmocka_unit_test(references_are_read_as_the_standard_says),
        cmocka_unit_test(texts_lie_between_block_tags),
        cmocka_unit_test(tags_go_round_the_words_that_translate_theirs),
        cmocka_unit_test(no_tag_is_lost_with_its_word),
        cmocka_unit_test(what_stands_between_words_keeps_its_side_and_its_spaces),
        cmocka_unit_test(any_document_keeps_each_tag_once_and_pairs_whole),
        cmocka_unit_test(huge_ones_take_no_more_than_their_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
