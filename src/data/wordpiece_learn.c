/* A WordPiece vocabulary from text: the words that its rules make are counted, and either
 * kept whole or built up from characters by joining the most frequent neighbours. A word
 * is a list of symbols; the counts of all neighbours stand in a hash table (open
 * addressing) and are kept true as a join walks over the words. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "data/wordpiece.h"

static const char *const SPECIAL[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
enum { SPECIALS = sizeof SPECIAL / sizeof *SPECIAL };

/* --- the text as words with spaces between ------------------------------------------ */

typedef struct word_text {
    char *bytes;
    size_t length, capacity;
} word_text;

static attn_status add_word(void *context, const char *word, size_t length) {
    word_text *t = context;
    attn_status status = memory_grow(&t->bytes, &t->capacity, t->length + length + 1, 1);
    if (!status) {
        memcpy(t->bytes + t->length, word, length);
        t->bytes[t->length + length] = ' ';
        t->length += length + 1;
    }
    return status;
}

/* --- pieces ------------------------------------------------------------------------ */

/* Growing list of pieces, each owned. */
typedef struct piece_list {
    text_line *lines;
    size_t count, capacity;
} piece_list;

static attn_status add_piece(piece_list *list, const char *mark, text_line a, text_line b) {
    size_t size = strlen(mark);
    attn_status status = memory_grow(&list->lines, &list->capacity, list->count + 1, sizeof *list->lines);
    char *bytes = status ? NULL : memory_allocate_raw(size + a.length + b.length + 1, 1);
    if (!bytes) {
        return ATTN_ERROR_MEMORY;
    }
    memcpy(bytes, mark, size);
    memcpy(bytes + size, a.bytes, a.length);
    memcpy(bytes + size + a.length, b.bytes, b.length);
    list->lines[list->count++] = (text_line){bytes, size + a.length + b.length};
    return ATTN_OK;
}

static void release_pieces(piece_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        memory_free((void *)(uintptr_t)list->lines[i].bytes);
    }
    memory_free(list->lines);
}

static int is_special(text_line word) {
    for (size_t i = 0; i < SPECIALS; i++) {
        if (word.length == strlen(SPECIAL[i]) && memcmp(word.bytes, SPECIAL[i], word.length) == 0) {
            return 1;
        }
    }
    return 0;
}

/* --- joining neighbours --------------------------------------------------------------- */

typedef struct neighbours {
    uint64_t key; /* left << 32 | right, plus 1; 0: an empty slot */
    int64_t count;
} neighbours;

typedef struct joiner {
    piece_list pieces;    /* a symbol is an index in it */
    int32_t *symbols;     /* of all words, one behind the other */
    size_t *starts;       /* [words] */
    size_t *lengths;      /* [words]: symbols that are left */
    const counted_word *words;
    size_t word_count;
    neighbours *slots;
    size_t size, used; /* a power of two */
} joiner;

static neighbours *find_slot(const joiner *j, uint64_t key) {
    uint64_t mixed = key * 0x9E3779B97F4A7C15u;
    size_t slot = (size_t)(mixed >> 20) & (j->size - 1);
    while (j->slots[slot].key && j->slots[slot].key != key) {
        slot = (slot + 1) & (j->size - 1);
    }
    return &j->slots[slot];
}

static attn_status make_room(joiner *j) {
    if (j->used * 2 < j->size) {
        return ATTN_OK;
    }
    neighbours *old = j->slots;
    size_t old_size = j->size;
    j->size = old_size ? old_size * 2 : 1 << 14;
    j->slots = memory_allocate(j->size, sizeof *j->slots);
    if (!j->slots) {
        j->slots = old;
        j->size = old_size;
        return ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].key) {
            *find_slot(j, old[i].key) = old[i];
        }
    }
    memory_free(old);
    return ATTN_OK;
}

static attn_status count_pair(joiner *j, int32_t left, int32_t right, int64_t change) {
    attn_status status = make_room(j);
    if (status) {
        return status;
    }
    uint64_t key = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) + 1;
    neighbours *n = find_slot(j, key);
    j->used += n->key == 0;
    n->key = key;
    n->count += change;
    return ATTN_OK;
}

/* Adds `change` to the counts of all neighbours in a word. */
static attn_status count_word(joiner *j, size_t word, int sign) {
    const int32_t *s = j->symbols + j->starts[word];
    attn_status status = ATTN_OK;
    for (size_t i = 0; i + 1 < j->lengths[word] && !status; i++) {
        status = count_pair(j, s[i], s[i + 1], sign * (int64_t)j->words[word].count);
    }
    return status;
}

static attn_status join(joiner *j, int32_t left, int32_t right, int32_t joined) {
    attn_status status = ATTN_OK;
    for (size_t w = 0; w < j->word_count && !status; w++) {
        int32_t *s = j->symbols + j->starts[w];
        size_t length = j->lengths[w], kept = 0, found = 0;
        for (size_t i = 0; i + 1 < length && !found; i++) {
            found = s[i] == left && s[i + 1] == right;
        }
        if (!found) {
            continue;
        }
        status = count_word(j, w, -1);
        for (size_t i = 0; i < length; i++) {
            int both = i + 1 < length && s[i] == left && s[i + 1] == right;
            s[kept++] = both ? joined : s[i];
            i += (size_t)both;
        }
        j->lengths[w] = kept;
        status = status ? status : count_word(j, w, 1);
    }
    return status;
}

