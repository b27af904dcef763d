/* Puts the tags of a segment back into its translation, by which of its words belong to which of the source's. */
#ifndef ATTN_DATA_HTML_PLACE_H
#define ATTN_DATA_HTML_PLACE_H

#include "data/html_segments.h"

#define HTML_NO_UNIT ((size_t)-1)

/* What tags stand between: a word, with the marks inside it ("don't", "3.50"), or another character that is no
 * white space, or one character of a script without spaces. text[begin] .. text[end - 1] */
typedef struct html_unit {
    size_t begin, end;
    bool letters; /* has a letter: a word */
    size_t sentence;
} html_unit;

typedef struct html_unit_list {
    html_unit *units;
    size_t count, capacity;
} html_unit_list;

/* Appends the units of text[begin] .. text[end - 1], all of that sentence. */
attn_status html_units_add(html_unit_list *list, const char *text, size_t begin, size_t end, size_t sentence);

typedef struct html_alignment {
    html_unit_list source, target; /* of the segment's text, and of its translation */
    size_t *source_of;      /* [target.count] the source's unit that each one translates, or HTML_NO_UNIT */
    size_t *target_of;      /* [source.count] the unit that translates each one best, or HTML_NO_UNIT */
} html_alignment;

typedef struct html_buffer {
    char *bytes;
    size_t count, capacity;
} html_buffer;

attn_status html_append(html_buffer *buffer, const char *bytes, size_t length);

/* Appends the translation of a segment, with its items in it: each exactly once, pairs well nested.
 *
 * An element goes round the words that translate its own: of those, round the stretch that has most of them
 * over others. What stands between words stays between the translations of its neighbours, on the side that it
 * touches. The text is written with &amp;, &lt; and &gt;. */
attn_status html_place(const html_document *document, const html_segment *segment, const char *translation,
                       const html_alignment *alignment, html_buffer *out);

#endif
