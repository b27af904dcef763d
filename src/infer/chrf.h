/* chrF2 (Popovic 2015) of a corpus, one reference each, as sacreBLEU 2 computes
 * it: F-score with beta 2 of character n-grams, n = 1 .. 6, white space removed,
 * counts summed over the corpus, averaged over the n for which both sides have
 * n-grams (effective order). */
#ifndef ATTN_INFER_CHRF_H
#define ATTN_INFER_CHRF_H

#include <stddef.h>

#include "base/error.h"

#define CHRF_ORDER 6

typedef struct chrf_score {
    double score;                     /* 0 .. 100 */
    size_t hypothesis[CHRF_ORDER];    /* n-grams of the hypotheses */
    size_t reference[CHRF_ORDER];     /* n-grams of the references */
    size_t matched[CHRF_ORDER];
} chrf_score;

/* hypotheses[i] against references[i], `count` of each, 0-terminated UTF-8. */
attn_status chrf_corpus(const char *const *hypotheses, const char *const *references, size_t count,
                        chrf_score *out);

#endif
