#include "data/html_token.h"

#include <string.h>

/* --- elements -------------------------------------------------------------------- */

typedef enum element_class {
    OTHER,       /* ends sentences, as every element that is not listed */
    OTHER_VOID,  /* the same, and has no content */
    OTHER_KEPT,  /* the same, and its content is not translated */
    OTHER_RAW,   /* the same, and tags in its content are none */
    INLINE,      /* stands within a sentence */
    INLINE_VOID,
    INLINE_KEPT,
    INLINE_RAW,
    TITLE,       /* ends sentences; its content is text without tags */
    PLAINTEXT    /* never ends */
} element_class;

static const struct {
    const char *names; /* each with a space behind it */
    element_class class;
} ELEMENTS[] = {
    {"a abbr acronym b bdi bdo big cite data del dfn em font i ins label mark nobr q rb rp rt rtc ruby s small span strike "
     "strong sub sup time tt u ",
     INLINE},
    {"br img input wbr ", INLINE_VOID},
    {"code kbd samp var svg math audio video canvas picture object output meter progress ", INLINE_KEPT},
    {"textarea iframe ", INLINE_RAW},
    {"area base basefont bgsound col embed frame hr link meta param source track ", OTHER_VOID},
    {"pre listing ", OTHER_KEPT},
    {"script style xmp noembed noframes ", OTHER_RAW},
    {"title ", TITLE},
    {"plaintext ", PLAINTEXT},
};

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_letter(char c) {
    return lower(c) >= 'a' && lower(c) <= 'z';
}

static bool same(const char *a, const char *b, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (lower(a[i]) != lower(b[i])) {
            return false;
        }
    }
    return true;
}

bool html_same_name(const char *bytes, const html_token *a, const html_token *b) {
    return a->name_length == b->name_length && same(bytes + a->name_begin, bytes + b->name_begin, a->name_length);
}

static element_class class_of(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof ELEMENTS / sizeof *ELEMENTS; i++) {
        for (const char *at = ELEMENTS[i].names, *end; *at; at = end + 1) {
            end = strchr(at, ' ');
            if ((size_t)(end - at) == length && same(at, name, length)) {
                return ELEMENTS[i].class;
            }
        }
    }
    return OTHER;
}

/* --- tags ------------------------------------------------------------------------- */

/* What begins with "<". */
typedef enum markup_kind { NOT_MARKUP, START_TAG, END_TAG, COMMENT, DECLARATION, CUT_OFF } markup_kind;

typedef struct markup {
    markup_kind kind;
    size_t end, name_begin, name_length;
    bool self_closing, translate_no;
} markup;

typedef struct span {
    size_t begin, end;
} span;

static bool span_is(const char *bytes, span s, const char *word) {
    return s.end - s.begin == strlen(word) && same(bytes + s.begin, word, s.end - s.begin);
}

static bool has_word(const char *bytes, span s, const char *word) {
    for (size_t at = s.begin, first; at < s.end;) {
        while (at < s.end && html_is_space(bytes[at])) {
            at++;
        }
        first = at;
        while (at < s.end && !html_is_space(bytes[at])) {
            at++;
        }
        if (span_is(bytes, (span){first, at}, word)) {
            return true;
        }
    }
    return false;
}

static size_t skip_space(const html_reader *r, size_t at) {
    while (at < r->length && html_is_space(r->bytes[at])) {
        at++;
    }
    return at;
}

/* The value behind "=", quoted or not; returns where it ends. */
static size_t read_value(const html_reader *r, size_t at, span *value) {
    at = skip_space(r, at);
    char quote = at < r->length ? r->bytes[at] : '\0';
    if (quote == '"' || quote == '\'') {
        const char *end = memchr(r->bytes + at + 1, quote, r->length - at - 1);
        *value = (span){at + 1, end ? (size_t)(end - r->bytes) : r->length};
        return end ? value->end + 1 : r->length;
    }
    value->begin = at;
    while (at < r->length && r->bytes[at] != '>' && !html_is_space(r->bytes[at])) {
        at++;
    }
    value->end = at;
    return at;
}

