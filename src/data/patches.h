/* A picture as the sequence that a vision transformer reads (Dosovitskiy et al. 2021,
 * 3.1): its patches row by row, each flattened as [channels, patch, patch], values in
 * -1 .. 1, perhaps turned and shifted a little first, so that no two epochs show the same. */
#ifndef ATTN_DATA_PATCHES_H
#define ATTN_DATA_PATCHES_H

#include <stdint.h>

#include "data/picture.h"

/* Both sides of the pictures are multiples of the patch's. */
typedef struct patch_shape {
    int width, height, channels; /* of the pictures */
    int patch;                   /* side, in pixels */
} patch_shape;

typedef struct augmentation {
    float shift;    /* largest, in pixels, along each axis; >= 0 */
    float rotation; /* largest, in degrees, either way; >= 0 */
} augmentation;

int patches_count(const patch_shape *s);    /* of a picture */
int patches_width(const patch_shape *s);    /* numbers in a patch */

/* pixels [height, width, channels] -> out [patches_count, patches_width]. */
void patches_cut(const patch_shape *s, const unsigned char *pixels, float *out);

/* The same of the picture turned about its centre and shifted, both drawn evenly from
 * the stream `key` at `index`. A point between pixels is their bilinear mean; what comes in
 * over the edge has the edge's colour. */
void patches_cut_augmented(const patch_shape *s, const unsigned char *pixels, const augmentation *a, uint64_t key,
                           uint64_t index, float *out);

#endif
