/* config.json of GPT2LMHeadModel, LlamaForCausalLM and MistralForCausalLM, with the keys and
 * defaults of transformers' GPT2Config, LlamaConfig and MistralConfig. */
#include "model/language_config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/config.h"
#include "model/folder.h"

enum { MOST_VOCABULARY = 1 << 24, MOST_WIDTH = 1 << 16, MOST_LAYERS = 1024, MOST_HIDDEN = 1 << 18,
       MOST_POSITIONS = 1 << 20, MOST_HEAD_DIM = 4096, MOST_TABLE = 1 << 28 };

#define LENGTH(array) (sizeof(array) / sizeof *(array))

/* By family and attention. */
static const struct {
    const char *name, *architecture;
    language_family family;
    int own; /* 1: the key "attention" says what the attention is */
} TYPES[] = {{"gpt2", "GPT2LMHeadModel", LANGUAGE_GPT2, 0},
             {"llama", "LlamaForCausalLM", LANGUAGE_LLAMA, 0},
             {"mistral", "MistralForCausalLM", LANGUAGE_LLAMA, 0},
             {"attn_gpt2", "AttnGPT2LMHeadModel", LANGUAGE_GPT2, 1},
             {"attn_llama", "AttnLlamaForCausalLM", LANGUAGE_LLAMA, 1}};

enum { TYPE_GPT2, TYPE_LLAMA, TYPE_MISTRAL, TYPE_OWN_GPT2, TYPE_OWN_LLAMA };

static int type_of(const language_config *c) {
    int gpt2 = c->family == LANGUAGE_GPT2;
    if (c->span.kind == ATTENTION_FULL) {
        return gpt2 ? TYPE_GPT2 : TYPE_LLAMA;
    }
    return gpt2 ? TYPE_OWN_GPT2 : c->span.kind == ATTENTION_WINDOW ? TYPE_MISTRAL : TYPE_OWN_LLAMA;
}

/* The first name of a value is the one that is written. */
static const struct {
    const char *name;
    activation kind;
} ACTIVATIONS[] = {{"relu", ACTIVATION_RELU},          {"swish", ACTIVATION_SWISH},
                   {"silu", ACTIVATION_SWISH},         {"gelu", ACTIVATION_GELU},
                   {"gelu_new", ACTIVATION_GELU_TANH}, {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH}};

static const char *activation_name(activation kind) {
    for (size_t i = 0; i < LENGTH(ACTIVATIONS); i++) {
        if (ACTIVATIONS[i].kind == kind) {
            return ACTIVATIONS[i].name;
        }
    }
    return NULL;
}

/* --- checking ------------------------------------------------------------------------ */

static attn_status check_tokens(const language_config *c, const char *where) {
    const struct {
        const char *name;
        int token;
    } tokens[] = {{"bos_token_id", c->bos}, {"eos_token_id", c->eos}, {"pad_token_id", c->pad}};
    for (size_t i = 0; i < LENGTH(tokens); i++) {
        if (tokens[i].token != TOKEN_NONE && (tokens[i].token < 0 || tokens[i].token >= c->vocab_size)) {
            return fail(ATTN_ERROR_ARGUMENT, "%s: %s is %d, 0 to vocab_size - 1 = %d was expected", where, tokens[i].name,
                        tokens[i].token, c->vocab_size - 1);
        }
    }
    return ATTN_OK;
}

