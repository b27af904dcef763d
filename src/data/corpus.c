#include "data/corpus.h"

#include <string.h>

#include "base/memory.h"
#include "base/threads.h"

void corpus_options_defaults(corpus_options *options) {
    *options = (corpus_options){.max_source_tokens = 256, .max_target_tokens = 256};
}

/* Pairs are encoded in chunks of this many, each into buffers of its own, and the
 * chunks are put together in order: the result depends on no thread. */
enum { CHUNK_PAIRS = 1024 };

typedef struct chunk {
    id_buffer ids[2];                    /* source, target: the kept sequences one after another */
    uint32_t lengths[2][CHUNK_PAIRS];    /* of the kept sequences */
    uint32_t line[CHUNK_PAIRS];
    size_t kept;
    attn_status status;
    char *message; /* of a failure: the sentence is the thread's own */
} chunk;

static attn_status encode_pair(const parallel_text *text, size_t pair, const tokenizer *t,
                               const corpus_options *options, chunk *c) {
    const text_line lines[2] = {text->source[pair], text->target[pair]};
    const size_t limits[2] = {options->max_source_tokens, options->max_target_tokens};
    size_t starts[2] = {c->ids[0].count, c->ids[1].count};
    bool fits = true;
    for (int side = 0; side < 2 && fits; side++) {
        id_buffer *ids = &c->ids[side];
        attn_status status = tokenizer_encode(t, (tokenizer_side)side, lines[side].bytes, lines[side].length, ids);
        if (!status)
            status = memory_grow(&ids->ids, &ids->capacity, ids->count + 1, sizeof *ids->ids);
        if (status)
            return status;
        ids->ids[ids->count++] = tokenizer_eos(t);
        fits = ids->count - starts[side] <= limits[side];
        c->lengths[side][c->kept] = (uint32_t)(ids->count - starts[side]);
    }
    if (fits) {
        c->line[c->kept++] = (uint32_t)pair;
    } else {
        c->ids[0].count = starts[0];
        c->ids[1].count = starts[1];
    }
    return ATTN_OK;
}

static void encode_chunk(const parallel_text *text, size_t first, size_t last, const tokenizer *t,
                         const corpus_options *options, chunk *c) {
    for (size_t pair = first; pair < last && !c->status; pair++)
        c->status = encode_pair(text, pair, t, options, c);
    if (c->status)
        c->message = memory_copy_string(attn_last_error());
}

static size_t count_id(const int32_t *ids, size_t count, int32_t id) {
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += ids[i] == id;
    return found;
}

static attn_status join_chunks(const chunk *chunks, size_t count, corpus *c) {
    size_t tokens[2] = {0, 0};
    for (size_t i = 0; i < count; i++) {
        tokens[0] += chunks[i].ids[0].count;
        tokens[1] += chunks[i].ids[1].count;
        c->pairs += chunks[i].kept;
    }
    c->source = memory_allocate_raw(tokens[0], sizeof *c->source);
    c->target = memory_allocate_raw(tokens[1], sizeof *c->target);
    c->source_offsets = memory_allocate(c->pairs + 1, sizeof *c->source_offsets);
    c->target_offsets = memory_allocate(c->pairs + 1, sizeof *c->target_offsets);
    c->line = memory_allocate_raw(c->pairs, sizeof *c->line);
    if (!c->source || !c->target || !c->source_offsets || !c->target_offsets || !c->line)
        return ATTN_ERROR_MEMORY;
    size_t pair = 0, at[2] = {0, 0};
    for (size_t i = 0; i < count; i++) {
        const chunk *k = &chunks[i];
        if (k->kept == 0)
            continue;
        memcpy(c->source + at[0], k->ids[0].ids, k->ids[0].count * sizeof *c->source);
        memcpy(c->target + at[1], k->ids[1].ids, k->ids[1].count * sizeof *c->target);
        for (size_t j = 0; j < k->kept; j++, pair++) {
            c->line[pair] = k->line[j];
            c->source_offsets[pair + 1] = at[0] += k->lengths[0][j];
            c->target_offsets[pair + 1] = at[1] += k->lengths[1][j];
        }
    }
    return ATTN_OK;
}

