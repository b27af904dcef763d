/* The language model as a network (network.h), in the two families that it has. */
#include "model/language_model.h"

static attn_status open_model(const char *directory, network_purpose purpose, void **model) {
    language_config config;
    language_model *made = NULL;
    attn_status status = language_config_read(directory, &config);
    status = status ? status : language_model_new(&config, purpose, &made);
    *model = made;
    return status;
}

static void free_model(void *model) {
    language_model_free(model);
}

static parameters *parameters_of(void *model) {
    return &((language_model *)model)->parameters;
}

static network_limits limits_of(const void *model) {
    const language_config *c = &((const language_model *)model)->config;
    return (network_limits){c->vocab_size, c->positions, c->eos};
}

static void initialize(void *model, uint64_t seed) {
    language_model_initialize(model, seed);
}

static void set_dropout(void *model, double dropout, double attention_dropout) {
    language_config *c = &((language_model *)model)->config;
    c->dropout = dropout;
    c->attention_dropout = attention_dropout;
}

static attn_status loss(tape *t, const void *model, const batch *b, float smoothing, double divisor,
                        loss_result *result) {
    return language_loss(t, model, b, smoothing, divisor, result);
}

static double forward_flops(const void *model, const batch *b) {
    const language_model *m = model;
    const language_layer *l = &m->layers[0];
    double layer = (double)(l->projection.rows * l->projection.columns) + (double)(l->output.rows * l->output.columns) +
                   (double)(l->inner.rows * l->inner.columns) + (double)(l->outer.rows * l->outer.columns);
    double all = m->config.layers * layer + (double)(m->logits.rows * m->logits.columns);
    return 2 * all * (double)b->tokens_target;
}

static attn_status write_config(const char *directory, const void *model) {
    return language_config_write(directory, &((const language_model *)model)->config);
}

static attn_status same_shape(const char *directory, const void *model, int *same) {
    language_config saved;
    attn_status status = language_config_read(directory, &saved);
    *same = !status && language_config_equal(&saved, &((const language_model *)model)->config);
    return status;
}

#define SHARED_FUNCTIONS                                                                                           \
    .open = open_model, .free = free_model, .parameters = parameters_of, .limits = limits_of,                      \
    .initialize = initialize, .set_dropout = set_dropout, .loss = loss, .forward_flops = forward_flops,            \
    .write_config = write_config, .same_shape = same_shape

const network_kind language_gpt2_kind = {.name = "language", .model_type = "gpt2", .also = {"attn_gpt2"}, SHARED_FUNCTIONS};
const network_kind language_llama_kind = {.name = "language", .model_type = "llama", .also = {"mistral", "attn_llama"},
                                           SHARED_FUNCTIONS};

const network_kind *language_kind(language_family family) {
    return family == LANGUAGE_GPT2 ? &language_gpt2_kind : &language_llama_kind;
}
