/* Searching with a model: against transformers (tests/vectors/make_generation.py),
 * against decoding every prefix anew, against every sequence there is, and a sentence
 * alone against the same one in company. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "infer/searching.h"

/* --- transformers ---------------------------------------------------------------- */

static void check_case(searcher *s, const double *head, int count, FILE *file) {
    char line[4096];
    double numbers[256];
    int32_t source[64];
    const search_options options = {.beam = (int)head[0], .length_penalty = head[1], .max_length = (int)head[2],
                                    .batch_tokens = 4096};
    for (int i = 4; i < count; i++) {
        source[i - 4] = (int32_t)head[i];
    }
    hypothesis_list list = search_one(s, source, (size_t)count - 4, &options);
    assert_int_equal(list.count, (int)head[3]);
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

static void translations_and_scores_equal_those_of_transformers(void **state) {
    (void)state;
    FILE *file = fopen(TEST_VECTORS "/generation.txt", "r");
    assert_non_null(file);
    char line[4096];
    double numbers[256];
    transformer *model = vector_model(file);
    searcher *s = searcher_of(model);
    int cases = 0;
    for (; fgets(line, sizeof line, file); cases++) {
        assert_memory_equal(line, "case", 4);
        check_case(s, numbers, read_numbers(line + 4, numbers, 256), file);
    }
    assert_true(cases > 20);
    (void)fclose(file);
    searcher_free(s);
    transformer_free(model);
}

static void cached_decoding_equals_decoding_anew(void **state) {
    (void)state;
    transformer *model = random_model(300, 64, 2, 3);
    searcher *s = searcher_of(model);
    const search_options options = {.beam = 4, .length_penalty = 1, .max_length = 20, .batch_tokens = 4096};
    int tokens = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        int32_t source[64];
        int count = random_source(seed, 12, 300, source);
        hypothesis_list list = search_one(s, source, (size_t)count, &options);
        for (int rank = 0; rank < list.count; rank++) {
            const hypothesis *h = &list.items[rank];
            double anew = log_probability_anew(model, source, count, h->ids, h->count);
            assert_true(fabs(anew - h->log_probability) <= 1e-5 * (h->count + 1));
            tokens += h->count;
        }
        hypothesis_list_release(&list);
    }
    assert_true(tokens > 100); /* else nothing was cached */
    searcher_free(s);
    transformer_free(model);
}

typedef struct best_found {
    double score;
    int32_t ids[8];
    int count, looked_at;
} best_found;

static void look_at_all(const transformer *model, const int32_t *source, int count, int32_t *ids, int length, int longest,
                        best_found *best) {
    double score = log_probability_anew(model, source, count, ids, length) / (length + 1);
    best->looked_at++;
    if (score > best->score) {
        best->score = score;
        best->count = length;
        memcpy(best->ids, ids, (size_t)length * sizeof *ids);
    }
    for (int32_t token = 1; token < model->config.vocab_size - 1 && length + 1 < longest; token++) {
        ids[length] = token;
        look_at_all(model, source, count, ids, length + 1, longest, best);
    }
}

static void a_wide_beam_finds_the_best_of_all_sequences(void **state) {
    (void)state;
    transformer *model = random_model(5, 16, 1, 0);
    searcher *s = searcher_of(model);
    const search_options options = {.beam = 64, .length_penalty = 1, .max_length = 4, .batch_tokens = 4096};
    for (uint64_t seed = 1; seed <= 5; seed++) {
        int32_t source[64], ids[8];
        int count = random_source(seed, 6, 5, source);
        best_found best = {.score = -INFINITY};
        look_at_all(model, source, count, ids, 0, 4, &best);
        assert_int_equal(best.looked_at, 1 + 3 + 9 + 27);
        hypothesis_list list = search_one(s, source, (size_t)count, &options);
        assert_int_equal(list.count, best.looked_at);
        assert_int_equal(list.items[0].count, best.count);
        assert_memory_equal(list.items[0].ids, best.ids, (size_t)best.count * sizeof *best.ids);
        assert_true(fabs(list.items[0].score - best.score) < 1e-5);
        hypothesis_list_release(&list);
    }
    searcher_free(s);
    transformer_free(model);
}

/* --- company --------------------------------------------------------------------- */

enum { SENTENCES = 1000 };

