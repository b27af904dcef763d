#include "model/recurrent.h"

#include <math.h>
#include <stdio.h>

#include "base/random.h"

/* --- parameters ------------------------------------------------------------------ */

/* The four arrays of one layer; `reverse`: "" or "_reverse". */
static attn_status declare_state(parameters *set, parameter *weight, parameter *bias, int64_t gates, int64_t units,
                                 const char *part, int layer, const char *reverse) {
    attn_status status = parameters_declare(set, 1, 2, gates * units, units, weight, "model.%s.rnn.weight_hh_l%d%s", part,
                                            layer, reverse);
    return status ? status
                  : parameters_declare(set, 1, 1, 1, gates * units, bias, "model.%s.rnn.bias_hh_l%d%s", part, layer, reverse);
}

static attn_status declare_encoder_layer(recurrent *model, int layer) {
    static const char *const REVERSE[] = {"", "_reverse"};
    parameters *set = &model->parameters;
    recurrent_layer *l = &model->encoder[layer];
    int64_t units = model->config.hidden_size / 2, gates = cell_gates(model->config.cell);
    int64_t in = layer ? model->config.hidden_size : model->config.d_model;
    attn_status status = ATTN_OK;
    for (int i = 0; i < 2 && !status; i++) {
        status = parameters_declare(set, i == 0, 2, gates * units, in, &l->input[i], "model.encoder.rnn.weight_ih_l%d%s",
                                    layer, REVERSE[i]);
    }
    for (int i = 0; i < 2 && !status; i++) {
        status = parameters_declare(set, i == 0, 1, 1, gates * units, &l->input_bias[i], "model.encoder.rnn.bias_ih_l%d%s",
                                    layer, REVERSE[i]);
    }
    for (int i = 0; i < 2 && !status; i++) {
        status = declare_state(set, &l->state[i], &l->state_bias[i], gates, units, "encoder", layer, REVERSE[i]);
    }
    return status;
}

static attn_status declare_decoder_layer(recurrent *model, int layer) {
    parameters *set = &model->parameters;
    decoder_cell *cell = &model->cells[layer];
    int64_t units = model->config.hidden_size, gates = cell_gates(model->config.cell);
    int64_t in = layer ? units : model->config.d_model;
    parameter *weight = layer ? &cell->input : &model->first_input.weight;
    parameter *bias = layer ? &cell->input_bias : &model->first_input.bias;
    attn_status status = parameters_declare(set, 1, 2, gates * units, in, weight, "model.decoder.rnn.weight_ih_l%d", layer);
    status = status ? status : parameters_declare(set, 1, 1, 1, gates * units, bias, "model.decoder.rnn.bias_ih_l%d", layer);
    return status ? status : declare_state(set, &cell->state, &cell->state_bias, gates, units, "decoder", layer, "");
}

static attn_status declare_attention(recurrent *model) {
    parameters *set = &model->parameters;
    recurrent_decoder *d = &model->decoder;
    int64_t n = d->hidden;
    attn_status status = ATTN_OK;
    if (d->score != SCORE_DOT) {
        status = parameters_declare(set, 1, 2, n, n, &model->key.weight, "model.decoder.attention.key.weight");
    }
    if (d->score == SCORE_ADDITIVE && !status) {
        status = parameters_declare(set, 1, 1, 1, n, &model->key.bias, "model.decoder.attention.key.bias");
        status = status ? status : parameters_declare(set, 1, 2, n, n, &d->query, "model.decoder.attention.query.weight");
        status = status ? status : parameters_declare(set, 1, 1, 1, n, &d->energy, "model.decoder.attention.energy");
    }
    return status;
}

