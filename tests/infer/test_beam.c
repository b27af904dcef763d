/* Beam search without a model: a made-up distribution over four tokens, searched by
 * beams and by looking at every sequence. */
#include <math.h>
#include <stdlib.h>

#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "infer/beam.h"
#include "infer/candidates.h"

enum { TOKENS = 4, EOS = 0, LONGEST = 4, MOST = 64 };

/* log p(token | prefix), from a hash of the prefix. */
static void distribution(uint64_t seed, const int32_t *prefix, int length, float logits[TOKENS]) {
    uint64_t key = random_key(seed, (uint64_t)length, 1);
    for (int i = 0; i < length; i++) {
        key = random_key(key, (uint64_t)prefix[i], 2);
    }
    for (int i = 0; i < TOKENS; i++) {
        logits[i] = 1.5f * random_normal(key, (uint64_t)i);
    }
}

typedef struct all_sequences {
    hypothesis items[256];
    int count;
} all_sequences;

static void collect(all_sequences *all, uint64_t seed, int32_t *prefix, int length, double log_p, double penalty) {
    float logits[TOKENS];
    distribution(seed, prefix, length, logits);
    rows_select()->log_softmax(logits, TOKENS);
    double ended = log_p + (double)logits[EOS];
    hypothesis *h = &all->items[all->count++];
    *h = (hypothesis){.ids = memory_allocate((size_t)length, sizeof(int32_t)), .count = length, .log_probability = ended,
                      .score = ended / pow(length + 1, penalty)};
    memcpy(h->ids, prefix, (size_t)length * sizeof *prefix);
    for (int32_t token = 1; token < TOKENS && length + 1 < LONGEST; token++) {
        prefix[length] = token;
        collect(all, seed, prefix, length + 1, log_p + (double)logits[token], penalty);
    }
}

static int better_first(const void *a, const void *b) {
    const hypothesis *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score;
}

static void search_beam(uint64_t seed, int size, double penalty, beam *b) {
    const search_options options = {.beam = size, .length_penalty = penalty, .batch_tokens = 1};
    candidate list[2 * MOST * TOKENS];
    assert_int_equal(beam_open(b, &options, NULL, NULL, 0, LONGEST, EOS), ATTN_OK);
    while (!b->done) {
        int count = 0;
        for (int row = 0; row < b->alive; row++) {
            float logits[TOKENS];
            distribution(seed, b->ids + row * LONGEST, b->length, logits);
            double base = b->length ? b->log_probability[row] : 0;
            if (beam_must_end(b)) {
                list[count++] = candidate_of_token(rows_select(), logits, TOKENS, EOS, base, row);
            } else {
                count += candidates_of_row(rows_select(), logits, TOKENS, -1, -1, base, row, beam_candidates(b), list + count);
            }
        }
        candidates_sort(list, count);
        assert_int_equal(beam_advance(b, list, count < beam_candidates(b) ? count : beam_candidates(b)), ATTN_OK);
    }
}

static void a_beam_wide_enough_finds_what_looking_at_everything_finds(void **state) {
    (void)state;
    const double penalties[] = {0, 0.6, 1, 2};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        for (size_t p = 0; p < 4; p++) {
            all_sequences all = {.count = 0};
            int32_t prefix[LONGEST];
            beam b;
            collect(&all, seed, prefix, 0, 0, penalties[p]);
            qsort(all.items, (size_t)all.count, sizeof *all.items, better_first);
            search_beam(seed, MOST, penalties[p], &b);
            assert_int_equal(all.count, 1 + 3 + 9 + 27);
            assert_int_equal(b.finished.count, all.count);
            for (int i = 0; i < all.count; i++) {
                const hypothesis *found = &b.finished.items[i], *expected = &all.items[i];
                assert_int_equal(found->count, expected->count);
                assert_memory_equal(found->ids, expected->ids, (size_t)found->count * sizeof(int32_t));
                assert_true(fabs(found->log_probability - expected->log_probability) < 1e-9);
                assert_true(fabs(found->score - expected->score) < 1e-9);
                memory_free(expected->ids);
            }
            beam_close(&b);
        }
    }
}

