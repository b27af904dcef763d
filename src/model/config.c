/* A model's sizes and switches: one table of integers and one of reals hold each
 * key's name, range and default, so that reading, checking, comparing and writing
 * cannot disagree. Keys and defaults are those of transformers' MarianConfig; a recurrent
 * model takes those that mean something for it and adds its own. */
#include "model/config.h"

#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/kept_heads.h"

enum { MAX_VOCAB = 1 << 24, MAX_WIDTH = 1 << 16, MAX_LAYERS = MODEL_MOST_LAYERS, MAX_FFN = 1 << 18, MAX_LENGTH = 1 << 20,
       MAX_BEAMS = 1024, MAX_HIDDEN = 1 << 14 };
enum { MAX_POSITION_TABLE = 1 << 28 }; /* positions * width: a file must not be able to ask for all memory */

typedef enum presence { REQUIRED, OPTIONAL } presence;

typedef struct integer_key {
    const char *key;
    size_t offset;
    int minimum, maximum;
    presence need;
    int types; /* bits 1 << model_type that have it; 0: all */
} integer_key;

enum { MARIAN = 1 << MODEL_MARIAN, RECURRENT = 1 << MODEL_RECURRENT };

static int has_key(int types, const model_config *config) {
    return types == 0 || (types >> config->type & 1);
}

#define AT(field) #field, offsetof(model_config, field)
static const integer_key SIZES[] = {
    {AT(vocab_size), 1, MAX_VOCAB, REQUIRED, 0},
    {AT(d_model), 2, MAX_WIDTH, REQUIRED, 0},
    {AT(encoder_layers), 1, MAX_LAYERS, REQUIRED, MARIAN},
    {AT(decoder_layers), 1, MAX_LAYERS, REQUIRED, MARIAN},
    {AT(encoder_layers), 1, DECODER_LAYERS, REQUIRED, RECURRENT},
    {AT(decoder_layers), 1, DECODER_LAYERS, REQUIRED, RECURRENT},
    {AT(encoder_attention_heads), 1, MAX_WIDTH, REQUIRED, MARIAN},
    {AT(decoder_attention_heads), 1, MAX_WIDTH, REQUIRED, MARIAN},
    {AT(encoder_ffn_dim), 1, MAX_FFN, REQUIRED, MARIAN},
    {AT(decoder_ffn_dim), 1, MAX_FFN, REQUIRED, MARIAN},
    {AT(hidden_size), 2, MAX_HIDDEN, REQUIRED, RECURRENT},
    {AT(max_position_embeddings), 1, MAX_LENGTH, REQUIRED, 0},
};

/* In 0 .. vocab_size - 1; null or absent is TOKEN_NONE. */
static const integer_key TOKENS[] = {
    {AT(pad_token_id), 0, 0, REQUIRED, 0},
    {AT(eos_token_id), 0, 0, REQUIRED, 0},
    {AT(bos_token_id), 0, 0, OPTIONAL, 0},
    {AT(decoder_start_token_id), 0, 0, REQUIRED, 0},
};

static const integer_key GENERATION[] = {
    {AT(num_beams), 1, MAX_BEAMS, OPTIONAL, 0},
    {AT(max_length), 1, MAX_LENGTH, OPTIONAL, 0},
};

/* Booleans; `fixed` is the value that alone is built, or -1. */
static const struct {
    const char *key;
    size_t offset;
    int fixed;
    int types;
} SWITCHES[] = {
    {AT(scale_embedding), -1, 0},
    {AT(static_position_embeddings), 1, MARIAN},
    {AT(share_encoder_decoder_embeddings), 1, 0},
    {AT(tie_word_embeddings), 1, 0},
};

static const struct {
    const char *key;
    size_t offset;
    double minimum, maximum;
    const char *range;
    int types;
} REALS[] = {
    {AT(dropout), 0, 0x1.fffffep-1, "[0, 1)", 0},
    {AT(attention_dropout), 0, 0x1.fffffep-1, "[0, 1)", MARIAN},
    {AT(activation_dropout), 0, 0x1.fffffep-1, "[0, 1)", MARIAN},
    {AT(init_std), 1e-9, 10, "(0, 10]", MARIAN},
    {AT(length_penalty), -100, 100, "[-100, 100]", 0}, /* the last: generation's */
};
#undef AT
enum { GENERATION_REALS = 1 };

#define LENGTH(array) (sizeof(array) / sizeof *(array))

