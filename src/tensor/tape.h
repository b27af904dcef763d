/* Tensors and the tape. A layer calls operations (ops.h) one after the other; each
 * computes its result at once and, while the tape is recording, notes how to go
 * back. tape_backward walks the notes from the last to the first. Everything lives
 * in the tape's arena and is gone at tape_reset.
 *
 * An operation that fails sets the tape's status and returns NULL; an operation given
 * NULL does nothing. So a layer is written without checks and the status is looked
 * at once, at the end. */
#ifndef ATTN_TENSOR_TAPE_H
#define ATTN_TENSOR_TAPE_H

#include "base/memory.h"
#include "tensor/gemm.h"
#include "tensor/packed_parameters.h"
#include "tensor/packed_weights.h"
#include "tensor/parameters.h"
#include "tensor/profile.h"
#include "tensor/rows.h"

/* A dense [rows, columns] matrix of activations: one row a token. */
typedef struct tensor {
    void *data;
    void *gradient; /* NULL until an operation behind it goes back */
    int64_t rows, columns;
    element_type type;
} tensor;

struct tape;

typedef struct tape_note {
    void (*backward)(struct tape *, void *context);
    void *context;
} tape_note;

/* Told of each attention's weights while set: `part` names the layer
 * ("encoder.0.self", "decoder.3.cross"); weights are [heads, queries, keys] of
 * sequence `sequence`. */
typedef struct attention_probe {
    attn_status (*look)(void *context, const char *part, int64_t sequence, int64_t heads, int64_t queries,
                        int64_t keys, const float *weights);
    void *context;
} attention_probe;

/* Told on the way back, while set, of each attention: gradients [heads] are those of the loss by
 * factors 1 on the heads' outputs in sequence `sequence`, sums of output times its gradient. */
typedef struct head_probe {
    attn_status (*look)(void *context, const char *part, int64_t sequence, int64_t heads, const double *gradients);
    void *context;
} head_probe;

typedef struct tape_spare {
    void *memory;
    int64_t bytes;
} tape_spare;

/* What a model's input became, and, after the way back, the gradient there: for explaining. */
typedef struct input_watch {
    const struct tensor *rows; /* the embedded tokens [tokens, width] */
    float *gradient;           /* the same shape, on the tape's memory */
} input_watch;

typedef struct tape {
    arena *memory;
    gemm_context *gemm;
    const row_kernels *rows;
    parameters *parameters;
    const packed_parameters *packed; /* of a model that does not change, with activations in f32; or NULL */
    packed_weights *weights;         /* of a model that is trained; or NULL */
    element_type type;  /* of activations and products */
    int recording;      /* notes are taken, and dropout is on */
    uint64_t key;       /* of this step's random numbers */
    uint64_t draws;     /* streams taken from it so far */
    attn_status status; /* of the first operation that failed */
    attention_probe probe;
    head_probe head_probe;
    input_watch *watch; /* NULL: nobody asks */
    profile *profile; /* of the thread at work; NULL: nothing is timed */
    tape_note *notes;
    size_t count, capacity;
    tape_spare *spares; /* gradients' memory that is not needed any more */
    size_t spare_count, spare_capacity;
} tape;

/* The arena and the product context are taken; the parameters are not owned. */
attn_status tape_open(tape *t, parameters *set);
void tape_close(tape *t);

/* Forgets all tensors and notes; the memory is kept. */
void tape_reset(tape *t);

/* Starts a step: reset, recording or not, random numbers from (seed, step). */
void tape_start(tape *t, int recording, uint64_t seed, uint64_t step);

/* Walks the notes backwards. The last operation (a loss) has set its input's
 * gradient itself. */
attn_status tape_backward(tape *t);

/* --- for the operations -------------------------------------------------------- */

/* A tensor of the tape's type, its content undefined; NULL when memory is short. */
tensor *tape_tensor(tape *t, int64_t rows, int64_t columns);

/* count * size bytes that live as long as the tensors. */
void *tape_memory(tape *t, int64_t count, size_t size);

/* c = a W^T where transposed, else a W: with the packed weight where there is one. */
attn_status tape_product(tape *t, matrix c, matrix a, parameter weight, int transposed, gemm_options options);

/* A new stream of random numbers. */
uint64_t tape_draw(tape *t);

/* Where a model has embedded its source: fills the tape's watch, the first time in a step. The
 * operations that read x come after it. */
void tape_watch_input(tape *t, tensor *x);

/* Notes a way back, if recording. */
void tape_note_backward(tape *t, void (*backward)(tape *, void *), void *context);

/* Sets the status to the first failure. */
void tape_fail(tape *t, attn_status status);

/* The array for x's gradient. *accumulate says whether to add to what is there
 * (another operation has written) or to overwrite. NULL when memory is short. */
void *tape_gradient(tape *t, tensor *x, int *accumulate);

/* The operation that made y has gone back: the memory of its gradient serves the next
 * tape_gradient of that size, while it is in the cache. */
void tape_release_gradient(tape *t, tensor *y);

/* f32 arithmetic on stored rows. read: the row as f32, in place or widened into
 * `room` [n]. */
static inline const float *row_read(const tape *t, element_type type, const void *row, float *room, int64_t n) {
    if (type == ELEMENT_F32) {
        return row;
    }
    t->rows->widen(room, row, n);
    return room;
}

/* The row as f32 in `room` [n], to be changed there. */
static inline void row_load(const tape *t, element_type type, const void *row, float *room, int64_t n) {
    const float *values = row_read(t, type, row, room, n);
    if (values != room) {
        memcpy(room, values, (size_t)n * sizeof(float));
    }
}

static inline void row_write(const tape *t, element_type type, void *row, const float *values, int64_t n) {
    if (type == ELEMENT_F32) {
        if (row != values) {
            memcpy(row, values, (size_t)n * sizeof(float));
        }
    } else {
        t->rows->narrow(row, values, n);
    }
}

/* row = values, or row += values through `room` [n]. */
static inline void row_give(const tape *t, element_type type, void *row, float *values, float *room, int64_t n,
                            int accumulate) {
    if (accumulate) {
        t->rows->add(values, row_read(t, type, row, room, n), n);
    }
    row_write(t, type, row, values, n);
}

/* Bytes of `count` passes over x, for the profile. */
static inline double tensor_bytes(const tensor *x, int count) {
    return (double)count * (double)(x->rows * x->columns) * (double)element_size(x->type);
}

/* Operations of a product of these matrices, for the profile. */
static inline double product_operations(int64_t rows, int64_t columns, int64_t depth) {
    return 2.0 * (double)rows * (double)columns * (double)depth;
}

static inline void *tensor_row(const tensor *x, int64_t row) {
    return element_at(x->data, x->type, row * x->columns);
}

static inline void *gradient_row(const tensor *x, void *gradient, int64_t row) {
    return element_at(gradient, x->type, row * x->columns);
}

static inline matrix tensor_matrix(const tensor *x) {
    return matrix_of(x->data, x->rows, x->columns, x->type);
}

static inline matrix gradient_matrix(const tensor *x) {
    return matrix_of(x->gradient, x->rows, x->columns, x->type);
}

#endif
