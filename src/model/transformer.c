#include "model/transformer.h"

#include <math.h>

#include "base/random.h"
#include "model/kept_heads.h"

static activation activation_of(model_activation kind) {
    return kind == MODEL_RELU ? ACTIVATION_RELU : kind == MODEL_SWISH ? ACTIVATION_SWISH : ACTIVATION_GELU;
}

static head_shape heads_of(const model_config *c, model_attention kind, int layer) {
    return (head_shape){model_config_heads(c, kind, layer), model_config_head_width(c, kind)};
}

attn_status transformer_declare(const model_config *c, parameters *set, transformer *model) {
    *model = (transformer){.config = *c, .embedding_scale = c->scale_embedding ? sqrtf((float)c->d_model) : 1.0f};
    model->encoder = memory_allocate((size_t)c->encoder_layers, sizeof *model->encoder);
    model->decoder = memory_allocate((size_t)c->decoder_layers, sizeof *model->decoder);
    model->positions = sinusoid_positions(c->max_position_embeddings, c->d_model);
    if (!model->encoder || !model->decoder || !model->positions) {
        return ATTN_ERROR_MEMORY;
    }
    activation kind = activation_of(c->activation_function);
    attn_status status = parameters_declare(set, 1, 2, c->vocab_size, c->d_model, &model->embedding, "model.shared.weight");
    for (int i = 0; i < c->encoder_layers && !status; i++) {
        status = encoder_layer_declare(set, &model->encoder[i], i, c->d_model, heads_of(c, MODEL_ENCODER_SELF, i),
                                       c->encoder_ffn_dim, kind);
    }
    for (int i = 0; i < c->decoder_layers && !status; i++) {
        status = decoder_layer_declare(set, &model->decoder[i], i, c->d_model, heads_of(c, MODEL_DECODER_SELF, i),
                                       heads_of(c, MODEL_DECODER_CROSS, i), c->decoder_ffn_dim, kind);
    }
    /* [1, vocabulary] in the file too, unlike other vectors */
    return status ? status : parameters_declare(set, 1, 2, 1, c->vocab_size, &model->logits_bias, "final_logits_bias");
}

void transformer_release(transformer *model) {
    memory_free(model->encoder);
    memory_free(model->decoder);
    memory_free(model->positions);
}

attn_status transformer_new(const model_config *config, network_purpose purpose, transformer **made) {
    *made = NULL;
    attn_status status = model_config_check(config, "the model's settings");
    if (status) {
        return status;
    }
    transformer *model = memory_allocate(1, sizeof *model);
    if (!model) {
        return ATTN_ERROR_MEMORY;
    }
    parameters set = {0};
    status = transformer_declare(config, &set, model);
    status = status ? status : parameters_allocate(&set, purpose.training, purpose.type == ELEMENT_BF16);
    model->parameters = set;
    if (status) {
        transformer_free(model);
        return status;
    }
    *made = model;
    return ATTN_OK;
}

void transformer_free(transformer *model) {
    if (model) {
        parameters_free(&model->parameters);
        transformer_release(model);
        memory_free(model);
    }
}

static int ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

void transformer_initialize(transformer *model, uint64_t seed) {
    const parameters *set = &model->parameters;
    for (size_t i = 0; i < set->count; i++) {
        parameter p = set->list[i].where;
        const char *name = set->list[i].name;
        float *values = parameter_values(set, p);
        uint64_t key = random_key(seed, i, 0x696e6974); /* "init" */
        int64_t count = p.rows * p.columns;
        float deviation = 1.0f / sqrtf((float)model->config.d_model);
        float limit = sqrtf(6.0f / (float)(p.rows + p.columns));
        int table = p.offset == model->embedding.offset, norm = ends_with(name, "norm.weight");
        int matrix_shaped = set->list[i].rank == 2 && p.rows > 1;
        for (int64_t j = 0; j < count; j++) {
            values[j] = table           ? random_normal(key, (uint64_t)j) * deviation
                        : matrix_shaped ? (2.0f * random_uniform(key, (uint64_t)j) - 1.0f) * limit
                        : norm          ? 1.0f
                                        : 0.0f;
        }
    }
    if (model->config.pad_token_id != TOKEN_NONE) {
        memset(parameter_values(set, model->embedding) + model->config.pad_token_id * model->embedding.columns, 0,
               (size_t)model->embedding.columns * sizeof(float));
    }
    parameters_update_copies(&model->parameters);
}

