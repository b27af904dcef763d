/* Steered searches: against transformers (tests/vectors/make_steering.py), sampling
 * against the distribution that it draws from, scores against decoding anew. */
#include <math.h>

#include "infer/searching.h"
#include "infer/sampling.h"

/* --- transformers ---------------------------------------------------------------- */

static void check_case(searcher *s, const double *head, int count, FILE *file) {
    char line[4096];
    double numbers[256];
    int32_t ids[64];
    int prefix = (int)head[6];
    for (int i = 7; i < count; i++) {
        ids[i - 7] = (int32_t)head[i];
    }
    const sentence_request request = {.prefix = ids, .prefix_count = prefix};
    steering wishes = steering_none();
    wishes.repetition_penalty = head[3];
    wishes.no_repeat_ngram = (int)head[4];
    wishes.requests = prefix ? &request : NULL;
    const search_options options = {.beam = (int)head[0], .length_penalty = head[1], .max_length = (int)head[2], .batch_tokens = 4096, .steering = &wishes};
    hypothesis_list list = search_one(s, ids + prefix, (size_t)(count - 7 - prefix), &options);
    assert_int_equal(list.count, (int)head[5]);
    for (int rank = 0; rank < list.count; rank++) {
        assert_non_null(fgets(line, sizeof line, file));
        int found = read_numbers(line, numbers, 256);
        const hypothesis *h = &list.items[rank];
        assert_int_equal(h->count, found - 1);
        for (int i = 0; i < h->count; i++) {
            assert_int_equal(h->ids[i], (int32_t)numbers[i + 1]);
        }
        assert_true(fabs(h->score - numbers[0]) < 2e-5);
    }
    hypothesis_list_release(&list);
}

static void check_filter(const double *head, int count, FILE *file) {
    char line[4096];
    double expected[64];
    float logits[64];
    sampled_token kept[64];
    const sampling_options options = {1, head[0], (int)head[1], head[2], 0};
    int vocabulary = count - 3;
    for (int i = 0; i < vocabulary; i++) {
        logits[i] = (float)head[i + 3];
    }
    assert_non_null(fgets(line, sizeof line, file));
    assert_int_equal(read_numbers(line, expected, 64), vocabulary);
    int64_t found = sampling_filter(logits, vocabulary, &options, kept);
    double sum = 0;
    for (int64_t i = 0; i < found; i++) {
        sum += exp((double)kept[i].value);
    }
    for (int64_t i = 0; i < found; i++) {
        assert_true(fabs(exp((double)kept[i].value) / sum - expected[kept[i].token]) < 1e-6);
        expected[kept[i].token] = 0;
    }
    for (int i = 0; i < vocabulary; i++) { /* what is left was filtered there too */
        assert_true(expected[i] == 0);
    }
}

static void steered_searches_and_filters_equal_those_of_transformers(void **state) {
    (void)state;
    FILE *generation = fopen(TEST_VECTORS "/generation.txt", "r"), *file = fopen(TEST_VECTORS "/steering.txt", "r");
    assert_true(generation && file);
    transformer *model = vector_model(generation);
    searcher *s = searcher_of(model);
    char line[4096];
    double numbers[256];
    int cases = 0, filters = 0;
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "case", 4) == 0) {
            check_case(s, numbers, read_numbers(line + 4, numbers, 256), file);
            cases++;
        } else {
            assert_memory_equal(line, "filter", 6);
            check_filter(numbers, read_numbers(line + 6, numbers, 256), file);
            filters++;
        }
    }
    assert_true(cases >= 25 && filters >= 8);
    (void)fclose(generation);
    (void)fclose(file);
    searcher_free(s);
    transformer_free(model);
}

/* --- scoring --------------------------------------------------------------------- */

/* What a search printed, scored as a given translation: the same bits, whatever was asked
 * beside it. And every token's score adds up. */
static void a_translation_scored_again_has_the_bits_of_its_search(void **state) {
    (void)state;
    transformer *model = random_model(300, 64, 2, 1);
    searcher *s = searcher_of(model);
    const search_options options = {.beam = 5, .length_penalty = 0.7, .max_length = 20, .batch_tokens = 4096};
    int tokens = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        int32_t source[64];
        int count = random_source(seed, 12, 300, source);
        hypothesis_list found = search_one(s, source, (size_t)count, &options);
        for (int rank = 0; rank < found.count; rank++) {
            const hypothesis *h = &found.items[rank];
            const sentence_request request = {.prefix = h->ids, .prefix_count = h->count, .whole = 1};
            steering wishes = steering_none();
            wishes.requests = &request;
            const search_options scoring = {.beam = 1, .length_penalty = 0.7, .batch_tokens = 4096, .steering = &wishes};
            hypothesis_list again = search_one(s, source, (size_t)count, &scoring);
            assert_int_equal(again.count, 1);
            assert_int_equal(again.items[0].count, h->count);
            assert_memory_equal(again.items[0].ids, h->ids, (size_t)h->count * sizeof *h->ids);
            assert_true(again.items[0].log_probability == h->log_probability && again.items[0].score == h->score);
            assert_memory_equal(again.items[0].token_log_probabilities, h->token_log_probabilities,
                                ((size_t)h->count + 1) * sizeof(float));
            assert_true(fabs(log_probability_anew(model, source, count, h->ids, h->count) - h->log_probability) <=
                        1e-5 * (h->count + 1));
            tokens += h->count;
            hypothesis_list_release(&again);
        }
        hypothesis_list_release(&found);
    }
    assert_true(tokens > 100);
    searcher_free(s);
    transformer_free(model);
}

