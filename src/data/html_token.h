/* HTML cut into tokens that, laid end to end, are its bytes again: texts, tags, and what is kept whole. By the
 * states of the WHATWG's tokenizer (HTML, 13.2.5), whatever the bytes are. */
#ifndef ATTN_DATA_HTML_TOKEN_H
#define ATTN_DATA_HTML_TOKEN_H

#include <stdbool.h>
#include <stddef.h>

typedef enum html_token_kind {
    HTML_TEXT,
    HTML_OPEN,  /* start tag of an element within a sentence (b, a, span) */
    HTML_CLOSE, /* its end tag */
    HTML_KEPT,  /* stands within a sentence and is not translated: br, img, a comment; code with its content,
                 * any inline element with translate="no" or the class notranslate with its content */
    HTML_BREAK  /* sentences end here: a tag of any other element, a declaration, script and pre with their content */
} html_token_kind;

typedef struct html_token {
    html_token_kind kind;
    size_t begin, end;              /* in the document's bytes */
    size_t name_begin, name_length; /* of a tag */
    bool separates;                 /* HTML_KEPT: the words on its sides are two (br, img; not a comment) */
} html_token;

typedef struct html_reader {
    const char *bytes;
    size_t length, at;
    size_t plain_end; /* before here nothing is markup: the content of <title> */
} html_reader;

/* The next token; false at the end. Begin with {bytes, length, 0, 0}. */
bool html_read_token(html_reader *reader, html_token *token);

/* 1 where two tags have the same name. */
bool html_same_name(const char *bytes, const html_token *a, const html_token *b);

static inline bool html_is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

#endif