/* Attributes, up to and with the tag's ">". A tag that the document's end cuts off is CUT_OFF. */
static void read_attributes(const html_reader *r, size_t at, markup *m) {
    while (at < r->length && r->bytes[at] != '>') {
        m->self_closing = r->bytes[at] == '/';
        if (m->self_closing || html_is_space(r->bytes[at])) {
            at++;
            continue;
        }
        span name = {at, at + 1}, value = {0, 0}; /* a "=" that comes first belongs to the name */
        while (name.end < r->length && r->bytes[name.end] != '/' && r->bytes[name.end] != '>' && r->bytes[name.end] != '=' &&
               !html_is_space(r->bytes[name.end])) {
            name.end++;
        }
        at = skip_space(r, name.end);
        if (at < r->length && r->bytes[at] == '=') {
            at = read_value(r, at + 1, &value);
        }
        m->translate_no |= span_is(r->bytes, name, "translate") && span_is(r->bytes, value, "no");
        m->translate_no |= span_is(r->bytes, name, "class") && has_word(r->bytes, value, "notranslate");
    }
    m->kind = at < r->length ? m->kind : CUT_OFF;
    m->end = at < r->length ? at + 1 : r->length;
}

static void read_tag(const html_reader *r, size_t at, markup *m) {
    m->name_begin = at;
    while (at < r->length && r->bytes[at] != '/' && r->bytes[at] != '>' && !html_is_space(r->bytes[at])) {
        at++;
    }
    m->name_length = at - m->name_begin;
    read_attributes(r, at, m);
}

/* Behind the next `last` at or after `at`, or the end. */
static size_t behind(const html_reader *r, size_t at, const char *last) {
    size_t length = strlen(last);
    while (at < r->length) {
        const char *found = memchr(r->bytes + at, last[0], r->length - at);
        if (!found || (size_t)(found - r->bytes) + length > r->length) {
            break;
        }
        at = (size_t)(found - r->bytes);
        if (memcmp(found, last, length) == 0) {
            return at + length;
        }
        at++;
    }
    return r->length;
}

static size_t comment_end(const html_reader *r, size_t at) {
    const char *text = r->bytes + at;
    size_t left = r->length - at;
    if (left > 0 && text[0] == '>') {
        return at + 1;
    }
    if (left > 1 && memcmp(text, "->", 2) == 0) {
        return at + 2;
    }
    for (; at < r->length; at++) {
        const char *dashes = memchr(r->bytes + at, '-', r->length - at);
        if (!dashes) {
            break;
        }
        at = (size_t)(dashes - r->bytes);
        left = r->length - at;
        if (left > 2 && memcmp(dashes, "-->", 3) == 0) {
            return at + 3;
        }
        if (left > 3 && memcmp(dashes, "--!>", 4) == 0) {
            return at + 4;
        }
    }
    return r->length;
}

/* The markup whose "<" is at `at`. */
static markup read_markup(const html_reader *r, size_t at) {
    markup m = {.kind = NOT_MARKUP, .end = at + 1};
    const char *text = r->bytes + at;
    const size_t left = r->length - at;
    if (left > 1 && is_letter(text[1])) {
        m.kind = START_TAG;
        read_tag(r, at + 1, &m);
    } else if (left > 2 && text[1] == '/' && is_letter(text[2])) {
        m.kind = END_TAG;
        read_tag(r, at + 2, &m);
    } else if (left > 3 && memcmp(text, "<!--", 4) == 0) {
        m.kind = COMMENT;
        m.end = comment_end(r, at + 4);
    } else if (left > 1 && (text[1] == '!' || text[1] == '?')) {
        m.kind = DECLARATION;
        m.end = behind(r, at + 2, ">");
    } else if (left > 2 && text[1] == '/') {
        m.kind = COMMENT; /* a bogus one: "</>" too */
        m.end = behind(r, at + 2, ">");
    }
    return m;
}

/* --- contents that are kept ---------------------------------------------------------- */

/* 1 where "</name" stands at `at`, and the name ends there. */
static bool is_end_tag(const html_reader *r, size_t at, const char *name, size_t length) {
    const char *text = r->bytes + at;
    size_t left = r->length - at;
    return left > length + 2 && text[0] == '<' && text[1] == '/' && same(text + 2, name, length) &&
           (html_is_space(text[length + 2]) || text[length + 2] == '/' || text[length + 2] == '>');
}

/* Where the end tag of a raw text begins: the first "</name". In a script, one within "<!-- <script" ends
 * only that (13.2.5.26). */
