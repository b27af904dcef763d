/* y = activation(x W^T + b).
 *
 * x [tokens, in], W [out, in], b [1, out], y [tokens, out]. With g = dy activation'(.):
 *   dx = g W      dW = g^T x      db = sum over tokens of g
 * For relu, g = dy where y > 0; for tanh, g = dy (1 - y^2). For swish and both gelus the
 * product is kept beside y. */
#include <math.h>

#include "tensor/ops.h"
#include "tensor/partial_sums.h"

typedef struct linear_context {
    tensor *x, *y;
    tensor *product; /* before the activation; y itself for none, relu and tanh */
    parameter weight, bias;
    activation kind;
} linear_context;

static void tanh_backward(float *dy, const float *y, int64_t n) {
    for (int64_t j = 0; j < n; j++) {
        dy[j] *= 1 - y[j] * y[j];
    }
}

/* Turns dy into g in place and sums db, one pass over the rows. */
static void activation_backward(tape *t, const linear_context *c) {
    tensor *y = c->y;
    int64_t n = y->columns;
    partial_sums sums;
    if (partial_sums_open(t, &sums, y->rows, n)) {
        return;
    }
    int passes = c->kind == ACTIVATION_NONE ? 1 : 3;
    profile_place before = profile_enter(t->profile, PROFILE_LINEAR_ROWS, PROFILE_BACKWARD, tensor_bytes(y, passes));
#pragma omp parallel for schedule(static)
    for (int64_t chunk = 0; chunk < sums.chunks; chunk++) {
        float room[n + 16], other[n + 16];
        float *partial = partial_sums_chunk(&sums, chunk);
        for (int64_t i = partial_sums_first(chunk); i < partial_sums_end(&sums, chunk); i++) {
            void *stored = gradient_row(y, y->gradient, i);
            const float *g = row_read(t, y->type, stored, room, n);
            if (c->kind != ACTIVATION_NONE) {
                const float *seen = row_read(t, y->type, tensor_row(c->product, i), other, n);
                if (g != room) {
                    memcpy(room, g, (size_t)n * sizeof(float));
                }
                if (c->kind == ACTIVATION_RELU) {
                    t->rows->rectify_backward(room, seen, n);
                } else if (c->kind == ACTIVATION_SWISH) {
                    t->rows->swish_backward(room, seen, n);
                } else if (c->kind == ACTIVATION_TANH) {
                    tanh_backward(room, seen, n);
                } else {
                    (c->kind == ACTIVATION_GELU ? t->rows->gelu_backward : t->rows->gelu_tanh_backward)(room, seen, n);
                }
                row_write(t, y->type, stored, room, n);
                g = room;
            }
            t->rows->add(partial, g, n);
        }
    }
    if (c->bias.columns) {
        partial_sums_add_to(t, &sums, parameter_gradients(t->parameters, c->bias));
    } else {
        arena_return_to(t->memory, sums.mark);
    }
    profile_return(t->profile, before);
}

static void linear_backward(tape *t, void *context) {
    linear_context *c = context;
    if (!c->y->gradient) {
        return;
    }
    if (c->bias.columns || c->kind != ACTIVATION_NONE) {
        activation_backward(t, c);
    }
    int accumulate;
    matrix g = gradient_matrix(c->y);
    if (!tape_gradient(t, c->x, &accumulate)) {
        return;
    }
    double operations = product_operations(g.rows, c->weight.rows, c->weight.columns);
    profile_place before = profile_enter(t->profile, PROFILE_LINEAR, PROFILE_BACKWARD, operations);
    tape_fail(t, tape_product(t, gradient_matrix(c->x), g, c->weight, 0, (gemm_options){.accumulate = accumulate}));
    if (!parameters_frozen(t->parameters, c->weight)) {
        (void)profile_enter(t->profile, PROFILE_LINEAR_WEIGHTS, PROFILE_BACKWARD, operations);
        matrix d_weight = matrix_of(parameter_gradients(t->parameters, c->weight), c->weight.rows, c->weight.columns,
                                    ELEMENT_F32);
        tape_fail(t, gemm(t->gemm, d_weight, matrix_transpose(g), tensor_matrix(c->x), (gemm_options){.accumulate = 1}));
    }
    profile_return(t->profile, before);
    tape_release_gradient(t, c->y);
}

attn_status multiply_packed(tape *t, matrix y, matrix x, const packed_weight *weight, gemm_options options) {
    arena_mark mark = arena_get_mark(t->memory);
    void *room = tape_memory(t, (int64_t)product_room(weight, x.rows), 1);
    if (room) {
        product_run(y.data, y.stride, x.data, x.stride, x.rows, weight, options.bias, options.rectify, room);
    }
    arena_return_to(t->memory, mark);
    return t->status;
}

/* Row i of y from the product's: for every kind that the product's own pass does not do. */
static void activate_row(const tape *t, const linear_context *c, int64_t i) {
    const int64_t n = c->y->columns;
    float room[n + 16];
    row_load(t, c->y->type, tensor_row(c->product, i), room, n);
    if (c->kind == ACTIVATION_TANH) {
        for (int64_t j = 0; j < n; j++) {
            room[j] = tanhf(room[j]);
        }
    } else {
        (c->kind == ACTIVATION_SWISH ? t->rows->swish
         : c->kind == ACTIVATION_GELU ? t->rows->gelu : t->rows->gelu_tanh)(room, n);
    }
    row_write(t, c->y->type, tensor_row(c->y, i), room, n);
}

tensor *op_linear(tape *t, tensor *x, parameter weight, parameter bias, activation kind) {
    if (!x || t->status) {
        return NULL;
    }
    tensor *product = tape_tensor(t, x->rows, weight.rows);
    int separate = kind == ACTIVATION_SWISH || kind == ACTIVATION_GELU || kind == ACTIVATION_GELU_TANH;
    tensor *y = separate ? tape_tensor(t, x->rows, weight.rows) : product;
    linear_context *c = tape_memory(t, 1, sizeof *c);
    if (!product || !y || !c) {
        return NULL;
    }
    *c = (linear_context){x, y, product, weight, bias, kind};
    gemm_options options = {.bias = bias.columns ? parameter_values(t->parameters, bias) : NULL,
                            .rectify = kind == ACTIVATION_RELU};
    const packed_weight *packed = t->packed ? packed_parameters_find(t->packed, weight) : NULL;
    profile_place before = profile_enter(t->profile, PROFILE_LINEAR, PROFILE_FORWARD,
                                         product_operations(x->rows, weight.rows, weight.columns));
    tape_fail(t, packed ? multiply_packed(t, tensor_matrix(product), tensor_matrix(x), packed, options)
                        : tape_product(t, tensor_matrix(product), tensor_matrix(x), weight, 1, options));
    if (separate || kind == ACTIVATION_TANH) {
        int64_t n = y->columns;
        (void)profile_enter(t->profile, PROFILE_LINEAR_ROWS, PROFILE_FORWARD, tensor_bytes(y, 2));
        if (y->rows * n < PARALLEL_VALUES) {
            for (int64_t i = 0; i < y->rows; i++) {
                activate_row(t, c, i);
            }
        } else {
#pragma omp parallel for schedule(static)
            for (int64_t i = 0; i < y->rows; i++) {
                activate_row(t, c, i);
            }
        }
    }
    profile_return(t->profile, before);
    tape_note_backward(t, linear_backward, c);
    return t->status ? NULL : y;
}
