/* chrF2 equals sacreBLEU's, to 1e-9. */
#include "test.h"

#include <math.h>

#include "infer/chrf.h"
#include "infer/metrics_vectors.h"

static void every_score_equals_sacrebleu(void **state) {
    (void)state;
    json_t *root = load_cases(), *test;
    size_t index;
    json_array_foreach(json_object_get(root, "cases"), index, test) {
        const char **hypotheses = strings_of(json_object_get(test, "hypotheses"));
        const char **references = strings_of(json_object_get(test, "references"));
        size_t count = json_array_size(json_object_get(test, "hypotheses"));
        chrf_score score;
        assert_int_equal(chrf_corpus(hypotheses, references, count, &score), ATTN_OK);
        double expected = number_of(test, "chrf");
        if (!(fabs(score.score - expected) <= 1e-9))
            fail_msg("%s: %.17g, sacreBLEU has %.17g", json_string_value(json_object_get(test, "name")), score.score,
                     expected);
        free(hypotheses);
        free(references);
    }
    json_decref(root);
}

static void counts_are_of_characters_without_white_space(void **state) {
    (void)state;
    const char *hypothesis[] = {" a\xC3\xA4 b\xE3\x80\x80"}, *reference[] = {"a \xC3\xA4" "b"};
    chrf_score score;
    assert_int_equal(chrf_corpus(hypothesis, reference, 1, &score), ATTN_OK);
    assert_int_equal(score.matched[0], 3);
    assert_int_equal(score.matched[2], 1);
    assert_int_equal(score.hypothesis[3], 0);
    assert_true(fabs(score.score - 100.0) < 1e-9);
}

static void no_segments_score_zero(void **state) {
    (void)state;
    chrf_score score;
    assert_int_equal(chrf_corpus(NULL, NULL, 0, &score), ATTN_OK);
    assert_true(score.score == 0.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_score_equals_sacrebleu),
        cmocka_unit_test(counts_are_of_characters_without_white_space),
        cmocka_unit_test(no_segments_score_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
