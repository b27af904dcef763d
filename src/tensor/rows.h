/* Arithmetic on one row (or one run) of f32, everything that is not a matrix
 * product or attention: normalisation, dropout, activations, softmax with
 * cross-entropy, the optimizer's update. One table of functions per instruction set,
 * compiled from the one body in rows_body.h; rows_select picks at run time. */
#ifndef ATTN_TENSOR_ROWS_H
#define ATTN_TENSOR_ROWS_H

#include "tensor/element.h"

/* What one step of Adam or AdamW needs (Kingma & Ba 2015, Algorithm 1; Loshchilov &
 * Hutter 2019, Algorithm 2). */
typedef struct adam_step {
    float rate;                        /* learning rate */
    float beta1, beta2, epsilon;
    float correction1, correction2;    /* 1 - beta^t */
    float decay;                       /* decoupled weight decay, times rate; 0 for Adam */
    float gradient_scale;              /* clipping */
} adam_step;

typedef struct row_kernels {
    void (*widen)(float *out, const bf16 *in, int64_t n);
    void (*narrow)(bf16 *out, const float *in, int64_t n);

    /* out += in */
    void (*add)(float *out, const float *in, int64_t n);

    /* values *= mask / keep: the mask of row `row` of the stream `key`, drop chance
     * rounded to 1/65536 (drop = 65536 p). */
    void (*dropout)(float *values, int64_t n, uint64_t key, int64_t row, uint32_t drop);

    /* normalized = (x - mean) / sqrt(var + epsilon), y = gain * normalized + bias;
     * returns 1 / sqrt(var + epsilon). May be in place. Ba et al. 2016. */
    float (*layer_norm)(float *y, float *normalized, const float *x, const float *gain, const float *bias,
                        int64_t n, float epsilon);
    /* dx = rstd (g dy - mean(g dy) - normalized mean(g dy normalized)); d_gain += dy
     * normalized; d_bias += dy. */
    void (*layer_norm_backward)(float *dx, float *d_gain, float *d_bias, const float *dy, const float *normalized,
                                const float *gain, int64_t n, float rstd);

    /* normalized = x / sqrt(mean x^2 + epsilon), y = gain * normalized; returns
     * 1 / sqrt(mean x^2 + epsilon). May be in place. Zhang & Sennrich 2019. */
    float (*rms_norm)(float *y, float *normalized, const float *x, const float *gain, int64_t n, float epsilon);
    /* dx = rstd (g dy - normalized mean(g dy normalized)); d_gain += dy normalized. */
    void (*rms_norm_backward)(float *dx, float *d_gain, const float *dy, const float *normalized, const float *gain,
                              int64_t n, float rstd);

    /* Logits z [n] of one token, label y. Returns the cross-entropy against the smoothed
     * target q = (1 - smoothing) onehot(y) + smoothing / n, and gives the gradient
     * scale (softmax(z) - q): it replaces z, or where copy [n] is given is stored there and z is
     * lost; and it is added to sums [n], unless that is NULL. *likelihood is log softmax(z)[y];
     * *correct is 1 if no other z is larger than z[y]. Szegedy et al. 2016, section 7. */
    float (*cross_entropy)(float *z, bf16 *copy, float *sums, int64_t n, int64_t y, float smoothing, float scale,
                           float *likelihood, int *correct);
    /* z -= log sum exp z; returns the log sum exp. */
    float (*log_softmax)(float *z, int64_t n);

    /* y = x sigmoid(x), and dx = dy (s + x s (1 - s)), s = sigmoid(x). In place. */
    void (*swish)(float *x, int64_t n);
    void (*swish_backward)(float *dy, const float *x, int64_t n);
    /* y = x / 2 (1 + erf(x / sqrt 2)) and its derivative; Hendrycks & Gimpel 2016. */
    void (*gelu)(float *x, int64_t n);
    void (*gelu_backward)(float *dy, const float *x, int64_t n);
    /* The same with tanh in place of erf: y = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))),
     * as GPT-2 has it. */
    void (*gelu_tanh)(float *x, int64_t n);
    void (*gelu_tanh_backward)(float *dy, const float *x, int64_t n);
    /* dy = 0 where y <= 0. */
    void (*rectify_backward)(float *dy, const float *y, int64_t n);

    /* value, first and second moment; copy (may be NULL) receives value as bf16. */
    void (*adam)(float *value, float *first, float *second, const float *gradient, bf16 *copy, int64_t n,
                 const adam_step *step);
    /* average += share (values - average) */
    void (*blend)(float *average, const float *values, int64_t n, float share);
    double (*sum_of_squares)(const float *values, int64_t n);
    /* log sum exp z, by log_softmax's arithmetic */
    float (*log_sum_exp)(const float *z, int64_t n);
    /* y [width] = attention of one query [width] to places[0 .. count - 1] of rows [.., 2 width],
     * each a key and a value of all heads, scores scaled by 1 / sqrt(width / heads), which is a
     * multiple of 16. room: heads * (count rounded up to 16) f32. count >= 1. next [next_count]: the places
     * that the next call will want, which are asked for already; none changes nothing but the time. */
    void (*attend)(float *y, const float *q, const float *rows, int64_t width, int64_t heads, const int32_t *places,
                   int64_t count, const int32_t *next, int64_t next_count, float *room);
    /* The first index >= from whose value is above the bound; n if there is none. */
    int64_t (*next_above)(const float *values, int64_t from, int64_t n, float bound);
    /* A value that at least `wanted` >= 1 of values [n] reach, seldom more than a few others; the largest
     * for 1, -infinity where it finds none. NaN does not count. */
    float (*floor_of)(const float *values, int64_t n, int wanted);
} row_kernels;

/* The table for cpu_selected(). */
const row_kernels *rows_select(void);

#endif