static attn_status declare(recurrent *model) {
    const model_config *c = &model->config;
    parameters *set = &model->parameters;
    recurrent_decoder *d = &model->decoder;
    *d = (recurrent_decoder){.cell = c->cell, .score = c->score, .layers = c->decoder_layers, .hidden = c->hidden_size,
                             .width = c->d_model, .cells = model->cells};
    int64_t n = d->hidden, states = d->layers * cell_state(d->cell, n);
    attn_status status = parameters_declare(set, 1, 2, c->vocab_size, c->d_model, &model->embedding, "model.shared.weight");
    for (int i = 0; i < c->encoder_layers && !status; i++) {
        status = declare_encoder_layer(model, i);
    }
    status = status ? status : parameters_declare(set, 1, 2, states, n, &model->bridge.weight, "model.decoder.bridge.weight");
    status = status ? status : parameters_declare(set, 1, 1, 1, states, &model->bridge.bias, "model.decoder.bridge.bias");
    for (int i = 0; i < c->decoder_layers && !status; i++) {
        status = declare_decoder_layer(model, i);
    }
    status = status ? status
                    : parameters_declare(set, 1, 2, cell_gates(d->cell) * n, d->width, &d->feed, "model.decoder.feed.weight");
    status = status ? status : declare_attention(model);
    status = status ? status : parameters_declare(set, 1, 2, d->width, 2 * n, &d->combine, "model.decoder.combine.weight");
    status = status ? status : parameters_declare(set, 1, 1, 1, d->width, &d->combine_bias, "model.decoder.combine.bias");
    return status ? status : parameters_declare(set, 1, 2, 1, c->vocab_size, &model->logits_bias, "final_logits_bias");
}

attn_status recurrent_new(const model_config *config, network_purpose purpose, recurrent **made) {
    *made = NULL;
    attn_status status = model_config_check(config, "the model's settings");
    if (!status && config->type != MODEL_RECURRENT) {
        status = fail(ATTN_ERROR_ARGUMENT, "the model's settings are not those of a recurrent network");
    }
    if (status) {
        return status;
    }
    recurrent *model = memory_allocate(1, sizeof *model);
    if (!model) {
        return ATTN_ERROR_MEMORY;
    }
    model->config = *config;
    model->embedding_scale = config->scale_embedding ? sqrtf((float)config->d_model) : 1.0f;
    status = declare(model);
    status = status ? status : parameters_allocate(&model->parameters, purpose.training, purpose.type == ELEMENT_BF16);
    if (status) {
        recurrent_free(model);
        return status;
    }
    *made = model;
    return ATTN_OK;
}

void recurrent_free(recurrent *model) {
    if (model) {
        parameters_free(&model->parameters);
        memory_free(model);
    }
}

static float fresh_value(const recurrent *model, const named_parameter *p, int64_t index, uint64_t key) {
    float uniform = 2.0f * random_uniform(key, (uint64_t)index) - 1.0f;
    int64_t units = p->where.columns / cell_gates(model->config.cell);
    if (p->where.offset == model->embedding.offset) {
        return random_normal(key, (uint64_t)index) / sqrtf((float)model->config.d_model);
    }
    if (strstr(p->name, ".rnn.bias_ih") && model->config.cell == CELL_LSTM && index >= units && index < 2 * units) {
        return 1.0f;
    }
    if (strstr(p->name, ".rnn.weight") || strstr(p->name, ".energy")) {
        return uniform / sqrtf((float)model->config.hidden_size);
    }
    return p->rank == 2 && p->where.rows > 1 ? uniform * sqrtf(6.0f / (float)(p->where.rows + p->where.columns)) : 0.0f;
}

void recurrent_initialize(recurrent *model, uint64_t seed) {
    const parameters *set = &model->parameters;
    for (size_t i = 0; i < set->count; i++) {
        const named_parameter *p = &set->list[i];
        uint64_t key = random_key(seed, i, 0x696e6974); /* "init" */
        float *values = parameter_values(set, p->where);
        for (int64_t j = 0; j < p->where.rows * p->where.columns; j++) {
            values[j] = fresh_value(model, p, j, key);
        }
    }
    parameters_update_copies(&model->parameters);
}

/* --- the way through ------------------------------------------------------------- */

static attn_status check_ids(const model_config *c, const int32_t *ids, packing p) {
    for (int64_t s = 0; s < p.sequences; s++) {
        int64_t length = p.offsets[s + 1] - p.offsets[s];
        if (length < 1 || length > c->max_position_embeddings) {
            return fail(ATTN_ERROR_ARGUMENT, "a sequence has %lld tokens; 1 to %d were expected", (long long)length,
                        c->max_position_embeddings);
        }
    }
    for (int64_t i = 0; i < p.offsets[p.sequences]; i++) {
        if (ids[i] < 0 || ids[i] >= c->vocab_size) {
            return fail(ATTN_ERROR_ARGUMENT, "token %d is outside the vocabulary of %d", ids[i], c->vocab_size);
        }
    }
    return ATTN_OK;
}

