/* The operations of recurrent networks with attention; ops.h has the others. */
#ifndef ATTN_TENSOR_OPS_RECURRENT_H
#define ATTN_TENSOR_OPS_RECURRENT_H

#include "tensor/ops.h"
#include "tensor/recurrent_rows.h"

/* One layer over packed sequences, in one direction or two: all but the products of the
 * input, which op_linear gives for all tokens at once. */
typedef struct recurrent_inputs {
    tensor *projected; /* [tokens, directions * gates * hidden], input bias included */
    parameter weight[2]; /* [gates * hidden, hidden], forward and backward in time */
    parameter bias[2];   /* [1, gates * hidden] */
    int directions;      /* 1 or 2 */
    cell_kind cell;
    int64_t hidden; /* units in each direction */
    packing packing;
} recurrent_inputs;

/* States h of all tokens [tokens, directions * hidden]; each sequence begins with 0. */
tensor *op_recurrent(tape *t, const recurrent_inputs *inputs);

/* [sequences, columns]: of a layer in two directions, what each has seen of the whole
 * sequence: the first half of the columns from the last token, the second from the first. No
 * sequence is empty. */
tensor *op_ends(tape *t, tensor *x, packing p);

/* A decoder's layer; the first one's input products come from outside. */
typedef struct decoder_cell {
    parameter input, input_bias; /* [gates * hidden, hidden], [1, gates * hidden]; not in the first */
    parameter state, state_bias; /* [gates * hidden, hidden], [1, gates * hidden] */
} decoder_cell;

/* The decoder's parameters within the loop over time (Luong et al. 2015, 3.1 and 3.3):
 *     h_t = cells(x_t, f_{t-1}, h_{t-1})     f: what is fed back, "input feeding"
 *     a_t = softmax over the source of score(h_t, m_j),    c_t = sum_j a_tj m_j
 *     f_t = dropout(tanh(W_c [c_t; h_t] + b_c))            f_{-1} = 0 */
typedef struct recurrent_decoder {
    cell_kind cell;
    score_kind score;
    int layers;
    int64_t hidden; /* units of a layer, and width of the memory and of the keys */
    int64_t width;  /* of f and of the result */
    const decoder_cell *cells; /* [layers] */
    parameter feed;            /* [gates * hidden, width] */
    parameter query, energy;   /* additive: W [hidden, hidden] and v [1, hidden] */
    parameter combine, combine_bias; /* W_c [width, 2 * hidden], [1, width] */
} recurrent_decoder;

typedef struct decoder_inputs {
    const recurrent_decoder *decoder;
    tensor *projected; /* [target tokens, gates * hidden]: W x + b of the first layer */
    tensor *memory;    /* [source tokens, hidden] */
    tensor *keys;      /* [source tokens, hidden]: the memory itself (dot), W m, U m + b */
    tensor *initial;   /* [sequences, layers * state]: the states before the first token */
    packing target, source;
    float dropout;
    const char *part; /* for the probe */
} decoder_inputs;

/* f of all target tokens [target tokens, width]. */
tensor *op_recurrent_decoder(tape *t, const decoder_inputs *inputs);

#endif
