/* Reads in blocks of 64 KB. A line is given once its newline is there or the input has
 * ended; more lines join it only while reading would not wait. */
#include "lines.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_SIZE = 1 << 16, LONGEST_LINE = 1 << 20 };

void line_reader_open(line_reader *reader, int descriptor, const char *who) {
    *reader = (line_reader){.descriptor = descriptor, .who = who};
}

void line_reader_close(line_reader *reader) {
    free(reader->lines);
    free(reader->buffer);
    free(reader->text);
    *reader = (line_reader){0};
}

static int out_of_memory(const line_reader *reader) {
    (void)fprintf(stderr, "%s: out of memory for the input\n", reader->who);
    return -1;
}

/* Of a line that is too long already the end is not kept. */
static void drop_surplus(line_reader *r) {
    const size_t kept = LONGEST_LINE + 8;
    if (r->end - r->start > kept) {
        r->dropped += r->end - r->start - kept;
        r->end = r->start + kept;
    }
}

/* Reads once more into the buffer. 1: bytes or the end came; -1: failed. */
static int fill(line_reader *r) {
    if (r->start > 0 && r->start == r->end) {
        r->start = r->end = 0;
    }
    if (r->capacity - r->end < READ_SIZE) {
        if (r->start > 0) {
            memmove(r->buffer, r->buffer + r->start, r->end - r->start);
            r->end -= r->start;
            r->start = 0;
        }
        if (r->capacity - r->end < READ_SIZE) {
            size_t capacity = r->capacity * 2 + 2 * READ_SIZE;
            char *buffer = realloc(r->buffer, capacity);
            if (!buffer) {
                return out_of_memory(r);
            }
            r->buffer = buffer;
            r->capacity = capacity;
        }
    }
    ssize_t got;
    do {
        got = read(r->descriptor, r->buffer + r->end, READ_SIZE);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        (void)fprintf(stderr, "%s: the input cannot be read: %s\n", r->who, strerror(errno));
        return -1;
    }
    r->ended = got == 0;
    r->end += (size_t)got;
    return 1;
}

static int readable(const line_reader *r) {
    struct pollfd one = {.fd = r->descriptor, .events = POLLIN};
    return poll(&one, 1, 0) > 0;
}

/* The bytes of the line at `start`, without its newline, and whether it is there. */
static int find_line(const line_reader *r, size_t from, size_t *length) {
    const char *newline = r->end > from ? memchr(r->buffer + from, '\n', r->end - from) : NULL;
    if (newline) {
        *length = (size_t)(newline - (r->buffer + from));
        return 1;
    }
    *length = r->end - from;
    return r->ended && r->end > from;
}

/* Copies one line behind the text's `used` bytes; returns the bytes behind it. A NUL takes
 * the three bytes of U+FFFD. */
static size_t copy_line(line_reader *r, size_t used, const char *line, size_t length, size_t number) {
    size_t nuls = 0;
    if (length > 0 && line[length - 1] == '\r') {
        length--;
    }
    if (length > LONGEST_LINE) {
        size_t kept = LONGEST_LINE;
        while (kept > LONGEST_LINE - 4 && ((unsigned char)line[kept] & 0xC0) == 0x80) {
            kept--; /* not inside a character */
        }
        (void)fprintf(stderr, "%s: line %zu has %zu bytes: cut to %zu\n", r->who, number, length + r->dropped,
                      kept);
        length = kept;
    }
    for (size_t i = 0; i < length; i++) {
        if (line[i] == '\0') {
            memcpy(r->text + used, "\xEF\xBF\xBD", 3);
            used += 3;
            nuls++;
        } else {
            r->text[used++] = line[i];
        }
    }
    if (nuls) {
        (void)fprintf(stderr, "%s: line %zu holds %zu NUL byte%s, read as U+FFFD\n", r->who, number, nuls,
                      nuls == 1 ? "" : "s");
    }
    r->text[used++] = '\0';
    return used;
}

static int grow_lines(line_reader *r) {
    if (r->count < r->line_capacity) {
        return 1;
    }
    size_t capacity = r->line_capacity * 2 + 64;
    char **lines = realloc(r->lines, capacity * sizeof *lines);
    if (!lines) {
        return out_of_memory(r);
    }
    r->lines = lines;
    r->line_capacity = capacity;
    return 1;
}

/* Room for a line's text. Lines point into it, so they move along. */
static int grow_text(line_reader *r, size_t needed) {
    if (needed <= r->text_capacity) {
        return 1;
    }
    size_t capacity = needed + needed / 2;
    char *text = malloc(capacity);
    if (!text) {
        return out_of_memory(r);
    }
    for (size_t i = 0; i < r->count; i++) {
        r->lines[i] = text + (r->lines[i] - r->text);
    }
    if (r->text) {
        memcpy(text, r->text, r->text_capacity);
    }
    free(r->text);
    r->text = text;
    r->text_capacity = capacity;
    return 1;
}

int line_reader_next(line_reader *r, size_t most_lines, size_t most_bytes) {
    size_t used = 0;
    r->given += r->count;
    r->count = 0;
    while (r->count < most_lines && used < most_bytes) {
        size_t length;
        if (!find_line(r, r->start, &length)) {
            if (r->ended || (r->count > 0 && !readable(r))) {
                break;
            }
            drop_surplus(r);
            if (fill(r) < 0) {
                return -1;
            }
            continue;
        }
        size_t longest = length < LONGEST_LINE + 1 ? length : LONGEST_LINE + 1;
        if (grow_lines(r) < 0 || grow_text(r, used + 3 * longest + 1) < 0) {
            return -1;
        }
        r->lines[r->count] = r->text + used;
        used = copy_line(r, used, r->buffer + r->start, length, r->given + r->count + 1);
        r->count++;
        r->dropped = 0;
        r->start += length;
        if (r->start < r->end) {
            r->start++; /* the newline */
        }
    }
    return r->count > 0;
}
