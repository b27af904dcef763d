/* The Transformer (Vaswani et al. 2017) as MarianMT lays it out: one embedding table
 * for source, target and output, sinusoidal positions in two halves, post-norm layers. */
#ifndef ATTN_MODEL_TRANSFORMER_H
#define ATTN_MODEL_TRANSFORMER_H

#include "data/batch.h"
#include "model/config.h"
#include "model/layers.h"
#include "model/network.h"

typedef struct transformer {
    model_config config;
    parameters parameters;
    parameter embedding;    /* [vocabulary, width] "model.shared.weight" */
    parameter logits_bias;  /* [1, vocabulary] "final_logits_bias" */
    encoder_layer *encoder; /* [config.encoder_layers] */
    decoder_layer *decoder; /* [config.decoder_layers] */
    float *positions;       /* [max_position_embeddings, width] */
    float embedding_scale;
} transformer;

extern const network_kind transformer_kind;

/* A model of that shape, all parameters zero. */
attn_status transformer_new(const model_config *config, network_purpose purpose, transformer **made);
void transformer_free(transformer *model);

/* The same without memory for the parameters, which are declared in `set`, and with no encoder
 * where config.encoder_layers is 0. Release with transformer_release. */
attn_status transformer_declare(const model_config *config, parameters *set, transformer *model);
void transformer_release(transformer *model);

/* Fresh weights: Glorot uniform for matrices (Glorot & Bengio 2010), normal with
 * deviation width^-0.5 for the embedding, 1 and 0 for normalisation, 0 for biases. The row
 * of <pad>, which starts a target, is 0, and a row that is 0 stays so in training. That is
 * Marian's convention: CTranslate2 starts MarianMT's decoder from zeros without looking. */
void transformer_initialize(transformer *model, uint64_t seed);

/* A model folder's config and weights (not its tokenizer). */
attn_status transformer_load(const char *directory, network_purpose purpose, transformer **loaded);

/* source ids of packed sequences, each ending with </s> -> [tokens, width]. Longer than
 * the positions: ATTN_ERROR_ARGUMENT on the tape. */
tensor *transformer_encode(tape *t, const transformer *model, const int32_t *ids, packing p);

/* decoder input ids -> [tokens, width], to be turned into logits by the embedding. */
tensor *transformer_decode(tape *t, const transformer *model, const int32_t *ids, packing p, tensor *memory,
                           packing memory_packing);

/* Forward and loss of a batch; with a recording tape the gradients of the loss divided
 * by `divisor` are added to the model's. */
attn_status transformer_loss(tape *t, const transformer *model, const batch *b, float smoothing, double divisor,
                             loss_result *result);

/* Floating point operations of the model's products for so many tokens, forward; the
 * backward takes twice as many. Attention's own are left out (they are few). */
double transformer_forward_flops(const transformer *model, int64_t source_tokens, int64_t target_tokens);

#endif
