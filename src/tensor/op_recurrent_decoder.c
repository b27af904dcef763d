/* A recurrent decoder with attention and input feeding over all target tokens (formulas in
 * ops_recurrent.h). A step needs the result of the last one, so time is a loop; within
 * a step all running sequences of a block go together, and whatever a step gives to the
 * weights' gradients is multiplied once for all tokens, at the end.
 *
 * The way back through the attention of one row, with the gradient dc of the context:
 *     da_j = dc v_j     ds_j = a_j (da_j - sum_i a_i da_i)     dv_j += a_j dc
 *     dot:       dq += ds_j k_j       dk_j += ds_j q
 *     additive:  dp = ds_j v (1 - tanh^2(q + k_j))    dq += dp    dk_j += dp */
#include "tensor/decoder_step.h"

/* A layer's memory, rows in the order of time. */
typedef struct layer_course {
    void *last, *below; /* operands [tokens, hidden] */
    float *saved;       /* [tokens, CELL_SAVED hidden] */
    void *d_gx, *d_gh;  /* operands [tokens, gates hidden], going back */
} layer_course;

typedef struct decoder_context {
    decoder_inputs in;
    tensor *y;
    tape *t;
    time_order order;
    decoder_weights weights;
    const recurrent_kernels *kernels;
    layer_course layers[DECODER_LAYERS];
    const float *keys, *memory;   /* [source tokens, hidden] as f32 */
    void *fed, *top, *joined;     /* operands [tokens, width], hidden, 2 hidden */
    float *query, *result;        /* [tokens, hidden], [tokens, width] */
    float *attention;             /* weights [queries, keys] of each sequence in turn */
    int64_t *attention_start;     /* [sequences] */
    uint32_t drop;
    uint64_t drop_key[DECODER_LAYERS + 1]; /* of what each layer reads; the last: of the result */
    void *d_combined, *d_query;   /* operands [tokens, width], [tokens, hidden] */
    float *d_keys, *d_memory;     /* [source tokens, hidden] */
    float *d_energy;              /* [blocks, hidden] */
} decoder_context;

static int32_t sequence_of(const decoder_context *c, int64_t rank) {
    return c->order.sequence[rank];
}

static int64_t token_of(const decoder_context *c, int64_t rank, int64_t step) {
    return c->in.target.offsets[sequence_of(c, rank)] + step;
}

static int64_t source_length(const decoder_context *c, int64_t rank) {
    const int32_t *offsets = c->in.source.offsets + sequence_of(c, rank);
    return offsets[1] - offsets[0];
}

static float *attention_row(const decoder_context *c, int64_t rank, int64_t step) {
    return c->attention + c->attention_start[sequence_of(c, rank)] + step * source_length(c, rank);
}

static void *operand_row(const decoder_context *c, void *array, int64_t row, int64_t columns) {
    return element_at(array, c->t->type, row * columns);
}

/* --- forward ---------------------------------------------------------------------- */

/* A block's rows: what a step reads and writes, and the rows' lists. */
typedef struct block_room {
    decoder_step_rows step;
    attended_rows attended[RANK_BLOCK];
    int64_t tokens[RANK_BLOCK];
} block_room;

static attn_status take_block_room(decoder_context *c, block_room *room) {
    const recurrent_decoder *d = c->in.decoder;
    int64_t gates = cell_gates(d->cell) * d->hidden, size = cell_state(d->cell, d->hidden);
    room->step.gx = tape_memory(c->t, RANK_BLOCK * gates, sizeof(float));
    room->step.gh = tape_memory(c->t, RANK_BLOCK * gates, sizeof(float));
    room->step.room = tape_memory(c->t, (int64_t)decoder_weights_room(&c->weights, RANK_BLOCK), 1);
    for (int i = 0; i < d->layers; i++) {
        room->step.state[i] = tape_memory(c->t, RANK_BLOCK * size, sizeof(float));
    }
    return c->t->status;
}

/* The block's first states: rows of `initial`, also as operands of step 0; nothing is fed
 * back yet. */
