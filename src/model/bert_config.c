#include "model/bert_config.h"

#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/folder.h"

static const char *const ARCHITECTURES[] = {[BERT_CLASSIFY] = "BertForSequenceClassification",
                                            [BERT_MASKED] = "BertForMaskedLM"};
static const char OWN_TYPE[] = "attn_bert";
static const char *const ACTIVATIONS[] = {[MODEL_RELU] = "relu", [MODEL_SWISH] = "silu", [MODEL_GELU] = "gelu"};

void bert_config_release(bert_config *c) {
    vocabulary_release(&c->labels);
}

static attn_status copy_labels(const vocabulary *from, vocabulary *to) {
    *to = (vocabulary){0};
    if (from->size == 0) {
        return ATTN_OK;
    }
    text_line *names = memory_allocate(from->size, sizeof *names);
    for (size_t i = 0; names && i < from->size; i++) {
        names[i] = vocabulary_piece(from, i);
    }
    attn_status status = names ? vocabulary_build(names, from->size, to) : ATTN_ERROR_MEMORY;
    memory_free(names);
    return status;
}

attn_status bert_config_copy(bert_config *to, const bert_config *from) {
    *to = *from;
    return copy_labels(&from->labels, &to->labels);
}

/* --- ranges ---------------------------------------------------------------------- */

static attn_status check_token(const bert_config *c, const char *where, const char *name, int id) {
    return id >= TOKEN_NONE && id < c->vocab_size
               ? ATTN_OK
               : fail(ATTN_ERROR_ARGUMENT, "%s: %s is %d, an id below vocab_size %d was expected", where, name, id,
                      c->vocab_size);
}

attn_status bert_config_check(const bert_config *c, const char *where) {
    const struct {
        const char *name;
        double value, least, most;
    } rows[] = {{"vocab_size", c->vocab_size, 1, 1 << 24},
                {"hidden_size", c->hidden_size, 2, 65536},
                {"num_hidden_layers", c->layers, 1, 1024},
                {"num_attention_heads", c->heads, 1, c->hidden_size},
                {"intermediate_size", c->intermediate_size, 1, 1 << 18},
                {"max_position_embeddings", c->max_position_embeddings, 1, 1 << 20},
                {"type_vocab_size", c->type_vocab_size, 1, 16},
                {"letters", c->letters, 0, BERT_MOST_LETTERS},
                {"hidden_dropout_prob", c->hidden_dropout, 0, 0.999},
                {"attention_probs_dropout_prob", c->attention_dropout, 0, 0.999},
                {"layer_norm_eps", c->layer_norm_epsilon, 1e-30, 0.1},
                {"the number of labels", (double)c->labels.size, c->head == BERT_CLASSIFY ? 1 : 0, 65536}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!(rows[i].value >= rows[i].least && rows[i].value <= rows[i].most)) {
            return fail(ATTN_ERROR_ARGUMENT, "%s: %s is %g, from %g to %g was expected", where, rows[i].name,
                        rows[i].value, rows[i].least, rows[i].most);
        }
    }
    if (c->hidden_size % c->heads != 0) {
        return fail(ATTN_ERROR_ARGUMENT, "%s: hidden_size %d cannot be divided by %d heads", where, c->hidden_size, c->heads);
    }
    if ((int64_t)c->max_position_embeddings * c->hidden_size > 1 << 28) {
        return fail(ATTN_ERROR_ARGUMENT, "%s: %d positions of width %d are too many", where, c->max_position_embeddings,
                    c->hidden_size);
    }
    if (c->convolution != 0 && (c->convolution < 0 || c->convolution > BERT_MOST_CONVOLUTION || c->convolution % 2 == 0)) {
        return fail(ATTN_ERROR_ARGUMENT, "%s: convolution is %d; 0 (none) or an odd number of words up to %d was expected", where,
                    c->convolution, BERT_MOST_CONVOLUTION);
    }
    attn_status status = attention_span_check(c->span, c->attention_dropout, where);
    status = status ? status : check_token(c, where, "pad_token_id", c->pad_token_id);
    status = status ? status : check_token(c, where, "cls_token_id", c->cls_token_id);
    status = status ? status : check_token(c, where, "sep_token_id", c->sep_token_id);
    status = status ? status : check_token(c, where, "unk_token_id", c->unk_token_id);
    return status ? status : check_token(c, where, "mask_token_id", c->mask_token_id);
}

