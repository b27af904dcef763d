#include "infer/repetition.h"

#include <math.h>
#include <string.h>

void repetition_penalise(float *values, const int32_t *ids, int32_t count, double penalty) {
    for (int32_t i = 0; i < count; i++) {
        int before = 0;
        for (int32_t j = 0; j < i && !before; j++) {
            before = ids[j] == ids[i];
        }
        if (!before) {
            double value = (double)values[ids[i]];
            values[ids[i]] = (float)(value < 0 ? value * penalty : value / penalty);
        }
    }
}

void repetition_block(float *values, const int32_t *ids, int32_t count, int size) {
    int32_t begun = size - 1;
    for (int32_t i = 0; i + begun < count; i++) {
        if (memcmp(ids + i, ids + count - begun, (size_t)begun * sizeof *ids) == 0) {
            values[ids[i + begun]] = -INFINITY;
        }
    }
}
