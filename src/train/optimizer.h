/* Adam, AdamW and SGD over a model's contiguous blocks, with gradient clipping, parts
 * that are frozen, and the moving average of the weights. */
#ifndef ATTN_TRAIN_OPTIMIZER_H
#define ATTN_TRAIN_OPTIMIZER_H

#include <attn/attn.h>

#include "tensor/parameters.h"
#include "tensor/rows.h"

typedef struct optimizer_settings {
    attn_optimizer kind;
    double beta1, beta2, epsilon; /* Adam, AdamW */
    double momentum;              /* SGD */
    double weight_decay;          /* AdamW; on matrices, not on norms and biases */
    double clip;                  /* the gradient's norm is held to this; 0: free */
    double average_decay;         /* 0: no average */
    const char *const *frozen;    /* beginnings of the names that keep their values, ended by
                                   * NULL (or NULL); must outlive the optimizer */
} optimizer_settings;

/* A piece of the blocks that is treated alike; one task. */
typedef struct stretch {
    int64_t at, n;
    int decays;
} stretch;

typedef struct optimizer {
    optimizer_settings settings;
    parameters *parameters;
    const row_kernels *rows;
    float *first;     /* first moment or SGD's velocity, in the parameters' layout */
    float *second;    /* second moment; NULL for SGD */
    float *average;   /* moving average of the weights, or NULL */
    stretch *stretches;
    size_t stretch_count;
    double *sums;     /* [stretch_count], of squares */
    int64_t updates;  /* done so far */
    int64_t skipped;  /* updates left out: the gradient was not finite */
    int64_t skipped_in_a_row;
} optimizer;

attn_status optimizer_open(optimizer *o, parameters *set, const optimizer_settings *settings);
void optimizer_close(optimizer *o);

/* One update by g = scale * the gradients in the block:
 *   Adam  m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2,
 *         w -= rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
 *   AdamW the same, and w -= rate decay w
 *   SGD   v = momentum v + g, w -= rate v
 * with the average and the bf16 copies. *norm is g's 2-norm before clipping; where it is
 * not finite nothing is changed, the update counts as skipped and ATTN_ERROR_NUMERIC is
 * returned, naming a parameter. */
attn_status optimizer_update(optimizer *o, double rate, double scale, double *norm);

/* Bytes that one update reads and writes. */
double optimizer_bytes(const optimizer *o);

#endif
