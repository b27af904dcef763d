/* The thread-local sentence behind attn_last_error(). Only this file touches it. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SENTENCE_SIZE = 2048 };

static _Thread_local char sentence[SENTENCE_SIZE];

static void make_printable(char *text) {
    for (unsigned char *c = (unsigned char *)text; *c; c++) {
        if (*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
}

attn_status fail(attn_status status, const char *format, ...) {
    char text[SENTENCE_SIZE]; /* the arguments may point into the old sentence */
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    make_printable(text);
    memcpy(sentence, text, sizeof sentence);
    return status;
}

attn_status fail_within(attn_status status, const char *format, ...) {
    char prefix[SENTENCE_SIZE / 2];
    char old[SENTENCE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    memcpy(old, sentence, sizeof old);
    size_t used = strlen(prefix);
    memcpy(sentence, prefix, used);
    (void)snprintf(sentence + used, sizeof sentence - used, ": %.*s",
                   (int)(sizeof sentence - used - 3), old);
    make_printable(sentence);
    return status;
}

const char *attn_last_error(void) {
    return sentence;
}

const char *attn_status_name(attn_status status) {
    switch (status) {
#define STATUS_NAME(name, value, text) case name: return #name;
        ATTN_STATUS_TABLE(STATUS_NAME)
#undef STATUS_NAME
    }
    return "ATTN_ERROR_?";
}

const char *attn_status_text(attn_status status) {
    switch (status) {
#define STATUS_TEXT(name, value, text) case name: return text;
        ATTN_STATUS_TABLE(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}
