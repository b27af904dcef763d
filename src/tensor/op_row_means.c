/* y[t] = x[t] + the mean of table[ids[k]], k = offsets[t] .. offsets[t + 1] - 1: words that are
 * spelled (Bojanowski et al. 2017, 3.2).
 *
 * x, y [tokens, width], table [numbers, width]. dx = dy; each of the n rows of a token gets
 * dy / n. Rows are shared, so the work is cut by columns, as in op_embedding.c. */
#include "tensor/ops.h"

enum { COLUMN_SLICE = 64 };

typedef struct row_means_context {
    tensor *x, *y;
    parameter table;
    const int32_t *ids, *offsets;
} row_means_context;

static attn_status give_x(tape *t, const row_means_context *c) {
    int accumulate;
    int64_t n = c->x->columns;
    if (!tape_gradient(t, c->x, &accumulate)) {
        return ATTN_ERROR_MEMORY;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < c->y->rows; i++) {
        float values[n + 16], room[n + 16];
        row_load(t, c->y->type, gradient_row(c->y, c->y->gradient, i), values, n);
        row_give(t, c->x->type, gradient_row(c->x, c->x->gradient, i), values, room, n, accumulate);
    }
    return ATTN_OK;
}

static void row_means_backward(tape *t, void *context) {
    row_means_context *c = context;
    tensor *y = c->y;
    int64_t n = y->columns, slices = (n + COLUMN_SLICE - 1) / COLUMN_SLICE;
    if (!y->gradient || give_x(t, c)) {
        return;
    }
    float *shares = tape_memory(t, y->rows * n, sizeof(float));
    if (!shares) {
        return;
    }
    profile_place before = profile_enter(t->profile, PROFILE_EMBEDDING, PROFILE_BACKWARD, tensor_bytes(y, 3));
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < y->rows; i++) {
        float *row = shares + i * n, room[n + 16];
        const float *dy = row_read(t, y->type, gradient_row(y, y->gradient, i), room, n);
        float share = 1.0f / (float)(c->offsets[i + 1] > c->offsets[i] ? c->offsets[i + 1] - c->offsets[i] : 1);
        for (int64_t j = 0; j < n; j++) {
            row[j] = dy[j] * share;
        }
    }
    float *gradient = parameter_gradients(t->parameters, c->table);
#pragma omp parallel for schedule(static)
    for (int64_t slice = 0; slice < slices; slice++) {
        int64_t first = slice * COLUMN_SLICE, width = n - first < COLUMN_SLICE ? n - first : COLUMN_SLICE;
        for (int64_t i = 0; i < y->rows; i++) {
            for (int64_t k = c->offsets[i]; k < c->offsets[i + 1]; k++) {
                t->rows->add(gradient + c->ids[k] * n + first, shares + i * n + first, width);
            }
        }
    }
    profile_return(t->profile, before);
}

tensor *op_row_means(tape *t, tensor *x, parameter table, const int32_t *ids, const int32_t *offsets) {
    if (!x || t->status) {
        return NULL;
    }
    int64_t n = x->columns;
    tensor *y = tape_tensor(t, x->rows, n);
    row_means_context *c = tape_memory(t, 1, sizeof *c);
    if (!y || !c) {
        return NULL;
    }
    *c = (row_means_context){x, y, table, ids, offsets};
    const float *rows = parameter_values(t->parameters, table);
    profile_place before = profile_enter(t->profile, PROFILE_EMBEDDING, PROFILE_FORWARD, tensor_bytes(y, 3));
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < x->rows; i++) {
        float values[n + 16], sum[n + 16];
        int32_t count = offsets[i + 1] - offsets[i];
        row_load(t, x->type, tensor_row(x, i), values, n);
        memset(sum, 0, (size_t)n * sizeof *sum);
        for (int64_t k = offsets[i]; k < offsets[i + 1]; k++) {
            t->rows->add(sum, rows + ids[k] * n, n);
        }
        for (int64_t j = 0; j < n && count > 0; j++) {
            values[j] += sum[j] / (float)count;
        }
        row_write(t, y->type, tensor_row(y, i), values, n);
    }
    profile_return(t->profile, before);
    tape_note_backward(t, row_means_backward, c);
    return y;
}
