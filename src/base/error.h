/* How a function of the library fails: return fail(code, sentence). */
#ifndef ATTN_BASE_ERROR_H
#define ATTN_BASE_ERROR_H

#include <attn/status.h>

/* Leaves the sentence for attn_last_error() and returns status, so that a
 * failing function can end with `return fail(ATTN_ERROR_FILE, "...", path)`.
 * Control characters in the sentence (a hostile file name, say) become '?'. */
attn_status fail(attn_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Puts "prefix: " in front of the sentence that is there; returns status. */
attn_status fail_within(attn_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