attn_status language_config_check(const language_config *c, const char *where) {
    const struct {
        const char *name;
        int value, least, most;
    } sizes[] = {{"the vocabulary", c->vocab_size, 1, MOST_VOCABULARY}, {"the width", c->width, 2, MOST_WIDTH},
                 {"the number of layers", c->layers, 1, MOST_LAYERS},   {"the number of heads", c->heads, 1, MOST_WIDTH},
                 {"the number of key/value heads", c->kv_heads, 1, MOST_WIDTH},
                 {"the width of a head", c->head_dim, 1, MOST_HEAD_DIM}, {"the feed-forward's width", c->hidden, 1, MOST_HIDDEN},
                 {"the number of positions", c->positions, 1, MOST_POSITIONS}};
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        if (sizes[i].value < sizes[i].least || sizes[i].value > sizes[i].most) {
            return fail(ATTN_ERROR_ARGUMENT, "%s: %s is %d, %d to %d was expected", where, sizes[i].name, sizes[i].value,
                        sizes[i].least, sizes[i].most);
        }
    }
    int gpt2 = c->family == LANGUAGE_GPT2;
    int64_t joined = ((int64_t)c->heads + 2 * (int64_t)c->kv_heads) * c->head_dim;
    int64_t row = gpt2 ? c->width : c->head_dim;
    if (c->heads % c->kv_heads || (gpt2 && (c->kv_heads != c->heads || (int64_t)c->heads * c->head_dim != c->width))) {
        return fail(ATTN_ERROR_ARGUMENT, "%s: %d heads of width %d with %d key/value heads do not fit the width %d", where,
                    c->heads, c->head_dim, c->kv_heads, c->width);
    }
    if (!gpt2 && c->head_dim % 2) {
        return fail(ATTN_ERROR_ARGUMENT, "%s: the width of a head is %d; rotary positions need an even number", where,
                    c->head_dim);
    }
    if (joined > MOST_HIDDEN || c->positions > MOST_TABLE / row) {
        return fail(ATTN_ERROR_ARGUMENT, "%s: %d heads of width %d at %d positions are more than is supported", where,
                    c->heads, c->head_dim, c->positions);
    }
    if (!(c->norm_epsilon > 0 && c->norm_epsilon <= 1) || !(c->dropout >= 0 && c->dropout < 1) ||
        !(c->attention_dropout >= 0 && c->attention_dropout < 1) || (!gpt2 && !(c->rope_theta > 0 && c->rope_theta <= 1e12))) {
        return fail(ATTN_ERROR_ARGUMENT, "%s: the normalisation's epsilon is %g (above 0, at most 1), dropout %g and %g "
                    "([0, 1)), rope_theta %g (above 0): one is out of range", where, c->norm_epsilon, c->dropout,
                    c->attention_dropout, c->rope_theta);
    }
    attn_status status = attention_span_check(c->span, c->attention_dropout, where);
    return status ? status : check_tokens(c, where);
}

/* Within the ranges above no term passes 2^45. */
size_t language_config_weights(const language_config *c) {
    size_t width = (size_t)c->width, hidden = (size_t)c->hidden, heads = (size_t)c->heads * (size_t)c->head_dim;
    size_t joined = heads + 2 * (size_t)c->kv_heads * (size_t)c->head_dim, table = (size_t)c->vocab_size * width;
    size_t layer = c->family == LANGUAGE_GPT2 ? (width + 1) * (joined + hidden) + width * (heads + hidden) + 6 * width
                                              : width * (joined + heads + 3 * hidden) + 2 * width;
    size_t ends = c->family == LANGUAGE_GPT2 ? (size_t)c->positions * width + 2 * width : width;
    return table * (c->tied ? 1 : 2) + ends + (size_t)c->layers * layer;
}

int language_config_equal(const language_config *a, const language_config *b) {
    int same = a->family == b->family && a->vocab_size == b->vocab_size && a->width == b->width && a->layers == b->layers &&
               a->heads == b->heads && a->kv_heads == b->kv_heads && a->head_dim == b->head_dim &&
               a->hidden == b->hidden && a->positions == b->positions && !a->tied == !b->tied &&
               attention_span_equal(a->span, b->span) && (float)a->norm_epsilon == (float)b->norm_epsilon;
    return same && (a->family == LANGUAGE_GPT2 ? a->kind == b->kind : a->rope_theta == b->rope_theta);
}

/* --- reading ------------------------------------------------------------------------- */

typedef struct reader {
    const char *path;
    const json_t *root;
    attn_status status; /* of the first key that was wrong */
} reader;

static const json_t *value_of(const reader *r, const char *key) {
    const json_t *value = json_object_get(r->root, key);
    return json_is_null(value) ? NULL : value;
}

static void wrong(reader *r, const char *key, const char *expected) {
    r->status = r->status ? r->status : fail(ATTN_ERROR_FORMAT, "%s: %s is %s; %s was expected", r->path, key,
                                             value_of(r, key) ? "something else" : "missing", expected);
}

/* absent: the value of a key that is missing or null, or -1: it is required. */
static int read_integer(reader *r, const char *key, int absent) {
    const json_t *value = value_of(r, key);
    if (!value && absent >= 0) {
        return absent;
    }
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0 || number > INT32_MAX) {
        wrong(r, key, "an integer from 0 on");
        return 0;
    }
    return (int)number;
}