static int *integer_at(model_config *config, size_t offset) {
    return (int *)(void *)((char *)config + offset);
}

static double *real_at(model_config *config, size_t offset) {
    return (double *)(void *)((char *)config + offset);
}

static int integer_of(const model_config *config, size_t offset) {
    return *(const int *)(const void *)((const char *)config + offset);
}

static double real_of(const model_config *config, size_t offset) {
    return *(const double *)(const void *)((const char *)config + offset);
}

/* The first name of a value is the one that is written. */
static const struct {
    const char *name;
    model_activation activation;
} ACTIVATIONS[] = {{"relu", MODEL_RELU}, {"swish", MODEL_SWISH}, {"silu", MODEL_SWISH}, {"gelu", MODEL_GELU}};

static const char *activation_name(model_activation activation) {
    for (size_t i = 0; i < LENGTH(ACTIVATIONS); i++) {
        if (ACTIVATIONS[i].activation == activation) {
            return ACTIVATIONS[i].name;
        }
    }
    return NULL;
}

void model_config_defaults(model_config *config, int vocab_size) {
    *config = (model_config){.type = MODEL_MARIAN,
                             .vocab_size = vocab_size,
                             .d_model = 512,
                             .encoder_layers = 6,
                             .decoder_layers = 6,
                             .encoder_attention_heads = 8,
                             .decoder_attention_heads = 8,
                             .encoder_ffn_dim = 2048,
                             .decoder_ffn_dim = 2048,
                             .max_position_embeddings = 512,
                             .dropout = 0.1,
                             .init_std = 0.02,
                             .activation_function = MODEL_SWISH,
                             .scale_embedding = 1,
                             .static_position_embeddings = 1,
                             .share_encoder_decoder_embeddings = 1,
                             .tie_word_embeddings = 1,
                             .pad_token_id = vocab_size - 1,
                             .eos_token_id = 0,
                             .bos_token_id = TOKEN_NONE,
                             .decoder_start_token_id = vocab_size - 1,
                             .num_beams = 4,
                             .max_length = 512,
                             .length_penalty = 1.0};
}

/* --- checking ------------------------------------------------------------------ */

static attn_status check_integers(const model_config *config, const char *where, const integer_key *keys, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int value = integer_of(config, keys[i].offset);
        if (!has_key(keys[i].types, config)) {
            continue;
        }
        if (value < keys[i].minimum || value > keys[i].maximum) {
            return fail(ATTN_ERROR_ARGUMENT, "%s: %s is %d, %d to %d was expected", where, keys[i].key, value,
                        keys[i].minimum, keys[i].maximum);
        }
    }
    return ATTN_OK;
}

static attn_status check_heads(const model_config *config, const char *where, const char *key, int heads) {
    return config->d_model % heads == 0
               ? ATTN_OK
               : fail(ATTN_ERROR_ARGUMENT, "%s: d_model is %d, a multiple of %s (%d) was expected", where,
                      config->d_model, key, heads);
}

static attn_status check_tokens(const model_config *config, const char *where) {
    for (size_t i = 0; i < LENGTH(TOKENS); i++) {
        int token = integer_of(config, TOKENS[i].offset);
        if (token == TOKEN_NONE && TOKENS[i].need == OPTIONAL) {
            continue;
        }
        if (token < 0 || token >= config->vocab_size) {
            return fail(ATTN_ERROR_ARGUMENT, "%s: %s is %d, 0 to vocab_size - 1 = %d was expected", where, TOKENS[i].key,
                        token, config->vocab_size - 1);
        }
    }
    if (config->pad_token_id == config->eos_token_id) {
        return fail(ATTN_ERROR_ARGUMENT, "%s: pad_token_id and eos_token_id are both %d, two tokens were expected", where,
                    config->pad_token_id);
    }
    return ATTN_OK;
}

/* What every type has beside its sizes. */
static attn_status check_common(const model_config *config, const char *where) {
    attn_status status = check_tokens(config, where);
    for (size_t i = 0; !status && i < LENGTH(REALS); i++) {
        double value = real_of(config, REALS[i].offset);
        if (has_key(REALS[i].types, config) && !(value >= REALS[i].minimum && value <= REALS[i].maximum)) {
            status = fail(ATTN_ERROR_ARGUMENT, "%s: %s is %g, a number in %s was expected", where, REALS[i].key, value,
                          REALS[i].range);
        }
    }
    for (size_t i = 0; !status && i < LENGTH(SWITCHES); i++) {
        int value = integer_of(config, SWITCHES[i].offset);
        if (has_key(SWITCHES[i].types, config) && SWITCHES[i].fixed >= 0 && value != SWITCHES[i].fixed) {
            status = fail(ATTN_ERROR_UNSUPPORTED, "%s: %s is %s, only %s is supported", where, SWITCHES[i].key,
                          value ? "true" : "false", SWITCHES[i].fixed ? "true" : "false");
        }
    }
    return status;
}

