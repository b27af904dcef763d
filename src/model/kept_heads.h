/* Which attentions of a pruned Transformer have how many heads: config.json's "attn_heads",
 *     {"encoder_self": [4, 3], "decoder_self": [4, 4], "cross": [2, 4]},
 * a number for each layer. A head is as wide as in the whole model, d_model over its number of
 * heads; hidden states keep their width. A model that has all its heads has no such key. */
#ifndef ATTN_MODEL_KEPT_HEADS_H
#define ATTN_MODEL_KEPT_HEADS_H

#include <jansson.h>

#include "model/config.h"

/* Layers that have this attention, and the heads of each before any was removed. */
int model_config_layers(const model_config *config, model_attention kind);
int model_config_all_heads(const model_config *config, model_attention kind);

/* Heads of one layer. */
int model_config_heads(const model_config *config, model_attention kind, int layer);

/* Queries, keys and values are this wide for each head. */
int model_config_head_width(const model_config *config, model_attention kind);

/* The numbers of a model's heads: those of the encoder's self-attention, layer by layer, then of
 * the decoder's, then of the cross-attention; the first one's of a layer. Layer 0 of MODEL_ATTENTIONS:
 * how many there are. */
int model_config_head_number(const model_config *config, model_attention kind, int layer);

/* 1 if any attention has fewer heads than the others say. */
int kept_heads_pruned(const model_config *config);

/* Weights and biases of all attentions' projections. */
size_t kept_heads_weights(const model_config *config);

/* --- for config.c ---------------------------------------------------------------- */

/* 0 (all), or 1 to all, everywhere; ATTN_ERROR_ARGUMENT. The numbers of heads have been checked. */
attn_status kept_heads_check(const model_config *config, const char *where);
int kept_heads_equal(const model_config *a, const model_config *b);

/* Of an object that may lack the key; layers have been read, and are at most MODEL_MOST_LAYERS where
 * the key is there, else ATTN_ERROR_FORMAT. */
attn_status kept_heads_read(const char *path, const json_t *root, model_config *config);

/* Adds the key if the model is pruned; -1 if memory was short. */
int kept_heads_write(json_t *root, const model_config *config);

#endif