int bert_config_equal(const bert_config *a, const bert_config *b) {
    int same = a->vocab_size == b->vocab_size && a->hidden_size == b->hidden_size && a->layers == b->layers &&
               a->heads == b->heads && a->intermediate_size == b->intermediate_size &&
               a->max_position_embeddings == b->max_position_embeddings && a->type_vocab_size == b->type_vocab_size &&
               a->hidden_act == b->hidden_act && a->layer_norm_epsilon >= b->layer_norm_epsilon &&
               a->layer_norm_epsilon <= b->layer_norm_epsilon && a->head == b->head && a->pooling == b->pooling &&
               attention_span_equal(a->span, b->span) && a->convolution == b->convolution && a->letters == b->letters && a->labels.size == b->labels.size;
    for (size_t i = 0; same && i < a->labels.size; i++) {
        text_line one = vocabulary_piece(&a->labels, i), other = vocabulary_piece(&b->labels, i);
        same = one.length == other.length && memcmp(one.bytes, other.bytes, one.length) == 0;
    }
    return same;
}

/* --- reading --------------------------------------------------------------------- */

static attn_status read_int(const json_t *root, const char *path, const char *key, int standard, int *value) {
    const json_t *found = json_object_get(root, key);
    *value = standard;
    if (!found || json_is_null(found)) {
        return ATTN_OK;
    }
    json_int_t number = json_integer_value(found);
    if (!json_is_integer(found) || number < -1 || number > 1 << 30) {
        return fail(ATTN_ERROR_FORMAT, "%s: %s is not a whole number from 0 to 2^30", path, key);
    }
    *value = (int)number;
    return ATTN_OK;
}

static attn_status read_double(const json_t *root, const char *path, const char *key, double standard, double *value) {
    const json_t *found = json_object_get(root, key);
    *value = !found || json_is_null(found) ? standard : json_number_value(found);
    return !found || json_is_null(found) || json_is_number(found)
               ? ATTN_OK
               : fail(ATTN_ERROR_FORMAT, "%s: %s is not a number", path, key);
}

static attn_status read_activation(const json_t *root, const char *path, model_activation *kind) {
    const json_t *found = json_object_get(root, "hidden_act");
    const char *name = found ? json_string_value(found) : "gelu";
    name = name && strcmp(name, "swish") == 0 ? "silu" : name;
    for (size_t i = 0; name && i < sizeof ACTIVATIONS / sizeof *ACTIVATIONS; i++) {
        if (strcmp(name, ACTIVATIONS[i]) == 0) {
            *kind = (model_activation)i;
            return ATTN_OK;
        }
    }
    return fail(ATTN_ERROR_UNSUPPORTED, "%s: hidden_act is %.60s; relu, gelu or silu was expected", path,
                name ? name : "not a string");
}

/* What would change the computation and is not built here. */
static attn_status refuse_others(const json_t *root, const char *path) {
    const char *positions = json_string_value(json_object_get(root, "position_embedding_type"));
    if (positions && strcmp(positions, "absolute") != 0) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s: position_embedding_type is %.60s; absolute is supported", path, positions);
    }
    static const char *const SWITCHES[] = {"is_decoder", "add_cross_attention"};
    for (size_t i = 0; i < sizeof SWITCHES / sizeof *SWITCHES; i++) {
        if (json_is_true(json_object_get(root, SWITCHES[i]))) {
            return fail(ATTN_ERROR_UNSUPPORTED, "%s: %s is true; an encoder alone is supported", path, SWITCHES[i]);
        }
    }
    const char *problem = json_string_value(json_object_get(root, "problem_type"));
    if (problem && strcmp(problem, "single_label_classification") != 0) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s: problem_type is %.60s; single_label_classification is supported", path,
                    problem);
    }
    return ATTN_OK;
}

/* id2label, {"0": "name", ...}; without it LABEL_0 and LABEL_1, as transformers has it. */
static attn_status read_labels(const json_t *root, const char *path, vocabulary *labels) {
    static const text_line STANDARD[] = {{"LABEL_0", 7}, {"LABEL_1", 7}};
    const json_t *names = json_object_get(root, "id2label");
    size_t count = json_object_size(names);
    if (!names) {
        return vocabulary_build(STANDARD, 2, labels);
    }
    text_line *lines = memory_allocate(count, sizeof *lines);
    attn_status status = lines ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < count && !status; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "%zu", i);
        const json_t *name = json_object_get(names, key);
        if (!json_is_string(name)) {
            status = fail(ATTN_ERROR_FORMAT, "%s: id2label has no name for label %zu of %zu", path, i, count);
        } else {
            lines[i] = (text_line){json_string_value(name), json_string_length(name)};
        }
    }
    status = status ? status : vocabulary_build(lines, count, labels);
    memory_free(lines);
    return status;
}

