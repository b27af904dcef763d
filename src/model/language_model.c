#include "model/language_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"

static const parameter NONE = {0};

/* --- what it consists of ------------------------------------------------------------ */

/* Declares an array of the file as its transpose, as GPT-2's Conv1D stores it. */
static attn_status declare_transposed(parameters *set, int64_t rows, int64_t columns, parameter *out, const char *prefix,
                                      const char *name) {
    attn_status status = parameters_declare(set, 1, 2, rows, columns, out, "%s%s", prefix, name);
    if (!status) {
        set->list[set->count - 1].transposed = 1;
    }
    return status;
}

static attn_status declare_norm(parameters *set, const language_config *c, norm_layer *n, const char *prefix,
                                const char *name) {
    n->kind = c->family == LANGUAGE_GPT2 ? NORM_LAYER : NORM_RMS;
    n->epsilon = (float)c->norm_epsilon;
    attn_status status = parameters_declare(set, 1, 1, 1, c->width, &n->gain, "%s%s.weight", prefix, name);
    return status || n->kind == NORM_RMS
               ? status : parameters_declare(set, 1, 1, 1, c->width, &n->bias, "%s%s.bias", prefix, name);
}

static attn_status declare_gpt2_layer(language_model *m, language_layer *l, const char *prefix) {
    parameters *set = &m->parameters;
    int64_t width = m->config.width, hidden = m->config.hidden;
    const struct {
        parameter *weight, *bias;
        int64_t rows, columns;
        const char *names[2];
    } products[] = {{&l->projection, &l->projection_bias, 3 * width, width, {"attn.c_attn.weight", "attn.c_attn.bias"}},
                    {&l->output, &l->output_bias, width, width, {"attn.c_proj.weight", "attn.c_proj.bias"}},
                    {&l->inner, &l->inner_bias, hidden, width, {"mlp.c_fc.weight", "mlp.c_fc.bias"}},
                    {&l->outer, &l->outer_bias, width, hidden, {"mlp.c_proj.weight", "mlp.c_proj.bias"}}};
    attn_status status = declare_norm(set, &m->config, &l->attention_norm, prefix, "ln_1");
    status = status ? status : declare_norm(set, &m->config, &l->feed_forward_norm, prefix, "ln_2");
    for (size_t i = 0; i < sizeof products / sizeof *products && !status; i++) {
        status = declare_transposed(set, products[i].rows, products[i].columns, products[i].weight, prefix,
                                    products[i].names[0]);
        status = status ? status
                        : parameters_declare(set, 1, 1, 1, products[i].rows, products[i].bias, "%s%s", prefix,
                                             products[i].names[1]);
    }
    return status;
}

