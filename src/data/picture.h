/* Pictures: PNG (libpng) and JPEG (libjpeg-turbo) files turned into bytes, resized, and
 * written again as PNG. Which of the two a file is, its first bytes say. */
#ifndef ATTN_DATA_PICTURE_H
#define ATTN_DATA_PICTURE_H

#include <stddef.h>

#include "base/error.h"

enum {
    PICTURE_LARGEST_SIDE = 65500,   /* pixels: what JPEG allows */
    PICTURE_MOST_PIXELS = 1 << 26   /* of a file that is read */
};

typedef struct picture {
    int width, height, channels; /* channels: 1 grey, 3 red green blue */
    unsigned char *pixels;       /* [height, width, channels] */
} picture;

/* Reads a file as grey (channels 1) or in colour (3): grey is made of colour by the weights
 * of the file's own library (ITU-R BT.601 or 709), 16 bits become 8, palettes are looked
 * up, transparency lies on white. ATTN_ERROR_FILE where it cannot be read,
 * ATTN_ERROR_FORMAT where it is neither PNG nor JPEG, is damaged or cut, or has more than
 * PICTURE_MOST_PIXELS pixels. Release with picture_release. */
attn_status picture_read(const char *path, int channels, picture *read);

/* The same from memory; `name` begins the sentence of an error. */
attn_status picture_decode(const unsigned char *bytes, size_t size, const char *name, int channels, picture *decoded);

/* A copy of another size. Each new pixel is the mean of what its triangle covers, a pixel
 * wide in the coarser of the two pictures: bilinear where it grows, without aliasing
 * where it shrinks (the "triangle" of Turkowski 1990, Filters for common resampling
 * tasks). Sides in 1 .. PICTURE_LARGEST_SIDE. */
attn_status picture_resize(const picture *from, int width, int height, picture *resized);

/* Frames [count, bins] of a sound as grey, time from left to right, low sounds below, the loudest
 * white, the softest black. */
attn_status spectrogram_draw(const float *frames, size_t count, int bins, picture *drawn);

/* The picture as a PNG file's bytes; release with memory_free. */
attn_status picture_encode(const picture *p, unsigned char **bytes, size_t *size);

/* Replaces `path` by the picture as a PNG. */
attn_status picture_write(const char *path, const picture *p);

void picture_release(picture *p);

#endif