static attn_status check_recurrent(const model_config *config, const char *where) {
    if (config->hidden_size % 2) {
        return fail(ATTN_ERROR_ARGUMENT, "%s: hidden_size is %d, an even number was expected (half of it goes in each direction)",
                    where, config->hidden_size);
    }
    if ((unsigned)config->cell > CELL_LSTM || (unsigned)config->score > SCORE_GENERAL) {
        return fail(ATTN_ERROR_ARGUMENT, "%s: cell or score is unknown", where);
    }
    return check_common(config, where);
}

attn_status model_config_check(const model_config *config, const char *where) {
    attn_status status = check_integers(config, where, SIZES, LENGTH(SIZES));
    if (!status) {
        status = check_integers(config, where, GENERATION, LENGTH(GENERATION));
    }
    if (!status && config->d_model % 2) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s: d_model is %d, an even number was expected", where, config->d_model);
    }
    if (!status && config->max_position_embeddings > MAX_POSITION_TABLE / config->d_model) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s: max_position_embeddings is %d, at most %d was expected at d_model %d",
                      where, config->max_position_embeddings, MAX_POSITION_TABLE / config->d_model, config->d_model);
    }
    if (!status && config->type == MODEL_RECURRENT) {
        return check_recurrent(config, where);
    }
    if (!status) {
        status = check_heads(config, where, "encoder_attention_heads", config->encoder_attention_heads);
    }
    if (!status) {
        status = check_heads(config, where, "decoder_attention_heads", config->decoder_attention_heads);
    }
    status = status ? status : kept_heads_check(config, where);
    status = status ? status : check_common(config, where);
    if (!status && (config->type != MODEL_MARIAN || !activation_name(config->activation_function))) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s: model_type or activation_function is unknown", where);
    }
    return status;
}

/* Within the ranges above no term passes 2^46. */
size_t model_config_weights(const model_config *config) {
    size_t vocabulary = (size_t)config->vocab_size, width = (size_t)config->d_model;
    if (config->type == MODEL_RECURRENT) {
        return model_config_recurrent_weights(config);
    }
    size_t norm = 2 * width;
    size_t encoder_ffn = (size_t)config->encoder_ffn_dim * (2 * width + 1) + width;
    size_t decoder_ffn = (size_t)config->decoder_ffn_dim * (2 * width + 1) + width;
    return vocabulary * (width + 1) + (size_t)config->encoder_layers * (encoder_ffn + 2 * norm) +
           (size_t)config->decoder_layers * (decoder_ffn + 3 * norm) + kept_heads_weights(config);
}

int model_config_equal(const model_config *a, const model_config *b) {
    int equal = a->type == b->type && (a->type == MODEL_RECURRENT ? a->cell == b->cell && a->score == b->score
                                                                  : a->activation_function == b->activation_function);
    for (size_t i = 0; i < LENGTH(SIZES); i++) {
        equal = equal && (!has_key(SIZES[i].types, a) || integer_of(a, SIZES[i].offset) == integer_of(b, SIZES[i].offset));
    }
    for (size_t i = 0; i < LENGTH(TOKENS); i++) {
        equal = equal && integer_of(a, TOKENS[i].offset) == integer_of(b, TOKENS[i].offset);
    }
    for (size_t i = 0; i < LENGTH(SWITCHES); i++) {
        equal = equal && (!has_key(SWITCHES[i].types, a) || !integer_of(a, SWITCHES[i].offset) == !integer_of(b, SWITCHES[i].offset));
    }
    return equal && (a->type == MODEL_RECURRENT || kept_heads_equal(a, b));
}

/* --- reading ------------------------------------------------------------------- */

static const char *kind_of(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number that is not an integer";
    case JSON_NULL: return "null";
    default: return json_is_true(value) ? "true" : "false";
    }
}

static attn_status wrong(const char *path, const char *key, const json_t *value, const char *expected) {
    return fail(ATTN_ERROR_FORMAT, "%s: %s is %s, %s was expected", path, key, value ? kind_of(value) : "missing",
                expected);
}

