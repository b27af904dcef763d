#include "data/html_references.h"

#include <string.h>

#include "base/utf8.h"

static int digit_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 32);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

static int is_alphanumeric(char c) {
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/* What the numbers 80 to 9F mean in pages: Windows-1252. */
static const uint16_t WINDOWS[32] = {0x20ac, 0,      0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160,
                                     0x2039, 0x152,  0,      0x17d,  0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
                                     0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0,      0x17e, 0x178};

/* "&#228;" and "&#xe4;"; the semicolon may be missing. */
static size_t read_number(const char *text, size_t length, char decoded[7]) {
    size_t at = 2;
    int base = 10;
    if (at < length && (text[at] | 32) == 'x') {
        base = 16;
        at++;
    }
    const size_t first = at;
    uint32_t codepoint = 0;
    for (; at < length && digit_value(text[at]) < base; at++) {
        codepoint = codepoint > 0x10ffff ? codepoint : codepoint * (uint32_t)base + (uint32_t)digit_value(text[at]);
    }
    if (at == first) {
        return 0;
    }
    if (codepoint >= 0x80 && codepoint < 0xa0 && WINDOWS[codepoint - 0x80]) {
        codepoint = WINDOWS[codepoint - 0x80];
    }
    decoded[utf8_encode(codepoint ? codepoint : UTF8_REPLACEMENT, decoded)] = '\0';
    return at + (at < length && text[at] == ';');
}

/* The entry of exactly these bytes, or NULL. */
static const html_reference_name *find_name(const char *name, size_t length) {
    size_t low = 0, high = html_reference_name_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const char *other = html_reference_names[middle].name;
        int order = strncmp(name, other, length);
        order = order ? order : other[length] ? -1 : 0;
        if (order == 0) {
            return &html_reference_names[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

size_t html_reference_read(const char *text, size_t length, char decoded[7]) {
    if (length > 1 && text[1] == '#') {
        return read_number(text, length, decoded);
    }
    enum { LONGEST = sizeof html_reference_names[0].name - 1 };
    size_t end = 1;
    while (end < length && end <= LONGEST && is_alphanumeric(text[end])) {
        end++;
    }
    end += end < length && end <= LONGEST && text[end] == ';';
    for (; end > 2; end--) { /* the longest name counts: "&notit;" is "&not" and "it;" */
        const html_reference_name *found = find_name(text + 1, end - 1);
        if (found) {
            memcpy(decoded, found->text, sizeof found->text);
            return end;
        }
    }
    return 0;
}

const char *html_escape(const char *text, size_t length, size_t *size) {
    if (length > 1 && memcmp(text, "\xc2\xa0", 2) == 0) { /* looks like a space otherwise */
        *size = 2;
        return "&nbsp;";
    }
    *size = 1;
    return *text == '&' ? "&amp;" : *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : NULL;
}
