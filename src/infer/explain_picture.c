/* Cross-attention as a picture: a row of maps for each layer, a column for each head, in each map
 * a row for each produced token. Of speech the spectrogram stands above the first column, on the
 * same axis of time. */
#include <string.h>

#include "base/memory.h"
#include "data/colour_map.h"
#include "infer/explain.h"

enum { GAP = 6, LEAST_WIDTH = 160, LEAST_CELL = 6, MOST_CELL = 24 };

/* Pixels of a cell, of a map, and of the sheet. */
typedef struct sheet_plan {
    int cell_width, cell_height, map_width, map_height, above, layers, heads;
    int64_t queries, keys;
} sheet_plan;

static int fitting_cell(int64_t cells) {
    int64_t size = (LEAST_WIDTH + cells - 1) / cells;
    return (int)(size < LEAST_CELL ? LEAST_CELL : size > MOST_CELL ? MOST_CELL : size);
}

static sheet_plan plan_of(const attn_explanation *e) {
    const layer_weights *first = &e->weights[ATTN_DECODER_CROSS][0];
    sheet_plan p = {.layers = e->layers[ATTN_DECODER_CROSS], .queries = first->queries, .keys = first->keys};
    for (int l = 0; l < p.layers; l++) { /* the most that a layer has */
        p.heads = (int)first[l].heads > p.heads ? (int)first[l].heads : p.heads;
    }
    p.cell_width = e->spectrogram.pixels ? (fitting_cell(p.keys) + 1) / 2 : fitting_cell(p.keys);
    p.cell_height = fitting_cell(p.queries) < 12 ? fitting_cell(p.queries) : 12;
    p.map_width = p.cell_width * (int)p.keys;
    p.map_height = p.cell_height * (int)p.queries;
    p.above = e->spectrogram.pixels ? e->spectrogram.height + GAP : 0;
    return p;
}

static void draw_map(picture *sheet, const sheet_plan *p, const float *weights, int left, int top) {
    for (int y = 0; y < p->map_height; y++) {
        unsigned char *out = sheet->pixels + 3 * ((size_t)(top + y) * (size_t)sheet->width + (size_t)left);
        for (int x = 0; x < p->map_width; x++, out += 3) {
            colour_viridis(weights[(int64_t)(y / p->cell_height) * p->keys + x / p->cell_width], out);
        }
    }
}

static attn_status draw_spectrogram(picture *sheet, const sheet_plan *p, const picture *sound) {
    picture sized;
    attn_status status = picture_resize(sound, p->map_width, sound->height, &sized);
    for (int y = 0; y < sized.height && !status; y++) {
        for (int x = 0; x < sized.width; x++) {
            unsigned char *out = sheet->pixels + 3 * ((size_t)(GAP + y) * (size_t)sheet->width + (size_t)(GAP + x));
            memset(out, sized.pixels[(size_t)y * (size_t)sized.width + (size_t)x], 3);
        }
    }
    picture_release(&sized);
    return status;
}

attn_status attn_explanation_write_png(const attn_explanation *e, const char *path) {
    sheet_plan p = plan_of(e);
    int64_t wide = GAP + (int64_t)p.heads * (p.map_width + GAP), high = GAP + p.above + (int64_t)p.layers * (p.map_height + GAP);
    if (wide > PICTURE_LARGEST_SIDE || high > PICTURE_LARGEST_SIDE || wide * high > PICTURE_MOST_PIXELS) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%lld tokens by %lld in %d layers of %d heads do not fit on one picture",
                    (long long)p.queries, (long long)p.keys, p.layers, p.heads);
    }
    picture sheet = {(int)wide, (int)high, 3, memory_allocate((size_t)wide, (size_t)high * 3)};
    if (!sheet.pixels) {
        return ATTN_ERROR_MEMORY;
    }
    memset(sheet.pixels, 255, (size_t)(wide * high) * 3);
    attn_status status = p.above ? draw_spectrogram(&sheet, &p, &e->spectrogram) : ATTN_OK;
    for (int l = 0; l < p.layers; l++) {
        for (int h = 0; h < e->weights[ATTN_DECODER_CROSS][l].heads; h++) {
            draw_map(&sheet, &p, e->weights[ATTN_DECODER_CROSS][l].values + h * p.queries * p.keys,
                     GAP + h * (p.map_width + GAP), GAP + p.above + l * (p.map_height + GAP));
        }
    }
    status = status ? status : picture_write(path, &sheet);
    picture_release(&sheet);
    return status;
}
