/* tokenizer.json as the tokenizers library writes it, for byte-pair encoding; and the one that
 * a vocabulary of characters becomes. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "data/bpe_private.h"

/* --- reading ------------------------------------------------------------------------ */

static attn_status refuse(const char *path, const char *what) {
    return fail(ATTN_ERROR_UNSUPPORTED, "%s: %s; byte-level BPE (as GPT-2) and plain characters are supported", path, what);
}

/* Puts each piece at its id. */
static attn_status take_piece(const char *path, text_line *list, size_t size, const char *piece, size_t length,
                              const json_t *id) {
    json_int_t at = json_integer_value(id);
    if (!json_is_integer(id) || at < 0 || (size_t)at >= size) {
        return fail(ATTN_ERROR_FORMAT, "%s: the piece \"%.60s\" has no id from 0 to %zu", path, piece, size - 1);
    }
    if (list[at].bytes && (list[at].length != length || memcmp(list[at].bytes, piece, length) != 0)) {
        return fail(ATTN_ERROR_FORMAT, "%s: the id %lld has two pieces, \"%.60s\" and \"%.60s\"", path, (long long)at,
                    list[at].bytes, piece);
    }
    list[at] = (text_line){piece, length};
    return ATTN_OK;
}

static attn_status read_pieces(const char *path, const json_t *root, const json_t *vocab, vocabulary *pieces) {
    json_t *added = json_object_get(root, "added_tokens"), *token;
    const char *piece;
    json_t *id;
    size_t index, size = json_object_size(vocab) + json_array_size(added), count = 0;
    text_line *list = memory_allocate(size + 1, sizeof *list);
    attn_status status = list ? ATTN_OK : ATTN_ERROR_MEMORY;
    json_object_foreach((json_t *)(uintptr_t)vocab, piece, id) {
        status = status ? status : take_piece(path, list, size, piece, strlen(piece), id);
    }
    json_array_foreach(added, index, token) {
        const char *content = json_string_value(json_object_get(token, "content"));
        if (!status && !content) {
            status = fail(ATTN_ERROR_FORMAT, "%s: added token %zu has no content", path, index);
        }
        status = status ? status : take_piece(path, list, size, content, strlen(content), json_object_get(token, "id"));
    }
    while (!status && count < size && list[count].bytes) {
        count++;
    }
    for (size_t i = count; i < size && !status; i++) {
        if (list[i].bytes) {
            status = fail(ATTN_ERROR_FORMAT, "%s: there is no piece of id %zu", path, count);
        }
    }
    status = status ? status : vocabulary_build(list, count, pieces);
    memory_free(list);
    return status;
}

static void put_merge(bpe *b, bpe_merge merge) {
    size_t slot = bpe_hash(merge.left, merge.right) & b->slot_mask;
    while (b->slots[slot].rank) {
        if (b->slots[slot].left == merge.left && b->slots[slot].right == merge.right) {
            return; /* the first of equals counts */
        }
        slot = (slot + 1) & b->slot_mask;
    }
    b->slots[slot] = merge;
}

/* "a b" or ["a", "b"]. */
static attn_status read_merge(const char *path, const vocabulary *pieces, const json_t *item, size_t index, bpe *b) {
    const char *pair = json_string_value(item), *left = json_string_value(json_array_get(item, 0));
    const char *right = json_string_value(json_array_get(item, 1)), *space = pair ? strchr(pair, ' ') : NULL;
    size_t left_length = space ? (size_t)(space - pair) : left ? strlen(left) : 0;
    left = space ? pair : left;
    right = space ? space + 1 : right;
    if (!left || !right) {
        return fail(ATTN_ERROR_FORMAT, "%s: merge %zu is not two pieces", path, index);
    }
    size_t right_length = strlen(right);
    char *joined = memory_allocate_raw(left_length + right_length + 1, 1);
    if (!joined) {
        return ATTN_ERROR_MEMORY;
    }
    memcpy(joined, left, left_length);
    memcpy(joined + left_length, right, right_length + 1);
    bpe_merge merge = {vocabulary_find(pieces, left, left_length), vocabulary_find(pieces, right, right_length),
                       vocabulary_find(pieces, joined, left_length + right_length), (uint32_t)index + 1};
    memory_free(joined);
    if (merge.left < 0 || merge.right < 0 || merge.joined < 0) {
        return fail(ATTN_ERROR_FORMAT, "%s: merge %zu names a piece that the vocabulary lacks", path, index);
    }
    put_merge(b, merge);
    return ATTN_OK;
}

static attn_status read_merges(const char *path, const json_t *merges, const vocabulary *pieces, bpe *b) {
    size_t index, slots = 16;
    json_t *item;
    while (slots < 2 * json_array_size(merges) + 2) {
        slots *= 2;
    }
    b->slots = memory_allocate(slots, sizeof *b->slots);
    b->slot_mask = slots - 1;
    attn_status status = b->slots ? ATTN_OK : ATTN_ERROR_MEMORY;
    json_array_foreach(merges, index, item) {
        status = status ? status : read_merge(path, pieces, item, index, b);
    }
    return status;
}

static int is_type(const json_t *part, const char *type) {
    const char *name = json_string_value(json_object_get(part, "type"));
    return name && strcmp(name, type) == 0;
}

