#include "data/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "data/bpe_private.h"

bool bpe_is_byte_level(const bpe *b) {
    return b->byte_level;
}

const char *bpe_file(const bpe *b, size_t *size) {
    *size = b->file_size;
    return b->file;
}

void bpe_free(bpe *b) {
    if (b) {
        memory_free(b->slots);
        memory_free(b->file);
        memory_free(b);
    }
}

/* --- bytes as characters ---------------------------------------------------------- */

/* GPT-2's: printable bytes stand for themselves, the others for U+0100 on, in order. */
uint32_t bpe_character_of_byte(unsigned char byte) {
    uint32_t others = 0;
    for (unsigned c = 0; c <= byte; c++) {
        int printable = (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || c >= 174;
        if (c == byte) {
            return printable ? c : 256 + others;
        }
        others += !printable;
    }
    return 0;
}

static int byte_of_character(uint32_t c) {
    for (unsigned byte = 0; byte < 256 && c < 512; byte++) {
        if (bpe_character_of_byte((unsigned char)byte) == c) {
            return (int)byte;
        }
    }
    return -1;
}

/* --- merging ---------------------------------------------------------------------- */

static const bpe_merge *find_merge(const bpe *b, int32_t left, int32_t right) {
    for (size_t slot = bpe_hash(left, right) & b->slot_mask;; slot = (slot + 1) & b->slot_mask) {
        const bpe_merge *m = &b->slots[slot];
        if (m->rank == 0 || (m->left == left && m->right == right)) {
            return m->rank ? m : NULL;
        }
    }
}

/* Merges ids[first ..] until no pair of neighbours is in the file. */
static void merge_word(const bpe *b, id_buffer *ids, size_t first) {
    for (;;) {
        const bpe_merge *best = NULL;
        for (size_t i = first; i + 1 < ids->count; i++) {
            const bpe_merge *m = find_merge(b, ids->ids[i], ids->ids[i + 1]);
            best = m && (!best || m->rank < best->rank) ? m : best;
        }
        if (!best) {
            return;
        }
        size_t kept = first;
        for (size_t i = first; i < ids->count; i++, kept++) {
            int joins = i + 1 < ids->count && ids->ids[i] == best->left && ids->ids[i + 1] == best->right;
            ids->ids[kept] = joins ? best->joined : ids->ids[i];
            i += (size_t)joins;
        }
        ids->count = kept;
    }
}

static attn_status append(id_buffer *ids, int32_t id) {
    attn_status status = memory_grow(&ids->ids, &ids->capacity, ids->count + 1, sizeof *ids->ids);
    if (!status) {
        ids->ids[ids->count++] = id;
    }
    return status;
}

static attn_status append_piece(const vocabulary *pieces, const char *piece, size_t length, int32_t unk, id_buffer *ids) {
    int32_t id = vocabulary_find(pieces, piece, length);
    id = id < 0 ? unk : id;
    return id < 0 ? ATTN_OK : append(ids, id);
}

/* --- GPT-2's pattern ---------------------------------------------------------------- */

typedef enum character_kind { KIND_SPACE, KIND_LETTER, KIND_NUMBER, KIND_OTHER } character_kind;

static int is_white(uint32_t c) {
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static character_kind kind_at(const char *text, size_t length, size_t *bytes) {
    uint32_t c;
    *bytes = utf8_decode(text, length, &c);
    return is_white(c) ? KIND_SPACE : utf8_is_letter(c) ? KIND_LETTER : utf8_is_number(c) ? KIND_NUMBER : KIND_OTHER;
}

/* Bytes of the run of one kind; *last: of its last character. */
static size_t run_of(const char *text, size_t length, character_kind kind, size_t *last) {
    size_t at = 0, bytes;
    *last = 0;
    while (at < length && kind_at(text + at, length - at, &bytes) == kind) {
        at += bytes;
        *last = bytes;
    }
    return at;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t next_part(const char *text, size_t length) {
    static const char *const ENDINGS[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof ENDINGS / sizeof *ENDINGS; i++) {
        size_t n = strlen(ENDINGS[i]);
        if (length >= n && memcmp(text, ENDINGS[i], n) == 0) {
            return n;
        }
    }
    size_t bytes, last, space = text[0] == ' ' && length > 1;
    character_kind kind = kind_at(text + space, length - space, &bytes);
    if (kind != KIND_SPACE) {
        return space + run_of(text + space, length - space, kind, &last);
    }
    size_t run = run_of(text, length, KIND_SPACE, &last);
    return run < length && run > last ? run - last : run;
}

static attn_status encode_bytes(const vocabulary *pieces, int32_t unk, const char *text, size_t length, id_buffer *ids) {
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < length && !status; i++) {
        char piece[4];
        size_t n = utf8_encode(bpe_character_of_byte((unsigned char)text[i]), piece);
        status = append_piece(pieces, piece, n, unk, ids);
    }
    return status;
}

static attn_status encode_characters(const vocabulary *pieces, int32_t unk, const char *text, size_t length,
                                     id_buffer *ids) {
    attn_status status = ATTN_OK;
    for (size_t at = 0; at < length && !status;) {
        uint32_t c;
        size_t bytes = utf8_decode(text + at, length - at, &c);
        status = append_piece(pieces, text + at, bytes, unk, ids);
        at += bytes;
    }
    return status;
}

attn_status bpe_encode(const bpe *b, const vocabulary *pieces, int32_t unk, const char *text, size_t length,
                       id_buffer *ids) {
    if (!b->byte_level) {
        return encode_characters(pieces, unk, text, length, ids);
    }
    attn_status status = ATTN_OK;
    for (size_t at = 0; at < length && !status;) {
        size_t part = next_part(text + at, length - at), first = ids->count;
        status = encode_bytes(pieces, unk, text + at, part, ids);
        merge_word(b, ids, first);
        at += part;
    }
    return status;
}

/* --- and back ---------------------------------------------------------------------- */

static size_t decode_piece(const bpe *b, text_line piece, char *out) {
    size_t used = 0;
    for (size_t at = 0; at < piece.length;) {
        uint32_t c;
        size_t bytes = utf8_decode(piece.bytes + at, piece.length - at, &c);
        int byte = b->byte_level ? byte_of_character(c) : -1;
        if (byte >= 0) {
            out[used++] = byte ? (char)byte : '\xFF'; /* a NUL would end the text: it is made U+FFFD too */
        } else {
            memcpy(out + used, piece.bytes + at, bytes);
            used += bytes;
        }
        at += bytes;
    }
    return used;
}

attn_status bpe_decode(const bpe *b, const text_line *pieces, size_t count, char **text) {
    size_t size = 1, used = 0, length;
    *text = NULL;
    for (size_t i = 0; i < count; i++) {
        if (__builtin_add_overflow(size, pieces[i].length, &size)) {
            return fail(ATTN_ERROR_MEMORY, "a decoded text is too long");
        }
    }
    char *bytes = memory_allocate_raw(size, 1);
    if (!bytes) {
        return ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        used += decode_piece(b, pieces[i], bytes + used);
    }
    attn_status status = utf8_repair(bytes, used, text, &length, NULL);
    memory_free(bytes);
    return status;
}
