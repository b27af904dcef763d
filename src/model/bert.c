#include "model/bert.h"

#include <math.h>
#include <stdio.h>

#include "base/random.h"

static activation activation_of(model_activation kind) {
    return kind == MODEL_RELU ? ACTIVATION_RELU : kind == MODEL_SWISH ? ACTIVATION_SWISH : ACTIVATION_GELU;
}

/* --- parameters ------------------------------------------------------------------ */

static attn_status declare_linear(parameters *set, linear_layer *l, int64_t out, int64_t in, const char *prefix) {
    attn_status status = parameters_declare(set, 1, 2, out, in, &l->weight, "%s.weight", prefix);
    return status ? status : parameters_declare(set, 1, 1, 1, out, &l->bias, "%s.bias", prefix);
}

static attn_status declare_norm(bert *m, layer_norm *n, const char *prefix) {
    parameters *set = &m->parameters;
    n->epsilon = (float)m->config.layer_norm_epsilon;
    attn_status status = parameters_declare(set, 1, 1, 1, m->config.hidden_size, &n->gain, "%s.weight", prefix);
    return status ? status : parameters_declare(set, 1, 1, 1, m->config.hidden_size, &n->bias, "%s.bias", prefix);
}

/* Query, key and value side by side, weights and then biases. */
static attn_status declare_attention(bert *m, multi_head_attention *a, int index) {
    static const char *const NAMES[] = {"query", "key", "value"};
    linear_layer *const projections[] = {&a->query, &a->key, &a->value};
    parameters *set = &m->parameters;
    int64_t width = m->config.hidden_size;
    attn_status status = ATTN_OK;
    a->heads = m->config.heads;
    a->width = width;
    a->span = m->config.span;
    (void)snprintf(a->part, sizeof a->part, "encoder.%d.self", index);
    for (int i = 0; i < 6 && !status; i++) {
        int bias = i >= 3;
        linear_layer *l = projections[i % 3];
        status = parameters_declare(set, i % 3 == 0, bias ? 1 : 2, bias ? 1 : width, width, bias ? &l->bias : &l->weight,
                                    "bert.encoder.layer.%d.attention.self.%s.%s", index, NAMES[i % 3],
                                    bias ? "bias" : "weight");
    }
    char name[96];
    (void)snprintf(name, sizeof name, "bert.encoder.layer.%d.attention.output.dense", index);
    return status ? status : declare_linear(set, &a->output, width, width, name);
}

static attn_status declare_layer(bert *m, encoder_layer *layer, int index) {
    char name[96];
    parameters *set = &m->parameters;
    int64_t width = m->config.hidden_size, hidden = m->config.intermediate_size;
    layer->feed_forward.kind = activation_of(m->config.hidden_act);
    attn_status status = declare_attention(m, &layer->self_attention, index);
    (void)snprintf(name, sizeof name, "bert.encoder.layer.%d.attention.output.LayerNorm", index);
    status = status ? status : declare_norm(m, &layer->self_attention_norm, name);
    (void)snprintf(name, sizeof name, "bert.encoder.layer.%d.intermediate.dense", index);
    status = status ? status : declare_linear(set, &layer->feed_forward.inner, hidden, width, name);
    (void)snprintf(name, sizeof name, "bert.encoder.layer.%d.output.dense", index);
    status = status ? status : declare_linear(set, &layer->feed_forward.outer, width, hidden, name);
    (void)snprintf(name, sizeof name, "bert.encoder.layer.%d.output.LayerNorm", index);
    return status ? status : declare_norm(m, &layer->final_norm, name);
}

static attn_status declare_classifier(bert *m) {
    parameters *set = &m->parameters;
    int64_t width = m->config.hidden_size;
    int attention = m->config.pooling == BERT_POOL_ATTENTION;
    attn_status status = declare_linear(set, &m->pooler, width, width, attention ? "attention_pooling.dense" : "bert.pooler.dense");
    if (!status && attention) {
        status = parameters_declare(set, 1, 2, 1, width, &m->pool_query, "attention_pooling.query");
    }
    return status ? status : declare_linear(set, &m->classifier, (int64_t)m->config.labels.size, width, "classifier");
}

