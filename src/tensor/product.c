/* Packing, and the cutting of a product: groups of rows, which threads may take, and in
 * each every panel of weights against the group, so that a panel comes from memory once
 * a group. */
#include "tensor/product.h"

#include <math.h>
#include <omp.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "tensor/product_kernels.h"

extern const product_kernels product_portable, product_avx2, product_avx512, product_avx512bf16;

/* 255 * 127 * depth has to fit 31 bits. */
enum { ROW_GROUP = 240, MOST_INT8_DEPTH = 1 << 16, ALIGNMENT = 64 };

struct packed_weight {
    const product_kernels *kernels;
    word_kind kind;
    int64_t outputs, depth, panels, words;
    uint32_t *weights;
    float *scales;         /* int8 alone */
    int32_t *compensation; /* WORD_INT8 alone */
    int in_room;           /* the arrays are an arena's */
};

static const product_kernels *kernels_select(void) {
    switch (cpu_selected()) {
    case CPU_AVX512_BF16:
        return &product_avx512bf16;
    case CPU_AVX512:
        return &product_avx512;
    case CPU_AVX2:
        return &product_avx2;
    case CPU_PORTABLE:
        break;
    }
    return &product_portable;
}

int product_quantize_row(const float *w, int64_t depth, signed char *q, float *scale) {
    float most = 0;
    int finite = 1;
    for (int64_t i = 0; i < depth; i++) {
        float magnitude = fabsf(w[i]);
        most = magnitude > most ? magnitude : most;
        finite &= isfinite(w[i]) != 0;
    }
    *scale = most / 127;
    if (!finite || (most > 0 && most < 1e-30f)) {
        return 0;
    }
    float inverse = most > 0 ? 127 / most : 0;
    for (int64_t i = 0; i < depth; i++) {
        q[i] = (signed char)lrintf(w[i] * inverse);
    }
    return 1;
}

/* An output's first word; its others follow `panel` words apart. */
static uint32_t *first_word(const packed_weight *w, int64_t output) {
    const int panel = w->kernels->panel;
    return w->weights + output / panel * w->words * panel + output % panel;
}

static void pack_floats(packed_weight *w, const float *row, int64_t output) {
    const int panel = w->kernels->panel;
    uint32_t *words = first_word(w, output);
    for (int64_t i = 0; i < w->depth; i++) {
        uint32_t bits;
        float value = w->kind == WORD_F32 ? row[i] : float_from_bf16(bf16_from_float(row[i]));
        memcpy(&bits, &value, sizeof bits);
        if (w->kind == WORD_BF16) {
            words[i / 2 * panel] |= bits >> 16 << (i % 2 * 16);
        } else {
            words[i * panel] = bits;
        }
    }
}

static attn_status pack_int8(packed_weight *w, const float *row, int64_t output, signed char *q, const char *name) {
    if (!product_quantize_row(row, w->depth, q, &w->scales[output])) {
        return fail(ATTN_ERROR_NUMERIC, "tensor \"%s\": the scale of row %lld would be %g, a number above 0 was expected",
                    name, (long long)output, (double)w->scales[output]);
    }
    const int panel = w->kernels->panel;
    uint32_t *words = first_word(w, output);
    if (w->kind == WORD_INT16) {
        for (int64_t i = 0; i < w->words; i++, q += 2) {
            words[i * panel] = (uint32_t)(uint16_t)q[0] | (uint32_t)(uint16_t)q[1] << 16;
        }
        return ATTN_OK;
    }
    int32_t sum = 0;
    for (int64_t i = 0; i < w->words; i++, q += 4) {
        words[i * panel] = (uint32_t)(uint8_t)q[0] | (uint32_t)(uint8_t)q[1] << 8 | (uint32_t)(uint8_t)q[2] << 16 |
                           (uint32_t)(uint8_t)q[3] << 24;
        sum += q[0] + q[1] + q[2] + q[3];
    }
    w->compensation[output] = -128 * sum;
    return ATTN_OK;
}

static void *take(arena *room, size_t count, size_t size) {
    void *memory = room ? arena_allocate(room, count, size) : memory_allocate_raw(count, size);
    if (memory) {
        memset(memory, 0, count * size);
    }
    return memory;
}

static attn_status take_memory(packed_weight *w, arena *room) {
    size_t columns = (size_t)(w->panels * w->kernels->panel), words;
    int integer = w->kind == WORD_INT8 || w->kind == WORD_INT16;
    if (!size_multiply(columns, (size_t)w->words, &words)) {
        return fail(ATTN_ERROR_MEMORY, "a weight matrix of %lld by %lld is too large", (long long)w->outputs,
                    (long long)w->depth);
    }
    w->in_room = room != NULL;
    w->weights = take(room, words, sizeof *w->weights);
    w->scales = integer ? take(room, columns, sizeof *w->scales) : NULL;
    w->compensation = w->kind == WORD_INT8 ? take(room, columns, sizeof *w->compensation) : NULL;
    return w->weights && (!integer || w->scales) && (w->kind != WORD_INT8 || w->compensation) ? ATTN_OK
                                                                                              : ATTN_ERROR_MEMORY;
}

