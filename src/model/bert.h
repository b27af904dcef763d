/* BERT (Devlin et al. 2019): an encoder over [CLS] text [SEP] with learned positions, post-norm
 * layers, and a head that names the text's class or guesses hidden words. Tensor names are
 * those of transformers' BertForSequenceClassification and BertForMaskedLM.
 *
 * With config.convolution = k > 0 each word's row x_i takes in its neighbours' before the layers:
 * x_i = norm(x_i + act(W [x_{i - (k - 1) / 2}; ..; x_{i + (k - 1) / 2}] + b)), rows outside the text 0
 * (convolutions below self-attention: Yu et al. 2018, 2.2). What BERT does not have.
 *
 * With config.letters a word's vector is its row of the words plus the mean of its letters' rows
 * (spelling.h); a word outside the vocabulary is [UNK]'s row and its letters.
 *
 * Texts have one segment here, so the row of token type 0 is added to the positions when a
 * folder is read, and taken off the other types: the same sums, one table less. */
#ifndef ATTN_MODEL_BERT_H
#define ATTN_MODEL_BERT_H

#include "data/spelling.h"
#include "data/tokenizer.h"
#include "model/bert_config.h"
#include "model/layers.h"
#include "model/network.h"

/* What a run does at random to the ids, while a tape records. */
typedef struct bert_noise {
    float word_dropout; /* classifying: the chance that a token becomes [UNK]; half of them keep their letters */
    float r_drop;       /* classifying: the weight of what two readings of a text differ; 0: one reading */
    float mask_share;   /* guessing: the chance that a token is to be guessed */
} bert_noise;

typedef struct bert {
    bert_config config;
    bert_noise noise;
    parameters parameters;
    parameter words, positions, types;
    parameter letters;         /* config.letters > 0: [letters, width] */
    spelling known;            /* of the vocabulary's words */
    const spelling *more;      /* lent: of the words behind it, ids from config.vocab_size; or NULL */
    layer_norm embedding_norm;
    linear_layer convolution;  /* config.convolution > 0: [width, convolution * width] */
    layer_norm convolution_norm;
    encoder_layer *layers;     /* [config.layers] */
    linear_layer pooler;       /* BERT_CLASSIFY: [width, width], tanh */
    parameter pool_query;      /* BERT_POOL_ATTENTION: [1, width] */
    linear_layer classifier;   /* [labels, width] */
    linear_layer transform;    /* BERT_MASKED: [width, width] */
    layer_norm transform_norm;
    parameter guess_bias;      /* [1, vocabulary] */
} bert;

extern const network_kind bert_kind;

/* All parameters zero; the config is copied. */
attn_status bert_new(const bert_config *config, network_purpose purpose, bert **made);
void bert_free(bert *model); /* NULL is allowed */

/* Takes the special tokens' ids over where the config does not know them. */
void bert_set_tokens(bert *model, const tokenizer *t);

/* Learns how the vocabulary's words are spelled, where config.letters says so: before the first text. */
attn_status bert_spell(bert *model, const tokenizer *t);

/* Reads the encoder's weights of a folder of the same shape; those of a head where the
 * folder has one of this shape, else they are left as they are. */
attn_status bert_read_encoder(bert *model, const char *directory);

/* Packed [CLS] .. [SEP] sequences -> [tokens, width]; ids are the vocabulary's or those of model->more. Too long or an id out of range:
 * ATTN_ERROR_ARGUMENT. */
tensor *bert_encode(tape *t, const bert *model, const int32_t *ids, packing p);

/* [sequences, labels]: a classifier's logits. */
tensor *bert_logits(tape *t, const bert *model, const int32_t *ids, packing p);

/* The vector of each sequence that the classifier's last layer sees. */
tensor *bert_pool(tape *t, const bert *model, tensor *x, packing p);

#endif
