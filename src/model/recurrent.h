/* A recurrent encoder and decoder with attention: states that read the sentence in both
 * directions (Bahdanau et al. 2015, 3.2), a decoder that scores them at each step and is
 * fed its own last result (Luong et al. 2015, 3.1 and 3.3). The parts, their shapes (V
 * vocabulary, W d_model, N hidden_size, G gates of the cell, S numbers in its state), and
 * their names in model.safetensors:
 *
 *   model.shared.weight                     [V, W]     embedding of both languages, and output
 *   model.encoder.rnn.weight_ih_lL[_reverse] [G N/2, W or N], weight_hh, bias_ih, bias_hh: as
 *                                           torch.nn.GRU or LSTM(bidirectional=True) has them
 *   model.decoder.bridge.weight, .bias      [L S, N]   first states: tanh of the encoder's ends
 *   model.decoder.rnn.weight_ih_lL, ...     [G N, W or N]
 *   model.decoder.feed.weight               [G N, W]   what the first layer makes of f_{t-1}
 *   model.decoder.attention.key.weight      [N, N]     additive (with .bias) and general
 *   model.decoder.attention.query.weight    [N, N]     additive
 *   model.decoder.attention.energy          [N]        additive: v
 *   model.decoder.combine.weight, .bias     [W, 2 N]   f = tanh(W_c [context; state] + b)
 *   final_logits_bias                       [1, V] */
#ifndef ATTN_MODEL_RECURRENT_H
#define ATTN_MODEL_RECURRENT_H

#include "data/batch.h"
#include "model/config.h"
#include "model/layers.h"
#include "model/network.h"
#include "tensor/ops_recurrent.h"

/* A bidirectional layer; the input weights of both directions lie side by side. */
typedef struct recurrent_layer {
    parameter input[2], input_bias[2], state[2], state_bias[2];
} recurrent_layer;

typedef struct recurrent {
    model_config config; /* type MODEL_RECURRENT */
    parameters parameters;
    parameter embedding, logits_bias;
    recurrent_layer encoder[DECODER_LAYERS];
    linear_layer bridge, first_input; /* first_input: the decoder's weight_ih_l0 */
    linear_layer key;                 /* bias.columns 0: none */
    decoder_cell cells[DECODER_LAYERS];
    recurrent_decoder decoder; /* its cells are those above */
    float embedding_scale;
} recurrent;

extern const network_kind recurrent_kind;

/* A model of that shape, all parameters zero. */
attn_status recurrent_new(const model_config *config, network_purpose purpose, recurrent **made);
void recurrent_free(recurrent *model); /* NULL is allowed */

/* Fresh weights: uniform within N^-0.5 for the recurrent layers (PyTorch's), with 1 for
 * the LSTM's forget gates (Jozefowicz et al. 2015); Glorot uniform for other matrices;
 * normal with deviation W^-0.5 for the embedding; 0 for other biases. */
void recurrent_initialize(recurrent *model, uint64_t seed);

/* source ids of packed sequences, each ending with </s> -> [tokens, N]. */
tensor *recurrent_encode(tape *t, const recurrent *model, const int32_t *ids, packing p);

/* What the scores compare with: [tokens, N]; the memory itself for dot. */
tensor *recurrent_keys(tape *t, const recurrent *model, tensor *memory);

/* The decoder's first states [sequences, L S] from the encoder's ends [sequences, N]. */
tensor *recurrent_bridge(tape *t, const recurrent *model, tensor *ends);

/* ids embedded and projected for the first layer: [tokens, G N]. */
tensor *recurrent_project_input(tape *t, const recurrent *model, const int32_t *ids, packing p);

/* decoder input ids -> [tokens, W], to be turned into logits by the embedding. */
tensor *recurrent_decode(tape *t, const recurrent *model, const int32_t *ids, packing p, tensor *memory,
                         packing memory_packing);

/* Forward and loss of a batch, as transformer_loss. */
attn_status recurrent_loss(tape *t, const recurrent *model, const batch *b, float smoothing, double divisor,
                           loss_result *result);

/* Floating point operations of the products, forward. */
double recurrent_forward_flops(const recurrent *model, int64_t source_tokens, int64_t target_tokens);

#endif