static void start_block(const decoder_context *c, const block_room *room, rank_block block) {
    const recurrent_decoder *d = c->in.decoder;
    int64_t n = d->hidden, size = cell_state(d->cell, n), rows = rank_block_rows(&c->order, block, 0);
    const tensor *initial = c->in.initial;
    for (int64_t k = 0; k < rows; k++) {
        const void *row = tensor_row(initial, sequence_of(c, block.first + k));
        for (int i = 0; i < d->layers; i++) {
            float *state = room->step.state[i] + k * size;
            row_load(c->t, initial->type, element_at(row, initial->type, i * size), state, size);
            row_write(c->t, c->t->type, operand_row(c, c->layers[i].last, block.first + k, n), state, n);
        }
        memset(operand_row(c, c->fed, block.first + k, d->width), 0, (size_t)d->width * element_size(c->t->type));
    }
}

/* Points the step's rows at their places. */
static void prepare_step(const decoder_context *c, block_room *room, rank_block block, int64_t step, int64_t rows) {
    const recurrent_decoder *d = c->in.decoder;
    int64_t n = d->hidden, gates = cell_gates(d->cell) * n, at = c->order.base[step] + block.first;
    decoder_step_rows *s = &room->step;
    s->rows = rows;
    s->drop = c->drop;
    s->tokens = room->tokens;
    s->attended = room->attended;
    s->fed = operand_row(c, c->fed, at, d->width);
    s->query = c->query + at * n;
    s->top = operand_row(c, c->top, at, n);
    s->joined = operand_row(c, c->joined, at, 2 * n);
    s->result = c->result + at * d->width;
    for (int i = 0; i < d->layers; i++) {
        s->last[i] = operand_row(c, c->layers[i].last, at, n);
        s->below[i] = i ? operand_row(c, c->layers[i].below, at, n) : NULL;
        s->saved[i] = c->layers[i].saved ? c->layers[i].saved + at * CELL_SAVED * n : NULL;
        s->drop_key[i] = c->drop_key[i];
    }
    for (int64_t k = 0; k < rows; k++) {
        int64_t rank = block.first + k, first = c->in.source.offsets[sequence_of(c, rank)];
        room->tokens[k] = token_of(c, rank, step);
        room->attended[k] = (attended_rows){c->keys + first * n, c->memory + first * n, n, NULL, source_length(c, rank),
                                            attention_row(c, rank, step)};
        row_load(c->t, c->t->type, tensor_row(c->in.projected, room->tokens[k]), s->gx + k * gates, gates);
    }
}

/* The step's results go out, and into the next step. */
static void finish_step(const decoder_context *c, const block_room *room, rank_block block, int64_t step) {
    const recurrent_decoder *d = c->in.decoder;
    tape *t = c->t;
    int64_t n = d->hidden, size = cell_state(d->cell, n), next = rank_block_rows(&c->order, block, step + 1);
    for (int64_t k = 0; k < room->step.rows; k++) {
        float fed[d->width + 16];
        memcpy(fed, room->step.result + k * d->width, (size_t)d->width * sizeof *fed);
        if (c->drop) {
            t->rows->dropout(fed, d->width, c->drop_key[DECODER_LAYERS], room->tokens[k], c->drop);
        }
        row_write(t, t->type, tensor_row(c->y, room->tokens[k]), fed, d->width);
        if (k < next) {
            int64_t row = c->order.base[step + 1] + block.first + k;
            row_write(t, t->type, operand_row(c, c->fed, row, d->width), fed, d->width);
            for (int i = 0; i < d->layers; i++) {
                row_write(t, t->type, operand_row(c, c->layers[i].last, row, n), room->step.state[i] + k * size, n);
            }
        }
    }
}

static attn_status block_forward(decoder_context *c, block_room *room, rank_block block) {
    attn_status status = ATTN_OK;
    start_block(c, room, block);
    for (int64_t step = 0, rows; !status && (rows = rank_block_rows(&c->order, block, step)) > 0; step++) {
        prepare_step(c, room, block, step, rows);
        status = decoder_step_forward(c->t, &c->weights, &room->step);
        finish_step(c, room, block, step);
    }
    return status;
}

