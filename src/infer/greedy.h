/* Greedy steps of a few rows: the likeliest token comes from a shortlist (tensor/shortlist.h), and the log
 * probabilities of many steps from one product afterwards, since each needs all logits, and so all weights of
 * the output layer, which are then read once for many rows. Same bits as step by step. */
#ifndef ATTN_INFER_GREEDY_H
#define ATTN_INFER_GREEDY_H

#include "infer/beam.h"
#include "tensor/shortlist.h"
#include "tensor/tape.h"

/* A chosen token whose log probability waits. */
typedef struct unscored_token {
    beam *of;     /* of size 1 */
    int32_t step; /* its place in the translation */
    int32_t token;
} unscored_token;

/* Those of one thread, oldest first. While one waits its beam stays where it is, unfinished, and
 * log_probability is that of the tokens before it. */
typedef struct unscored_tokens {
    unscored_token *items; /* [room] */
    float *x;              /* [room, width]: what the output layer reads */
    int64_t count, room, width;
} unscored_tokens;

/* The output layer. */
typedef struct output_layer {
    const packed_weight *weight;
    const float *bias;
    int32_t never; /* a token that is never produced, or TOKEN_NONE */
} output_layer;

attn_status unscored_open(unscored_tokens *u, int64_t room, int64_t width);
void unscored_close(unscored_tokens *u);

/* The next token of beams[row], each of one living row, given x [rows, width], rows <= u->room: one candidate
 * a row in list [row * wanted], none where a logit is no number. Its probabilities are there if the beam ends
 * with it, and otherwise perhaps later, in the beam. 0 where the shortlist cannot tell: nothing is done then.
 */
int greedy_step(tape *t, unscored_tokens *u, const output_layer *layer, const shortlist *s, const float *x,
                int64_t rows, beam *const *beams, candidate *list, int wanted, int *counts);

/* Gives all that wait their probabilities. */
void unscored_settle(tape *t, unscored_tokens *u, const output_layer *layer);

#endif