static attn_status declare_guesser(bert *m) {
    parameters *set = &m->parameters;
    int64_t width = m->config.hidden_size;
    attn_status status = declare_linear(set, &m->transform, width, width, "cls.predictions.transform.dense");
    status = status ? status : declare_norm(m, &m->transform_norm, "cls.predictions.transform.LayerNorm");
    return status ? status
                  : parameters_declare(set, 1, 1, 1, m->config.vocab_size, &m->guess_bias, "cls.predictions.bias");
}

static attn_status declare_convolution(bert *m) {
    int64_t width = m->config.hidden_size;
    attn_status status = declare_linear(&m->parameters, &m->convolution, width, m->config.convolution * width,
                                        "bert.embeddings.convolution.dense");
    return status ? status : declare_norm(m, &m->convolution_norm, "bert.embeddings.convolution.LayerNorm");
}

static attn_status declare(bert *m) {
    const bert_config *c = &m->config;
    parameters *set = &m->parameters;
    int64_t width = c->hidden_size;
    attn_status status = parameters_declare(set, 1, 2, c->vocab_size, width, &m->words, "bert.embeddings.word_embeddings.weight");
    status = status ? status : parameters_declare(set, 1, 2, c->max_position_embeddings, width, &m->positions,
                                                  "bert.embeddings.position_embeddings.weight");
    status = status ? status : parameters_declare(set, 1, 2, c->type_vocab_size, width, &m->types,
                                                  "bert.embeddings.token_type_embeddings.weight");
    status = status ? status : declare_norm(m, &m->embedding_norm, "bert.embeddings.LayerNorm");
    status = status || c->letters == 0 ? status : parameters_declare(set, 1, 2, c->letters, width, &m->letters,
                                                                     "bert.embeddings.letter_embeddings.weight");
    status = status || c->convolution == 0 ? status : declare_convolution(m);
    for (int i = 0; i < c->layers && !status; i++) {
        status = declare_layer(m, &m->layers[i], i);
    }
    return status ? status : c->head == BERT_CLASSIFY ? declare_classifier(m) : declare_guesser(m);
}

attn_status bert_new(const bert_config *config, network_purpose purpose, bert **made) {
    *made = NULL;
    attn_status status = bert_config_check(config, "the model's settings");
    if (status) {
        return status;
    }
    bert *model = memory_allocate(1, sizeof *model);
    if (!model) {
        return ATTN_ERROR_MEMORY;
    }
    status = bert_config_copy(&model->config, config);
    model->layers = memory_allocate((size_t)config->layers, sizeof *model->layers);
    status = status ? status : model->layers ? declare(model) : ATTN_ERROR_MEMORY;
    status = status ? status : parameters_allocate(&model->parameters, purpose.training, purpose.type == ELEMENT_BF16);
    if (status) {
        bert_free(model);
        return status;
    }
    *made = model;
    return ATTN_OK;
}

void bert_free(bert *model) {
    if (model) {
        parameters_free(&model->parameters);
        spelling_release(&model->known);
        memory_free(model->layers);
        bert_config_release(&model->config);
        memory_free(model);
    }
}

void bert_set_tokens(bert *model, const tokenizer *t) {
    bert_config *c = &model->config;
    c->cls_token_id = c->cls_token_id == TOKEN_NONE ? tokenizer_cls(t) : c->cls_token_id;
    c->sep_token_id = c->sep_token_id == TOKEN_NONE ? tokenizer_eos(t) : c->sep_token_id;
    c->unk_token_id = c->unk_token_id == TOKEN_NONE ? tokenizer_unk(t) : c->unk_token_id;
    c->mask_token_id = c->mask_token_id == TOKEN_NONE ? tokenizer_mask(t) : c->mask_token_id;
}

attn_status bert_spell(bert *model, const tokenizer *t) {
    if (model->config.letters == 0) {
        return ATTN_OK;
    }
    return model->config.unk_token_id == TOKEN_NONE
               ? fail(ATTN_ERROR_FORMAT, "config.json has letters, but no unk_token_id for the words that letters alone tell")
               : spelling_of_vocabulary(&model->known, t, model->config.letters);
}

/* --- forward --------------------------------------------------------------------- */

