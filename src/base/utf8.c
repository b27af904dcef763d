#include "base/utf8.h"

#include <string.h>

#include "base/memory.h"

/* Well-formed sequences (Unicode 15, table 3-7): the first byte gives the length
 * and the range of the second byte; all others are 80..BF.
 *   C2..DF      80..BF                   E0  A0..BF     ED  80..9F
 *   E1..EC, EE, EF  80..BF               F0  90..BF     F1..F3  80..BF    F4  80..8F */
size_t utf8_decode(const char *text, size_t length, uint32_t *codepoint) {
    const unsigned char *s = (const unsigned char *)text;
    unsigned first = s[0];
    if (first < 0x80) {
        *codepoint = first;
        return 1;
    }
    *codepoint = UTF8_REPLACEMENT;
    if (first < 0xC2 || first > 0xF4)
        return 1;
    size_t needed = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    uint32_t value = first & (0x7Fu >> needed);
    for (size_t i = 1; i < needed; i++) {
        if (i >= length || s[i] < low || s[i] > high)
            return i;
        value = value << 6 | (s[i] & 0x3Fu);
        low = 0x80;
        high = 0xBF;
    }
    *codepoint = value;
    return needed;
}

/* 1 if the `bytes` that utf8_decode took for a U+FFFD do not spell one. */
static int is_invalid(const char *text, size_t bytes, uint32_t codepoint) {
    return codepoint == UTF8_REPLACEMENT && !(bytes == 3 && memcmp(text, "\xEF\xBF\xBD", 3) == 0);
}

size_t utf8_valid_prefix(const char *text, size_t length) {
    size_t i = 0;
    while (i < length) {
        uint64_t eight;
        if (length - i >= 8) { /* most text is ASCII: eight bytes at a time */
            memcpy(&eight, text + i, 8);
            if (!(eight & 0x8080808080808080u)) {
                i += 8;
                continue;
            }
        }
        uint32_t codepoint;
        size_t bytes = utf8_decode(text + i, length - i, &codepoint);
        if (is_invalid(text + i, bytes, codepoint))
            return i;
        i += bytes;
    }
    return length;
}

int utf8_is_valid(const char *text, size_t length) {
    return utf8_valid_prefix(text, length) == length;
}

size_t utf8_encode(uint32_t codepoint, char bytes[4]) {
    if (codepoint > 0x10FFFF || (codepoint >= 0xD800 && codepoint <= 0xDFFF))
        codepoint = UTF8_REPLACEMENT;
    if (codepoint < 0x80) {
        bytes[0] = (char)codepoint;
        return 1;
    }
    size_t count = codepoint < 0x800 ? 2 : codepoint < 0x10000 ? 3 : 4;
    for (size_t i = count - 1; i > 0; i--) {
        bytes[i] = (char)(0x80 | (codepoint & 0x3F));
        codepoint >>= 6;
    }
    static const unsigned char lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    bytes[0] = (char)(lead[count] | codepoint);
    return count;
}

attn_status utf8_repair(const char *text, size_t length, char **repaired, size_t *repaired_length,
                        size_t *replaced) {
    /* A replacement takes 3 bytes for an invalid subpart of at least 1. */
    size_t size;
    if (!size_multiply(length, 3, &size) || size == SIZE_MAX)
        return fail(ATTN_ERROR_MEMORY, "a text of %zu bytes is too long", length);
    size_t valid = utf8_valid_prefix(text, length);
    size = valid == length ? length : valid + (length - valid) * 3;
    char *out = memory_allocate_raw(size + 1, 1);
    if (!out)
        return ATTN_ERROR_MEMORY;
    memcpy(out, text, valid);
    size_t used = valid, count = 0;
    for (size_t i = valid; i < length;) {
        uint32_t codepoint;
        size_t bytes = utf8_decode(text + i, length - i, &codepoint);
        count += (size_t)is_invalid(text + i, bytes, codepoint);
        used += utf8_encode(codepoint, out + used);
        i += bytes;
    }
    out[used] = 0;
    *repaired = out;
    *repaired_length = used;
    if (replaced)
        *replaced = count;
    return ATTN_OK;
}

int utf8_is_space(uint32_t c) {
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

size_t utf8_truncate(const char *text, size_t length, size_t limit) {
    if (length <= limit)
        return length;
    size_t end = limit;
    /* Back over at most three continuation bytes to a codepoint's first byte. */
    for (int back = 0; back < 3 && end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80; back++)
        end--;
    uint32_t codepoint;
    if (end < limit && end + utf8_decode(text + end, length - end, &codepoint) <= limit)
        return limit; /* stray continuation bytes: not a codepoint that would be cut */
    return end;
}