static attn_status read_head(const json_t *root, const char *path, bert_config *c) {
    const char *name = json_string_value(json_array_get(json_object_get(root, "architectures"), 0));
    const char *pooling = json_string_value(json_object_get(root, "attn_pooling"));
    if (pooling && strcmp(pooling, "attention") != 0 && strcmp(pooling, "cls") != 0) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s: attn_pooling is %.60s; cls or attention was expected", path, pooling);
    }
    c->pooling = pooling && strcmp(pooling, "attention") == 0 ? BERT_POOL_ATTENTION : BERT_POOL_CLS;
    c->head = name && strcmp(name, ARCHITECTURES[BERT_MASKED]) == 0 ? BERT_MASKED : BERT_CLASSIFY;
    if (!pooling && c->head == BERT_CLASSIFY && (!name || strcmp(name, ARCHITECTURES[BERT_CLASSIFY]) != 0)) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s: its architecture is %.60s; %s or %s is supported", path,
                    name ? name : "not named", ARCHITECTURES[BERT_CLASSIFY], ARCHITECTURES[BERT_MASKED]);
    }
    return c->head == BERT_CLASSIFY ? read_labels(root, path, &c->labels) : ATTN_OK;
}

/* "bert" is transformers'; "attn_bert" has what it has not. */
static attn_status read_own(const json_t *root, const char *path, bert_config *c) {
    const char *type = json_string_value(json_object_get(root, "model_type"));
    const char *text = json_string_value(json_object_get(root, "attention"));
    char where[320];
    if (!type || strcmp(type, OWN_TYPE) != 0) {
        return ATTN_OK;
    }
    (void)snprintf(where, sizeof where, "%.300s: attention", path);
    attn_status status = read_int(root, path, "convolution", 0, &c->convolution);
    status = status ? status : read_int(root, path, "letters", 0, &c->letters);
    return status ? status
           : text ? attention_span_parse(text, where, &c->span)
                  : fail(ATTN_ERROR_FORMAT, "%s is missing; full, linear or window:N was expected", where);
}

static attn_status read_keys(const json_t *root, const char *path, bert_config *c) {
    const struct {
        const char *key;
        int standard;
        int *value;
    } rows[] = {{"vocab_size", 30522, &c->vocab_size},
                {"hidden_size", 768, &c->hidden_size},
                {"num_hidden_layers", 12, &c->layers},
                {"num_attention_heads", 12, &c->heads},
                {"intermediate_size", 3072, &c->intermediate_size},
                {"max_position_embeddings", 512, &c->max_position_embeddings},
                {"type_vocab_size", 2, &c->type_vocab_size},
                {"pad_token_id", 0, &c->pad_token_id},
                {"cls_token_id", TOKEN_NONE, &c->cls_token_id},
                {"sep_token_id", TOKEN_NONE, &c->sep_token_id},
                {"unk_token_id", TOKEN_NONE, &c->unk_token_id},
                {"mask_token_id", TOKEN_NONE, &c->mask_token_id}};
    attn_status status = refuse_others(root, path);
    for (size_t i = 0; i < sizeof rows / sizeof *rows && !status; i++) {
        status = read_int(root, path, rows[i].key, rows[i].standard, rows[i].value);
    }
    status = status ? status : read_double(root, path, "hidden_dropout_prob", 0.1, &c->hidden_dropout);
    status = status ? status : read_double(root, path, "attention_probs_dropout_prob", 0.1, &c->attention_dropout);
    status = status ? status : read_double(root, path, "layer_norm_eps", 1e-12, &c->layer_norm_epsilon);
    status = status ? status : read_activation(root, path, &c->hidden_act);
    status = status ? status : read_head(root, path, c);
    status = status ? status : read_own(root, path, c);
    return status ? status : bert_config_check(c, path);
}

/* The weights of the layers and tables, at two bytes each, must fit the file. */
static attn_status check_size(const char *directory, const char *path, const bert_config *c) {
    char *weights = file_join(directory, FOLDER_WEIGHTS);
    struct stat info;
    attn_status status = weights ? ATTN_OK : ATTN_ERROR_MEMORY;
    double width = c->hidden_size;
    double least = width * ((double)c->vocab_size + c->max_position_embeddings + c->letters) +
                   c->layers * (4 * width * width + 2 * width * c->intermediate_size);
    if (weights && stat(weights, &info) == 0 && 2 * least > (double)info.st_size) {
        status = fail(ATTN_ERROR_FORMAT, "%s calls for at least %.0f weights, which %s of %lld bytes cannot hold", path,
                      least, weights, (long long)info.st_size);
    }
    memory_free(weights);
    return status;
}