static attn_status check_ids(const bert *model, const int32_t *ids, packing p) {
    const bert_config *c = &model->config;
    for (int64_t s = 0; s < p.sequences; s++) {
        int64_t length = p.offsets[s + 1] - p.offsets[s];
        if (length < 1 || length > c->max_position_embeddings) {
            return fail(ATTN_ERROR_ARGUMENT, "a sequence of %lld tokens; 1 to the model's %d positions were expected",
                        (long long)length, c->max_position_embeddings);
        }
    }
    int64_t most = c->vocab_size + (model->more ? (int64_t)model->more->count : 0);
    for (int64_t i = 0; i < p.offsets[p.sequences]; i++) {
        if (ids[i] < 0 || ids[i] >= most) {
            return fail(ATTN_ERROR_ARGUMENT, "token %d is outside the vocabulary of %d", ids[i], c->vocab_size);
        }
    }
    return ATTN_OK;
}

static tensor *norm(tape *t, const layer_norm *n, tensor *x) {
    tensor *sum;
    return op_norm(t, x, NULL, (norm_layer){NORM_LAYER, n->gain, n->bias, n->epsilon}, 0, &sum);
}

static tensor *take_neighbours(tape *t, const bert *model, tensor *x, packing p) {
    const bert_config *c = &model->config;
    tensor *seen = op_windows(t, x, p, p, c->convolution, 1);
    seen = op_linear(t, seen, model->convolution.weight, model->convolution.bias, activation_of(c->hidden_act));
    const layer_norm *n = &model->convolution_norm;
    return op_residual_norm(t, x, seen, n->gain, n->bias, n->epsilon, (float)c->hidden_dropout);
}

/* What the words of a text become: both are `ids` but where a word or its letters are hidden. */
typedef struct word_ids {
    const int32_t *words;   /* the rows of the words */
    const int32_t *spelled; /* whose letters are added; NO_LETTERS: none */
} word_ids;

enum { NO_LETTERS = -1 };

/* A word outside the vocabulary has the row of [UNK]. */
static const int32_t *table_rows(tape *t, const bert *model, const int32_t *ids, int64_t tokens) {
    int32_t *rows = model->more ? tape_memory(t, tokens, sizeof *rows) : NULL;
    for (int64_t i = 0; rows && i < tokens; i++) {
        rows[i] = ids[i] < model->config.vocab_size ? ids[i] : model->config.unk_token_id;
    }
    return model->more ? rows : ids;
}

static const int32_t *numbers_of(const bert *model, int32_t id, size_t *count) {
    int known = id < model->config.vocab_size;
    *count = 0;
    return known && (id < 0 || (size_t)id >= model->known.count) ? NULL
                                                                 : spelling_numbers(known ? &model->known : model->more, id, count);
}

static tensor *add_letters(tape *t, const bert *model, tensor *x, const int32_t *spelled, int64_t tokens) {
    size_t all = 0, count;
    int32_t *offsets = t->status ? NULL : tape_memory(t, tokens + 1, sizeof *offsets);
    for (int64_t i = 0; offsets && i < tokens; i++) {
        offsets[i] = (int32_t)all;
        (void)numbers_of(model, spelled[i], &count);
        all += count;
    }
    if (all > INT32_MAX) {
        tape_fail(t, fail(ATTN_ERROR_UNSUPPORTED, "the texts of a batch have more than 2^31 groups of letters"));
    }
    int32_t *numbers = offsets && !t->status ? tape_memory(t, (int64_t)all + 1, sizeof *numbers) : NULL;
    if (!numbers) {
        return NULL;
    }
    offsets[tokens] = (int32_t)all;
    for (int64_t i = 0; i < tokens; i++) {
        const int32_t *own = numbers_of(model, spelled[i], &count);
        if (count > 0) {
            memcpy(numbers + offsets[i], own, count * sizeof *numbers);
        }
    }
    return op_row_means(t, x, model->letters, numbers, offsets);
}

static tensor *encode_words(tape *t, const bert *model, word_ids ids, packing p) {
    const bert_config *c = &model->config;
    int64_t tokens = p.offsets[p.sequences];
    dropout_rates rates = {(float)c->hidden_dropout, (float)c->attention_dropout, 0};
    const int32_t *rows = t->status ? NULL : table_rows(t, model, ids.words, tokens);
    tensor *x = op_embedding(t, model->words, rows, p, NULL, 1, 0);
    x = c->letters > 0 ? add_letters(t, model, x, ids.spelled, tokens) : x;
    x = op_place(t, x, p, p, (place_options){.learned = &model->positions});
    x = op_dropout(t, norm(t, &model->embedding_norm, x), rates.residual);
    tape_watch_input(t, x);
    x = c->convolution > 0 ? take_neighbours(t, model, x, p) : x;
    for (int i = 0; i < c->layers; i++) {
        x = encoder_layer_forward(t, &model->layers[i], x, p, rates);
    }
    return x;
}

