/* The beginning of a pre-norm sub-layer and the end of the one before it, in one pass each
 * way: s = x + dropout(f), y = norm(s) (Xiong et al. 2020, figure 1b). Without f, s is x.
 *
 * x, f, s, y [tokens, width]; gain, bias [1, width]. Layer normalisation (Ba et al. 2016)
 * or, without a bias, by the root of the mean square (Zhang & Sennrich 2019, equation 4):
 *   layer:  unit = (s - mean) / sqrt(var + epsilon)       y = gain unit + bias
 *   rms:    unit = s / sqrt(mean s^2 + epsilon)           y = gain unit
 * The way back, ds being also what came to s from behind:
 *   layer:  ds += rstd (gain dy - mean(gain dy) - unit mean(gain dy unit))
 *   rms:    ds += rstd (gain dy - unit mean(gain dy unit))
 *   dx += ds      df = mask ds / keep      dgain = sum dy unit      dbias = sum dy */
#include "tensor/ops.h"
#include "tensor/partial_sums.h"

typedef struct norm_context {
    tensor *x, *f, *s, *y; /* f: NULL where s is x */
    void *unit;            /* [tokens, width], stored as y is */
    float *rstd;           /* [tokens] */
    norm_layer layer;
    uint64_t key;
    uint32_t drop;
} norm_context;

/* values += the gradient that came to row i of s from behind. */
static void add_gradient_of_sum(const tape *t, const norm_context *c, int64_t i, float *values, float *room) {
    int64_t n = c->s->columns;
    if (c->f && c->s->gradient) {
        t->rows->add(values, row_read(t, c->s->type, gradient_row(c->s, c->s->gradient, i), room, n), n);
    }
}

static void give_row(const tape *t, const norm_context *c, int64_t i, float *ds, int add_x, int add_f) {
    int64_t n = c->s->columns;
    float copy[n + 16], room[n + 16];
    memcpy(copy, ds, (size_t)n * sizeof(float));
    row_give(t, c->x->type, gradient_row(c->x, c->x->gradient, i), copy, room, n, add_x);
    if (c->f) {
        if (c->drop) {
            t->rows->dropout(ds, n, c->key, i, c->drop);
        }
        row_give(t, c->f->type, gradient_row(c->f, c->f->gradient, i), ds, room, n, add_f);
    }
}

static void norm_backward(tape *t, void *context) {
    norm_context *c = context;
    tensor *y = c->y;
    int64_t n = y->columns;
    int add_x, add_f = 0, rms = c->layer.kind == NORM_RMS;
    if (!y->gradient || !tape_gradient(t, c->x, &add_x) || (c->f && !tape_gradient(t, c->f, &add_f))) {
        return;
    }
    const float *gain = parameter_values(t->parameters, c->layer.gain);
    partial_sums gains, biases;
    if (partial_sums_open(t, &gains, y->rows, n) || partial_sums_open(t, &biases, y->rows, n)) {
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t chunk = 0; chunk < gains.chunks; chunk++) {
        float dy_room[n + 16], unit_room[n + 16], ds[n + 16], *d_bias = partial_sums_chunk(&biases, chunk);
        for (int64_t i = partial_sums_first(chunk); i < partial_sums_end(&gains, chunk); i++) {
            const float *dy = row_read(t, y->type, gradient_row(y, y->gradient, i), dy_room, n);
            const float *unit = row_read(t, y->type, gradient_row(y, c->unit, i), unit_room, n);
            if (rms) {
                t->rows->rms_norm_backward(ds, partial_sums_chunk(&gains, chunk), dy, unit, gain, n, c->rstd[i]);
            } else {
                t->rows->layer_norm_backward(ds, partial_sums_chunk(&gains, chunk), d_bias, dy, unit, gain, n,
                                             c->rstd[i]);
            }
            add_gradient_of_sum(t, c, i, ds, dy_room);
            give_row(t, c, i, ds, add_x, add_f);
        }
    }
    if (!rms) {
        partial_sums_add_to(t, &biases, parameter_gradients(t->parameters, c->layer.bias));
    }
    partial_sums_add_to(t, &gains, parameter_gradients(t->parameters, c->layer.gain));
}

/* x + dropout(f) for row i, kept as s where it is a tensor of its own. */
static void add_up(const tape *t, const norm_context *c, int64_t i, float *sum, float *room) {
    int64_t n = c->x->columns;
    if (!c->f) {
        row_load(t, c->x->type, tensor_row(c->x, i), sum, n);
        return;
    }
    row_load(t, c->f->type, tensor_row(c->f, i), sum, n);
    if (c->drop) {
        t->rows->dropout(sum, n, c->key, i, c->drop);
    }
    t->rows->add(sum, row_read(t, c->x->type, tensor_row(c->x, i), room, n), n);
    row_write(t, c->s->type, tensor_row(c->s, i), sum, n);
}

static attn_status prepare(tape *t, norm_context *c, float dropout) {
    c->s = c->f ? tape_tensor(t, c->x->rows, c->x->columns) : c->x;
    c->y = tape_tensor(t, c->x->rows, c->x->columns);
    if (c->s && c->y && t->recording) {
        c->unit = tape_memory(t, c->x->rows * c->x->columns, element_size(c->y->type));
        c->rstd = tape_memory(t, c->x->rows, sizeof(float));
        c->drop = c->f ? (uint32_t)(dropout * 65536.0f + 0.5f) : 0;
        c->key = c->f ? tape_draw(t) : 0;
    }
    return t->status;
}

tensor *op_norm(tape *t, tensor *x, tensor *f, norm_layer layer, float dropout, tensor **sum) {
    *sum = NULL;
    if (!x || t->status) {
        return NULL;
    }
    int64_t n = x->columns;
    norm_context *c = tape_memory(t, 1, sizeof *c);
    if (!c) {
        return NULL;
    }
    *c = (norm_context){.x = x, .f = f, .layer = layer};
    if (prepare(t, c, dropout)) {
        return NULL;
    }
    const float *gain = parameter_values(t->parameters, layer.gain);
    const float *bias = layer.kind == NORM_RMS ? NULL : parameter_values(t->parameters, layer.bias);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < x->rows; i++) {
        float values[n + 16], unit[n + 16];
        float *kept = t->recording ? unit : NULL;
        add_up(t, c, i, values, unit);
        float rstd = bias ? t->rows->layer_norm(values, kept, values, gain, bias, n, layer.epsilon)
                          : t->rows->rms_norm(values, kept, values, gain, n, layer.epsilon);
        row_write(t, c->y->type, tensor_row(c->y, i), values, n);
        if (kept) {
            row_write(t, c->y->type, gradient_row(c->y, c->unit, i), unit, n);
            c->rstd[i] = rstd;
        }
    }
    tape_note_backward(t, norm_backward, c);
    *sum = c->s;
    return c->y;
}