static void search_in_order(searcher *s, const int32_t (*sources)[64], const int *counts, const int *order,
                            const search_options *options, hypothesis_list *results) {
    static int32_t ids[SENTENCES * 64];
    static size_t offsets[SENTENCES + 1];
    hypothesis_list *shuffled = memory_allocate(SENTENCES, sizeof *shuffled);
    for (int i = 0; i < SENTENCES; i++) {
        memcpy(ids + offsets[i], sources[order[i]], (size_t)counts[order[i]] * sizeof *ids);
        offsets[i + 1] = offsets[i] + (size_t)counts[order[i]];
    }
    if (search(s, ids, offsets, SENTENCES, options, shuffled)) {
        fail_msg("%s", attn_last_error());
    }
    for (int i = 0; i < SENTENCES; i++) {
        results[order[i]] = shuffled[i];
    }
    memory_free(shuffled);
}

static void assert_same_bits(const hypothesis_list *a, const hypothesis_list *b) {
    assert_int_equal(a->count, b->count);
    for (int i = 0; i < a->count; i++) {
        assert_int_equal(a->items[i].count, b->items[i].count);
        assert_memory_equal(a->items[i].ids, b->items[i].ids, (size_t)a->items[i].count * sizeof(int32_t));
        if (a->items[i].token_log_probabilities) {
            assert_memory_equal(a->items[i].token_log_probabilities, b->items[i].token_log_probabilities,
                                (size_t)(a->items[i].count + 1) * sizeof(float));
        }
        assert_memory_equal(&a->items[i].log_probability, &b->items[i].log_probability, sizeof(double));
        assert_memory_equal(&a->items[i].score, &b->items[i].score, sizeof(double));
    }
}

/* Five ways: alone, together on one and on two threads, and in the opposite order in smaller
 * batches on more threads. Alone, greedy search soon chooses by a shortlist. */
static void check_company(product_type type, int width, int beam) {
    static int32_t sources[SENTENCES][64];
    static hypothesis_list expected[SENTENCES], found[SENTENCES];
    int counts[SENTENCES], order[SENTENCES];
    transformer *model = random_model(300, width, 1, beam == 1 ? 2.5f : 4); /* short and long ones */
    searcher *s = searcher_as(model, type);
    search_options options = {.beam = beam,
                              .length_penalty = 1,
                              .min_length = beam == 1 ? 4 : 0,
                              .max_length = 16,
                              .batch_tokens = 4096};
    for (int i = 0; i < SENTENCES; i++) {
        counts[i] = i % 17 == 0 ? 0 : random_source((uint64_t)i + 1, 40, 300, sources[i]);
        order[i] = i;
    }
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    for (int i = 0; i < SENTENCES; i++) {
        expected[i] = search_one(s, sources[i], (size_t)counts[i], &options);
    }
    const struct { int threads, batch_tokens, backwards; } ways[] = {{1, 4096, 0}, {2, 4096, 0}, {3, 100, 1}, {2, 1, 1}};
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        omp_set_num_threads(ways[way].threads);
        options.batch_tokens = ways[way].batch_tokens;
        for (int i = 0; i < SENTENCES; i++) {
            order[i] = ways[way].backwards ? SENTENCES - 1 - i : i;
        }
        search_in_order(s, (const int32_t(*)[64])sources, counts, order, &options, found);
        for (int i = 0; i < SENTENCES; i++) {
            assert_same_bits(&expected[i], &found[i]);
            hypothesis_list_release(&found[i]);
        }
    }
    for (int i = 0; i < SENTENCES; i++) {
        assert_int_equal(expected[i].count, counts[i] ? beam : 1);
        hypothesis_list_release(&expected[i]);
    }
    omp_set_num_threads(threads);
    searcher_free(s);
    transformer_free(model);
}

static void a_sentence_has_the_same_bits_alone_and_in_any_company(void **state) {
    (void)state;
    check_company(PRODUCT_F32, 64, 3); /* heads of 16, which have a kernel of their own, and of 12 */
    check_company(PRODUCT_BF16, 48, 3);
    check_company(PRODUCT_INT8, 64, 3);
    check_company(PRODUCT_F32, 64, 1);
}

/* Two logits whose log probabilities are the same number: the larger logit is taken, by the whole product as
 * by the shortlist that a searcher has after 256 tokens. */
