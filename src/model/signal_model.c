#include "model/signal_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"

/* --- names and shapes --------------------------------------------------------------- */

static attn_status declare_linear(parameters *set, linear_layer *l, int64_t out, int64_t in, const char *prefix) {
    attn_status status = parameters_declare(set, 1, 2, out, in, &l->weight, "%s.weight", prefix);
    return status ? status : parameters_declare(set, 1, 1, 1, out, &l->bias, "%s.bias", prefix);
}

static attn_status declare_norm(parameters *set, norm_layer *n, const signal_config *c, const char *prefix) {
    n->kind = NORM_LAYER;
    n->epsilon = (float)c->layer_norm_eps;
    attn_status status = parameters_declare(set, 1, 1, 1, c->hidden_size, &n->gain, "%s.weight", prefix);
    return status ? status : parameters_declare(set, 1, 1, 1, c->hidden_size, &n->bias, "%s.bias", prefix);
}

/* The three weights lie side by side, then the three biases (layers.h). */
static attn_status declare_attention(parameters *set, multi_head_attention *a, const signal_config *c, int index,
                                     const char *prefix) {
    static const char *const NAMES[] = {"query", "key", "value"};
    linear_layer *const projections[] = {&a->query, &a->key, &a->value};
    int64_t width = c->hidden_size;
    attn_status status = ATTN_OK;
    a->heads = c->num_attention_heads;
    a->width = width;
    (void)snprintf(a->part, sizeof a->part, "encoder.%d.self", index);
    for (int i = 0; i < 3 && !status; i++) {
        status = parameters_declare(set, i == 0, 2, width, width, &projections[i]->weight, "%s.attention.attention.%s.weight",
                                    prefix, NAMES[i]);
    }
    for (int i = 0; i < 3 && !status; i++) {
        status = parameters_declare(set, i == 0, 1, 1, width, &projections[i]->bias, "%s.attention.attention.%s.bias", prefix,
                                    NAMES[i]);
    }
    char name[128];
    (void)snprintf(name, sizeof name, "%s.attention.output.dense", prefix);
    return status ? status : declare_linear(set, &a->output, width, width, name);
}

static attn_status declare_layer(parameters *set, signal_layer *layer, const signal_config *c, int index, const char *root) {
    char prefix[64], name[128];
    (void)snprintf(prefix, sizeof prefix, "%s.encoder.layer.%d", root, index);
    (void)snprintf(name, sizeof name, "%s.layernorm_before", prefix);
    attn_status status = declare_norm(set, &layer->before, c, name);
    status = status ? status : declare_attention(set, &layer->attention, c, index, prefix);
    (void)snprintf(name, sizeof name, "%s.layernorm_after", prefix);
    status = status ? status : declare_norm(set, &layer->after, c, name);
    layer->feed_forward.kind = signal_activation(c);
    (void)snprintf(name, sizeof name, "%s.intermediate.dense", prefix);
    status = status ? status : declare_linear(set, &layer->feed_forward.inner, c->intermediate_size, c->hidden_size, name);
    (void)snprintf(name, sizeof name, "%s.output.dense", prefix);
    return status ? status : declare_linear(set, &layer->feed_forward.outer, c->hidden_size, c->intermediate_size, name);
}

/* transformers keeps the patches' weights as a convolution's. */
static attn_status declare_picture(parameters *set, signal_model *m) {
    const signal_config *c = &m->config;
    size_t width = (size_t)c->hidden_size, patch = (size_t)c->patch_size, places = (size_t)signal_rows(c) + 1;
    attn_status status = parameters_declare(set, 1, 1, 1, c->hidden_size, &m->class_token, "vit.embeddings.cls_token");
    if (!status) {
        parameters_shape_last(set, 3, (size_t[]){1, 1, width});
        status = parameters_declare(set, 1, 2, (int64_t)places, c->hidden_size, &m->places, "vit.embeddings.position_embeddings");
    }
    if (!status) {
        parameters_shape_last(set, 3, (size_t[]){1, places, width});
        status = parameters_declare(set, 1, 2, c->hidden_size, signal_row_width(c), &m->patches.weight,
                                    "vit.embeddings.patch_embeddings.projection.weight");
    }
    if (!status) {
        parameters_shape_last(set, 4, (size_t[]){width, (size_t)c->num_channels, patch, patch});
        status = parameters_declare(set, 1, 1, 1, c->hidden_size, &m->patches.bias,
                                    "vit.embeddings.patch_embeddings.projection.bias");
    }
    return status;
}

