/* A recurrent layer over packed sequences, in one direction or both (Schuster & Paliwal
 * 1997): for each token its input's products are there already (one op_linear for
 * all tokens), and what remains goes through time,
 *
 *     gates_t = projected_t + h_{t-1} U^T + b,    h_t = cell(gates_t, h_{t-1}),  h_{-1} = 0
 *
 * for blocks of sequences, the longest first (time_order.h). U [gates hidden, hidden].
 * The way back walks time in the other direction; dU and db are taken over all tokens
 * at once, at its end. */
#include "tensor/ops_recurrent.h"

#include "tensor/time_order.h"

/* One direction's memory, rows in the order of time. */
typedef struct course {
    void *last;    /* [tokens, hidden] of the tape's type: h_{t-1} */
    float *saved;  /* [tokens, CELL_SAVED hidden] while recording */
    void *d_gates; /* [tokens, gates hidden] of the tape's type, going back */
    step_weight weight;
} course;

typedef struct recurrent_context {
    recurrent_inputs in;
    tensor *y;
    time_order order;
    course courses[2];
    const recurrent_kernels *kernels;
    float *room; /* for each direction and block, [RANK_BLOCK, room_width] */
    int64_t room_width;
    char *products; /* the same, of products_size bytes: products' working memory */
    size_t products_size;
    tape *t;
} recurrent_context;

static float *room_of(const recurrent_context *c, int direction, int64_t block) {
    return c->room + (direction * rank_blocks(&c->order) + block) * RANK_BLOCK * c->room_width;
}

static void *product_room_of(const recurrent_context *c, int direction, int64_t block) {
    return c->products + (size_t)(direction * rank_blocks(&c->order) + block) * c->products_size;
}

/* The token that rank k sees in step `step`. */
static int64_t token_of(const recurrent_context *c, int direction, int64_t rank, int64_t step) {
    const int32_t *offsets = c->in.packing.offsets + c->order.sequence[rank];
    return direction ? offsets[1] - 1 - step : offsets[0] + step;
}

static attn_status block_forward(recurrent_context *c, int direction, int64_t index) {
    tape *t = c->t;
    course *way = &c->courses[direction];
    const time_order *o = &c->order;
    rank_block block = rank_block_at(o, index);
    int64_t n = c->in.hidden, gates = cell_gates(c->in.cell) * n, size = cell_state(c->in.cell, n);
    float *state = room_of(c, direction, index), *gh = state + RANK_BLOCK * size, *gx_room = gh + RANK_BLOCK * gates;
    void (*cell)(float *, float *, const float *, const float *, int64_t) =
        c->in.cell == CELL_GRU ? c->kernels->gru : c->kernels->lstm;
    memset(state, 0, (size_t)(RANK_BLOCK * size) * sizeof *state);
    memset(element_at(way->last, t->type, block.first * n), 0,
           (size_t)(rank_block_rows(o, block, 0) * n) * element_size(t->type));
    attn_status status = ATTN_OK;
    for (int64_t step = 0, rows; !status && (rows = rank_block_rows(o, block, step)) > 0; step++) {
        int64_t at = o->base[step] + block.first, next = rank_block_rows(o, block, step + 1);
        matrix last = matrix_of(element_at(way->last, t->type, at * n), rows, n, t->type);
        status = step_product(t, &way->weight, matrix_of(gh, rows, gates, ELEMENT_F32), last,
                              (gemm_options){.bias = parameter_values(t->parameters, c->in.bias[direction])},
                              product_room_of(c, direction, index));
        for (int64_t k = 0; k < rows && !status; k++) {
            int64_t token = token_of(c, direction, block.first + k, step);
            const void *projected = element_at(tensor_row(c->in.projected, token), t->type, direction * gates);
            cell(state + k * size, way->saved ? way->saved + (at + k) * CELL_SAVED * n : NULL,
                 row_read(t, t->type, projected, gx_room, gates), gh + k * gates, n);
            row_write(t, t->type, element_at(tensor_row(c->y, token), t->type, direction * n), state + k * size, n);
            if (k < next) {
                int64_t row = o->base[step + 1] + block.first + k;
                row_write(t, t->type, element_at(way->last, t->type, row * n), state + k * size, n);
            }
        }
    }
    return status;
}

