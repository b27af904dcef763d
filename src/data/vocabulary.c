#include "data/vocabulary.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/utf8.h"

uint64_t hash_bytes(const char *bytes, size_t length) {
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001B3u;
    return hash ^ hash >> 29; /* the low bits choose the slot */
}

/* The slot that holds the piece, or the empty one where it would go. */
static size_t find_slot(const vocabulary *v, const char *piece, size_t length) {
    size_t slot = (size_t)hash_bytes(piece, length) & v->slot_mask;
    while (v->slots[slot]) {
        text_line there = vocabulary_piece(v, v->slots[slot] - 1);
        if (there.length == length && memcmp(there.bytes, piece, length) == 0)
            break;
        slot = (slot + 1) & v->slot_mask;
    }
    return slot;
}

int32_t vocabulary_find(const vocabulary *v, const char *piece, size_t length) {
    return (int32_t)v->slots[find_slot(v, piece, length)] - 1;
}

attn_status vocabulary_build(const text_line *pieces, size_t count, vocabulary *v) {
    *v = (vocabulary){0};
    if (count > VOCABULARY_LIMIT)
        return fail(ATTN_ERROR_FORMAT, "a vocabulary of %zu pieces; at most %u are supported", count,
                    VOCABULARY_LIMIT);
    size_t bytes = 0, slots = 16;
    for (size_t i = 0; i < count; i++)
        if (__builtin_add_overflow(bytes, pieces[i].length + 1, &bytes))
            return fail(ATTN_ERROR_FORMAT, "the pieces of a vocabulary are too long");
    while (slots < count * 2)
        slots *= 2;
    v->bytes = memory_allocate_raw(bytes, 1);
    v->starts = memory_allocate(count + 1, sizeof *v->starts);
    v->slots = memory_allocate(slots, sizeof *v->slots);
    v->slot_mask = slots - 1;
    attn_status status = v->bytes && v->starts && v->slots ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (size_t i = 0, at = 0; i < count && !status; i++) {
        size_t slot = find_slot(v, pieces[i].bytes, pieces[i].length);
        if (v->slots[slot]) {
            status = fail(ATTN_ERROR_FORMAT, "the piece \"%.*s\" is twice in a vocabulary",
                          (int)(pieces[i].length < 60 ? pieces[i].length : 60), pieces[i].bytes);
            break;
        }
        v->slots[slot] = (uint32_t)i + 1;
        if (pieces[i].length)
            memcpy(v->bytes + at, pieces[i].bytes, pieces[i].length);
        v->bytes[at + pieces[i].length] = 0;
        at += pieces[i].length + 1;
        v->starts[i + 1] = at;
        v->size = i + 1;
    }
    if (status)
        vocabulary_release(v);
    return status;
}

static int by_bytes(const void *left, const void *right) {
    const text_line *a = left, *b = right;
    size_t shorter = a->length < b->length ? a->length : b->length;
    int order = memcmp(a->bytes, b->bytes, shorter);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

attn_status vocabulary_build_labels(const text_line *labels, size_t count, vocabulary *v) {
    text_line *sorted = memory_allocate_raw(count, sizeof *sorted);
    size_t kept = 0;
    if (!sorted) {
        return ATTN_ERROR_MEMORY;
    }
    memcpy(sorted, labels, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_bytes);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || by_bytes(&sorted[kept - 1], &sorted[i]) != 0) {
            sorted[kept++] = sorted[i];
        }
    }
    attn_status status = vocabulary_build(sorted, kept, v);
    memory_free(sorted);
    return status;
}

void vocabulary_release(vocabulary *v) {
    memory_free(v->bytes);
    memory_free(v->starts);
    memory_free(v->slots);
    *v = (vocabulary){0};
}

/* Puts each key at its id; the lines point into the JSON object. */
static attn_status order_pieces(json_t *object, const char *name, text_line *pieces, size_t count) {
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || (size_t)id >= count)
            return fail(ATTN_ERROR_FORMAT, "%s gives the piece \"%.60s\" no id from 0 to %zu", name, key, count - 1);
        if (pieces[id].bytes)
            return fail(ATTN_ERROR_FORMAT, "%s gives the id %lld to \"%.60s\" and to \"%.60s\"", name, (long long)id,
                        pieces[id].bytes, key);
        pieces[id] = (text_line){key, strlen(key)};
    }
    return ATTN_OK;
}

static attn_status parse_any(const char *json, size_t size, const char *name, vocabulary *v) {
    *v = (vocabulary){0};
    json_error_t error;
    json_t *object = json_loadb(json, size, JSON_REJECT_DUPLICATES, &error);
    if (!object)
        return fail(ATTN_ERROR_FORMAT, "%s line %d is not valid JSON: %s", name, error.line, error.text);
    attn_status status = ATTN_OK;
    size_t count = json_object_size(object);
    text_line *pieces = NULL;
    if (!json_is_object(object) || count == 0 || count > VOCABULARY_LIMIT)
        status = fail(ATTN_ERROR_FORMAT, "%s is not an object of 1 to %u {piece: id}", name, VOCABULARY_LIMIT);
    if (!status) {
        pieces = memory_allocate(count, sizeof *pieces);
        status = pieces ? order_pieces(object, name, pieces, count) : ATTN_ERROR_MEMORY;
    }
    if (!status)
        status = vocabulary_build(pieces, count, v);
    memory_free(pieces);
    json_decref(object);
    return status;
}