static int read_token(reader *r, const char *key) {
    const json_t *value = value_of(r, key);
    value = json_is_array(value) ? json_array_get(value, 0) : value;
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : TOKEN_NONE;
    if (value && (!json_is_integer(value) || number < TOKEN_NONE || number > INT32_MAX)) {
        wrong(r, key, "a token's number");
    }
    return (int)number;
}

static double read_real(reader *r, const json_t *object, const char *key, double absent) {
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value)) {
        return absent;
    }
    if (!json_is_number(value)) {
        wrong(r, key, "a number");
    }
    return json_number_value(value);
}

static int read_switch(reader *r, const char *key, int absent) {
    const json_t *value = value_of(r, key);
    if (value && !json_is_boolean(value)) {
        wrong(r, key, "true or false");
    }
    return value ? json_is_true(value) : absent;
}

/* A switch that changes the computation in a way that is not built. */
static void only(reader *r, const char *key, int absent, int built) {
    if (read_switch(r, key, absent) != built && !r->status) {
        r->status = fail(ATTN_ERROR_UNSUPPORTED, "%s: %s is %s, only %s is supported", r->path, key,
                         built ? "false" : "true", built ? "true" : "false");
    }
}

static void read_gpt2(reader *r, language_config *c) {
    c->width = read_integer(r, "n_embd", 768);
    c->layers = read_integer(r, "n_layer", 12);
    c->heads = c->kv_heads = read_integer(r, "n_head", 12);
    c->head_dim = c->heads > 0 ? c->width / c->heads : 0;
    c->hidden = read_integer(r, "n_inner", c->width < MOST_WIDTH ? 4 * c->width : 0);
    c->positions = read_integer(r, "n_positions", 1024);
    c->norm_epsilon = read_real(r, r->root, "layer_norm_epsilon", 1e-5);
    c->dropout = read_real(r, r->root, "resid_pdrop", 0.1);
    c->attention_dropout = read_real(r, r->root, "attn_pdrop", 0.1);
    c->tied = read_switch(r, "tie_word_embeddings", 1);
    only(r, "scale_attn_weights", 1, 1);
    only(r, "scale_attn_by_inverse_layer_idx", 0, 0);
    only(r, "add_cross_attention", 0, 0);
    const char *name = json_string_value(value_of(r, "activation_function"));
    name = name || value_of(r, "activation_function") ? name : "gelu_new";
    for (size_t i = 0; name && i < LENGTH(ACTIVATIONS); i++) {
        c->kind = strcmp(name, ACTIVATIONS[i].name) == 0 ? ACTIVATIONS[i].kind : c->kind;
    }
    if (c->kind == ACTIVATION_NONE) {
        wrong(r, "activation_function", "relu, swish (silu), gelu or gelu_new");
    }
}

static void read_rotary(reader *r, language_config *c) {
    const json_t *rope = value_of(r, "rope_parameters"), *scaling = value_of(r, "rope_scaling");
    const json_t *type = json_object_get(rope ? rope : scaling, "rope_type");
    c->rope_theta = read_real(r, r->root, "rope_theta", 10000);
    c->rope_theta = read_real(r, rope, "rope_theta", c->rope_theta);
    const char *name = json_string_value(type);
    if ((scaling || type) && !(name && strcmp(name, "default") == 0) && !r->status) {
        r->status = fail(ATTN_ERROR_UNSUPPORTED, "%s: the rotary positions are scaled (rope_type \"%.60s\"), which is not "
                         "supported", r->path, name ? name : "?");
    }
    if (read_real(r, rope, "partial_rotary_factor", 1) != 1.0 && !r->status) {
        r->status = fail(ATTN_ERROR_UNSUPPORTED, "%s: partial_rotary_factor is not 1, which is not supported", r->path);
    }
}