attn_status product_pack(const float *weight, int64_t outputs, int64_t depth, product_type type, const char *name, arena *room,
                         packed_weight **packed) {
    *packed = NULL;
    if (type == PRODUCT_INT8 && depth > MOST_INT8_DEPTH) {
        return fail(ATTN_ERROR_UNSUPPORTED, "tensor \"%s\" sums over %lld products, at most %d fit int8 arithmetic", name,
                    (long long)depth, MOST_INT8_DEPTH);
    }
    packed_weight *w = memory_allocate(1, sizeof *w);
    signed char *q = memory_allocate((size_t)depth + 3, 1); /* whole words, zeros at the end */
    attn_status status = w && q ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (!status) {
        *w = (packed_weight){.kernels = kernels_select(), .outputs = outputs, .depth = depth};
        w->kind = w->kernels->kinds[type];
        w->panels = (outputs + w->kernels->panel - 1) / w->kernels->panel;
        w->words = (depth + word_values(w->kind) - 1) / word_values(w->kind);
        status = take_memory(w, room);
    }
    for (int64_t o = 0; o < outputs && !status; o++) {
        if (type == PRODUCT_INT8) {
            status = pack_int8(w, weight + o * depth, o, q, name);
        } else {
            pack_floats(w, weight + o * depth, o);
        }
    }
    memory_free(q);
    if (status) {
        packed_weight_free(w);
        return status;
    }
    *packed = w;
    return ATTN_OK;
}

void packed_weight_free(packed_weight *packed) {
    if (packed && !packed->in_room) {
        memory_free(packed->weights);
        memory_free(packed->scales);
        memory_free(packed->compensation);
    }
    memory_free(packed);
}

int64_t packed_weight_outputs(const packed_weight *w) {
    return w->outputs;
}

int64_t packed_weight_bytes(const packed_weight *w) {
    return w->panels * w->kernels->panel * w->words * (int64_t)sizeof *w->weights;
}

/* --- running ------------------------------------------------------------------- */

/* Words from row to row of packed inputs. */
static int64_t words_apart(const packed_weight *w) {
    return (w->words + 15) / 16 * 16;
}

size_t product_room(const packed_weight *w, int64_t rows) {
    return w->kind == WORD_F32 ? ALIGNMENT : (size_t)(rows * (words_apart(w) + 1)) * sizeof(uint32_t) + ALIGNMENT;
}

/* The call for one group of rows; words and scales are those of the group. */
static product_call call_of(float *y, int64_t y_stride, const float *x, int64_t x_stride, int64_t rows,
                            const packed_weight *w, const float *bias, int rectify, uint32_t *words,
                            float *scales) {
    product_call call = {.y = y,
                         .y_stride = y_stride,
                         .outputs = w->outputs,
                         .x = (const uint32_t *)(const void *)x,
                         .x_stride = x_stride,
                         .rows = rows,
                         .words = w->words,
                         .weights = w->weights,
                         .bias = bias,
                         .rectify = rectify,
                         .x_scales = scales,
                         .weight_scales = w->scales,
                         .compensation = w->compensation};
    if (w->kind != WORD_F32) {
        call.x_stride = words_apart(w);
        call.x = words;
        for (int64_t i = 0; i < rows; i++) {
            scales[i] = w->kernels->pack_row(w->kind, words + i * call.x_stride, x + i * x_stride, w->depth);
        }
    }
    return call;
}

static void run_group(float *y, int64_t y_stride, const float *x, int64_t x_stride, int64_t rows,
                      const packed_weight *w, const float *bias, int rectify, uint32_t *words,
                      float *scales) {
    product_call call = call_of(y, y_stride, x, x_stride, rows, w, bias, rectify, words, scales);
    while (2 << call.ahead_shift <= (rows + w->kernels->row_block - 1) / w->kernels->row_block) {
        call.ahead_shift++;
    }
    w->kernels->run(w->kind, &call, 0, w->panels);
}

void product_run(float *y, int64_t y_stride, const float *x, int64_t x_stride, int64_t rows, const packed_weight *w,
                 const float *bias, int rectify, void *room) {
    const int64_t groups = (rows + ROW_GROUP - 1) / ROW_GROUP;
    uint32_t *words = room;
    float *scales = (float *)(words + rows * words_apart(w));
    if (groups == 1) { /* a parallel region takes longer than a row, even with one thread */
        run_group(y, y_stride, x, x_stride, rows, w, bias, rectify, words, scales);
        return;
    }
#pragma omp parallel for schedule(dynamic)
    for (int64_t group = 0; group < groups; group++) {
        const int64_t first = group * ROW_GROUP, count = rows - first < ROW_GROUP ? rows - first : ROW_GROUP;
        run_group(y + first * y_stride, y_stride, x + first * x_stride, x_stride, count, w, bias, rectify,
                  words + first * words_apart(w), scales + first);
    }
}

int product_panel(const packed_weight *w) {
    return w->kernels->panel;
}

void product_run_panel(float *y, const float *x, const packed_weight *w, int64_t panel, const float *bias,
                       void *room) {
    uint32_t *words = room;
    const int64_t first = panel * w->kernels->panel;
    product_call call =
        call_of(y, 0, x, 0, 1, w, bias ? bias + first : NULL, 0, words, (float *)(words + words_apart(w)));
    call.outputs -= first;
    call.weights += first * w->words;
    call.weight_scales += w->scales ? first : 0;
    call.compensation += w->compensation ? first : 0;
    w->kernels->run(w->kind, &call, 0, 1);
}
