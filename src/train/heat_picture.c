/* A PNG with a palette: the weights' shades, and after them the background, the numbers'
 * ink and the grey of what is not a number. Shades are viridis.
 * libpng packs the pixels. */
#include "train/heat_picture.h"

#include <png.h>
#include <string.h>

#include "base/memory.h"
#include "data/colour_map.h"

enum { SHADES = 240, BACKGROUND = SHADES, INK, NOT_A_NUMBER, COLOURS };
enum { MOST_CELLS = 2048, WANTED_SIZE = 1200, LARGEST_CELL = 20, NUMBERED_CELL = 18 };
/* Numbers: three by five dots, each drawn as two by two pixels, two pixels between. */
enum { DIGIT_COLUMNS = 3, DIGIT_ROWS = 5, DOT = 2, DIGIT_STEP = (DIGIT_COLUMNS + 1) * DOT, MARGIN = 32 };

/* A digit's rows from the top, a row's leftmost dot its highest bit. */
static const unsigned char DIGITS[10][DIGIT_ROWS] = {{7, 5, 5, 5, 7}, {2, 6, 2, 2, 7}, {7, 1, 7, 4, 7}, {7, 1, 7, 1, 7},
                                                     {5, 5, 7, 1, 1}, {7, 4, 7, 1, 7}, {7, 4, 7, 5, 7}, {7, 1, 2, 2, 2},
                                                     {7, 5, 7, 5, 7}, {7, 5, 7, 1, 7}};

typedef struct canvas {
    unsigned char *pixels; /* [height, width], palette indices */
    int width, height, cell, margin;
} canvas;

static void fill(const canvas *c, int x, int y, int width, int height, int colour) {
    for (int row = y; row < y + height; row++) {
        memset(c->pixels + (size_t)row * (size_t)c->width + x, colour, (size_t)width);
    }
}

/* The number with its right end before x and its top at y. */
static void draw_number(const canvas *c, int number, int x, int y) {
    do {
        x -= DIGIT_STEP;
        for (int row = 0; row < DIGIT_ROWS; row++) {
            for (int column = 0; column < DIGIT_COLUMNS; column++) {
                if (DIGITS[number % 10][row] >> (DIGIT_COLUMNS - 1 - column) & 1) {
                    fill(c, x + column * DOT, y + row * DOT, DOT, DOT, INK);
                }
            }
        }
        number /= 10;
    } while (number > 0);
}

static int shade(float weight) {
    float share = weight < 0 ? 0 : weight > 1 ? 1 : weight;
    return weight != weight ? NOT_A_NUMBER : (int)(share * (SHADES - 1) + 0.5f);
}

static void draw_cells(const canvas *c, const float *weights, int queries, int keys) {
    int gap = c->cell > 4; /* a pixel of background between large cells */
    for (int q = 0; q < queries; q++) {
        for (int k = 0; k < keys; k++) {
            fill(c, c->margin + k * c->cell, c->margin + q * c->cell, c->cell - gap, c->cell - gap,
                 shade(weights[(size_t)q * (size_t)keys + (size_t)k]));
        }
    }
}

static void draw_numbers(const canvas *c, int queries, int keys) {
    int middle = (c->cell - DIGIT_ROWS * DOT) / 2;
    for (int q = 0; q < queries; q++) {
        draw_number(c, q, c->margin - DOT, c->margin + q * c->cell + middle);
    }
    for (int k = 0; k < keys; k++) {
        int digits = k < 10 ? 1 : 2;
        int slack = (c->cell - (digits * DIGIT_STEP - DOT)) / 2;
        draw_number(c, k, c->margin + k * c->cell + slack + digits * DIGIT_STEP, c->margin - (DIGIT_ROWS + 1) * DOT);
    }
}

static void fill_palette(unsigned char palette[COLOURS][3]) {
    static const unsigned char OTHERS[COLOURS - SHADES][3] = {{255, 255, 255}, {60, 60, 60}, {160, 160, 160}};
    for (int i = 0; i < SHADES; i++) {
        colour_viridis((float)i / (SHADES - 1), palette[i]);
    }
    memcpy(palette + SHADES, OTHERS, sizeof OTHERS);
}

static attn_status pack(const canvas *c, heat_picture *picture) {
    unsigned char palette[COLOURS][3];
    fill_palette(palette);
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)c->width,
                       .height = (png_uint_32)c->height,
                       .format = PNG_FORMAT_RGB_COLORMAP,
                       .colormap_entries = COLOURS};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
    picture->png = memory_allocate_raw(size, 1);
    if (!picture->png) {
        return ATTN_ERROR_MEMORY;
    }
    if (!png_image_write_to_memory(&image, picture->png, &size, 0, c->pixels, c->width, palette)) {
        return fail(ATTN_ERROR_INTERNAL, "libpng cannot pack the attention picture: %s", image.message);
    }
    picture->size = size;
    picture->width = c->width;
    picture->height = c->height;
    return ATTN_OK;
}

attn_status heat_picture_draw(const float *weights, int64_t queries, int64_t keys, heat_picture *picture) {
    *picture = (heat_picture){0};
    if (queries < 1 || keys < 1 || queries > MOST_CELLS || keys > MOST_CELLS) {
        return fail(ATTN_ERROR_ARGUMENT, "a picture of %lld queries and %lld keys; 1 to %d of each were expected",
                    (long long)queries, (long long)keys, MOST_CELLS);
    }
    int rows = (int)queries, columns = (int)keys, longer = rows > columns ? rows : columns;
    canvas c = {.cell = WANTED_SIZE / longer};
    c.cell = c.cell > LARGEST_CELL ? LARGEST_CELL : c.cell < 1 ? 1 : c.cell;
    c.margin = c.cell >= NUMBERED_CELL ? MARGIN : 0;
    c.width = c.margin + columns * c.cell;
    c.height = c.margin + rows * c.cell;
    c.pixels = memory_allocate_raw((size_t)c.width, (size_t)c.height);
    if (!c.pixels) {
        return ATTN_ERROR_MEMORY;
    }
    fill(&c, 0, 0, c.width, c.height, BACKGROUND);
    draw_cells(&c, weights, rows, columns);
    if (c.margin) {
        draw_numbers(&c, rows, columns);
    }
    attn_status status = pack(&c, picture);
    memory_free(c.pixels);
    if (status) {
        heat_picture_release(picture);
    }
    return status;
}

attn_status heat_picture_draw_mean(const float *weights, int64_t heads, int64_t queries, int64_t keys,
                                   heat_picture *picture) {
    *picture = (heat_picture){0};
    if (heads < 1 || queries < 1 || keys < 1) {
        return fail(ATTN_ERROR_ARGUMENT, "a picture of no heads, queries or keys was asked for");
    }
    size_t cells = (size_t)queries * (size_t)keys;
    float *mean = memory_allocate((size_t)queries, (size_t)keys * sizeof *mean);
    if (!mean) {
        return ATTN_ERROR_MEMORY;
    }
    for (int64_t h = 0; h < heads; h++) {
        for (size_t i = 0; i < cells; i++) {
            mean[i] += weights[(size_t)h * cells + i] / (float)heads;
        }
    }
    attn_status status = heat_picture_draw(mean, queries, keys, picture);
    memory_free(mean);
    return status;
}

void heat_picture_release(heat_picture *picture) {
    memory_free(picture->png);
    *picture = (heat_picture){0};
}
