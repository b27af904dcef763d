/* Packed sequences in the order of time: step 0 of all sequences, longest sequence
 * first, then step 1 of those that have one, and so on. The sequences that are still
 * running are always the first ones, so a step is a range of rows and its rows'
 * predecessors are the first rows of the step before. */
#ifndef ATTN_TENSOR_TIME_ORDER_H
#define ATTN_TENSOR_TIME_ORDER_H

#include "tensor/ops.h"

typedef struct time_order {
    int64_t sequences, steps, tokens;
    int32_t *sequence; /* [sequences]: which one has rank k: longest first */
    int32_t *base;     /* [steps + 1]: the first row of a step; the step of rank k is row base + k */
} time_order;

/* In the tape's memory. Sequences of one length keep their order. */
attn_status time_order_make(tape *t, packing p, time_order *out);

/* Sequences in a step. */
static inline int64_t time_order_running(const time_order *o, int64_t step) {
    return step < o->steps ? o->base[step + 1] - o->base[step] : 0;
}

/* Ranks are worked on in blocks, each going through time on its own. */
enum { RANK_BLOCK = 64 };

typedef struct rank_block {
    int64_t first, end;
} rank_block;

static inline int64_t rank_blocks(const time_order *o) {
    return (o->sequences + RANK_BLOCK - 1) / RANK_BLOCK;
}

static inline rank_block rank_block_at(const time_order *o, int64_t index) {
    int64_t first = index * RANK_BLOCK, end = first + RANK_BLOCK;
    return (rank_block){first, end < o->sequences ? end : o->sequences};
}

/* Rows of a step that belong to the block: from base[step] + block.first on; 0 when all
 * its sequences are over. */
static inline int64_t rank_block_rows(const time_order *o, rank_block block, int64_t step) {
    int64_t running = time_order_running(o, step), end = running < block.end ? running : block.end;
    return end > block.first ? end - block.first : 0;
}

/* A weight W [out, in] that every step multiplies by, packed once: W^T for the way
 * forward, W for the way back. */
typedef struct step_weight {
    packed_matrix *own;         /* for this pass, or */
    const packed_weight *fixed; /* the tape's, of a model that does not change */
} step_weight;

attn_status step_weight_forward(tape *t, parameter weight, step_weight *out);
attn_status step_weight_backward(tape *t, parameter weight, step_weight *out);
void step_weight_free(step_weight *weight);

/* Bytes of working memory, 64-byte aligned, that products of so many rows need. */
size_t step_weight_room(const step_weight *weight, int64_t rows);

/* c = a W^T (or a W) + bias. No sum with what c holds where the weight is fixed. */
attn_status step_product(const tape *t, const step_weight *weight, matrix c, matrix a, gemm_options options, void *room);

/* out [columns] += the sum over rows of x [rows, columns]. */
void add_column_sums(tape *t, matrix x, float *out);

/* dW += dy^T x, db += sum of dy (bias.columns 0: none), for dy and x of the tape's type. */
void add_weight_gradient(tape *t, parameter weight, parameter bias, matrix dy, matrix x);

#endif