/* --- the usual form, read without a tree (a tree takes a small model a tenth of its start) --------- */

typedef struct plain_object {
    const char *json;
    size_t size, at;
    char *text; /* [size] the strings, 0-terminated */
    size_t used;
    text_line *pieces; /* [room] by id */
    size_t room, count;
} plain_object;

/* The next character that is no white space, which is taken; 0 at the end. */
static char next_mark(plain_object *o) {
    while (o->at < o->size && strchr(" \t\r\n", o->json[o->at]) && o->json[o->at])
        o->at++;
    return o->at < o->size ? o->json[o->at++] : '\0';
}

/* The four digits of "\u2581"; 0 for what is none, or half of a pair. */
static uint32_t read_escape(const plain_object *o) {
    uint32_t codepoint = 0;
    for (size_t i = o->at; i < o->at + 4; i++) {
        char c = i < o->size ? o->json[i] : ' ', lower = (char)(c | 32);
        if (!(c >= '0' && c <= '9') && !(lower >= 'a' && lower <= 'f'))
            return 0;
        codepoint = codepoint << 4 | (uint32_t)(c <= '9' ? c - '0' : lower - 'a' + 10);
    }
    return codepoint >= 0xd800 && codepoint < 0xe000 ? 0 : codepoint;
}

/* A string behind its first quote. */
static bool read_piece(plain_object *o, text_line *piece) {
    char *begin = o->text + o->used, *to = begin;
    for (;;) {
        char c = o->at < o->size ? o->json[o->at++] : '\0';
        if ((unsigned char)c < ' ')
            return false;
        if (c == '"')
            break;
        if (c != '\\') {
            *to++ = c;
            continue;
        }
        c = o->at < o->size ? o->json[o->at++] : '\0';
        uint32_t codepoint = c == 'u' ? read_escape(o) : 0;
        if (codepoint) {
            to += utf8_encode(codepoint, to);
            o->at += 4;
        } else if (c == '"' || c == '\\') {
            *to++ = c;
        } else {
            return false;
        }
    }
    *piece = (text_line){begin, (size_t)(to - begin)};
    *to++ = '\0';
    o->used += (size_t)(to - begin);
    return true;
}

static bool read_pair(plain_object *o) {
    text_line piece;
    size_t id = 0, first;
    if (next_mark(o) != '"' || !read_piece(o, &piece) || next_mark(o) != ':')
        return false;
    (void)next_mark(o);
    first = --o->at;
    while (o->at < o->size && o->json[o->at] >= '0' && o->json[o->at] <= '9' && id < o->room)
        id = id * 10 + (size_t)(o->json[o->at++] - '0');
    if (o->at == first || (o->at > first + 1 && o->json[first] == '0') || id >= o->room || o->pieces[id].bytes)
        return false;
    o->pieces[id] = piece;
    o->count++;
    return true;
}

/* {"piece": id, ...} with every id from 0 once. False: it is of another form, or wrong. */
static bool read_plain(plain_object *o) {
    char mark = next_mark(o);
    if (mark != '{' || !utf8_is_valid(o->json, o->size))
        return false;
    do {
        if (!read_pair(o))
            return false;
        mark = next_mark(o);
    } while (mark == ',');
    for (size_t i = 0; i < o->count; i++)
        if (!o->pieces[i].bytes)
            return false;
    return mark == '}' && next_mark(o) == '\0' && o->json[o->size - 1] != '\0';
}

attn_status vocabulary_parse(const char *json, size_t size, const char *name, vocabulary *v) {
    *v = (vocabulary){0};
    /* a pair takes five bytes at least: "":0, */
    plain_object o = {.json = json, .size = size, .room = size / 5 < VOCABULARY_LIMIT ? size / 5 : VOCABULARY_LIMIT};
    o.text = memory_allocate_raw(size + 1, 1);
    o.pieces = memory_allocate(o.room, sizeof *o.pieces);
    attn_status status = o.text && o.pieces ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (!status)
        status = read_plain(&o) ? vocabulary_build(o.pieces, o.count, v) : ATTN_ERROR_FORMAT;
    if (status == ATTN_ERROR_FORMAT)
        status = parse_any(json, size, name, v); /* which says what is wrong, and where */
    memory_free(o.text);
    memory_free(o.pieces);
    return status;
}

attn_status vocabulary_load(const char *path, vocabulary *v) {
    *v = (vocabulary){0};
    char *bytes;
    size_t size;
    attn_status status = file_read(path, &bytes, &size);
    if (status)
        return status;
    status = vocabulary_parse(bytes, size, path, v);
    memory_free(bytes);
    return status;
}

attn_status vocabulary_save(const vocabulary *v, const char *path) {
    json_t *object = json_object();
    int failed = !object;
    for (size_t i = 0; i < v->size && !failed; i++) {
        json_t *id = json_integer((json_int_t)i);
        failed = !id || json_object_set_new(object, vocabulary_piece(v, i).bytes, id) != 0;
    }
    char *text = failed ? NULL : json_dumps(object, JSON_INDENT(2));
    json_decref(object);
    if (!text)
        return fail(ATTN_ERROR_MEMORY, "out of memory while writing %s", path);
    attn_status status = file_replace(path, text, strlen(text));
    free(text);
    return status;
}
