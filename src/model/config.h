/* config.json and generation_config.json of a Hugging Face model folder: a
 * model's sizes and switches. Reading is strict about what is used (type, range,
 * agreement between keys) and ignores keys it does not know; a setting that would
 * change the computation and is not built here is refused. */
#ifndef ATTN_MODEL_CONFIG_H
#define ATTN_MODEL_CONFIG_H

#include <stddef.h>

#include "base/error.h"
#include "tensor/recurrent_rows.h"

typedef enum model_type {
    MODEL_MARIAN,   /* "marian": MarianMTModel, encoder and decoder, post-norm */
    MODEL_RECURRENT /* "attn_recurrent": recurrent encoder and decoder with attention
                     * (model/recurrent.h); heads, ffn_dim and activation_function are not used */
} model_type;

typedef enum model_activation {
    MODEL_RELU,  /* "relu" */
    MODEL_SWISH, /* "swish", "silu": x / (1 + exp(-x)) */
    MODEL_GELU   /* "gelu": x / 2 (1 + erf(x / sqrt 2)) */
} model_activation;

enum { TOKEN_NONE = -1 }; /* a token that the model does not have */

/* The attentions of a Transformer that translates; numbered as attn_attention_kind. */
typedef enum model_attention { MODEL_ENCODER_SELF, MODEL_DECODER_SELF, MODEL_DECODER_CROSS, MODEL_ATTENTIONS } model_attention;

enum { MODEL_MOST_LAYERS = 1024 };

typedef struct model_config {
    model_type type;
    int vocab_size;              /* 1 .. 2^24, of both languages together */
    int d_model;                 /* width: even, 2 .. 65536 */
    int encoder_layers;          /* 1 .. 1024 */
    int decoder_layers;          /* 1 .. 1024 */
    int encoder_attention_heads; /* divides d_model */
    int decoder_attention_heads; /* divides d_model */
    int encoder_ffn_dim;         /* 1 .. 2^18: a row of f32 goes on the stack */
    int decoder_ffn_dim;         /* 1 .. 2^18: a row of f32 goes on the stack */
    int max_position_embeddings; /* longest sequence in tokens, 1 .. 2^20; times d_model at most 2^28 */
    int hidden_size;             /* recurrent: units of the decoder's layers, even, 2 .. 16384 */
    cell_kind cell;              /* recurrent: "gru", "lstm" */
    score_kind score;            /* recurrent: "additive", "dot", "general" */
    double dropout;              /* [0, 1): after embeddings and sublayers */
    double attention_dropout;    /* [0, 1): on the attention weights */
    double activation_dropout;   /* [0, 1): inside the feed-forward layers */
    double init_std;             /* (0, 10]: standard deviation of fresh weights */
    model_activation activation_function;
    int scale_embedding;                  /* 1: embeddings times sqrt(d_model) */
    int static_position_embeddings;       /* always 1: sinusoids in two halves */
    int share_encoder_decoder_embeddings; /* always 1: one vocabulary, one table */
    int tie_word_embeddings;              /* always 1: the output projection is the embedding */
    int pad_token_id;                     /* each in 0 .. vocab_size - 1, or TOKEN_NONE: */
    int eos_token_id;                     /* required */
    int bos_token_id;                     /* TOKEN_NONE in Marian models */
    int decoder_start_token_id;           /* required */
    int num_beams;                        /* 1 .. 1024: generation_config.json */
    int max_length;                       /* 1 .. 2^20: longest translation: generation_config.json */
    double length_penalty;                /* -100 .. 100: generation_config.json */
    int kept_heads[MODEL_ATTENTIONS][MODEL_MOST_LAYERS]; /* of a pruned model (model/kept_heads.h); 0: all */
} model_config;

/* A Marian model of that vocabulary: 6+6 layers, width 512, 8 heads, feed-forward
 * 2048 (Vaswani et al. 2017, base), swish as in OPUS-MT, </s> = 0, <pad> the last
 * token and the decoder's first input. */
void model_config_defaults(model_config *config, int vocab_size);

/* A recurrent model of that vocabulary: 1+1 layers, width and hidden size 256, GRU,
 * additive scores. */
void model_config_recurrent(model_config *config, int vocab_size);

size_t model_config_recurrent_weights(const model_config *config);

/* Their names, by number; NULL ends the list. */
extern const char *const CELL_NAMES[], *const SCORE_NAMES[];

/* Checks every range and agreement above; `where` begins the sentence (a path, or
 * "the model's settings"). ATTN_ERROR_ARGUMENT. */
attn_status model_config_check(const model_config *config, const char *where);

/* Number of weights of a checked config: what model.safetensors holds. */
size_t model_config_weights(const model_config *config);

/* 1 if both describe the same computation (generation's settings do not count). */
int model_config_equal(const model_config *a, const model_config *b);

/* Reads config.json at path. The generation's settings come from there too if older
 * versions of transformers left them; else they get defaults. */
attn_status model_config_read(const char *path, model_config *config);

/* Adds num_beams, max_length and length_penalty from generation_config.json. */
attn_status model_config_read_generation(const char *path, model_config *config);

/* Writes what transformers' MarianMTModel.save_pretrained writes. */
attn_status model_config_write(const char *path, const model_config *config);
attn_status model_config_write_generation(const char *path, const model_config *config);

#endif