tensor *bert_encode(tape *t, const bert *model, const int32_t *ids, packing p) {
    tape_fail(t, check_ids(model, ids, p));
    return encode_words(t, model, (word_ids){ids, ids}, p);
}

tensor *bert_pool(tape *t, const bert *model, tensor *x, packing p) {
    if (model->config.pooling == BERT_POOL_CLS) {
        return op_linear(t, op_select_rows(t, x, p.offsets, p.sequences), model->pooler.weight, model->pooler.bias,
                         ACTIVATION_TANH);
    }
    tensor *keys = op_linear(t, x, model->pooler.weight, model->pooler.bias, ACTIVATION_TANH);
    return op_attention_pool(t, x, keys, model->pool_query, p, "pool");
}

tensor *bert_logits(tape *t, const bert *model, const int32_t *ids, packing p) {
    tensor *pooled = bert_pool(t, model, bert_encode(t, model, ids, p), p);
    return op_linear(t, pooled, model->classifier.weight, model->classifier.bias, ACTIVATION_NONE);
}

/* --- loss ------------------------------------------------------------------------ */

static int is_special(const bert_config *c, int32_t id) {
    return id == c->cls_token_id || id == c->sep_token_id || id == c->pad_token_id;
}

/* Some words hidden, each reading's own; every other one of them keeps its letters, so that these are
 * learned to stand alone. */
static word_ids hide_words(tape *t, const bert *model, const int32_t *ids, int64_t tokens) {
    if (!t->recording || model->noise.word_dropout <= 0 || model->config.unk_token_id == TOKEN_NONE) {
        return (word_ids){ids, ids};
    }
    uint64_t key = tape_draw(t), letters_key = random_key(key, 1, 0);
    int32_t *words = tape_memory(t, tokens, sizeof *words), *spelled = tape_memory(t, tokens, sizeof *spelled);
    for (int64_t i = 0; words && spelled && i < tokens; i++) {
        int drop = random_uniform(key, (uint64_t)i) < model->noise.word_dropout && !is_special(&model->config, ids[i]);
        words[i] = drop ? model->config.unk_token_id : ids[i];
        spelled[i] = drop && random_uniform(letters_key, (uint64_t)i) < 0.5f ? NO_LETTERS : ids[i];
    }
    return (word_ids){words, spelled};
}

/* The batch's texts, and all of them once more. */
static packing twice(tape *t, packing p, const int32_t **ids) {
    int64_t n = p.sequences;
    int32_t tokens = p.offsets[n], *offsets = tape_memory(t, 2 * n + 1, sizeof *offsets);
    int32_t *both = tape_memory(t, 2 * (int64_t)tokens, sizeof *both);
    if (!offsets || !both) {
        return p;
    }
    memcpy(both, *ids, (size_t)tokens * sizeof *both);
    memcpy(both + tokens, *ids, (size_t)tokens * sizeof *both);
    for (int64_t s = 0; s <= 2 * n; s++) {
        offsets[s] = s <= n ? p.offsets[s] : tokens + p.offsets[s - n];
    }
    *ids = both;
    return (packing){offsets, 2 * n};
}

static attn_status classify_loss(tape *t, const bert *model, const batch *b, float smoothing, double divisor,
                                 loss_result *result) {
    packing p = {b->source_offsets, (int64_t)b->sequences};
    const int32_t *ids = b->source;
    int agree = t->recording && model->noise.r_drop > 0;
    p = agree ? twice(t, p, &ids) : p;
    tape_fail(t, t->status ? t->status : check_ids(model, ids, p));
    word_ids seen = t->status ? (word_ids){NULL, NULL} : hide_words(t, model, ids, p.offsets[p.sequences]);
    tensor *x = t->status ? NULL : encode_words(t, model, seen, p);
    tensor *pooled = op_dropout(t, x ? bert_pool(t, model, x, p) : NULL, (float)model->config.hidden_dropout);
    if (agree) {
        tensor *logits = op_linear(t, pooled, model->classifier.weight, model->classifier.bias, ACTIVATION_NONE);
        return op_agreement(t, logits, b->labels, smoothing, model->noise.r_drop, divisor, result);
    }
    return op_cross_entropy(t, pooled, model->classifier.weight, model->classifier.bias, b->labels, smoothing, divisor,
                            result, NULL);
}

