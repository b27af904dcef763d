/* The tokens that may follow a hypothesis, and at what price: the model's word, and what
 * steers it (steering.h). */
#ifndef ATTN_INFER_CONTINUATIONS_H
#define ATTN_INFER_CONTINUATIONS_H

#include "infer/beam.h"
#include "tensor/rows.h"

/* What all rows of a search share. */
typedef struct continuation_context {
    const row_kernels *rows;
    int64_t vocabulary;
    int32_t never;   /* a token that is never produced, or TOKEN_NONE */
    float *ranked;   /* [vocabulary], memory for one row; needed with steering alone */
    void *sampled;   /* [vocabulary] of sampled_token; needed for sampling alone */
} continuation_context;

/* The likeliest continuations of row k of a beam, given its logits [vocabulary] (overwritten):
 * at most beam_candidates(b), best first, in a constrained beam with at most MOST_PHRASES behind;
 * returns their number. */
int continuations_of_row(const continuation_context *c, const beam *b, int k, float *logits, candidate *out);

#endif
