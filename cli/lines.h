/* Lines of a file descriptor, for commands that answer line by line. A final newline may
 * be missing; CR before it goes. A NUL becomes U+FFFD; a line above a megabyte is cut.
 * Both are said on standard error with the line's number. */
#ifndef ATTN_CLI_LINES_H
#define ATTN_CLI_LINES_H

#include <stddef.h>

typedef struct line_reader {
    char **lines; /* [count], 0-terminated: the last call's lines */
    size_t count;
    /* the reader's own */
    int descriptor, ended;
    const char *who;
    char *buffer; /* what was read and not yet given */
    size_t start, end, capacity;
    char *text; /* the given lines' bytes */
    size_t line_capacity, text_capacity;
    size_t given;   /* lines of all calls before */
    size_t dropped; /* bytes of the line at `start` that were not kept: it is too long anyway */
} line_reader;

void line_reader_open(line_reader *reader, int descriptor, const char *who);
void line_reader_close(line_reader *reader);

/* Waits for a line, then takes those that are there without waiting, at most so many and
 * about so many bytes. 1, 0 at the end, -1 after saying what failed. */
int line_reader_next(line_reader *reader, size_t most_lines, size_t most_bytes);

/* All lines of a file. */
typedef struct line_list {
    char **lines; /* [count] */
    size_t count;
} line_list;

/* 0, or -1 after saying what failed; `who` is "attn COMMAND". Freed also on failure. */
int line_list_read(line_list *list, const char *path, const char *who);
void line_list_free(line_list *list);

#endif
