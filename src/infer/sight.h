/* Where a model of pictures or sounds looked, as numbers; sight_picture.c draws them. */
#ifndef ATTN_INFER_SIGHT_H
#define ATTN_INFER_SIGHT_H

#include <attn/attn.h>

#include "data/picture.h"
#include "model/signal_model.h"

enum { SIGHT_MOST_PLACES = 4096 /* patches, or quarters of frames */ };

struct attn_sight {
    signal_kind kind;
    char *path;
    const vocabulary *labels; /* the model's */
    float *probabilities;     /* [labels] */
    size_t label;             /* that is explained */
    int layers, heads;
    int64_t rows, columns;    /* the grid of places: a sound's has one row */
    float *attention;         /* [layers, heads, rows * columns] */
    float *rollout;           /* [rows * columns] */
    float *pooling;           /* [columns] of a sound, else NULL */
    int64_t gradient_columns; /* a sound's frames, else columns */
    float *gradient;          /* [rows, gradient_columns] times input, signed */
    picture shown;            /* grey or colour; of a sound: [bins, frames], low sounds below */
};

/* The picture with everything on it, for a PNG file. */
attn_status sight_draw(const attn_sight *s, picture *drawn);

/* One map over the picture or the spectrogram. signed_values: blue to red about 0, else
 * viridis from 0 on; `columns` of the map may differ from the picture's. */
attn_status sight_draw_map(const attn_sight *s, const float *map, int64_t columns, int signed_values, picture *drawn);

#endif