/* Devlin et al. 2019, 3.1: of the tokens that are to be guessed 80 % become [MASK], 10 %
 * another token, 10 % stay. Each of them is a target. Without a recording tape the choice
 * is the same at every call. */
static attn_status guess_loss(tape *t, const bert *model, const batch *b, float smoothing, double divisor,
                              loss_result *result) {
    const bert_config *c = &model->config;
    packing p = {b->source_offsets, (int64_t)b->sequences};
    int64_t tokens = p.offsets[p.sequences], count = 0;
    uint64_t key = t->recording ? tape_draw(t) : random_key(1, (uint64_t)tokens, 0x6d61736b); /* "mask" */
    uint64_t what = random_key(key, 1, 0), which = random_key(key, 2, 0);
    int32_t *ids = tape_memory(t, tokens, sizeof *ids), *rows = tape_memory(t, tokens, sizeof *rows);
    int32_t *spelled = tape_memory(t, tokens, sizeof *spelled);
    int32_t *labels = tape_memory(t, tokens, sizeof *labels);
    *result = (loss_result){0};
    for (int64_t i = 0; !t->status && i < tokens; i++) {
        ids[i] = spelled[i] = b->source[i];
        if (is_special(c, ids[i]) || ids[i] >= c->vocab_size || random_uniform(key, (uint64_t)i) >= model->noise.mask_share) {
            continue;
        }
        float choice = random_uniform(what, (uint64_t)i);
        labels[count] = ids[i];
        rows[count++] = (int32_t)i;
        ids[i] = choice < 0.8f   ? c->mask_token_id
                 : choice < 0.9f ? (int32_t)random_below(which, (uint64_t)i, (uint32_t)c->vocab_size)
                                 : ids[i];
        spelled[i] = choice < 0.8f ? NO_LETTERS : ids[i];
    }
    if (!t->status) {
        tape_fail(t, check_ids(model, ids, p));
    }
    if (t->status || count == 0) { /* nothing to guess, nothing to learn */
        return t->status;
    }
    tensor *x = op_select_rows(t, encode_words(t, model, (word_ids){ids, spelled}, p), rows, count);
    x = op_linear(t, x, model->transform.weight, model->transform.bias, activation_of(c->hidden_act));
    return op_cross_entropy(t, norm(t, &model->transform_norm, x), model->words, model->guess_bias, labels, smoothing,
                            divisor, result, NULL);
}

static attn_status loss(tape *t, const void *model, const batch *b, float smoothing, double divisor,
                        loss_result *result) {
    const bert *m = model;
    return (m->config.head == BERT_CLASSIFY ? classify_loss : guess_loss)(t, m, b, smoothing, divisor, result);
}

/* --- as a network ------------------------------------------------------------------ */

static attn_status open_model(const char *directory, network_purpose purpose, void **model) {
    bert_config config;
    bert *made = NULL;
    attn_status status = bert_config_read(directory, &config);
    if (!status) {
        status = bert_new(&config, purpose, &made);
        bert_config_release(&config);
    }
    *model = made;
    return status;
}

static void free_model(void *model) {
    bert_free(model);
}

static parameters *parameters_of(void *model) {
    return &((bert *)model)->parameters;
}

static network_limits limits_of(const void *model) {
    const bert_config *c = &((const bert *)model)->config;
    return (network_limits){c->vocab_size, c->max_position_embeddings, c->sep_token_id};
}

/* Sinusoids (Vaswani et al. 2017, 3.5) as the first positions: what is near looks alike from
 * the beginning. */
static float sinusoid(int64_t place, int64_t column, int64_t width) {
    int64_t half = width / 2;
    double angle = (double)place / pow(10000.0, 2.0 * (double)(column % half) / (double)width);
    return (float)(column < half ? sin(angle) : cos(angle));
}

