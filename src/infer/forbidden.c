/* Pieces are kept sorted, so that those which begin with the rest of a word are a range. */
#include "infer/forbidden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

#define WORD_START "\xE2\x96\x81" /* U+2581 */

typedef struct numbered_piece {
    char *text; /* with U+2581 for a space */
    int32_t id;
} numbered_piece;

struct forbidden_words {
    numbered_piece *sorted; /* [pieces] by text */
    char **pieces;          /* [pieces] by id; owned by sorted */
    size_t piece_count;
    char **words; /* [count], spaces as U+2581, none at the ends */
    size_t count, longest;
};

/* Whether a word goes on over this character. */
static int is_letter(uint32_t c) {
    if (c < 0x80) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    }
    int mark = (c >= 0xA0 && c < 0xC0) || c == 0xD7 || c == 0xF7 || (c >= 0x2000 && c <= 0x2BFF);
    return !mark && !utf8_is_space(c) && utf8_codepoint_width(c) != 2;
}

/* 1 if no letter stands at the text's start. */
static int ends_before(const char *text) {
    uint32_t c;
    return *text == '\0' || (utf8_decode(text, strlen(text), &c), !is_letter(c));
}

/* 1 if no letter stands at the end of the first `length` bytes. */
static int begins_after(const char *text, size_t length) {
    uint32_t c;
    size_t at = length;
    if (length == 0) {
        return 1;
    }
    do {
        at--;
    } while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80);
    (void)utf8_decode(text + at, length - at, &c);
    return !is_letter(c);
}

/* A word that begins with a mark or a wide character needs no gap before it. */
static int may_begin(const char *word, const char *text, size_t length) {
    return ends_before(word) || begins_after(text, length);
}

static int may_end(const char *word, const char *behind) {
    return begins_after(word, strlen(word)) || ends_before(behind);
}

/* --- making ---------------------------------------------------------------------- */

static int by_text(const void *a, const void *b) {
    return strcmp(((const numbered_piece *)a)->text, ((const numbered_piece *)b)->text);
}

static char *joined(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    char *text = memory_allocate_raw(n + m + 1, 1);
    if (text) {
        memcpy(text, a, n);
        memcpy(text + n, b, m + 1);
    }
    return text;
}

static attn_status list_pieces(const tokenizer *t, forbidden_words *f) {
    size_t count = tokenizer_vocabulary_size(t);
    const char *before = tokenizer_get_kind(t) == TOKENIZER_WHITESPACE ? WORD_START : "";
    f->sorted = memory_allocate(count, sizeof *f->sorted);
    f->pieces = memory_allocate(count, sizeof *f->pieces);
    if (!f->sorted || !f->pieces) {
        return ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        int special = (int32_t)i == tokenizer_eos(t) || (int32_t)i == tokenizer_pad(t);
        f->sorted[i] = (numbered_piece){special ? memory_copy_string("") : joined(before, tokenizer_piece(t, (int32_t)i)),
                                        (int32_t)i};
        f->pieces[i] = f->sorted[i].text;
        f->piece_count++;
        if (!f->pieces[i]) {
            return ATTN_ERROR_MEMORY;
        }
    }
    qsort(f->sorted, count, sizeof *f->sorted, by_text);
    return ATTN_OK;
}

/* The word as the pieces would spell it: normalised like any text, where all is known. */
static attn_status spell(const tokenizer *t, const char *word, forbidden_words *f) {
    id_buffer ids = {0};
    char *text = memory_copy_string("");
    attn_status status = text ? tokenizer_encode(t, TOKENIZER_TARGET, word, strlen(word), &ids) : ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < ids.count && !status; i++) {
        char *longer = joined(text, ids.ids[i] == tokenizer_unk(t) ? "" : f->pieces[ids.ids[i]]);
        memory_free(text);
        text = longer;
        status = text ? ATTN_OK : ATTN_ERROR_MEMORY;
    }
    id_buffer_release(&ids);
    if (!status) {
        size_t mark = strlen(WORD_START), length = strlen(text);
        while (length >= mark && memcmp(text, WORD_START, mark) == 0) {
            memmove(text, text + mark, length - mark + 1);
            length -= mark;
        }
        if (length) {
            f->words[f->count++] = text;
            f->longest = length > f->longest ? length : f->longest;
            return ATTN_OK;
        }
    }
    memory_free(text);
    return status;
}

