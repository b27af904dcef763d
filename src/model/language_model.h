/* A decoder alone (Radford et al. 2019; Touvron et al. 2023): each token is foretold from
 * those before it. Pre-norm layers,
 *   x += attention(norm(x)),  x += feed_forward(norm(x)),
 * causal, with query, key and value heads side by side in one projection. The tensors are
 * named as GPT2LMHeadModel, LlamaForCausalLM and MistralForCausalLM name them. */
#ifndef ATTN_MODEL_LANGUAGE_MODEL_H
#define ATTN_MODEL_LANGUAGE_MODEL_H

#include "model/language_config.h"
#include "model/network.h"

typedef struct language_layer {
    norm_layer attention_norm, feed_forward_norm;
    parameter projection, projection_bias; /* [(heads + 2 kv_heads) head_dim, width] */
    parameter output, output_bias;         /* [width, heads head_dim] */
    parameter inner, inner_bias;           /* [hidden, width]; Llama: gate and up, [2 hidden, width] */
    parameter outer, outer_bias;           /* [width, hidden] */
    char part[32];                         /* "decoder.0.self": what a probe is told */
} language_layer;

typedef struct language_model {
    language_config config;
    parameters parameters;
    parameter embedding; /* [vocabulary, width] */
    parameter positions; /* GPT-2: [positions, width] */
    parameter logits;    /* [vocabulary, width]; the embedding where tied */
    norm_layer final_norm;
    language_layer *layers; /* [config.layers] */
    float *turns;           /* Llama: [positions, head_dim] for op_rotary */
} language_model;

extern const network_kind language_gpt2_kind, language_llama_kind;

const network_kind *language_kind(language_family family);

attn_status language_model_new(const language_config *config, network_purpose purpose, language_model **made);
void language_model_free(language_model *model); /* NULL is allowed */

/* Normal with deviation 0.02, the projections that end a sub-layer 0.02 / sqrt(2 layers)
 * (Radford et al. 2019, 2.3); 1 and 0 for normalisation, 0 for biases. */
void language_model_initialize(language_model *model, uint64_t seed);

/* Attention of one layer: from [tokens, (heads + 2 kv_heads) head_dim] to [tokens, heads
 * head_dim]. `places`: each token's place in its text. */
typedef tensor *(*language_attend)(tape *t, void *context, const language_model *model, int layer, tensor *projected);

/* The layers over embedded tokens x; returns the last norm's result [tokens, width]. */
tensor *language_layers(tape *t, const language_model *model, tensor *x, const int32_t *places, language_attend attend,
                        void *context);

/* ids of packed texts -> [tokens, width], to be turned into logits. ATTN_ERROR_ARGUMENT
 * on the tape for a text longer than the positions or an id outside the vocabulary. */
tensor *language_forward(tape *t, const language_model *model, const int32_t *ids, packing p);

/* The same with an attention of one's own. */
tensor *language_forward_with(tape *t, const language_model *model, const int32_t *ids, packing p,
                              language_attend attend, void *context);

/* Causal attention within the packing that *context is. */
tensor *language_attend_packed(tape *t, void *context, const language_model *model, int layer, tensor *projected);

/* A batch's target alone (batch.h). */
attn_status language_loss(tape *t, const language_model *model, const batch *b, float smoothing, double divisor,
                          loss_result *result);

#endif