static void run_forward(decoder_context *c) {
    tape *t = c->t;
    int64_t blocks = rank_blocks(&c->order);
    arena_mark mark = arena_get_mark(t->memory);
    block_room *rooms = tape_memory(t, blocks, sizeof *rooms);
    for (int64_t i = 0; i < blocks && !t->status; i++) {
        tape_fail(t, take_block_room(c, &rooms[i]));
    }
    attn_status result = t->status;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < blocks; i++) {
        attn_status status = result ? result : block_forward(c, &rooms[i], rank_block_at(&c->order, i));
        if (status) {
#pragma omp critical(attn_recurrent_status)
            result = status;
        }
    }
    tape_fail(t, result);
    arena_return_to(t->memory, mark);
}

/* --- backward --------------------------------------------------------------------- */

typedef struct backward_room {
    float *d_h[DECODER_LAYERS], *d_c[DECODER_LAYERS]; /* [RANK_BLOCK, hidden] */
    float *d_fed, *d_joined, *d_below, *d_query; /* [RANK_BLOCK, width], 2 hidden, hidden, hidden */
    float *row;                     /* for one row of anything, twice */
    float *d_weights;               /* [longest source] */
} backward_room;

static attn_status take_backward_room(decoder_context *c, backward_room *room, int64_t longest_source) {
    const recurrent_decoder *d = c->in.decoder;
    tape *t = c->t;
    int64_t n = d->hidden, gates = cell_gates(d->cell) * n;
    for (int i = 0; i < d->layers; i++) {
        room->d_h[i] = tape_memory(t, RANK_BLOCK * n, sizeof(float));
        room->d_c[i] = tape_memory(t, RANK_BLOCK * n, sizeof(float));
    }
    room->d_fed = tape_memory(t, RANK_BLOCK * d->width, sizeof(float));
    room->d_joined = tape_memory(t, RANK_BLOCK * 2 * n, sizeof(float));
    room->d_below = tape_memory(t, RANK_BLOCK * n, sizeof(float));
    room->d_query = tape_memory(t, RANK_BLOCK * n, sizeof(float));
    room->row = tape_memory(t, 2 * gates + d->width + 64, sizeof(float));
    room->d_weights = tape_memory(t, longest_source, sizeof(float));
    for (int i = 0; i < d->layers && !t->status; i++) {
        memset(room->d_h[i], 0, (size_t)(RANK_BLOCK * n) * sizeof(float));
        memset(room->d_c[i], 0, (size_t)(RANK_BLOCK * n) * sizeof(float));
    }
    if (!t->status) {
        memset(room->d_fed, 0, (size_t)(RANK_BLOCK * d->width) * sizeof(float));
    }
    return t->status;
}

/* Of the rows' results: through dropout, tanh and W_c to the contexts and the top states. */
static attn_status results_backward(decoder_context *c, backward_room *room, rank_block block, int64_t step, int64_t rows) {
    tape *t = c->t;
    int64_t width = c->in.decoder->width, at = c->order.base[step] + block.first;
    for (int64_t k = 0; k < rows; k++) {
        int64_t token = token_of(c, block.first + k, step);
        float *d = room->row;
        row_load(t, t->type, gradient_row(c->y, c->y->gradient, token), d, width);
        t->rows->add(d, room->d_fed + k * width, width);
        if (c->drop) {
            t->rows->dropout(d, width, c->drop_key[DECODER_LAYERS], token, c->drop);
        }
        c->kernels->tanh_backward(d, c->result + (at + k) * width, width);
        row_write(t, t->type, operand_row(c, c->d_combined, at + k, width), d, width);
    }
    int64_t joined = 2 * c->in.decoder->hidden;
    return gemm_packed(t->gemm, matrix_of(room->d_joined, rows, joined, ELEMENT_F32),
                       matrix_of(operand_row(c, c->d_combined, at, width), rows, width, t->type), c->weights.combine.own,
                       (gemm_options){0});
}

