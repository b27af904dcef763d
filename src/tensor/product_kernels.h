/* What product.c asks of an instruction set's kernels. Packed weights and packed inputs are
 * words of 32 bits: one f32, two bf16, two int16 or four int8 along the depth.
 *   weights: [panel][word][column of the panel], columns behind the last are 0
 *   inputs:  [row][word] */
#ifndef ATTN_TENSOR_PRODUCT_KERNELS_H
#define ATTN_TENSOR_PRODUCT_KERNELS_H

#include "tensor/element.h"

typedef enum word_kind {
    WORD_F32,
    WORD_BF16_AS_F32, /* f32 that were rounded to bf16 */
    WORD_BF16,
    WORD_INT16, /* int8 widened */
    WORD_INT8   /* weights signed, inputs + 128; compensation takes 128 sum w off */
} word_kind;

typedef struct product_call {
    float *y;
    int64_t y_stride, outputs;
    const uint32_t *x; /* words */
    int64_t x_stride, rows, words;
    const uint32_t *weights;
    const float *bias;           /* [outputs], or NULL */
    int rectify;
    const float *x_scales;       /* int8: [rows] */
    const float *weight_scales;  /* int8: [panels * panel] */
    const int32_t *compensation; /* WORD_INT8: [panels * panel] */
    int ahead_shift;             /* 2 to this power: row blocks over which asking for the next panel is spread */
} product_call;

typedef struct product_kernels {
    int panel;          /* columns */
    int row_block;      /* rows that a tile takes at most */
    word_kind kinds[3]; /* by product_type */
    void (*run)(word_kind kind, const product_call *call, int64_t first_panel, int64_t end_panel);
    /* One row of x as words; returns its scale (1 but for int8). */
    float (*pack_row)(word_kind kind, uint32_t *words, const float *x, int64_t depth);
} product_kernels;

/* Values along the depth that a word holds. */
static inline int word_values(word_kind kind) {
    return kind == WORD_INT8 ? 4 : kind == WORD_BF16 || kind == WORD_INT16 ? 2 : 1;
}

#endif
