/* WordPiece as BERT has it (Devlin et al. 2019; the rules are those of transformers'
 * BertTokenizer): text is cleaned, Chinese characters and punctuation are set apart, the
 * rest is cut at white space, and each word is taken apart into the longest pieces of the
 * vocabulary from left to right, those inside a word marked "##". A word that cannot be
 * taken apart is unknown. */
#ifndef ATTN_DATA_WORDPIECE_H
#define ATTN_DATA_WORDPIECE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "data/text.h"
#include "data/vocabulary.h"

typedef struct wordpiece_rules {
    bool lower_case;    /* true */
    bool strip_accents; /* true: "é" becomes "e" */
    bool chinese_apart; /* true: each Chinese character is a word */
} wordpiece_rules;

/* Each word of a text, in order; `word` is valid during the call alone. */
typedef attn_status (*wordpiece_take)(void *context, const char *word, size_t length);
attn_status wordpiece_words(const wordpiece_rules *rules, const char *text, size_t length, wordpiece_take take,
                            void *context);

/* The ids of a word's pieces; one `unknown` for a word that cannot be taken apart or is
 * longer than 100 characters. */
attn_status wordpiece_ids(const vocabulary *v, const char *word, size_t length, int32_t unknown,
                          attn_status (*take)(void *context, int32_t id), void *context);

/* [PAD], [UNK], [CLS], [SEP], [MASK], and then
 *   whole:  the words seen at least minimum_count times, by falling count;
 *   else:   the characters, and what joining the most frequent neighbours makes of them
 *           (Sennrich et al. 2016, as transformers' trainer does), until the limit is reached
 *           or no neighbours are seen twice. */
attn_status wordpiece_learn(const text_line *lines, size_t count, const wordpiece_rules *rules, bool whole,
                            size_t minimum_count, size_t limit, vocabulary *learned);

/* vocab.txt: a piece a line, its id the line's number from 0. */
attn_status wordpiece_load(const char *path, vocabulary *v);
attn_status wordpiece_save(const vocabulary *v, const char *path);

#endif
