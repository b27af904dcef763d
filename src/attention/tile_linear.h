/* The linear score's part of the tile kernels (tile.h): its feature map and what goes back
 * through it. Included by tile_kernels.h. */
#ifndef ATTN_ATTENTION_TILE_LINEAR_H
#define ATTN_ATTENTION_TILE_LINEAR_H

#include "attention/vector.h"

static void feature_map(float *rows, int count, int width, int64_t ld) {
    for (int r = 0; r < count; r++) {
        float *row = rows + r * ld;
        for (int c = 0; c < width; c += VECTOR) {
            const vec x = vec_load(row + c);
            const vec y = vec_select(x > vec_set(0.0f), x + 1.0f, vec_exp2(x * 1.44269504f));
            if (width - c < VECTOR) {
                vec_store_part(row + c, y, width - c);
            } else {
                vec_store(row + c, y);
            }
        }
    }
}

/* f'(x) is 1 above 0 and f(x) below, where f(x) <= 1. A row that sees nothing has gradient 0
 * and may hold anything. */
static void feature_slope(const float *features, float *gradient, int width) {
    for (int c = 0; c < width; c += VECTOR) {
        const vec f = vec_load(features + c), g = vec_load(gradient + c), zero = vec_set(0.0f);
        vec_store(gradient + c, vec_select(f > vec_set(1.0f), g, vec_select(g == zero, zero, g * f)));
    }
}

#endif
