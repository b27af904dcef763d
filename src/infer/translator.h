/* A network that translates, as the search and the explanations see it: something that
 * reads a source, and goes one token a step on from what a cache holds. searcher.c,
 * search.c and explain.c know this table alone; step.c (the Transformer) and
 * recurrent_step.c fill it. */
#ifndef ATTN_INFER_TRANSLATOR_H
#define ATTN_INFER_TRANSLATOR_H

#include "infer/step.h"
#include "model/network.h"

/* What is read: tokens, or rows of numbers (data/features.h) of which ids is as many
 * zeros. */
typedef struct source_rows {
    const int32_t *ids;
    const float *features; /* [rows, translator.feature_width], or NULL */
} source_rows;

typedef struct translator_kind {
    /* Packs the weights that the functions below multiply by, but for the embedding. */
    attn_status (*pack)(packed_parameters *packed, product_type type, const parameters *values, const void *model);
    /* Opens both caches, to be closed also on failure. */
    attn_status (*open_caches)(const void *model, cache *self, cache *cross);
    /* Encodes the sources; what is attended to for token i goes to places[i]. */
    attn_status (*encode)(tape *t, const void *model, source_rows source, packing p, const int32_t *places, cache *cross);
    /* [at least rows, width]: what the embedding turns into logits. On the tape's arena. */
    tensor *(*step)(tape *t, const void *model, const step_input *in, cache *self, const cache *cross);
    /* All of a given target at once; shows its attention to the tape's probe. */
    tensor *(*decode)(tape *t, const void *model, source_rows source, packing from, const int32_t *inputs, packing to);
    /* Layers of encoder self-, decoder self- and cross-attention. */
    void (*attention_layers)(const void *model, int layers[3]);
} translator_kind;

typedef struct translator {
    const translator_kind *kind; /* NULL: the network does not translate */
    const network_kind *network;
    const void *model;
    const model_config *config;
    const parameters *parameters;
    parameter embedding, logits_bias;
    int feature_width; /* 0: the source is tokens */
} translator;

extern const translator_kind transformer_translator, recurrent_translator, speech_translator;

/* The network as a translator; .kind is NULL where it is none. */
translator translator_of(const network *n);

#endif
