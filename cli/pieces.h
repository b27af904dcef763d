/* Lines cut into sentences, translated apart, and put together again with the white space that
 * stood between them. */
#ifndef ATTN_CLI_PIECES_H
#define ATTN_CLI_PIECES_H

#include <attn/attn.h>

typedef struct text_pieces {
    char **texts;  /* [count] */
    size_t *lines; /* [count]: the line of each, from 0; rising */
    size_t count, capacity;
} text_pieces;

/* -1: memory is short. An empty line is an empty piece. Freed also on failure. */
int pieces_make(text_pieces *p, char *const *lines, size_t count);
void pieces_free(text_pieces *p);

/* A line of output for each line, to standard output. */
void pieces_print(const text_pieces *p, char *const *lines, size_t count, const attn_translation *translation);

#endif
