/* The vocabulary of text that is already split: words are counted in a hash table
 * (open addressing, doubled when half full) and sorted. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/vocabulary.h"

typedef struct word_table {
    counted_word *slots;
    size_t size; /* a power of two */
    size_t used;
} word_table;

text_line next_word(const char *text, size_t length, size_t *at) {
    size_t start = *at;
    while (start < length && (unsigned char)text[start] <= ' ')
        start++;
    size_t end = start;
    while (end < length && (unsigned char)text[end] > ' ')
        end++;
    *at = end;
    return (text_line){text + start, end - start};
}

static counted_word *table_slot(const word_table *table, text_line word) {
    size_t slot = (size_t)hash_bytes(word.bytes, word.length) & (table->size - 1);
    for (;; slot = (slot + 1) & (table->size - 1)) {
        counted_word *w = &table->slots[slot];
        if (!w->word.bytes ||
            (w->word.length == word.length && memcmp(w->word.bytes, word.bytes, word.length) == 0))
            return w;
    }
}

static attn_status table_double(word_table *table) {
    word_table larger = {.size = table->size ? table->size * 2 : 4096, .used = table->used};
    larger.slots = memory_allocate(larger.size, sizeof *larger.slots);
    if (!larger.slots)
        return ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < table->size; i++)
        if (table->slots[i].word.bytes)
            *table_slot(&larger, table->slots[i].word) = table->slots[i];
    memory_free(table->slots);
    *table = larger;
    return ATTN_OK;
}

static attn_status count_line(word_table *table, text_line line) {
    for (size_t at = 0;;) {
        text_line word = next_word(line.bytes, line.length, &at);
        if (word.length == 0)
            return ATTN_OK;
        if (table->used * 2 >= table->size) {
            attn_status status = table_double(table);
            if (status)
                return status;
        }
        counted_word *w = table_slot(table, word);
        if (!w->word.bytes) {
            w->word = word;
            table->used++;
        }
        w->count++;
    }
}

static int by_falling_count(const void *left, const void *right) {
    const counted_word *a = left, *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    size_t shorter = a->word.length < b->word.length ? a->word.length : b->word.length;
    int order = memcmp(a->word.bytes, b->word.bytes, shorter);
    return order ? order : (a->word.length > b->word.length) - (a->word.length < b->word.length);
}

static int is_special(text_line word) {
    static const char *const names[] = {"</s>", "<unk>", "<pad>"};
    for (size_t i = 0; i < 3; i++)
        if (word.length == strlen(names[i]) && memcmp(word.bytes, names[i], word.length) == 0)
            return 1;
    return 0;
}

attn_status words_count(const text_line *const sides[2], const size_t counts[2], counted_word **words, size_t *count) {
    word_table table = {0};
    attn_status status = table_double(&table);
    *words = NULL;
    *count = 0;
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < counts[side] && !status; i++)
            status = count_line(&table, sides[side][i]);
    if (status) {
        memory_free(table.slots);
        return status;
    }
    for (size_t i = 0; i < table.size; i++)
        if (table.slots[i].word.bytes)
            table.slots[(*count)++] = table.slots[i];
    qsort(table.slots, *count, sizeof *table.slots, by_falling_count);
    *words = table.slots;
    return ATTN_OK;
}

attn_status vocabulary_count_words(const text_line *const sides[2], const size_t counts[2], size_t minimum_count,
                                   size_t limit, vocabulary *v) {
    *v = (vocabulary){0};
    counted_word *words;
    size_t found, kept = 2;
    attn_status status = words_count(sides, counts, &words, &found);
    text_line *pieces = status ? NULL : memory_allocate(found + 3, sizeof *pieces);
    if (pieces) {
        pieces[0] = (text_line){"</s>", 4};
        pieces[1] = (text_line){"<unk>", 5};
        for (size_t i = 0; i < found && words[i].count >= minimum_count && kept + 1 < limit; i++)
            if (!is_special(words[i].word))
                pieces[kept++] = words[i].word;
        pieces[kept++] = (text_line){"<pad>", 5};
        status = vocabulary_build(pieces, kept, v);
    } else if (!status) {
        status = ATTN_ERROR_MEMORY;
    }
    memory_free(pieces);
    memory_free(words);
    return status;
}