static void greedy_search_takes_the_largest_logit(void **state) {
    (void)state;
    transformer *model = random_model(300, 64, 1, -1);
    float *bias = parameter_values(&model->parameters, model->logits_bias);
    memset(parameter_values(&model->parameters, model->embedding), 0, (size_t)300 * 64 * sizeof(float));
    for (int i = 0; i < 300; i++) {
        bias[i] = -1;
    }
    bias[3] = 1e-3f;
    bias[9] = nextafterf(1e-3f, 1);
    searcher *s = searcher_of(model);
    const search_options options = {.beam = 1, .length_penalty = 1, .max_length = 40, .batch_tokens = 4096};
    int32_t source[64];
    int count = random_source(3, 20, 300, source), tokens = 0;
    for (int i = 0; i < 10; i++) {
        hypothesis_list list = search_one(s, source, (size_t)count, &options);
        for (int j = 0; j < list.items[0].count; j++, tokens++) {
            assert_int_equal(list.items[0].ids[j], 9);
        }
        hypothesis_list_release(&list);
    }
    assert_true(tokens > 300);
    searcher_free(s);
    transformer_free(model);
}

static void a_single_sentence_has_the_same_bits_with_any_number_of_threads(void **state) {
    (void)state;
    transformer *model = random_model(700, 192, 2, 0);
    searcher *s = searcher_of(model);
    const search_options options = {.beam = 4, .length_penalty = 1, .max_length = 30, .batch_tokens = 4096};
    int threads = omp_get_max_threads();
    int32_t source[64];
    int count = random_source(3, 40, 700, source);
    omp_set_num_threads(1);
    hypothesis_list one = search_one(s, source, (size_t)count, &options);
    omp_set_num_threads(3);
    hypothesis_list three = search_one(s, source, (size_t)count, &options);
    omp_set_num_threads(threads);
    assert_same_bits(&one, &three);
    hypothesis_list_release(&one);
    hypothesis_list_release(&three);
    searcher_free(s);
    transformer_free(model);
}

static void translations_are_as_long_as_is_asked(void **state) {
    (void)state;
    transformer *model = random_model(100, 64, 1, 30); /* </s> is always the likeliest */
    searcher *s = searcher_of(model);
    const int least[] = {0, 1, 2, 7, 9, 20}, tokens[] = {1, 1, 2, 7, 9, 9};
    for (size_t i = 0; i < sizeof least / sizeof *least; i++) {
        const search_options options = {.beam = 3, .length_penalty = 1, .max_length = 9, .batch_tokens = 1,
                                        .min_length = least[i]};
        const int32_t source[] = {5, 6, 7, 0};
        hypothesis_list list = search_one(s, source, 4, &options);
        assert_int_equal(list.items[0].count + 1, tokens[i]);
        hypothesis_list_release(&list);
    }
    searcher_free(s);
    transformer_free(model);
}

static void translations_end_in_time_and_never_hold_padding(void **state) {
    (void)state;
    transformer *model = random_model(100, 64, 1, -30); /* </s> is hopeless: the limit ends it */
    parameter_values(&model->parameters, model->logits_bias)[model->config.pad_token_id] = 50;
    searcher *s = searcher_of(model);
    const int limits[] = {1, 2, 7, 0, 1000};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        const search_options options = {.beam = 3, .length_penalty = 1, .max_length = limits[i], .batch_tokens = 4096};
        const int32_t source[] = {5, 6, 7, 0};
        hypothesis_list list = search_one(s, source, 4, &options);
        int limit = limits[i] == 0 ? 2 * 4 + 32 : limits[i] == 1000 ? model->config.max_position_embeddings : limits[i];
        for (int rank = 0; rank < list.count; rank++) {
            assert_int_equal(list.items[rank].count, limit - 1);
            for (int j = 0; j < list.items[rank].count; j++) {
                assert_int_not_equal(list.items[rank].ids[j], model->config.pad_token_id);
            }
        }
        hypothesis_list_release(&list);
    }
    searcher_free(s);
    transformer_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(translations_and_scores_equal_those_of_transformers),
        cmocka_unit_test(cached_decoding_equals_decoding_anew),
        cmocka_unit_test(a_wide_beam_finds_the_best_of_all_sequences),
        cmocka_unit_test(a_sentence_has_the_same_bits_alone_and_in_any_company),
        cmocka_unit_test(greedy_search_takes_the_largest_logit),
        cmocka_unit_test(a_single_sentence_has_the_same_bits_with_any_number_of_threads),
        cmocka_unit_test(translations_are_as_long_as_is_asked),
        cmocka_unit_test(translations_end_in_time_and_never_hold_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
