/* Which words of a translation belong to which of its source, read from the cross-attention. */
#ifndef ATTN_INFER_HTML_LINKS_H
#define ATTN_INFER_HTML_LINKS_H

#include "data/html_place.h"
#include "infer/translate.h"

/* Where the tokens of a translation stand in its text, as a decoder of ever longer beginnings shows: token i is
 * text[ends[i - 1]] .. text[ends[i] - 1]. ends [h->count] */
attn_status html_token_ends(const tokenizer *t, const hypothesis *h, size_t *ends);

/* Fills source_of and target_of for one sentence: the source's units [source_first, source.count) and the
 * target's [target_first, target.count), whose begin and end count from source_begin and target_begin in the
 * sentence `text` and in its translation. A unit without letters (a mark, a number) belongs to the same one of
 * the other side where that has it. */
typedef struct html_sentence {
    const char *text;
    size_t length;
    size_t source_begin, target_begin; /* where it and its translation stand in the segment's */
    size_t source_first, target_first; /* and their first units */
} html_sentence;
attn_status html_link(const attn_translation *translation, size_t index, const html_sentence *sentence,
                      const char *segment_text, const char *segment_translation, html_alignment *alignment);

#endif
