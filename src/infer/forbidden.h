/* Words that a translation must not hold, however the vocabulary cuts them. A word or
 * phrase is looked for in the text: its letters, with no letter or digit directly before
 * or behind ("art" is not found in "part"; in scripts written without spaces, anywhere).
 * A token is blocked when it would end in or hold such a place. Upper and lower case
 * differ. */
#ifndef ATTN_INFER_FORBIDDEN_H
#define ATTN_INFER_FORBIDDEN_H

#include "data/tokenizer.h"

typedef struct forbidden_words forbidden_words;

/* Blank words are left out. */
attn_status forbidden_words_new(const tokenizer *t, const char *const *words, size_t count, forbidden_words **made);
void forbidden_words_free(forbidden_words *words); /* NULL is allowed */

/* -infinity for each token [vocabulary] that must not follow ids [count]. Does not touch
 * </s>: no word is open at the end of a token that was let through. */
void forbidden_words_block(const forbidden_words *words, const int32_t *ids, int32_t count, float *values);

#endif
