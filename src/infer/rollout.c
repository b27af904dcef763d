#include "infer/rollout.h"

#include <string.h>

#include "base/memory.h"

void attention_of(const float *looks, const float *weights, int64_t tokens, float *out) {
    memset(out, 0, (size_t)tokens * sizeof *out);
    for (int64_t i = 0; i < tokens; i++) {
        for (int64_t j = 0; j < tokens && looks[i] != 0; j++) {
            out[j] += looks[i] * weights[i * tokens + j];
        }
    }
}

attn_status attention_rollout(const float *const *layers, int count, const int *heads, int64_t tokens, const float *looks, float *out) {
    size_t bytes = (size_t)tokens * sizeof *out;
    float *now = memory_allocate((size_t)tokens, sizeof *now), *one = memory_allocate((size_t)tokens, sizeof *one);
    attn_status status = now && one ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (!status) {
        memcpy(out, looks, bytes);
        for (int l = count - 1; l >= 0; l--) {
            memcpy(now, out, bytes);
            for (int64_t j = 0; j < tokens; j++) {
                out[j] = 0.5f * now[j];
            }
            for (int h = 0; h < heads[l]; h++) {
                attention_of(now, layers[l] + (int64_t)h * tokens * tokens, tokens, one);
                for (int64_t j = 0; j < tokens; j++) {
                    out[j] += 0.5f * one[j] / (float)heads[l];
                }
            }
        }
    }
    memory_free(now);
    memory_free(one);
    return status;
}
