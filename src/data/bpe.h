/* Byte-pair encoding (Sennrich et al. 2016) as tokenizer.json holds it: a vocabulary, and
 * pairs of pieces that are merged, those that stand first in the file first. Two forms:
 *   byte-level  GPT-2's (Radford et al. 2019, 2.2): text is cut by GPT-2's pattern, and each
 *               byte is written as a character of its own, so that any text has ids;
 *   characters  no merges and no pattern: a piece is a character; what the vocabulary lacks
 *               is <unk>. */
#ifndef ATTN_DATA_BPE_H
#define ATTN_DATA_BPE_H

#include <stdbool.h>

#include "data/tokenizer.h"
#include "data/vocabulary.h"

typedef struct bpe bpe;

/* 1 if the file is a tokenizer.json whose model is BPE. */
bool bpe_is_file(const char *path);

/* Reads tokenizer.json: its pieces (with those of added_tokens), the caller's to release also
 * on failure, and merges. */
attn_status bpe_load(const char *path, vocabulary *pieces, bpe **loaded);

/* Characters of the lines, each once, by code point: </s>, <unk>, characters, <pad>. */
attn_status bpe_characters(const text_line *lines, size_t count, vocabulary *pieces, bpe **made);

void bpe_free(bpe *b); /* NULL is allowed */

bool bpe_is_byte_level(const bpe *b);

/* The file's bytes, as it came or as it was made. */
const char *bpe_file(const bpe *b, size_t *size);

/* Appends ids; `unk` for a character that the vocabulary lacks (-1: it is left out). */
attn_status bpe_encode(const bpe *b, const vocabulary *pieces, int32_t unk, const char *text, size_t length,
                       id_buffer *ids);

/* The bytes of pieces side by side, 0-terminated; invalid UTF-8 and NUL are made U+FFFD. */
attn_status bpe_decode(const bpe *b, const text_line *pieces, size_t count, char **text);

#endif
