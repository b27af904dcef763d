/* One update's gradient. The batch is cut into parts of whole sequences; a part goes
 * forward and backward on one thread, with a tape of its own and no waiting for others,
 * and leaves its gradient in a block of its own; the blocks are then added in order. So
 * a part's activations stay in a core's cache, and the bits depend on the batch alone.
 *
 * A model too large for a block a part is worked on as one part by all threads. */
#ifndef ATTN_TRAIN_STEP_H
#define ATTN_TRAIN_STEP_H

#include "model/network.h"

typedef struct gradient_step gradient_step;

/* For a network that is trained; it keeps the whole gradient in its parameters' block. */
attn_status gradient_step_open(const network *n, gradient_step **made);
void gradient_step_free(gradient_step *s); /* NULL is allowed */

typedef struct gradient_task {
    float smoothing;
    double divisor;        /* the gradient is that of the batch's summed loss over this */
    int adds;              /* 1: to the model's gradients; 0: in their place */
    uint64_t seed, number; /* random numbers come from these two */
} gradient_task;

/* The gradient of a batch, in the model's gradients; *result sums over the batch. */
attn_status gradient_step_run(gradient_step *s, const batch *b, const gradient_task *task, loss_result *result);

/* The products' roof of one thread, operations a second (gemm_roof). */
double gradient_step_roof(gradient_step *s);

/* Bytes of activations and of gradient blocks held. */
size_t gradient_step_memory(const gradient_step *s);

#endif