static attn_status declare_sound(parameters *set, signal_model *m) {
    const signal_config *c = &m->config;
    attn_status status = ATTN_OK;
    for (int i = 0; i < SIGNAL_CONVOLUTIONS && !status; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "sound.convolution.%d", i);
        status = declare_linear(set, &m->convolutions[i], c->hidden_size,
                                SIGNAL_KERNEL * (i == 0 ? c->bins : c->hidden_size), name);
    }
    return status;
}

/* The decoder's settings, in a translator's words. */
static model_config text_config(const signal_config *c) {
    return (model_config){.type = MODEL_MARIAN,
                          .vocab_size = c->vocab_size,
                          .d_model = c->hidden_size,
                          .decoder_layers = c->decoder_layers,
                          .decoder_attention_heads = c->num_attention_heads,
                          .decoder_ffn_dim = c->intermediate_size,
                          .max_position_embeddings = c->max_target_positions,
                          .dropout = c->hidden_dropout_prob,
                          .attention_dropout = c->attention_probs_dropout_prob,
                          .activation_function = signal_activation(c) == ACTIVATION_RELU    ? MODEL_RELU
                                                 : signal_activation(c) == ACTIVATION_SWISH ? MODEL_SWISH
                                                                                            : MODEL_GELU,
                          .scale_embedding = 1,
                          .pad_token_id = c->pad_token_id,
                          .eos_token_id = c->eos_token_id,
                          .bos_token_id = TOKEN_NONE,
                          .decoder_start_token_id = c->pad_token_id,
                          .num_beams = 4,
                          .max_length = c->max_target_positions,
                          .length_penalty = 1};
}

static attn_status declare(signal_model *m) {
    const signal_config *c = &m->config;
    parameters *set = &m->parameters;
    int is_picture = c->kind == SIGNAL_PICTURE;
    const char *root = is_picture ? "vit" : "sound";
    model_config text = text_config(c);
    attn_status status = is_picture ? declare_picture(set, m) : declare_sound(set, m);
    for (int i = 0; i < c->num_hidden_layers && !status; i++) {
        status = declare_layer(set, &m->layers[i], c, i, root);
    }
    status = status ? status : declare_norm(set, &m->norm, c, is_picture ? "vit.layernorm" : "sound.layernorm");
    if (c->kind == SIGNAL_SPEECH) {
        return status ? status : transformer_declare(&text, set, &m->text);
    }
    if (!is_picture && !status) {
        status = declare_linear(set, &m->pool_key, c->hidden_size, c->hidden_size, "pool.key");
        status = status ? status : parameters_declare(set, 1, 2, 1, c->hidden_size, &m->pool_query, "pool.query");
    }
    return status ? status : declare_linear(set, &m->classifier, (int64_t)c->labels.size, c->hidden_size, "classifier");
}

attn_status signal_new(signal_config *config, network_purpose purpose, signal_model **made) {
    *made = NULL;
    attn_status status = signal_config_check(config, "the model's settings");
    signal_model *m = status ? NULL : memory_allocate(1, sizeof *m);
    if (!m) {
        signal_config_release(config);
        return status ? status : ATTN_ERROR_MEMORY;
    }
    m->config = *config;
    m->layers = memory_allocate((size_t)config->num_hidden_layers, sizeof *m->layers);
    int sound = config->kind != SIGNAL_PICTURE;
    if (sound) {
        int stride = SIGNAL_STRIDE * SIGNAL_STRIDE;
        m->sinusoids = sinusoid_positions((config->max_frames + stride - 1) / stride, config->hidden_size);
    }
    status = m->layers && (!sound || m->sinusoids) ? declare(m) : ATTN_ERROR_MEMORY;
    status = status ? status : parameters_allocate(&m->parameters, purpose.training, purpose.type == ELEMENT_BF16);
    if (status) {
        signal_free(m);
        return status;
    }
    *made = m;
    return ATTN_OK;
}

void signal_free(signal_model *m) {
    if (m) {
        signal_config_release(&m->config);
        parameters_free(&m->parameters);
        memory_free(m->layers);
        memory_free(m->sinusoids);
        transformer_release(&m->text);
        memory_free(m);
    }
}

/* Normal with deviation 0.02, cut at two deviations, for what is looked up; Glorot uniform for
 * matrices (Glorot & Bengio 2010); 1 for gains, 0 for biases. */
