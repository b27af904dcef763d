/* Words, as tags stand between them. */
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "data/html_place.h"

/* What belongs to a word between two of its letters or digits. */
static bool joins(uint32_t c) {
    return (c < 128 && c && strchr("'-.,:_@/&", (int)c)) || c == 0x2019 || c == 0x2010 || c == 0x2011 || c == 0xad;
}

static bool is_word(uint32_t c) {
    return (utf8_is_letter(c) || utf8_is_number(c) || utf8_is_mark(c)) && utf8_codepoint_width(c) < 2;
}

attn_status html_units_add(html_unit_list *list, const char *text, size_t begin, size_t end, size_t sentence) {
    for (size_t at = begin; at < end;) {
        uint32_t c, next;
        html_unit unit = {.begin = at, .sentence = sentence};
        at += utf8_decode(text + at, end - at, &c);
        if (utf8_is_space(c)) {
            continue;
        }
        unit.letters = utf8_is_letter(c);
        for (bool word = is_word(c); word && at < end;) {
            size_t size = utf8_decode(text + at, end - at, &next);
            size_t behind = joins(next) && at + size < end ? utf8_decode(text + at + size, end - at - size, &next) : 0;
            word = is_word(next);
            at += word ? size + behind : 0;
            unit.letters |= word && utf8_is_letter(next);
        }
        unit.end = at;
        attn_status status = memory_grow(&list->units, &list->capacity, list->count + 1, sizeof *list->units);
        if (status) {
            return status;
        }
        list->units[list->count++] = unit;
    }
    return ATTN_OK;
}
