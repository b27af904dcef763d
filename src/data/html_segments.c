#include "data/html_segments.h"

#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "data/html_references.h"
#include "data/html_token.h"

enum { MOST_DEEP = 64 };
#define NO_ITEM ((size_t)-1)

typedef struct run_token {
    html_token token;
    size_t partner;    /* of a tag that found it */
    size_t texts;      /* texts that are not blank before this token ... */
    size_t worded;     /* ... and those that hold a letter */
    size_t line;
} run_token;

typedef struct token_list {
    run_token *tokens;
    size_t count, capacity;
} token_list;

static bool is_blank(const html_document *d, const html_token *t) {
    for (size_t at = t->begin; at < t->end; at++) {
        if (!html_is_space(d->bytes[at])) {
            return false;
        }
    }
    return true;
}

static bool has_letter(const char *text, size_t length) {
    for (size_t at = 0; at < length;) {
        uint32_t codepoint;
        at += utf8_decode(text + at, length - at, &codepoint);
        if (utf8_is_letter(codepoint)) {
            return true;
        }
    }
    return false;
}

static attn_status read_tokens(const html_document *d, token_list *list) {
    html_reader reader = {d->bytes, d->length, 0, 0};
    html_token token;
    size_t texts = 0, worded = 0, line = 1;
    while (html_read_token(&reader, &token)) {
        attn_status status = memory_grow(&list->tokens, &list->capacity, list->count + 1, sizeof *list->tokens);
        if (status) {
            return status;
        }
        list->tokens[list->count++] = (run_token){token, 0, texts, worded, line};
        texts += token.kind == HTML_TEXT && !is_blank(d, &token);
        worded += token.kind == HTML_TEXT && has_letter(d->bytes + token.begin, token.end - token.begin);
        for (size_t at = token.begin; at < token.end; at++) {
            line += d->bytes[at] == '\n';
        }
    }
    return ATTN_OK;
}

/* Finds the pairs of inline tags; the others become breaks, and with a break the pairs around it. */
static void match_tags(html_document *d, token_list *list) {
    size_t open[MOST_DEEP], depth = 0;
    for (size_t i = 0; i <= list->count; i++) {
        html_token *t = i < list->count ? &list->tokens[i].token : NULL;
        if (t && t->kind == HTML_OPEN && depth < MOST_DEEP) {
            open[depth++] = i;
        } else if (t && t->kind == HTML_CLOSE && depth > 0 &&
                   html_same_name(d->bytes, t, &list->tokens[open[depth - 1]].token)) {
            list->tokens[i].partner = open[--depth];
            list->tokens[open[depth]].partner = i;
            d->pairs++;
        } else if (!t || t->kind == HTML_OPEN || t->kind == HTML_CLOSE || t->kind == HTML_BREAK) {
            while (depth > 0) {
                list->tokens[open[--depth]].token.kind = HTML_BREAK;
            }
            if (t) {
                t->kind = HTML_BREAK;
            }
        }
    }
}

/* --- one run ---------------------------------------------------------------------- */

typedef struct builder {
    html_document *document;
    html_segment segment;
    bool space;     /* white space since the last letter: a space if another one follows */
    bool separated; /* the same, by a kept item */
    bool here;      /* white space right before this place */
    size_t last;    /* the item right before this place, or NO_ITEM */
    bool readable;
} builder;

static attn_status append_text(builder *b, const char *bytes, size_t length) {
    html_document *d = b->document;
    attn_status status = memory_grow(&d->texts, &d->text_capacity, d->text_count + length + 1, 1);
    if (!status && length) {
        memcpy(d->texts + d->text_count, bytes, length);
    }
    d->text_count += status ? 0 : length;
    b->segment.text_length += status ? 0 : length;
    return status;
}

static void take_space(builder *b) {
    b->space = b->here = true;
    if (b->last != NO_ITEM) {
        b->document->items[b->last].space_after = true;
    }
}

/* A character (or part of one) that is no white space. */
static attn_status take_bytes(builder *b, const char *bytes, size_t length) {
    attn_status status = ATTN_OK;
    if (b->segment.text_length == 0) {
        b->segment.space_first |= b->space;
    } else if (b->space || b->separated) {
        status = append_text(b, " ", 1);
    }
    b->space = b->separated = b->here = false;
    b->last = NO_ITEM;
    return status ? status : append_text(b, bytes, length);
}

static attn_status take_text(builder *b, size_t begin, size_t end) {
    const char *bytes = b->document->bytes;
    attn_status status = ATTN_OK;
    b->readable &= utf8_is_valid(bytes + begin, end - begin) && !memchr(bytes + begin, '\0', end - begin);
    for (size_t at = begin, size; at < end && !status; at += size) {
        char decoded[7];
        size = bytes[at] == '&' ? html_reference_read(bytes + at, end - at, decoded) : 0;
        const char *text = size ? decoded : bytes + at;
        size_t length = size ? strlen(decoded) : 1;
        size = size ? size : 1;
        if (html_is_space(*text)) {
            take_space(b);
        } else {
            status = take_bytes(b, text, length);
        }
    }
    return status;
}

static attn_status take_item(builder *b, html_item item) {
    html_document *d = b->document;
    attn_status status = memory_grow(&d->items, &d->item_capacity, d->item_count + 1, sizeof *d->items);
    if (!status) {
        item.position = b->segment.text_length;
        item.space_before = b->here;
        b->last = d->item_count;
        b->here = false;
        b->separated |= item.separates;
        d->items[d->item_count++] = item;
        b->segment.item_count++;
    }
    return status;
}

static bool holds_text(const token_list *list, size_t open) {
    return list->tokens[open].texts < list->tokens[list->tokens[open].partner].texts;
}

