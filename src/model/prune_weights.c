/* The magnitude that is k-th in order is found by counting: the bits of |w| rise with |w|, so one pass counts
 * their upper halves and a second the lower halves below the upper one that was found. */
#include "model/prune_weights.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"

enum { HALF = 16, VALUES = 1 << HALF };

/* Token and place embeddings and output layers on a vocabulary, in every kind of model. */
static const char *const TABLES[] = {"embed", "model.shared.", ".wte.", ".wpe.", "lm_head."};

int parameters_prunable(const named_parameter *array) {
    if (array->where.rows < 2 || array->rank < 2) {
        return 0;
    }
    for (size_t i = 0; i < sizeof TABLES / sizeof *TABLES; i++) {
        if (strstr(array->name, TABLES[i])) {
            return 0;
        }
    }
    return 1;
}

static uint32_t magnitude(float weight) {
    uint32_t bits;
    memcpy(&bits, &weight, sizeof bits);
    return bits & 0x7fffffffu;
}

/* counts [VALUES]: of the upper halves; or of the lower ones of those whose upper half is `upper`. */
static void count_halves(const parameters *set, int64_t upper, size_t *counts) {
    memset(counts, 0, VALUES * sizeof *counts);
    for (size_t i = 0; i < set->count; i++) {
        const parameter p = set->list[i].where;
        const float *values = parameter_values(set, p);
        for (int64_t j = 0; j < p.rows * p.columns && parameters_prunable(&set->list[i]); j++) {
            uint32_t bits = magnitude(values[j]);
            if (upper < 0) {
                counts[bits >> HALF]++;
            } else if (bits >> HALF == (uint32_t)upper) {
                counts[bits & (VALUES - 1)]++;
            }
        }
    }
}

/* The half that holds number *k in order; *k becomes its number within it. */
static uint32_t find_half(const size_t *counts, size_t *k) {
    uint32_t half = 0;
    while (half < VALUES - 1 && *k >= counts[half]) {
        *k -= counts[half++];
    }
    return half;
}

static size_t count_zeros(const parameters *set) {
    size_t zeros = 0;
    for (size_t i = 0; i < set->count; i++) {
        const parameter p = set->list[i].where;
        for (int64_t j = 0; j < p.rows * p.columns && parameters_prunable(&set->list[i]); j++) {
            zeros += parameter_values(set, p)[j] == 0;
        }
    }
    return zeros;
}

/* All below the bound, and the first `equal` of those that equal it, become 0. */
static void clear(const parameters *set, uint32_t bound, size_t equal) {
    for (size_t i = 0; i < set->count; i++) {
        const parameter p = set->list[i].where;
        float *values = parameter_values(set, p);
        for (int64_t j = 0; j < p.rows * p.columns && parameters_prunable(&set->list[i]); j++) {
            uint32_t bits = magnitude(values[j]);
            if (bits < bound || (bits == bound && equal)) {
                equal -= bits == bound;
                values[j] = 0;
            }
        }
    }
}

attn_status parameters_prune(parameters *set, double sparsity, pruned_weights *result) {
    *result = (pruned_weights){0};
    for (size_t i = 0; i < set->count; i++) {
        result->weights += parameters_prunable(&set->list[i]) ? (size_t)(set->list[i].where.rows * set->list[i].where.columns) : 0;
    }
    result->zeros_before = result->zeros = count_zeros(set);
    size_t wanted = (size_t)llround(sparsity * (double)result->weights), k = wanted - 1;
    if (wanted <= result->zeros_before) {
        return ATTN_OK;
    }
    size_t *counts = memory_allocate(VALUES, sizeof *counts);
    if (!counts) {
        return ATTN_ERROR_MEMORY;
    }
    count_halves(set, -1, counts);
    uint32_t upper = find_half(counts, &k);
    count_halves(set, upper, counts);
    uint32_t bound = upper << HALF | find_half(counts, &k);
    memory_free(counts);
    float threshold;
    memcpy(&threshold, &bound, sizeof threshold);
    clear(set, bound, k + 1);
    result->threshold = (double)threshold;
    result->zeros = wanted;
    parameters_update_copies(set);
    return ATTN_OK;
}