attn_status corpus_encode(const parallel_text *text, const tokenizer *t, const corpus_options *options,
                          corpus *encoded) {
    *encoded = (corpus){.eos = tokenizer_eos(t), .pad = tokenizer_pad(t)};
    if (options->max_source_tokens < 2 || options->max_target_tokens < 2 ||
        options->max_source_tokens > INT32_MAX || options->max_target_tokens > INT32_MAX)
        return fail(ATTN_ERROR_ARGUMENT, "the longest sentences are %zu and %zu tokens; at least 2 are needed",
                    options->max_source_tokens, options->max_target_tokens);
    if (text->pairs > UINT32_MAX)
        return fail(ATTN_ERROR_UNSUPPORTED, "%zu pairs; at most %u are supported", text->pairs, UINT32_MAX);
    size_t count = text->pairs / CHUNK_PAIRS + (text->pairs % CHUNK_PAIRS != 0);
    chunk *chunks = memory_allocate(count, sizeof *chunks);
    if (!chunks)
        return ATTN_ERROR_MEMORY;
#pragma omp parallel for schedule(dynamic) num_threads(threads_get())
    for (size_t i = 0; i < count; i++) {
        size_t first = i * CHUNK_PAIRS, rest = text->pairs - first;
        encode_chunk(text, first, first + (rest < CHUNK_PAIRS ? rest : CHUNK_PAIRS), t, options, &chunks[i]);
    }
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < count && !status; i++)
        if (chunks[i].status)
            status = fail(chunks[i].status, "%s", chunks[i].message ? chunks[i].message : "out of memory");
    if (!status)
        status = join_chunks(chunks, count, encoded);
    for (size_t i = 0; i < count; i++) {
        id_buffer_release(&chunks[i].ids[0]);
        id_buffer_release(&chunks[i].ids[1]);
        memory_free(chunks[i].message);
    }
    memory_free(chunks);
    if (!status) {
        encoded->skipped_long = text->pairs - encoded->pairs;
        encoded->unknown_source =
            count_id(encoded->source, encoded->source_offsets[encoded->pairs], tokenizer_unk(t));
        encoded->unknown_target =
            count_id(encoded->target, encoded->target_offsets[encoded->pairs], tokenizer_unk(t));
        if (encoded->pairs == 0)
            status = fail(ATTN_ERROR_FORMAT, "no pair is left: all %zu are longer than %zu source or %zu target tokens",
                          text->pairs, options->max_source_tokens, options->max_target_tokens);
    }
    if (status)
        corpus_release(encoded);
    return status;
}

attn_status corpus_stream(int32_t *ids, size_t count, size_t block, corpus *made) {
    *made = (corpus){.target = ids, .block = block, .stream_tokens = count, .eos = -1, .pad = -1};
    if (count < 2) {
        corpus_release(made);
        return fail(ATTN_ERROR_FORMAT, "a text of %zu tokens; at least 2 were expected", count);
    }
    made->pairs = (count - 2) / block + 1;
    made->source = memory_allocate(1, sizeof *made->source);
    made->source_offsets = memory_allocate(made->pairs + 1, sizeof *made->source_offsets);
    made->target_offsets = memory_allocate(made->pairs + 1, sizeof *made->target_offsets);
    if (!made->source || !made->source_offsets || !made->target_offsets) {
        corpus_release(made);
        return ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i <= made->pairs; i++)
        made->target_offsets[i] = i == 0 ? 0 : i == made->pairs ? count : 1 + i * block;
    return ATTN_OK;
}

void corpus_release(corpus *c) {
    memory_free(c->source);
    memory_free(c->target);
    memory_free(c->source_offsets);
    memory_free(c->target_offsets);
    memory_free(c->line);
    *c = (corpus){0};
}
