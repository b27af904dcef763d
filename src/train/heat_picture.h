/* Attention weights as a picture: a row a query, a column a key, a cell a weight. */
#ifndef ATTN_TRAIN_HEAT_PICTURE_H
#define ATTN_TRAIN_HEAT_PICTURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct heat_picture {
    unsigned char *png; /* a whole PNG file */
    size_t size;
    int width, height;  /* in pixels */
} heat_picture;

/* Draws weights [queries, keys], shares of 1 (below is drawn as 0, above as 1; not a
 * number: grey), in viridis from dark to light. Rows and columns are numbered from 0
 * where cells are large enough. 1 .. 2048 queries and keys. Release in every case.
 * ATTN_ERROR_ARGUMENT, ATTN_ERROR_MEMORY, ATTN_ERROR_INTERNAL. */
attn_status heat_picture_draw(const float *weights, int64_t queries, int64_t keys, heat_picture *picture);

/* The same of the mean over heads of weights [heads, queries, keys]. */
attn_status heat_picture_draw_mean(const float *weights, int64_t heads, int64_t queries, int64_t keys,
                                   heat_picture *picture);

void heat_picture_release(heat_picture *picture);

#endif
