#include "base/random.h"

#include <math.h>

float random_normal(uint64_t key, uint64_t index) {
    philox_block r = philox(key, (uint32_t)index, (uint32_t)(index >> 32), 1, 0);
    double u = ((double)r.word[0] + 1.0) * 0x1p-32; /* (0, 1] */
    double v = (double)r.word[1] * 0x1p-32;
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}