static void a_prefix_longer_than_the_limit_is_kept_whole(void **state) {
    (void)state;
    transformer *model = random_model(100, 64, 1, 3);
    searcher *s = searcher_of(model);
    const int32_t source[] = {5, 6, 0}, prefix[] = {7, 7, 7, 8, 9, 10};
    const sentence_request request = {.prefix = prefix, .prefix_count = 6};
    steering wishes = steering_none();
    wishes.requests = &request;
    for (int beam = 1; beam <= 3; beam += 2) {
        const search_options options = {.beam = beam, .length_penalty = 1, .max_length = 3, .batch_tokens = 4096, .steering = &wishes};
        hypothesis_list list = search_one(s, source, 3, &options);
        assert_int_equal(list.items[0].count, 6);
        assert_memory_equal(list.items[0].ids, prefix, sizeof prefix);
        hypothesis_list_release(&list);
    }
    searcher_free(s);
    transformer_free(model);
}

/* --- sampling -------------------------------------------------------------------- */

static steering sampling_by(uint64_t seed) {
    steering wishes = steering_none();
    wishes.sampling.on = 1;
    wishes.sampling.seed = seed;
    return wishes;
}

static void a_sample_is_the_same_alone_and_in_company_and_differs_by_seed(void **state) {
    (void)state;
    enum { COUNT = 20, SAMPLES = 3 };
    transformer *model = random_model(200, 64, 1, 2);
    searcher *s = searcher_of(model);
    int32_t ids[COUNT * 64];
    size_t offsets[COUNT + 1] = {0};
    hypothesis_list together[COUNT];
    int differing = 0;
    for (int i = 0; i < COUNT; i++) {
        offsets[i + 1] = offsets[i] + (size_t)random_source((uint64_t)i + 1, 20, 200, ids + offsets[i]);
    }
    steering wishes = sampling_by(5);
    const search_options options = {.beam = SAMPLES, .length_penalty = 1, .max_length = 30, .batch_tokens = 100, .steering = &wishes};
    assert_int_equal(search(s, ids, offsets, COUNT, &options, together), ATTN_OK);
    for (int i = 0; i < COUNT; i++) {
        for (uint64_t seed = 5; seed <= 6; seed++) {
            wishes.sampling.seed = seed;
            hypothesis_list alone = search_one(s, ids + offsets[i], offsets[i + 1] - offsets[i], &options);
            assert_int_equal(alone.count, SAMPLES);
            int same = 1;
            for (int k = 0; k < SAMPLES; k++) {
                same &= alone.items[k].count == together[i].items[k].count &&
                        memcmp(alone.items[k].ids, together[i].items[k].ids,
                               (size_t)alone.items[k].count * sizeof(int32_t)) == 0 &&
                        alone.items[k].log_probability == together[i].items[k].log_probability;
            }
            assert_true(same || seed == 6);
            differing += !same;
            hypothesis_list_release(&alone);
        }
        hypothesis_list_release(&together[i]);
    }
    assert_true(differing > COUNT / 2);
    searcher_free(s);
    transformer_free(model);
}

/* Pearson's chi-squared of 60,000 draws: its mean is the degrees of freedom, 9, its
 * deviation sqrt(18); 35 has a probability below 1e-4. The seeds are fixed. */
static void draws_follow_the_distribution(void **state) {
    (void)state;
    enum { TOKENS = 10, DRAWS = 60000 };
    float logits[TOKENS];
    sampled_token kept[TOKENS];
    int counts[TOKENS] = {0};
    for (int i = 0; i < TOKENS; i++) {
        logits[i] = random_normal(4, (uint64_t)i);
    }
    const sampling_options options = {1, 1.3, 0, 1, 0};
    assert_int_equal(sampling_filter(logits, TOKENS, &options, kept), TOKENS);
    for (int i = 0; i < DRAWS; i++) {
        const int32_t source[] = {i % 100, 0};
        counts[sampling_draw(kept, TOKENS, sampling_key((uint64_t)i / 1000, source, 2, i / 100 % 10), 7)]++;
    }
    double sum = 0, chi = 0;
    for (int i = 0; i < TOKENS; i++) {
        sum += exp((double)logits[i] / 1.3);
    }
    for (int i = 0; i < TOKENS; i++) {
        double expected = DRAWS * exp((double)logits[i] / 1.3) / sum;
        chi += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    assert_true(chi < 35);
}

static void nothing_repeats_where_repeating_is_forbidden(void **state) {
    (void)state;
    transformer *model = random_model(40, 64, 1, -3);
    searcher *s = searcher_of(model);
    for (int way = 0; way < 3; way++) {
        steering wishes = sampling_by(3);
        wishes.sampling.on = way == 2;
        wishes.no_repeat_ngram = 2;
        const search_options options = {.beam = way == 0 ? 1 : 4, .length_penalty = 1, .max_length = 60, .batch_tokens = 4096, .steering = &wishes};
        const int32_t source[] = {5, 6, 7, 0};
        hypothesis_list list = search_one(s, source, 4, &options);
        for (int rank = 0; rank < list.count; rank++) {
            const hypothesis *h = &list.items[rank];
            for (int i = 0; i + 1 < h->count; i++) {
                for (int j = i + 1; j + 1 < h->count; j++) {
                    assert_false(h->ids[i] == h->ids[j] && h->ids[i + 1] == h->ids[j + 1]);
                }
            }
        }
        hypothesis_list_release(&list);
    }
    searcher_free(s);
    transformer_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steered_searches_and_filters_equal_those_of_transformers),
        cmocka_unit_test(a_translation_scored_again_has_the_bits_of_its_search),
        cmocka_unit_test(a_prefix_longer_than_the_limit_is_kept_whole),
        cmocka_unit_test(a_sample_is_the_same_alone_and_in_company_and_differs_by_seed),
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(nothing_repeats_where_repeating_is_forbidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