static attn_status block_backward(recurrent_context *c, int direction, int64_t index) {
    tape *t = c->t;
    course *way = &c->courses[direction];
    const time_order *o = &c->order;
    rank_block block = rank_block_at(o, index);
    int64_t n = c->in.hidden, gates = cell_gates(c->in.cell) * n, size = cell_state(c->in.cell, n), step = 0;
    float *d_h = room_of(c, direction, index), *d_c = d_h + RANK_BLOCK * n, *d_gx = d_h + RANK_BLOCK * size, *d_gh = d_gx + gates;
    float *dy_room = d_gh + gates;
    void (*cell)(float *, float *, float *, float *, const float *, int64_t) =
        c->in.cell == CELL_GRU ? c->kernels->gru_backward : c->kernels->lstm_backward;
    memset(d_h, 0, (size_t)(RANK_BLOCK * size) * sizeof *d_h);
    while (rank_block_rows(o, block, step) > 0) {
        step++;
    }
    attn_status status = ATTN_OK;
    while (step-- > 0 && !status) {
        int64_t rows = rank_block_rows(o, block, step), at = o->base[step] + block.first;
        for (int64_t k = 0; k < rows; k++) {
            int64_t token = token_of(c, direction, block.first + k, step);
            const void *dy = element_at(gradient_row(c->y, c->y->gradient, token), t->type, direction * n);
            t->rows->add(d_h + k * n, row_read(t, t->type, dy, dy_room, n), n);
            cell(d_h + k * n, c->in.cell == CELL_LSTM ? d_c + k * n : NULL, d_gx, d_gh, way->saved + (at + k) * CELL_SAVED * n, n);
            tensor *projected = c->in.projected;
            row_write(t, t->type, element_at(gradient_row(projected, projected->gradient, token), t->type, direction * gates),
                      d_gx, gates);
            row_write(t, t->type, element_at(way->d_gates, t->type, (at + k) * gates), d_gh, gates);
        }
        matrix d_last = matrix_of(d_h, rows, n, ELEMENT_F32);
        matrix d_gates = matrix_of(element_at(way->d_gates, t->type, at * gates), rows, gates, t->type);
        status = step ? gemm_packed(t->gemm, d_last, d_gates, way->weight.own, (gemm_options){.accumulate = 1}) : ATTN_OK;
    }
    return status;
}

/* Directions and blocks are independent: one thread each. */
static void run_blocks(recurrent_context *c, attn_status (*run)(recurrent_context *, int, int64_t)) {
    int64_t blocks = rank_blocks(&c->order), count = c->in.directions * blocks;
    attn_status result = c->t->status;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < count; i++) {
        attn_status status = result ? result : run(c, (int)(i / blocks), i % blocks);
        if (status) {
#pragma omp critical(attn_recurrent_status)
            result = status;
        }
    }
    tape_fail(c->t, result);
}

/* Rows of a block's room: state, gates of the last state, and one row of gates and one of
 * units for what is read or written. */
static void take_room(recurrent_context *c) {
    int64_t n = c->in.hidden, gates = cell_gates(c->in.cell) * n;
    c->room_width = cell_state(c->in.cell, n) + 2 * gates + n + 16;
    c->products_size = (step_weight_room(&c->courses[0].weight, RANK_BLOCK) + 127) / 64 * 64;
    c->products = tape_memory(c->t, c->in.directions * rank_blocks(&c->order), c->products_size);
    c->room = tape_memory(c->t, c->in.directions * rank_blocks(&c->order) * RANK_BLOCK * c->room_width, sizeof(float));
}

