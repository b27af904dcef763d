/* Encoded corpora and packed batches. */
#include "test.h"

#include "base/memory.h"
#include "base/threads.h"
#include "data/batch.h"
#include "data/corpus.h"
#include "data/sample_text.h"

static parallel_text text;
static tokenizer *words;

static int make_words(void **state) {
    (void)state;
    text = sample_text(3000);
    tokenizer_options options;
    tokenizer_options_defaults(&options);
    options.kind = TOKENIZER_WHITESPACE;
    return tokenizer_train(text.source, text.pairs, text.target, text.pairs, &options, &words);
}

static int free_words(void **state) {
    (void)state;
    tokenizer_free(words);
    sample_text_free(&text);
    return 0;
}

static corpus encode(size_t longest) {
    corpus_options options;
    corpus_options_defaults(&options);
    options.max_source_tokens = options.max_target_tokens = longest;
    corpus c;
    if (corpus_encode(&text, words, &options, &c))
        fail_msg("%s", attn_last_error());
    return c;
}

static batcher *batches_of(const corpus *c, size_t tokens, bool shuffle, uint64_t seed) {
    batch_options options;
    batch_options_defaults(&options);
    options.target_tokens = tokens;
    options.shuffle = shuffle;
    options.seed = seed;
    batcher *b = NULL;
    if (batcher_new(c, &options, &b))
        fail_msg("%s", attn_last_error());
    return b;
}

/* --- corpus -------------------------------------------------------------------- */

static void each_sequence_is_its_lines_ids_and_end(void **state) {
    (void)state;
    corpus c = encode(256);
    assert_int_equal(c.pairs, text.pairs);
    assert_int_equal(c.skipped_long, 0);
    for (size_t i = 0; i < c.pairs; i++) {
        id_buffer ids[2] = {{0}, {0}};
        assert_int_equal(c.line[i], i);
        assert_int_equal(tokenizer_encode(words, TOKENIZER_SOURCE, text.source[i].bytes, text.source[i].length, &ids[0]), 0);
        assert_int_equal(tokenizer_encode(words, TOKENIZER_TARGET, text.target[i].bytes, text.target[i].length, &ids[1]), 0);
        assert_int_equal(c.source_offsets[i + 1] - c.source_offsets[i], ids[0].count + 1);
        assert_int_equal(c.target_offsets[i + 1] - c.target_offsets[i], ids[1].count + 1);
        assert_memory_equal(c.source + c.source_offsets[i], ids[0].ids, ids[0].count * sizeof(int32_t));
        assert_memory_equal(c.target + c.target_offsets[i], ids[1].ids, ids[1].count * sizeof(int32_t));
        assert_int_equal(c.source[c.source_offsets[i + 1] - 1], 0);
        assert_int_equal(c.target[c.target_offsets[i + 1] - 1], 0);
        id_buffer_release(&ids[0]);
        id_buffer_release(&ids[1]);
    }
    corpus_release(&c);
}

static void pairs_above_the_limit_are_left_out_and_counted(void **state) {
    (void)state;
    corpus all = encode(256), c = encode(6);
    size_t fitting = 0;
    for (size_t i = 0; i < all.pairs; i++) {
        if (all.source_offsets[i + 1] - all.source_offsets[i] > 6 || all.target_offsets[i + 1] - all.target_offsets[i] > 6)
            continue;
        assert_int_equal(c.line[fitting], i);
        assert_int_equal(c.target_offsets[fitting + 1] - c.target_offsets[fitting],
                         all.target_offsets[i + 1] - all.target_offsets[i]);
        assert_memory_equal(c.target + c.target_offsets[fitting], all.target + all.target_offsets[i],
                            (all.target_offsets[i + 1] - all.target_offsets[i]) * sizeof(int32_t));
        fitting++;
    }
    assert_true(fitting > 100 && fitting < all.pairs - 100);
    assert_int_equal(c.pairs, fitting);
    assert_int_equal(c.skipped_long, all.pairs - fitting);
    corpus_release(&all);
    corpus_release(&c);
}

static void encoding_does_not_depend_on_the_number_of_threads(void **state) {
    (void)state;
    int threads = threads_get();
    threads_set(1);
    corpus a = encode(7);
    threads_set(4);
    corpus b = encode(7);
    threads_set(threads);
    assert_int_equal(a.pairs, b.pairs);
    assert_memory_equal(a.line, b.line, a.pairs * sizeof *a.line);
    assert_memory_equal(a.source_offsets, b.source_offsets, (a.pairs + 1) * sizeof *a.source_offsets);
    assert_memory_equal(a.target_offsets, b.target_offsets, (a.pairs + 1) * sizeof *a.target_offsets);
    assert_memory_equal(a.source, b.source, a.source_offsets[a.pairs] * sizeof *a.source);
    assert_memory_equal(a.target, b.target, a.target_offsets[a.pairs] * sizeof *a.target);
    corpus_release(&a);
    corpus_release(&b);
}