static int ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* Glorot uniform for matrices, words and letters of deviation 0.1 and positions of that size. */
static void initialize(void *model, uint64_t seed) {
    const float deviation = 0.1f;
    bert *m = model;
    const parameters *set = &m->parameters;
    for (size_t i = 0; i < set->count; i++) {
        parameter p = set->list[i].where;
        float *values = parameter_values(set, p);
        uint64_t key = random_key(seed, i, 0x696e6974); /* "init" */
        float limit = sqrtf(6.0f / (float)(p.rows + p.columns));
        int letters = m->config.letters > 0 && p.offset == m->letters.offset;
        int gain = ends_with(set->list[i].name, "Norm.weight");
        for (int64_t j = 0; j < p.rows * p.columns; j++) {
            values[j] = p.offset == m->words.offset || letters ? random_normal(key, (uint64_t)j) * deviation
                        : p.offset == m->positions.offset ? sinusoid(j / p.columns, j % p.columns, p.columns) * deviation
                        : p.offset == m->types.offset     ? 0.0f
                        : set->list[i].rank == 2 ? (2.0f * random_uniform(key, (uint64_t)j) - 1.0f) * limit
                        : gain                   ? 1.0f
                                                 : 0.0f;
        }
    }
    parameters_update_copies(&m->parameters);
}

static void fold_types(void *model) {
    bert *m = model;
    int64_t width = m->config.hidden_size;
    float *positions = parameter_values(&m->parameters, m->positions), *types = parameter_values(&m->parameters, m->types);
    for (int64_t i = 0; i < m->positions.rows; i++) {
        for (int64_t j = 0; j < width; j++) {
            positions[i * width + j] += types[j];
        }
    }
    for (int64_t i = m->types.rows; i-- > 0;) {
        for (int64_t j = 0; j < width; j++) {
            types[i * width + j] -= types[j];
        }
    }
}

attn_status bert_read_encoder(bert *model, const char *directory) {
    const parameters *set = &model->parameters;
    char *path = NULL;
    safetensors *file = NULL;
    folder_tensor *tensors = network_tensors(set, set->values);
    size_t size = strlen(directory) + sizeof "/" FOLDER_WEIGHTS;
    path = memory_allocate_raw(size, 1);
    attn_status status = tensors && path ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (!status) {
        (void)snprintf(path, size, "%s/%s", directory, FOLDER_WEIGHTS);
        status = safetensors_open(path, &file);
    }
    for (size_t i = 0; i < set->count && !status; i++) {
        const safetensors_tensor *stored = safetensors_find(file, tensors[i].name);
        int encoder = strncmp(tensors[i].name, "bert.e", 6) == 0;
        int fits = stored && stored->dims == tensors[i].dims && stored->shape[0] == tensors[i].shape[0] &&
                   (stored->dims < 2 || stored->shape[1] == tensors[i].shape[1]);
        if (encoder) {
            status = safetensors_require(file, tensors[i].name, tensors[i].dims, tensors[i].shape, &stored);
        }
        if (!status && (encoder || fits)) {
            status = safetensors_to_f32(file, stored, tensors[i].values);
        }
    }
    if (!status) {
        fold_types(model);
        parameters_update_copies(&model->parameters);
    }
    safetensors_close(file);
    memory_free(tensors);
    memory_free(path);
    return status;
}

static void set_dropout(void *model, double dropout, double attention_dropout) {
    bert_config *c = &((bert *)model)->config;
    c->hidden_dropout = dropout;
    c->attention_dropout = attention_dropout;
}

static double forward_flops(const void *model, const batch *b) {
    const bert_config *c = &((const bert *)model)->config;
    double width = c->hidden_size, tokens = (double)b->tokens_source;
    return 2 * tokens * (c->layers * (4 * width * width + 2 * width * c->intermediate_size) +
                         c->convolution * width * width);
}

static attn_status write_config(const char *directory, const void *model) {
    return bert_config_write(directory, &((const bert *)model)->config);
}

static attn_status same_shape(const char *directory, const void *model, int *same) {
    bert_config saved;
    attn_status status = bert_config_read(directory, &saved);
    *same = !status && bert_config_equal(&saved, &((const bert *)model)->config);
    if (!status) {
        bert_config_release(&saved);
    }
    return status;
}

const network_kind bert_kind = {.name = "bert",
                                .model_type = "bert",
                                .also = {"attn_bert"},
                                .open = open_model,
                                .free = free_model,
                                .parameters = parameters_of,
                                .limits = limits_of,
                                .initialize = initialize,
                                .was_read = fold_types,
                                .set_dropout = set_dropout,
                                .loss = loss,
                                .forward_flops = forward_flops,
                                .write_config = write_config,
                                .same_shape = same_shape};
