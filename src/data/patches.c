#include "data/patches.h"

#include <math.h>

#include "base/random.h"

int patches_count(const patch_shape *s) {
    return (s->width / s->patch) * (s->height / s->patch);
}

int patches_width(const patch_shape *s) {
    return s->patch * s->patch * s->channels;
}

/* Where pixel (x, y) of a channel goes. */
static float *place_of(const patch_shape *s, float *out, int x, int y, int channel) {
    int patch = (y / s->patch) * (s->width / s->patch) + x / s->patch;
    int within = (channel * s->patch + y % s->patch) * s->patch + x % s->patch;
    return out + (size_t)patch * (size_t)patches_width(s) + within;
}

static float scaled(float byte) {
    return byte / 127.5f - 1;
}

void patches_cut(const patch_shape *s, const unsigned char *pixels, float *out) {
    for (int y = 0; y < s->height; y++) {
        for (int x = 0; x < s->width; x++) {
            for (int c = 0; c < s->channels; c++) {
                *place_of(s, out, x, y, c) = scaled(*pixels++);
            }
        }
    }
}

static int within(int value, int end) {
    return value < 0 ? 0 : value >= end ? end - 1 : value;
}

/* The picture's colour at a point between pixels. */
static float colour_at(const patch_shape *s, const unsigned char *pixels, float x, float y, int channel) {
    float left = floorf(x), top = floorf(y);
    float right_share = x - left, low_share = y - top;
    int x0 = within((int)left, s->width), x1 = within((int)left + 1, s->width);
    int y0 = within((int)top, s->height), y1 = within((int)top + 1, s->height);
#define PIXEL(px, py) ((float)pixels[((size_t)(py) * (size_t)s->width + (size_t)(px)) * (size_t)s->channels + (size_t)channel])
    float above = PIXEL(x0, y0) * (1 - right_share) + PIXEL(x1, y0) * right_share;
    float below = PIXEL(x0, y1) * (1 - right_share) + PIXEL(x1, y1) * right_share;
#undef PIXEL
    return above * (1 - low_share) + below * low_share;
}

void patches_cut_augmented(const patch_shape *s, const unsigned char *pixels, const augmentation *a, uint64_t key,
                           uint64_t index, float *out) {
    float draws[3]; /* evenly in -1 .. 1 */
    for (uint64_t i = 0; i < 3; i++) {
        draws[i] = 2 * random_uniform(key, 3 * index + i) - 1;
    }
    float angle = draws[0] * a->rotation * 0.017453292519943295f;
    float cosine = cosf(angle), sine = sinf(angle);
    float centre_x = 0.5f * (float)(s->width - 1), centre_y = 0.5f * (float)(s->height - 1);
    for (int y = 0; y < s->height; y++) {
        for (int x = 0; x < s->width; x++) {
            float dx = (float)x - centre_x - draws[1] * a->shift, dy = (float)y - centre_y - draws[2] * a->shift;
            float from_x = centre_x + cosine * dx + sine * dy, from_y = centre_y - sine * dx + cosine * dy;
            for (int c = 0; c < s->channels; c++) {
                *place_of(s, out, x, y, c) = scaled(colour_at(s, pixels, from_x, from_y, c));
            }
        }
    }
}