/* Mistral's is Llama's, with other defaults and a window, which null takes away. */
static void read_llama(reader *r, language_config *c, int mistral) {
    c->width = read_integer(r, "hidden_size", -1);
    c->layers = read_integer(r, "num_hidden_layers", -1);
    c->heads = read_integer(r, "num_attention_heads", -1);
    c->kv_heads = read_integer(r, "num_key_value_heads", mistral ? 8 : c->heads);
    c->head_dim = read_integer(r, "head_dim", c->heads > 0 ? c->width / c->heads : 0);
    c->hidden = read_integer(r, "intermediate_size", -1);
    c->positions = read_integer(r, "max_position_embeddings", mistral ? 131072 : 2048);
    c->norm_epsilon = read_real(r, r->root, "rms_norm_eps", 1e-6);
    c->attention_dropout = read_real(r, r->root, "attention_dropout", 0);
    c->tied = read_switch(r, "tie_word_embeddings", 0);
    only(r, "attention_bias", 0, 0);
    only(r, "mlp_bias", 0, 0);
    read_rotary(r, c);
    const json_t *act = value_of(r, "hidden_act");
    const char *name = json_string_value(act);
    if (act && !(name && (strcmp(name, "silu") == 0 || strcmp(name, "swish") == 0))) {
        wrong(r, "hidden_act", "silu");
    }
}

static void read_span(reader *r, language_config *c, int type) {
    if (type == TYPE_MISTRAL) {
        const json_t *window = json_object_get(r->root, "sliding_window");
        int given = !window || !json_is_null(window);
        c->span = (attention_span){given ? ATTENTION_WINDOW : ATTENTION_FULL, given ? read_integer(r, "sliding_window", 4096) : 0};
    } else if (TYPES[type].own) {
        const char *text = json_string_value(value_of(r, "attention"));
        char where[320];
        (void)snprintf(where, sizeof where, "%.300s: attention", r->path);
        if (!text) {
            wrong(r, "attention", "full, linear or window:N");
        } else if (!r->status) {
            r->status = attention_span_parse(text, where, &c->span);
        }
    }
}

static attn_status read_object(const char *path, json_t **root) {
    char *text;
    size_t size;
    json_error_t error;
    attn_status status = file_read(path, &text, &size);
    if (status) {
        return status;
    }
    *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    memory_free(text);
    if (!json_is_object(*root)) {
        status = fail(ATTN_ERROR_FORMAT, "%s:%d: not a JSON object: %s", path, *root ? 1 : error.line,
                      *root ? "something else" : error.text);
        json_decref(*root);
    }
    return status;
}

static attn_status read_config(const char *path, language_config *config) {
    json_t *root;
    language_config c = {.eos = TOKEN_NONE};
    attn_status status = read_object(path, &root);
    if (status) {
        return status;
    }
    reader r = {path, root, ATTN_OK};
    const char *type = json_string_value(value_of(&r, "model_type"));
    int which = 0;
    while (type && which < (int)LENGTH(TYPES) && strcmp(type, TYPES[which].name) != 0) {
        which++;
    }
    if (!type || which == (int)LENGTH(TYPES)) {
        wrong(&r, "model_type", "\"gpt2\", \"llama\", \"mistral\", \"attn_gpt2\" or \"attn_llama\"");
        which = 0;
    }
    c.family = TYPES[which].family;
    c.vocab_size = read_integer(&r, "vocab_size", -1);
    c.bos = read_token(&r, "bos_token_id");
    c.eos = read_token(&r, "eos_token_id");
    c.pad = read_token(&r, "pad_token_id");
    if (c.family == LANGUAGE_GPT2) {
        read_gpt2(&r, &c);
    } else {
        read_llama(&r, &c, which == TYPE_MISTRAL);
    }
    read_span(&r, &c, which);
    status = r.status;
    json_decref(root);
    status = status ? status : language_config_check(&c, path);
    *config = c;
    return status == ATTN_ERROR_ARGUMENT ? ATTN_ERROR_FORMAT : status; /* the file's fault */
}

attn_status language_config_read(const char *directory, language_config *config) {
    char *path = file_join(directory, FOLDER_CONFIG);
    attn_status status = path ? read_config(path, config) : ATTN_ERROR_MEMORY;
    memory_free(path);
    return status ? status : folder_check_size(directory, language_config_weights(config));
}

/* --- writing ------------------------------------------------------------------------- */

static json_t *token_or_null(int token) {
    return token == TOKEN_NONE ? json_null() : json_integer(token);
}

