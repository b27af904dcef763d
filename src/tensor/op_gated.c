/* The gate of SwiGLU (Shazeer 2020, equation 6), behind one product that holds both halves:
 *   x = [g, u] [tokens, 2 n]      y = swish(g) u [tokens, n],  swish(g) = g sigmoid(g)
 *   du = dy swish(g)              dg = dy u swish'(g) */
#include "tensor/ops.h"

typedef struct gated_context {
    tensor *x, *y;
} gated_context;

static void gated_backward(tape *t, void *context) {
    gated_context *c = context;
    tensor *x = c->x, *y = c->y;
    int64_t n = y->columns;
    int accumulate;
    if (!y->gradient || !tape_gradient(t, x, &accumulate)) {
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < y->rows; i++) {
        float in[2 * n + 16], gate[n + 16], dy[n + 16], dx[2 * n + 16], room[2 * n + 16];
        row_load(t, x->type, tensor_row(x, i), in, 2 * n);
        row_load(t, y->type, gradient_row(y, y->gradient, i), dy, n);
        memcpy(gate, in, (size_t)n * sizeof *gate);
        t->rows->swish(gate, n);
        for (int64_t j = 0; j < n; j++) {
            dx[j] = dy[j] * in[n + j];
            dx[n + j] = dy[j] * gate[j];
        }
        t->rows->swish_backward(dx, in, n);
        row_give(t, x->type, gradient_row(x, x->gradient, i), dx, room, 2 * n, accumulate);
    }
}

tensor *op_gated(tape *t, tensor *x) {
    if (!x || t->status) {
        return NULL;
    }
    int64_t n = x->columns / 2;
    tensor *y = tape_tensor(t, x->rows, n);
    gated_context *c = tape_memory(t, 1, sizeof *c);
    if (!y || !c) {
        return NULL;
    }
    *c = (gated_context){x, y};
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < x->rows; i++) {
        float in[2 * n + 16];
        row_load(t, x->type, tensor_row(x, i), in, 2 * n);
        t->rows->swish(in, n);
        for (int64_t j = 0; j < n; j++) {
            in[j] *= in[n + j];
        }
        row_write(t, y->type, tensor_row(y, i), in, n);
    }
    tape_note_backward(t, gated_backward, c);
    return y;
}
