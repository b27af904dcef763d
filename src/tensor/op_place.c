/* Vectors that are no words get their places: y = dropout([first; x] + positions), for each
 * sequence (Dosovitskiy et al. 2021, equation 1).
 *
 * x [tokens, width]; first [1, width], a learned row in front of each sequence, such as the
 * class token, or none; positions [longest, width], learned, or constant, or none. The way
 * back adds each sequence's rows to the gradient of the positions in the sequences' order. */
#include "tensor/ops.h"

typedef struct place_context {
    tensor *x, *y;
    packing from, to;
    place_options options;
    uint64_t key;
    uint32_t drop;
} place_context;

/* dy without what was dropped, into values [width]. */
static void read_gradient(tape *t, const place_context *c, int64_t row, float *values) {
    int64_t n = c->y->columns;
    row_load(t, c->y->type, gradient_row(c->y, c->y->gradient, row), values, n);
    if (c->drop) {
        t->rows->dropout(values, n, c->key, row, c->drop);
    }
}

static void place_backward(tape *t, void *context) {
    place_context *c = context;
    int accumulate;
    if (!c->y->gradient || !tape_gradient(t, c->x, &accumulate)) {
        return;
    }
    int64_t n = c->y->columns, ahead = c->options.first != NULL;
    float *first = ahead ? parameter_gradients(t->parameters, *c->options.first) : NULL;
    float *positions = c->options.learned ? parameter_gradients(t->parameters, *c->options.learned) : NULL;
    float values[n + 16], room[n + 16];
    for (int64_t s = 0; s < c->from.sequences; s++) {
        for (int64_t i = c->to.offsets[s]; i < c->to.offsets[s + 1]; i++) {
            int64_t at = i - c->to.offsets[s];
            read_gradient(t, c, i, values);
            if (positions) {
                t->rows->add(positions + at * n, values, n);
            }
            if (at < ahead) {
                t->rows->add(first, values, n);
            } else {
                int64_t row = c->from.offsets[s] + at - ahead;
                row_give(t, c->x->type, gradient_row(c->x, c->x->gradient, row), values, room, n, accumulate);
            }
        }
    }
}

packing place_packing(tape *t, packing p, const place_options *options) {
    if (!options->first) {
        return p;
    }
    int32_t *offsets = tape_memory(t, p.sequences + 1, sizeof *offsets);
    for (int64_t s = 0; s <= p.sequences && offsets; s++) {
        offsets[s] = p.offsets[s] + (int32_t)s;
    }
    return (packing){offsets, offsets ? p.sequences : 0};
}

static void place_row(tape *t, const place_context *c, int64_t sequence, int64_t row, float *values) {
    int64_t n = c->y->columns, at = row - c->to.offsets[sequence], ahead = c->options.first != NULL;
    const float *position = c->options.learned ? parameter_values(t->parameters, *c->options.learned)
                                               : c->options.constant;
    if (at < ahead) {
        memcpy(values, parameter_values(t->parameters, *c->options.first), (size_t)n * sizeof(float));
    } else {
        row_load(t, c->x->type, tensor_row(c->x, c->from.offsets[sequence] + at - ahead), values, n);
    }
    if (position) {
        t->rows->add(values, position + at * n, n);
    }
    if (c->drop) {
        t->rows->dropout(values, n, c->key, row, c->drop);
    }
    row_write(t, c->y->type, tensor_row(c->y, row), values, n);
}

tensor *op_place(tape *t, tensor *x, packing from, packing to, place_options options) {
    if (!x || t->status) {
        return NULL;
    }
    int64_t n = x->columns;
    tensor *y = tape_tensor(t, to.offsets[to.sequences], n);
    place_context *c = tape_memory(t, 1, sizeof *c);
    if (!y || !c) {
        return NULL;
    }
    *c = (place_context){.x = x, .y = y, .from = from, .to = to, .options = options};
    if (t->recording) {
        c->drop = (uint32_t)(options.dropout * 65536.0f + 0.5f);
        c->key = tape_draw(t);
    }
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < to.sequences; s++) {
        float values[n + 16];
        for (int64_t i = to.offsets[s]; i < to.offsets[s + 1]; i++) {
            place_row(t, c, s, i, values);
        }
    }
    tape_note_backward(t, place_backward, c);
    return y;
}
