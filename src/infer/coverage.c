#include "infer/coverage.h"

#include <math.h>

double coverage_of(const float *sums, int32_t tokens) {
    double all = 0;
    for (int32_t i = 0; i < tokens; i++) {
        all += log(fmin(fmax((double)sums[i], 1e-9), 1));
    }
    return all;
}
