/* y = mask x / (1 - p), the mask drawn per element (Srivastava et al. 2014; scaled in
 * training, so that nothing is done afterwards). dx = mask dy / (1 - p). */
#include "tensor/ops.h"

typedef struct dropout_context {
    tensor *x, *y;
    uint64_t key;
    uint32_t drop;
} dropout_context;

static void dropout_backward(tape *t, void *context) {
    dropout_context *c = context;
    int64_t n = c->x->columns;
    int accumulate;
    if (!c->y->gradient || !tape_gradient(t, c->x, &accumulate)) {
        return;
    }
    profile_place before = profile_enter(t->profile, PROFILE_DROPOUT, PROFILE_BACKWARD, tensor_bytes(c->x, 2));
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < c->x->rows; i++) {
        float values[n + 16], room[n + 16];
        row_load(t, c->y->type, gradient_row(c->y, c->y->gradient, i), values, n);
        t->rows->dropout(values, n, c->key, i, c->drop);
        row_give(t, c->x->type, gradient_row(c->x, c->x->gradient, i), values, room, n, accumulate);
    }
    profile_return(t->profile, before);
    tape_release_gradient(t, c->y);
}

tensor *op_dropout(tape *t, tensor *x, float dropout) {
    uint32_t drop = (uint32_t)(dropout * 65536.0f + 0.5f);
    if (!x || t->status || !t->recording || drop == 0) {
        return x;
    }
    int64_t n = x->columns;
    tensor *y = tape_tensor(t, x->rows, n);
    dropout_context *c = tape_memory(t, 1, sizeof *c);
    if (!y || !c) {
        return NULL;
    }
    *c = (dropout_context){x, y, tape_draw(t), drop};
    profile_place before = profile_enter(t->profile, PROFILE_DROPOUT, PROFILE_FORWARD, tensor_bytes(x, 2));
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < x->rows; i++) {
        float values[n + 16];
        row_load(t, x->type, tensor_row(x, i), values, n);
        t->rows->dropout(values, n, c->key, i, c->drop);
        row_write(t, y->type, tensor_row(y, i), values, n);
    }
    profile_return(t->profile, before);
    tape_note_backward(t, dropout_backward, c);
    return y;
}
