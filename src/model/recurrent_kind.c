/* The recurrent network with attention as a network (network.h). */
#include "model/recurrent.h"

static attn_status open_model(const char *directory, network_purpose purpose, void **model) {
    model_config config;
    recurrent *made = NULL;
    attn_status status = folder_read_config(directory, &config);
    status = status ? status : recurrent_new(&config, purpose, &made);
    *model = made;
    return status;
}

static void free_model(void *model) {
    recurrent_free(model);
}

static parameters *parameters_of(void *model) {
    return &((recurrent *)model)->parameters;
}

static network_limits limits_of(const void *model) {
    const model_config *c = &((const recurrent *)model)->config;
    return (network_limits){c->vocab_size, c->max_position_embeddings, c->eos_token_id};
}

static void initialize(void *model, uint64_t seed) {
    recurrent_initialize(model, seed);
}

static void set_dropout(void *model, double dropout, double attention_dropout) {
    (void)attention_dropout; /* refused before (train_options_check) */
    ((recurrent *)model)->config.dropout = dropout;
}

static attn_status loss(tape *t, const void *model, const batch *b, float smoothing, double divisor,
                        loss_result *result) {
    return recurrent_loss(t, model, b, smoothing, divisor, result);
}

static double forward_flops(const void *model, const batch *b) {
    return recurrent_forward_flops(model, (int64_t)b->tokens_source, (int64_t)b->tokens_target);
}

static attn_status write_config(const char *directory, const void *model) {
    return folder_write_config(directory, &((const recurrent *)model)->config);
}

static attn_status same_shape(const char *directory, const void *model, int *same) {
    model_config saved;
    attn_status status = folder_read_config(directory, &saved);
    *same = !status && model_config_equal(&saved, &((const recurrent *)model)->config);
    return status;
}

const network_kind recurrent_kind = {.name = "recurrent",
                                     .model_type = "attn_recurrent",
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
