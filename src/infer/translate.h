/* Text to ids and back around a search, for translating, evaluating and explaining. */
#ifndef ATTN_INFER_TRANSLATE_H
#define ATTN_INFER_TRANSLATE_H

#include "infer/model.h"

/* The ids of one text of any bytes, with </s>, cut to the model's positions; none for a
 * blank text. Invalid UTF-8 is read as U+FFFD. Appends to *buffer; *changed (may be
 * NULL) receives "" or a sentence on what was changed. */
enum { CHANGE_ROOM = 160 };
attn_status encode_text(const tokenizer *t, tokenizer_side side, size_t positions, const char *text, id_buffer *buffer,
                        char changed[CHANGE_ROOM]);

/* Checks ranges and gives the search's options. */
attn_status translate_options_check(const attn_translate_options *options, search_options *out);

#endif