attn_status bert_config_read(const char *directory, bert_config *c) {
    *c = (bert_config){0};
    char *path = file_join(directory, FOLDER_CONFIG), *text = NULL;
    size_t size;
    attn_status status = path ? file_read(path, &text, &size) : ATTN_ERROR_MEMORY;
    json_error_t error;
    json_t *root = status ? NULL : json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!status && !json_is_object(root)) {
        status = root ? fail(ATTN_ERROR_FORMAT, "%s is not a JSON object", path)
                      : fail(ATTN_ERROR_FORMAT, "%s line %d is not valid JSON: %s", path, error.line, error.text);
    }
    status = status ? status : read_keys(root, path, c);
    status = status ? status : check_size(directory, path, c);
    json_decref(root);
    memory_free(text);
    memory_free(path);
    if (status) {
        bert_config_release(c);
    }
    return status;
}

/* --- writing --------------------------------------------------------------------- */

static int put_labels(json_t *root, const vocabulary *labels) {
    json_t *names = json_object(), *ids = json_object();
    int failed = !names || !ids;
    for (size_t i = 0; i < labels->size && !failed; i++) {
        char key[24];
        text_line name = vocabulary_piece(labels, i);
        (void)snprintf(key, sizeof key, "%zu", i);
        failed = json_object_set_new(names, key, json_stringn(name.bytes, name.length)) != 0 ||
                 json_object_set_new(ids, name.bytes, json_integer((json_int_t)i)) != 0;
    }
    failed |= json_object_set_new(root, "id2label", names) != 0;
    return failed | (json_object_set_new(root, "label2id", ids) != 0);
}

static json_t *to_json(const bert_config *c) {
    /* transformers must not open as its own what it would compute otherwise */
    int own = c->span.kind != ATTENTION_FULL || c->convolution > 0 || c->letters > 0;
    const char *name = c->pooling == BERT_POOL_ATTENTION ? "BertModel" : ARCHITECTURES[c->head];
    char span[ATTENTION_SPAN_TEXT];
    json_t *root = json_pack(
        "{s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:f, s:f, s:f, s:f, s:s, s:i, s:i, s:i, s:i, s:i, s:b, s:s}",
        "architectures", name, "model_type", own ? OWN_TYPE : "bert", "vocab_size", c->vocab_size, "hidden_size", c->hidden_size,
        "num_hidden_layers", c->layers, "num_attention_heads", c->heads, "intermediate_size", c->intermediate_size,
        "max_position_embeddings", c->max_position_embeddings, "type_vocab_size", c->type_vocab_size, "hidden_act",
        ACTIVATIONS[c->hidden_act], "hidden_dropout_prob", c->hidden_dropout, "attention_probs_dropout_prob",
        c->attention_dropout, "layer_norm_eps", c->layer_norm_epsilon, "initializer_range", 0.02,
        "position_embedding_type", "absolute", "pad_token_id", c->pad_token_id, "cls_token_id", c->cls_token_id,
        "sep_token_id", c->sep_token_id, "unk_token_id", c->unk_token_id, "mask_token_id", c->mask_token_id,
        "tie_word_embeddings", 1, "attn_pooling", c->pooling == BERT_POOL_ATTENTION ? "attention" : "cls");
    int failed = root && own && (json_object_set_new(root, "attention", json_string(attention_span_print(c->span, span))) ||
                                 json_object_set_new(root, "convolution", json_integer(c->convolution)) ||
                                 json_object_set_new(root, "letters", json_integer(c->letters)));
    if (failed || (root && c->head == BERT_CLASSIFY && put_labels(root, &c->labels))) {
        json_decref(root);
        root = NULL;
    }
    return root;
}

/* Refuses to put another shape beside weights; *keep: the file is right already. */
static attn_status look_at_old(const char *directory, const bert_config *c, int *keep) {
    static const char *const WEIGHTS[] = {FOLDER_WEIGHTS, FOLDER_TRAINING};
    bert_config old;
    *keep = bert_config_read(directory, &old) == ATTN_OK && bert_config_equal(&old, c);
    bert_config_release(&old);
    for (size_t i = 0; i < sizeof WEIGHTS / sizeof *WEIGHTS && !*keep; i++) {
        char *path = file_join(directory, WEIGHTS[i]);
        int stands = path && file_exists(path);
        memory_free(path);
        if (stands) {
            return fail(ATTN_ERROR_ARGUMENT, "%s holds the weights of another model (its " FOLDER_CONFIG
                        " differs); choose another folder", directory);
        }
    }
    return ATTN_OK;
}

attn_status bert_config_write(const char *directory, const bert_config *c) {
    attn_status status = file_make_directory(directory);
    char *path = file_join(directory, FOLDER_CONFIG);
    int keep = 0;
    status = status ? status : path ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (!status && file_exists(path)) {
        status = look_at_old(directory, c, &keep);
    }
    if (!status && !keep) {
        json_t *root = to_json(c);
        char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
        status = text ? file_replace(path, text, strlen(text)) : fail(ATTN_ERROR_MEMORY, "out of memory for %s", path);
        free(text);
        json_decref(root);
    }
    memory_free(path);
    return status;
}