/* The attention of the row of rank `rank`: d_context in; d_query (set), d_keys, d_memory and
 * d_energy (added to) out. */
static void attend_backward(decoder_context *c, backward_room *room, int64_t rank, int64_t step, const float *d_context,
                            float *d_query, float *d_energy) {
    int64_t n = c->in.decoder->hidden, count = source_length(c, rank);
    int64_t first = c->in.source.offsets[sequence_of(c, rank)] * n, row = c->order.base[step] + rank;
    const float *weights = attention_row(c, rank, step), *query = c->query + row * n;
    const int additive = c->in.decoder->score == SCORE_ADDITIVE;
    const float *energy = additive ? parameter_values(c->t->parameters, c->in.decoder->energy) : NULL;
    float mean = 0;
    memset(d_query, 0, (size_t)n * sizeof *d_query);
    for (int64_t j = 0; j < count; j++) {
        room->d_weights[j] = c->kernels->dot(d_context, c->memory + first + j * n, n);
        mean += weights[j] * room->d_weights[j];
        c->kernels->add_scaled(c->d_memory + first + j * n, d_context, weights[j], n);
    }
    for (int64_t j = 0; j < count; j++) {
        float d_score = weights[j] * (room->d_weights[j] - mean);
        const float *key = c->keys + first + j * n;
        float *d_key = c->d_keys + first + j * n;
        if (additive) {
            c->kernels->additive_backward(d_query, d_key, d_energy, query, key, energy, d_score, n);
        } else {
            c->kernels->add_scaled(d_query, key, d_score, n);
            c->kernels->add_scaled(d_key, query, d_score, n);
        }
    }
}

/* From the joined rows to the gradient of the top layer's states. */
static attn_status contexts_backward(decoder_context *c, backward_room *room, int64_t index, int64_t step, int64_t rows) {
    const recurrent_decoder *d = c->in.decoder;
    tape *t = c->t;
    rank_block block = rank_block_at(&c->order, index);
    int64_t n = d->hidden, at = c->order.base[step] + block.first;
    float *top = room->d_h[d->layers - 1];
    for (int64_t k = 0; k < rows; k++) {
        float *d_query = room->d_query + k * n;
        attend_backward(c, room, block.first + k, step, room->d_joined + 2 * k * n, d_query, c->d_energy + index * n);
        t->rows->add(top + k * n, room->d_joined + (2 * k + 1) * n, n);
        if (d->score == SCORE_ADDITIVE) {
            row_write(t, t->type, operand_row(c, c->d_query, at + k, n), d_query, n);
        } else {
            t->rows->add(top + k * n, d_query, n);
        }
    }
    return d->score == SCORE_ADDITIVE
               ? gemm_packed(t->gemm, matrix_of(top, rows, n, ELEMENT_F32), matrix_of(operand_row(c, c->d_query, at, n), rows, n, t->type),
                             c->weights.query.own, (gemm_options){.accumulate = 1})
               : ATTN_OK;
}

/* Layer `layer` of a step: from the gradient of its new state to that of its last state, and
 * to what it read: the layer below, or the projected tokens and what was fed. */
