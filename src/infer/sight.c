/* Attention, rollout and gradient times input of one picture or sound. The forward pass is
 * that of training without dropout, so its gradient is at hand. */
#include "infer/sight.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "infer/classify.h"
#include "infer/model.h"
#include "infer/rollout.h"
#include "infer/signal_reader.h"

/* What the probe fills: the weights of each layer [heads, places, places]. */
typedef struct taker {
    float **layers;
    int count;
    float *pooling;
} taker;

static attn_status take(void *context, const char *part, int64_t sequence, int64_t heads, int64_t queries, int64_t keys,
                        const float *weights) {
    taker *t = context;
    int layer;
    (void)sequence;
    if (strcmp(part, "pool") == 0) {
        t->pooling = memory_allocate((size_t)keys, sizeof *t->pooling);
        if (t->pooling) {
            memcpy(t->pooling, weights, (size_t)keys * sizeof *weights);
        }
        return t->pooling ? ATTN_OK : ATTN_ERROR_MEMORY;
    }
    if (sscanf(part, "encoder.%d.self", &layer) != 1 || layer < 0 || layer >= t->count || t->layers[layer]) {
        return ATTN_OK;
    }
    size_t bytes = (size_t)(heads * queries * keys) * sizeof *weights;
    t->layers[layer] = memory_allocate_raw(bytes, 1);
    if (!t->layers[layer]) {
        return ATTN_ERROR_MEMORY;
    }
    memcpy(t->layers[layer], weights, bytes);
    return ATTN_OK;
}

static void release_taker(taker *t) {
    for (int i = 0; i < t->count && t->layers; i++) {
        memory_free(t->layers[i]);
    }
    memory_free(t->layers);
    memory_free(t->pooling);
}

/* --- forward and back -------------------------------------------------------------------- */

/* gradient[i] = sum over the numbers of row i of d log p(label) / d x times x. */
static attn_status gradient_times_input(attn_sight *s, const tensor *input) {
    const float *values = input->data, *gradient = input->gradient;
    s->gradient = memory_allocate((size_t)input->rows, sizeof *s->gradient);
    if (!s->gradient || !gradient) {
        return s->gradient ? fail(ATTN_ERROR_INTERNAL, "the input has no gradient") : ATTN_ERROR_MEMORY;
    }
    for (int64_t i = 0; i < input->rows; i++) {
        double sum = 0;
        for (int64_t j = 0; j < input->columns; j++, values++, gradient++) {
            sum -= (double)*values * (double)*gradient; /* the loss is -log p */
        }
        s->gradient[i] = (float)sum;
    }
    return ATTN_OK;
}

/* The pass; `wanted` < 0: the likeliest label is explained. */
static attn_status run(attn_sight *s, const signal_model *model, const float *rows, size_t count, int64_t wanted, taker *taken) {
    signal_model still = *model; /* without dropout */
    parameters view = model->parameters;
    int32_t offsets[2] = {0, (int32_t)count};
    loss_result result;
    tensor *input;
    tape t;
    still.config.hidden_dropout_prob = still.config.attention_probs_dropout_prob = 0;
    view.copies = NULL;
    view.gradients = memory_allocate((size_t)view.size, sizeof *view.gradients);
    attn_status status = view.gradients ? tape_open(&t, &view) : ATTN_ERROR_MEMORY;
    if (status) {
        memory_free(view.gradients);
        return status;
    }
    tape_start(&t, 1, 0, 0);
    t.probe = (attention_probe){take, taken};
    tensor *pooled = signal_encode(&t, &still, rows, (packing){offsets, 1}, &input);
    t.probe = (attention_probe){0};
    t.recording = 0;
    tensor *logits = op_linear(&t, pooled, still.classifier.weight, still.classifier.bias, ACTIVATION_NONE);
    t.recording = 1;
    status = t.status;
    if (!status) {
        class_probabilities(logits->data, s->labels->size, s->probabilities);
        for (size_t k = 1; k < s->labels->size && wanted < 0; k++) {
            s->label = s->probabilities[k] > s->probabilities[s->label] ? k : s->label;
        }
        s->label = wanted < 0 ? s->label : (size_t)wanted;
        int32_t label = (int32_t)s->label;
        status = op_cross_entropy(&t, pooled, still.classifier.weight, still.classifier.bias, &label, 0, 1, &result, NULL);
        status = status ? status : tape_backward(&t);
        status = status ? status : gradient_times_input(s, input);
    }
    tape_close(&t);
    memory_free(view.gradients);
    return status;
}

/* --- maps ----------------------------------------------------------------------------------- */

/* Who looks: the class token of a picture, the frames as the pooling weighs them. */
static attn_status make_maps(attn_sight *s, const taker *taken, int64_t tokens) {
    int64_t first = s->kind == SIGNAL_PICTURE ? 1 : 0, places = tokens - first;
    float *looks = memory_allocate((size_t)tokens, sizeof *looks), *all = memory_allocate((size_t)tokens, sizeof *all);
    s->attention = memory_allocate((size_t)(s->layers * s->heads), (size_t)places * sizeof *s->attention);
    s->rollout = memory_allocate((size_t)places, sizeof *s->rollout);
    int *heads = memory_allocate((size_t)s->layers, sizeof *heads);
    attn_status status = looks && all && s->attention && s->rollout && heads ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (!status) {
        if (s->kind == SIGNAL_PICTURE) {
            looks[0] = 1;
        } else {
            memcpy(looks, taken->pooling, (size_t)tokens * sizeof *looks);
        }
        for (int i = 0; i < s->layers * s->heads; i++) {
            const float *weights = taken->layers[i / s->heads] + (int64_t)(i % s->heads) * tokens * tokens;
            attention_of(looks, weights, tokens, all);
            memcpy(s->attention + i * places, all + first, (size_t)places * sizeof *all);
        }
        for (int i = 0; i < s->layers; i++) {
            heads[i] = s->heads;
        }
        status = attention_rollout((const float *const *)taken->layers, s->layers, heads, tokens, looks, all);
    }
    if (!status) {
        memcpy(s->rollout, all + first, (size_t)places * sizeof *all);
    }
    memory_free(heads);
    memory_free(looks);
    memory_free(all);
    return status;
}

