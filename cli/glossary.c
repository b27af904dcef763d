#include "glossary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What attn_translate takes of one text. */
enum { MOST_FOUND = 32 };

/* Longer sources first, so that they take their words before shorter ones. */
static int longer_first(const void *a, const void *b) {
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    size_t m = strcspn(x, "\t"), n = strcspn(y, "\t");
    return m != n ? (m < n ? 1 : -1) : strcmp(x, y);
}

int glossary_read(glossary *g, const char *path, const char *who) {
    if (line_list_read(&g->rows, path, who)) {
        return -1;
    }
    size_t kept = 0;
    for (size_t i = 0; i < g->rows.count; i++) {
        char *row = g->rows.lines[i];
        const char *tab = strchr(row, '\t');
        if (!*row) {
            free(row);
            continue;
        }
        if (!tab || tab == row || !tab[1] || strchr(tab + 1, '\t')) {
            (void)fprintf(stderr, "%s: %s, line %zu: a phrase, a tab and its translation were expected\n", who, path, i + 1);
            memmove(g->rows.lines + kept, g->rows.lines + i, (g->rows.count - i) * sizeof *g->rows.lines);
            g->rows.count -= i - kept;
            return -1;
        }
        g->rows.lines[kept++] = row;
    }
    g->rows.count = kept;
    qsort(g->rows.lines, kept, sizeof *g->rows.lines, longer_first);
    return 0;
}

void glossary_free(glossary *g) {
    line_list_free(&g->rows);
}

static int is_word_byte(char byte) {
    unsigned char b = (unsigned char)byte;
    return (b >= '0' && b <= '9') || (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z') || b >= 0x80;
}

/* Finds the phrase as words of its own, and covers it with spaces. Where it begins or ends in bytes
 * that are no ASCII (Chinese, for one), what stands beside it there is not looked at. */
static int take_phrase(char *text, const char *phrase, size_t length) {
    int word_first = is_word_byte(phrase[0]) && (unsigned char)phrase[0] < 0x80;
    int word_last = is_word_byte(phrase[length - 1]) && (unsigned char)phrase[length - 1] < 0x80;
    size_t size = strlen(text);
    for (size_t at = 0; at + length <= size; at++) {
        if (memcmp(text + at, phrase, length) == 0 && !(word_first && at && is_word_byte(text[at - 1])) &&
            !(word_last && is_word_byte(text[at + length]))) {
            memset(text + at, ' ', length);
            return 1;
        }
    }
    return 0;
}

char *glossary_find(const glossary *g, const char *text) {
    char *rest = strdup(text), *found = strdup("");
    size_t size = 0;
    int count = 0;
    for (size_t i = 0; i < g->rows.count && rest && found && count < MOST_FOUND; i++) {
        const char *row = g->rows.lines[i];
        size_t length = strcspn(row, "\t"), more = strlen(row + length + 1);
        if (!take_phrase(rest, row, length)) {
            continue;
        }
        char *longer = realloc(found, size + more + 2);
        if (!longer) {
            free(found);
            found = NULL;
            break;
        }
        found = longer;
        (void)snprintf(found + size, more + 2, "%s%s", size ? "\t" : "", row + length + 1);
        size += more + (size ? 1 : 0);
        count++;
    }
    free(rest);
    return found;
}