attn_status transformer_load(const char *directory, network_purpose purpose, transformer **loaded) {
    network n;
    *loaded = NULL;
    attn_status status = network_load(directory, purpose, &n);
    if (!status && n.kind != &transformer_kind) {
        status = fail(ATTN_ERROR_UNSUPPORTED, "%s: its model_type is %s; a translator, marian, was expected", directory,
                      n.kind->model_type);
        network_free(&n);
    }
    *loaded = status ? NULL : n.model;
    return status;
}

static dropout_rates rates_of(const model_config *c) {
    return (dropout_rates){(float)c->dropout, (float)c->attention_dropout, (float)c->activation_dropout};
}

/* Sequences within the positions, ids within the vocabulary. */
static attn_status check_ids(const transformer *model, const int32_t *ids, packing p) {
    for (int64_t s = 0; s < p.sequences; s++) {
        int64_t length = p.offsets[s + 1] - p.offsets[s];
        if (length > model->config.max_position_embeddings) {
            return fail(ATTN_ERROR_ARGUMENT, "a sequence of %lld tokens is longer than the model's %d positions",
                        (long long)length, model->config.max_position_embeddings);
        }
    }
    for (int64_t i = 0; i < p.offsets[p.sequences]; i++) {
        if (ids[i] < 0 || ids[i] >= model->config.vocab_size) {
            return fail(ATTN_ERROR_ARGUMENT, "token %d is outside the vocabulary of %d", ids[i], model->config.vocab_size);
        }
    }
    return ATTN_OK;
}

static tensor *embed(tape *t, const transformer *model, const int32_t *ids, packing p) {
    tape_fail(t, check_ids(model, ids, p));
    return op_embedding(t, model->embedding, ids, p, model->positions, model->embedding_scale,
                        (float)model->config.dropout);
}

tensor *transformer_encode(tape *t, const transformer *model, const int32_t *ids, packing p) {
    tensor *x = embed(t, model, ids, p);
    tape_watch_input(t, x);
    for (int i = 0; i < model->config.encoder_layers; i++) {
        x = encoder_layer_forward(t, &model->encoder[i], x, p, rates_of(&model->config));
    }
    return x;
}

tensor *transformer_decode(tape *t, const transformer *model, const int32_t *ids, packing p, tensor *memory,
                           packing memory_packing) {
    tensor *x = embed(t, model, ids, p);
    for (int i = 0; i < model->config.decoder_layers; i++) {
        x = decoder_layer_forward(t, &model->decoder[i], x, p, memory, memory_packing, rates_of(&model->config));
    }
    return x;
}

/* A row of <pad> that is 0 stays 0. */
static void hold_padding(tape *t, const transformer *model) {
    const parameter table = model->embedding;
    if (model->config.pad_token_id == TOKEN_NONE) {
        return;
    }
    const float *row = parameter_values(t->parameters, table) + model->config.pad_token_id * table.columns;
    for (int64_t j = 0; j < table.columns; j++) {
        if (row[j] != 0) {
            return;
        }
    }
    op_hold_row(t, table, model->config.pad_token_id);
}

attn_status transformer_loss(tape *t, const transformer *model, const batch *b, float smoothing, double divisor,
                             loss_result *result) {
    packing source = {b->source_offsets, (int64_t)b->sequences};
    packing target = {b->target_offsets, (int64_t)b->sequences};
    hold_padding(t, model);
    tensor *memory = transformer_encode(t, model, b->source, source);
    tensor *x = transformer_decode(t, model, b->target_input, target, memory, source);
    return op_cross_entropy(t, x, model->embedding, model->logits_bias, b->labels, smoothing, divisor, result, NULL);
}

double transformer_forward_flops(const transformer *model, int64_t source_tokens, int64_t target_tokens) {
    const model_config *c = &model->config;
    double width = c->d_model, source = (double)source_tokens, target = (double)target_tokens;
    double sum = width * c->vocab_size * target;
    for (int i = 0; i < c->encoder_layers; i++) {
        sum += (4 * (double)model->encoder[i].self_attention.width + 2.0 * c->encoder_ffn_dim) * width * source;
    }
    for (int i = 0; i < c->decoder_layers; i++) {
        double self = (double)model->decoder[i].self_attention.width, cross = (double)model->decoder[i].cross_attention.width;
        sum += ((4 * self + 2 * cross + 2.0 * c->decoder_ffn_dim) * target + 2 * cross * source) * width;
    }
    return 2 * sum;
}
