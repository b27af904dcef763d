/* A glossary: where a source phrase stands in a text, as words of its own, its translation is
 * required of the translation. */
#ifndef ATTN_CLI_GLOSSARY_H
#define ATTN_CLI_GLOSSARY_H

#include "lines.h"

typedef struct glossary {
    line_list rows; /* a source phrase, a tab, its translation */
} glossary;

/* 0, or -1 after saying what is wrong, with the line's number. */
int glossary_read(glossary *g, const char *path, const char *who);
void glossary_free(glossary *g);

/* The translations that a text asks for, with tabs between, to be freed; longer source phrases come
 * first, and a shorter one within them asks for nothing. NULL: memory is short. */
char *glossary_find(const glossary *g, const char *text);

#endif