static void signal_initialize(signal_model *m, uint64_t seed) {
    const parameters *set = &m->parameters;
    for (size_t i = 0; i < set->count; i++) {
        parameter p = set->list[i].where;
        float *values = parameter_values(set, p), limit = sqrtf(6.0f / (float)(p.rows + p.columns));
        uint64_t key = random_key(seed, i, 0x696e6974); /* "init" */
        int looked_up = p.offset == m->places.offset || p.offset == m->class_token.offset;
        int is_picture = m->config.kind == SIGNAL_PICTURE;
        int gain = (strstr(set->list[i].name, "layernorm") || strstr(set->list[i].name, "layer_norm")) &&
                   strstr(set->list[i].name, ".weight");
        int table = m->config.kind == SIGNAL_SPEECH && p.offset == m->text.embedding.offset;
        int bias = m->config.kind == SIGNAL_SPEECH && p.offset == m->text.logits_bias.offset;
        for (int64_t j = 0; j < p.rows * p.columns; j++) {
            values[j] = looked_up && is_picture ? 0.02f * fmaxf(-2, fminf(2, random_normal(key, (uint64_t)j)))
                        : table ? random_normal(key, (uint64_t)j) / sqrtf((float)m->config.hidden_size)
                        : gain  ? 1.0f
                        : set->list[i].rank >= 2 && !bias ? (2.0f * random_uniform(key, (uint64_t)j) - 1.0f) * limit
                                                 : 0.0f;
        }
    }
    parameters_update_copies(&m->parameters);
}

/* --- forward ------------------------------------------------------------------------ */

/* Patches or frames to [tokens, width] with their places; *p becomes their packing. */
static tensor *signal_front(tape *t, const signal_model *m, tensor *x, packing *p) {
    const signal_config *c = &m->config;
    place_options places = {.dropout = (float)c->hidden_dropout_prob};
    if (c->kind == SIGNAL_PICTURE) {
        x = op_linear(t, x, m->patches.weight, m->patches.bias, ACTIVATION_NONE);
        places.first = &m->class_token;
        places.learned = &m->places;
    } else {
        for (int i = 0; i < SIGNAL_CONVOLUTIONS; i++) {
            packing narrower = windows_packing(t, *p, SIGNAL_STRIDE);
            x = op_windows(t, x, *p, narrower, SIGNAL_KERNEL, SIGNAL_STRIDE);
            x = op_linear(t, x, m->convolutions[i].weight, m->convolutions[i].bias, ACTIVATION_GELU);
            *p = narrower;
        }
        places.constant = m->sinusoids;
    }
    packing placed = place_packing(t, *p, &places);
    x = op_place(t, x, *p, placed, places);
    *p = placed;
    return x;
}

/* The encoder; *p becomes the packing of its rows. */
static tensor *encode(tape *t, const signal_model *m, const float *features, packing *p, tensor **input) {
    const signal_config *c = &m->config;
    float dropout = (float)c->hidden_dropout_prob;
    int64_t width = c->kind == SIGNAL_SPEECH ? c->bins : signal_row_width(c);
    tensor *x = op_features(t, features, p->offsets[p->sequences], width), *f = NULL, *y;
    if (input) {
        *input = x;
    }
    x = signal_front(t, m, x, p);
    for (int i = 0; i < c->num_hidden_layers; i++) {
        const signal_layer *layer = &m->layers[i];
        y = op_norm(t, x, f, layer->before, dropout, &x);
        f = self_attention_forward(t, &layer->attention, y, *p, 0, (float)c->attention_probs_dropout_prob);
        y = op_norm(t, x, f, layer->after, dropout, &x);
        f = feed_forward_forward(t, &layer->feed_forward, y, 0);
    }
    return op_norm(t, x, f, m->norm, dropout, &x);
}

tensor *signal_encode(tape *t, const signal_model *m, const float *features, packing p, tensor **input) {
    tensor *y = encode(t, m, features, &p, input);
    if (m->config.kind == SIGNAL_PICTURE) {
        return op_select_rows(t, y, p.offsets, p.sequences);
    }
    tensor *keys = op_linear(t, y, m->pool_key.weight, m->pool_key.bias, ACTIVATION_TANH);
    return op_attention_pool(t, y, keys, m->pool_query, p, "pool");
}

/* Rows of speech as the frames that they hold. */
tensor *signal_memory(tape *t, const signal_model *m, const float *features, packing p) {
    int32_t *frames = tape_memory(t, p.sequences + 1, sizeof *frames);
    for (int64_t i = 0; frames && i <= p.sequences; i++) {
        frames[i] = p.offsets[i] * SIGNAL_FRAMES_A_ROW;
    }
    packing of_frames = {frames, p.sequences};
    return frames ? encode(t, m, features, &of_frames, NULL) : NULL;
}

/* --- as a network ------------------------------------------------------------------- */

