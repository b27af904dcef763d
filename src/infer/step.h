/* One step of the decoder for many hypotheses at once: a row is one hypothesis's
 * newest input token. Keys and values of its earlier tokens and of its source are in
 * the caches. */
#ifndef ATTN_INFER_STEP_H
#define ATTN_INFER_STEP_H

#include "infer/cache.h"
#include "model/transformer.h"

/* Which places of a cache each row attends to: row r to table[r * stride + j],
 * j < lengths[r]. */
typedef struct row_places {
    const int32_t *table;
    int64_t stride;
    const int32_t *lengths;
} row_places;

typedef struct step_input {
    int64_t rows;
    const int32_t *ids;       /* [rows] */
    const int32_t *positions; /* [rows]: of the token in its sequence, from 0 */
    const int32_t *places;    /* [rows]: where the token's keys and values go */
    row_places self;          /* the new place is the last one of each list */
    row_places cross;
    float *cross_weights; /* NULL, or [rows, cross.stride]: receives the last layer's cross-attention, the
                           * mean of its heads; cells behind a row's length stay as they are */
} step_input;

/* A Transformer's parts, for every model whose text one writes: the products' weights, packed;
 * an encoder's result [rows, width] as every layer's cross-attention keys and values; and
 * the step itself. */
attn_status step_pack(packed_parameters *packed, product_type type, const parameters *values, const transformer *model);
attn_status step_keep_memory(tape *t, const transformer *model, tensor *memory, const int32_t *places, cache *cross);
attn_status step_open_caches(const transformer *model, cache *self, cache *cross);
tensor *step_decode(tape *t, const transformer *model, const step_input *in, cache *self, const cache *cross);

#endif
