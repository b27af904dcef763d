#include "data/spelling.h"

#include <string.h>

#include "base/memory.h"
#include "data/tokenizer.h"

enum { SHORTEST = 3, LONGEST = 5 };

static uint32_t hash(const char *bytes, size_t count) {
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < count; i++) {
        h = (h ^ (unsigned char)bytes[i]) * 16777619u;
    }
    return h;
}

static int starts_letter(char byte) {
    return ((unsigned char)byte & 0xC0) != 0x80;
}

/* Those that begin at `at` of the marked word. */
static attn_status add_from(spelling *s, const char *marked, size_t length, size_t at) {
    attn_status status = ATTN_OK;
    size_t end = at;
    for (int letters = 1; letters <= LONGEST && end < length && !status; letters++) {
        for (end++; end < length && !starts_letter(marked[end]); end++) {
        }
        if (letters < SHORTEST) {
            continue;
        }
        status = memory_grow(&s->numbers, &s->numbers_capacity, s->used + 1, sizeof *s->numbers);
        if (!status) {
            s->numbers[s->used++] = (int32_t)(hash(marked + at, end - at) % (uint32_t)s->buckets);
        }
    }
    return status;
}

attn_status spelling_add(spelling *s, const char *word, size_t length) {
    attn_status status = memory_grow(&s->ends, &s->ends_capacity, s->count + 1, sizeof *s->ends);
    if (status) {
        return status;
    }
    char *marked = length > 0 ? memory_allocate_raw(length + 2, 1) : NULL;
    status = length == 0 || marked ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (marked) {
        marked[0] = '<';
        memcpy(marked + 1, word, length);
        marked[length + 1] = '>';
    }
    for (size_t at = 0; marked && at < length + 2 && !status; at++) {
        status = starts_letter(marked[at]) ? add_from(s, marked, length + 2, at) : ATTN_OK;
    }
    memory_free(marked);
    if (!status) {
        s->ends[s->count++] = s->used;
    }
    return status;
}

attn_status spelling_of_vocabulary(spelling *s, const tokenizer *t, int buckets) {
    spelling_release(s);
    s->buckets = buckets;
    attn_status status = ATTN_OK;
    for (int32_t id = 0; (size_t)id < tokenizer_vocabulary_size(t) && !status; id++) {
        const char *piece = tokenizer_piece(t, id);
        int special = id == tokenizer_pad(t) || id == tokenizer_unk(t) || id == tokenizer_cls(t) || id == tokenizer_eos(t) ||
                      id == tokenizer_mask(t);
        if (strncmp(piece, "##", 2) == 0 && piece[2]) {
            status = fail(ATTN_ERROR_UNSUPPORTED, "the vocabulary has pieces of words (\"%.60s\"): letters are those of whole words",
                          piece);
        } else {
            status = spelling_add(s, piece, special ? 0 : strlen(piece));
        }
    }
    return status;
}

void spelling_release(spelling *s) {
    memory_free(s->ends);
    memory_free(s->numbers);
    *s = (spelling){0};
}
