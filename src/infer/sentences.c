/* Where sentences end. Behind closing marks (. ! ? and their kin) and what closes with them, where white
 * space or the text's end follows; Chinese and Japanese marks need no space. A full stop ends nothing
 * behind an initial, an abbreviation, a number of one or two digits (German ordinals), or before a
 * lower-case letter. */
#include <attn/attn.h>

#include <string.h>

#include "base/utf8.h"

static const char *const ABBREVIATIONS[] = {
    "Mr",  "Mrs", "Ms",  "Dr",  "Prof", "St",  "Sr",  "Jr",  "vs",  "No",  "Nos", "Fig", "Figs", "Eq",  "Sec", "Vol", "pp",
    "ed",  "eds", "cf",  "etc", "approx", "Inc", "Ltd", "Co",  "Corp", "Gen", "Col", "Lt",  "Sgt", "Rev", "Hon", "bzw", "ca",
    "usw", "ggf", "evtl", "vgl", "Nr",  "Abs", "Art", "Bd",  "Hr",  "Fr",  "Str", "inkl", "Mme", "Mlle", "Sra", "Dra"};

static int is_in(uint32_t codepoint, const uint32_t *set) {
    for (; *set; set++) {
        if (*set == codepoint) {
            return 1;
        }
    }
    return 0;
}

static const uint32_t SPACED_ENDS[] = {'.', '!', '?', 0x2026, 0x61f, 0x6d4, 0x964, 0x203c, 0x2047, 0x2048, 0x2049, 0};
static const uint32_t WIDE_ENDS[] = {0x3002, 0xff01, 0xff1f, 0xff61, 0};
static const uint32_t CLOSERS[] = {'"', '\'', ')', ']', 0x201d, 0x2019, 0xbb, 0x203a, 0x300d, 0x300f, 0xff09, 0x3011, 0x201c, 0};

static int is_lower_letter(uint32_t codepoint) {
    /* Letters that are the lower case of another lie behind it in Latin, Greek and Cyrillic. */
    static const uint32_t DISTANCES[] = {1, 32, 80, 0};
    for (const uint32_t *d = DISTANCES; *d; d++) {
        if (codepoint > *d && utf8_codepoint_lower(codepoint - *d) == codepoint) {
            return 1;
        }
    }
    return 0;
}

/* Whether the full stop at text[at] belongs to the word before it. */
static int stop_is_part_of_word(const char *text, size_t at) {
    size_t first = at, letters = 0, digits = 0, dots = 0;
    while (first > 0 && text[first - 1] != ' ' && text[first - 1] != '\t' && !strchr("([\"'", text[first - 1])) {
        first--;
        letters += ((unsigned char)text[first] & 0xc0) != 0x80;
        digits += text[first] >= '0' && text[first] <= '9';
        dots += text[first] == '.';
    }
    if (letters == 0 || (digits == letters && digits <= 2) || (letters == 1 && !digits) || (dots && !digits && letters < 8)) {
        return letters != 0;
    }
    for (size_t i = 0; i < sizeof ABBREVIATIONS / sizeof *ABBREVIATIONS; i++) {
        if (strlen(ABBREVIATIONS[i]) == at - first && memcmp(ABBREVIATIONS[i], text + first, at - first) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Past the white space at `at`. */
static size_t skip_space(const char *text, size_t length, size_t at) {
    while (at < length) {
        uint32_t codepoint;
        size_t size = utf8_decode(text + at, length - at, &codepoint);
        if (!utf8_is_space(codepoint)) {
            break;
        }
        at += size;
    }
    return at;
}

/* Past the closing marks at `at`; *wide: one needs no space behind it; *stop: the only one is a full stop. */
static size_t skip_marks(const char *text, size_t length, size_t at, int *wide, int *stop) {
    int marks = 0, closed = 0;
    *wide = *stop = 0;
    while (at < length) {
        uint32_t codepoint;
        size_t size = utf8_decode(text + at, length - at, &codepoint);
        int is_wide = is_in(codepoint, WIDE_ENDS), is_end = is_wide || is_in(codepoint, SPACED_ENDS);
        if ((!is_end || closed) && !(marks && is_in(codepoint, CLOSERS))) {
            break;
        }
        closed = !is_end;
        *wide |= is_wide;
        marks += is_end;
        *stop = marks == 1 && (is_end ? codepoint == '.' : *stop);
        at += size;
    }
    return at;
}

size_t attn_split_sentences(const char *text, attn_sentence *sentences, size_t room) {
    if (!text) {
        return 0;
    }
    const size_t length = strlen(text);
    size_t count = 0, first = skip_space(text, length, 0);
    for (size_t at = first; at < length;) {
        int wide, stop;
        uint32_t codepoint;
        size_t behind = skip_marks(text, length, at, &wide, &stop);
        if (behind == at) {
            at += utf8_decode(text + at, length - at, &codepoint);
            continue;
        }
        size_t next = skip_space(text, length, behind);
        int ends = next == length || wide || next > behind;
        if (ends && stop && next < length) {
            (void)utf8_decode(text + next, length - next, &codepoint);
            ends = !is_lower_letter(codepoint) && !stop_is_part_of_word(text, at);
        }
        at = behind;
        if (ends) {
            if (count < room) {
                sentences[count] = (attn_sentence){first, behind, next};
            }
            count++;
            first = at = next;
        }
    }
    if (first < length) {
        size_t end = length;
        while (end > first && strchr(" \t\r\n", text[end - 1])) {
            end--;
        }
        if (count < room) {
            sentences[count] = (attn_sentence){first, end, length};
        }
        count++;
    }
    return count;
}