static attn_status layer_backward(decoder_context *c, backward_room *room, int layer, rank_block block, int64_t step,
                                  int64_t rows) {
    const recurrent_decoder *d = c->in.decoder;
    tape *t = c->t;
    layer_course *course = &c->layers[layer];
    int64_t n = d->hidden, gates = cell_gates(d->cell) * n, at = c->order.base[step] + block.first;
    float *d_h = room->d_h[layer], *d_c = room->d_c[layer], *d_gx = room->row, *d_gh = d_gx + gates;
    for (int64_t k = 0; k < rows; k++) {
        (d->cell == CELL_GRU ? c->kernels->gru_backward : c->kernels->lstm_backward)(
            d_h + k * n, d_c + k * n, d_gx, d_gh, course->saved + (at + k) * CELL_SAVED * n, n);
        row_write(t, t->type, operand_row(c, course->d_gx, at + k, gates), d_gx, gates);
        row_write(t, t->type, operand_row(c, course->d_gh, at + k, gates), d_gh, gates);
        if (layer == 0) {
            tensor *projected = c->in.projected;
            row_write(t, t->type, gradient_row(projected, projected->gradient, token_of(c, block.first + k, step)), d_gx, gates);
        }
    }
    matrix gx = matrix_of(operand_row(c, course->d_gx, at, gates), rows, gates, t->type);
    matrix gh = matrix_of(operand_row(c, course->d_gh, at, gates), rows, gates, t->type);
    attn_status status = gemm_packed(t->gemm, matrix_of(d_h, rows, n, ELEMENT_F32), gh,
                                     c->weights.state[layer].own, (gemm_options){.accumulate = 1});
    if (layer == 0) {
        return status ? status
                      : gemm_packed(t->gemm, matrix_of(room->d_fed, rows, d->width, ELEMENT_F32), gx,
                                    c->weights.feed.own, (gemm_options){0});
    }
    status = status ? status
                    : gemm_packed(t->gemm, matrix_of(room->d_below, rows, n, ELEMENT_F32), gx,
                                  c->weights.input[layer].own, (gemm_options){0});
    for (int64_t k = 0; k < rows && !status; k++) {
        if (c->drop) {
            t->rows->dropout(room->d_below + k * n, n, c->drop_key[layer], token_of(c, block.first + k, step), c->drop);
        }
        t->rows->add(room->d_h[layer - 1] + k * n, room->d_below + k * n, n);
    }
    return status;
}

static attn_status block_backward(decoder_context *c, backward_room *room, int64_t index) {
    const recurrent_decoder *d = c->in.decoder;
    rank_block block = rank_block_at(&c->order, index);
    int64_t step = 0, n = d->hidden, size = cell_state(d->cell, n);
    while (rank_block_rows(&c->order, block, step) > 0) {
        step++;
    }
    attn_status status = ATTN_OK;
    while (step-- > 0 && !status) {
        int64_t rows = rank_block_rows(&c->order, block, step);
        status = results_backward(c, room, block, step, rows);
        status = status ? status : contexts_backward(c, room, index, step, rows);
        for (int layer = d->layers - 1; layer >= 0 && !status; layer--) {
            status = layer_backward(c, room, layer, block, step, rows);
        }
    }
    tensor *initial = c->in.initial;
    for (int64_t k = 0; k < block.end - block.first && !status; k++) {
        void *row = gradient_row(initial, initial->gradient, sequence_of(c, block.first + k));
        for (int i = 0; i < d->layers; i++) {
            row_write(c->t, initial->type, element_at(row, initial->type, i * size), room->d_h[i] + k * n, n);
            if (d->cell == CELL_LSTM) {
                row_write(c->t, initial->type, element_at(row, initial->type, i * size + n), room->d_c[i] + k * n, n);
            }
        }
    }
    return status;
}

static void give_rows(const decoder_context *c, tensor *x, float *gradient, int accumulate) {
    for (int64_t i = 0; i < x->rows; i++) {
        float room[x->columns + 16];
        row_give(c->t, x->type, gradient_row(x, x->gradient, i), gradient + i * x->columns, room, x->columns, accumulate);
    }
}

