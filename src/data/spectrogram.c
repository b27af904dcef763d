#include <math.h>

#include "base/memory.h"
#include "data/picture.h"

attn_status spectrogram_draw(const float *frames, size_t count, int bins, picture *drawn) {
    float low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < count * (size_t)bins; i++) {
        low = fminf(low, frames[i]);
        high = fmaxf(high, frames[i]);
    }
    *drawn = (picture){(int)count, bins, 1, memory_allocate(count, (size_t)bins)};
    if (!drawn->pixels) {
        return ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        for (int b = 0; b < bins; b++) {
            float share = high > low ? (frames[i * (size_t)bins + (size_t)b] - low) / (high - low) : 0;
            drawn->pixels[(size_t)(bins - 1 - b) * count + i] = (unsigned char)(share * 255 + 0.5f);
        }
    }
    return ATTN_OK;
}
