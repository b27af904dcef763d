/* The tokenizer's files in a model folder: source.spm and target.spm, vocab.json,
 * tokenizer_config.json and special_tokens_map.json, as transformers' MarianTokenizer
 * reads and writes them. */
#include <jansson.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "data/tokenizer_private.h"

#define BPE_FILE "tokenizer.json"

static const char *const model_names[2] = {"source.spm", "target.spm"};

/* --- loading ------------------------------------------------------------------- */

static attn_status load_sentencepiece(const char *folder, tokenizer *t) {
    for (int side = 0; side < 2; side++) {
        char *path = file_join(folder, model_names[side]);
        if (!path)
            return ATTN_ERROR_MEMORY;
        sentencepiece_file *file = &t->side[side];
        attn_status status = file_read(path, &file->bytes, &file->size);
        if (!status)
            status = sentencepiece_open(file->bytes, file->size, path, &file->model);
        memory_free(path);
        if (status)
            return status;
    }
    return ATTN_OK;
}

/* Reads the kind and its options; without a file it is a MarianTokenizer. */
static attn_status load_config(const char *path, tokenizer *t) {
    t->kind = TOKENIZER_SENTENCEPIECE;
    if (!file_exists(path))
        return ATTN_OK;
    char *bytes;
    size_t size;
    attn_status status = file_read(path, &bytes, &size);
    if (status)
        return status;
    json_error_t error;
    json_t *config = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &error);
    memory_free(bytes);
    if (!config)
        return fail(ATTN_ERROR_FORMAT, "%s line %d is not valid JSON: %s", path, error.line, error.text);
    const char *kind = json_string_value(json_object_get(config, "attn_tokenizer"));
    const json_t *join = json_object_get(config, "join_continuation");
    if (!json_is_object(config))
        status = fail(ATTN_ERROR_FORMAT, "%s is not a JSON object", path);
    else if (json_is_true(json_object_get(config, "separate_vocabs")))
        status = fail(ATTN_ERROR_UNSUPPORTED, "%s asks for separate_vocabs; one joint vocab.json is supported", path);
    else if (kind && strcmp(kind, "whitespace") != 0)
        status = fail(ATTN_ERROR_UNSUPPORTED, "%s names the attn_tokenizer \"%.60s\"; \"whitespace\" is known", path,
                      kind);
    else if (join && !json_is_boolean(join))
        status = fail(ATTN_ERROR_FORMAT, "%s: join_continuation is not true or false", path);
    if (!status && kind) {
        t->kind = TOKENIZER_WHITESPACE;
        t->join_continuation = json_is_true(join);
    }
    json_decref(config);
    return status;
}

/* A tokenizer.json of byte-pair encoding alone, or beside GPT-2's older files. */
static bool has_bpe(const char *folder) {
    char *model = file_join(folder, model_names[0]), *json = file_join(folder, BPE_FILE);
    bool found = model && json && !file_exists(model) && file_exists(json) && bpe_is_file(json);
    memory_free(model);
    memory_free(json);
    return found;
}

static attn_status load_bpe(const char *folder, tokenizer *t) {
    char *path = file_join(folder, BPE_FILE);
    attn_status status = path ? bpe_load(path, &t->pieces, &t->bpe) : ATTN_ERROR_MEMORY;
    if (!status) {
        t->kind = bpe_is_byte_level(t->bpe) ? TOKENIZER_BPE : TOKENIZER_CHARACTERS;
        status = tokenizer_finish(t, path);
    }
    memory_free(path);
    return status;
}

/* 1 if a folder holds a WordPiece vocabulary and none of Marian's. */
static int holds_wordpiece(const char *vocab, const char *vocab_txt, const char *tokenizer_json) {
    return !file_exists(vocab) && (file_exists(vocab_txt) || file_exists(tokenizer_json));
}