static void add_weight_gradients(decoder_context *c) {
    const recurrent_decoder *d = c->in.decoder;
    tape *t = c->t;
    const parameter none = {0};
    int64_t n = d->hidden, gates = cell_gates(d->cell) * n, tokens = c->order.tokens;
    matrix joined = matrix_of(c->joined, tokens, 2 * n, t->type);
    for (int i = 0; i < d->layers; i++) {
        const layer_course *course = &c->layers[i];
        matrix d_gx = matrix_of(course->d_gx, tokens, gates, t->type), d_gh = matrix_of(course->d_gh, tokens, gates, t->type);
        if (i == 0) {
            add_weight_gradient(t, d->feed, none, d_gx, matrix_of(c->fed, tokens, d->width, t->type));
        } else {
            add_weight_gradient(t, d->cells[i].input, d->cells[i].input_bias, d_gx, matrix_of(course->below, tokens, n, t->type));
        }
        add_weight_gradient(t, d->cells[i].state, d->cells[i].state_bias, d_gh, matrix_of(course->last, tokens, n, t->type));
    }
    add_weight_gradient(t, d->combine, d->combine_bias, matrix_of(c->d_combined, tokens, d->width, t->type), joined);
    if (d->score == SCORE_ADDITIVE) {
        add_weight_gradient(t, d->query, none, matrix_of(c->d_query, tokens, n, t->type), matrix_of(c->top, tokens, n, t->type));
        for (int64_t i = 0; i < rank_blocks(&c->order); i++) {
            t->rows->add(parameter_gradients(t->parameters, d->energy), c->d_energy + i * n, n);
        }
    }
}

/* The arrays of the way back; the weights packed for it. */
static attn_status prepare_backward(decoder_context *c) {
    const recurrent_decoder *d = c->in.decoder;
    tape *t = c->t;
    int64_t n = d->hidden, gates = cell_gates(d->cell) * n, tokens = c->order.tokens;
    size_t operand = element_size(t->type);
    for (int i = 0; i < d->layers; i++) {
        c->layers[i].d_gx = tape_memory(t, tokens * gates, operand);
        c->layers[i].d_gh = tape_memory(t, tokens * gates, operand);
    }
    c->d_combined = tape_memory(t, tokens * d->width, operand);
    c->d_query = tape_memory(t, tokens * n, operand);
    c->d_memory = tape_memory(t, c->in.memory->rows * n, sizeof(float));
    c->d_keys = c->in.keys == c->in.memory ? c->d_memory : tape_memory(t, c->in.memory->rows * n, sizeof(float));
    c->d_energy = tape_memory(t, rank_blocks(&c->order) * n, sizeof(float));
    if (!t->status) {
        memset(c->d_memory, 0, (size_t)(c->in.memory->rows * n) * sizeof(float));
        memset(c->d_keys, 0, (size_t)(c->in.memory->rows * n) * sizeof(float));
        memset(c->d_energy, 0, (size_t)(rank_blocks(&c->order) * n) * sizeof(float));
        tape_fail(t, decoder_weights_open(t, d, 1, &c->weights));
    }
    return t->status;
}

static void run_backward(decoder_context *c) {
    tape *t = c->t;
    int64_t blocks = rank_blocks(&c->order), longest = 0;
    for (int64_t rank = 0; rank < c->order.sequences; rank++) {
        longest = source_length(c, rank) > longest ? source_length(c, rank) : longest;
    }
    backward_room *rooms = tape_memory(t, blocks, sizeof *rooms);
    for (int64_t i = 0; i < blocks && !t->status; i++) {
        tape_fail(t, take_backward_room(c, &rooms[i], longest));
    }
    attn_status result = t->status;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < blocks; i++) {
        attn_status status = result ? result : block_backward(c, &rooms[i], i);
        if (status) {
#pragma omp critical(attn_recurrent_status)
            result = status;
        }
    }
    tape_fail(t, result);
}

static void decoder_backward(tape *t, void *context) {
    decoder_context *c = context;
    decoder_inputs *in = &c->in;
    int add_projected, add_initial, add_memory, add_keys = 0;
    if (!c->y->gradient || !tape_gradient(t, in->projected, &add_projected) || !tape_gradient(t, in->initial, &add_initial) ||
        !tape_gradient(t, in->memory, &add_memory) || (in->keys != in->memory && !tape_gradient(t, in->keys, &add_keys))) {
        return;
    }
    if (add_projected || add_initial) {
        tape_fail(t, fail(ATTN_ERROR_INTERNAL, "a recurrent decoder's inputs are used by another operation"));
        return;
    }
    arena_mark mark = arena_get_mark(t->memory);
    if (!prepare_backward(c)) {
        run_backward(c);
        decoder_weights_close(&c->weights);
    }
    if (!t->status) {
        add_weight_gradients(c);
        give_rows(c, in->memory, c->d_memory, add_memory);
        if (in->keys != in->memory) {
            give_rows(c, in->keys, c->d_keys, add_keys);
        }
    }
    arena_return_to(t->memory, mark);
}

