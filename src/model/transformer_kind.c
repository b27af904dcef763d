/* The translator's Transformer as a network (network.h). */
#include "model/transformer.h"

static attn_status open_model(const char *directory, network_purpose purpose, void **model) {
    model_config config;
    transformer *made = NULL;
    attn_status status = folder_read_config(directory, &config);
    status = status ? status : transformer_new(&config, purpose, &made);
    *model = made;
    return status;
}

static void free_model(void *model) {
    transformer_free(model);
}

static parameters *parameters_of(void *model) {
    return &((transformer *)model)->parameters;
}

static network_limits limits_of(const void *model) {
    const model_config *c = &((const transformer *)model)->config;
    return (network_limits){c->vocab_size, c->max_position_embeddings, c->eos_token_id};
}

static void initialize(void *model, uint64_t seed) {
    transformer_initialize(model, seed);
}

static void set_dropout(void *model, double dropout, double attention_dropout) {
    model_config *c = &((transformer *)model)->config;
    c->dropout = dropout;
    c->attention_dropout = attention_dropout;
    c->activation_dropout = 0;
}

static attn_status loss(tape *t, const void *model, const batch *b, float smoothing, double divisor,
                        loss_result *result) {
    return transformer_loss(t, model, b, smoothing, divisor, result);
}

static double forward_flops(const void *model, const batch *b) {
    return transformer_forward_flops(model, (int64_t)b->tokens_source, (int64_t)b->tokens_target);
}

static attn_status write_config(const char *directory, const void *model) {
    return folder_write_config(directory, &((const transformer *)model)->config);
}

static attn_status same_shape(const char *directory, const void *model, int *same) {
    model_config saved;
    attn_status status = folder_read_config(directory, &saved);
    *same = !status && model_config_equal(&saved, &((const transformer *)model)->config);
    return status;
}

const network_kind transformer_kind = {.name = "transformer",
                                       .model_type = "marian",
                                       .open = open_model,
                                       .free = free_model,
                                       .parameters = parameters_of,
                                       .limits = limits_of,
                                       .initialize = initialize,
                                       .set_dropout = set_dropout,
                                       .loss = loss,
                                       .forward_flops = forward_flops,
                                       .write_config = write_config,
                                       .same_shape = same_shape};
