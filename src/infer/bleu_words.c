/* The rules of mteval-v13a as sacreBLEU has them (Post 2018), over codepoints:
 *   entities   &quot; &amp; &lt; &gt; become their character; <skipped> goes
 *   1  a space on both sides of ASCII punctuation except ' , - .
 *   2  non-digit and one of . ,   ->  "x . "
 *   3  one of . , and non-digit   ->  " . x"
 *   4  digit and -                ->  "9 - "
 * Each of 2 to 4 goes once from left to right over non-overlapping pairs. */
#include "infer/bleu_words.h"

#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"

static bool is_digit(uint32_t c) {
    return c >= '0' && c <= '9';
}

static bool is_stop(uint32_t c) {
    return c == '.' || c == ',';
}

static bool is_punctuation(uint32_t c) {
    return c <= 0x7E && c >= ' ' && c != '\'' && !is_stop(c) && c != '-' && !is_digit(c) &&
           !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z');
}

static attn_status put(symbols *out, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    const uint32_t all[4] = {a, b, c, d};
    attn_status status = ATTN_OK;
    for (int i = 0; i < 4 && !status; i++)
        if (all[i])
            status = symbols_append(out, all[i]);
    return status;
}

static void exchange(symbols *a, symbols *b) {
    symbols kept = *a;
    *a = *b;
    *b = kept;
}

/* Replaces `pattern` by the character (0: by nothing), in place. */
static void replace(symbols *s, const char *pattern, uint32_t character) {
    size_t length = strlen(pattern), kept = 0;
    for (size_t i = 0; i < s->count;) {
        size_t same = 0;
        while (same < length && i + same < s->count && s->values[i + same] == (unsigned char)pattern[same])
            same++;
        if (same < length) {
            s->values[kept++] = s->values[i++];
            continue;
        }
        if (character)
            s->values[kept++] = character;
        i += length;
    }
    s->count = kept;
}

/* Rules 1 to 4; the result is in *s. */
static attn_status western_rules(symbols *s, symbols *scratch) {
    attn_status status = ATTN_OK;
    scratch->count = 0;
    for (size_t i = 0; i < s->count && !status; i++) {
        uint32_t c = s->values[i];
        status = is_punctuation(c) ? put(scratch, ' ', c, ' ', 0) : put(scratch, c, 0, 0, 0);
    }
    for (int rule = 2; rule <= 4 && !status; rule++) {
        exchange(s, scratch);
        scratch->count = 0;
        for (size_t i = 0; i < s->count && !status; i++) {
            uint32_t c = s->values[i], next = i + 1 < s->count ? s->values[i + 1] : 0;
            bool pair = i + 1 < s->count && (rule == 2   ? !is_digit(c) && is_stop(next)
                                             : rule == 3 ? is_stop(c) && !is_digit(next)
                                                         : is_digit(c) && next == '-');
            if (!pair) {
                status = put(scratch, c, 0, 0, 0);
                continue;
            }
            status = rule == 3 ? put(scratch, ' ', c, ' ', next) : put(scratch, c, ' ', next, ' ');
            i++;
        }
    }
    exchange(s, scratch);
    return status;
}

/* What sacreBLEU's zh sets apart. Its two ranges that are meant for the planes
 * above U+FFFF are written with four hexadecimal digits and one character more,
 * so they take in U+2001 to U+2A6D (quotes and dashes among them) and U+2F81 to
 * U+2FA1 instead; equal scores need the same. */
static bool is_chinese(uint32_t c) {
    static const uint32_t ranges[][2] = {
        {0x2001, 0x2A6D}, {0x2E80, 0x2EFF}, {0x2F00, 0x2FDF}, {0x2FF0, 0x303F}, {0x3100, 0x312F}, {0x31A0, 0x31BF},
        {0x31C0, 0x31EF}, {0x3200, 0x33FF}, {0x3400, 0x4DB5}, {0x4E00, 0x9FBB}, {0xF900, 0xFA2D}, {0xFA30, 0xFA6A},
        {0xFA70, 0xFAD9}, {0xFE10, 0xFE1F}, {0xFE30, 0xFE4F}, {0xFF00, 0xFFEF},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1])
            return true;
    return false;
}

static attn_status set_chinese_apart(symbols *s, symbols *scratch) {
    attn_status status = ATTN_OK;
    scratch->count = 0;
    for (size_t i = 0; i < s->count && !status; i++)
        status = is_chinese(s->values[i]) ? put(scratch, ' ', s->values[i], ' ', 0)
                                          : put(scratch, s->values[i], 0, 0, 0);
    exchange(s, scratch);
    return status;
}

static void strip(symbols *s, bool left) {
    while (s->count > 0 && utf8_is_space(s->values[s->count - 1]))
        s->count--;
    size_t first = 0;
    while (left && first < s->count && utf8_is_space(s->values[first]))
        first++;
    if (first)
        memmove(s->values, s->values + first, (s->count - first) * sizeof *s->values);
    s->count -= first;
}

/* One space behind each word and none elsewhere. */
static attn_status single_spaces(symbols *s) {
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        bool space = utf8_is_space(s->values[i]);
        if (!space)
            s->values[kept++] = s->values[i];
        else if (kept > 0 && s->values[kept - 1] != ' ')
            s->values[kept++] = ' ';
    }
    s->count = kept;
    return kept > 0 && s->values[kept - 1] != ' ' ? symbols_append(s, ' ') : ATTN_OK;
}

attn_status bleu_words(const char *segment, const bleu_options *options, symbols *out, symbols *scratch) {
    out->count = 0;
    attn_status status = options->tokenizer == BLEU_13A ? symbols_append(out, ' ') : ATTN_OK;
    if (!status)
        status = symbols_append_text(out, segment);
    if (status)
        return status;
    for (size_t i = 0; i < out->count && options->lowercase; i++)
        out->values[i] = utf8_codepoint_lower(out->values[i]);
    strip(out, options->tokenizer == BLEU_ZH);
    if (options->tokenizer == BLEU_13A) {
        static const struct {
            const char *pattern;
            uint32_t character;
        } replacements[] = {{"<skipped>", 0}, {"-\n", 0},   {"\n", ' '},  {"&quot;", '"'},
                            {"&amp;", '&'},   {"&lt;", '<'}, {"&gt;", '>'}};
        for (size_t i = 0; i < sizeof replacements / sizeof replacements[0]; i++)
            replace(out, replacements[i].pattern, replacements[i].character);
        status = symbols_append(out, ' ');
    } else if (options->tokenizer == BLEU_ZH) {
        status = set_chinese_apart(out, scratch);
    }
    if (!status && options->tokenizer != BLEU_NONE)
        status = western_rules(out, scratch);
    return status ? status : single_spaces(out);
}
