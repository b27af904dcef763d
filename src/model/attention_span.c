#include "model/attention_span.h"

#include <stdio.h>
#include <string.h>

static const char WINDOW[] = "window:";

/* A decimal number without sign, from 1 on; 0 for anything else. */
static int read_count(const char *text) {
    int64_t value = 0;
    for (; *text >= '0' && *text <= '9' && value <= ATTENTION_WINDOW_MOST; text++) {
        value = 10 * value + (*text - '0');
    }
    return *text || value > ATTENTION_WINDOW_MOST ? 0 : (int)value;
}

attn_status attention_span_parse(const char *text, const char *where, attention_span *span) {
    *span = (attention_span){ATTENTION_FULL, 0};
    if (strcmp(text, "full") == 0) {
        return ATTN_OK;
    }
    if (strcmp(text, "linear") == 0) {
        span->kind = ATTENTION_LINEAR;
        return ATTN_OK;
    }
    int window = strncmp(text, WINDOW, strlen(WINDOW)) == 0 ? read_count(text + strlen(WINDOW)) : 0;
    if (window > 0) {
        *span = (attention_span){ATTENTION_WINDOW, window};
        return ATTN_OK;
    }
    return fail(ATTN_ERROR_ARGUMENT, "%s is \"%.60s\"; full, linear or window:N, N tokens from 1 to %d, was expected", where,
                text, ATTENTION_WINDOW_MOST);
}

const char *attention_span_print(attention_span span, char text[ATTENTION_SPAN_TEXT]) {
    if (span.kind == ATTENTION_WINDOW) {
        (void)snprintf(text, ATTENTION_SPAN_TEXT, "%s%d", WINDOW, span.window);
    } else {
        (void)snprintf(text, ATTENTION_SPAN_TEXT, span.kind == ATTENTION_LINEAR ? "linear" : "full");
    }
    return text;
}

int attention_span_equal(attention_span a, attention_span b) {
    return a.kind == b.kind && (a.kind != ATTENTION_WINDOW || a.window == b.window);
}

attn_status attention_span_check(attention_span span, double attention_dropout, const char *where) {
    if (span.kind == ATTENTION_WINDOW && (span.window < 1 || span.window > ATTENTION_WINDOW_MOST)) {
        return fail(ATTN_ERROR_ARGUMENT, "%s: the attention's window is %d tokens, 1 to %d were expected", where, span.window,
                    ATTENTION_WINDOW_MOST);
    }
    if (span.kind == ATTENTION_LINEAR && attention_dropout > 0) {
        return fail(ATTN_ERROR_ARGUMENT, "%s: the dropout of attention weights is %g, but linear attention makes no weights: 0 "
                    "was expected", where, attention_dropout);
    }
    return ATTN_OK;
}
