/* Vocabulary: pieces and their ids, 0 .. size - 1, with a hash table from piece to
 * id (FNV-1a, open addressing) and vocab.json, {piece: id}, as the file. */
#ifndef ATTN_DATA_VOCABULARY_H
#define ATTN_DATA_VOCABULARY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "data/text.h"

#define VOCABULARY_LIMIT 1000000u /* pieces at most */

typedef struct vocabulary {
    size_t size;
    char *bytes;     /* the pieces one after another, each with a 0 behind it */
    size_t *starts;  /* [size + 1]; piece i is bytes[starts[i]] .. bytes[starts[i + 1] - 2] */
    uint32_t *slots; /* [slot_mask + 1]; id + 1, or 0 for an empty slot */
    size_t slot_mask;
} vocabulary;

/* Piece i gets id i; the bytes are copied. Fails on a piece that comes twice. */
attn_status vocabulary_build(const text_line *pieces, size_t count, vocabulary *v);

/* The different ones of the labels, sorted by their bytes. */
attn_status vocabulary_build_labels(const text_line *labels, size_t count, vocabulary *v);

/* Reads vocab.json; ids must be 0 .. size - 1, each once. */
attn_status vocabulary_load(const char *path, vocabulary *v);
attn_status vocabulary_parse(const char *json, size_t size, const char *name, vocabulary *v);
attn_status vocabulary_save(const vocabulary *v, const char *path);

void vocabulary_release(vocabulary *v);

static inline text_line vocabulary_piece(const vocabulary *v, size_t id) {
    return (text_line){v->bytes + v->starts[id], v->starts[id + 1] - v->starts[id] - 1};
}

/* The piece's id, -1 if it is not there. */
int32_t vocabulary_find(const vocabulary *v, const char *piece, size_t length);

/* The vocabulary of text that is already split (word_count.c): </s>, <unk>, the
 * words seen at least minimum_count times by falling count (bytes decide between
 * equal counts), <pad>; at most `limit` pieces in all. */
attn_status vocabulary_count_words(const text_line *const sides[2], const size_t counts[2], size_t minimum_count,
                                   size_t limit, vocabulary *v);

typedef struct counted_word {
    text_line word; /* bytes NULL: an empty slot */
    uint64_t count;
} counted_word;

/* The different words of both sides by falling count (bytes decide between equal counts);
 * they point into the lines. Release with memory_free. */
attn_status words_count(const text_line *const sides[2], const size_t counts[2], counted_word **words, size_t *count);

/* The next word at *at or later, moving *at behind it; length 0 at the end. Words
 * are separated by spaces and ASCII control characters. */
text_line next_word(const char *text, size_t length, size_t *at);

uint64_t hash_bytes(const char *bytes, size_t length);

#endif
