#include "infer/ngram.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

attn_status symbols_append(symbols *s, uint32_t value) {
    if (s->count == s->capacity) {
        attn_status status = memory_grow(&s->values, &s->capacity, s->count + 1, sizeof *s->values);
        if (status)
            return status;
    }
    s->values[s->count++] = value;
    return ATTN_OK;
}

void symbols_release(symbols *s) {
    memory_free(s->values);
    *s = (symbols){0};
}

attn_status symbols_append_text(symbols *s, const char *text) {
    size_t length = strlen(text);
    for (size_t i = 0; i < length;) {
        uint32_t codepoint;
        i += utf8_decode(text + i, length - i, &codepoint);
        attn_status status = symbols_append(s, codepoint);
        if (status)
            return status;
    }
    return ATTN_OK;
}

/* A place in a sequence with the longest n-gram that starts there; behind the end
 * stands `nothing`, which no sequence holds. */
typedef struct place {
    uint32_t gram[NGRAM_LIMIT];
    size_t left; /* symbols from here to the end */
} place;

static const uint32_t nothing = UINT32_MAX;

static int compare_grams(const uint32_t *a, const uint32_t *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

static int by_gram(const void *left, const void *right) {
    return compare_grams(((const place *)left)->gram, ((const place *)right)->gram, NGRAM_LIMIT);
}

static place *sorted_places(const symbols *s) {
    place *places = memory_allocate_raw(s->count, sizeof *places);
    if (!places)
        return NULL;
    for (size_t i = 0; i < s->count; i++) {
        places[i].left = s->count - i;
        for (size_t k = 0; k < NGRAM_LIMIT; k++)
            places[i].gram[k] = i + k < s->count ? s->values[i + k] : nothing;
    }
    qsort(places, s->count, sizeof *places, by_gram);
    return places;
}

/* Sorted by the longest n-gram they are sorted by each shorter one too: two lists
 * are merged once for each n. Places that have no n-gram are stepped over. */
static size_t merge(const place *a, size_t a_count, const place *b, size_t b_count, size_t n) {
    size_t matched = 0;
    for (size_t i = 0, j = 0; i < a_count && j < b_count;) {
        if (a[i].left < n) {
            i++;
        } else if (b[j].left < n) {
            j++;
        } else {
            int order = compare_grams(a[i].gram, b[j].gram, n);
            matched += order == 0;
            i += order <= 0;
            j += order >= 0;
        }
    }
    return matched;
}

attn_status ngram_matches(const symbols *a, const symbols *b, size_t order, size_t *matched) {
    place *a_places = sorted_places(a), *b_places = sorted_places(b);
    attn_status status = a_places && b_places ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (size_t n = 1; n <= order && !status; n++)
        matched[n - 1] = merge(a_places, a->count, b_places, b->count, n);
    memory_free(a_places);
    memory_free(b_places);
    return status;
}
