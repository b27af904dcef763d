#include "data/wordpiece.h"

#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/utf8.h"

enum { LONGEST_WORD = 100 /* characters, as BertTokenizer */ };

static bool is_chinese(uint32_t c) {
    static const uint32_t RANGES[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
                                         {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
    for (size_t i = 0; i < sizeof RANGES / sizeof *RANGES; i++) {
        if (c >= RANGES[i][0] && c <= RANGES[i][1]) {
            return true;
        }
    }
    return false;
}

static bool is_blank(uint32_t c) {
    return c == '\t' || c == '\n' || c == '\r' || utf8_is_space(c);
}

static bool is_dropped(uint32_t c) {
    return c == 0 || c == UTF8_REPLACEMENT || (utf8_is_format(c) && c != '\t' && c != '\n' && c != '\r');
}

/* --- words ----------------------------------------------------------------------- */

typedef struct word_maker {
    char *bytes;
    size_t length, capacity;
    wordpiece_take take;
    void *context;
} word_maker;

static attn_status put(word_maker *m, uint32_t c) {
    attn_status status = memory_grow(&m->bytes, &m->capacity, m->length + 4, 1);
    if (!status) {
        m->length += utf8_encode(c, m->bytes + m->length);
    }
    return status;
}

static attn_status end_word(word_maker *m) {
    attn_status status = m->length ? m->take(m->context, m->bytes, m->length) : ATTN_OK;
    m->length = 0;
    return status;
}

/* One character that is kept: part of a word, or a word of its own. */
static attn_status put_character(word_maker *m, const wordpiece_rules *rules, uint32_t c) {
    c = rules->lower_case ? utf8_codepoint_lower(c) : c;
    bool alone = utf8_is_punctuation(c) || (rules->chinese_apart && is_chinese(c));
    attn_status status = alone ? end_word(m) : ATTN_OK;
    status = status ? status : put(m, c);
    return status || !alone ? status : end_word(m);
}

attn_status wordpiece_words(const wordpiece_rules *rules, const char *text, size_t length, wordpiece_take take,
                            void *context) {
    word_maker m = {.take = take, .context = context};
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < length && !status;) {
        uint32_t c, parts[3];
        i += utf8_decode(text + i, length - i, &c);
        if (is_dropped(c)) {
            continue;
        }
        if (is_blank(c)) {
            status = end_word(&m);
            continue;
        }
        /* A Chinese character of the compatibility block is set apart before it is decomposed. */
        bool apart = rules->chinese_apart && is_chinese(c);
        int count = 1;
        parts[0] = c;
        if (rules->strip_accents) {
            count = utf8_without_marks(c, parts);
        }
        status = apart ? end_word(&m) : ATTN_OK;
        for (int k = 0; k < count && !status; k++) {
            status = put_character(&m, rules, parts[k]);
        }
        status = status || !apart ? status : end_word(&m);
    }
    status = status ? status : end_word(&m);
    memory_free(m.bytes);
    return status;
}

/* --- pieces ---------------------------------------------------------------------- */

/* The longest piece at the start of `rest`, 0 bytes if there is none. piece has room for
 * "##" and the rest. */
static size_t longest_piece(const vocabulary *v, const char *rest, size_t length, bool inside, char *piece,
                            int32_t *id) {
    size_t mark = inside ? 2 : 0;
    memcpy(piece, "##", mark);
    memcpy(piece + mark, rest, length);
    for (size_t all = length; length > 0; length--) {
        bool whole = length == all || ((unsigned char)rest[length] & 0xC0) != 0x80;
        *id = whole ? vocabulary_find(v, piece, mark + length) : -1;
        if (*id >= 0) {
            return length;
        }
    }
    return 0;
}

attn_status wordpiece_ids(const vocabulary *v, const char *word, size_t length, int32_t unknown,
                          attn_status (*take)(void *context, int32_t id), void *context) {
    int32_t ids[LONGEST_WORD];
    char piece[2 + 4 * LONGEST_WORD];
    size_t characters = 0, count = 0;
    for (size_t i = 0; i < length && characters <= LONGEST_WORD; characters++) {
        uint32_t c;
        i += utf8_decode(word + i, length - i, &c);
    }
    for (size_t at = 0; at < length && characters <= LONGEST_WORD; count++) {
        size_t taken = longest_piece(v, word + at, length - at, at > 0, piece, &ids[count]);
        if (!taken) {
            return take(context, unknown);
        }
        at += taken;
    }
    if (characters > LONGEST_WORD) {
        return take(context, unknown);
    }
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < count && !status; i++) {
        status = take(context, ids[i]);
    }
    return status;
}

/* --- vocab.txt ------------------------------------------------------------------- */

attn_status wordpiece_load(const char *path, vocabulary *v) {
    text_options options;
    text_lines lines;
    text_options_defaults(&options);
    attn_status status = text_lines_read(path, &options, &lines);
    if (status) {
        return status;
    }
    status = vocabulary_build(lines.lines, lines.count, v);
    text_lines_release(&lines);
    return status ? fail_within(status, "%s", path) : ATTN_OK;
}

attn_status wordpiece_save(const vocabulary *v, const char *path) {
    size_t size = v->starts[v->size], used = 0;
    char *text = memory_allocate_raw(size, 1);
    if (!text) {
        return ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < v->size; i++) {
        text_line piece = vocabulary_piece(v, i);
        memcpy(text + used, piece.bytes, piece.length);
        used += piece.length;
        text[used++] = '\n';
    }
    attn_status status = file_replace(path, text, used);
    memory_free(text);
    return status;
}
