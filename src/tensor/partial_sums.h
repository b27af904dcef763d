/* Sums over tokens (gradients of biases and gains) with an order that does not depend
 * on the number of threads: each run of 64 rows is summed on its own, then the runs'
 * sums are added in order. */
#ifndef ATTN_TENSOR_PARTIAL_SUMS_H
#define ATTN_TENSOR_PARTIAL_SUMS_H

#include "tensor/tape.h"

enum { PARTIAL_SUM_ROWS = 64 };

typedef struct partial_sums {
    float *values; /* [chunks, stride], zeroed */
    int64_t chunks, rows, width, stride;
    arena_mark mark;
} partial_sums;

static inline attn_status partial_sums_open(tape *t, partial_sums *sums, int64_t rows, int64_t width) {
    *sums = (partial_sums){.rows = rows, .width = width, .stride = (width + 15) / 16 * 16};
    sums->chunks = (rows + PARTIAL_SUM_ROWS - 1) / PARTIAL_SUM_ROWS;
    sums->mark = arena_get_mark(t->memory);
    sums->values = tape_memory(t, sums->chunks * sums->stride, sizeof(float));
    if (!sums->values) {
        return ATTN_ERROR_MEMORY;
    }
    memset(sums->values, 0, (size_t)(sums->chunks * sums->stride) * sizeof(float));
    return ATTN_OK;
}

static inline float *partial_sums_chunk(const partial_sums *sums, int64_t chunk) {
    return sums->values + chunk * sums->stride;
}

static inline int64_t partial_sums_first(int64_t chunk) {
    return chunk * PARTIAL_SUM_ROWS;
}

static inline int64_t partial_sums_end(const partial_sums *sums, int64_t chunk) {
    int64_t end = (chunk + 1) * PARTIAL_SUM_ROWS;
    return end < sums->rows ? end : sums->rows;
}

/* out += the sums; gives the memory back. */
static inline void partial_sums_add_to(tape *t, partial_sums *sums, float *out) {
    for (int64_t chunk = 0; chunk < sums->chunks; chunk++) {
        t->rows->add(out, partial_sums_chunk(sums, chunk), sums->width);
    }
    arena_return_to(t->memory, sums->mark);
}

#endif
