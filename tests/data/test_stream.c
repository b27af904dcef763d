/* A text as one stream of blocks, and the tokenizer of characters that it is made with. */
#include <string.h>

#include "test.h"

#include "base/memory.h"
#include "data/batch.h"
#include "data/plain_text.h"
#include "temporary.h"

enum { COUNT = 103, BLOCK = 8 };

static corpus numbered_stream(void) {
    corpus c;
    int32_t *ids = memory_allocate(COUNT, sizeof *ids);
    for (int i = 0; i < COUNT; i++) {
        ids[i] = i;
    }
    assert_int_equal(corpus_stream(ids, COUNT, BLOCK, &c), ATTN_OK);
    return c;
}

/* Marks what an epoch foretells; each id once, from the one before it, in short blocks. */
static void read_epoch(batcher *b, int seen[COUNT]) {
    batch next = {.last_of_epoch = false};
    memset(seen, 0, COUNT * sizeof *seen);
    while (!next.last_of_epoch) {
        assert_int_equal(batcher_next(b, &next), ATTN_OK);
        assert_true(next.tokens_target <= 20);
        for (size_t s = 0; s < next.sequences; s++) {
            assert_in_range(next.target_offsets[s + 1] - next.target_offsets[s], 1, BLOCK);
        }
        for (size_t i = 0; i < next.tokens_target; i++) {
            assert_int_equal(next.target_input[i] + 1, next.labels[i]);
            assert_int_equal(seen[next.labels[i]]++, 0);
        }
    }
}

static void a_shuffled_epoch_loses_less_than_a_block(void **state) {
    (void)state;
    corpus c = numbered_stream();
    batch_options options = {20, BATCH_COUNTS_TARGET, true, 5};
    batcher *b;
    int seen[COUNT], missing = 0, most = 0;
    assert_int_equal(batcher_new(&c, &options, &b), ATTN_OK);
    for (int epoch = 0; epoch < 20; epoch++) {
        read_epoch(b, seen);
        missing = 0;
        for (int i = 1; i < COUNT; i++) {
            missing += !seen[i];
        }
        assert_in_range(missing, 0, BLOCK - 1);
        most = missing > most ? missing : most;
    }
    assert_true(most > 0); /* blocks begin at other places in each epoch */
    batcher_free(b);
    corpus_release(&c);
}

static void an_epoch_in_order_foretells_all(void **state) {
    (void)state;
    corpus c = numbered_stream();
    batch_options options = {20, BATCH_COUNTS_TARGET, false, 5};
    batcher *b;
    int seen[COUNT];
    assert_int_equal(batcher_new(&c, &options, &b), ATTN_OK);
    read_epoch(b, seen);
    for (int i = 1; i < COUNT; i++) {
        assert_int_equal(seen[i], 1);
    }
    batcher_free(b);
    corpus_release(&c);
}

static void a_stream_goes_on_where_it_was(void **state) {
    (void)state;
    corpus c = numbered_stream();
    batch_options options = {20, BATCH_COUNTS_TARGET, true, 6};
    batcher *a, *b;
    batch x, y;
    assert_int_equal(batcher_new(&c, &options, &a), ATTN_OK);
    assert_int_equal(batcher_new(&c, &options, &b), ATTN_OK);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(batcher_seek(b, batcher_position(a)), ATTN_OK);
        assert_int_equal(batcher_next(a, &x), ATTN_OK);
        assert_int_equal(batcher_next(b, &y), ATTN_OK);
        assert_int_equal(x.tokens_target, y.tokens_target);
        assert_memory_equal(x.labels, y.labels, x.tokens_target * sizeof *x.labels);
    }
    batcher_free(a);
    batcher_free(b);
    corpus_release(&c);
}

static void one_token_is_no_stream(void **state) {
    (void)state;
    corpus c;
    assert_int_equal(corpus_stream(memory_allocate(1, sizeof(int32_t)), 1, BLOCK, &c), ATTN_ERROR_FORMAT);
}

static const char TEXT[] = "To be,\nor n\xC3\xB6t\n\n\"\xE4\xBD\xA0\\\t";

static void characters_come_back_as_they_were(void **state) {
    (void)state;
    char folder[256], *text;
    const text_line line = {TEXT, sizeof TEXT - 1};
    tokenizer_options options;
    tokenizer *made, *loaded;
    id_buffer ids = {0}, again = {0};
    tokenizer_options_defaults(&options);
    options.kind = TOKENIZER_CHARACTERS;
    assert_int_equal(temporary_make(folder), 0);
    assert_int_equal(tokenizer_train(&line, 1, NULL, 0, &options, &made), ATTN_OK);
    assert_int_equal(tokenizer_save(made, folder), ATTN_OK);
    if (tokenizer_load(folder, &loaded)) {
        fail_msg("%s", attn_last_error());
    }
    assert_int_equal(tokenizer_get_kind(loaded), TOKENIZER_CHARACTERS);
    assert_true(tokenizer_takes_lines(loaded));
    assert_int_equal(plain_text_encode(made, line, &ids), ATTN_OK);
    assert_int_equal(plain_text_encode(loaded, line, &again), ATTN_OK);
    assert_int_equal(ids.count, 19);
    assert_int_equal(again.count, 19);
    assert_memory_equal(ids.ids, again.ids, 19 * sizeof *ids.ids);
    assert_int_equal(tokenizer_decode(loaded, ids.ids, ids.count, &text), ATTN_OK);
    assert_string_equal(text, TEXT);
    ids.count = 0;
    assert_int_equal(plain_text_encode(loaded, (text_line){"Tz", 2}, &ids), ATTN_OK);
    assert_int_equal(ids.count, 2);
    assert_int_equal(ids.ids[1], tokenizer_unk(loaded));
    memory_free(text);
    id_buffer_release(&ids);
    id_buffer_release(&again);
    tokenizer_free(made);
    tokenizer_free(loaded);
    temporary_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shuffled_epoch_loses_less_than_a_block), cmocka_unit_test(an_epoch_in_order_foretells_all),
        cmocka_unit_test(a_stream_goes_on_where_it_was), cmocka_unit_test(one_token_is_no_stream),
        cmocka_unit_test(characters_come_back_as_they_were)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
