/* One sentence's beam: which hypotheses live, which are finished, when it is done
 * (search.h gives the rules). Knows no model: it is told the likeliest continuations
 * and answers which row goes on from which. */
#ifndef ATTN_INFER_BEAM_H
#define ATTN_INFER_BEAM_H

#include "infer/search.h"

/* A continuation: row `row` of the living ones followed by `token`. */
typedef struct candidate {
    double log_probability; /* of the whole hypothesis */
    int32_t row, token;
} candidate;

/* The order of candidates: likelier first, then the lower row, then the lower token. */
static inline int candidate_precedes(candidate a, candidate b) {
    return a.log_probability != b.log_probability ? a.log_probability > b.log_probability
           : a.row != b.row                       ? a.row < b.row
                                                  : a.token < b.token;
}

typedef struct beam {
    int size;               /* hypotheses kept */
    int alive;              /* rows that live */
    int32_t length;         /* tokens of each living one */
    int32_t max_length;     /* </s> counted */
    double length_penalty;
    int32_t eos;
    int done;
    double *log_probability; /* [size] of the living */
    int32_t *ids;            /* [size, max_length] of the living */
    int32_t *places;         /* [size, max_length]: their cache's places, kept in step with ids */
    int32_t *next_ids, *next_places;
    hypothesis_list finished; /* best first; room for size */
} beam;

attn_status beam_open(beam *b, const search_options *options, int32_t max_length, int32_t eos);
void beam_close(beam *b); /* the finished ones too, unless they were moved out */

/* 1 if the next token can only be </s>. */
static inline int beam_must_end(const beam *b) {
    return b->length + 1 >= b->max_length;
}

/* The candidates that beam_advance wants to see: 2 * size, or fewer if there are no more. */
static inline int beam_candidates(const beam *b) {
    return 2 * b->size;
}

/* Goes one token on. Candidates are in candidate_precedes' order. */
attn_status beam_advance(beam *b, const candidate *candidates, int count);

#endif
