/* N-grams shared by two sequences of symbols (words' numbers, codepoints), the
 * counting below BLEU and chrF. */
#ifndef ATTN_INFER_NGRAM_H
#define ATTN_INFER_NGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define NGRAM_LIMIT 6 /* longest n */

typedef struct symbols {
    uint32_t *values;
    size_t count, capacity;
} symbols;

attn_status symbols_append(symbols *s, uint32_t value);
void symbols_release(symbols *s);

/* The codepoints of a 0-terminated text, those of invalid bytes as U+FFFD, behind
 * what `s` holds. */
attn_status symbols_append_text(symbols *s, const char *text);

/* matched[n - 1] = the sum over all n-grams of min(count in a, count in b), for
 * n = 1 .. order <= NGRAM_LIMIT. */
attn_status ngram_matches(const symbols *a, const symbols *b, size_t order, size_t *matched);

#endif
