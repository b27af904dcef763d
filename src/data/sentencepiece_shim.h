/* SentencePiece (Kudo and Richardson 2018) as seen from C. The library is C++ and
 * throws; nothing that it throws leaves the shim: each call returns a status and
 * the sentence is set. A model does not change after it is opened and may be used
 * by any number of threads. */
#ifndef ATTN_DATA_SENTENCEPIECE_SHIM_H
#define ATTN_DATA_SENTENCEPIECE_SHIM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "base/error.h"
#include "data/text.h"

typedef struct sentencepiece_model sentencepiece_model;

/* Learns a unigram model (Kudo 2018) of at most `pieces` pieces with </s> = 0 and
 * <unk> = 1 from `count` lines of valid UTF-8. Deterministic. *bytes, the model
 * file's content, is to be released with memory_free. */
attn_status sentencepiece_train(const text_line *lines, size_t count, size_t pieces, double character_coverage,
                                char **bytes, size_t *size);

/* Opens the content of a model file. `name` is for the error's sentence. */
attn_status sentencepiece_open(const char *bytes, size_t size, const char *name, sentencepiece_model **model);
void sentencepiece_close(sentencepiece_model *model); /* NULL is allowed */

size_t sentencepiece_count(const sentencepiece_model *model);

/* Piece `id` < sentencepiece_count; lives as long as the model. */
text_line sentencepiece_get(const sentencepiece_model *model, size_t id);

/* Calls `take` for each piece of the text, in order; a status other than ATTN_OK
 * from it ends the call and is returned. */
attn_status sentencepiece_encode(const sentencepiece_model *model, const char *text, size_t length,
                                 attn_status (*take)(void *context, const char *piece, size_t length),
                                 void *context);

/* The bytes of the text that each piece stands for: spans[i] for piece i, at most `room` of
 * them; *count is their number in all. */
typedef struct sentencepiece_span {
    size_t begin, end;
} sentencepiece_span;
attn_status sentencepiece_spans(const sentencepiece_model *model, const char *text, size_t length,
                                sentencepiece_span *spans, size_t room, size_t *count);

/* Joins pieces to text, 0-terminated, to be released with memory_free. */
attn_status sentencepiece_decode(const sentencepiece_model *model, const text_line *pieces, size_t count,
                                 char **text);

#ifdef __cplusplus
}
#endif
#endif
