/* A plain text for a language model: read whole, checked, and made one stream of ids. */
#ifndef ATTN_DATA_PLAIN_TEXT_H
#define ATTN_DATA_PLAIN_TEXT_H

#include "data/corpus.h"

/* Reads a file ("-": standard input); *owned holds the bytes, to be released with
 * memory_free. A byte order mark is left out. Refused: what is not UTF-8, and NUL. */
attn_status plain_text_read(const char *path, char **owned, text_line *text);

/* The ids of a text: of all characters, or line by line, each with </s> behind it, where the
 * tokenizer does not know ends of lines. Appends. */
attn_status plain_text_encode(const tokenizer *t, text_line text, id_buffer *ids);

#endif