static void a_narrow_beam_keeps_so_many_and_its_best_is_no_better_than_the_best(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        beam wide, narrow;
        search_beam(seed, MOST, 1, &wide);
        for (int size = 1; size <= 4; size++) {
            search_beam(seed, size, 1, &narrow);
            assert_in_range(narrow.finished.count, 1, size);
            assert_true(narrow.finished.items[0].score <= wide.finished.items[0].score);
            for (int i = 1; i < narrow.finished.count; i++) {
                assert_true(narrow.finished.items[i].score <= narrow.finished.items[i - 1].score);
            }
            beam_close(&narrow);
        }
        beam_close(&wide);
    }
}

static void a_beam_of_one_takes_the_likeliest_token_each_time(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        int32_t ids[LONGEST];
        int length = 0;
        for (; length + 1 < LONGEST; length++) {
            float logits[TOKENS];
            int best = 0;
            distribution(seed, ids, length, logits);
            for (int i = 1; i < TOKENS; i++) {
                best = logits[i] > logits[best] ? i : best;
            }
            if (best == EOS) {
                break;
            }
            ids[length] = best;
        }
        beam b;
        search_beam(seed, 1, 1, &b);
        assert_int_equal(b.finished.count, 1);
        assert_int_equal(b.finished.items[0].count, length);
        assert_memory_equal(b.finished.items[0].ids, ids, (size_t)length * sizeof *ids);
        beam_close(&b);
    }
}

static void the_likeliest_tokens_are_found_in_order_without_the_forbidden_one(void **state) {
    (void)state;
    enum { VOCABULARY = 1003, WANTED = 10 };
    for (uint64_t seed = 1; seed <= 20; seed++) {
        float logits[VOCABULARY], copy[VOCABULARY];
        candidate found[WANTED];
        for (int i = 0; i < VOCABULARY; i++) { /* few values: many ties */
            copy[i] = logits[i] = (float)random_below(seed, (uint64_t)i, 12);
        }
        rows_select()->log_softmax(copy, VOCABULARY);
        int32_t never = (int32_t)random_below(seed, VOCABULARY, VOCABULARY);
        copy[never] = -INFINITY;
        assert_int_equal(candidates_of_row(rows_select(), logits, VOCABULARY, never, -1, -2.5, 3, WANTED, found), WANTED);
        for (int i = 0; i < WANTED; i++) {
            int best = 0;
            for (int j = 1; j < VOCABULARY; j++) {
                best = copy[j] > copy[best] ? j : best; /* the lowest among equals */
            }
            assert_int_equal(found[i].token, best);
            assert_int_equal(found[i].row, 3);
            assert_true(found[i].log_probability == -2.5 + (double)copy[best]);
            copy[best] = -INFINITY;
        }
    }
}

static void logits_that_are_not_numbers_are_an_error_not_a_translation(void **state) {
    (void)state;
    float logits[TOKENS] = {NAN, NAN, NAN, NAN};
    candidate list[8];
    beam b;
    const search_options options = {.beam = 2, .length_penalty = 1, .batch_tokens = 1};
    assert_int_equal(beam_open(&b, &options, NULL, NULL, 0, LONGEST, EOS), ATTN_OK);
    int count = candidates_of_row(rows_select(), logits, TOKENS, -1, -1, 0, 0, 4, list);
    assert_int_equal(count, 0);
    assert_int_equal(beam_advance(&b, list, count), ATTN_ERROR_NUMERIC);
    assert_sentence_has("not a finite number");
    beam_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_beam_wide_enough_finds_what_looking_at_everything_finds),
        cmocka_unit_test(a_narrow_beam_keeps_so_many_and_its_best_is_no_better_than_the_best),
        cmocka_unit_test(a_beam_of_one_takes_the_likeliest_token_each_time),
        cmocka_unit_test(the_likeliest_tokens_are_found_in_order_without_the_forbidden_one),
        cmocka_unit_test(logits_that_are_not_numbers_are_an_error_not_a_translation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