/* --- the operation ---------------------------------------------------------------- */

static const float *as_f32(tape *t, const tensor *x) {
    if (x->type == ELEMENT_F32) {
        return x->data;
    }
    float *values = tape_memory(t, x->rows * x->columns, sizeof *values);
    if (values) {
        t->rows->widen(values, x->data, x->rows * x->columns);
    }
    return values;
}

/* The arrays of the way forward. */
static attn_status prepare_forward(decoder_context *c) {
    const recurrent_decoder *d = c->in.decoder;
    tape *t = c->t;
    int64_t n = d->hidden, tokens = c->order.tokens, total = 0;
    size_t operand = element_size(t->type);
    c->memory = as_f32(t, c->in.memory);
    c->keys = c->in.keys == c->in.memory ? c->memory : as_f32(t, c->in.keys);
    for (int i = 0; i < d->layers; i++) {
        c->layers[i].last = tape_memory(t, tokens * n, operand);
        c->layers[i].below = i ? tape_memory(t, tokens * n, operand) : NULL;
        c->layers[i].saved = t->recording ? tape_memory(t, tokens * CELL_SAVED * n, sizeof(float)) : NULL;
    }
    c->fed = tape_memory(t, tokens * d->width, operand);
    c->top = tape_memory(t, tokens * n, operand);
    c->joined = tape_memory(t, tokens * 2 * n, operand);
    c->query = tape_memory(t, tokens * n, sizeof(float));
    c->result = tape_memory(t, tokens * d->width, sizeof(float));
    c->attention_start = tape_memory(t, c->order.sequences, sizeof *c->attention_start);
    for (int64_t s = 0; s < c->order.sequences && !t->status; s++) {
        const int32_t *target = c->in.target.offsets + s, *source = c->in.source.offsets + s;
        c->attention_start[s] = total;
        total += (int64_t)(target[1] - target[0]) * (source[1] - source[0]);
    }
    c->attention = tape_memory(t, total, sizeof(float));
    return t->status;
}

static void show_attention(decoder_context *c) {
    tape *t = c->t;
    for (int64_t s = 0; s < c->order.sequences && !t->status; s++) {
        const int32_t *target = c->in.target.offsets + s, *source = c->in.source.offsets + s;
        tape_fail(t, t->probe.look(t->probe.context, c->in.part, s, 1, target[1] - target[0], source[1] - source[0],
                                   c->attention + c->attention_start[s]));
    }
}

tensor *op_recurrent_decoder(tape *t, const decoder_inputs *inputs) {
    if (!inputs->projected || !inputs->memory || !inputs->keys || !inputs->initial || t->status) {
        return NULL;
    }
    tensor *y = tape_tensor(t, inputs->projected->rows, inputs->decoder->width);
    decoder_context *c = tape_memory(t, 1, sizeof *c);
    if (!y || !c) {
        return NULL;
    }
    memset(c, 0, sizeof *c);
    c->in = *inputs;
    c->y = y;
    c->t = t;
    c->kernels = recurrent_rows_select();
    if (t->recording) {
        c->drop = (uint32_t)(inputs->dropout * 65536.0f + 0.5f);
        for (int i = 0; i <= DECODER_LAYERS; i++) {
            c->drop_key[i] = tape_draw(t);
        }
    }
    tape_fail(t, time_order_make(t, inputs->target, &c->order));
    if (t->status || prepare_forward(c)) {
        return NULL;
    }
    tape_fail(t, decoder_weights_open(t, inputs->decoder, 0, &c->weights));
    if (!t->status) {
        run_forward(c);
        decoder_weights_close(&c->weights);
    }
    if (t->probe.look) {
        show_attention(c);
    }
    tape_note_backward(t, decoder_backward, c);
    return t->status ? NULL : y;
}
