/* Character references of HTML ("&auml;", "&#228;") read and written. */
#ifndef ATTN_DATA_HTML_REFERENCES_H
#define ATTN_DATA_HTML_REFERENCES_H

#include <stddef.h>

/* A name without "&", with ";" where it needs one, and the UTF-8 that it stands for. */
typedef struct html_reference_name {
    char name[33], text[7];
} html_reference_name;

extern const html_reference_name html_reference_names[]; /* in the order of their bytes */
extern const size_t html_reference_name_count;

/* The reference that begins with the "&" at text[0]: its UTF-8 goes to decoded, 0-terminated, and its length
 * is returned. 0: the "&" stands for itself. WHATWG HTML, 13.2.5.72 to 13.2.5.80. */
size_t html_reference_read(const char *text, size_t length, char decoded[7]);

/* How the character that begins at text is written, with the bytes that it takes in *size; NULL: as it is. */
const char *html_escape(const char *text, size_t length, size_t *size);

#endif
