/* Phrases that a translation has to hold: constrained beam search by dynamic beam
 * allocation (Post & Vilar 2018). The beam is cut into banks, one for each number of phrase
 * tokens that a hypothesis has met; the likeliest of each bank live on, and tokens that
 * begin or continue a missing phrase are looked at however unlikely they are. A phrase is
 * met when its tokens stand in a row; phrases may overlap. </s> comes when all are met,
 * and where as little room is left as the missing tokens need (overlaps are not counted on)
 * nothing else may follow, so that a phrase
 * is missing only if max_length cannot hold it. */
#ifndef ATTN_INFER_CONSTRAINT_H
#define ATTN_INFER_CONSTRAINT_H

#include "infer/beam.h"

/* The phrases, as bits, that ids [count] end in or that `met` holds already. */
uint64_t constraint_met(const phrase_list *list, uint64_t met, const int32_t *ids, int32_t count);

/* Tokens that are missing after ids [count]: of the phrases not met, less the longest
 * beginning of one that the ids end with. */
int32_t constraint_missing(const phrase_list *list, uint64_t met, const int32_t *ids, int32_t count);

/* For each phrase not met, the token that continues or begins it; returns their number. */
int constraint_next(const phrase_list *list, uint64_t met, const int32_t *ids, int32_t count, int32_t *tokens);

/* Puts the sorted candidates [count] of a beam into the order in which beam_advance takes
 * them: first those that the banks choose, then the rest. `ordered` [count]. */
void constraint_order(beam *b, const candidate *candidates, int count, candidate *ordered);

#endif
