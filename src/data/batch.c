#include "data/batch.h"

#include <string.h>

#include "base/memory.h"
#include "base/random.h"

struct batcher {
    const corpus *c;
    batch_options options;
    batch_position position;
    size_t phase;    /* length of a stream's first block, of position.epoch */
    uint32_t *order; /* [pairs], of position.epoch */
    size_t sequence_capacity, source_capacity, target_input_capacity, label_capacity;
    size_t source_offset_capacity, target_offset_capacity, feature_capacity;
    float *features;
    uint32_t *pair;
    int32_t *source, *target_input, *labels, *source_offsets, *target_offsets;
};

void batch_options_defaults(batch_options *options) {
    *options = (batch_options){.target_tokens = 4096, .shuffle = true, .seed = 1};
}

/* The epoch's order: Fisher and Yates's shuffle (Knuth, volume 2, algorithm P)
 * with numbers from (seed, epoch) and the element's index. */
static void make_order(batcher *b) {
    size_t count = b->c->pairs;
    for (size_t i = 0; i < count; i++)
        b->order[i] = (uint32_t)i;
    b->phase = b->c->block;
    if (!b->options.shuffle)
        return;
    if (b->c->block)
        b->phase = 1 + random_below(random_key(b->options.seed, b->position.epoch, 0x70686173u /* "phas" */), 0,
                                    (uint32_t)b->c->block);
    uint64_t key = random_key(b->options.seed, b->position.epoch, 0x73687566u /* this use of the seed */);
    for (size_t i = count; i-- > 1;) {
        size_t other = random_below(key, i, (uint32_t)i + 1);
        uint32_t kept = b->order[i];
        b->order[i] = b->order[other];
        b->order[other] = kept;
    }
}

attn_status batcher_new(const corpus *c, const batch_options *options, batcher **made) {
    *made = NULL;
    if (options->target_tokens < 1 || options->target_tokens > 1u << 30)
        return fail(ATTN_ERROR_ARGUMENT, "%zu target tokens in a batch is not from 1 to %u", options->target_tokens,
                    1u << 30);
    if (c->pairs == 0 || c->pairs >= UINT32_MAX)
        return fail(ATTN_ERROR_ARGUMENT, "a corpus of %zu pairs cannot be cut into batches", c->pairs);
    batcher *b = memory_allocate(1, sizeof *b);
    if (!b)
        return ATTN_ERROR_MEMORY;
    b->c = c;
    b->options = *options;
    b->order = memory_allocate_raw(c->pairs, sizeof *b->order);
    if (!b->order) {
        batcher_free(b);
        return ATTN_ERROR_MEMORY;
    }
    make_order(b);
    *made = b;
    return ATTN_OK;
}

void batcher_free(batcher *b) {
    if (!b)
        return;
    memory_free(b->order);
    memory_free(b->pair);
    memory_free(b->source);
    memory_free(b->features);
    memory_free(b->target_input);
    memory_free(b->labels);
    memory_free(b->source_offsets);
    memory_free(b->target_offsets);
    memory_free(b);
}

static size_t sequence_length(const size_t *offsets, uint32_t pair) {
    return offsets[pair + 1] - offsets[pair];
}

/* Sequence `pair` of a corpus that is one stream: the ids that are foretold, [*start, *start +
 * length). An epoch's first block is shorter by chance, so that blocks begin at other places
 * in each. */
static size_t stream_block(const batcher *b, uint32_t pair, size_t *start) {
    size_t n = b->c->block, end;
    *start = pair == 0 ? 1 : 1 + b->phase + (pair - 1) * n;
    end = pair == 0 ? 1 + b->phase : *start + n;
    end = end < b->c->stream_tokens ? end : b->c->stream_tokens;
    return end - *start;
}

static size_t target_length_of(const batcher *b, uint32_t pair) {
    size_t start;
    return b->c->block ? stream_block(b, pair, &start) : sequence_length(b->c->target_offsets, pair);
}

/* How many pairs from `first` on make one batch, and their tokens. */
static size_t choose(const batcher *b, size_t first, size_t *source_tokens, size_t *target_tokens) {
    size_t end = first;
    *source_tokens = *target_tokens = 0;
    for (; end < b->c->pairs; end++) {
        size_t target = target_length_of(b, b->order[end]);
        size_t source = sequence_length(b->c->source_offsets, b->order[end]);
        bool by_source = b->options.counts == BATCH_COUNTS_SOURCE;
        if (end > first && (by_source ? *source_tokens + source : *target_tokens + target) > b->options.target_tokens)
            break;
        *target_tokens += target;
        *source_tokens += source;
    }
    return end - first;
}

