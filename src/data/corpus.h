/* Corpus: parallel text as ids, ready to train on. Each side is one array of ids
 * and its offsets; sequence i is ids[offsets[i]] .. ids[offsets[i + 1] - 1], its
 * last id </s>. The order is the text's, and the same for any number of threads. */
#ifndef ATTN_DATA_CORPUS_H
#define ATTN_DATA_CORPUS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "data/features.h"
#include "data/text.h"
#include "data/tokenizer.h"

typedef struct corpus_options {
    size_t max_source_tokens; /* 256, </s> included; longer pairs are skipped and counted */
    size_t max_target_tokens; /* 256 */
} corpus_options;

void corpus_options_defaults(corpus_options *options);

typedef struct corpus {
    size_t pairs;
    int32_t *source;          /* [source_offsets[pairs]]; NULL where the source is features */
    const feature_source *features; /* NULL where the source is ids */
    size_t *source_offsets;   /* [pairs + 1] */
    int32_t *target;          /* [target_offsets[pairs]] */
    size_t *target_offsets;   /* [pairs + 1] */
    size_t block;             /* 0; else the target is one stream of `stream_tokens` ids, foretold in
                               * `pairs` blocks of at most so many, the first id not; offsets are
                               * those of an order that is not shuffled */
    size_t stream_tokens;
    uint32_t *line;           /* [pairs]: index of the pair in the parallel text */
    size_t skipped_long;      /* pairs dropped for a side above the limit */
    size_t unknown_source;    /* how many ids are <unk> */
    size_t unknown_target;
    int32_t eos, pad;         /* the tokenizer's */
} corpus;

/* Encodes every pair, in parallel. Fails when no pair is left. */
attn_status corpus_encode(const parallel_text *text, const tokenizer *t, const corpus_options *options,
                          corpus *encoded);

/* Makes a corpus of a stream of at least 2 ids, taken over also on failure; no source. */
attn_status corpus_stream(int32_t *ids, size_t count, size_t block, corpus *made);

void corpus_release(corpus *c);

#endif
