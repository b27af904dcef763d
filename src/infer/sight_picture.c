/* Maps over the picture or the spectrogram, and all of them on one sheet. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "data/colour_map.h"
#include "infer/sight.h"

enum { LEAST_SIDE = 112, MOST_SIDE = 224, SOUND_WIDTH = 320, SOUND_HEIGHT = 72, GAP = 6 };

/* Sides of one map: a picture's own, brought between the bounds; sounds all alike. */
static void tile_size(const attn_sight *s, int *width, int *height) {
    int longest = s->shown.width > s->shown.height ? s->shown.width : s->shown.height;
    if (s->kind == SIGNAL_SOUND) {
        *width = SOUND_WIDTH;
        *height = SOUND_HEIGHT;
        return;
    }
    double scale = longest < LEAST_SIDE ? (LEAST_SIDE + longest - 1) / longest : longest > MOST_SIDE ? (double)MOST_SIDE / longest : 1;
    *width = (int)fmax(1, s->shown.width * scale);
    *height = (int)fmax(1, s->shown.height * scale);
}

/* Small pictures keep their pixels as squares. */
static attn_status base_tile(const attn_sight *s, picture *tile) {
    const picture *p = &s->shown;
    int width, height;
    tile_size(s, &width, &height);
    *tile = (picture){0};
    if (width < p->width || height < p->height) {
        return picture_resize(p, width, height, tile);
    }
    *tile = (picture){width, height, p->channels, memory_allocate((size_t)width, (size_t)height * (size_t)p->channels)};
    if (!tile->pixels) {
        return ATTN_ERROR_MEMORY;
    }
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            int from_y = (int)((int64_t)y * p->height / height), from_x = (int)((int64_t)x * p->width / width);
            memcpy(tile->pixels + ((size_t)y * (size_t)width + (size_t)x) * (size_t)p->channels,
                   p->pixels + ((size_t)from_y * (size_t)p->width + (size_t)from_x) * (size_t)p->channels, (size_t)p->channels);
        }
    }
    return ATTN_OK;
}

static unsigned char grey_of(const picture *p, size_t pixel) {
    const unsigned char *c = p->pixels + pixel * (size_t)p->channels;
    return p->channels == 1 ? *c : (unsigned char)((299 * c[0] + 587 * c[1] + 114 * c[2] + 500) / 1000);
}

static float largest_of(const float *map, int64_t count) {
    float largest = 0;
    for (int64_t i = 0; i < count; i++) {
        largest = fmaxf(largest, fabsf(map[i]));
    }
    return largest > 0 ? largest : 1;
}

attn_status sight_draw_map(const attn_sight *s, const float *map, int64_t columns, int signed_values, picture *drawn) {
    picture base;
    attn_status status = base_tile(s, &base);
    *drawn = (picture){base.width, base.height, 3, NULL};
    drawn->pixels = status ? NULL : memory_allocate((size_t)base.width, (size_t)base.height * 3);
    if (!drawn->pixels) {
        picture_release(&base);
        return status ? status : ATTN_ERROR_MEMORY;
    }
    float largest = map ? largest_of(map, s->rows * columns) : 1;
    for (int y = 0; y < base.height; y++) {
        for (int x = 0; x < base.width; x++) {
            size_t pixel = (size_t)y * (size_t)base.width + (size_t)x;
            unsigned char colour[3], *out = drawn->pixels + 3 * pixel, grey = grey_of(&base, pixel);
            int64_t place = (int64_t)y * s->rows / base.height * columns + (int64_t)x * columns / base.width;
            if (map) {
                (signed_values ? colour_signed : colour_viridis)(map[place] / largest, colour);
            }
            for (int i = 0; i < 3; i++) {
                const unsigned char *own = base.pixels + pixel * (size_t)base.channels + (base.channels == 3 ? i : 0);
                out[i] = (unsigned char)(map ? (2 * grey + 3 * colour[i]) / 5 : *own);
            }
        }
    }
    picture_release(&base);
    return ATTN_OK;
}

/* Copies a tile to column `i` of row `j` of the sheet. */
static void place(picture *sheet, const picture *tile, int i, int j) {
    int left = GAP + i * (tile->width + GAP), top = GAP + j * (tile->height + GAP);
    for (int y = 0; y < tile->height; y++) {
        memcpy(sheet->pixels + 3 * ((size_t)(top + y) * (size_t)sheet->width + (size_t)left),
               tile->pixels + 3 * (size_t)y * (size_t)tile->width, 3 * (size_t)tile->width);
    }
}

static attn_status draw_at(const attn_sight *s, const float *map, int64_t columns, int is_signed, int i, int j, picture *sheet) {
    picture tile;
    attn_status status = sight_draw_map(s, map, columns, is_signed, &tile);
    if (!status) {
        place(sheet, &tile, i, j);
    }
    picture_release(&tile);
    return status;
}

attn_status sight_draw(const attn_sight *s, picture *drawn) {
    int width, height, above = s->pooling ? 4 : 3, across = s->heads > above ? s->heads : above;
    tile_size(s, &width, &height);
    int64_t wide = GAP + (int64_t)across * (width + GAP), high = GAP + (int64_t)(s->layers + 1) * (height + GAP);
    *drawn = (picture){0};
    if (wide * high > PICTURE_MOST_PIXELS) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%d layers of %d heads do not fit on one picture", s->layers, s->heads);
    }
    *drawn = (picture){(int)wide, (int)high, 3, memory_allocate((size_t)wide, (size_t)high * 3)};
    if (!drawn->pixels) {
        return ATTN_ERROR_MEMORY;
    }
    memset(drawn->pixels, 255, (size_t)(wide * high) * 3);
    attn_status status = draw_at(s, NULL, 1, 0, 0, 0, drawn);
    status = status ? status : draw_at(s, s->rollout, s->columns, 0, 1, 0, drawn);
    status = status ? status : draw_at(s, s->gradient, s->gradient_columns, 1, 2, 0, drawn);
    status = status || !s->pooling ? status : draw_at(s, s->pooling, s->columns, 0, 3, 0, drawn);
    for (int i = 0; i < s->layers * s->heads && !status; i++) {
        status = draw_at(s, s->attention + i * s->rows * s->columns, s->columns, 0, i % s->heads, 1 + i / s->heads, drawn);
    }
    if (status) {
        picture_release(drawn);
    }
    return status;
}

attn_status attn_sight_write_png(const attn_sight *s, const char *path) {
    picture drawn;
    attn_status status = sight_draw(s, &drawn);
    status = status ? status : picture_write(path, &drawn);
    picture_release(&drawn);
    return status;
}