static void recurrent_backward(tape *t, void *context) {
    recurrent_context *c = context;
    int accumulate;
    if (!c->y->gradient || !tape_gradient(t, c->in.projected, &accumulate)) {
        return;
    }
    if (accumulate) {
        tape_fail(t, fail(ATTN_ERROR_INTERNAL, "a recurrent layer's products are used by another operation"));
        return;
    }
    arena_mark mark = arena_get_mark(t->memory);
    int64_t n = c->in.hidden, gates = cell_gates(c->in.cell) * n, tokens = c->order.tokens;
    take_room(c);
    for (int i = 0; i < c->in.directions && !t->status; i++) {
        c->courses[i].d_gates = tape_memory(t, tokens * gates, element_size(t->type));
        tape_fail(t, step_weight_backward(t, c->in.weight[i], &c->courses[i].weight));
    }
    run_blocks(c, block_backward);
    for (int i = 0; i < c->in.directions; i++) {
        step_weight_free(&c->courses[i].weight);
        add_weight_gradient(t, c->in.weight[i], c->in.bias[i], matrix_of(c->courses[i].d_gates, tokens, gates, t->type),
                            matrix_of(c->courses[i].last, tokens, n, t->type));
    }
    arena_return_to(t->memory, mark);
}

tensor *op_recurrent(tape *t, const recurrent_inputs *inputs) {
    if (!inputs->projected || t->status) {
        return NULL;
    }
    int64_t n = inputs->hidden, tokens = inputs->projected->rows;
    tensor *y = tape_tensor(t, tokens, inputs->directions * n);
    recurrent_context *c = tape_memory(t, 1, sizeof *c);
    if (!y || !c) {
        return NULL;
    }
    *c = (recurrent_context){.in = *inputs, .y = y, .t = t, .kernels = recurrent_rows_select()};
    tape_fail(t, time_order_make(t, inputs->packing, &c->order));
    for (int i = 0; i < inputs->directions && !t->status; i++) {
        c->courses[i].last = tape_memory(t, tokens * n, element_size(t->type));
        c->courses[i].saved = t->recording ? tape_memory(t, tokens * CELL_SAVED * n, sizeof(float)) : NULL;
        tape_fail(t, step_weight_forward(t, inputs->weight[i], &c->courses[i].weight));
    }
    arena_mark mark = arena_get_mark(t->memory);
    take_room(c);
    run_blocks(c, block_forward);
    arena_return_to(t->memory, mark);
    for (int i = 0; i < inputs->directions; i++) {
        step_weight_free(&c->courses[i].weight);
    }
    tape_note_backward(t, recurrent_backward, c);
    return t->status ? NULL : y;
}

/* --- the states at the ends ------------------------------------------------------ */

typedef struct ends_context {
    tensor *x, *y;
    packing packing;
} ends_context;

/* The row of x that half `part` of row s of y comes from. */
static int64_t end_row(const ends_context *c, int64_t s, int part) {
    return part ? c->packing.offsets[s] : c->packing.offsets[s + 1] - 1;
}

static void ends_backward(tape *t, void *context) {
    ends_context *c = context;
    int64_t half = c->x->columns / 2;
    int accumulate;
    if (!c->y->gradient || !tape_gradient(t, c->x, &accumulate)) {
        return;
    }
    if (!accumulate) {
        memset(c->x->gradient, 0, (size_t)(c->x->rows * c->x->columns) * element_size(t->type));
    }
    for (int64_t s = 0; s < c->packing.sequences; s++) {
        for (int part = 0; part < 2; part++) {
            float given[half + 16], room[half + 16];
            void *to = element_at(gradient_row(c->x, c->x->gradient, end_row(c, s, part)), t->type, part * half);
            row_load(t, t->type, element_at(gradient_row(c->y, c->y->gradient, s), t->type, part * half), given, half);
            row_give(t, t->type, to, given, room, half, 1);
        }
    }
}

tensor *op_ends(tape *t, tensor *x, packing p) {
    if (!x || t->status) {
        return NULL;
    }
    int64_t half = x->columns / 2;
    tensor *y = tape_tensor(t, p.sequences, x->columns);
    ends_context *c = tape_memory(t, 1, sizeof *c);
    if (!y || !c) {
        return NULL;
    }
    *c = (ends_context){x, y, p};
    for (int64_t s = 0; s < p.sequences; s++) {
        for (int part = 0; part < 2; part++) {
            memcpy(element_at(tensor_row(y, s), t->type, part * half),
                   element_at(tensor_row(x, end_row(c, s, part)), t->type, part * half),
                   (size_t)half * element_size(t->type));
        }
    }
    tape_note_backward(t, ends_backward, c);
    return y;
}
