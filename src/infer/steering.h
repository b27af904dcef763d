/* What steers a search besides the model: the options that forbid, demand, penalise or
 * draw. Plain numbers; each idea's own file says what they mean. */
#ifndef ATTN_INFER_STEERING_H
#define ATTN_INFER_STEERING_H

#include <stdint.h>

#include "base/error.h"

/* Drawing instead of searching (sampling.h). */
typedef struct sampling_options {
    int on;             /* 0 */
    double temperature; /* 1; above 0 */
    int top_k;          /* 0: all */
    double top_p;       /* 1; in (0, 1] */
    uint64_t seed;
} sampling_options;

/* Tokens in a row. */
typedef struct phrase {
    const int32_t *ids;
    int32_t count; /* >= 1 */
} phrase;

enum { MOST_PHRASES = 32, MOST_PHRASE_TOKENS = 256 };

/* At most so many phrases, of so many tokens together. */
typedef struct phrase_list {
    const phrase *items;
    int count;
} phrase_list;

struct forbidden_words;

/* What one sentence's translation has to be; all zero: nothing. */
typedef struct sentence_request {
    const int32_t *prefix; /* [prefix_count]: what it begins with, without </s> */
    int32_t prefix_count;
    phrase_list required; /* what it has to hold (constraint.h) */
    int whole; /* 1: it is the prefix and nothing more, to be given its score */
} sentence_request;

typedef struct steering {
    double repetition_penalty; /* 1; above 0 (repetition.h) */
    int no_repeat_ngram;       /* 0: none; tokens of an n-gram that must not come twice */
    double coverage_penalty;   /* 0; 0 or above (coverage.h) */
    sampling_options sampling;
    const struct forbidden_words *forbidden; /* NULL: none (forbidden.h) */
    const sentence_request *requests; /* [sentences], or NULL */
} steering;

static inline steering steering_none(void) {
    return (steering){.repetition_penalty = 1, .sampling = {.temperature = 1, .top_p = 1}};
}

#endif
