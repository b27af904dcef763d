/* Arithmetic on one row of a recurrent network: the cells (Cho et al. 2014; Hochreiter &
 * Schmidhuber 1997) and the scores of attention. One table of functions per
 * instruction set, as in rows.h. All rows are f32.
 *
 * A cell of `n` units takes, for each of its gates, n sums from its input (gx, bias
 * included) and n from its last state (gh, bias included), gates side by side.
 *
 * GRU, 3 gates r z m (PyTorch's order, cuDNN's form: r inside the candidate):
 *     r = sigmoid(gx_r + gh_r)    z = sigmoid(gx_z + gh_z)    m = tanh(gx_m + r gh_m)
 *     h' = (1 - z) m + z h
 * LSTM, 4 gates i f g o:
 *     i, f, o = sigmoid(gx + gh)  g = tanh(gx_g + gh_g)
 *     c' = f c + i g              h' = o tanh(c')
 *
 * A state is h [n], for the LSTM h and then c [2 n]. What the way back needs is saved:
 * [CELL_SAVED n]. */
#ifndef ATTN_TENSOR_RECURRENT_ROWS_H
#define ATTN_TENSOR_RECURRENT_ROWS_H

#include <stdint.h>

typedef enum cell_kind {
    CELL_GRU,
    CELL_LSTM
} cell_kind;

typedef enum score_kind {
    SCORE_ADDITIVE, /* v tanh(W h + U m) (Bahdanau et al. 2015) */
    SCORE_DOT,      /* h m (Luong et al. 2015) */
    SCORE_GENERAL   /* h W m (Luong et al. 2015) */
} score_kind;

enum { DECODER_LAYERS = 16 }; /* at most */

enum { CELL_SAVED = 6 };

static inline int64_t cell_gates(cell_kind kind) {
    return kind == CELL_GRU ? 3 : 4;
}

/* Numbers in the state of a cell of n units. */
static inline int64_t cell_state(cell_kind kind, int64_t n) {
    return kind == CELL_GRU ? n : 2 * n;
}

typedef struct recurrent_kernels {
    /* The next state in place of `state`; saved may be NULL. */
    void (*gru)(float *state, float *saved, const float *gx, const float *gh, int64_t n);
    void (*lstm)(float *state, float *saved, const float *gx, const float *gh, int64_t n);

    /* d_h, d_c: in, the gradient of the next state; out, that part of the last state's which
     * does not go through gh. d_gx, d_gh: the gradients of gx and gh. The GRU has no d_c. */
    void (*gru_backward)(float *d_h, float *d_c, float *d_gx, float *d_gh, const float *saved, int64_t n);
    void (*lstm_backward)(float *d_h, float *d_c, float *d_gx, float *d_gh, const float *saved, int64_t n);

    void (*tanh)(float *x, int64_t n);
    /* dy *= 1 - y^2 */
    void (*tanh_backward)(float *dy, const float *y, int64_t n);

    float (*dot)(const float *a, const float *b, int64_t n);
    /* out += scale x */
    void (*add_scaled)(float *out, const float *x, float scale, int64_t n);
    void (*softmax)(float *x, int64_t n);

    /* sum of v tanh(q + k) (Bahdanau et al. 2015, A.1.2), and its way back for the
     * gradient `de` of the sum: d_q, d_k, d_v are added to. */
    float (*additive_score)(const float *q, const float *k, const float *v, int64_t n);
    void (*additive_backward)(float *d_q, float *d_k, float *d_v, const float *q, const float *k, const float *v,
                              float de, int64_t n);
} recurrent_kernels;

/* The table for cpu_selected(). */
const recurrent_kernels *recurrent_rows_select(void);

#endif
