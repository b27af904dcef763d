/* What an answer rests on, as numbers; attribution_print.c writes them. */
#ifndef ATTN_INFER_ATTRIBUTION_H
#define ATTN_INFER_ATTRIBUTION_H

#include "infer/explain.h"

struct attn_attribution {
    token_list tokens, answers;
    double *log_probabilities;                 /* [answers] */
    int layers[ATTENTION_KINDS];               /* kind 0: between the text's tokens */
    layer_weights *attention[ATTENTION_KINDS]; /* [layers] */
    float *pooling;                            /* [tokens], or NULL */
    float *rollout, *gradient;                 /* [answers, tokens] */
};

/* The whole as JSON; `digits` of each number. */
void write_attribution_json(const attn_attribution *a, int digits, FILE *out);

#endif
