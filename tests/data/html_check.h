/* What must hold of HTML put together again, whatever its bytes and whatever the words' links say: for the random
 * test and for fuzzing. */
#ifndef ATTN_TESTS_HTML_CHECK_H
#define ATTN_TESTS_HTML_CHECK_H

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "data/html_place.h"
#include "data/html_token.h"

static inline uint64_t html_check_draw(uint64_t *seed, uint64_t below) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (*seed >> 33) % below;
}

/* A translation of the segment: its own text with each unit linked to itself (seed NULL), or units of it in any order
 * with links of any kind. */
static inline attn_status html_check_translate(const html_document *d, const html_segment *s, uint64_t *seed, html_buffer *text,
                                               html_alignment *a) {
    const char *source = d->texts + s->text;
    attn_status status = html_units_add(&a->source, source, 0, s->text_length, 0);
    size_t count = a->source.count, made = seed ? html_check_draw(seed, 2 * count + 1) : 0;
    status = status ? status : html_append(text, seed ? "" : source, seed ? 0 : s->text_length);
    for (size_t i = 0; i < made && !status; i++) {
        const html_unit *u = &a->source.units[html_check_draw(seed, count)];
        status = html_append(text, source + u->begin, u->end - u->begin);
        if (!status && i + 1 < made && html_check_draw(seed, 4)) {
            status = html_append(text, " ", 1);
        }
    }
    status = status ? status : html_units_add(&a->target, text->bytes, 0, text->count, 0);
    a->source_of = memory_allocate(a->target.count, sizeof(size_t));
    a->target_of = memory_allocate(count, sizeof(size_t));
    if (status || !a->source_of || !a->target_of) {
        return ATTN_ERROR_MEMORY;
    }
    for (size_t t = 0; t < a->target.count; t++) {
        a->source_of[t] = !seed ? t : html_check_draw(seed, 5) ? html_check_draw(seed, count) : HTML_NO_UNIT;
    }
    for (size_t u = 0; u < count; u++) {
        size_t targets = a->target.count;
        a->target_of[u] = !seed ? u : targets && html_check_draw(seed, 5) ? html_check_draw(seed, targets) : HTML_NO_UNIT;
    }
    return ATTN_OK;
}

static inline attn_status html_check_rewrite(const html_document *d, uint64_t *seed, html_buffer *out) {
    size_t written = 0;
    attn_status status = html_append(out, "", 0);
    for (size_t i = 0; i < d->count && !status; i++) {
        const html_segment *s = &d->segments[i];
        html_buffer text = {0};
        html_alignment a = {0};
        status = html_append(out, d->bytes + written, s->begin - written);
        status = status ? status : html_check_translate(d, s, seed, &text, &a);
        status = status ? status : html_place(d, s, text.bytes, &a, out);
        written = s->end;
        memory_free(text.bytes);
        memory_free(a.source.units);
        memory_free(a.target.units);
        memory_free(a.source_of);
        memory_free(a.target_of);
    }
    return status ? status : html_append(out, d->bytes + written, d->length - written);
}

typedef struct html_check_span {
    const char *bytes;
    size_t length;
} html_check_span;

static inline int html_check_order(const void *a, const void *b) {
    const html_check_span *x = a, *y = b;
    size_t shorter = x->length < y->length ? x->length : y->length;
    int order = memcmp(x->bytes, y->bytes, shorter);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

/* All that is no text, sorted; to be freed. */
static inline html_check_span *html_check_markup(const char *bytes, size_t length, size_t *count) {
    html_check_span *spans = malloc((length + 1) * sizeof *spans);
    html_reader reader = {bytes, length, 0, 0};
    html_token token;
    size_t at = 0;
    *count = 0;
    while (spans && html_read_token(&reader, &token)) {
        if (token.begin != at || token.end <= at || token.end > length) {
            free(spans);
            return NULL;
        }
        at = token.end;
        if (token.kind != HTML_TEXT) {
            spans[(*count)++] = (html_check_span){bytes + token.begin, token.end - token.begin};
        }
    }
    if (spans && at != length) {
        free(spans);
        return NULL;
    }
    if (spans) {
        qsort(spans, *count, sizeof *spans, html_check_order);
    }
    return spans;
}

static inline int html_check_same_markup(const char *a, size_t a_length, const html_buffer *b) {
    size_t x_count, y_count;
    html_check_span *x = html_check_markup(a, a_length, &x_count), *y = html_check_markup(b->bytes, b->count, &y_count);
    int same = x && y && x_count == y_count;
    for (size_t i = 0; same && i < x_count; i++) {
        same = html_check_order(&x[i], &y[i]) == 0;
    }
    free(x);
    free(y);
    return same;
}

/* Past spaces of any kind. */
static inline const char *html_check_skip(const char *text) {
    for (;;) {
        uint32_t codepoint;
        size_t size = *text ? utf8_decode(text, strnlen(text, 4), &codepoint) : 0;
        if (!size || !utf8_is_space(codepoint)) {
            return text;
        }
        text += size;
    }
}

/* The same but for how many spaces stand together. */
static inline int html_check_same_text(const char *a, const char *b) {
    for (;; a++, b++) {
        const char *x = html_check_skip(a), *y = html_check_skip(b);
        if ((x == a) != (y == b) || *x != *y) {
            return 0;
        }
        if (!*x) {
            return 1;
        }
        a = x;
        b = y;
    }
}

static inline int html_check_same_texts(const html_document *a, const html_document *b) {
    int same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = html_check_same_text(a->texts + a->segments[i].text, b->texts + b->segments[i].text);
    }
    return same;
}

/* NULL, or what does not hold. */
static inline const char *html_check(const char *bytes, size_t length, uint64_t seed) {
    html_document before, after;
    const char *wrong = NULL;
    if (html_document_parse(bytes, length, &before)) {
        return "parsing failed";
    }
    for (int same = 0; same < 2 && !wrong; same++) {
        html_buffer out = {0};
        if (html_check_rewrite(&before, same ? NULL : &seed, &out)) {
            wrong = "placing failed";
        } else if (!html_check_same_markup(bytes, length, &out)) {
            wrong = "not every tag stands there once";
        } else if (html_document_parse(out.bytes, out.count, &after)) {
            wrong = "parsing the result failed";
        } else {
            wrong = after.pairs != before.pairs                            ? "pairs are torn"
                    : same && !html_check_same_texts(&before, &after) ? "a text that was translated to itself is another"
                                                                          : NULL;
            html_document_release(&after);
        }
        memory_free(out.bytes);
    }
    html_document_release(&before);
    return wrong;
}

#endif
