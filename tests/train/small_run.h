/* A training run small enough to be done many times: a made-up language of 300 pairs in a
 * temporary folder, and a model of one layer. */
#ifndef ATTN_TESTS_SMALL_RUN_H
#define ATTN_TESTS_SMALL_RUN_H

#include <stdlib.h>
#include <unistd.h>

#include <attn/attn.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"

static char work[64];

/* "a3 a1 a7" -> "b7 b1 b3": reversal with other words, 300 pairs. */
static inline void write_corpus(const char *path) {
    file_writer *writer;
    assert_int_equal(file_writer_open(path, &writer), ATTN_OK);
    for (int i = 0; i < 300; i++) {
        uint64_t key = random_key(7, (uint64_t)i, 0);
        int length = 1 + (int)random_below(key, 0, 6), words[8];
        for (int j = 0; j < length; j++) {
            words[j] = (int)random_below(key, (uint64_t)j + 1, 9);
            assert_int_equal(file_writer_print(writer, "%sa%d", j ? " " : "", words[j]), ATTN_OK);
        }
        for (int j = length - 1; j >= 0; j--) {
            assert_int_equal(file_writer_print(writer, "%cb%d", j == length - 1 ? '\t' : ' ', words[j]), ATTN_OK);
        }
        assert_int_equal(file_writer_print(writer, "\n"), ATTN_OK);
    }
    assert_int_equal(file_writer_commit(writer), ATTN_OK);
}

static inline char *in_work(const char *name) {
    return file_join(work, name);
}

static inline int make_work(void **state) {
    (void)state;
    (void)snprintf(work, sizeof work, "/tmp/attn-train-XXXXXX");
    if (!mkdtemp(work)) {
        return -1;
    }
    char *path = in_work("corpus.tsv");
    write_corpus(path);
    memory_free(path);
    return 0;
}

static inline int remove_work(void **state) {
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", work);
    return system(command);
}

static inline attn_train_options small_run(const char *model) {
    attn_train_options o;
    attn_train_options_defaults(&o);
    o.corpus = in_work("corpus.tsv");
    o.model = in_work(model);
    o.tokenizer = ATTN_TOKENIZER_WHITESPACE;
    o.layers = 1;
    o.width = 32;
    o.heads = 2;
    o.feed_forward = 48;
    o.max_positions = 32;
    o.max_tokens = 32;
    o.attention_dropout = 0.1;
    o.rate = 0.01;
    o.warmup = 10;
    o.batch_tokens = 200;
    o.max_updates = 30;
    o.valid_share = 0.1;
    o.valid_bleu_lines = 0;
    return o;
}

static inline void free_run(attn_train_options *o) {
    memory_free((void *)(uintptr_t)o->corpus);
    memory_free((void *)(uintptr_t)o->model);
}

static inline void train_or_fail(const attn_train_options *o) {
    if (attn_train(o)) {
        fail_msg("%s", attn_last_error());
    }
}

static inline void assert_same_file(const char *model_a, const char *model_b, const char *name) {
    char a[256], b[256], *bytes_a, *bytes_b;
    size_t size_a, size_b;
    (void)snprintf(a, sizeof a, "%s/%s/%s", work, model_a, name);
    (void)snprintf(b, sizeof b, "%s/%s/%s", work, model_b, name);
    assert_int_equal(file_read(a, &bytes_a, &size_a), ATTN_OK);
    assert_int_equal(file_read(b, &bytes_b, &size_b), ATTN_OK);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(bytes_a, bytes_b, size_a);
    memory_free(bytes_a);
    memory_free(bytes_b);
}

#endif