/* The most frequent neighbours; the earlier symbols among equals. */
static const neighbours *most_frequent(const joiner *j) {
    const neighbours *best = NULL;
    for (size_t i = 0; i < j->size; i++) {
        const neighbours *n = &j->slots[i];
        if (n->key && n->count >= 2 && (!best || n->count > best->count || (n->count == best->count && n->key < best->key))) {
            best = n;
        }
    }
    return best;
}

/* Words as symbols; the characters become the first pieces. */
static attn_status take_apart(joiner *j, size_t limit) {
    attn_status status = ATTN_OK;
    /* Each character has two possible symbols, at the start and inside; a direct table by
     * codepoint finds them. */
    int32_t *symbol_of = memory_allocate(2 * 0x110000, sizeof *symbol_of);
    size_t used = 0;
    if (!symbol_of) {
        return ATTN_ERROR_MEMORY;
    }
    for (size_t w = 0; w < j->word_count && !status; w++) {
        text_line word = j->words[w].word;
        j->starts[w] = used;
        for (size_t at = 0; at < word.length && !status;) {
            uint32_t c;
            size_t bytes = utf8_decode(word.bytes + at, word.length - at, &c);
            int32_t *symbol = &symbol_of[2 * c + (at > 0)];
            if (*symbol == 0 && j->pieces.count < limit) {
                status = add_piece(&j->pieces, at > 0 ? "##" : "", (text_line){word.bytes + at, bytes}, (text_line){"", 0});
                *symbol = (int32_t)j->pieces.count - 1;
            }
            if (*symbol == 0) { /* no room for so rare a character: the word is left out */
                j->lengths[w] = 0;
                used = j->starts[w];
                break;
            }
            j->symbols[used++] = *symbol;
            j->lengths[w]++;
            at += bytes;
        }
    }
    memory_free(symbol_of);
    return status;
}

/* Two neighbours may spell a piece that is there: "a" + "##bc" and "ab" + "##c". */
static int32_t find_piece(const piece_list *list, text_line piece) {
    for (size_t i = SPECIALS; i < list->count; i++) {
        if (list->lines[i].length == piece.length && memcmp(list->lines[i].bytes, piece.bytes, piece.length) == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

static attn_status join_all(joiner *j, size_t limit) {
    attn_status status = ATTN_OK;
    for (size_t w = 0; w < j->word_count && !status; w++) {
        status = count_word(j, w, 1);
    }
    while (!status && j->pieces.count < limit) {
        const neighbours *best = most_frequent(j);
        if (!best) {
            break;
        }
        int32_t left = (int32_t)((best->key - 1) >> 32), right = (int32_t)((best->key - 1) & 0xFFFFFFFFu);
        text_line a = j->pieces.lines[left], b = j->pieces.lines[right];
        status = add_piece(&j->pieces, "", a, (text_line){b.bytes + 2, b.length - 2});
        if (!status) {
            int32_t made = (int32_t)j->pieces.count - 1;
            text_line piece = j->pieces.lines[made];
            j->pieces.count--;
            int32_t same = find_piece(&j->pieces, piece);
            if (same >= 0) {
                memory_free((void *)(uintptr_t)piece.bytes);
            } else {
                j->pieces.count++;
            }
            status = join(j, left, right, same >= 0 ? same : made);
        }
    }
    return status;
}

static attn_status build_up(joiner *j, size_t limit) {
    size_t symbols = 0;
    for (size_t w = 0; w < j->word_count; w++) {
        symbols += j->words[w].word.length;
    }
    j->symbols = memory_allocate_raw(symbols, sizeof *j->symbols);
    j->starts = memory_allocate(j->word_count, sizeof *j->starts);
    j->lengths = memory_allocate(j->word_count, sizeof *j->lengths);
    attn_status status = j->symbols && j->starts && j->lengths ? ATTN_OK : ATTN_ERROR_MEMORY;
    status = status ? status : take_apart(j, limit);
    status = status ? status : join_all(j, limit);
    memory_free(j->symbols);
    memory_free(j->starts);
    memory_free(j->lengths);
    memory_free(j->slots);
    return status;
}

/* --- all of it --------------------------------------------------------------------- */

attn_status wordpiece_learn(const text_line *lines, size_t count, const wordpiece_rules *rules, bool whole,
                            size_t minimum_count, size_t limit, vocabulary *learned) {
    word_text text = {0};
    counted_word *words = NULL;
    joiner j = {0};
    attn_status status = ATTN_OK;
    *learned = (vocabulary){0};
    for (size_t i = 0; i < count && !status; i++) {
        status = wordpiece_words(rules, lines[i].bytes, lines[i].length, add_word, &text);
    }
    const text_line all = {text.bytes, text.length};
    const text_line *const sides[2] = {&all, NULL};
    const size_t counts[2] = {text.bytes ? 1 : 0, 0};
    status = status ? status : words_count(sides, counts, &words, &j.word_count);
    for (size_t i = 0; i < SPECIALS && !status; i++) {
        status = add_piece(&j.pieces, "", (text_line){SPECIAL[i], strlen(SPECIAL[i])}, (text_line){"", 0});
    }
    j.words = words;
    if (whole) {
        for (size_t w = 0; w < j.word_count && !status && words[w].count >= minimum_count && j.pieces.count < limit; w++) {
            if (!is_special(words[w].word)) {
                status = add_piece(&j.pieces, "", words[w].word, (text_line){"", 0});
            }
        }
    } else {
        status = status ? status : build_up(&j, limit);
    }
    status = status ? status : vocabulary_build(j.pieces.lines, j.pieces.count, learned);
    release_pieces(&j.pieces);
    memory_free(words);
    memory_free(text.bytes);
    return status;
}