attn_status tokenizer_load(const char *folder, tokenizer **loaded) {
    *loaded = NULL;
    if (has_bpe(folder)) {
        tokenizer *made = memory_allocate(1, sizeof *made);
        attn_status status = made ? load_bpe(folder, made) : ATTN_ERROR_MEMORY;
        if (status)
            tokenizer_free(made);
        *loaded = status ? NULL : made;
        return status;
    }
    char *config = file_join(folder, "tokenizer_config.json");
    char *vocab = file_join(folder, "vocab.json");
    char *vocab_txt = file_join(folder, "vocab.txt");
    char *tokenizer_json = file_join(folder, "tokenizer.json");
    tokenizer *t = memory_allocate(1, sizeof *t);
    attn_status status = config && vocab && vocab_txt && tokenizer_json && t ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (!status && holds_wordpiece(vocab, vocab_txt, tokenizer_json)) {
        t->kind = TOKENIZER_WORDPIECE;
        status = tokenizer_load_wordpiece(t, config, vocab_txt, tokenizer_json);
    } else if (!status) {
        status = load_config(config, t);
        if (!status)
            status = vocabulary_load(vocab, &t->pieces);
    }
    if (!status)
        status = tokenizer_finish(t, t->kind != TOKENIZER_WORDPIECE ? vocab : file_exists(vocab_txt) ? vocab_txt : tokenizer_json);
    if (!status && t->kind == TOKENIZER_SENTENCEPIECE)
        status = load_sentencepiece(folder, t);
    memory_free(config);
    memory_free(vocab);
    memory_free(vocab_txt);
    memory_free(tokenizer_json);
    if (status) {
        tokenizer_free(t);
        return status;
    }
    *loaded = t;
    return ATTN_OK;
}

/* --- saving -------------------------------------------------------------------- */

static attn_status save_json(const char *folder, const char *name, json_t *object) {
    char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    json_decref(object);
    char *path = file_join(folder, name);
    attn_status status = ATTN_OK;
    if (!text || !path)
        status = fail(ATTN_ERROR_MEMORY, "out of memory while writing %s", name);
    else
        status = file_replace(path, text, strlen(text));
    free(text);
    memory_free(path);
    return status;
}

static json_t *special_tokens(void) {
    return json_pack("{s:s, s:s, s:s}", "eos_token", "</s>", "pad_token", "<pad>", "unk_token", "<unk>");
}

static attn_status save_config(const tokenizer *t, const char *folder) {
    json_t *config = special_tokens();
    json_t *more = t->kind == TOKENIZER_WHITESPACE
                       ? json_pack("{s:s, s:b}", "attn_tokenizer", "whitespace", "join_continuation",
                                   (int)t->join_continuation)
                       : json_pack("{s:i, s:b, s:n, s:n, s:{}, s:s}", "model_max_length", 512, "separate_vocabs", 0,
                                   "source_lang", "target_lang", "sp_model_kwargs", "tokenizer_class",
                                   "MarianTokenizer");
    if (!config || !more || json_object_update(config, more) != 0) {
        json_decref(config);
        config = NULL;
    }
    json_decref(more);
    return save_json(folder, "tokenizer_config.json", config);
}

/* As it came; what it does not say, transformers finds in the folder's config. */
static attn_status save_bpe(const tokenizer *t, const char *folder) {
    size_t size;
    const char *bytes = bpe_file(t->bpe, &size);
    char *path = file_join(folder, BPE_FILE);
    attn_status status = path ? file_replace(path, bytes, size) : ATTN_ERROR_MEMORY;
    memory_free(path);
    json_t *config = json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                               "clean_up_tokenization_spaces", 0);
    const struct {
        const char *key;
        int32_t id;
    } tokens[] = {{"eos_token", t->eos}, {"unk_token", t->unk}, {"pad_token", t->pad}};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens && config; i++)
        if (tokens[i].id >= 0 &&
            json_object_set_new(config, tokens[i].key,
                                json_string(vocabulary_piece(&t->pieces, (size_t)tokens[i].id).bytes)))
            status = ATTN_ERROR_MEMORY;
    return status ? (json_decref(config), status) : save_json(folder, "tokenizer_config.json", config);
}

attn_status tokenizer_save(const tokenizer *t, const char *folder) {
    if (t->bpe)
        return save_bpe(t, folder);
    attn_status status = ATTN_OK;
    if (t->kind == TOKENIZER_WORDPIECE)
        return tokenizer_save_wordpiece(t, folder);
    for (int side = 0; side < 2 && !status && t->kind == TOKENIZER_SENTENCEPIECE; side++) {
        char *path = file_join(folder, model_names[side]);
        status = path ? file_replace(path, t->side[side].bytes, t->side[side].size) : ATTN_ERROR_MEMORY;
        memory_free(path);
    }
    char *vocab = status ? NULL : file_join(folder, "vocab.json");
    if (!status)
        status = vocab ? vocabulary_save(&t->pieces, vocab) : ATTN_ERROR_MEMORY;
    memory_free(vocab);
    if (!status)
        status = save_config(t, folder);
    if (!status)
        status = save_json(folder, "special_tokens_map.json", special_tokens());
    return status;
}
