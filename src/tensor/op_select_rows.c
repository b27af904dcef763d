/* y[i] = x[rows[i]]: some tokens of all, such as the first of each sequence or those
 * that are to be guessed.
 *
 * x [tokens, width], rows [count] rising, y [count, width]. dx[rows[i]] += dy[i]; the
 * other rows of dx get nothing. */
#include "tensor/ops.h"

typedef struct select_rows_context {
    tensor *x, *y;
    const int32_t *rows;
} select_rows_context;

static void select_rows_backward(tape *t, void *context) {
    select_rows_context *c = context;
    int accumulate;
    if (!c->y->gradient || !tape_gradient(t, c->x, &accumulate)) {
        return;
    }
    int64_t n = c->x->columns;
    if (!accumulate) {
        memset(c->x->gradient, 0, (size_t)(c->x->rows * n) * element_size(c->x->type));
    }
    for (int64_t i = 0; i < c->y->rows; i++) {
        float values[n + 16], room[n + 16];
        row_load(t, c->y->type, gradient_row(c->y, c->y->gradient, i), values, n);
        row_give(t, c->x->type, gradient_row(c->x, c->x->gradient, c->rows[i]), values, room, n, 1);
    }
}

tensor *op_select_rows(tape *t, tensor *x, const int32_t *rows, int64_t count) {
    if (!x || t->status) {
        return NULL;
    }
    tensor *y = tape_tensor(t, count, x->columns);
    select_rows_context *c = tape_memory(t, 1, sizeof *c);
    if (!y || !c) {
        return NULL;
    }
    *c = (select_rows_context){x, y, rows};
    size_t bytes = (size_t)x->columns * element_size(x->type);
    for (int64_t i = 0; i < count; i++) {
        memcpy(tensor_row(y, i), tensor_row(x, rows[i]), bytes);
    }
    tape_note_backward(t, select_rows_backward, c);
    return y;
}
