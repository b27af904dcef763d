/* The shape of a language model, and its config.json in the families that are built:
 * GPT2LMHeadModel, LlamaForCausalLM and MistralForCausalLM of transformers, the last being
 * Llama with a window. What transformers does not have (GPT-2 with a window, linear
 * attention) has a model_type of its own, attn_gpt2 or attn_llama, so that it is not opened
 * there as something else; its key "attention" says which (attention_span.h). Reading is strict about what
 * is used; a setting that would change the computation and is not built is refused. */
#ifndef ATTN_MODEL_LANGUAGE_CONFIG_H
#define ATTN_MODEL_LANGUAGE_CONFIG_H

#include "model/attention_span.h"

typedef enum language_family {
    LANGUAGE_GPT2, /* learned positions, LayerNorm, biases, one activation (Radford et al. 2019) */
    LANGUAGE_LLAMA /* rotary positions, RMSNorm, no biases, SwiGLU, grouped heads (Touvron et al. 2023) */
} language_family;

typedef struct language_config {
    language_family family;
    int vocab_size; /* 1 .. 2^24 */
    int width;      /* 2 .. 65536 */
    int layers;     /* 1 .. 1024 */
    int heads;
    int kv_heads;   /* divides heads; GPT-2: heads */
    int head_dim;   /* 1 .. 4096, Llama: even; GPT-2: width / heads */
    int hidden;     /* of the feed-forward, 1 .. 2^18 */
    int positions;  /* 1 .. 2^20 */
    attention_span span;
    activation kind; /* GPT-2 */
    double norm_epsilon;
    double rope_theta; /* Llama */
    int tied;          /* 1: the output projection is the embedding */
    double dropout, attention_dropout; /* of training */
    int bos, eos, pad;                 /* TOKEN_NONE: none */
} language_config;

/* ATTN_ERROR_ARGUMENT with a sentence that begins with `where`. */
attn_status language_config_check(const language_config *config, const char *where);

/* config.json, and the end token of generation_config.json where config.json has none. */
attn_status language_config_read(const char *directory, language_config *config);

/* Makes the folder and writes config.json and generation_config.json; a config.json of the
 * same shape is left; one of another shape is refused while weights stand beside it. */
attn_status language_config_write(const char *directory, const language_config *config);

/* Weights, as model.safetensors holds them. */
size_t language_config_weights(const language_config *config);

int language_config_equal(const language_config *a, const language_config *b);

#endif
