/* A recurrent model in the search: what it finds has the probability that the decoder gives
 * to the whole of it at once, and the same bits in any company, with any number of threads. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "infer/search.h"
#include "model/recurrent.h"

enum { WORDS = 30, SENTENCES = 24, LONGEST = 9 };

static recurrent *random_model(cell_kind cell, score_kind score, int layers) {
    model_config c;
    recurrent *model;
    model_config_recurrent(&c, WORDS);
    c.d_model = 20;
    c.hidden_size = 34;
    c.encoder_layers = c.decoder_layers = layers;
    c.cell = cell;
    c.score = score;
    c.max_position_embeddings = 40;
    if (recurrent_new(&c, (network_purpose){0, ELEMENT_F32}, &model)) {
        fail_msg("%s", attn_last_error());
    }
    recurrent_initialize(model, 3);
    for (size_t i = 0; i < model->parameters.count; i++) { /* no weight without an effect */
        parameter p = model->parameters.list[i].where;
        for (int64_t j = 0; j < p.rows * p.columns; j++) {
            parameter_values(&model->parameters, p)[j] += 0.2f * random_normal(9 + i, (uint64_t)j);
        }
    }
    parameter_values(&model->parameters, model->logits_bias)[c.eos_token_id] = 1.5f;
    return model;
}

static searcher *searcher_of(recurrent *model) {
    searcher *s;
    const network n = network_of(&recurrent_kind, model);
    const translator from = translator_of(&n);
    if (searcher_new(&from, PRODUCT_F32, &s)) {
        fail_msg("%s", attn_last_error());
    }
    return s;
}

typedef struct sources {
    int32_t ids[SENTENCES * (LONGEST + 1)];
    size_t offsets[SENTENCES + 1];
} sources;

static void fill_sources(sources *s) {
    s->offsets[0] = 0;
    for (size_t i = 0; i < SENTENCES; i++) {
        uint64_t key = random_key(77, i, 0);
        size_t at = s->offsets[i], count = 1 + random_below(key, 100, LONGEST);
        for (size_t j = 0; j < count; j++) {
            s->ids[at++] = 1 + (int32_t)random_below(key, j, WORDS - 2);
        }
        s->ids[at++] = 0;
        s->offsets[i + 1] = at;
    }
}

static const search_options *options_of(int beam) {
    static search_options o;
    o = (search_options){.beam = beam, .length_penalty = 1, .max_length = 20, .batch_tokens = 64};
    return &o;
}

static void search_all(searcher *s, const sources *from, int beam, hypothesis_list *lists) {
    if (search(s, from->ids, from->offsets, SENTENCES, options_of(beam), lists)) {
        fail_msg("%s", attn_last_error());
    }
}

/* Of the whole target in one pass of the decoder, as training sees it. */
static double log_probability(recurrent *model, tape *t, const int32_t *source, size_t count, const hypothesis *h) {
    int32_t inputs[64], labels[64], source_offsets[] = {0, (int32_t)count}, target_offsets[] = {0, h->count + 1};
    inputs[0] = model->config.decoder_start_token_id;
    for (int i = 0; i <= h->count; i++) {
        labels[i] = i < h->count ? h->ids[i] : model->config.eos_token_id;
        inputs[i + 1] = labels[i];
    }
    const batch b = {.sequences = 1, .source = source, .source_offsets = source_offsets, .target_input = inputs,
                     .labels = labels, .target_offsets = target_offsets};
    loss_result result;
    tape_start(t, 0, 0, 0);
    assert_int_equal(recurrent_loss(t, model, &b, 0, 1, &result), ATTN_OK);
    return result.likelihood;
}

static void what_is_found_has_the_probability_of_the_whole(void **state) {
    (void)state;
    sources from;
    fill_sources(&from);
    for (int kind = 0; kind < 6; kind++) {
        recurrent *model = random_model((cell_kind)(kind / 3), (score_kind)(kind % 3), 1 + kind % 2);
        searcher *s = searcher_of(model);
        hypothesis_list lists[SENTENCES];
        tape t;
        int words = 0;
        assert_int_equal(tape_open(&t, &model->parameters), ATTN_OK);
        for (int beam = 1; beam <= 5; beam += 4) {
            search_all(s, &from, beam, lists);
            for (size_t i = 0; i < SENTENCES; i++) {
                for (int k = 0; k < lists[i].count; k++) {
                    const hypothesis *h = &lists[i].items[k];
                    double whole = log_probability(model, &t, from.ids + from.offsets[i], from.offsets[i + 1] - from.offsets[i], h);
                    if (!(fabs(whole - h->log_probability) < 1e-4)) {
                        fail_msg("kind %d, sentence %zu, rank %d: %.7f in the search, %.7f at once", kind, i, k,
                                 h->log_probability, whole);
                    }
                    words += h->count;
                }
                hypothesis_list_release(&lists[i]);
            }
        }
        assert_true(words > 100); /* not only empty ones */
        tape_close(&t);
        searcher_free(s);
        recurrent_free(model);
    }
}

static void results_have_the_same_bits_alone_and_with_any_threads(void **state) {
    (void)state;
    sources from;
    fill_sources(&from);
    for (int kind = 0; kind < 6; kind++) {
        recurrent *model = random_model((cell_kind)(kind / 3), (score_kind)(kind % 3), 2);
        searcher *s = searcher_of(model);
        hypothesis_list first[SENTENCES], other[SENTENCES];
        omp_set_num_threads(1);
        search_all(s, &from, 4, first);
        omp_set_num_threads(3);
        search_all(s, &from, 4, other);
        for (size_t i = 0; i < SENTENCES; i++) {
            const size_t offsets[] = {0, from.offsets[i + 1] - from.offsets[i]};
            hypothesis_list alone;
            assert_int_equal(search(s, from.ids + from.offsets[i], offsets, 1, options_of(4), &alone), ATTN_OK);
            const hypothesis *a = &first[i].items[0], *b = &other[i].items[0], *c = &alone.items[0];
            assert_int_equal(a->count, b->count);
            assert_int_equal(a->count, c->count);
            assert_memory_equal(a->ids, b->ids, (size_t)a->count * sizeof *a->ids);
            assert_memory_equal(a->ids, c->ids, (size_t)a->count * sizeof *a->ids);
            assert_memory_equal(&a->log_probability, &b->log_probability, sizeof a->log_probability);
            assert_memory_equal(&a->log_probability, &c->log_probability, sizeof a->log_probability);
            hypothesis_list_release(&first[i]);
            hypothesis_list_release(&other[i]);
            hypothesis_list_release(&alone);
        }
        searcher_free(s);
        recurrent_free(model);
    }
    omp_set_num_threads(2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_found_has_the_probability_of_the_whole),
        cmocka_unit_test(results_have_the_same_bits_alone_and_with_any_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
