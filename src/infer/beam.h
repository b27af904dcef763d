/* One sentence's beam: which hypotheses live, which are finished, when it is done
 * (search.h gives the rules). Knows no model: it is told the likeliest continuations
 * and answers which row goes on from which. */
#ifndef ATTN_INFER_BEAM_H
#define ATTN_INFER_BEAM_H

#include "infer/search.h"

/* A continuation: row `row` of the living ones followed by `token`. */
typedef struct candidate {
    double log_probability; /* of the whole hypothesis, as the search counts it */
    int32_t row, token;
    float token_log_probability; /* the model's, of the token */
} candidate;

/* The order of candidates: likelier first, then the lower row, then the lower token. */
static inline int candidate_precedes(candidate a, candidate b) {
    return a.log_probability != b.log_probability ? a.log_probability > b.log_probability
           : a.row != b.row                       ? a.row < b.row
                                                  : a.token < b.token;
}

/* What a living hypothesis has to remember besides its tokens. */
typedef struct row_state {
    uint64_t key; /* of what is drawn for it (sampling.h) */
    uint64_t met; /* a bit for each required phrase that it holds (constraint.h) */
} row_state;

typedef struct beam {
    int size;               /* hypotheses kept; in sampling, drawn */
    int alive;              /* rows that live */
    int32_t length;         /* tokens of each living one */
    int32_t max_length;     /* </s> counted */
    int32_t min_length;     /* </s> counted; max_length comes first */
    double length_penalty, length_offset;
    int32_t eos;
    int done;
    double *log_probability; /* [size] of the living */
    int32_t *ids;            /* [size, max_length] of the living */
    int32_t *places;         /* [size, max_length]: their cache's places, kept in step with ids */
    float *token_log_probabilities; /* [size, max_length], in step with ids: the model's */
    row_state *states;       /* [size] */
    float *coverage;         /* [size, source_count - 1]: attention so far, or NULL */
    int32_t source_count;    /* </s> counted */
    int32_t *next_ids, *next_places;
    float *next_coverage;
    float *next_token_log_probabilities;
    row_state *next_states;
    const steering *steering;        /* NULL: none */
    const sentence_request *request; /* NULL: none */
    hypothesis_list finished; /* best first; room for size */
} beam;

/* `request`: what is asked of this sentence, or NULL. It and the options' steering outlive the
 * beam. source [source_count] is for what is drawn. */
attn_status beam_open(beam *b, const search_options *options, const sentence_request *request, const int32_t *source,
                      int32_t source_count, int32_t max_length, int32_t eos);
void beam_close(beam *b); /* the finished ones too, unless they were moved out */

/* 1 if the next token can only be </s>. */
static inline int beam_must_end(const beam *b) {
    return b->length + 1 >= b->max_length;
}

/* 1 if the next token cannot be </s> yet. */
static inline int beam_must_go_on(const beam *b) {
    return b->length + 1 < b->min_length && !beam_must_end(b);
}

/* The candidates that beam_advance wants to see: 2 * size, or fewer if there are no more. In
 * sampling: one a row. */
static inline int beam_candidates(const beam *b) {
    return 2 * b->size;
}

/* 1 if there are phrases that the translation has to hold. */
static inline int beam_is_constrained(const beam *b) {
    return b->request && b->request->required.count > 0;
}

/* The candidates that a row may have: those, and in constrained search each phrase's next token. */
enum { MOST_ROW_CANDIDATES = 2 * 64 + MOST_PHRASES };

/* Adds this step's attention to the source: row k's is weights[k * stride]. */
void beam_add_coverage(beam *b, const float *weights, int64_t stride);

/* Goes one token on. Candidates are in candidate_precedes' order, or in constraint_order's. */
attn_status beam_advance(beam *b, const candidate *candidates, int count);

#endif
