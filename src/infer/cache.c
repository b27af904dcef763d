/* Growing copies the rows; free places are a stack with the lowest on top, so that
 * what is used together lies together. */
#include "infer/cache.h"

#include <string.h>

/* MOST_KEPT: keys of all layers, times two f32: 256 MiB */
enum { FIRST_PLACES = 256, MOST_PLACES = 1 << 28, MOST_KEPT = 1 << 25 };

attn_status cache_open(cache *c, int layers, int64_t width) {
    *c = (cache){.layers = layers};
    c->rows = memory_allocate((size_t)layers, sizeof *c->rows);
    c->widths = memory_allocate((size_t)layers, sizeof *c->widths);
    for (int i = 0; c->widths && i < layers; i++) {
        c->widths[i] = width;
    }
    return c->rows && c->widths ? ATTN_OK : ATTN_ERROR_MEMORY;
}

void cache_close(cache *c) {
    for (int i = 0; c->rows && i < c->layers; i++) {
        memory_free(c->rows[i]);
    }
    memory_free(c->rows);
    memory_free(c->widths);
    memory_free(c->unused);
    memory_free(c->seen);
    *c = (cache){0};
}

void cache_empty(cache *c) {
    int64_t width = 0;
    for (int i = 0; i < c->layers; i++) {
        width += c->widths[i];
    }
    if ((int64_t)c->places * width > MOST_KEPT) {
        for (int i = 0; i < c->layers; i++) {
            memory_free(c->rows[i]);
            c->rows[i] = NULL;
        }
        c->places = 0;
    }
    for (int32_t i = 0; i < c->places; i++) { /* lower places come first */
        c->unused[i] = c->places - 1 - i;
    }
    c->unused_count = c->places;
}

/* Twice the places, or as many as are asked for; what was there keeps its place. */
attn_status cache_grow(cache *c, int64_t count) {
    if (cache_has_room(c, count)) {
        return ATTN_OK;
    }
    int64_t places = c->places ? 2 * (int64_t)c->places : FIRST_PLACES;
    places = places < c->places + count ? c->places + count : places;
    if (places > MOST_PLACES) {
        return fail(ATTN_ERROR_MEMORY, "the key/value cache would need %lld rows, at most %d are possible",
                    (long long)places, MOST_PLACES);
    }
    for (int i = 0; i < c->layers; i++) {
        size_t row_size = (size_t)(2 * c->widths[i]) * sizeof(float);
        float *rows = memory_allocate_raw((size_t)places, row_size);
        if (!rows) {
            return ATTN_ERROR_MEMORY; /* layers before this one have more room than is used */
        }
        if (c->places) {
            memcpy(rows, c->rows[i], (size_t)c->places * row_size);
        }
        memory_free(c->rows[i]);
        c->rows[i] = rows;
    }
    int32_t *unused = memory_allocate_raw((size_t)places, sizeof *unused);
    unsigned char *seen = memory_allocate_raw((size_t)places, 1);
    if (!unused || !seen) {
        memory_free(unused);
        memory_free(seen);
        return ATTN_ERROR_MEMORY;
    }
    int32_t kept = c->unused_count;
    int32_t fresh = (int32_t)places - c->places;
    for (int32_t i = 0; i < fresh; i++) { /* lower places come first */
        unused[i] = (int32_t)places - 1 - i;
    }
    if (kept) {
        memcpy(unused + fresh, c->unused, (size_t)kept * sizeof *unused);
    }
    memory_free(c->unused);
    memory_free(c->seen);
    c->unused = unused;
    c->seen = seen;
    c->unused_count = fresh + kept;
    c->places = (int32_t)places;
    return ATTN_OK;
}

void cache_mark_begin(cache *c) {
    memset(c->seen, 0, (size_t)c->places);
}

void cache_sweep(cache *c) {
    c->unused_count = 0;
    for (int32_t place = c->places - 1; place >= 0; place--) {
        if (!c->seen[place]) {
            c->unused[c->unused_count++] = place;
        }
    }
}