attn_status forbidden_words_new(const tokenizer *t, const char *const *words, size_t count, forbidden_words **made) {
    *made = NULL;
    forbidden_words *f = memory_allocate(1, sizeof *f);
    if (!f) {
        return ATTN_ERROR_MEMORY;
    }
    f->words = memory_allocate(count, sizeof *f->words);
    attn_status status = f->words ? list_pieces(t, f) : ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < count && !status; i++) {
        status = utf8_is_valid(words[i], strlen(words[i]))
                     ? spell(t, words[i], f)
                     : fail(ATTN_ERROR_ARGUMENT, "forbidden word %zu is not valid UTF-8", i + 1);
    }
    if (status) {
        forbidden_words_free(f);
        return status;
    }
    *made = f;
    return ATTN_OK;
}

void forbidden_words_free(forbidden_words *f) {
    if (f) {
        for (size_t i = 0; i < f->piece_count; i++) {
            memory_free(f->sorted[i].text);
        }
        for (size_t i = 0; i < f->count; i++) {
            memory_free(f->words[i]);
        }
        memory_free(f->sorted);
        memory_free(f->pieces);
        memory_free(f->words);
        memory_free(f);
    }
}

/* --- blocking -------------------------------------------------------------------- */

/* The first sorted piece that is not below `start`. */
static size_t first_from(const forbidden_words *f, const char *start) {
    size_t low = 0, high = f->piece_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(f->sorted[middle].text, start) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Blocks the pieces that begin with `rest`, the end of `word`. */
static void block_range(const forbidden_words *f, const char *word, const char *rest, float *values) {
    size_t length = strlen(rest);
    for (size_t i = first_from(f, rest); i < f->piece_count && strncmp(f->sorted[i].text, rest, length) == 0; i++) {
        if (may_end(word, f->sorted[i].text + length)) {
            values[f->sorted[i].id] = -INFINITY;
        }
    }
}

/* Blocks the pieces that hold the word behind their first byte. */
static void block_inside(const forbidden_words *f, const char *word, float *values) {
    for (size_t i = 0; i < f->piece_count; i++) {
        const char *text = f->sorted[i].text, *at = *text ? strstr(text + 1, word) : NULL;
        for (; at; at = strstr(at + 1, word)) {
            if (may_begin(word, text, (size_t)(at - text)) && may_end(word, at + strlen(word))) {
                values[f->sorted[i].id] = -INFINITY;
                break;
            }
        }
    }
}

/* The end of the text of ids, at least `wanted` bytes if there are so many; its length. */
static size_t text_end(const forbidden_words *f, const int32_t *ids, int32_t count, size_t wanted, char *text, size_t room) {
    size_t length = 0;
    while (count > 0 && length < wanted) {
        const char *piece = f->pieces[ids[--count]];
        size_t size = strlen(piece), taken = size < room - length ? size : room - length;
        memmove(text + taken, text, length);
        memcpy(text, piece + size - taken, taken);
        length += taken;
    }
    return length;
}

enum { TEXT_ROOM = 1024 };

void forbidden_words_block(const forbidden_words *f, const int32_t *ids, int32_t count, float *values) {
    char text[TEXT_ROOM];
    size_t wanted = f->longest + 4 < TEXT_ROOM ? f->longest + 4 : TEXT_ROOM;
    size_t length = text_end(f, ids, count, wanted, text, TEXT_ROOM);
    for (size_t i = 0; i < f->count; i++) {
        const char *word = f->words[i];
        size_t size = strlen(word);
        block_inside(f, word, values);
        for (size_t known = 0; known < size && known <= length; known++) {
            if (memcmp(text + length - known, word, known) == 0 && may_begin(word, text, length - known)) {
                block_range(f, word, word + known, values);
            }
        }
    }
}
