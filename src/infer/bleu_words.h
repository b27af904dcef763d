/* How BLEU cuts a segment into words: sacreBLEU's tokenizers 13a, none and zh. */
#ifndef ATTN_INFER_BLEU_WORDS_H
#define ATTN_INFER_BLEU_WORDS_H

#include "infer/bleu.h"
#include "infer/ngram.h"

/* The segment's words as codepoints, each word followed by ' ', in *out (what it
 * held is dropped). `scratch` is room to work in, kept for the next call. */
attn_status bleu_words(const char *segment, const bleu_options *options, symbols *out, symbols *scratch);

#endif
