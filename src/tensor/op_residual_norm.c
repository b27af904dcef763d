/* y = LayerNorm(x + dropout(f)), one pass over the rows each way.
 *
 * x, f, y [tokens, width]; gain, bias [1, width]. The normalised rows, which take the place
 * of f's values, and 1/std are kept for the way back:
 *   ds = rstd (gain dy - mean(gain dy) - unit mean(gain dy unit))
 *   dx += ds      df = mask ds / keep      dgain = sum dy unit      dbias = sum dy */
#include "tensor/ops.h"
#include "tensor/partial_sums.h"

typedef struct residual_norm_context {
    tensor *x, *f, *y;
    void *unit;  /* [tokens, width], where f's values were */
    float *rstd; /* [tokens] */
    parameter gain, bias;
    uint64_t key;
    uint32_t drop;
} residual_norm_context;

static void residual_norm_backward(tape *t, void *context) {
    residual_norm_context *c = context;
    tensor *y = c->y;
    int64_t n = y->columns;
    int add_x, add_f;
    if (!y->gradient || !tape_gradient(t, c->x, &add_x) || !tape_gradient(t, c->f, &add_f)) {
        return;
    }
    const float *gain = parameter_values(t->parameters, c->gain);
    partial_sums gains, biases;
    if (partial_sums_open(t, &gains, y->rows, n) || partial_sums_open(t, &biases, y->rows, n)) {
        return;
    }
    int passes = 4 + add_x + add_f;
    profile_place before = profile_enter(t->profile, PROFILE_RESIDUAL_NORM, PROFILE_BACKWARD, tensor_bytes(y, passes));
#pragma omp parallel for schedule(static)
    for (int64_t chunk = 0; chunk < gains.chunks; chunk++) {
        float dy_room[n + 16], unit_room[n + 16], ds[n + 16], room[n + 16];
        for (int64_t i = partial_sums_first(chunk); i < partial_sums_end(&gains, chunk); i++) {
            const float *dy = row_read(t, y->type, gradient_row(y, y->gradient, i), dy_room, n);
            const float *unit = row_read(t, y->type, gradient_row(y, c->unit, i), unit_room, n);
            t->rows->layer_norm_backward(ds, partial_sums_chunk(&gains, chunk), partial_sums_chunk(&biases, chunk), dy,
                                         unit, gain, n, c->rstd[i]);
            memcpy(dy_room, ds, (size_t)n * sizeof(float));
            row_give(t, y->type, gradient_row(c->x, c->x->gradient, i), dy_room, room, n, add_x);
            if (c->drop) {
                t->rows->dropout(ds, n, c->key, i, c->drop);
            }
            row_give(t, y->type, gradient_row(c->f, c->f->gradient, i), ds, room, n, add_f);
        }
    }
    partial_sums_add_to(t, &biases, parameter_gradients(t->parameters, c->bias));
    partial_sums_add_to(t, &gains, parameter_gradients(t->parameters, c->gain));
    profile_return(t->profile, before);
    tape_release_gradient(t, y);
}

/* Row i of y. */
static void norm_row(const tape *t, const residual_norm_context *c, int64_t i, float epsilon) {
    const int64_t n = c->x->columns;
    const tensor *x = c->x, *f = c->f, *y = c->y;
    float sum[n + 16], unit[n + 16], room[n + 16];
    row_load(t, f->type, tensor_row(f, i), sum, n);
    if (c->drop) {
        t->rows->dropout(sum, n, c->key, i, c->drop);
    }
    t->rows->add(sum, row_read(t, x->type, tensor_row(x, i), room, n), n);
    float rstd = t->rows->layer_norm(sum, t->recording ? unit : NULL, sum, parameter_values(t->parameters, c->gain),
                                     parameter_values(t->parameters, c->bias), n, epsilon);
    row_write(t, y->type, tensor_row(y, i), sum, n);
    if (t->recording) {
        row_write(t, y->type, gradient_row(y, c->unit, i), unit, n);
        c->rstd[i] = rstd;
    }
}

tensor *op_residual_norm(tape *t, tensor *x, tensor *f, parameter gain, parameter bias, float epsilon,
                         float dropout) {
    if (!x || !f || t->status) {
        return NULL;
    }
    int64_t n = x->columns;
    tensor *y = tape_tensor(t, x->rows, n);
    residual_norm_context *c = tape_memory(t, 1, sizeof *c);
    if (!y || !c) {
        return NULL;
    }
    *c = (residual_norm_context){.x = x, .f = f, .y = y, .gain = gain, .bias = bias};
    if (t->recording) {
        c->unit = f->data;
        c->rstd = tape_memory(t, x->rows, sizeof(float));
        c->drop = (uint32_t)(dropout * 65536.0f + 0.5f);
        c->key = tape_draw(t);
        if (!c->rstd) {
            return NULL;
        }
    }
    profile_place before = profile_enter(t->profile, PROFILE_RESIDUAL_NORM, PROFILE_FORWARD, tensor_bytes(y, 4));
    if (x->rows * n < PARALLEL_VALUES) {
        for (int64_t i = 0; i < x->rows; i++) {
            norm_row(t, c, i, epsilon);
        }
    } else {
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < x->rows; i++) {
            norm_row(t, c, i, epsilon);
        }
    }
    profile_return(t->profile, before);
    tape_note_backward(t, residual_norm_backward, c);
    return y;
}
