/* Vectors that another framework computed (tests/vectors): found by name, and compared with. */
#ifndef ATTN_TESTS_VECTORS_H
#define ATTN_TESTS_VECTORS_H

#include <math.h>

#include "model/safetensors.h"
#include "test.h"

/* The data of a tensor; the test fails where it is missing. */
static inline const void *vector_in(const safetensors *vectors, const char *name) {
    const safetensors_tensor *found = safetensors_find(vectors, name);
    if (!found) {
        fail_msg("%s is not among the vectors", name);
    }
    return found->data;
}

/* The largest error is at most `bound` times the largest magnitude expected, which counts as
 * `least` where it is smaller. */
static inline void assert_near(const char *name, const float *found, const float *expected, int64_t count, double bound,
                               double least) {
    double largest = least, error = 0;
    for (int64_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)expected[i]));
        double difference = fabs((double)found[i] - (double)expected[i]);
        error = difference > error || isnan(difference) ? difference : error;
    }
    if (!(error <= bound * largest)) {
        fail_msg("%s: error %g above %g of %g", name, error, bound, largest);
    }
}

#endif
