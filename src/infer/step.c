/* The decoder's layers with a cache (Vaswani et al. 2017, 3.1): the same projections,
 * normalisation and feed-forward as model/layers.c, but attention is of one query a row
 * to the places that the row lists (attn_attention_decode, page size 1). */
#include "infer/translator.h"

#include <attn/attention.h>
#include <math.h>

#include "model/transformer.h"

/* x[r] = scale * embedding[id] + position, as op_embedding. */
static tensor *embed_rows(tape *t, const transformer *model, const step_input *in) {
    int64_t n = model->config.d_model;
    tensor *x = tape_tensor(t, in->rows, n);
    if (!x) {
        return NULL;
    }
    const float *table = parameter_values(t->parameters, model->embedding);
    float *out = x->data;
    for (int64_t r = 0; r < in->rows; r++) {
        const float *row = table + in->ids[r] * n, *position = model->positions + in->positions[r] * n;
        for (int64_t j = 0; j < n; j++) {
            out[r * n + j] = row[j] * model->embedding_scale + position[j];
        }
    }
    return x;
}

/* Heads of whole vectors: a row at a time. */
static tensor *attend_each(tape *t, const multi_head_attention *a, const tensor *q, int64_t rows, row_places places,
                           const cache *c, int layer, tensor *y) {
    arena_mark mark = arena_get_mark(t->memory);
    float *room = tape_memory(t, a->heads * (places.stride + 15) / 16 * 16 + a->heads * 16, sizeof *room);
    for (int64_t r = 0; r < rows && room; r++) {
        const int32_t *list = places.table + r * places.stride, *next = list + places.stride, count = places.lengths[r];
        int32_t more = r + 1 < rows ? places.lengths[r + 1] : 0;
        if (more == count && next[more - 1] == list[count - 1]) { /* of the same sentence: they are at hand */
            more = 0;
        }
        t->rows->attend((float *)y->data + r * a->width, (const float *)q->data + r * q->columns, c->rows[layer], a->width,
                        a->heads, list, count, next, more, room);
    }
    arena_return_to(t->memory, mark);
    return room ? y : NULL;
}

/* One query a row against its places; queries are columns 0 .. width - 1 of q. */
static tensor *attend(tape *t, const multi_head_attention *a, tensor *q, int64_t rows, row_places places,
                      const cache *c, int layer) {
    tensor *y = q ? tape_tensor(t, q->rows, a->width) : NULL;
    if (!y) {
        return NULL;
    }
    int64_t d = a->width / a->heads;
    if (d % 16 == 0) {
        return attend_each(t, a, q, rows, places, c, layer, y);
    }
    attn_attention_problem problem;
    attn_attention_defaults(&problem, a->heads, a->heads, d, d);
    attn_attention_batch(&problem, rows, 1, places.stride);
    problem.q.sequence = problem.q.token = q->columns;
    problem.key_lengths.i32 = places.lengths;
    const attn_strides strides = {.sequence = 2 * a->width, .token = 2 * a->width, .head = d};
    attn_attention_cache keys = {.dtype = ATTN_F32, .k = c->rows[layer], .v = c->rows[layer] + a->width,
                                 .k_strides = strides, .v_strides = strides, .page_table = places.table,
                                 .page_table_stride = places.stride, .page_size = 1, .pages = c->places};
    arena_mark mark = arena_get_mark(t->memory);
    size_t size = 0;
    attn_status status = attn_attention_workspace(&problem, ATTN_PASS_DECODE, &size);
    void *workspace = status ? NULL : tape_memory(t, (int64_t)size, 1);
    if (workspace) {
        status = attn_attention_decode(&problem, &keys, q->data, y->data, NULL, workspace, size);
    }
    tape_fail(t, status);
    arena_return_to(t->memory, mark);
    return t->status ? NULL : y;
}

static tensor *linear(tape *t, const linear_layer *l, tensor *x) {
    return op_linear(t, x, l->weight, l->bias, ACTIVATION_NONE);
}

static tensor *norm(tape *t, const layer_norm *n, tensor *x, tensor *f) {
    return op_residual_norm(t, x, f, n->gain, n->bias, LAYER_NORM_EPSILON, 0);
}

/* Keys and values are columns `from` .. of x. */
static void store(const tensor *x, int64_t from, int64_t rows, const int32_t *places, cache *c, int layer) {
    for (int64_t r = 0; r < rows; r++) {
        memcpy(cache_row(c, layer, places[r]), (const float *)tensor_row(x, r) + from,
               (size_t)(2 * c->widths[layer]) * sizeof(float));
    }
}

/* The weights of the attention that attend() computes, mean over heads. */
static void write_weights(const multi_head_attention *a, const tensor *q, const step_input *in, const cache *c, int layer) {
    int64_t d = a->width / a->heads, stride = in->cross.stride;
    float scale = 1.0f / sqrtf((float)d);
    for (int64_t r = 0; r < in->rows; r++) {
        const int32_t *places = in->cross.table + r * stride;
        float *weights = in->cross_weights + r * stride;
        int32_t count = in->cross.lengths[r];
        memset(weights, 0, (size_t)count * sizeof *weights);
        for (int64_t head = 0; head < a->heads; head++) {
            const float *query = (const float *)tensor_row(q, r) + head * d;
            double sum = 0, most = -INFINITY;
            for (int pass = 0; pass < 3; pass++) { /* the largest score, the sum, the weights: nothing is kept */
                for (int32_t i = 0; i < count; i++) {
                    const float *key = cache_row(c, layer, places[i]) + head * d;
                    float score = 0;
                    for (int64_t j = 0; j < d; j++) {
                        score += query[j] * key[j];
                    }
                    double scaled = (double)(score * scale);
                    most = pass == 0 && scaled > most ? scaled : most;
                    sum += pass == 1 ? exp(scaled - most) : 0;
                    weights[i] += pass == 2 ? (float)(exp(scaled - most) / sum / (double)a->heads) : 0;
                }
            }
        }
    }
}

