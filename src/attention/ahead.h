/* Rows that will be needed soon, asked for from memory a few lines at a time beside the work at hand:
 * a head's rows are short pieces far apart, which the processor's own prefetching does not foresee. */
#ifndef ATTN_ATTENTION_AHEAD_H
#define ATTN_ATTENTION_AHEAD_H

#include <stddef.h>
#include <stdint.h>

enum { AHEAD_ARRAYS = 12 }; /* more than any walk has */

/* A walk through them, `piece` bytes at a time: `tokens` rows of `bytes` bytes of each array. */
typedef struct rows_ahead {
    const char *at, *end; /* of the present row */
    struct {
        const char *first;
        int64_t stride, bytes, tokens;
    } array[AHEAD_ARRAYS];
    int arrays, at_array;
    int64_t at_token, piece, lines; /* lines: of all */
} rows_ahead;

/* An empty walk; what the arrays held stays where it is. */
static inline void ahead_clear(rows_ahead *a) {
    a->at = a->end = NULL;
    a->arrays = a->at_array = 0;
    a->at_token = a->piece = a->lines = 0;
}

/* The present row's bounds. */
static inline void ahead_row(rows_ahead *a) {
    a->at = a->array[a->at_array].first + a->at_token * a->array[a->at_array].stride;
    a->end = a->at + a->array[a->at_array].bytes;
}

/* Another array to walk through, after those that are there. */
static inline void ahead_add(rows_ahead *a, const char *first, int64_t stride, int64_t bytes, int64_t tokens) {
    if (tokens > 0 && bytes > 0) {
        const int n = a->arrays++;
        a->array[n].first = first;
        a->array[n].stride = stride;
        a->array[n].bytes = bytes;
        a->array[n].tokens = tokens;
        a->lines += tokens * ((bytes + 63) / 64);
        if (n == 0) {
            ahead_row(a);
        }
    }
}

static inline void ahead_next(rows_ahead *a) {
    if (++a->at_token == a->array[a->at_array].tokens) {
        a->at_token = 0;
        a->at_array++;
    }
    if (a->at_array < a->arrays) {
        ahead_row(a);
    }
}

/* Spreads all of it over `calls` (at least 1) of ask_ahead(). */
static inline void ahead_spread(rows_ahead *a, int64_t calls) {
    a->piece = (a->lines + calls - 1) / calls * 64;
}

/* Asks for the next piece. */
static inline void ask_ahead(rows_ahead *a) {
    for (int64_t left = a->piece; left > 0 && a->at_array < a->arrays;) {
        const char *at = a->at;
        const char *const end = a->end - at < left ? a->end : at + left;
        left -= end - at;
        for (; at < end; at += 64) {
            __builtin_prefetch(at);
        }
        a->at = end;
        if (end >= a->end) {
            ahead_next(a);
        }
    }
}

#endif
