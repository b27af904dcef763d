/* The letters of words as numbers, for a vector that unseen words have too: a word's 3, 4 and 5
 * letters in a row, '<' before it and '>' behind it among them, each hashed to one of `buckets`
 * numbers (Bojanowski et al. 2017, Enriching word vectors with subword information, 3.2; FNV-1a
 * of the UTF-8 bytes, as theirs). */
#ifndef ATTN_DATA_SPELLING_H
#define ATTN_DATA_SPELLING_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct tokenizer;

/* Words by id, first .. first + count - 1. Word first + i has numbers[ends[i - 1]] up to, not
 * including, numbers[ends[i]]. */
typedef struct spelling {
    int buckets;   /* >= 1 */
    int32_t first;
    size_t count;
    size_t *ends;     /* [count] */
    int32_t *numbers; /* 0 .. buckets - 1 */
    size_t used, ends_capacity, numbers_capacity;
} spelling;

/* Adds a word (valid UTF-8); of length 0: one without numbers. */
attn_status spelling_add(spelling *s, const char *word, size_t length);

/* The words of a tokenizer's vocabulary, in place of what was there; special tokens have no numbers.
 * ATTN_ERROR_UNSUPPORTED: one that cuts words into pieces. */
attn_status spelling_of_vocabulary(spelling *s, const struct tokenizer *t, int buckets);

/* The numbers of word `id`. */
static inline const int32_t *spelling_numbers(const spelling *s, int32_t id, size_t *count) {
    size_t i = (size_t)(id - s->first), begin = i > 0 ? s->ends[i - 1] : 0;
    *count = s->ends[i] - begin;
    return s->numbers + begin;
}

void spelling_release(spelling *s);

#endif
