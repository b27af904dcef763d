/* Status codes and the last error's sentence, shared by both public headers.
 *
 * Every function that can fail returns an attn_status: ATTN_OK (0) or one of
 * the negative codes below. On failure a sentence for a person waits in
 * attn_last_error(), naming the file, line, tensor or option, what was found
 * and what was expected. */
#ifndef ATTN_STATUS_H
#define ATTN_STATUS_H

#if defined(__GNUC__)
#define ATTN_PUBLIC __attribute__((visibility("default")))
#else
#define ATTN_PUBLIC
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* One row per code: name, value, short text. */
#define ATTN_STATUS_TABLE(X)                                                  \
    X(ATTN_OK, 0, "no error")                                                 \
    X(ATTN_ERROR_ARGUMENT, -1, "an argument is outside its range")            \
    X(ATTN_ERROR_MEMORY, -2, "out of memory")                                 \
    X(ATTN_ERROR_FILE, -3, "a file cannot be read or written")                \
    X(ATTN_ERROR_FORMAT, -4, "the content of a file is malformed")            \
    X(ATTN_ERROR_UNSUPPORTED, -5, "not supported by this build or processor") \
    X(ATTN_ERROR_NUMERIC, -6, "a value is not a finite number")               \
    X(ATTN_ERROR_INTERRUPTED, -7, "interrupted by the caller")                \
    X(ATTN_ERROR_INTERNAL, -8, "a library below reported a failure")

typedef enum attn_status {
#define ATTN_STATUS_ENUM(name, value, text) name = value,
    ATTN_STATUS_TABLE(ATTN_STATUS_ENUM)
#undef ATTN_STATUS_ENUM
} attn_status;

/* The code's name, e.g. "ATTN_ERROR_FILE"; "ATTN_ERROR_?" for an unknown one. */
ATTN_PUBLIC const char *attn_status_name(attn_status status);

/* The code's short text, without details. */
ATTN_PUBLIC const char *attn_status_text(attn_status status);

/* The sentence left by the last failure on this thread, UTF-8, without a
 * final newline; "" if nothing has failed. Valid until the next failure on
 * this thread. */
ATTN_PUBLIC const char *attn_last_error(void);

#ifdef __cplusplus
}
#endif
#endif
