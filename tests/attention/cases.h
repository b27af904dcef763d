/* The cases of src/bench for tests: what fails to be allocated ends the test. */
#ifndef ATTN_TESTS_ATTENTION_CASES_H
#define ATTN_TESTS_ATTENTION_CASES_H

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/dropout.h"
#include "base/cpu.h"
#include "base/random.h"
#include "bench/attention_cases.h"

#define SHAPE(b, nq, nk, h, hk, dd, dv) \
    .sequences = b, .queries = nq, .keys = nk, .heads = h, .kv_heads = hk, .d = dd, .d_v = dv

static inline int last_kernel(void) {
    return ATTN_KERNEL_PORTABLE + (int)cpu_detected();
}

static inline void *case_new(size_t count, size_t size) {
    void *p = calloc(count ? count : 1, size);
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return p;
}

static inline void *case_random(attn_dtype dtype, size_t count, uint64_t key, float amplitude) {
    void *a = case_new(count, (size_t)dtype_size(dtype));
    for (size_t i = 0; i < count; i++) {
        case_set(a, dtype, i, amplitude * random_normal(key, i));
    }
    return a;
}

static inline case_arrays case_make(const attention_case *c, uint64_t seed) {
    case_arrays a;
    if (case_fill(c, seed, &a)) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return a;
}

#endif
