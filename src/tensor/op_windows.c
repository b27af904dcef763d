/* y[j] = x[a], x[a + 1], .., x[a + kernel - 1] side by side, a = stride j - (kernel - 1) / 2: the
 * windows that a convolution over time multiplies by its kernel, so that op_linear behind
 * this is the convolution. Rows outside the sequence are 0.
 *
 * x [tokens, width], y [windows, kernel * width]. A sequence of n tokens has ceil(n / stride)
 * windows. dx[a + i] += the i-th part of dy[j]; a token's windows are taken in their order. */
#include "tensor/ops.h"

typedef struct windows_context {
    tensor *x, *y;
    packing from, to;
    int64_t kernel, stride;
} windows_context;

/* The first window of a sequence that may touch its token `at`. */
static int64_t first_window(const windows_context *c, int64_t at) {
    int64_t before = at + (c->kernel - 1) / 2 - (c->kernel - 1);
    return before <= 0 ? 0 : (before + c->stride - 1) / c->stride;
}

static void windows_backward(tape *t, void *context) {
    windows_context *c = context;
    int accumulate;
    if (!c->y->gradient || !tape_gradient(t, c->x, &accumulate)) {
        return;
    }
    int64_t n = c->x->columns;
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < c->from.sequences; s++) {
        float sum[n + 16], room[n + 16];
        int64_t count = c->to.offsets[s + 1] - c->to.offsets[s];
        for (int64_t i = c->from.offsets[s]; i < c->from.offsets[s + 1]; i++) {
            int64_t at = i - c->from.offsets[s];
            memset(sum, 0, (size_t)n * sizeof(float));
            for (int64_t j = first_window(c, at); j < count; j++) {
                int64_t part = at - (j * c->stride - (c->kernel - 1) / 2);
                if (part < 0) {
                    break;
                }
                const char *row = gradient_row(c->y, c->y->gradient, c->to.offsets[s] + j);
                const void *own = row + (size_t)(part * n) * element_size(c->y->type);
                t->rows->add(sum, row_read(t, c->y->type, own, room, n), n);
            }
            row_give(t, c->x->type, gradient_row(c->x, c->x->gradient, i), sum, room, n, accumulate);
        }
    }
}

packing windows_packing(tape *t, packing p, int64_t stride) {
    int32_t *offsets = tape_memory(t, p.sequences + 1, sizeof *offsets);
    if (!offsets) {
        return (packing){NULL, 0};
    }
    offsets[0] = 0;
    for (int64_t s = 0; s < p.sequences; s++) {
        int64_t tokens = p.offsets[s + 1] - p.offsets[s];
        offsets[s + 1] = offsets[s] + (int32_t)((tokens + stride - 1) / stride);
    }
    return (packing){offsets, p.sequences};
}

tensor *op_windows(tape *t, tensor *x, packing from, packing to, int64_t kernel, int64_t stride) {
    if (!x || t->status) {
        return NULL;
    }
    int64_t n = x->columns;
    tensor *y = tape_tensor(t, to.offsets[to.sequences], kernel * n);
    windows_context *c = tape_memory(t, 1, sizeof *c);
    if (!y || !c) {
        return NULL;
    }
    *c = (windows_context){x, y, from, to, kernel, stride};
    size_t bytes = (size_t)n * element_size(x->type);
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < from.sequences; s++) {
        for (int64_t j = to.offsets[s]; j < to.offsets[s + 1]; j++) {
            int64_t begin = from.offsets[s] + (j - to.offsets[s]) * stride - (kernel - 1) / 2;
            char *row = tensor_row(y, j);
            for (int64_t i = 0; i < kernel; i++) {
                int64_t at = begin + i;
                if (at < from.offsets[s] || at >= from.offsets[s + 1]) {
                    memset(row + (size_t)i * bytes, 0, bytes);
                } else {
                    memcpy(row + (size_t)i * bytes, tensor_row(x, at), bytes);
                }
            }
        }
    }
    tape_note_backward(t, windows_backward, c);
    return y;
}
