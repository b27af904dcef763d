/* Text as lines: a file or standard input is read whole, cut at '\n' and checked.
 * A '\r' before '\n' and a byte order mark at the start are dropped; a last line
 * without '\n' counts; a NUL is refused with its line. Parallel text is two such
 * files of equal line count, or one file of source<TAB>target lines. */
#ifndef ATTN_DATA_TEXT_H
#define ATTN_DATA_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef struct text_line {
    const char *bytes; /* not 0-terminated */
    size_t length;
} text_line;

/* What is done with a line that is not valid UTF-8. */
typedef enum invalid_utf8 {
    INVALID_REFUSE, /* fail, naming the line */
    INVALID_SKIP,   /* drop the line (its pair), counted */
    INVALID_REPAIR  /* U+FFFD for each invalid subpart, counted */
} invalid_utf8;

typedef struct text_options {
    invalid_utf8 invalid; /* INVALID_REFUSE */
    bool keep_blank;      /* false: pairs with an empty side are dropped and counted
                             (a side of spaces alone is empty); true for files whose
                             line count must be kept */
} text_options;

void text_options_defaults(text_options *options);

/* One file's lines. The lines point into `storage`; read-only for callers. */
typedef struct text_lines {
    text_line *lines;
    size_t count;
    size_t invalid; /* lines repaired or dropped */
    void *storage;
} text_lines;

/* Reads "-" (standard input) or a file. Blank lines are always kept here. An
 * empty file gives count 0. */
attn_status text_lines_read(const char *path, const text_options *options, text_lines *text);

/* The same from memory; the bytes are copied. `name` is for error sentences. */
attn_status text_lines_parse(const char *bytes, size_t size, const char *name, const text_options *options,
                             text_lines *text);
void text_lines_release(text_lines *text);

/* true: nothing but white space. */
bool text_line_is_blank(text_line line);

/* Pairs of lines: source[i] belongs to target[i]. */
typedef struct parallel_text {
    text_line *source;
    text_line *target;
    size_t pairs;
    size_t lines;   /* lines read, before anything was dropped */
    size_t blank;   /* pairs dropped for an empty side */
    size_t invalid; /* pairs dropped or lines repaired for invalid UTF-8 */
    void *storage[2];
} parallel_text;

/* Two files of equal line count. Fails when they differ, naming both counts, and
 * when no pair is left. Source and target cannot both be "-". */
attn_status parallel_text_read(const char *source_path, const char *target_path, const text_options *options,
                               parallel_text *text);

/* One file ("-" is standard input) of source<TAB>target. Every line that is not
 * blank holds exactly one tab; otherwise fails with the line's number. */
attn_status parallel_text_read_tsv(const char *path, const text_options *options, parallel_text *text);

void parallel_text_release(parallel_text *text);

#endif
