/* Gradients against central differences of the same formula in f64. */
#ifndef ATTN_TESTS_DIFFERENCES_H
#define ATTN_TESTS_DIFFERENCES_H

#include <math.h>

#include "base/memory.h"
#include "tensor/parameters.h"
#include "test.h"

/* The loss of parameters `values`, written once more in f64. */
typedef double (*plain_loss_function)(const void *context, const double *values);

/* The loss and the gradients that lie in the set, each within its bound; `shape` and the seed are told
 * where they are not. */
static inline void expect_differences(const parameters *set, double loss, plain_loss_function plain_loss,
                                      const void *context, double loss_bound, double gradient_bound, int shape,
                                      uint64_t seed) {
    double *values = memory_allocate((size_t)set->size, sizeof *values), step = 1e-5;
    for (int64_t i = 0; i < set->size; i++) {
        values[i] = (double)set->values[i];
    }
    const double expected = plain_loss(context, values);
    if (!(fabs(loss - expected) < loss_bound)) {
        fail_msg("shape %d: loss %.8f, %.8f was expected (seed %llu)", shape, loss, expected, (unsigned long long)seed);
    }
    for (int64_t i = 0; i < set->size; i++) {
        const double kept = values[i];
        values[i] = kept + step;
        const double above = plain_loss(context, values);
        values[i] = kept - step;
        const double difference = (above - plain_loss(context, values)) / (2 * step);
        values[i] = kept;
        if (!(fabs(difference - (double)set->gradients[i]) < gradient_bound)) {
            fail_msg("shape %d, parameter %lld: gradient %.8f, %.8f was expected (seed %llu)", shape, (long long)i,
                     (double)set->gradients[i], difference, (unsigned long long)seed);
        }
    }
    memory_free(values);
}

#endif
