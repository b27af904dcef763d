/* Where the tokens of finished translations looked: the decoder's cross-attention, read in
 * one pass over source and translation with the tape's probe. */
#ifndef ATTN_INFER_ALIGN_H
#define ATTN_INFER_ALIGN_H

#include "infer/translate.h"

/* Fills every hypothesis's alignment from a decoder layer (-1: the last) and head (-1: the mean
 * of all). ATTN_ERROR_ARGUMENT where the model has no such layer or head. */
attn_status align_translation(const attn_model *model, attn_translation *translation, int layer, int head);

/* attn_translation_links of one hypothesis. */
size_t align_links(const tokenizer *t, const int32_t *source, size_t source_count, const hypothesis *h, int words,
                   attn_link *links, size_t room);

/* In every text that holds <unk>: the source text that it looked at most, beside </s>. */
attn_status replace_unknown(attn_translation *translation, const char *const *sources);

#endif
