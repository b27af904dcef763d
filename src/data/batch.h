/* Packed batches: consecutive pairs of an epoch's order, as many as fit into a
 * number of target tokens, without padding. An epoch's order is a permutation
 * that depends on (seed, epoch) alone, so (epoch, pair) is the whole state: a run
 * that seeks there goes on exactly as one that never stopped. A batch never
 * reaches over the end of an epoch. */
#ifndef ATTN_DATA_BATCH_H
#define ATTN_DATA_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "data/corpus.h"

/* Sequence i of the source is source[source_offsets[i]] up to, not including,
 * source[source_offsets[i + 1]]; the target's likewise. */
typedef struct batch {
    size_t sequences;
    size_t tokens_source;
    size_t tokens_target;
    const int32_t *source;         /* [tokens_source], each sequence ends with </s>; or NULL: */
    const float *features;         /* [tokens_source, feature_width] of a corpus of features */
    size_t feature_width;
    const int32_t *source_offsets; /* [sequences + 1] */
    const int32_t *target_input;   /* [tokens_target], <pad> and then labels shifted by one */
    const int32_t *labels;         /* [tokens_target], each sequence ends with </s> */
    const int32_t *target_offsets; /* [sequences + 1] */
    const uint32_t *pair;          /* [sequences], index in the corpus */
    uint64_t epoch;                /* the epoch it belongs to */
    bool last_of_epoch;
} batch;

/* Which tokens fill a batch. */
typedef enum batch_counted { BATCH_COUNTS_TARGET, BATCH_COUNTS_SOURCE } batch_counted;

typedef struct batch_options {
    size_t target_tokens; /* 4096; a batch has at most so many (a longer pair fills one alone) */
    batch_counted counts; /* BATCH_COUNTS_TARGET; or `target_tokens` are of the source */
    bool shuffle;         /* true; false: the corpus's order, for validation */
    uint64_t seed;        /* 1 */
} batch_options;

void batch_options_defaults(batch_options *options);

/* Where the next batch starts. */
typedef struct batch_position {
    uint64_t epoch; /* from 0 */
    uint64_t pair;  /* index in the epoch's order */
} batch_position;

typedef struct batcher batcher;

/* The corpus must outlive the batcher. Starts at (0, 0). */
attn_status batcher_new(const corpus *c, const batch_options *options, batcher **made);
void batcher_free(batcher *b); /* NULL is allowed */

/* Fills *next; its arrays are the batcher's and valid until the next call. After
 * an epoch's last batch the next epoch begins. */
attn_status batcher_next(batcher *b, batch *next);

batch_position batcher_position(const batcher *b);
attn_status batcher_seek(batcher *b, batch_position position);

/* The batches that an epoch of this order has. */
attn_status batcher_count(batcher *b, uint64_t epoch, size_t *batches);


#endif