static attn_status read_root(const char *path, const json_t *root, vocabulary *pieces, bpe *b) {
    const json_t *model = json_object_get(root, "model"), *cut = json_object_get(root, "pre_tokenizer");
    const json_t *vocab = json_object_get(model, "vocab"), *merges = json_object_get(model, "merges");
    const json_t *normalizer = json_object_get(root, "normalizer");
    if (!is_type(model, "BPE") || !json_is_object(vocab) || !json_is_array(merges)) {
        return refuse(path, "its model is not BPE with a vocabulary and merges");
    }
    if (normalizer && !json_is_null(normalizer)) {
        return refuse(path, "it normalizes the text");
    }
    b->byte_level = is_type(cut, "ByteLevel");
    if (b->byte_level && (json_is_true(json_object_get(cut, "add_prefix_space")) ||
                          json_is_false(json_object_get(cut, "use_regex")))) {
        return refuse(path, "its pre_tokenizer adds a space or has a pattern of its own");
    }
    if (!b->byte_level && ((cut && !json_is_null(cut)) || json_array_size(merges) > 0)) {
        return refuse(path, "its pre_tokenizer is not ByteLevel");
    }
    attn_status status = read_pieces(path, root, vocab, pieces);
    return status ? status : read_merges(path, merges, pieces, b);
}

bool bpe_is_file(const char *path) {
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, NULL);
    bool found = is_type(json_object_get(root, "model"), "BPE");
    json_decref(root);
    return found;
}

attn_status bpe_load(const char *path, vocabulary *pieces, bpe **loaded) {
    *loaded = NULL;
    bpe *b = memory_allocate(1, sizeof *b);
    json_error_t error;
    json_t *root = NULL;
    attn_status status = b ? file_read(path, &b->file, &b->file_size) : ATTN_ERROR_MEMORY;
    if (!status) {
        root = json_loadb(b->file, b->file_size, JSON_ALLOW_NUL, &error);
        status = root ? read_root(path, root, pieces, b)
                      : fail(ATTN_ERROR_FORMAT, "%s:%d: not valid JSON: %s", path, error.line, error.text);
    }
    json_decref(root);
    if (status) {
        bpe_free(b);
        return status;
    }
    *loaded = b;
    return ATTN_OK;
}

/* --- a vocabulary of characters ------------------------------------------------------- */

static json_t *added_token(const char *content, size_t id) {
    return json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", (int)id, "content", content, "single_word", 0, "lstrip", 0,
                     "rstrip", 0, "normalized", 0, "special", 1);
}

/* The tokenizers library cuts a text without a pre_tokenizer into characters where there are
 * no merges, and Fuse puts them together without spaces. */
static json_t *characters_object(const vocabulary *pieces) {
    json_t *vocab = json_object();
    int failed = !vocab;
    for (size_t i = 0; i < pieces->size && !failed; i++) {
        failed = json_object_set_new(vocab, vocabulary_piece(pieces, i).bytes, json_integer((json_int_t)i));
    }
    if (failed) {
        json_decref(vocab);
        return NULL;
    }
    return json_pack("{s:s, s:n, s:n, s:[o, o, o], s:n, s:n, s:n, s:{s:s}, s:{s:s, s:n, s:s, s:n, s:n, s:b, s:b, s:o, s:[]}}",
                     "version", "1.0", "truncation", "padding", "added_tokens", added_token("</s>", 0),
                     added_token("<unk>", 1), added_token("<pad>", pieces->size - 1), "normalizer", "pre_tokenizer",
                     "post_processor", "decoder", "type", "Fuse", "model", "type", "BPE", "dropout", "unk_token", "<unk>",
                     "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0, "vocab", vocab,
                     "merges");
}

static attn_status list_characters(const text_line *lines, size_t count, text_line **list, size_t *found) {
    enum { CODE_POINTS = 0x110000 };
    text_line *seen = memory_allocate(CODE_POINTS, sizeof *seen), *out = NULL;
    size_t used = 2;
    if (!seen) {
        return ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < lines[i].length;) {
            uint32_t c;
            size_t bytes = utf8_decode(lines[i].bytes + at, lines[i].length - at, &c);
            used += !seen[c].bytes;
            seen[c] = (text_line){lines[i].bytes + at, bytes};
            at += bytes;
        }
    }
    out = memory_allocate(used + 1, sizeof *out);
    if (out) {
        out[0] = (text_line){"</s>", 4};
        out[1] = (text_line){"<unk>", 5};
        *found = 2;
        for (size_t c = 0; c < CODE_POINTS; c++) {
            if (seen[c].bytes) {
                out[(*found)++] = seen[c];
            }
        }
        out[(*found)++] = (text_line){"<pad>", 5};
    }
    memory_free(seen);
    *list = out;
    return out ? ATTN_OK : ATTN_ERROR_MEMORY;
}

attn_status bpe_characters(const text_line *lines, size_t count, vocabulary *pieces, bpe **made) {
    text_line *list;
    size_t found = 0;
    *made = NULL;
    attn_status status = list_characters(lines, count, &list, &found);
    status = status ? status : vocabulary_build(list, found, pieces);
    memory_free(list);
    bpe *b = status ? NULL : memory_allocate(1, sizeof *b);
    json_t *object = status ? NULL : characters_object(pieces);
    char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    json_decref(object);
    if (!status && b && text) {
        b->file_size = strlen(text);
        b->file = memory_copy_bytes(text, b->file_size);
    }
    free(text);
    if (status || !b || !b->file) {
        bpe_free(b);
        return status ? status : fail(ATTN_ERROR_MEMORY, "out of memory for a vocabulary of characters");
    }
    *made = b;
    return ATTN_OK;
}