/* The number of a note: no word of the sentence, and lost if the model leaves it out. */
static bool is_note(const html_document *d, const token_list *list, size_t open) {
    const html_token *t = &list->tokens[open].token;
    const char *name = d->bytes + t->name_begin;
    return t->name_length == 3 && (memcmp(name, "sup", 3) == 0 || memcmp(name, "sub", 3) == 0) &&
           list->tokens[open].worded == list->tokens[list->tokens[open].partner].worded;
}

static attn_status take_open(builder *b, const token_list *list, size_t *i, size_t *open, size_t *depth) {
    const html_token *t = &list->tokens[*i].token;
    if (holds_text(list, *i) && !is_note(b->document, list, *i)) {
        open[(*depth)++] = b->segment.item_count;
        return take_item(b, (html_item){.kind = HTML_ITEM_OPEN, .begin = t->begin, .end = t->end});
    }
    const html_token *close = &list->tokens[list->tokens[*i].partner].token;
    *i = list->tokens[*i].partner;
    return take_item(b, (html_item){.kind = HTML_ITEM_KEPT, .begin = t->begin, .end = close->end});
}

static attn_status take_close(builder *b, const html_token *t, size_t partner) {
    html_item *items = b->document->items + b->segment.items;
    items[partner].partner = b->segment.item_count;
    return take_item(b, (html_item){.kind = HTML_ITEM_CLOSE, .begin = t->begin, .end = t->end, .partner = partner});
}

/* Tokens first .. last, of which the outermost are texts or tags around text. */
static attn_status take_tokens(builder *b, const token_list *list, size_t first, size_t last) {
    size_t open[MOST_DEEP], depth = 0;
    attn_status status = ATTN_OK;
    for (size_t i = first; i <= last && !status; i++) {
        const html_token *t = &list->tokens[i].token;
        if (t->kind == HTML_OPEN) {
            status = take_open(b, list, &i, open, &depth);
        } else if (t->kind == HTML_CLOSE) {
            status = take_close(b, t, open[--depth]);
        } else if (t->kind == HTML_KEPT) {
            status = take_item(b, (html_item){.kind = HTML_ITEM_KEPT, .begin = t->begin, .end = t->end, .separates = t->separates});
        } else {
            size_t begin = t->begin > b->segment.begin ? t->begin : b->segment.begin;
            status = take_text(b, begin, t->end < b->segment.end ? t->end : b->segment.end);
        }
    }
    return status;
}

/* Keeps the segment if there is something to translate in it. */
static attn_status finish(builder *b) {
    html_document *d = b->document;
    attn_status status = append_text(b, "", 0);
    if (status) {
        return status;
    }
    const html_segment *s = &b->segment;
    if (!b->readable) {
        d->unreadable_line = d->unreadable++ ? d->unreadable_line : s->line;
    }
    if (!b->readable || !has_letter(d->texts + s->text, s->text_length)) {
        d->text_count = s->text;
        d->item_count = s->items;
        return ATTN_OK;
    }
    status = memory_grow(&d->segments, &d->capacity, d->count + 1, sizeof *d->segments);
    if (!status) {
        b->segment.space_last = b->space;
        d->texts[d->text_count++] = '\0';
        d->segments[d->count++] = b->segment;
    }
    return status;
}

/* Tokens first .. end - 1, none of them a break. */
static attn_status take_run(html_document *d, const token_list *list, size_t first, size_t end) {
    while (first < end) { /* what stands before all text is kept */
        const html_token *t = &list->tokens[first].token;
        if ((t->kind == HTML_TEXT && !is_blank(d, t)) || (t->kind == HTML_OPEN && holds_text(list, first))) {
            break;
        }
        first = t->kind == HTML_OPEN ? list->tokens[first].partner + 1 : first + 1;
    }
    while (end > first) { /* and what stands behind it */
        const html_token *t = &list->tokens[end - 1].token;
        if ((t->kind == HTML_TEXT && !is_blank(d, t)) ||
            (t->kind == HTML_CLOSE && holds_text(list, list->tokens[end - 1].partner))) {
            break;
        }
        end = t->kind == HTML_CLOSE ? list->tokens[end - 1].partner : end - 1;
    }
    if (first >= end) {
        return ATTN_OK;
    }
    const html_token *from = &list->tokens[first].token, *to = &list->tokens[end - 1].token;
    builder b = {.document = d, .last = NO_ITEM, .readable = true};
    b.segment = (html_segment){.begin = from->begin, .end = to->end, .line = list->tokens[first].line, .text = d->text_count,
                               .items = d->item_count};
    while (from->kind == HTML_TEXT && html_is_space(d->bytes[b.segment.begin])) {
        b.segment.line += d->bytes[b.segment.begin++] == '\n';
    }
    while (to->kind == HTML_TEXT && html_is_space(d->bytes[b.segment.end - 1])) {
        b.segment.end--;
    }
    attn_status status = take_tokens(&b, list, first, end - 1);
    return status ? status : finish(&b);
}

attn_status html_document_parse(const char *bytes, size_t length, html_document *d) {
    token_list list = {0};
    *d = (html_document){.bytes = bytes, .length = length};
    attn_status status = read_tokens(d, &list);
    if (!status) {
        match_tags(d, &list);
    }
    for (size_t i = 0, first = 0; i <= list.count && !status; i++) {
        if (i == list.count || list.tokens[i].token.kind == HTML_BREAK) {
            status = take_run(d, &list, first, i);
            first = i + 1;
        }
    }
    memory_free(list.tokens);
    if (status) {
        html_document_release(d);
    }
    return status;
}

void html_document_release(html_document *d) {
    memory_free(d->segments);
    memory_free(d->texts);
    memory_free(d->items);
    *d = (html_document){0};
}
