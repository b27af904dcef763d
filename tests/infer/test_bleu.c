/* BLEU equals sacreBLEU's, to 1e-9 and to the last count. */
#include "test.h"

#include <math.h>

#include "infer/bleu.h"
#include "infer/metrics_vectors.h"

static void check(const char *name, const char *field, double found, double expected) {
    if (!(fabs(found - expected) <= 1e-9))
        fail_msg("%s: %s is %.17g, sacreBLEU has %.17g", name, field, found, expected);
}

static void check_case(const json_t *test) {
    const char **hypotheses = strings_of(json_object_get(test, "hypotheses"));
    const char **references = strings_of(json_object_get(test, "references"));
    size_t count = json_array_size(json_object_get(test, "hypotheses")), index;
    json_t *expected;
    json_array_foreach(json_object_get(test, "bleu"), index, expected) {
        bleu_options options;
        bleu_options_defaults(&options);
        const char *tokenizer = json_string_value(json_object_get(expected, "tokenizer"));
        assert_true(bleu_tokenizer_parse(tokenizer, &options.tokenizer));
        assert_string_equal(bleu_tokenizer_name(options.tokenizer), tokenizer);
        options.lowercase = json_is_true(json_object_get(expected, "lowercase"));
        char name[100];
        snprintf(name, sizeof name, "%s, %s%s", json_string_value(json_object_get(test, "name")), tokenizer,
                 options.lowercase ? ", lower case" : "");
        bleu_score score;
        assert_int_equal(bleu_corpus(hypotheses, references, count, &options, &score), ATTN_OK);
        check(name, "length", (double)score.hypothesis_length, number_of(expected, "hypothesis_length"));
        check(name, "reference length", (double)score.reference_length, number_of(expected, "reference_length"));
        for (size_t n = 0; n < 4; n++) {
            check(name, "count", (double)score.matched[n],
                  json_number_value(json_array_get(json_object_get(expected, "counts"), n)));
            check(name, "total", (double)score.total[n],
                  json_number_value(json_array_get(json_object_get(expected, "totals"), n)));
            check(name, "precision", score.precisions[n],
                  json_number_value(json_array_get(json_object_get(expected, "precisions"), n)));
        }
        check(name, "brevity penalty", score.brevity_penalty, number_of(expected, "bp"));
        check(name, "score", score.score, number_of(expected, "score"));
    }
    free(hypotheses);
    free(references);
}

static void every_score_equals_sacrebleu(void **state) {
    (void)state;
    json_t *root = load_cases(), *test;
    size_t index;
    json_array_foreach(json_object_get(root, "cases"), index, test) check_case(test);
    json_decref(root);
}

static void no_segments_score_zero(void **state) {
    (void)state;
    bleu_options options;
    bleu_options_defaults(&options);
    bleu_score score;
    assert_int_equal(bleu_corpus(NULL, NULL, 0, &options, &score), ATTN_OK);
    assert_true(score.score == 0.0 && score.total[0] == 0);
}

static void invalid_utf8_is_scored_as_replacement_characters(void **state) {
    (void)state;
    const char *hypothesis[] = {"one \xFF two three \xE2\x82 four"};
    const char *reference[] = {"one \xEF\xBF\xBD two three \xEF\xBF\xBD four"};
    bleu_options options;
    bleu_options_defaults(&options);
    bleu_score score;
    assert_int_equal(bleu_corpus(hypothesis, reference, 1, &options, &score), ATTN_OK);
    assert_true(fabs(score.score - 100.0) < 1e-9);
}

static void unknown_tokenizer_name_is_refused(void **state) {
    (void)state;
    bleu_tokenizer tokenizer;
    assert_false(bleu_tokenizer_parse("13b", &tokenizer));
    assert_false(bleu_tokenizer_parse("", &tokenizer));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_score_equals_sacrebleu),
        cmocka_unit_test(no_segments_score_zero),
        cmocka_unit_test(invalid_utf8_is_scored_as_replacement_characters),
        cmocka_unit_test(unknown_tokenizer_name_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
