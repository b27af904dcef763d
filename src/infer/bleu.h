/* BLEU (Papineni et al. 2002) of a corpus, one reference each, as sacreBLEU 2
 * (Post 2018) computes it: clipped n-gram precisions up to 4, their geometric
 * mean with exponential smoothing (a precision whose count is 0 becomes
 * 100 / (2^k total) for the k-th such n), brevity penalty exp(1 - ref / hyp). */
#ifndef ATTN_INFER_BLEU_H
#define ATTN_INFER_BLEU_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef enum bleu_tokenizer {
    BLEU_13A,  /* mteval-v13a: the default for western languages */
    BLEU_NONE, /* split at white space alone: for text already split */
    BLEU_ZH    /* Chinese characters one by one, the rest as western words */
} bleu_tokenizer;

typedef struct bleu_score {
    double score;            /* 0 .. 100 */
    double precisions[4];    /* 0 .. 100, smoothed */
    double brevity_penalty;  /* 0 .. 1 */
    size_t matched[4];       /* clipped n-gram matches */
    size_t total[4];         /* n-grams in the hypotheses */
    size_t hypothesis_length; /* words */
    size_t reference_length;
} bleu_score;

typedef struct bleu_options {
    bleu_tokenizer tokenizer; /* BLEU_13A */
    bool lowercase;           /* false */
} bleu_options;

void bleu_options_defaults(bleu_options *options);

/* hypotheses[i] against references[i], `count` of each, 0-terminated UTF-8. An
 * empty hypothesis is allowed; count 0 gives score 0. */
attn_status bleu_corpus(const char *const *hypotheses, const char *const *references, size_t count,
                        const bleu_options *options, bleu_score *out);

/* "13a", "none", "zh"; bleu_tokenizer_parse gives 0 for an unknown name. */
const char *bleu_tokenizer_name(bleu_tokenizer tokenizer);
int bleu_tokenizer_parse(const char *name, bleu_tokenizer *tokenizer);

#endif
