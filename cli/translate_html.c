#include "translate_html.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_SIZE = 1 << 16 };

static void print_warning(void *context, size_t line, const char *sentence) {
    (void)context;
    (void)fprintf(stderr, "attn translate: line %zu: %s\n", line, sentence);
}

/* All of standard input, to be freed; NULL after saying what failed. */
static char *read_input(size_t *length) {
    char *bytes = NULL;
    size_t capacity = 0;
    ssize_t got = 1;
    for (*length = 0; got > 0; *length += got > 0 ? (size_t)got : 0) {
        if (capacity - *length < READ_SIZE) {
            capacity = 2 * capacity + READ_SIZE;
            char *larger = realloc(bytes, capacity);
            if (!larger) {
                (void)fputs("attn translate: out of memory for the input\n", stderr);
                free(bytes);
                return NULL;
            }
            bytes = larger;
        }
        do {
            got = read(STDIN_FILENO, bytes + *length, READ_SIZE);
        } while (got < 0 && errno == EINTR);
    }
    if (got < 0) {
        (void)fprintf(stderr, "attn translate: standard input cannot be read: %s\n", strerror(errno));
        free(bytes);
        return NULL;
    }
    return bytes;
}

int translate_html(const command_usage *usage, const attn_model *model, attn_translate_options *options) {
    size_t length;
    char *bytes = read_input(&length);
    if (!bytes) {
        return EXIT_FAILED;
    }
    options->warn = print_warning;
    attn_html *html;
    attn_status status = attn_translate_html(model, bytes, length, options, &html);
    free(bytes);
    if (status) {
        return command_failed(usage);
    }
    errno = 0;
    size_t written = fwrite(attn_html_bytes(html), 1, attn_html_length(html), stdout);
    int failed = written < attn_html_length(html) || fflush(stdout) != 0;
    attn_html_free(html);
    if (failed) {
        (void)fprintf(stderr, "attn translate: standard output cannot be written: %s\n", strerror(errno));
    }
    return failed ? EXIT_FAILED : EXIT_DONE;
}
