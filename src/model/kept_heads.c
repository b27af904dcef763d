#include "model/kept_heads.h"

/* By model_attention. */
static const char *const NAMES[] = {"encoder_self", "decoder_self", "cross"};

int model_config_layers(const model_config *config, model_attention kind) {
    return kind == MODEL_ENCODER_SELF ? config->encoder_layers : config->decoder_layers;
}

int model_config_all_heads(const model_config *config, model_attention kind) {
    return kind == MODEL_ENCODER_SELF ? config->encoder_attention_heads : config->decoder_attention_heads;
}

int model_config_heads(const model_config *config, model_attention kind, int layer) {
    int kept = config->kept_heads[kind][layer];
    return kept ? kept : model_config_all_heads(config, kind);
}

int model_config_head_width(const model_config *config, model_attention kind) {
    return config->d_model / model_config_all_heads(config, kind);
}

int model_config_head_number(const model_config *config, model_attention kind, int layer) {
    int number = 0;
    for (int k = 0; k <= (int)kind && k < MODEL_ATTENTIONS; k++) {
        int end = k == (int)kind ? layer : model_config_layers(config, (model_attention)k);
        for (int i = 0; i < end; i++) {
            number += model_config_heads(config, (model_attention)k, i);
        }
    }
    return number;
}

int kept_heads_pruned(const model_config *config) {
    for (int kind = 0; kind < MODEL_ATTENTIONS; kind++) {
        for (int layer = 0; layer < model_config_layers(config, (model_attention)kind); layer++) {
            if (model_config_heads(config, (model_attention)kind, layer) != model_config_all_heads(config, (model_attention)kind)) {
                return 1;
            }
        }
    }
    return 0;
}

/* Three projections [inner, width] with biases, and one [width, inner] with its own. */
size_t kept_heads_weights(const model_config *config) {
    size_t width = (size_t)config->d_model, sum = 0;
    for (int k = 0; k < MODEL_ATTENTIONS; k++) {
        model_attention kind = (model_attention)k;
        for (int layer = 0; layer < model_config_layers(config, kind); layer++) {
            size_t inner = (size_t)model_config_heads(config, kind, layer) * (size_t)model_config_head_width(config, kind);
            sum += 3 * (inner * width + inner) + width * inner + width;
        }
    }
    return sum;
}

attn_status kept_heads_check(const model_config *config, const char *where) {
    for (int k = 0; k < MODEL_ATTENTIONS; k++) {
        model_attention kind = (model_attention)k;
        int all = model_config_all_heads(config, kind);
        for (int layer = 0; layer < model_config_layers(config, kind); layer++) {
            int kept = config->kept_heads[kind][layer];
            if (kept < 0 || kept > all) {
                return fail(ATTN_ERROR_ARGUMENT, "%s: attn_heads: %s of layer %d is %d, 1 to %d heads were expected", where,
                            NAMES[kind], layer, kept, all);
            }
        }
    }
    return ATTN_OK;
}

int kept_heads_equal(const model_config *a, const model_config *b) {
    for (int k = 0; k < MODEL_ATTENTIONS; k++) {
        model_attention kind = (model_attention)k;
        for (int layer = 0; layer < model_config_layers(a, kind) && layer < model_config_layers(b, kind); layer++) {
            if (model_config_heads(a, kind, layer) != model_config_heads(b, kind, layer)) {
                return 0;
            }
        }
    }
    return 1;
}

static attn_status read_list(const char *path, const json_t *list, model_attention kind, model_config *config) {
    int layers = model_config_layers(config, kind);
    const json_t *value;
    size_t i;
    if (!json_is_array(list) || json_array_size(list) != (size_t)layers) {
        return fail(ATTN_ERROR_FORMAT, "%s: attn_heads: %s is %s%zu, an array of %d numbers was expected, one a layer", path,
                    NAMES[kind], json_is_array(list) ? "an array of " : "no array: ", json_array_size(list), layers);
    }
    json_array_foreach(list, i, value) {
        json_int_t number = json_integer_value(value);
        if (!json_is_integer(value) || number < 1 || number > model_config_all_heads(config, kind)) {
            return fail(ATTN_ERROR_FORMAT, "%s: attn_heads: %s of layer %zu is not a number of heads from 1 to %d", path,
                        NAMES[kind], i, model_config_all_heads(config, kind));
        }
        config->kept_heads[kind][i] = (int)number;
    }
    return ATTN_OK;
}

attn_status kept_heads_read(const char *path, const json_t *root, model_config *config) {
    const json_t *heads = json_object_get(root, "attn_heads");
    attn_status status = ATTN_OK;
    if (!heads || json_is_null(heads)) {
        return ATTN_OK;
    }
    if (!json_is_object(heads)) {
        return fail(ATTN_ERROR_FORMAT, "%s: attn_heads is no object, {\"encoder_self\": [...], \"decoder_self\": [...], "
                    "\"cross\": [...]} was expected", path);
    }
    for (int k = 0; k < MODEL_ATTENTIONS && !status; k++) {
        int layers = model_config_layers(config, (model_attention)k);
        status = layers < 1 || layers > MODEL_MOST_LAYERS
                     ? fail(ATTN_ERROR_FORMAT, "%s: %d layers, 1 to %d were expected", path, layers, MODEL_MOST_LAYERS)
                     : read_list(path, json_object_get(heads, NAMES[k]), (model_attention)k, config);
    }
    return status;
}

int kept_heads_write(json_t *root, const model_config *config) {
    json_t *heads = NULL;
    if (!kept_heads_pruned(config)) {
        return 0;
    }
    heads = json_object();
    int failed = heads == NULL;
    for (int k = 0; k < MODEL_ATTENTIONS && !failed; k++) {
        json_t *list = json_array();
        for (int layer = 0; list && layer < model_config_layers(config, (model_attention)k); layer++) {
            failed |= json_array_append_new(list, json_integer(model_config_heads(config, (model_attention)k, layer)));
        }
        failed |= json_object_set_new(heads, NAMES[k], list);
    }
    if (failed) {
        json_decref(heads);
        return -1;
    }
    return json_object_set_new(root, "attn_heads", heads);
}
