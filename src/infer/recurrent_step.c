/* The recurrent decoder in a search. A place of its own cache is a hypothesis after some
 * token: the states of all layers, then f, which is fed to the next step; the step before
 * is the last but one of the row's list. The cross cache holds a source token's key and
 * memory. A hypothesis without a token begins with what the bridge makes of the ends of its
 * memory. The step itself is that of the training (tensor/decoder_step.h). */
#include "infer/translator.h"
#include "model/recurrent.h"
#include "tensor/decoder_step.h"

static int64_t states_of(const recurrent *model) {
    return model->decoder.layers * cell_state(model->decoder.cell, model->decoder.hidden);
}

static attn_status open_caches(const void *model, cache *self, cache *cross) {
    const recurrent *m = model;
    attn_status status = cache_open(self, 1, (states_of(m) + m->decoder.width + 1) / 2);
    return status ? status : cache_open(cross, 1, m->decoder.hidden);
}

static attn_status pack(packed_parameters *packed, product_type type, const parameters *values, const void *model) {
    const recurrent *m = model;
    parameter weights[4 * DECODER_LAYERS + 8 + 2 * DECODER_LAYERS];
    int count = 0;
    for (int i = 0; i < m->config.encoder_layers; i++) {
        weights[count++] = parameter_joined(m->encoder[i].input[0], 2);
        weights[count++] = m->encoder[i].state[0];
        weights[count++] = m->encoder[i].state[1];
    }
    for (int i = 0; i < m->decoder.layers; i++) {
        weights[count++] = i ? m->cells[i].input : m->first_input.weight;
        weights[count++] = m->cells[i].state;
    }
    weights[count++] = m->bridge.weight;
    weights[count++] = m->decoder.feed;
    weights[count++] = m->decoder.combine;
    weights[count++] = m->key.weight;
    weights[count++] = m->decoder.query;
    attn_status status = ATTN_OK;
    for (int i = 0; i < count && !status; i++) {
        status = weights[i].columns ? packed_parameters_add(packed, type, values, weights[i]) : ATTN_OK;
    }
    return status;
}

static attn_status encode(tape *t, const void *model, source_rows source, packing p, const int32_t *places, cache *cross) {
    const recurrent *m = model;
    int64_t n = m->decoder.hidden;
    tensor *memory = recurrent_encode(t, m, source.ids, p), *keys = recurrent_keys(t, m, memory);
    for (int64_t i = 0; keys && i < memory->rows; i++) {
        float *row = cache_row(cross, 0, places[i]);
        memcpy(row, tensor_row(keys, i), (size_t)n * sizeof *row);
        memcpy(row + n, tensor_row(memory, i), (size_t)n * sizeof *row);
    }
    return t->status;
}

/* What goes on from what: arrays for all rows. */
static attn_status take_rows(tape *t, const recurrent *m, int64_t rows, decoder_step_rows *s) {
    const recurrent_decoder *d = &m->decoder;
    int64_t n = d->hidden, gates = cell_gates(d->cell) * n;
    s->rows = rows;
    s->gh = tape_memory(t, rows * gates, sizeof(float));
    s->fed = tape_memory(t, rows * d->width, sizeof(float));
    s->query = tape_memory(t, rows * n, sizeof(float));
    s->top = tape_memory(t, rows * n, sizeof(float));
    s->joined = tape_memory(t, rows * 2 * n, sizeof(float));
    for (int i = 0; i < d->layers; i++) {
        s->state[i] = tape_memory(t, rows * cell_state(d->cell, n), sizeof(float));
        s->last[i] = tape_memory(t, rows * n, sizeof(float));
        s->below[i] = tape_memory(t, rows * n, sizeof(float));
    }
    return t->status;
}

/* Row r begins or goes on with `states` and `fed`. */
static void start_row(const recurrent *m, const decoder_step_rows *s, int64_t r, const float *states, const float *fed) {
    const recurrent_decoder *d = &m->decoder;
    int64_t n = d->hidden, size = cell_state(d->cell, n);
    for (int i = 0; i < d->layers; i++) {
        memcpy(s->state[i] + r * size, states + i * size, (size_t)size * sizeof *states);
        memcpy((float *)(uintptr_t)s->last[i] + r * n, states + i * size, (size_t)n * sizeof *states);
    }
    float *to = (float *)(uintptr_t)s->fed + r * d->width;
    if (fed) {
        memcpy(to, fed, (size_t)d->width * sizeof *fed);
    } else {
        memset(to, 0, (size_t)d->width * sizeof *to);
    }
}

