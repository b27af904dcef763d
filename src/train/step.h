/* One update's gradient. The batch is cut into parts of whole sequences; a part goes
 * forward and backward on one thread, with a tape of its own and no waiting for others.
 * Neighbouring parts add to one block of gradients, one after the other; the blocks, eight
 * of them or two for a large model, are worked on by as many threads and then added in
 * order. So activations take memory for a part a thread, however large the batch is, and
 * the bits depend on the batch alone. Where there are more threads than blocks, they share
 * the work inside operations. */
#ifndef ATTN_TRAIN_STEP_H
#define ATTN_TRAIN_STEP_H

#include "model/network.h"

typedef struct gradient_step gradient_step;

/* For a network that is trained; it keeps the whole gradient in its parameters' block. blocks:
 * 1 to GRADIENT_BLOCKS, or 0 for as many as suit the network's size; the bits depend on it. */
enum { GRADIENT_BLOCKS = 8 };
attn_status gradient_step_open(const network *n, int blocks, gradient_step **made);
void gradient_step_free(gradient_step *s); /* NULL is allowed */

typedef struct gradient_task {
    float smoothing;
    double divisor;        /* the gradient is that of the batch's summed loss over this */
    int adds;              /* 1: to the model's gradients; 0: in their place */
    uint64_t seed, number; /* random numbers come from these two */
    profile *profile;      /* of the caller, running; receives all threads' time. NULL: none */
} gradient_task;

/* The gradient of a batch, in the model's gradients; *result sums over the batch. */
attn_status gradient_step_run(gradient_step *s, const batch *b, const gradient_task *task, loss_result *result);

/* The products' roof of one thread, operations a second (gemm_roof). */
double gradient_step_roof(gradient_step *s);

/* Bytes of activations and of gradient blocks held. */
size_t gradient_step_memory(const gradient_step *s);

#endif
