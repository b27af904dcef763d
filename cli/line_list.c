/* A file's lines as a list. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lines.h"

enum { SOME_LINES = 4096, SOME_BYTES = 1 << 20 };

/* Copies what was read to the list's end. */
static int append(line_list *list, const line_reader *reader) {
    char **grown = realloc(list->lines, (list->count + reader->count) * sizeof *grown);
    if (!grown) {
        return -1;
    }
    list->lines = grown;
    for (size_t i = 0; i < reader->count; i++) {
        list->lines[list->count] = strdup(reader->lines[i]);
        if (!list->lines[list->count]) {
            return -1;
        }
        list->count++;
    }
    return 0;
}

int line_list_read(line_list *list, const char *path, const char *who) {
    *list = (line_list){NULL, 0};
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        (void)fprintf(stderr, "%s: %s: %s\n", who, path, strerror(errno));
        return -1;
    }
    line_reader reader;
    int more, failed = 0;
    line_reader_open(&reader, descriptor, who);
    while (!failed && (more = line_reader_next(&reader, SOME_LINES, SOME_BYTES)) != 0) {
        failed = more < 0 ? -1 : append(list, &reader);
        if (more > 0 && failed) {
            (void)fprintf(stderr, "%s: %s: out of memory\n", who, path);
        }
    }
    line_reader_close(&reader);
    (void)close(descriptor);
    if (failed) {
        line_list_free(list);
    }
    return failed;
}

void line_list_free(line_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        free(list->lines[i]);
    }
    free(list->lines);
    *list = (line_list){NULL, 0};
}