static json_t *gpt2_object(const language_config *c) {
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:f, s:f, s:f, s:f}", "n_embd", c->width, "n_layer", c->layers, "n_head", c->heads,
                     "n_inner", c->hidden, "n_positions", c->positions, "n_ctx", c->positions, "activation_function",
                     activation_name(c->kind), "layer_norm_epsilon", c->norm_epsilon, "resid_pdrop", c->dropout,
                     "embd_pdrop", c->dropout, "attn_pdrop", c->attention_dropout);
}

/* rope_theta stands twice: older and newer versions of transformers look at either. */
static json_t *llama_object(const language_config *c) {
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:f, s:f, s:{s:f, s:s}, s:f, s:b, s:b}", "hidden_size", c->width,
                     "num_hidden_layers", c->layers, "num_attention_heads", c->heads, "num_key_value_heads", c->kv_heads,
                     "head_dim", c->head_dim, "intermediate_size", c->hidden, "max_position_embeddings", c->positions,
                     "hidden_act", "silu", "rms_norm_eps", c->norm_epsilon, "rope_theta", c->rope_theta,
                     "rope_parameters", "rope_theta", c->rope_theta, "rope_type", "default", "attention_dropout",
                     c->attention_dropout, "attention_bias", 0, "mlp_bias", 0);
}

/* Takes the object over. */
static attn_status write_object(const char *directory, const char *name, json_t *object) {
    char *text = object ? json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(15)) : NULL;
    char *path = file_join(directory, name), *line = NULL;
    json_decref(object);
    size_t size = text ? strlen(text) : 0;
    line = text ? memory_allocate_raw(size + 1, 1) : NULL;
    attn_status status = path && line ? ATTN_OK : fail(ATTN_ERROR_MEMORY, "out of memory while writing %s", name);
    if (!status) {
        memcpy(line, text, size);
        line[size] = '\n';
        status = file_replace(path, line, size + 1);
    }
    free(text);
    memory_free(line);
    memory_free(path);
    return status;
}

/* -1 if memory was short. */
static int add_span(json_t *object, const language_config *c) {
    char text[ATTENTION_SPAN_TEXT];
    int type = type_of(c);
    return type == TYPE_MISTRAL ? json_object_set_new(object, "sliding_window", json_integer(c->span.window))
           : TYPES[type].own ? json_object_set_new(object, "attention", json_string(attention_span_print(c->span, text))) : 0;
}

static attn_status write_config(const char *directory, const language_config *c) {
    json_t *more = c->family == LANGUAGE_GPT2 ? gpt2_object(c) : llama_object(c);
    json_t *object = json_pack("{s:[s], s:s, s:s, s:i, s:b, s:o, s:o, s:o, s:b}", "architectures", TYPES[type_of(c)].architecture,
                               "model_type", TYPES[type_of(c)].name, "dtype", "float32", "vocab_size", c->vocab_size,
                               "tie_word_embeddings", c->tied, "bos_token_id", token_or_null(c->bos), "eos_token_id",
                               token_or_null(c->eos), "pad_token_id", token_or_null(c->pad), "use_cache", 1);
    if (!more || !object || json_object_update(object, more) || add_span(object, c)) {
        json_decref(object);
        object = NULL;
    }
    json_decref(more);
    attn_status status = write_object(directory, FOLDER_CONFIG, object);
    return status ? status
                  : write_object(directory, FOLDER_GENERATION,
                                 json_pack("{s:o, s:o, s:o}", "bos_token_id", token_or_null(c->bos), "eos_token_id",
                                           token_or_null(c->eos), "pad_token_id", token_or_null(c->pad)));
}

attn_status language_config_write(const char *directory, const language_config *config) {
    attn_status status = language_config_check(config, directory);
    status = status ? status : file_make_directory(directory);
    char *path = file_join(directory, FOLDER_CONFIG);
    status = status || path ? status : ATTN_ERROR_MEMORY;
    if (!status && file_exists(path)) {
        language_config old;
        int same = read_config(path, &old) == ATTN_OK && language_config_equal(&old, config);
        if (!same && folder_has_weights(directory)) {
            status = fail(ATTN_ERROR_ARGUMENT, "%s holds the weights of another model (its " FOLDER_CONFIG
                          " differs); choose another folder", directory);
        }
        if (same) {
            memory_free(path);
            return status;
        }
    }
    memory_free(path);
    return status ? status : write_config(directory, config);
}