/* The ends of row r's memory: the last token's forward half, the first's backward half. */
static void copy_ends(const step_input *in, const cache *cross, int64_t r, float *out) {
    const int32_t *places = in->cross.table + r * in->cross.stride;
    int64_t n = cross->widths[0], half = n / 2;
    memcpy(out, cache_row(cross, 0, places[in->cross.lengths[r] - 1]) + n, (size_t)half * sizeof *out);
    memcpy(out + half, cache_row(cross, 0, places[0]) + n + half, (size_t)half * sizeof *out);
}

static attn_status start_rows(tape *t, const recurrent *m, const step_input *in, const cache *self, const cache *cross,
                              const decoder_step_rows *s) {
    int64_t fresh = 0, at = 0;
    for (int64_t r = 0; r < in->rows; r++) {
        fresh += in->self.lengths[r] == 1;
    }
    tensor *ends = fresh ? tape_tensor(t, fresh, m->decoder.hidden) : NULL;
    for (int64_t r = 0; ends && r < in->rows; r++) {
        if (in->self.lengths[r] == 1) {
            copy_ends(in, cross, r, tensor_row(ends, at++));
        }
    }
    tensor *first = recurrent_bridge(t, m, ends);
    at = 0;
    for (int64_t r = 0; r < in->rows && !t->status; r++) {
        if (in->self.lengths[r] == 1) {
            start_row(m, s, r, tensor_row(first, at++), NULL);
        } else {
            const float *last = cache_row(self, 0, in->self.table[r * in->self.stride + in->self.lengths[r] - 2]);
            start_row(m, s, r, last, last + states_of(m));
        }
    }
    return t->status;
}

static void keep_row(const recurrent *m, const decoder_step_rows *s, int64_t r, float *out) {
    const recurrent_decoder *d = &m->decoder;
    int64_t size = cell_state(d->cell, d->hidden);
    for (int i = 0; i < d->layers; i++) {
        memcpy(out + i * size, s->state[i] + r * size, (size_t)size * sizeof *out);
    }
    memcpy(out + d->layers * size, s->result + r * d->width, (size_t)d->width * sizeof *out);
}

/* The new tokens, each a sequence of its own. */
static tensor *project_tokens(tape *t, const recurrent *m, const step_input *in) {
    int32_t *offsets = tape_memory(t, in->rows + 1, sizeof *offsets);
    for (int64_t r = 0; offsets && r <= in->rows; r++) {
        offsets[r] = (int32_t)r;
    }
    return offsets ? recurrent_project_input(t, m, in->ids, (packing){offsets, in->rows}) : NULL;
}

static tensor *step(tape *t, const void *model, const step_input *in, cache *self, const cache *cross) {
    const recurrent *m = model;
    decoder_step_rows s = {0};
    decoder_weights weights;
    tensor *projected = project_tokens(t, m, in), *result = tape_tensor(t, in->rows, m->decoder.width);
    attended_rows *attended = tape_memory(t, in->rows, sizeof *attended);
    float *room = in->cross_weights ? in->cross_weights : tape_memory(t, in->rows * in->cross.stride, sizeof *room);
    if (!projected || !result || !attended || !room || take_rows(t, m, in->rows, &s) ||
        start_rows(t, m, in, self, cross, &s)) {
        return NULL;
    }
    for (int64_t r = 0; r < in->rows; r++) {
        attended[r] = (attended_rows){cross->rows[0], cross->rows[0] + cross->widths[0], 2 * cross->widths[0],
                                      in->cross.table + r * in->cross.stride, in->cross.lengths[r],
                                      room + r * in->cross.stride};
    }
    s.gx = projected->data;
    s.result = result->data;
    s.attended = attended;
    tape_fail(t, decoder_weights_open(t, &m->decoder, 0, &weights));
    s.room = t->status ? NULL : tape_memory(t, (int64_t)decoder_weights_room(&weights, in->rows), 1);
    if (!t->status) {
        tape_fail(t, decoder_step_forward(t, &weights, &s));
        decoder_weights_close(&weights);
    }
    for (int64_t r = 0; r < in->rows && !t->status; r++) {
        keep_row(m, &s, r, cache_row(self, 0, in->places[r]));
    }
    return t->status ? NULL : result;
}

static tensor *decode(tape *t, const void *model, source_rows source, packing from, const int32_t *inputs, packing to) {
    return recurrent_decode(t, model, inputs, to, recurrent_encode(t, model, source.ids, from), from);
}

static void attention_layers(const void *model, int layers[3]) {
    (void)model;
    layers[0] = layers[1] = 0;
    layers[2] = 1;
}

const translator_kind recurrent_translator = {pack, open_caches, encode, step, decode, attention_layers};
