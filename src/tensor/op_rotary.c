/* Rotary positions (Su et al. 2021, 3.4.2), in the halves that GPT-NeoX and Llama pair: for
 * each head, with c and s the cosine and sine of place * frequency[i], i < head_dim / 2,
 *   (a, b) = (x[i], x[i + head_dim / 2])  ->  (a c - b s, b c + a s)
 * A turn is undone by the turn backwards, and its gradient too: (da, db) -> (da c + db s,
 * db c - da s). x is overwritten: what made it does not look at it again. */
#include "tensor/ops.h"

typedef struct rotary_context {
    tensor *x;
    const int32_t *places;
    const float *turns;
    int64_t heads, head_dim;
} rotary_context;

/* sign: 1 forward, -1 back. */
static void turn_rows(tape *t, const rotary_context *c, void *data, float sign) {
    int64_t half = c->head_dim / 2, n = c->heads * c->head_dim;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < c->x->rows; i++) {
        float values[n + 16];
        const float *cosine = c->turns + c->places[i] * c->head_dim, *sine = cosine + half;
        void *row = gradient_row(c->x, data, i);
        row_load(t, c->x->type, row, values, n);
        for (int64_t h = 0; h < c->heads; h++) {
            float *a = values + h * c->head_dim, *b = a + half;
            for (int64_t j = 0; j < half; j++) {
                float first = a[j], second = b[j], s = sign * sine[j];
                a[j] = first * cosine[j] - second * s;
                b[j] = second * cosine[j] + first * s;
            }
        }
        row_write(t, c->x->type, row, values, n);
    }
}

static void rotary_backward(tape *t, void *context) {
    rotary_context *c = context;
    if (c->x->gradient) {
        turn_rows(t, c, c->x->gradient, -1);
    }
}

tensor *op_rotary(tape *t, tensor *x, const int32_t *places, const float *turns, int64_t heads, int64_t head_dim) {
    if (!x || t->status) {
        return NULL;
    }
    rotary_context *c = tape_memory(t, 1, sizeof *c);
    if (!c) {
        return NULL;
    }
    *c = (rotary_context){x, places, turns, heads, head_dim};
    turn_rows(t, c, x->data, 1);
    tape_note_backward(t, rotary_backward, c);
    return x;
}
