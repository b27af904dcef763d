/* The texts of an HTML document that are to be translated, each with the tags that stand within it. Everything
 * between them (block tags, declarations, script, pre, white space) stays as it is.
 *
 * A segment is a run of text and inline markup between two breaks, without the white space and the markup at
 * its ends. A tag without its partner in the run, one that crosses another pair, and one nested more than 64
 * deep are breaks themselves, so within a segment tags are pairs and well nested. A <sup> or <sub> without a
 * letter, the number of a note, is kept whole. Runs without a letter, and
 * those that are not UTF-8 or hold a NUL, are left as they are. */
#ifndef ATTN_DATA_HTML_SEGMENTS_H
#define ATTN_DATA_HTML_SEGMENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef enum html_item_kind { HTML_ITEM_OPEN, HTML_ITEM_CLOSE, HTML_ITEM_KEPT } html_item_kind;

/* A tag within a segment; or what is kept whole there, an element without text included. */
typedef struct html_item {
    html_item_kind kind;
    size_t begin, end; /* in the document's bytes */
    size_t position;   /* in the segment's text: between which of its bytes it stands */
    size_t partner;    /* the tag's other one, in the segment's items */
    bool space_before, space_after; /* white space beside it */
    bool separates;    /* the words on its sides are two, also without white space */
} html_item;

typedef struct html_segment {
    size_t begin, end;  /* the document's bytes that its translation replaces */
    size_t line;        /* of `begin`, from 1 */
    size_t text, text_length; /* in the document's texts: references decoded, white space collapsed, and a final 0 */
    size_t items, item_count; /* in the document's items */
    bool space_first, space_last; /* white space within the outermost tags at its ends */
} html_segment;

typedef struct html_document {
    const char *bytes; /* the caller's, [length] */
    size_t length;
    html_segment *segments;
    size_t count, capacity;
    char *texts;
    size_t text_count, text_capacity;
    html_item *items;
    size_t item_count, item_capacity;
    size_t pairs;                  /* of inline tags that found their partner */
    size_t unreadable;             /* runs left alone because they are not UTF-8, or hold a NUL ... */
    size_t unreadable_line;        /* ... and the first one's line */
} html_document;

/* The document's bytes stay the caller's and have to stay. ATTN_ERROR_MEMORY alone; released also then. */
attn_status html_document_parse(const char *bytes, size_t length, html_document *document);
void html_document_release(html_document *document);

#endif
