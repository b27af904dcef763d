/* The Transformer's layers under the field's names, post-norm (Vaswani et al. 2017,
 * section 3): each declares its parameters under Marian's tensor names and calls the
 * operations of the tensor room. */
#ifndef ATTN_MODEL_LAYERS_H
#define ATTN_MODEL_LAYERS_H

#include "tensor/ops.h"

/* y = x W^T + b. */
typedef struct linear_layer {
    parameter weight, bias;
} linear_layer;

typedef struct layer_norm {
    parameter gain, bias;
    float epsilon;
} layer_norm;

/* Multi-head attention (3.2.2): query, key and value projections lie side by side, so
 * self-attention projects once and cross-attention twice. */
typedef struct multi_head_attention {
    linear_layer query, key, value; /* each [width, the model's width] */
    linear_layer output;            /* [the model's width, width] */
    int64_t heads, width;           /* width: of all heads together; a pruned model's is below its own */
    char part[32]; /* "encoder.0.self": what a probe is told */
    attention_span span; /* of self-attention */
} multi_head_attention;

typedef struct feed_forward {
    linear_layer inner, outer; /* [hidden, width], [width, hidden] */
    activation kind;
} feed_forward;

typedef struct encoder_layer {
    multi_head_attention self_attention;
    layer_norm self_attention_norm;
    feed_forward feed_forward;
    layer_norm final_norm;
} encoder_layer;

typedef struct decoder_layer {
    multi_head_attention self_attention;
    layer_norm self_attention_norm;
    multi_head_attention cross_attention;
    layer_norm cross_attention_norm;
    feed_forward feed_forward;
    layer_norm final_norm;
} decoder_layer;

/* The chances of dropout: after each sub-layer, on attention weights, inside the
 * feed-forward. */
typedef struct dropout_rates {
    float residual, attention, inner;
} dropout_rates;

#define LAYER_NORM_EPSILON 1e-5f

/* Places as numbers [longest, width]: sines in the first half of the row, cosines in the second,
 * angle place / 10000^(2i / width) (Vaswani et al. 2017, 3.5; the halves are Marian's).
 * NULL: memory was short. Release with memory_free. */
float *sinusoid_positions(int64_t longest, int64_t width);

/* How many heads an attention has, and how wide each is. */
typedef struct head_shape {
    int64_t count, width;
} head_shape;

/* Declares the parameters under "model.encoder.layers.<index>." and so on. */
attn_status encoder_layer_declare(parameters *set, encoder_layer *layer, int index, int64_t width, head_shape heads,
                                  int64_t hidden, activation kind);
attn_status decoder_layer_declare(parameters *set, decoder_layer *layer, int index, int64_t width, head_shape heads,
                                  head_shape cross_heads, int64_t hidden, activation kind);

/* x [tokens, width] of packed sequences; the result likewise. */
tensor *encoder_layer_forward(tape *t, const encoder_layer *layer, tensor *x, packing p, dropout_rates rates);

/* memory: the encoder's result, packed by memory_packing. */
tensor *decoder_layer_forward(tape *t, const decoder_layer *layer, tensor *x, packing p, tensor *memory,
                              packing memory_packing, dropout_rates rates);

/* Self-attention with the fused projection; cross-attention from x to memory. Both
 * end with the output projection. */
tensor *self_attention_forward(tape *t, const multi_head_attention *a, tensor *x, packing p, int causal, float dropout);
tensor *cross_attention_forward(tape *t, const multi_head_attention *a, tensor *x, packing p, tensor *memory,
                                packing memory_packing, float dropout);
tensor *feed_forward_forward(tape *t, const feed_forward *f, tensor *x, float dropout);

/* The fused projections: queries, keys and values [tokens, 3 width]; keys and values
 * [tokens, 2 width]. */
tensor *project_all(tape *t, const multi_head_attention *a, tensor *x);
tensor *project_keys_values(tape *t, const multi_head_attention *a, tensor *memory);

#endif