static attn_status make_room(batcher *b, size_t sequences, size_t source_tokens, size_t target_tokens) {
    if (source_tokens > INT32_MAX || target_tokens > INT32_MAX)
        return fail(ATTN_ERROR_UNSUPPORTED, "a batch of %zu source and %zu target tokens is too large", source_tokens,
                    target_tokens);
    attn_status status = memory_grow(&b->pair, &b->sequence_capacity, sequences, sizeof *b->pair);
    if (!status)
        status = memory_grow(&b->source_offsets, &b->source_offset_capacity, sequences + 1, sizeof *b->source_offsets);
    if (!status)
        status = memory_grow(&b->target_offsets, &b->target_offset_capacity, sequences + 1, sizeof *b->target_offsets);
    const feature_source *features = b->c->features;
    if (!status && features)
        status = memory_grow(&b->features, &b->feature_capacity, source_tokens * features->width, sizeof *b->features);
    if (!status && !features)
        status = memory_grow(&b->source, &b->source_capacity, source_tokens, sizeof *b->source);
    if (!status)
        status = memory_grow(&b->target_input, &b->target_input_capacity, target_tokens, sizeof *b->target_input);
    if (!status)
        status = memory_grow(&b->labels, &b->label_capacity, target_tokens, sizeof *b->labels);
    return status;
}

/* Copies pair `index` of the batch behind those before it. */
static void pack(batcher *b, size_t index, uint32_t pair) {
    const corpus *c = b->c;
    size_t source_length = sequence_length(c->source_offsets, pair);
    size_t start = c->block ? 0 : c->target_offsets[pair];
    size_t target_length = c->block ? stream_block(b, pair, &start) : sequence_length(c->target_offsets, pair);
    int32_t source_at = b->source_offsets[index], target_at = b->target_offsets[index];
    const int32_t *target = c->target + start;
    if (!c->features && source_length)
        memcpy(b->source + source_at, c->source + c->source_offsets[pair], source_length * sizeof *b->source);
    memcpy(b->labels + target_at, target, target_length * sizeof *b->labels);
    b->target_input[target_at] = c->block ? target[-1] : c->pad;
    memcpy(b->target_input + target_at + 1, target, (target_length - 1) * sizeof *b->target_input);
    b->source_offsets[index + 1] = source_at + (int32_t)source_length;
    b->target_offsets[index + 1] = target_at + (int32_t)target_length;
    b->pair[index] = pair;
}

/* The features of the batch's sequences; a shuffled batch sees them changed, by its epoch. */
static void read_features(batcher *b, size_t sequences) {
    const feature_source *f = b->c->features;
    if (!f)
        return;
    uint64_t key = random_key(b->options.seed, b->position.epoch, 0x66656174); /* "feat" */
#pragma omp parallel for schedule(dynamic, 8)
    for (size_t i = 0; i < sequences; i++) {
        uint64_t draw = b->options.shuffle ? random_key(key, b->pair[i], 0) | 1 : 0;
        f->read(f->context, b->pair[i], draw, b->features + (size_t)b->source_offsets[i] * f->width);
    }
}

static void advance(batcher *b, size_t sequences) {
    b->position.pair += sequences;
    if (b->position.pair == b->c->pairs) {
        b->position = (batch_position){b->position.epoch + 1, 0};
        make_order(b);
    }
}

attn_status batcher_next(batcher *b, batch *next) {
    size_t first = (size_t)b->position.pair, source_tokens, target_tokens;
    size_t sequences = choose(b, first, &source_tokens, &target_tokens);
    attn_status status = make_room(b, sequences, source_tokens, target_tokens);
    if (status)
        return status;
    b->source_offsets[0] = b->target_offsets[0] = 0;
    for (size_t i = 0; i < sequences; i++)
        pack(b, i, b->order[first + i]);
    read_features(b, sequences);
    *next = (batch){.sequences = sequences,
                    .tokens_source = source_tokens,
                    .tokens_target = target_tokens,
                    .source = b->c->features ? NULL : b->source,
                    .features = b->c->features ? b->features : NULL,
                    .feature_width = b->c->features ? b->c->features->width : 0,
                    .source_offsets = b->source_offsets,
                    .target_input = b->target_input,
                    .labels = b->labels,
                    .target_offsets = b->target_offsets,
                    .pair = b->pair,
                    .epoch = b->position.epoch,
                    .last_of_epoch = first + sequences == b->c->pairs};
    advance(b, sequences);
    return ATTN_OK;
}

batch_position batcher_position(const batcher *b) {
    return b->position;
}

attn_status batcher_seek(batcher *b, batch_position position) {
    if (position.pair >= b->c->pairs)
        return fail(ATTN_ERROR_ARGUMENT, "pair %llu of an epoch is not from 0 to %zu",
                    (unsigned long long)position.pair, b->c->pairs - 1);
    b->position = position;
    make_order(b);
    return ATTN_OK;
}

attn_status batcher_count(batcher *b, uint64_t epoch, size_t *batches) {
    batch_position here = b->position;
    attn_status status = batcher_seek(b, (batch_position){epoch, 0});
    if (status)
        return status;
    *batches = 0;
    for (size_t first = 0, source, target; first < b->c->pairs; (*batches)++)
        first += choose(b, first, &source, &target);
    return batcher_seek(b, here);
}