static void unknown_words_are_counted(void **state) {
    (void)state;
    text_line source[1] = {{"??? ba. ???", 11}}, target[1] = {{"???", 3}};
    parallel_text one = {.source = source, .target = target, .pairs = 1, .lines = 1};
    corpus_options options;
    corpus_options_defaults(&options);
    corpus c;
    assert_int_equal(corpus_encode(&one, words, &options, &c), ATTN_OK);
    assert_int_equal(c.unknown_source, 2);
    assert_int_equal(c.unknown_target, 1);
    corpus_release(&c);
}

static void corpus_without_a_fitting_pair_is_refused(void **state) {
    (void)state;
    corpus_options options = {.max_source_tokens = 2, .max_target_tokens = 2};
    text_line lines[1] = {{"a b c", 5}};
    parallel_text one = {.source = lines, .target = lines, .pairs = 1, .lines = 1};
    corpus c;
    assert_int_equal(corpus_encode(&one, words, &options, &c), ATTN_ERROR_FORMAT);
    assert_sentence_has("no pair is left");
    options.max_source_tokens = 1;
    assert_int_equal(corpus_encode(&one, words, &options, &c), ATTN_ERROR_ARGUMENT);
}

static void failure_in_a_thread_reaches_the_caller(void **state) {
    (void)state;
    text_line lines[1] = {{"a \xFF", 3}};
    parallel_text one = {.source = lines, .target = lines, .pairs = 1, .lines = 1};
    corpus_options options;
    corpus_options_defaults(&options);
    corpus c;
    assert_int_equal(corpus_encode(&one, words, &options, &c), ATTN_ERROR_FORMAT);
    assert_sentence_has("not valid UTF-8");
}

/* --- batches ------------------------------------------------------------------- */

static void an_epoch_holds_every_pair_once_within_the_token_limit(void **state) {
    (void)state;
    corpus c = encode(256);
    batcher *b = batches_of(&c, 500, true, 3);
    unsigned char *seen = calloc(c.pairs, 1);
    assert_non_null(seen);
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        memset(seen, 0, c.pairs);
        size_t pairs = 0, batches = 0, expected;
        assert_int_equal(batcher_count(b, epoch, &expected), ATTN_OK);
        for (bool last = false; !last; batches++) {
            batch x;
            assert_int_equal(batcher_next(b, &x), ATTN_OK);
            assert_int_equal(x.epoch, epoch);
            assert_true(x.tokens_target <= 500 && x.sequences > 0);
            for (size_t i = 0; i < x.sequences; i++)
                assert_int_equal(seen[x.pair[i]]++, 0);
            pairs += x.sequences;
            last = x.last_of_epoch;
        }
        assert_int_equal(pairs, c.pairs);
        assert_int_equal(batches, expected);
    }
    free(seen);
    batcher_free(b);
    corpus_release(&c);
}

static void a_batch_packs_its_pairs_and_shifts_the_target(void **state) {
    (void)state;
    corpus c = encode(256);
    batcher *b = batches_of(&c, 300, true, 4);
    for (int k = 0; k < 20; k++) {
        batch x;
        assert_int_equal(batcher_next(b, &x), ATTN_OK);
        assert_int_equal(x.source_offsets[0], 0);
        assert_int_equal(x.target_offsets[0], 0);
        assert_int_equal(x.source_offsets[x.sequences], x.tokens_source);
        assert_int_equal(x.target_offsets[x.sequences], x.tokens_target);
        for (size_t i = 0; i < x.sequences; i++) {
            uint32_t pair = x.pair[i];
            size_t source = c.source_offsets[pair + 1] - c.source_offsets[pair];
            size_t target = c.target_offsets[pair + 1] - c.target_offsets[pair];
            const int32_t *labels = x.labels + x.target_offsets[i], *input = x.target_input + x.target_offsets[i];
            assert_int_equal(x.source_offsets[i + 1] - x.source_offsets[i], source);
            assert_int_equal(x.target_offsets[i + 1] - x.target_offsets[i], target);
            assert_memory_equal(x.source + x.source_offsets[i], c.source + c.source_offsets[pair], source * sizeof(int32_t));
            assert_memory_equal(labels, c.target + c.target_offsets[pair], target * sizeof(int32_t));
            assert_int_equal(input[0], c.pad);
            assert_memory_equal(input + 1, labels, (target - 1) * sizeof(int32_t));
        }
    }
    batcher_free(b);
    corpus_release(&c);
}

