/* UTF-8 (RFC 3629): validated, decoded, repaired, measured in terminal columns.
 * Overlong forms, surrogates and codepoints above U+10FFFF are invalid. Nothing
 * here depends on the locale. */
#ifndef ATTN_BASE_UTF8_H
#define ATTN_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define UTF8_REPLACEMENT 0xFFFDu

/* The number of leading bytes that are valid UTF-8; `length` if all are. */
size_t utf8_valid_prefix(const char *text, size_t length);

/* 1 if all bytes are valid UTF-8. */
int utf8_is_valid(const char *text, size_t length);

/* Decodes the codepoint that starts at text; length >= 1. Returns the bytes that
 * it takes, 1 to 4. Where they are invalid, *codepoint is U+FFFD and the return
 * is the length of the maximal subpart (Unicode 15, section 3.9; what the WHATWG
 * decoder replaces by one U+FFFD). *codepoint is U+FFFD for a real U+FFFD too:
 * use utf8_is_valid to tell them apart. */
size_t utf8_decode(const char *text, size_t length, uint32_t *codepoint);

/* Writes the codepoint's 1 to 4 bytes (no final 0) and returns their number. A
 * surrogate or a value above U+10FFFF is written as U+FFFD. */
size_t utf8_encode(uint32_t codepoint, char bytes[4]);

/* A copy with each maximal invalid subpart replaced by U+FFFD, 0-terminated, to
 * be released with memory_free. *replaced (may be NULL) counts the replacements. */
attn_status utf8_repair(const char *text, size_t length, char **repaired, size_t *repaired_length,
                        size_t *replaced);

/* Terminal columns of a codepoint: 2 for East Asian wide and fullwidth (CJK,
 * kana, Hangul, most emoji), 0 for combining marks, format and control
 * characters, else 1. */
int utf8_codepoint_width(uint32_t codepoint);

/* Terminal columns of a text; an invalid subpart counts as one column. */
size_t utf8_width(const char *text, size_t length);

/* The lower-case letter of a codepoint (one to one: a final sigma and the dotted
 * capital I have no context here), or the codepoint itself. */
uint32_t utf8_codepoint_lower(uint32_t codepoint);

/* 1 for white space as Python's str.split sees it: Unicode's White_Space and the
 * control characters 1C to 1F. */
int utf8_is_space(uint32_t codepoint);

/* A mark that stands on another character (category Mn); punctuation (P, and the ASCII
 * symbols); a control, format, private or surrogate codepoint (Cc, Cf, Co, Cs). */
int utf8_is_mark(uint32_t codepoint);
int utf8_is_punctuation(uint32_t codepoint);
int utf8_is_format(uint32_t codepoint);

/* The codepoint's canonical decomposition without the marks in it: "\u00e9" gives "e", a
 * mark nothing. Returns how many, 0 to 3. */
int utf8_without_marks(uint32_t codepoint, uint32_t out[3]);

/* 1 for Unicode's categories L and N (utf8_letters.c). */
int utf8_is_letter(uint32_t codepoint);
int utf8_is_number(uint32_t codepoint);

/* The longest prefix of at most `limit` bytes that does not cut a codepoint. */
size_t utf8_truncate(const char *text, size_t length, size_t limit);

/* The longest prefix of at most `columns` terminal columns, with the combining
 * marks that follow its last character. Returns its bytes. */
size_t utf8_truncate_width(const char *text, size_t length, size_t columns);

#endif
