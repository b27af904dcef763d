/* A corpus's source side that is no text: each sequence is rows of numbers, such as the
 * patches of a picture or the frames of a sound. They are made when a batch is packed, so that
 * an epoch may see them turned, shifted or masked anew. */
#ifndef ATTN_DATA_FEATURES_H
#define ATTN_DATA_FEATURES_H

#include <stddef.h>
#include <stdint.h>

typedef struct feature_source {
    size_t width; /* numbers a row */
    /* Fills out [rows of the sequence, width]. draw 0: as it is; else changed by the random
     * numbers of this key. May be called from several threads at once. */
    void (*read)(const void *context, size_t sequence, uint64_t draw, float *out);
    const void *context;
} feature_source;

#endif
