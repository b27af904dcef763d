#include "pieces.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int add(text_pieces *p, const char *text, size_t length, size_t line) {
    if (p->count == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 256;
        char **texts = realloc(p->texts, capacity * sizeof *texts);
        p->texts = texts ? texts : p->texts;
        size_t *lines = texts ? realloc(p->lines, capacity * sizeof *lines) : NULL;
        p->lines = lines ? lines : p->lines;
        if (!lines) {
            return -1;
        }
        p->capacity = capacity;
    }
    p->texts[p->count] = strndup(text, length);
    p->lines[p->count] = line;
    return p->texts[p->count] ? (p->count++, 0) : -1;
}

/* The sentences of a line, to be freed; NULL: memory is short. */
static attn_sentence *sentences_of(const char *line, size_t *count) {
    *count = attn_split_sentences(line, NULL, 0);
    attn_sentence *sentences = malloc((*count + 1) * sizeof *sentences);
    if (sentences) {
        (void)attn_split_sentences(line, sentences, *count);
    }
    return sentences;
}

int pieces_make(text_pieces *p, char *const *lines, size_t count) {
    *p = (text_pieces){0};
    for (size_t i = 0; i < count; i++) {
        size_t parts;
        attn_sentence *sentences = sentences_of(lines[i], &parts);
        int failed = !sentences || (parts == 0 && add(p, "", 0, i));
        for (size_t j = 0; j < parts && !failed; j++) {
            failed = add(p, lines[i] + sentences[j].begin, sentences[j].end - sentences[j].begin, i);
        }
        free(sentences);
        if (failed) {
            (void)fputs("attn: out of memory\n", stderr);
            pieces_free(p);
            return -1;
        }
    }
    return 0;
}

void pieces_free(text_pieces *p) {
    for (size_t i = 0; i < p->count; i++) {
        free(p->texts[i]);
    }
    free(p->texts);
    free(p->lines);
    *p = (text_pieces){0};
}

void pieces_print(const text_pieces *p, char *const *lines, size_t count, const attn_translation *translation) {
    size_t piece = 0;
    for (size_t i = 0; i < count; i++) {
        size_t parts;
        attn_sentence *sentences = sentences_of(lines[i], &parts);
        for (size_t j = 0; piece < p->count && p->lines[piece] == i; piece++, j++) {
            const char *text = attn_translation_text(translation, piece);
            (void)fputs(text ? text : "", stdout);
            if (sentences && j + 1 < parts) {
                (void)fwrite(lines[i] + sentences[j].end, 1, sentences[j].next - sentences[j].end, stdout);
            }
        }
        free(sentences);
        (void)putchar('\n');
    }
}