static attn_status find_label(const signal_model *m, const char *label, int64_t *wanted) {
    *wanted = label ? vocabulary_find(&m->config.labels, label, strlen(label)) : -1;
    return label && *wanted < 0 ? fail(ATTN_ERROR_ARGUMENT, "the label \"%.100s\" is none of the model's %zu", label,
                                       m->config.labels.size)
                                : ATTN_OK;
}

static attn_status fill(attn_sight *s, const signal_model *m, const char *path, const char *label) {
    float *rows = NULL;
    size_t count;
    int cut;
    int64_t wanted, stride = SIGNAL_STRIDE * SIGNAL_STRIDE;
    attn_status status = find_label(m, label, &wanted);
    status = status ? status : signal_read_file(m, path, &rows, &count, &cut, &s->shown);
    if (status) {
        return status;
    }
    patch_shape shape = signal_patches(&m->config);
    int is_picture = s->kind == SIGNAL_PICTURE;
    s->rows = is_picture ? shape.height / shape.patch : 1;
    s->columns = is_picture ? shape.width / shape.patch : ((int64_t)count + stride - 1) / stride;
    s->gradient_columns = is_picture ? s->columns : (int64_t)count;
    taker taken = {memory_allocate((size_t)s->layers, sizeof *taken.layers), s->layers, NULL};
    if (s->rows * s->columns > SIGHT_MOST_PLACES) {
        status = fail(ATTN_ERROR_UNSUPPORTED, "%s: %lld places look at one another; at most %d can be shown", path,
                      (long long)(s->rows * s->columns), SIGHT_MOST_PLACES);
    }
    status = status ? status : taken.layers ? run(s, m, rows, count, wanted, &taken) : ATTN_ERROR_MEMORY;
    status = status ? status : make_maps(s, &taken, s->rows * s->columns + (is_picture ? 1 : 0));
    status = status || is_picture ? status : spectrogram_draw(rows, count, m->config.bins, &s->shown);
    s->pooling = taken.pooling;
    taken.pooling = NULL;
    release_taker(&taken);
    memory_free(rows);
    return status;
}

attn_status attn_explain_file(const attn_model *model, const char *path, const char *label, attn_sight **sight) {
    if (!model || !path || !sight) {
        return fail(ATTN_ERROR_ARGUMENT, "a model, a file and a place for what it saw were expected");
    }
    *sight = NULL;
    if (attn_model_input(model) == ATTN_INPUT_TEXT) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s holds a model of texts, not of pictures or sounds", model->directory);
    }
    if (attn_model_transcribes(model)) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s is no classifier: attn_explain_speech shows where its text looked", model->directory);
    }
    const signal_model *m = model->network.model;
    attn_sight *s = memory_allocate(1, sizeof *s);
    if (!s) {
        return ATTN_ERROR_MEMORY;
    }
    *s = (attn_sight){.kind = m->config.kind,
                      .path = memory_copy_string(path),
                      .labels = &m->config.labels,
                      .probabilities = memory_allocate(m->config.labels.size, sizeof *s->probabilities),
                      .layers = m->config.num_hidden_layers,
                      .heads = m->config.num_attention_heads};
    attn_status status = s->path && s->probabilities ? fill(s, m, path, label) : ATTN_ERROR_MEMORY;
    if (status) {
        attn_sight_free(s);
        return status;
    }
    *sight = s;
    return ATTN_OK;
}

void attn_sight_free(attn_sight *s) {
    if (s) {
        memory_free(s->path);
        memory_free(s->probabilities);
        memory_free(s->attention);
        memory_free(s->rollout);
        memory_free(s->pooling);
        memory_free(s->gradient);
        picture_release(&s->shown);
        memory_free(s);
    }
}

const char *attn_sight_label(const attn_sight *s) {
    return vocabulary_piece(s->labels, s->label).bytes;
}

double attn_sight_probability(const attn_sight *s) {
    return (double)s->probabilities[s->label];
}

void attn_sight_size(const attn_sight *s, int *layers, int *heads, int64_t *rows, int64_t *columns) {
    *layers = s->layers;
    *heads = s->heads;
    *rows = s->rows;
    *columns = s->columns;
}

const float *attn_sight_attention(const attn_sight *s, int layer, int head) {
    return layer >= 0 && layer < s->layers && head >= 0 && head < s->heads
               ? s->attention + (layer * s->heads + head) * s->rows * s->columns
               : NULL;
}

const float *attn_sight_rollout(const attn_sight *s) {
    return s->rollout;
}

const float *attn_sight_gradient(const attn_sight *s, int64_t *count) {
    *count = s->rows * s->gradient_columns;
    return s->gradient;
}
