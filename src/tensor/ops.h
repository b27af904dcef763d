/* The operations, coarse: each has a file op_*.c with its formula, its forward and its
 * backward side by side. All take and give [tokens, width] tensors; packed sequences
 * are told by offsets. Where a tape is not recording, dropout is off. */
#ifndef ATTN_TENSOR_OPS_H
#define ATTN_TENSOR_OPS_H

#include "tensor/tape.h"

/* Fewer values than this are no work for a team of threads: opening one takes longer than a row. */
enum { PARALLEL_VALUES = 1 << 15 };

typedef enum activation {
    ACTIVATION_NONE,
    ACTIVATION_RELU,
    ACTIVATION_SWISH,
    ACTIVATION_GELU,
    ACTIVATION_TANH,
    ACTIVATION_GELU_TANH
} activation;

/* Sequences packed one behind the other: sequence s is rows offsets[s] to
 * offsets[s + 1] - 1. */
typedef struct packing {
    const int32_t *offsets; /* [sequences + 1] */
    int64_t sequences;
} packing;

/* y[t] = dropout(scale * table[ids[t]] + positions[t's place in its sequence]).
 * table [vocabulary, width]; positions [longest, width] f32 or NULL. The caller has
 * checked the ids and lengths. */
tensor *op_embedding(tape *t, parameter table, const int32_t *ids, packing p, const float *positions, float scale,
                     float dropout);

/* y[t] = x[t] + the mean of table[ids[k]], k = offsets[t] .. offsets[t + 1] - 1: a token's own rows, nothing
 * where it has none. table [numbers, width], offsets [tokens + 1]. The caller has checked the ids; both
 * arrays live as long as the tape's step. */
tensor *op_row_means(tape *t, tensor *x, parameter table, const int32_t *ids, const int32_t *offsets);

/* A row of the table stays as it is: whatever is recorded after this, its gradient is 0. */
void op_hold_row(tape *t, parameter table, int64_t row);

/* values [rows, columns] as a tensor of the tape's type: what a model is given that is no
 * word. */
tensor *op_features(tape *t, const float *values, int64_t rows, int64_t columns);

/* y[j] = x[a], .., x[a + kernel - 1] side by side, a = stride j - (kernel - 1) / 2, for each
 * sequence; 0 outside it. op_linear behind it is a convolution over time. `to` is
 * windows_packing(t, from, stride): ceil(n / stride) windows of n tokens; its offsets are
 * NULL where memory was short. */
packing windows_packing(tape *t, packing from, int64_t stride);
tensor *op_windows(tape *t, tensor *x, packing from, packing to, int64_t kernel, int64_t stride);

/* y = dropout([first; x] + positions) for each sequence. `to` is place_packing(t, from,
 * options): one row more a sequence where there is a first. No sequence is longer than the
 * positions. */
typedef struct place_options {
    const parameter *first;   /* [1, width], or NULL */
    const parameter *learned; /* positions [longest, width], or NULL */
    const float *constant;    /* positions that are not learned, or NULL */
    float dropout;
} place_options;
packing place_packing(tape *t, packing from, const place_options *options);
tensor *op_place(tape *t, tensor *x, packing from, packing to, place_options options);

/* y = x W^T (+ bias, rectified) for packed weights and f32 x and y; options.accumulate is not
 * looked at. */
attn_status multiply_packed(tape *t, matrix y, matrix x, const packed_weight *weight, gemm_options options);

/* y = activation(x W^T + b): W [out, in], b [out], or none where bias.columns is 0. */
tensor *op_linear(tape *t, tensor *x, parameter weight, parameter bias, activation kind);

/* y = swish(g) u for x = [g, u] side by side: [tokens, columns of x / 2], the gate of SwiGLU
 * (Shazeer 2020, equation 6). */
tensor *op_gated(tape *t, tensor *x);

/* Turns pairs of columns of x by angles that grow with the token's place, in place (Su et al.
 * 2021, 3.4.2): `heads` heads of head_dim from column 0 on; of each head, columns i and
 * i + head_dim / 2 by place * frequency[i]. places [tokens]; turns [longest, head_dim]: the
 * cosines of a place's angles, then the sines. Returns x. */
tensor *op_rotary(tape *t, tensor *x, const int32_t *places, const float *turns, int64_t heads, int64_t head_dim);