static size_t raw_content_end(const html_reader *r, size_t at, const char *name, size_t length) {
    const bool script = length == 6 && same(name, "script", 6);
    bool escaped = false, twice = false;
    for (; at < r->length; at++) {
        const char *text = r->bytes + at;
        const size_t left = r->length - at;
        if (script && left > 3 && memcmp(text, "<!--", 4) == 0) {
            escaped = true;
        } else if (script && left > 2 && memcmp(text, "-->", 3) == 0) {
            escaped = twice = false;
        } else if (escaped && !twice && left > 7 && text[0] == '<' && same(text + 1, name, 6) &&
                   (html_is_space(text[7]) || text[7] == '/' || text[7] == '>')) {
            twice = true;
        } else if (*text == '<' && is_end_tag(r, at, name, length)) {
            if (!twice) {
                return at;
            }
            twice = false;
        }
    }
    return r->length;
}

/* The end of a raw element whose content begins at `at`, its end tag with it. */
static size_t raw_end(const html_reader *r, size_t at, const char *name, size_t length) {
    at = raw_content_end(r, at, name, length);
    return at < r->length ? read_markup(r, at).end : at;
}

/* The end of an element that is kept whole: behind the end tag that matches. *closed: there is one. A paragraph
 * and an option also end where the next begins. */
static size_t kept_end(const html_reader *r, size_t at, const char *name, size_t length, bool *closed) {
    const bool ends_itself = (length == 1 && same(name, "p", 1)) || (length == 6 && same(name, "option", 6));
    *closed = true;
    for (size_t depth = 1; at < r->length;) {
        const char *next = memchr(r->bytes + at, '<', r->length - at);
        if (!next) {
            break;
        }
        size_t begin = (size_t)(next - r->bytes);
        markup m = read_markup(r, begin);
        at = m.end;
        const char *found = r->bytes + m.name_begin;
        bool is_same = m.name_length == length && same(found, name, length);
        if (m.kind == START_TAG && is_same && ends_itself) {
            return begin;
        }
        if (m.kind == START_TAG) {
            element_class class = class_of(found, m.name_length);
            if (class == OTHER_RAW || class == INLINE_RAW) {
                at = raw_end(r, at, found, m.name_length);
            }
            depth += is_same && !m.self_closing;
        } else if (m.kind == END_TAG && is_same && --depth == 0) {
            return at;
        }
    }
    *closed = false;
    return r->length;
}

/* --- tokens -------------------------------------------------------------------------- */

static void take_start_tag(html_reader *r, const markup *m, html_token *token) {
    const char *name = r->bytes + m->name_begin;
    const element_class class = class_of(name, m->name_length);
    const bool inside = class >= INLINE && class <= INLINE_RAW;
    bool closed = true;
    token->kind = inside ? HTML_KEPT : HTML_BREAK;
    token->separates = inside && !(m->name_length == 3 && same(name, "wbr", 3));
    if (class == PLAINTEXT) {
        token->end = r->length;
    } else if (class == OTHER_RAW || class == INLINE_RAW) {
        token->end = raw_end(r, m->end, name, m->name_length);
    } else if (class == INLINE_VOID || class == OTHER_VOID) {
        return;
    } else if (m->self_closing) {
        token->separates = class == INLINE_KEPT;
    } else if (m->translate_no || class == OTHER_KEPT || class == INLINE_KEPT) {
        token->end = kept_end(r, m->end, name, m->name_length, &closed);
        token->kind = closed ? token->kind : HTML_BREAK;
    } else if (class == TITLE) {
        r->plain_end = raw_content_end(r, m->end, name, m->name_length);
    } else if (class == INLINE) {
        token->kind = HTML_OPEN;
    }
}

static void take_markup(html_reader *r, const markup *m, html_token *token) {
    token->end = m->end;
    token->name_begin = m->name_begin;
    token->name_length = m->name_length;
    token->kind = m->kind == COMMENT ? HTML_KEPT : HTML_BREAK;
    if (m->kind == START_TAG) {
        take_start_tag(r, m, token);
    } else if (m->kind == END_TAG) {
        element_class class = class_of(r->bytes + m->name_begin, m->name_length);
        token->kind = class == INLINE ? HTML_CLOSE : HTML_BREAK;
    }
}

bool html_read_token(html_reader *r, html_token *token) {
    *token = (html_token){.kind = HTML_TEXT, .begin = r->at, .end = r->length};
    size_t at = r->at > r->plain_end ? r->at : r->plain_end;
    for (; at < r->length; at++) {
        const char *next = memchr(r->bytes + at, '<', r->length - at);
        if (!next) {
            break;
        }
        at = (size_t)(next - r->bytes);
        markup m = read_markup(r, at);
        if (m.kind != NOT_MARKUP) {
            token->end = at;
            if (at == r->at) {
                take_markup(r, &m, token);
            }
            break;
        }
    }
    r->at = token->end;
    return token->begin < token->end;
}
