/* Several models that translate together: against decoding anew with each of them, and a sentence's
 * bits in any company. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "searching.h"

enum { VOCABULARY = 200, SENTENCES = 40 };

static const search_options ALONE = {.beam = 3, .length_penalty = 1, .max_length = 12, .batch_tokens = 4096};

/* Adds the logits behind the inputs, computed without a cache. */
static void add_logits(const transformer *model, const int32_t *source, int source_count, const int32_t *inputs, int count,
                       double *logits) {
    tape t;
    transformer *unlocked = (transformer *)(uintptr_t)model;
    assert_int_equal(tape_open(&t, &unlocked->parameters), ATTN_OK);
    const int32_t from[] = {0, source_count}, to[] = {0, count};
    tape_start(&t, 0, 0, 0);
    tensor *memory = transformer_encode(&t, model, source, (packing){from, 1});
    tensor *x = transformer_decode(&t, model, inputs, (packing){to, 1}, memory, (packing){from, 1});
    assert_non_null(x);
    const float *last = tensor_row(x, count - 1);
    const float *table = parameter_values(&model->parameters, model->embedding);
    const float *bias = parameter_values(&model->parameters, model->logits_bias);
    for (int v = 0; v < VOCABULARY; v++) {
        logits[v] += (double)bias[v];
        for (int j = 0; j < model->config.d_model; j++) {
            logits[v] += (double)table[v * model->config.d_model + j] * (double)last[j];
        }
    }
    tape_close(&t);
}

/* log p of a translation under the mean of the models' logits. */
static double log_probability_together(transformer *const *models, int model_count, const int32_t *source, int source_count,
                                       const hypothesis *h) {
    double sum = 0;
    for (int length = 0; length <= h->count; length++) {
        double logits[VOCABULARY] = {0}, mass = 0;
        int32_t inputs[64] = {models[0]->config.decoder_start_token_id};
        memcpy(inputs + 1, h->ids, (size_t)length * sizeof *inputs);
        for (int m = 0; m < model_count; m++) {
            add_logits(models[m], source, source_count, inputs, length + 1, logits);
        }
        for (int v = 0; v < VOCABULARY; v++) {
            mass += exp(logits[v] / model_count);
        }
        sum += logits[length < h->count ? h->ids[length] : models[0]->config.eos_token_id] / model_count - log(mass);
    }
    return sum;
}

static void a_score_is_that_of_the_mean_of_the_logits(void **state) {
    (void)state;
    transformer *models[] = {random_model(VOCABULARY, 64, 2, 3), random_model(VOCABULARY, 48, 1, 3), random_model(VOCABULARY, 32, 3, 3)};
    searcher *s[] = {searcher_of(models[0]), searcher_of(models[1]), searcher_of(models[2])};
    search_options options = ALONE;
    int differ = 0;
    options.others = s + 1;
    options.other_count = 2;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        int32_t source[64];
        int count = random_source(seed, 12, VOCABULARY, source);
        hypothesis_list list = search_one(s[0], source, (size_t)count, &options);
        hypothesis_list single = search_one(s[0], source, (size_t)count, &ALONE);
        for (int rank = 0; rank < list.count; rank++) {
            double expected = log_probability_together(models, 3, source, count, &list.items[rank]);
            double error = fabs(expected - list.items[rank].log_probability);
            if (!(error <= 1e-5 * (list.items[rank].count + 1))) {
                fail_msg("source %d, rank %d: log p is %g off %g", (int)seed, rank, error, expected);
            }
        }
        differ += list.items[0].log_probability != single.items[0].log_probability;
        hypothesis_list_release(&list);
        hypothesis_list_release(&single);
    }
    assert_true(differ > 0);
    for (int m = 0; m < 3; m++) {
        searcher_free(s[m]);
        transformer_free(models[m]);
    }
}

static void assert_same(const hypothesis_list *a, const hypothesis_list *b) {
    assert_int_equal(a->count, b->count);
    for (int i = 0; i < a->count; i++) {
        assert_int_equal(a->items[i].count, b->items[i].count);
        assert_memory_equal(a->items[i].ids, b->items[i].ids, (size_t)a->items[i].count * sizeof(int32_t));
        assert_memory_equal(&a->items[i].log_probability, &b->items[i].log_probability, sizeof(double));
    }
}

static void a_model_beside_itself_gives_its_own_bits(void **state) {
    (void)state;
    transformer *model = random_model(VOCABULARY, 64, 2, 3);
    searcher *s = searcher_as(model, PRODUCT_INT8), *others[] = {s};
    search_options options = ALONE;
    options.others = others;
    options.other_count = 1;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        int32_t source[64];
        int count = random_source(seed, 12, VOCABULARY, source);
        hypothesis_list twice = search_one(s, source, (size_t)count, &options);
        hypothesis_list once = search_one(s, source, (size_t)count, &ALONE);
        assert_same(&twice, &once);
        hypothesis_list_release(&twice);
        hypothesis_list_release(&once);
    }
    searcher_free(s);
    transformer_free(model);
}

static void company_changes_no_bit(void **state) {
    (void)state;
    static int32_t ids[SENTENCES * 64];
    size_t offsets[SENTENCES + 1] = {0};
    hypothesis_list alone[SENTENCES], together[SENTENCES];
    transformer *models[] = {random_model(VOCABULARY, 64, 1, 3), random_model(VOCABULARY, 48, 2, 3)};
    searcher *s[] = {searcher_of(models[0]), searcher_of(models[1])};
    search_options options = ALONE;
    options.others = s + 1;
    options.other_count = 1;
    int threads = omp_get_max_threads();
    for (int i = 0; i < SENTENCES; i++) {
        int count = random_source((uint64_t)i + 1, 40, VOCABULARY, ids + offsets[i]);
        offsets[i + 1] = offsets[i] + (size_t)count;
        alone[i] = search_one(s[0], ids + offsets[i], (size_t)count, &options);
    }
    for (int run = 1; run <= 2; run++) {
        omp_set_num_threads(run);
        options.batch_tokens = run == 1 ? 4096 : 150;
        assert_int_equal(search(s[0], ids, offsets, SENTENCES, &options, together), ATTN_OK);
        for (int i = 0; i < SENTENCES; i++) {
            assert_same(&alone[i], &together[i]);
            hypothesis_list_release(&together[i]);
        }
    }
    omp_set_num_threads(threads);
    for (int i = 0; i < SENTENCES; i++) {
        hypothesis_list_release(&alone[i]);
    }
    for (int m = 0; m < 2; m++) {
        searcher_free(s[m]);
        transformer_free(models[m]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_score_is_that_of_the_mean_of_the_logits),
        cmocka_unit_test(a_model_beside_itself_gives_its_own_bits),
        cmocka_unit_test(company_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
