/* A Transformer encoder over what is no text, and above it a classifier or, for speech, a
 * decoder that writes down what was said: pictures as
 * patches (ViT: Dosovitskiy et al. 2021), sounds as log-mel frames, which two convolutions of
 * three frames make a quarter as many (Dong et al. 2018, section 3). Both are pre-norm
 * layers alike; a picture is told by its class token, a sound by a learned attention over its
 * frames; the decoder's layers are a translator's (transformer.h), post-norm. */
#ifndef ATTN_MODEL_SIGNAL_MODEL_H
#define ATTN_MODEL_SIGNAL_MODEL_H

#include "data/log_mel.h"
#include "data/patches.h"
#include "data/vocabulary.h"
#include "model/layers.h"
#include "model/network.h"
#include "model/transformer.h"

typedef enum signal_kind {
    SIGNAL_PICTURE,
    SIGNAL_SOUND,
    SIGNAL_SPEECH /* a sound's text */
} signal_kind;

enum {
    SIGNAL_KERNEL = 3,
    SIGNAL_STRIDE = 2,
    SIGNAL_CONVOLUTIONS = 2,
    SIGNAL_FRAMES_A_ROW = SIGNAL_STRIDE * SIGNAL_STRIDE /* of speech: what becomes one place goes in as one row */
};

typedef struct signal_config {
    signal_kind kind;
    int hidden_size;         /* 2 .. 65536, a multiple of the heads */
    int num_hidden_layers;   /* 1 .. 1024 */
    int num_attention_heads;
    int intermediate_size;   /* 1 .. 2^18 */
    int hidden_act;          /* index of SIGNAL_ACTIVATIONS */
    double hidden_dropout_prob, attention_probs_dropout_prob; /* [0, 1) */
    double layer_norm_eps;
    int image_size, patch_size, num_channels; /* pictures: sides in pixels; 1 or 3 channels */
    int rate, window, hop, bins, max_frames;  /* sounds: log_mel.h; frames before the convolutions */
    int decoder_layers, vocab_size, max_target_positions; /* speech: of the text */
    int eos_token_id, pad_token_id; /* speech; the decoder starts with pad */
    vocabulary labels;       /* owned; speech has none */
} signal_config;

void signal_config_release(signal_config *c);
attn_status signal_config_check(const signal_config *c, const char *where);
attn_status signal_config_read(const char *directory, signal_config *c);
/* A config.json of another shape is refused while weights stand beside it. */
attn_status signal_config_write(const char *directory, const signal_config *c);
int signal_config_equal(const signal_config *a, const signal_config *b);
activation signal_activation(const signal_config *c);
int signal_activation_find(const char *name); /* -1: unknown */

patch_shape signal_patches(const signal_config *c);
log_mel_options signal_frames(const signal_config *c);
/* Rows of a sequence that goes in, for the longest one. */
int signal_rows(const signal_config *c);
/* Numbers in each. */
int signal_row_width(const signal_config *c);

typedef struct signal_layer {
    norm_layer before, after;
    multi_head_attention attention;
    feed_forward feed_forward;
} signal_layer;

typedef struct signal_model {
    signal_config config;
    parameters parameters;
    linear_layer patches;                         /* pictures: [width, patch numbers] */
    parameter class_token, places;                /* pictures: [1, width], [patches + 1, width] */
    linear_layer convolutions[SIGNAL_CONVOLUTIONS]; /* sounds */
    float *sinusoids;                             /* sounds: [longest, width] */
    signal_layer *layers;
    norm_layer norm;
    linear_layer pool_key;                        /* sounds: tanh(W h + b), and its query [1, width] */
    parameter pool_query;
    linear_layer classifier;                      /* [labels, width] */
    transformer text;                             /* speech: embedding and decoder; the parameters above are its own */
} signal_model;

extern const network_kind signal_picture_kind, signal_sound_kind, signal_speech_kind;

/* Takes over the config's labels. */
attn_status signal_new(signal_config *config, network_purpose purpose, signal_model **made);
void signal_free(signal_model *model);

/* What a decoder attends to: features as below, speech's -> [rows, width], a row each. */
tensor *signal_memory(tape *t, const signal_model *model, const float *features, packing p);

/* features [rows, signal_row_width] of packed sequences -> one row a sequence [sequences,
 * width], which the classifier reads. Where `input` is not NULL it receives the tensor of the
 * features, for the gradient. */
tensor *signal_encode(tape *t, const signal_model *model, const float *features, packing p, tensor **input);

#endif
