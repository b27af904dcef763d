/* The files of a BERT folder's tokenizer: vocab.txt with tokenizer_config.json, or
 * tokenizer.json, which newer versions of transformers write alone. */
#include <jansson.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "data/tokenizer_private.h"

static attn_status read_object(const char *path, json_t **object) {
    char *bytes;
    size_t size;
    json_error_t error;
    *object = NULL;
    attn_status status = file_read(path, &bytes, &size);
    if (status)
        return status;
    *object = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &error);
    memory_free(bytes);
    if (!*object)
        return fail(ATTN_ERROR_FORMAT, "%s line %d is not valid JSON: %s", path, error.line, error.text);
    return json_is_object(*object) ? ATTN_OK : fail(ATTN_ERROR_FORMAT, "%s is not a JSON object", path);
}

/* A switch that may be missing or null. */
static attn_status read_switch(const json_t *object, const char *path, const char *key, bool *value) {
    const json_t *found = json_object_get(object, key);
    if (!found || json_is_null(found))
        return ATTN_OK;
    if (!json_is_boolean(found))
        return fail(ATTN_ERROR_FORMAT, "%s: %s is not true or false", path, key);
    *value = json_is_true(found);
    return ATTN_OK;
}

/* BertTokenizer: accents go where letters become small, unless strip_accents says otherwise. */
static attn_status read_rules(const json_t *object, const char *path, const char *names[3], wordpiece_rules *rules) {
    attn_status status = read_switch(object, path, names[0], &rules->lower_case);
    rules->strip_accents = rules->lower_case;
    status = status ? status : read_switch(object, path, names[1], &rules->strip_accents);
    return status ? status : read_switch(object, path, names[2], &rules->chinese_apart);
}

/* {piece: id} as an array of pieces. */
static attn_status read_pieces(json_t *vocab, const char *path, vocabulary *v) {
    char *text = json_is_object(vocab) ? json_dumps(vocab, JSON_COMPACT) : NULL;
    if (!text)
        return fail(ATTN_ERROR_FORMAT, "%s: model.vocab is not an object of pieces and ids", path);
    attn_status status = vocabulary_parse(text, strlen(text), path, v);
    free(text);
    return status;
}

static attn_status load_tokenizer_json(tokenizer *t, const char *path) {
    static const char *names[] = {"lowercase", "strip_accents", "handle_chinese_chars"};
    json_t *root;
    attn_status status = read_object(path, &root);
    const json_t *normalizer = json_object_get(root, "normalizer"), *model = json_object_get(root, "model");
    const char *kind = json_string_value(json_object_get(model, "type"));
    const char *normal = json_string_value(json_object_get(normalizer, "type"));
    const char *mark = json_string_value(json_object_get(model, "continuing_subword_prefix"));
    if (!status && (!kind || strcmp(kind, "WordPiece") != 0 || (mark && strcmp(mark, "##") != 0)))
        status = fail(ATTN_ERROR_UNSUPPORTED, "%s: its model is %.40s; WordPiece with \"##\" is supported", path,
                      kind ? kind : "not named");
    if (!status && (!normal || strcmp(normal, "BertNormalizer") != 0))
        status = fail(ATTN_ERROR_UNSUPPORTED, "%s: its normalizer is %.40s; BertNormalizer is supported", path,
                      normal ? normal : "not named");
    status = status ? status : read_rules(normalizer, path, names, &t->rules);
    status = status ? status : read_pieces(json_object_get(model, "vocab"), path, &t->pieces);
    json_decref(root);
    return status;
}

attn_status tokenizer_load_wordpiece(tokenizer *t, const char *config, const char *vocab_txt,
                                     const char *tokenizer_json) {
    static const char *names[] = {"do_lower_case", "strip_accents", "tokenize_chinese_chars"};
    t->rules = (wordpiece_rules){true, true, true};
    if (!file_exists(vocab_txt))
        return load_tokenizer_json(t, tokenizer_json);
    attn_status status = ATTN_OK;
    if (file_exists(config)) {
        json_t *root;
        status = read_object(config, &root);
        status = status ? status : read_rules(root, config, names, &t->rules);
        json_decref(root);
    }
    return status ? status : wordpiece_load(vocab_txt, &t->pieces);
}

static attn_status save_object(const char *folder, const char *name, json_t *object) {
    char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    char *path = file_join(folder, name);
    json_decref(object);
    attn_status status = text && path ? file_replace(path, text, strlen(text))
                                      : fail(ATTN_ERROR_MEMORY, "out of memory while writing %s", name);
    free(text);
    memory_free(path);
    return status;
}

static json_t *special_tokens(void) {
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "cls_token", "[CLS]", "mask_token", "[MASK]", "pad_token", "[PAD]",
                     "sep_token", "[SEP]", "unk_token", "[UNK]");
}

attn_status tokenizer_save_wordpiece(const tokenizer *t, const char *folder) {
    char *path = file_join(folder, "vocab.txt");
    attn_status status = path ? wordpiece_save(&t->pieces, path) : ATTN_ERROR_MEMORY;
    memory_free(path);
    json_t *config = special_tokens();
    json_t *more = json_pack("{s:b, s:b, s:b, s:s}", "do_lower_case", (int)t->rules.lower_case, "strip_accents",
                             (int)t->rules.strip_accents, "tokenize_chinese_chars", (int)t->rules.chinese_apart,
                             "tokenizer_class", "BertTokenizer");
    if (!config || !more || json_object_update(config, more) != 0) {
        json_decref(config);
        config = NULL;
    }
    json_decref(more);
    if (status) {
        json_decref(config);
        return status;
    }
    status = save_object(folder, "tokenizer_config.json", config);
    return status ? status : save_object(folder, "special_tokens_map.json", special_tokens());
}
