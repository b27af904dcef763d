/* What a recurrent model's config has of its own. */
#include "model/config.h"

const char *const CELL_NAMES[] = {[CELL_GRU] = "gru", [CELL_LSTM] = "lstm", NULL};
const char *const SCORE_NAMES[] = {[SCORE_ADDITIVE] = "additive", [SCORE_DOT] = "dot", [SCORE_GENERAL] = "general", NULL};

void model_config_recurrent(model_config *config, int vocab_size) {
    model_config_defaults(config, vocab_size);
    config->type = MODEL_RECURRENT;
    config->d_model = config->hidden_size = 256;
    config->encoder_layers = config->decoder_layers = 1;
    config->encoder_attention_heads = config->decoder_attention_heads = 1;
    config->cell = CELL_GRU;
    config->score = SCORE_ADDITIVE;
}

/* Of a layer of `units`, in one direction. */
static size_t cell_weights(const model_config *config, size_t in, size_t units) {
    return (size_t)cell_gates(config->cell) * units * (in + units + 2);
}

/* model/recurrent.h lists the arrays. Within the ranges of config.c no term passes 2^46. */
size_t model_config_recurrent_weights(const model_config *config) {
    size_t vocabulary = (size_t)config->vocab_size, width = (size_t)config->d_model, n = (size_t)config->hidden_size;
    size_t layers = (size_t)config->decoder_layers, states = layers * (size_t)cell_state(config->cell, config->hidden_size);
    size_t scores = config->score == SCORE_ADDITIVE ? 2 * n * n + 2 * n : config->score == SCORE_GENERAL ? n * n : 0;
    size_t encoder = 2 * cell_weights(config, width, n / 2) +
                     ((size_t)config->encoder_layers - 1) * 2 * cell_weights(config, n, n / 2);
    size_t decoder = cell_weights(config, width, n) + (layers - 1) * cell_weights(config, n, n);
    size_t feed = (size_t)cell_gates(config->cell) * n * width, combine = width * (2 * n + 1);
    return vocabulary * (width + 1) + encoder + states * (n + 1) + scores + decoder + feed + combine;
}