static attn_status read_json(const char *path, json_t **root) {
    char *text;
    size_t size;
    json_error_t error;
    attn_status status = file_read(path, &text, &size);
    if (status) {
        return status;
    }
    *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!*root) {
        status = fail(ATTN_ERROR_FORMAT, "%s:%d: not valid JSON: %s", path, error.line, error.text);
    } else if (!json_is_object(*root)) {
        json_decref(*root);
        status = fail(ATTN_ERROR_FORMAT, "%s: an object {...} was expected", path);
    }
    memory_free(text);
    return status;
}

/* Leaves the field as it is when an optional key is absent or null. */
static attn_status read_integers(const char *path, const json_t *root, const integer_key *keys, size_t count,
                                 model_config *config) {
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(root, keys[i].key);
        if (!has_key(keys[i].types, config)) {
            continue;
        }
        if (keys[i].need == OPTIONAL && (!value || json_is_null(value))) {
            continue;
        }
        if (!json_is_integer(value)) {
            return wrong(path, keys[i].key, value, "an integer");
        }
        json_int_t number = json_integer_value(value);
        if (number < INT32_MIN || number > INT32_MAX) {
            return fail(ATTN_ERROR_FORMAT, "%s: %s is %lld, which is out of range", path, keys[i].key, (long long)number);
        }
        if (number == TOKEN_NONE && keys[i].maximum == 0) {
            return fail(ATTN_ERROR_FORMAT, "%s: %s is -1, a token's number was expected", path, keys[i].key);
        }
        *integer_at(config, keys[i].offset) = (int)number;
    }
    return ATTN_OK;
}

static attn_status read_real(const char *path, const json_t *root, size_t i, model_config *config) {
    const json_t *value = json_object_get(root, REALS[i].key);
    if (!value || json_is_null(value) || !has_key(REALS[i].types, config)) {
        return ATTN_OK;
    }
    if (!json_is_number(value)) {
        return wrong(path, REALS[i].key, value, "a number");
    }
    *real_at(config, REALS[i].offset) = json_number_value(value);
    return ATTN_OK;
}

/* By model_type: what transformers calls the architecture. */
static const struct {
    const char *type, *architecture;
} TYPES[] = {[MODEL_MARIAN] = {"marian", "MarianMTModel"}, [MODEL_RECURRENT] = {"attn_recurrent", "RecurrentAttentionModel"}};

static attn_status read_type(const char *path, const json_t *root, model_config *config) {
    const json_t *type = json_object_get(root, "model_type");
    const json_t *architectures = json_object_get(root, "architectures"), *name;
    size_t i = 0;
    if (!json_is_string(type)) {
        return wrong(path, "model_type", type, "\"marian\"");
    }
    while (i < LENGTH(TYPES) && strcmp(json_string_value(type), TYPES[i].type) != 0) {
        i++;
    }
    if (i == LENGTH(TYPES)) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s: model_type is \"%.100s\", only \"marian\" and \"attn_recurrent\" are supported",
                    path, json_string_value(type));
    }
    config->type = (model_type)i;
    if (!architectures || json_is_null(architectures)) {
        return ATTN_OK;
    }
    if (!json_is_array(architectures)) {
        return wrong(path, "architectures", architectures, "an array of names");
    }
    json_array_foreach(architectures, i, name) {
        const char *text = json_string_value(name), *only = TYPES[config->type].architecture;
        if (!text || strcmp(text, only) != 0) {
            return fail(ATTN_ERROR_UNSUPPORTED, "%s: architectures holds \"%.100s\", only \"%s\" is supported", path,
                        text ? text : "?", only);
        }
    }
    return ATTN_OK;
}

/* The index of the key's text in a list of names. */
static attn_status read_name(const char *path, const json_t *root, const char *key, const char *const *names,
                             const char *expected, int *index) {
    const json_t *value = json_object_get(root, key);
    const char *name = json_string_value(value);
    if (!name) {
        return wrong(path, key, value, expected);
    }
    for (*index = 0; names[*index]; ++*index) {
        if (strcmp(name, names[*index]) == 0) {
            return ATTN_OK;
        }
    }
    return fail(ATTN_ERROR_UNSUPPORTED, "%s: %s is \"%.100s\", %s was expected", path, key, name, expected);
}