/* y = dropout(x), in a pass of its own (inside the feed-forward). */
tensor *op_dropout(tape *t, tensor *x, float dropout);

/* y = LayerNorm(x + dropout(f)): the end of each sub-layer (Vaswani et al. 2017,
 * 5.4 and 3.1). f's values are used up: nothing else may read them, then or on the way back
 * (a product without an activation does not). */
tensor *op_residual_norm(tape *t, tensor *x, tensor *f, parameter gain, parameter bias, float epsilon, float dropout);

typedef enum norm_kind { NORM_LAYER, NORM_RMS } norm_kind;

typedef struct norm_layer {
    norm_kind kind;
    parameter gain, bias; /* [1, width]; NORM_RMS has no bias */
    float epsilon;
} norm_layer;

/* s = x + dropout(f), y = norm(s): between two pre-norm sub-layers. Returns y; *sum is s, to
 * be added to at the end of the next sub-layer. f NULL: s is x (the first sub-layer). */
tensor *op_norm(tape *t, tensor *x, tensor *f, norm_layer layer, float dropout, tensor **sum);

/* Which columns of which tensors hold queries, keys and values: a fused projection
 * gives all three in one tensor. */
/* What a query is compared with, and how. */
typedef enum attention_kind {
    ATTENTION_FULL,   /* every token: a causal query those up to itself */
    ATTENTION_WINDOW, /* the nearest ones (Beltagy et al. 2020, 3.1) */
    ATTENTION_LINEAR  /* every token, without softmax (Katharopoulos et al. 2020) */
} attention_kind;

typedef struct attention_span {
    attention_kind kind;
    int window; /* ATTENTION_WINDOW, >= 1. Causal: so many tokens, the query's own the last of them;
                 * else window / 2 tokens to each side of it */
} attention_span;

typedef struct attention_inputs {
    tensor *queries, *keys; /* values are in the keys' tensor */
    int64_t query_column, key_column, value_column;
    int64_t heads, head_dim;
    packing query_packing, key_packing;
    int causal;
    float dropout;
    const char *part; /* for the probe */
    int64_t kv_heads; /* divides heads; 0: as many */
    attention_span span;
} attention_inputs;

/* Scaled dot-product attention of packed sequences, heads side by side:
 * [query tokens, heads * head_dim]. ATTENTION_LINEAR takes no dropout. */
tensor *op_attention(tape *t, const attention_inputs *inputs);

/* y[s] = sum over sequence s of a[t] h[t], a = softmax of query . k[t]: a vector a
 * sequence by learned attention. k [tokens, hidden], query [1, hidden]. The probe is told
 * of the weights as `part`, one head, one query. Every sequence has a token. */
tensor *op_attention_pool(tape *t, tensor *h, tensor *k, parameter query, packing p, const char *part);

/* y[i] = x[rows[i]], rows rising; `rows` lives as long as the tape's step. */
tensor *op_select_rows(tape *t, tensor *x, const int32_t *rows, int64_t count);

typedef struct loss_result {
    double loss;       /* sum over tokens, label smoothing included */
    double likelihood; /* sum over tokens of log p(label) */
    int64_t correct;   /* tokens whose label is the likeliest */
    int64_t tokens;
} loss_result;

/* logits = x table^T + bias (none where bias.columns is 0); cross-entropy against labels with label smoothing. While
 * recording, x's gradient and the parameters' are set at once, for the loss divided
 * by `divisor`. Logits exist for a block of tokens at a time. `token_likelihood`
 * (may be NULL) receives log p(label) of each token. */
attn_status op_cross_entropy(tape *t, tensor *x, parameter table, parameter bias, const int32_t *labels,
                             float smoothing, double divisor, loss_result *result, float *token_likelihood);

/* z [2 n, classes] (classes at most 65,536): rows i and n + i are the logits of two readings of text i,
 * whose label is labels[i]. The mean of their cross-entropies and `weight` / 4 of what they differ, both ways
 * (R-Drop, Wu et al. 2021, 3); likelihood: the mean of both, correct: of the first. While recording, z's
 * gradient is set at once, for the loss divided by `divisor`. */
attn_status op_agreement(tape *t, tensor *z, const int32_t *labels, float smoothing, float weight, double divisor,
                         loss_result *result);

#endif
