/* y[t] = dropout(scale table[ids[t]] + positions[place of t]) (Vaswani et al. 2017,
 * 3.4 and 3.5).
 *
 * table [vocabulary, width], y [tokens, width]. The way back adds rows of dy to rows of
 * the table's gradient; two tokens may share one, so the work is cut by columns and
 * each column takes the tokens in their order. */
#include "tensor/ops.h"

enum { COLUMN_SLICE = 64 };

typedef struct embedding_context {
    tensor *y;
    parameter table;
    const int32_t *ids;
    float scale;
    uint64_t key;
    uint32_t drop;
} embedding_context;

static void embedding_backward(tape *t, void *context) {
    embedding_context *c = context;
    tensor *y = c->y;
    int64_t n = y->columns;
    if (!y->gradient) {
        return;
    }
    float *scaled = tape_memory(t, y->rows * n, sizeof(float));
    if (!scaled) {
        return;
    }
    profile_place before = profile_enter(t->profile, PROFILE_EMBEDDING, PROFILE_BACKWARD, tensor_bytes(y, 3));
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < y->rows; i++) {
        float *row = scaled + i * n, room[n + 16];
        const float *dy = row_read(t, y->type, gradient_row(y, y->gradient, i), room, n);
        for (int64_t j = 0; j < n; j++) {
            row[j] = dy[j] * c->scale;
        }
        if (c->drop) {
            t->rows->dropout(row, n, c->key, i, c->drop);
        }
    }
    float *gradient = parameter_gradients(t->parameters, c->table);
    int64_t slices = (n + COLUMN_SLICE - 1) / COLUMN_SLICE;
#pragma omp parallel for schedule(static)
    for (int64_t slice = 0; slice < slices; slice++) {
        int64_t first = slice * COLUMN_SLICE, width = n - first < COLUMN_SLICE ? n - first : COLUMN_SLICE;
        for (int64_t i = 0; i < y->rows; i++) {
            t->rows->add(gradient + c->ids[i] * n + first, scaled + i * n + first, width);
        }
    }
    profile_return(t->profile, before);
}

tensor *op_embedding(tape *t, parameter table, const int32_t *ids, packing p, const float *positions, float scale,
                     float dropout) {
    if (t->status) {
        return NULL;
    }
    int64_t n = table.columns, tokens = p.offsets[p.sequences];
    tensor *y = tape_tensor(t, tokens, n);
    embedding_context *c = tape_memory(t, 1, sizeof *c);
    if (!y || !c) {
        return NULL;
    }
    *c = (embedding_context){.y = y, .table = table, .ids = ids, .scale = scale};
    if (t->recording) {
        c->drop = (uint32_t)(dropout * 65536.0f + 0.5f);
        c->key = tape_draw(t);
    }
    const float *rows = parameter_values(t->parameters, table);
    profile_place before = profile_enter(t->profile, PROFILE_EMBEDDING, PROFILE_FORWARD, tensor_bytes(y, 2));
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < p.sequences; s++) {
        float values[n + 16];
        for (int64_t i = p.offsets[s]; i < p.offsets[s + 1]; i++) {
            const float *row = rows + ids[i] * n;
            const float *position = positions ? positions + (i - p.offsets[s]) * n : NULL;
            for (int64_t j = 0; j < n; j++) {
                values[j] = row[j] * scale + (position ? position[j] : 0.0f);
            }
            if (c->drop) {
                t->rows->dropout(values, n, c->key, i, c->drop);
            }
            row_write(t, y->type, tensor_row(y, i), values, n);
        }
    }
    profile_return(t->profile, before);
    tape_note_backward(t, embedding_backward, c);
    return y;
}

typedef struct held_row {
    parameter table;
    int64_t row;
} held_row;

static void hold_backward(tape *t, void *context) {
    const held_row *c = context;
    memset(parameter_gradients(t->parameters, c->table) + c->row * c->table.columns, 0,
           (size_t)c->table.columns * sizeof(float));
}

void op_hold_row(tape *t, parameter table, int64_t row) {
    held_row *c = t->status ? NULL : tape_memory(t, 1, sizeof *c);
    if (c) {
        *c = (held_row){table, row};
        tape_note_backward(t, hold_backward, c);
    }
}