static tensor *embed(tape *t, const recurrent *model, const int32_t *ids, packing p) {
    tape_fail(t, check_ids(&model->config, ids, p));
    return op_embedding(t, model->embedding, ids, p, NULL, model->embedding_scale, (float)model->config.dropout);
}

tensor *recurrent_encode(tape *t, const recurrent *model, const int32_t *ids, packing p) {
    const model_config *c = &model->config;
    tensor *x = embed(t, model, ids, p);
    tape_watch_input(t, x);
    for (int i = 0; i < c->encoder_layers; i++) {
        const recurrent_layer *l = &model->encoder[i];
        recurrent_inputs inputs = {.weight = {l->state[0], l->state[1]}, .bias = {l->state_bias[0], l->state_bias[1]},
                                   .directions = 2, .cell = c->cell, .hidden = c->hidden_size / 2, .packing = p};
        inputs.projected = op_linear(t, x, parameter_joined(l->input[0], 2), parameter_joined(l->input_bias[0], 2),
                                     ACTIVATION_NONE);
        x = op_dropout(t, op_recurrent(t, &inputs), (float)c->dropout);
    }
    return x;
}

tensor *recurrent_keys(tape *t, const recurrent *model, tensor *memory) {
    return model->config.score == SCORE_DOT
               ? memory
               : op_linear(t, memory, model->key.weight, model->key.bias, ACTIVATION_NONE);
}

tensor *recurrent_bridge(tape *t, const recurrent *model, tensor *ends) {
    return op_linear(t, ends, model->bridge.weight, model->bridge.bias, ACTIVATION_TANH);
}

tensor *recurrent_project_input(tape *t, const recurrent *model, const int32_t *ids, packing p) {
    return op_linear(t, embed(t, model, ids, p), model->first_input.weight, model->first_input.bias, ACTIVATION_NONE);
}

tensor *recurrent_decode(tape *t, const recurrent *model, const int32_t *ids, packing p, tensor *memory,
                         packing memory_packing) {
    decoder_inputs inputs = {.decoder = &model->decoder, .memory = memory, .target = p, .source = memory_packing,
                             .dropout = (float)model->config.dropout, .part = "decoder.0.cross"};
    inputs.initial = recurrent_bridge(t, model, op_ends(t, memory, memory_packing));
    inputs.keys = recurrent_keys(t, model, memory);
    inputs.projected = recurrent_project_input(t, model, ids, p);
    return op_recurrent_decoder(t, &inputs);
}

attn_status recurrent_loss(tape *t, const recurrent *model, const batch *b, float smoothing, double divisor,
                           loss_result *result) {
    packing source = {b->source_offsets, (int64_t)b->sequences};
    packing target = {b->target_offsets, (int64_t)b->sequences};
    tensor *memory = recurrent_encode(t, model, b->source, source);
    tensor *x = recurrent_decode(t, model, b->target_input, target, memory, source);
    return op_cross_entropy(t, x, model->embedding, model->logits_bias, b->labels, smoothing, divisor, result, NULL);
}

double recurrent_forward_flops(const recurrent *model, int64_t source_tokens, int64_t target_tokens) {
    const model_config *c = &model->config;
    double n = c->hidden_size, width = c->d_model, gates = (double)cell_gates(c->cell);
    double encoder = gates * n * (width + n / 2) + (c->encoder_layers - 1) * gates * n * (n + n / 2) +
                     (c->score == SCORE_DOT ? 0 : n * n);
    double decoder = gates * n * (2 * width + n) + (c->decoder_layers - 1) * gates * n * 2 * n +
                     (c->score == SCORE_ADDITIVE ? n * n : 0) + 2 * n * width + width * c->vocab_size;
    return 2 * (encoder * (double)source_tokens + decoder * (double)target_tokens);
}
