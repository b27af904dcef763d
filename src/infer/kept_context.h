/* What a layer of a language model keeps of the tokens that were read, so that the next one is a
 * single row: keys and values of all of them, with a window of the last ones alone, and with
 * linear attention the two sums that they go into (Katharopoulos et al. 2020, 3.4):
 *   S = sum_j f(k_j) v_j^T,  z = sum_j f(k_j):   o = S^T f(q) / (f(q) . z),   f(x) = elu(x) + 1 */
#ifndef ATTN_INFER_KEPT_CONTEXT_H
#define ATTN_INFER_KEPT_CONTEXT_H

#include "model/language_config.h"

typedef struct kept_context {
    attention_span span;
    int64_t heads, kv_heads, head_dim;
    int64_t room, count; /* rows that there are, and that are held: the newest last */
    float *rows;         /* [room, 2 kv_heads head_dim]: keys, then values */
    double *sums;        /* linear: [kv_heads, head_dim, head_dim + 1], rows of S with z behind */
} kept_context;

/* Room for `tokens` tokens, or for as many as the span needs. Release with kept_context_close,
 * also after an error. */
attn_status kept_context_open(kept_context *k, const language_config *config, int64_t tokens);
void kept_context_close(kept_context *k);

/* Forgets all tokens. */
void kept_context_clear(kept_context *k);

/* Takes the keys and values of `count` further tokens: [2 kv_heads head_dim] each, a token
 * every `stride` floats. */
void kept_context_add(kept_context *k, const float *keys_values, int64_t count, int64_t stride);

/* Attention of the newest token, whose keys and values were added: queries and out
 * [heads head_dim]. The workspace is the tape's. */
attn_status kept_context_attend(const kept_context *k, tape *t, const float *queries, float *out);

#endif
