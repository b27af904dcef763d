/* What SentencePiece does not check of a model file itself: its normaliser follows
 * the offsets of a double-array trie that comes with the file, wherever they lead. */
#ifndef ATTN_DATA_SENTENCEPIECE_CHECK_H
#define ATTN_DATA_SENTENCEPIECE_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* True if no text can lead the normaliser outside its tables. A file that is not
 * well-formed protocol buffers is left to SentencePiece, which refuses it. */
bool sentencepiece_tables_are_safe(const char *bytes, size_t size);

#ifdef __cplusplus
}
#endif
#endif
