/* Which tokens a layer's attention reaches, as it is written in options and in config.json:
 * "full", "window:N" or "linear". */
#ifndef ATTN_MODEL_ATTENTION_SPAN_H
#define ATTN_MODEL_ATTENTION_SPAN_H

#include "base/error.h"
#include "tensor/ops.h"

enum { ATTENTION_WINDOW_MOST = 1 << 30, ATTENTION_SPAN_TEXT = 32 };

/* ATTN_ERROR_ARGUMENT for anything else; `where` begins the sentence. */
attn_status attention_span_parse(const char *text, const char *where, attention_span *span);

/* Returns `text`. */
const char *attention_span_print(attention_span span, char text[ATTENTION_SPAN_TEXT]);

int attention_span_equal(attention_span a, attention_span b);

/* ATTN_ERROR_ARGUMENT for a window out of range, and for dropout where no weights are made. */
attn_status attention_span_check(attention_span span, double attention_dropout, const char *where);

#endif
