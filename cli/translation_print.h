/* How translate and score print results: plain lines with columns on request, or a JSON
 * object a line. */
#ifndef ATTN_CLI_TRANSLATION_PRINT_H
#define ATTN_CLI_TRANSLATION_PRINT_H

#include <attn/attn.h>

typedef struct print_settings {
    int json;
    int n_best;       /* LINE<tab>RANK<tab> before everything */
    int scores;       /* SCORE<tab> before the text */
    int token_scores; /* <tab>LOG_P of each token behind it */
    int no_text;      /* scores alone */
    int alignment;    /* 0, or <tab>SOURCE-TARGET of words (1) or tokens (2) at the end */
} print_settings;

/* Prints the results of texts 0 .. count - 1, which are lines first_line, ... counted from 1.
 * Returns 0, or nonzero when memory is short. */
int print_translations(const print_settings *s, const attn_translation *result, size_t count, size_t first_line);

#endif
