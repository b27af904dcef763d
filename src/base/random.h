/* Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel
 * random numbers: as easy as 1, 2, 3"). A number is a pure function of a key and
 * a counter, so what is drawn for an element depends on no tile, thread or batch
 * order. */
#ifndef ATTN_BASE_RANDOM_H
#define ATTN_BASE_RANDOM_H

#include <stdint.h>

typedef struct philox_block {
    uint32_t word[4];
} philox_block;

/* Ten rounds over counter = (c0, c1, c2, c3) with key = (low, high half of key). */
static inline philox_block philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (philox_block){{c0, c1, c2, c3}};
}

/* A new key for one use of a seed, e.g. random_key(seed, step, layer * 8 + use):
 * distinct arguments give independent streams. */
static inline uint64_t random_key(uint64_t seed, uint64_t a, uint64_t b) {
    philox_block r = philox(seed, (uint32_t)a, (uint32_t)(a >> 32), (uint32_t)b, (uint32_t)(b >> 32));
    return (uint64_t)r.word[0] | (uint64_t)r.word[1] << 32;
}

/* Element `index` of the stream `key`: 32 random bits. */
static inline uint32_t random_bits(uint64_t key, uint64_t index) {
    uint64_t block = index >> 2;
    return philox(key, (uint32_t)block, (uint32_t)(block >> 32), 0, 0).word[index & 3];
}

/* Uniform in [0, 1), 24 bits. */
static inline float random_uniform(uint64_t key, uint64_t index) {
    return (float)(random_bits(key, index) >> 8) * 0x1p-24f;
}

/* Uniform in [0, bound), bound > 0; bias below 2^-32 * bound. */
static inline uint32_t random_below(uint64_t key, uint64_t index, uint32_t bound) {
    return (uint32_t)((uint64_t)random_bits(key, index) * bound >> 32);
}

/* Standard normal (Box and Muller 1958), from elements 2 index and 2 index + 1. */
float random_normal(uint64_t key, uint64_t index);

#endif
