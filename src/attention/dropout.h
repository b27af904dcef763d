/* Dropout's mask: whether weight (sequence, head, query, key) is kept, from the seed
 * and these four numbers alone, so that every kernel and every pass draws the same.
 *
 * Philox (base/random.h) makes a key of (seed, sequence, head); SplitMix64's finalizer
 * (Steele et al. 2014) of that key and the query makes two 32-bit row keys; and a
 * multiply-xorshift hash of the row keys and the key's index gives 32 bits that serve
 * two keys, 16 bits each: of every 32 adjacent keys, key c and key c + 16 share a hash,
 * the first takes the low half. A weight is dropped where its 16 bits are below
 * threshold = dropout * 2^16, and what is kept is divided by the exact share kept. */
#ifndef ATTN_ATTENTION_DROPOUT_H
#define ATTN_ATTENTION_DROPOUT_H

#include <stdint.h>

#include "base/random.h"

typedef struct dropout_row {
    uint32_t first, second;
} dropout_row;

static inline uint64_t dropout_head_key(uint64_t seed, int64_t sequence, int64_t head) {
    return random_key(seed, (uint64_t)sequence, (uint64_t)head);
}

static inline dropout_row dropout_row_keys(uint64_t head_key, int64_t query) {
    uint64_t z = head_key + ((uint64_t)query + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (dropout_row){(uint32_t)z, (uint32_t)(z >> 32)};
}

/* The hash's steps are the same in tile_kernels.h, on vectors. */
static inline uint32_t dropout_bits(dropout_row row, int64_t key) {
    uint32_t x = (uint32_t)((key >> 5) * 16 + (key & 15)) * 0x9E3779B1u + row.first;
    x = (x ^ (x >> 16)) * 0x21F0AAADu + row.second;
    x = (x ^ (x >> 15)) * 0x735A2D97u;
    x ^= x >> 15;
    return (key & 16) ? x >> 16 : x & 0xffffu;
}

static inline uint32_t dropout_threshold(float probability) {
    return (uint32_t)(probability * 65536.0f + 0.5f);
}

/* 1 / share kept */
static inline float dropout_scale(uint32_t threshold) {
    return 65536.0f / (float)(65536u - threshold);
}

#endif
