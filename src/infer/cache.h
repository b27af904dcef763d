/* The key/value cache: places that each hold, for every decoder layer, one token's key
 * and value rows. Who owns a place is said by lists of places (page tables of the
 * decoding operator, page size 1), so reordering a beam moves indices alone. Several
 * lists may name a place; those that no list names any more are found when room runs
 * out (mark and sweep), or given back one by one where there is one list alone. */
#ifndef ATTN_INFER_CACHE_H
#define ATTN_INFER_CACHE_H

#include "base/memory.h"

typedef struct cache {
    int layers;
    int64_t *widths;    /* [layers]: of a key, and of a value */
    float **rows;       /* [layers] of [places, 2 * width]: key, then value */
    int32_t places;
    int32_t *unused;    /* stack of free places */
    int32_t unused_count;
    unsigned char *seen; /* [places], while marking */
} cache;

/* All layers of one width; while nothing is held, the caller may lower `widths`. */
attn_status cache_open(cache *c, int layers, int64_t width);
void cache_close(cache *c);

/* Frees every place. What is small enough keeps its memory. */
void cache_empty(cache *c);

/* Whether `count` places can be taken without more room. */
static inline int cache_has_room(const cache *c, int64_t count) {
    return c->unused_count >= count;
}

/* Makes room for `count` more places, growing the rows. */
attn_status cache_grow(cache *c, int64_t count);

/* A free place; the caller has checked that there is one. */
static inline int32_t cache_take(cache *c) {
    return c->unused[--c->unused_count];
}

static inline void cache_give_back(cache *c, int32_t place) {
    c->unused[c->unused_count++] = place;
}

/* Frees every place that is not marked: begin, mark all lists, sweep. */
void cache_mark_begin(cache *c);
static inline void cache_mark(cache *c, const int32_t *places, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        c->seen[places[i]] = 1;
    }
}
void cache_sweep(cache *c);

static inline float *cache_row(const cache *c, int layer, int32_t place) {
    return c->rows[layer] + (int64_t)place * 2 * c->widths[layer];
}

#endif