static attn_status read_recurrent(const char *path, const json_t *root, model_config *config) {
    int cell = 0, score = 0;
    attn_status status = read_name(path, root, "cell", CELL_NAMES, "gru or lstm", &cell);
    status = status ? status : read_name(path, root, "score", SCORE_NAMES, "additive, dot or general", &score);
    config->cell = (cell_kind)cell;
    config->score = (score_kind)score;
    config->encoder_attention_heads = config->decoder_attention_heads = 1;
    return status;
}

static attn_status read_activation(const char *path, const json_t *root, model_config *config) {
    const json_t *value = json_object_get(root, "activation_function");
    const char *name = json_string_value(value);
    if (!name) {
        return wrong(path, "activation_function", value, "\"relu\", \"swish\", \"silu\" or \"gelu\"");
    }
    for (size_t i = 0; i < LENGTH(ACTIVATIONS); i++) {
        if (strcmp(name, ACTIVATIONS[i].name) == 0) {
            config->activation_function = ACTIVATIONS[i].activation;
            return ATTN_OK;
        }
    }
    return fail(ATTN_ERROR_UNSUPPORTED,
                "%s: activation_function is \"%.100s\", only relu, swish (silu) and gelu are supported", path, name);
}

static attn_status read_switches(const char *path, const json_t *root, model_config *config) {
    for (size_t i = 0; i < LENGTH(SWITCHES); i++) {
        const json_t *value = json_object_get(root, SWITCHES[i].key);
        if (!has_key(SWITCHES[i].types, config)) {
            continue;
        }
        if (value && !json_is_boolean(value)) {
            return wrong(path, SWITCHES[i].key, value, "true or false");
        }
        if (value) {
            *integer_at(config, SWITCHES[i].offset) = json_is_true(value);
        }
    }
    return ATTN_OK;
}

/* Keys that would change the computation, with the one value that is built. */
static attn_status refuse_unsupported(const char *path, const json_t *root, const model_config *config) {
    static const struct {
        const char *key;
        int only;
    } FIXED[] = {{"is_encoder_decoder", 1}, {"normalize_before", 0}, {"normalize_embedding", 0},
                 {"add_final_layer_norm", 0}};
    for (size_t i = 0; i < LENGTH(FIXED); i++) {
        const json_t *value = json_object_get(root, FIXED[i].key);
        if (value && !(FIXED[i].only ? json_is_true(value) : json_is_false(value))) {
            return fail(ATTN_ERROR_UNSUPPORTED, "%s: %s is %s, only %s is supported", path, FIXED[i].key, kind_of(value),
                        FIXED[i].only ? "true" : "false");
        }
    }
    const json_t *decoder = json_object_get(root, "decoder_vocab_size");
    if (decoder && !json_is_null(decoder) &&
        (!json_is_integer(decoder) || json_integer_value(decoder) != config->vocab_size)) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s: decoder_vocab_size differs from vocab_size (%d): only one vocabulary "
                    "for both languages is supported", path, config->vocab_size);
    }
    return ATTN_OK;
}

/* A file's bad number is the file's fault, not the caller's argument. */
static attn_status check_read(const char *path, const model_config *config) {
    attn_status status = model_config_check(config, path);
    return status == ATTN_ERROR_ARGUMENT ? ATTN_ERROR_FORMAT : status;
}

attn_status model_config_read(const char *path, model_config *config) {
    json_t *root;
    attn_status status = read_json(path, &root);
    if (status) {
        return status;
    }
    model_config_defaults(config, 1);
    config->scale_embedding = 0; /* absent means false in transformers */
    status = read_type(path, root, config);
    status = status ? status : read_integers(path, root, SIZES, LENGTH(SIZES), config);
    status = status ? status : refuse_unsupported(path, root, config);
    status = status ? status : read_integers(path, root, TOKENS, LENGTH(TOKENS), config);
    status = status ? status : read_integers(path, root, GENERATION, LENGTH(GENERATION), config);
    status = status ? status : config->type == MODEL_RECURRENT ? read_recurrent(path, root, config) : read_activation(path, root, config);
    status = status ? status : read_switches(path, root, config);
    status = status || config->type == MODEL_RECURRENT ? status : kept_heads_read(path, root, config);
    for (size_t i = 0; !status && i < LENGTH(REALS); i++) {
        status = read_real(path, root, i, config);
    }
    json_decref(root);
    return status ? status : check_read(path, config);
}