tensor *step_decode(tape *t, const transformer *model, const step_input *in, cache *self, const cache *cross) {
    tensor *x = embed_rows(t, model, in);
    for (int i = 0; i < model->config.decoder_layers && x; i++) {
        const decoder_layer *layer = &model->decoder[i];
        tensor *projected = project_all(t, &layer->self_attention, x);
        if (projected) {
            store(projected, self->widths[i], in->rows, in->places, self, i);
        }
        tensor *attended = attend(t, &layer->self_attention, projected, in->rows, in->self, self, i);
        x = norm(t, &layer->self_attention_norm, x, linear(t, &layer->self_attention.output, attended));
        tensor *queries = linear(t, &layer->cross_attention.query, x);
        if (queries && in->cross_weights && i == model->config.decoder_layers - 1) {
            write_weights(&layer->cross_attention, queries, in, cross, i);
        }
        tensor *crossed = attend(t, &layer->cross_attention, queries, in->rows, in->cross, cross, i);
        x = norm(t, &layer->cross_attention_norm, x, linear(t, &layer->cross_attention.output, crossed));
        x = norm(t, &layer->final_norm, x, feed_forward_forward(t, &layer->feed_forward, x, 0));
    }
    return x;
}

static tensor *step(tape *t, const void *model, const step_input *in, cache *self, const cache *cross) {
    return step_decode(t, model, in, self, cross);
}

attn_status step_open_caches(const transformer *model, cache *self, cache *cross) {
    const model_config *c = &model->config;
    attn_status status = cache_open(self, c->decoder_layers, c->d_model);
    status = status ? status : cache_open(cross, c->decoder_layers, c->d_model);
    for (int i = 0; i < c->decoder_layers && !status; i++) {
        self->widths[i] = model->decoder[i].self_attention.width;
        cross->widths[i] = model->decoder[i].cross_attention.width;
    }
    return status;
}

attn_status step_keep_memory(tape *t, const transformer *model, tensor *memory, const int32_t *places, cache *cross) {
    for (int i = 0; i < model->config.decoder_layers && !t->status; i++) {
        arena_mark mark = arena_get_mark(t->memory);
        tensor *projected = project_keys_values(t, &model->decoder[i].cross_attention, memory);
        if (projected) {
            store(projected, 0, projected->rows, places, cross, i);
        }
        arena_return_to(t->memory, mark);
    }
    return t->status;
}

static attn_status encode(tape *t, const void *from, source_rows source, packing p, const int32_t *places, cache *cross) {
    const transformer *model = from;
    return step_keep_memory(t, model, transformer_encode(t, model, source.ids, p), places, cross);
}

/* --- as a translator ---------------------------------------------------------------- */

static attn_status pack_attention(packed_parameters *packed, product_type type, const parameters *p, const multi_head_attention *a, int cross) {
    attn_status status =
        cross ? packed_parameters_add(packed, type, p, a->query.weight) : ATTN_OK;
    parameter fused = cross ? parameter_joined(a->key.weight, 2) : parameter_joined(a->query.weight, 3);
    status = status ? status : packed_parameters_add(packed, type, p, fused);
    return status ? status : packed_parameters_add(packed, type, p, a->output.weight);
}

static attn_status pack_feed_forward(packed_parameters *packed, product_type type, const parameters *p, const feed_forward *f) {
    attn_status status = packed_parameters_add(packed, type, p, f->inner.weight);
    return status ? status : packed_parameters_add(packed, type, p, f->outer.weight);
}

attn_status step_pack(packed_parameters *packed, product_type type, const parameters *p, const transformer *model) {
    attn_status status = ATTN_OK;
    for (int i = 0; i < model->config.encoder_layers && !status; i++) {
        status = pack_attention(packed, type, p, &model->encoder[i].self_attention, 0);
        status = status ? status : pack_feed_forward(packed, type, p, &model->encoder[i].feed_forward);
    }
    for (int i = 0; i < model->config.decoder_layers && !status; i++) {
        status = pack_attention(packed, type, p, &model->decoder[i].self_attention, 0);
        status = status ? status : pack_attention(packed, type, p, &model->decoder[i].cross_attention, 1);
        status = status ? status : pack_feed_forward(packed, type, p, &model->decoder[i].feed_forward);
    }
    return status;
}

static attn_status pack(packed_parameters *packed, product_type type, const parameters *p, const void *model) {
    return step_pack(packed, type, p, model);
}

static attn_status open_caches(const void *model, cache *self, cache *cross) {
    return step_open_caches(model, self, cross);
}

static tensor *decode(tape *t, const void *model, source_rows source, packing from, const int32_t *inputs, packing to) {
    return transformer_decode(t, model, inputs, to, transformer_encode(t, model, source.ids, from), from);
}

static void attention_layers(const void *from, int layers[3]) {
    const model_config *c = &((const transformer *)from)->config;
    layers[0] = c->encoder_layers;
    layers[1] = layers[2] = c->decoder_layers;
}

const translator_kind transformer_translator = {pack, open_caches, encode, step, decode, attention_layers};