static void orders_differ_by_seed_and_epoch_and_by_nothing_else(void **state) {
    (void)state;
    corpus c = encode(256);
    uint32_t first[4][20];
    for (size_t k = 0; k < 4; k++) { /* seed 1, seed 1 again, seed 2, seed 1 in epoch 1 */
        batcher *b = batches_of(&c, 4096, true, k == 2 ? 2 : 1);
        batch x;
        if (k == 3)
            assert_int_equal(batcher_seek(b, (batch_position){1, 0}), ATTN_OK);
        assert_int_equal(batcher_next(b, &x), ATTN_OK);
        assert_true(x.sequences >= 20);
        memcpy(first[k], x.pair, sizeof first[k]);
        batcher_free(b);
    }
    assert_memory_equal(first[0], first[1], sizeof first[0]);
    assert_memory_not_equal(first[0], first[2], sizeof first[0]);
    assert_memory_not_equal(first[0], first[3], sizeof first[0]);
    corpus_release(&c);
}

static void without_shuffling_the_order_is_the_corpus(void **state) {
    (void)state;
    corpus c = encode(256);
    batcher *b = batches_of(&c, 100, false, 1);
    uint32_t next = 0;
    for (bool last = false; !last;) {
        batch x;
        assert_int_equal(batcher_next(b, &x), ATTN_OK);
        for (size_t i = 0; i < x.sequences; i++)
            assert_int_equal(x.pair[i], next++);
        last = x.last_of_epoch;
    }
    batcher_free(b);
    corpus_release(&c);
}

static void a_run_that_seeks_goes_on_like_one_that_never_stopped(void **state) {
    (void)state;
    corpus c = encode(256);
    batcher *a = batches_of(&c, 400, true, 9), *b = batches_of(&c, 400, true, 9);
    size_t batches;
    assert_int_equal(batcher_count(a, 0, &batches), ATTN_OK);
    for (size_t stop = 0; stop < batches + 3; stop++) {
        batch x, y;
        assert_int_equal(batcher_seek(b, batcher_position(a)), ATTN_OK);
        assert_int_equal(batcher_next(a, &x), ATTN_OK);
        assert_int_equal(batcher_next(b, &y), ATTN_OK);
        assert_int_equal(x.epoch, y.epoch);
        assert_int_equal(x.sequences, y.sequences);
        assert_int_equal(x.last_of_epoch, y.last_of_epoch);
        assert_memory_equal(x.pair, y.pair, x.sequences * sizeof *x.pair);
        assert_memory_equal(x.labels, y.labels, x.tokens_target * sizeof *x.labels);
    }
    batch_position outside = {0, c.pairs};
    assert_int_equal(batcher_seek(b, outside), ATTN_ERROR_ARGUMENT);
    batcher_free(a);
    batcher_free(b);
    corpus_release(&c);
}

static void a_pair_longer_than_the_limit_is_alone_in_its_batch(void **state) {
    (void)state;
    corpus c = encode(256);
    batcher *b = batches_of(&c, 1, true, 1);
    size_t batches;
    batch x;
    assert_int_equal(batcher_count(b, 0, &batches), ATTN_OK);
    assert_int_equal(batches, c.pairs);
    assert_int_equal(batcher_next(b, &x), ATTN_OK);
    assert_int_equal(x.sequences, 1);
    batcher_free(b);
    batch_options options;
    batch_options_defaults(&options);
    options.target_tokens = 0;
    assert_int_equal(batcher_new(&c, &options, &b), ATTN_ERROR_ARGUMENT);
    corpus_release(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sequence_is_its_lines_ids_and_end),
        cmocka_unit_test(pairs_above_the_limit_are_left_out_and_counted),
        cmocka_unit_test(encoding_does_not_depend_on_the_number_of_threads),
        cmocka_unit_test(unknown_words_are_counted),
        cmocka_unit_test(corpus_without_a_fitting_pair_is_refused),
        cmocka_unit_test(failure_in_a_thread_reaches_the_caller),
        cmocka_unit_test(an_epoch_holds_every_pair_once_within_the_token_limit),
        cmocka_unit_test(a_batch_packs_its_pairs_and_shifts_the_target),
        cmocka_unit_test(orders_differ_by_seed_and_epoch_and_by_nothing_else),
        cmocka_unit_test(without_shuffling_the_order_is_the_corpus),
        cmocka_unit_test(a_run_that_seeks_goes_on_like_one_that_never_stopped),
        cmocka_unit_test(a_pair_longer_than_the_limit_is_alone_in_its_batch),
    };
    return cmocka_run_group_tests(tests, make_words, free_words);
}