static attn_status check_lengths(const signal_model *m, packing p) {
    int rows = signal_rows(&m->config), exact = m->config.kind == SIGNAL_PICTURE;
    for (int64_t s = 0; s < p.sequences; s++) {
        int64_t length = p.offsets[s + 1] - p.offsets[s];
        if (length < 1 || length > rows || (exact && length != rows)) {
            return fail(ATTN_ERROR_ARGUMENT, "a sequence has %lld rows; %s %d were expected", (long long)length,
                        exact ? "exactly" : "1 to", rows);
        }
    }
    return ATTN_OK;
}

static attn_status loss(tape *t, const void *model, const batch *b, float smoothing, double divisor,
                        loss_result *result) {
    const signal_model *m = model;
    packing p = {b->source_offsets, (int64_t)b->sequences};
    attn_status status = check_lengths(m, p);
    if (status) {
        return status;
    }
    if (m->config.kind == SIGNAL_SPEECH) {
        packing target = {b->target_offsets, (int64_t)b->sequences};
        tensor *memory = signal_memory(t, m, b->features, p);
        tensor *x = transformer_decode(t, &m->text, b->target_input, target, memory, p);
        return op_cross_entropy(t, x, m->text.embedding, m->text.logits_bias, b->labels, smoothing, divisor, result, NULL);
    }
    tensor *pooled = signal_encode(t, m, b->features, p, NULL);
    return op_cross_entropy(t, pooled, m->classifier.weight, m->classifier.bias, b->labels, smoothing, divisor, result, NULL);
}

static double forward_flops(const void *model, const batch *b) {
    const signal_model *m = model;
    const signal_config *c = &m->config;
    double width = c->hidden_size, rows = (double)b->tokens_source, tokens = rows + (double)b->sequences;
    double front = rows * width * signal_row_width(c);
    if (c->kind != SIGNAL_PICTURE) {
        rows *= c->kind == SIGNAL_SPEECH ? SIGNAL_FRAMES_A_ROW : 1;
        tokens = rows / (SIGNAL_STRIDE * SIGNAL_STRIDE);
        front = SIGNAL_KERNEL * (rows / SIGNAL_STRIDE * c->bins + tokens * width) * width;
    }
    double text = c->kind == SIGNAL_SPEECH
                      ? transformer_forward_flops(&m->text, (int64_t)tokens, (int64_t)b->tokens_target) : 0;
    return text + 2 * (front + tokens * c->num_hidden_layers * width * (4 * width + 2.0 * c->intermediate_size));
}

static attn_status open_model(const char *directory, network_purpose purpose, void **model) {
    signal_config config;
    signal_model *made = NULL;
    attn_status status = signal_config_read(directory, &config);
    status = status ? status : signal_new(&config, purpose, &made);
    *model = made;
    return status;
}

static void free_model(void *model) {
    signal_free(model);
}

static parameters *parameters_of(void *model) {
    return &((signal_model *)model)->parameters;
}

static network_limits limits_of(const void *model) {
    const signal_config *c = &((const signal_model *)model)->config;
    return c->kind == SIGNAL_SPEECH ? (network_limits){c->vocab_size, c->max_target_positions, c->eos_token_id}
                                    : (network_limits){0, 0, TOKEN_NONE};
}

static void initialize(void *model, uint64_t seed) {
    signal_initialize(model, seed);
}

static void set_dropout(void *model, double dropout, double attention_dropout) {
    signal_model *m = model;
    m->config.hidden_dropout_prob = m->text.config.dropout = dropout;
    m->config.attention_probs_dropout_prob = m->text.config.attention_dropout = attention_dropout;
}

static attn_status write_config(const char *directory, const void *model) {
    return signal_config_write(directory, &((const signal_model *)model)->config);
}

static attn_status same_shape(const char *directory, const void *model, int *same) {
    signal_config saved;
    attn_status status = signal_config_read(directory, &saved);
    *same = !status && signal_config_equal(&saved, &((const signal_model *)model)->config);
    signal_config_release(&saved);
    return status;
}

#define SIGNAL_FUNCTIONS                                                                                            \
    .open = open_model, .free = free_model, .parameters = parameters_of, .limits = limits_of,                      \
    .initialize = initialize, .set_dropout = set_dropout, .loss = loss, .forward_flops = forward_flops,            \
    .write_config = write_config, .same_shape = same_shape

const network_kind signal_picture_kind = {.name = "vision transformer", .model_type = "vit", SIGNAL_FUNCTIONS};
const network_kind signal_sound_kind = {.name = "sound transformer", .model_type = "attn_sound", SIGNAL_FUNCTIONS};
const network_kind signal_speech_kind = {.name = "speech transformer", .model_type = "attn_speech", SIGNAL_FUNCTIONS};