attn_status model_config_read_generation(const char *path, model_config *config) {
    json_t *root;
    model_config changed = *config;
    attn_status status = read_json(path, &root);
    if (status) {
        return status;
    }
    status = read_integers(path, root, GENERATION, LENGTH(GENERATION), &changed);
    for (size_t i = LENGTH(REALS) - GENERATION_REALS; !status && i < LENGTH(REALS); i++) {
        status = read_real(path, root, i, &changed);
    }
    json_decref(root);
    status = status ? status : check_read(path, &changed);
    if (!status) {
        *config = changed;
    }
    return status;
}

/* --- writing ------------------------------------------------------------------- */

static json_t *token_or_null(int token) {
    return token == TOKEN_NONE ? json_null() : json_integer(token);
}

static attn_status write_json(const char *path, json_t *root) {
    /* 15 digits give back every decimal that a person types, as typed. */
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(15)) : NULL;
    file_writer *writer;
    json_decref(root);
    if (!text) {
        return fail(ATTN_ERROR_MEMORY, "out of memory while writing %s", path);
    }
    attn_status status = file_writer_open(path, &writer);
    if (!status) {
        status = file_writer_print(writer, "%s\n", text);
        if (status) {
            file_writer_abandon(writer);
        } else {
            status = file_writer_commit(writer);
        }
    }
    free(text);
    return status;
}

attn_status model_config_write(const char *path, const model_config *config) {
    attn_status status = model_config_check(config, path);
    if (status) {
        return status;
    }
    const char *type = TYPES[config->type].type, *architecture = TYPES[config->type].architecture;
    int recurrent = config->type == MODEL_RECURRENT;
    json_t *root = recurrent ? json_pack("{s:[s], s:s, s:s, s:s, s:s, s:b}", "architectures", architecture,
                                         "model_type", type, "dtype", "float32", "cell", CELL_NAMES[config->cell],
                                         "score", SCORE_NAMES[config->score], "is_encoder_decoder", 1)
                   : json_pack("{s:[s], s:s, s:s, s:s, s:b, s:b, s:b, s:f, s:f, s:i, s:i}",
                             "architectures", architecture, "model_type", type, "dtype", "float32",
                             "activation_function", activation_name(config->activation_function),
                             "is_encoder_decoder", 1, "is_decoder", 0, "use_cache", 1,
                             "encoder_layerdrop", 0.0, "decoder_layerdrop", 0.0,
                             "decoder_vocab_size", config->vocab_size, "forced_eos_token_id", config->eos_token_id);
    int failed = root == NULL;
    for (size_t i = 0; i < LENGTH(SIZES); i++) {
        if (has_key(SIZES[i].types, config)) {
            failed |= json_object_set_new(root, SIZES[i].key, json_integer(integer_of(config, SIZES[i].offset)));
        }
    }
    for (size_t i = 0; i < LENGTH(TOKENS); i++) {
        failed |= json_object_set_new(root, TOKENS[i].key, token_or_null(integer_of(config, TOKENS[i].offset)));
    }
    for (size_t i = 0; i < LENGTH(SWITCHES); i++) {
        if (has_key(SWITCHES[i].types, config)) {
            failed |= json_object_set_new(root, SWITCHES[i].key, json_boolean(integer_of(config, SWITCHES[i].offset)));
        }
    }
    for (size_t i = 0; i < LENGTH(REALS) - GENERATION_REALS; i++) {
        if (has_key(REALS[i].types, config)) {
            failed |= json_object_set_new(root, REALS[i].key, json_real(real_of(config, REALS[i].offset)));
        }
    }
    if (failed || (!recurrent && kept_heads_write(root, config))) {
        json_decref(root);
        root = NULL;
    }
    return write_json(path, root);
}

attn_status model_config_write_generation(const char *path, const model_config *config) {
    attn_status status = model_config_check(config, path);
    if (status) {
        return status;
    }
    /* bad_words_ids: <pad> is the decoder's first input and never its output. */
    return write_json(path, json_pack("{s:[[i]], s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:f}",
                                      "bad_words_ids", config->pad_token_id,
                                      "bos_token_id", token_or_null(config->bos_token_id),
                                      "decoder_start_token_id", config->decoder_start_token_id,
                                      "eos_token_id", config->eos_token_id,
                                      "forced_eos_token_id", config->eos_token_id,
                                      "max_length", config->max_length, "num_beams", config->num_beams,
                                      "pad_token_id", config->pad_token_id,
                                      "length_penalty", config->length_penalty));
}
