#include "tensor/decoder_step.h"

attn_status decoder_weights_open(tape *t, const recurrent_decoder *decoder, int backward, decoder_weights *out) {
    attn_status (*pack)(tape *, parameter, step_weight *) = backward ? step_weight_backward : step_weight_forward;
    memset(out, 0, sizeof *out);
    out->decoder = decoder;
    attn_status status = pack(t, decoder->feed, &out->feed);
    status = status ? status : pack(t, decoder->combine, &out->combine);
    if (decoder->score == SCORE_ADDITIVE && !status) {
        status = pack(t, decoder->query, &out->query);
    }
    for (int i = 0; i < decoder->layers && !status; i++) {
        status = i ? pack(t, decoder->cells[i].input, &out->input[i]) : ATTN_OK;
        status = status ? status : pack(t, decoder->cells[i].state, &out->state[i]);
    }
    if (status) {
        decoder_weights_close(out);
    }
    return status;
}

void decoder_weights_close(decoder_weights *weights) {
    step_weight_free(&weights->feed);
    step_weight_free(&weights->query);
    step_weight_free(&weights->combine);
    for (int i = 0; i < DECODER_LAYERS; i++) {
        step_weight_free(&weights->input[i]);
        step_weight_free(&weights->state[i]);
    }
}

size_t decoder_weights_room(const decoder_weights *weights, int64_t rows) {
    const step_weight *all[2 * DECODER_LAYERS + 3] = {&weights->feed, &weights->query, &weights->combine};
    size_t most = 64;
    for (int i = 0; i < DECODER_LAYERS; i++) {
        all[2 * i + 3] = &weights->input[i];
        all[2 * i + 4] = &weights->state[i];
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        size_t room = step_weight_room(all[i], rows);
        most = room > most ? room : most;
    }
    return most;
}

/* gx += fed W^T, through gh. */
static attn_status add_fed(const tape *t, const decoder_weights *weights, const decoder_step_rows *s, int64_t gates) {
    attn_status status = step_product(t, &weights->feed, matrix_of(s->gh, s->rows, gates, ELEMENT_F32),
                                      matrix_of(s->fed, s->rows, weights->decoder->width, t->type), (gemm_options){0}, s->room);
    t->rows->add(s->gx, s->gh, s->rows * gates);
    return status;
}

/* All layers' states go one step on. */
static attn_status advance_cells(const tape *t, const decoder_weights *weights, const decoder_step_rows *s) {
    const recurrent_decoder *d = weights->decoder;
    const recurrent_kernels *kernels = recurrent_rows_select();
    int64_t n = d->hidden, gates = cell_gates(d->cell) * n, size = cell_state(d->cell, n);
    matrix gx = matrix_of(s->gx, s->rows, gates, ELEMENT_F32), gh = matrix_of(s->gh, s->rows, gates, ELEMENT_F32);
    attn_status status = ATTN_OK;
    for (int i = 0; i < d->layers && !status; i++) {
        const decoder_cell *cell = &d->cells[i];
        if (i == 0) {
            status = add_fed(t, weights, s, gates);
        } else {
            status = step_product(t, &weights->input[i], gx, matrix_of(s->below[i], s->rows, n, t->type),
                                  (gemm_options){.bias = parameter_values(t->parameters, cell->input_bias)}, s->room);
        }
        status = status ? status
                        : step_product(t, &weights->state[i], gh, matrix_of(s->last[i], s->rows, n, t->type),
                                       (gemm_options){.bias = parameter_values(t->parameters, cell->state_bias)}, s->room);
        for (int64_t k = 0; k < s->rows && !status; k++) {
            float *state = s->state[i] + k * size;
            (d->cell == CELL_GRU ? kernels->gru : kernels->lstm)(
                state, s->saved[i] ? s->saved[i] + k * CELL_SAVED * n : NULL, s->gx + k * gates, s->gh + k * gates, n);
            if (i + 1 < d->layers) {
                float shown[n + 16];
                memcpy(shown, state, (size_t)n * sizeof *shown);
                if (s->drop) {
                    t->rows->dropout(shown, n, s->drop_key[i + 1], s->tokens[k], s->drop);
                }
                row_write(t, t->type, element_at(s->below[i + 1], t->type, k * n), shown, n);
            }
        }
    }
    return status;
}

/* context = sum of weights times values. */
static void attend(const recurrent_kernels *kernels, score_kind score, const float *query, const float *energy,
                   const attended_rows *a, float *context, int64_t n) {
    for (int64_t j = 0; j < a->count; j++) {
        const float *key = a->keys + (a->places ? a->places[j] : j) * a->stride;
        a->weights[j] = score == SCORE_ADDITIVE ? kernels->additive_score(query, key, energy, n)
                                                : kernels->dot(query, key, n);
    }
    kernels->softmax(a->weights, a->count);
    memset(context, 0, (size_t)n * sizeof *context);
    for (int64_t j = 0; j < a->count; j++) {
        kernels->add_scaled(context, a->values + (a->places ? a->places[j] : j) * a->stride, a->weights[j], n);
    }
}

attn_status decoder_step_forward(const tape *t, const decoder_weights *weights, const decoder_step_rows *s) {
    const recurrent_decoder *d = weights->decoder;
    const recurrent_kernels *kernels = recurrent_rows_select();
    int64_t n = d->hidden, size = cell_state(d->cell, n);
    const float *top = s->state[d->layers - 1];
    matrix joined = matrix_of(s->joined, s->rows, 2 * n, t->type);
    attn_status status = advance_cells(t, weights, s);
    for (int64_t k = 0; k < s->rows && !status; k++) {
        row_write(t, t->type, element_at(s->top, t->type, k * n), top + k * size, n);
        row_write(t, t->type, element_at(s->joined, t->type, (2 * k + 1) * n), top + k * size, n);
        memcpy(s->query + k * n, top + k * size, (size_t)n * sizeof *top);
    }
    const float *energy = NULL;
    if (d->score == SCORE_ADDITIVE && !status) {
        energy = parameter_values(t->parameters, d->energy);
        status = step_product(t, &weights->query, matrix_of(s->query, s->rows, n, ELEMENT_F32),
                              matrix_of(s->top, s->rows, n, t->type), (gemm_options){0}, s->room);
    }
    for (int64_t k = 0; k < s->rows && !status; k++) {
        float context[n + 16];
        attend(kernels, d->score, s->query + k * n, energy, &s->attended[k], context, n);
        row_write(t, t->type, element_at(s->joined, t->type, 2 * k * n), context, n);
    }
    status = status ? status
                    : step_product(t, &weights->combine, matrix_of(s->result, s->rows, d->width, ELEMENT_F32), joined,
                                   (gemm_options){.bias = parameter_values(t->parameters, d->combine_bias)}, s->room);
    for (int64_t k = 0; k < s->rows && !status; k++) {
        kernels->tanh(s->result + k * d->width, d->width);
    }
    return status;
}
