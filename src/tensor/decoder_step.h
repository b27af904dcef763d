/* One step of a recurrent decoder with attention, for many rows at once: the same code in
 * training, where a row is a sequence, and in a search, where it is a hypothesis. The
 * formulas stand in ops_recurrent.h. */
#ifndef ATTN_TENSOR_DECODER_STEP_H
#define ATTN_TENSOR_DECODER_STEP_H

#include "tensor/ops_recurrent.h"
#include "tensor/time_order.h"

/* The decoder's weights, packed for one way. */
typedef struct decoder_weights {
    const recurrent_decoder *decoder;
    step_weight feed, query, combine, input[DECODER_LAYERS], state[DECODER_LAYERS];
} decoder_weights;

attn_status decoder_weights_open(tape *t, const recurrent_decoder *decoder, int backward, decoder_weights *out);
void decoder_weights_close(decoder_weights *weights);

/* Bytes of working memory that a step of so many rows needs. */
size_t decoder_weights_room(const decoder_weights *weights, int64_t rows);

/* What one row attends to: key j and value j are row places[j] (or j, where places is
 * NULL) of two arrays with rows `stride` numbers apart. */
typedef struct attended_rows {
    const float *keys, *values;
    int64_t stride;
    const int32_t *places;
    int64_t count;
    float *weights; /* [count], given back */
} attended_rows;

/* "operand": of the tape's type. */
typedef struct decoder_step_rows {
    int64_t rows;
    float *gx;                       /* [rows, gates]: in: the first layer's input sums; used up */
    float *gh;                       /* [rows, gates]: room */
    const void *fed;                 /* operand [rows, width] */
    float *state[DECODER_LAYERS];    /* [rows, cell_state]: in and out */
    const void *last[DECODER_LAYERS]; /* operand [rows, hidden]: h of the states that come in */
    void *below[DECODER_LAYERS];     /* operand [rows, hidden]: what layer 1 .. reads; given back */
    float *saved[DECODER_LAYERS];    /* [rows, CELL_SAVED hidden], or NULL */
    float *query;                    /* [rows, hidden]: what the score compares; given back */
    void *top;                       /* operand [rows, hidden]: h of the last layer; given back */
    void *joined;                    /* operand [rows, 2 hidden]: c, h; given back */
    float *result;                   /* [rows, width]: tanh(W_c [c; h] + b_c) */
    const attended_rows *attended;   /* [rows] */
    uint32_t drop;                   /* between layers */
    uint64_t drop_key[DECODER_LAYERS];
    const int64_t *tokens;           /* [rows]: the rows' numbers in the masks */
    void *room;                      /* decoder_weights_room */
} decoder_step_rows;

attn_status decoder_step_forward(const tape *t, const decoder_weights *weights, const decoder_step_rows *step);

#endif
