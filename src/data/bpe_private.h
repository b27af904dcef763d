/* The fields of byte-pair encoding, for bpe.c and bpe_file.c alone. */
#ifndef ATTN_DATA_BPE_PRIVATE_H
#define ATTN_DATA_BPE_PRIVATE_H

#include "data/bpe.h"

typedef struct bpe_merge {
    int32_t left, right, joined;
    uint32_t rank; /* from 1; 0: an empty slot */
} bpe_merge;

struct bpe {
    bool byte_level;
    bpe_merge *slots; /* [slot_mask + 1], open addressing */
    size_t slot_mask;
    char *file;       /* tokenizer.json */
    size_t file_size;
};

static inline size_t bpe_hash(int32_t left, int32_t right) {
    uint64_t x = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return (size_t)(x ^ x >> 29);
}

uint32_t bpe_character_of_byte(unsigned char byte);

#endif