/* Arrays that are multiplied together lie side by side, and the first one covers all. */
static attn_status declare_llama_layer(language_model *m, language_layer *l, const char *prefix) {
    parameters *set = &m->parameters;
    const language_config *c = &m->config;
    int64_t width = c->width, queries = (int64_t)c->heads * c->head_dim, keys = (int64_t)c->kv_heads * c->head_dim;
    parameter behind;
    attn_status status = declare_norm(set, c, &l->attention_norm, prefix, "input_layernorm");
    status = status ? status : declare_norm(set, c, &l->feed_forward_norm, prefix, "post_attention_layernorm");
    const struct {
        parameter *out;
        int aligned;
        int64_t rows, columns;
        const char *name;
    } rows[] = {{&l->projection, 1, queries, width, "self_attn.q_proj.weight"},
                {&behind, 0, keys, width, "self_attn.k_proj.weight"},
                {&behind, 0, keys, width, "self_attn.v_proj.weight"},
                {&l->output, 1, width, queries, "self_attn.o_proj.weight"},
                {&l->inner, 1, c->hidden, width, "mlp.gate_proj.weight"},
                {&behind, 0, c->hidden, width, "mlp.up_proj.weight"},
                {&l->outer, 1, width, c->hidden, "mlp.down_proj.weight"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows && !status; i++) {
        status = parameters_declare(set, rows[i].aligned, 2, rows[i].rows, rows[i].columns, rows[i].out, "%s%s", prefix,
                                    rows[i].name);
    }
    l->projection.rows = queries + 2 * keys;
    l->inner.rows = 2 * (int64_t)c->hidden;
    return status;
}

static attn_status declare(language_model *m) {
    parameters *set = &m->parameters;
    const language_config *c = &m->config;
    int gpt2 = c->family == LANGUAGE_GPT2;
    attn_status status = parameters_declare(set, 1, 2, c->vocab_size, c->width, &m->embedding, "%s",
                                            gpt2 ? "transformer.wte.weight" : "model.embed_tokens.weight");
    if (gpt2 && !status) {
        status = parameters_declare(set, 1, 2, c->positions, c->width, &m->positions, "transformer.wpe.weight");
    }
    for (int i = 0; i < c->layers && !status; i++) {
        char prefix[64];
        (void)snprintf(m->layers[i].part, sizeof m->layers[i].part, "decoder.%d.self", i);
        (void)snprintf(prefix, sizeof prefix, gpt2 ? "transformer.h.%d." : "model.layers.%d.", i);
        status = gpt2 ? declare_gpt2_layer(m, &m->layers[i], prefix) : declare_llama_layer(m, &m->layers[i], prefix);
    }
    status = status ? status : declare_norm(set, c, &m->final_norm, gpt2 ? "transformer." : "model.", gpt2 ? "ln_f" : "norm");
    m->logits = m->embedding;
    return status || c->tied ? status
                             : parameters_declare(set, 1, 2, c->vocab_size, c->width, &m->logits, "lm_head.weight");
}

/* Cosines and sines of place * theta^(-2 i / head_dim), computed in f32 from f64 angles. */
static float *make_turns(const language_config *c) {
    int64_t half = c->head_dim / 2;
    float *turns = memory_allocate((size_t)c->positions, (size_t)c->head_dim * sizeof *turns);
    for (int64_t place = 0; turns && place < c->positions; place++) {
        for (int64_t i = 0; i < half; i++) {
            double angle = (double)place * pow(c->rope_theta, -2.0 * (double)i / (double)c->head_dim);
            turns[place * c->head_dim + i] = (float)cos(angle);
            turns[place * c->head_dim + half + i] = (float)sin(angle);
        }
    }
    return turns;
}

attn_status language_model_new(const language_config *config, network_purpose purpose, language_model **made) {
    *made = NULL;
    attn_status status = language_config_check(config, "the model's settings");
    if (status) {
        return status;
    }
    language_model *m = memory_allocate(1, sizeof *m);
    if (!m) {
        return ATTN_ERROR_MEMORY;
    }
    m->config = *config;
    m->layers = memory_allocate((size_t)config->layers, sizeof *m->layers);
    m->turns = config->family == LANGUAGE_LLAMA ? make_turns(config) : NULL;
    status = m->layers && (m->turns || config->family == LANGUAGE_GPT2) ? declare(m) : ATTN_ERROR_MEMORY;
    status = status ? status : parameters_allocate(&m->parameters, purpose.training, purpose.type == ELEMENT_BF16);
    if (status) {
        language_model_free(m);
        return status;
    }
    *made = m;
    return ATTN_OK;
}

void language_model_free(language_model *model) {
    if (model) {
        parameters_free(&model->parameters);
        memory_free(model->layers);
        memory_free(model->turns);
        memory_free(model);
    }
}

/* 1 for a projection that ends a sub-layer. */
static int ends_sub_layer(const language_model *m, int64_t offset) {
    for (int i = 0; i < m->config.layers; i++) {
        if (offset == m->layers[i].output.offset || offset == m->layers[i].outer.offset) {
            return 1;
        }
    }
    return 0;
}

void language_model_initialize(language_model *model, uint64_t seed) {
    const parameters *set = &model->parameters;
    float small = 0.02f / sqrtf(2.0f * (float)model->config.layers);
    for (size_t i = 0; i < set->count; i++) {
        const named_parameter *p = &set->list[i];
        size_t length = strlen(p->name);
        float *values = parameter_values(set, p->where);
        uint64_t key = random_key(seed, i, 0x696e6974); /* "init" */
        float deviation = ends_sub_layer(model, p->where.offset) ? small : 0.02f;
        int bias = length > 5 && strcmp(p->name + length - 5, ".bias") == 0;
        for (int64_t j = 0; j < p->where.rows * p->where.columns; j++) {
            values[j] = p->rank == 2 ? random_normal(key, (uint64_t)j) * deviation : bias ? 0.0f : 1.0f;
        }
    }
    parameters_update_copies(&model->parameters);
}

/* --- forward -------------------------------------------------------------------------- */

tensor *language_attend_packed(tape *t, void *context, const language_model *model, int layer, tensor *projected) {
    const packing *p = context;
    const language_config *c = &model->config;
    int64_t keys = (int64_t)c->heads * c->head_dim;
    attention_inputs inputs = {.queries = projected,
                               .keys = projected,
                               .key_column = keys,
                               .value_column = keys + (int64_t)c->kv_heads * c->head_dim,
                               .heads = c->heads,
                               .head_dim = c->head_dim,
                               .query_packing = *p,
                               .key_packing = *p,
                               .causal = 1,
                               .dropout = (float)c->attention_dropout,
                               .part = model->layers[layer].part,
                               .kv_heads = c->kv_heads,
                               .span = c->span};
    return op_attention(t, &inputs);
}

static tensor *feed_forward(tape *t, const language_model *m, const language_layer *l, tensor *x) {
    tensor *inner = op_linear(t, x, l->inner, l->inner_bias,
                              m->config.family == LANGUAGE_GPT2 ? m->config.kind : ACTIVATION_NONE);
    inner = m->config.family == LANGUAGE_GPT2 ? inner : op_gated(t, inner);
    return op_linear(t, inner, l->outer, l->outer_bias, ACTIVATION_NONE);
}

tensor *language_layers(tape *t, const language_model *model, tensor *x, const int32_t *places, language_attend attend,
                        void *context) {
    const language_config *c = &model->config;
    float dropout = (float)c->dropout;
    tensor *f = NULL, *y;
    for (int i = 0; i < c->layers; i++) {
        const language_layer *l = &model->layers[i];
        y = op_norm(t, x, f, l->attention_norm, dropout, &x);
        tensor *projected = op_linear(t, y, l->projection, l->projection_bias, ACTIVATION_NONE);
        if (c->family == LANGUAGE_LLAMA) {
            projected = op_rotary(t, projected, places, model->turns, c->heads + c->kv_heads, c->head_dim);
        }
        tensor *attended = projected ? attend(t, context, model, i, projected) : NULL;
        f = op_linear(t, attended, l->output, l->output_bias, ACTIVATION_NONE);
        y = op_norm(t, x, f, l->feed_forward_norm, dropout, &x);
        f = feed_forward(t, model, l, y);
    }
    return op_norm(t, x, f, model->final_norm, dropout, &x);
}

static attn_status check_ids(const language_model *model, const int32_t *ids, packing p) {
    for (int64_t s = 0; s < p.sequences; s++) {
        int64_t length = p.offsets[s + 1] - p.offsets[s];
        if (length > model->config.positions) {
            return fail(ATTN_ERROR_ARGUMENT, "a text of %lld tokens is longer than the model's %d positions",
                        (long long)length, model->config.positions);
        }
    }
    for (int64_t i = 0; i < p.offsets[p.sequences]; i++) {
        if (ids[i] < 0 || ids[i] >= model->config.vocab_size) {
            return fail(ATTN_ERROR_ARGUMENT, "token %d is outside the vocabulary of %d", ids[i], model->config.vocab_size);
        }
    }
    return ATTN_OK;
}

tensor *language_forward_with(tape *t, const language_model *model, const int32_t *ids, packing p,
                              language_attend attend, void *context) {
    float dropout = (float)model->config.dropout;
    tape_fail(t, check_ids(model, ids, p));
    int32_t *places = tape_memory(t, p.offsets[p.sequences], sizeof *places);
    for (int64_t s = 0; s < p.sequences && places; s++) {
        for (int32_t i = p.offsets[s]; i < p.offsets[s + 1]; i++) {
            places[i] = i - p.offsets[s];
        }
    }
    tensor *x;
    if (model->config.family == LANGUAGE_GPT2) {
        place_options options = {.learned = &model->positions, .dropout = dropout};
        x = op_embedding(t, model->embedding, ids, p, NULL, 1, 0);
        x = op_place(t, x, p, p, options);
    } else {
        x = op_embedding(t, model->embedding, ids, p, NULL, 1, dropout);
    }
    tape_watch_input(t, x);
    return language_layers(t, model, x, places, attend, context);
}

tensor *language_forward(tape *t, const language_model *model, const int32_t *ids, packing p) {
    packing *kept = tape_memory(t, 1, sizeof *kept);
    if (kept) {
        *kept = p;
    }
    return language_forward_with(t, model, ids, p, language_attend_packed, kept);
}

attn_status language_loss(tape *t, const language_model *model, const batch *b, float smoothing, double divisor,
                          loss_result *result) {
    packing p = {b->target_offsets, (int64_t)b->sequences};
    tensor *x = language_forward(t, model, b->target_input, p);
    return op_cross_entropy(t, x, model->logits, NONE, b->labels, smoothing, divisor, result, NULL);
}
