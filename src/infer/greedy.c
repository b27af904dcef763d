#include "infer/greedy.h"

#include <string.h>

#include "tensor/ops.h"

attn_status unscored_open(unscored_tokens *u, int64_t room, int64_t width) {
    *u = (unscored_tokens){.room = room, .width = width};
    u->items = memory_allocate_raw((size_t)room, sizeof *u->items);
    u->x = memory_allocate_raw((size_t)(room * width), sizeof *u->x);
    return u->items && u->x ? ATTN_OK : ATTN_ERROR_MEMORY;
}

void unscored_close(unscored_tokens *u) {
    memory_free(u->items);
    memory_free(u->x);
    *u = (unscored_tokens){0};
}

/* found [rows]: the likeliest tokens, -1 where the shortlist cannot tell. */
static attn_status choose_tokens(tape *t, const output_layer *layer, const shortlist *s, const float *x,
                                 int64_t rows, beam *const *beams, int32_t *found) {
    arena_mark mark = arena_get_mark(t->memory);
    int32_t(*skipped)[2] = tape_memory(t, rows, sizeof *skipped);
    void *room = tape_memory(t, (int64_t)shortlist_room(s, layer->weight, rows), 1);
    for (int64_t row = 0; row < rows && !t->status; row++) {
        skipped[row][0] = layer->never;
        skipped[row][1] = beam_must_go_on(beams[row]) ? beams[row]->eos : TOKEN_NONE;
    }
    if (!t->status) {
        shortlist_largest(s, layer->weight, t->rows, x, rows, (const int32_t(*)[2])skipped, found, room);
    }
    for (int64_t row = 0; row < rows && !t->status; row++) {
        found[row] = beam_must_end(beams[row]) ? beams[row]->eos : found[row];
    }
    arena_return_to(t->memory, mark);
    return t->status;
}

/* own [count]: the log probabilities of all that wait. */
static attn_status find_log_probabilities(tape *t, const unscored_tokens *u, const output_layer *layer,
                                          float *own) {
    const int64_t vocabulary = packed_weight_outputs(layer->weight);
    arena_mark mark = arena_get_mark(t->memory);
    float *logits = tape_memory(t, u->count * vocabulary, sizeof *logits);
    if (!logits || multiply_packed(t, matrix_of(logits, u->count, vocabulary, ELEMENT_F32),
                                   matrix_of(u->x, u->count, u->width, ELEMENT_F32), layer->weight,
                                   (gemm_options){.bias = layer->bias})) {
        return t->status;
    }
    for (int64_t i = 0; i < u->count; i++, logits += vocabulary) {
        own[i] = logits[u->items[i].token] - t->rows->log_sum_exp(logits, vocabulary);
    }
    arena_return_to(t->memory, mark);
    return ATTN_OK;
}

/* Scores all that wait. The last `present` have not become part of their beams yet: theirs stay in own. */
static void settle(tape *t, unscored_tokens *u, const output_layer *layer, int64_t present, float *own) {
    if (find_log_probabilities(t, u, layer, own)) {
        return;
    }
    for (int64_t i = 0; i < u->count - present; i++) {
        const unscored_token *item = &u->items[i];
        item->of->token_log_probabilities[item->step] = own[i];
        item->of->log_probability[0] += (double)own[i];
    }
}

void unscored_settle(tape *t, unscored_tokens *u, const output_layer *layer) {
    float own[u->room];
    if (u->count) {
        settle(t, u, layer, 0, own);
        u->count = 0;
    }
}

int greedy_step(tape *t, unscored_tokens *u, const output_layer *layer, const shortlist *s, const float *x,
                int64_t rows, beam *const *beams, candidate *list, int wanted, int *counts) {
    int32_t found[rows];
    float own[u->room];
    int ends = 0;
    if (choose_tokens(t, layer, s, x, rows, beams, found)) {
        return 0;
    }
    for (int64_t row = 0; row < rows; row++) {
        if (found[row] < 0) {
            return 0;
        }
        ends |= found[row] == beams[row]->eos;
    }
    if (u->count + rows > u->room) {
        unscored_settle(t, u, layer);
    }
    for (int64_t row = 0; row < rows; row++) {
        u->items[u->count + row] = (unscored_token){beams[row], beams[row]->length, found[row]};
    }
    memcpy(u->x + u->count * u->width, x, (size_t)(rows * u->width) * sizeof *x);
    u->count += rows;
    if (ends) {
        settle(t, u, layer, rows, own);
    }
    if (t->status) {
        return 0;
    }
    for (int64_t row = 0; row < rows; row++) {
        const float now = ends ? own[u->count - rows + row] : 0;
        const double before = beams[row]->length ? beams[row]->log_probability[0] : 0;
        list[row * wanted] = (candidate){before + (double)now, 0, found[row], now};
        counts[row] = now == now;
    }
    u->count = ends ? 0 : u->count;
    return 1;
}
