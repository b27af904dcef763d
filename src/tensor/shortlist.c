#include "tensor/shortlist.h"

#include <math.h>

struct shortlist {
    arena *memory; /* the copy's */
    packed_weight *coarse;
    const float *bias;
    int64_t outputs, depth;
    double most_error, most_norm, most_bias; /* of all outputs: |w - w^|, |w^|, |b| */
};

/* What f32 sums may round by, in units of their terms' magnitudes: a rounding for each term, and some. */
static double rounding(int64_t depth) {
    return (double)(depth + 16) * 0x1p-24;
}

/* Takes one output's norms into those of all; 0 if it has no int8 form. */
static int measure_output(shortlist *s, const float *w, signed char *q) {
    float scale;
    if (!product_quantize_row(w, s->depth, q, &scale)) {
        return 0;
    }
    double error = 0, norm = 0;
    for (int64_t i = 0; i < s->depth; i++) {
        const double kept = (double)scale * q[i], lost = (double)w[i] - kept;
        error += lost * lost;
        norm += kept * kept;
    }
    s->most_error = fmax(s->most_error, sqrt(error));
    s->most_norm = fmax(s->most_norm, sqrt(norm));
    return 1;
}

attn_status shortlist_new(const float *weight, const float *bias, int64_t outputs, int64_t depth,
                          shortlist **made) {
    *made = NULL;
    shortlist *s = memory_allocate(1, sizeof *s);
    signed char *q = memory_allocate((size_t)depth, 1);
    attn_status status = s && q ? ATTN_OK : ATTN_ERROR_MEMORY;
    int possible = !status;
    if (!status) {
        *s = (shortlist){.bias = bias, .outputs = outputs, .depth = depth};
    }
    for (int64_t o = 0; o < outputs && possible; o++) {
        possible = measure_output(s, weight + o * depth, q) && isfinite(bias[o]);
        s->most_bias = fmax(s->most_bias, fabs((double)bias[o]));
    }
    if (possible) {
        s->memory = arena_new();
        status = s->memory ? arena_reserve(s->memory, (size_t)outputs * (size_t)depth / 16 * 17)
                           : ATTN_ERROR_MEMORY;
        status = status
                     ? status
                     : product_pack(weight, outputs, depth, PRODUCT_INT8, "shortlist", s->memory, &s->coarse);
    }
    memory_free(q);
    if (status || !possible) {
        shortlist_free(s);
        return status;
    }
    *made = s;
    return ATTN_OK;
}

void shortlist_free(shortlist *s) {
    if (s) {
        packed_weight_free(s->coarse);
        arena_free(s->memory);
        memory_free(s);
    }
}

/* 2 B of the head of this file's header for one x; not finite where x is not, or so small that it cannot be
 * told. */
static double twice_the_bound(const shortlist *s, const float *x) {
    float most = 0;
    double norm = 0;
    for (int64_t i = 0; i < s->depth; i++) {
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
        norm += (double)x[i] * (double)x[i];
    }
    norm = sqrt(norm);
    if (most > 0 && (most < 1e-20f || (double)most * s->most_norm < 1e-25)) {
        return NAN; /* int8's scales, or products, may leave the range of floats */
    }
    /* no element of x is further from x^ than half a step */
    const double lost = (double)most / 127 * 0.5001 * sqrt((double)s->depth);
    const double magnitude = (norm + lost) * (s->most_norm + s->most_error) + s->most_bias;
    return 2 * (norm * s->most_error + lost * s->most_norm + 2 * rounding(s->depth) * magnitude);
}

/* The largest of the outputs that y [outputs], their coarse values, allows. */
static int32_t largest_of(const shortlist *s, const packed_weight *exact, const row_kernels *kernels,
                          const float *x, const float *y, const int32_t skipped[2], float *values,
                          void *room) {
    const int panel = product_panel(exact);
    const double floor = (double)kernels->floor_of(y, s->outputs, 1) - twice_the_bound(s, x);
    const float bound = nextafterf((float)floor, -INFINITY);
    int64_t begun = -1, left = s->outputs / panel / 8 + 1;
    int32_t best = -1;
    float most = -INFINITY;
    if (!(fabs(floor) < 1e30)) {
        return -1;
    }
    for (int64_t i = kernels->next_above(y, 0, s->outputs, bound); i < s->outputs;
         i = kernels->next_above(y, i + 1, s->outputs, bound)) {
        if (i / panel != begun) {
            if (left-- == 0) {
                return -1;
            }
            begun = i / panel;
            product_run_panel(values, x, exact, begun, s->bias, room);
        }
        const float value = values[i % panel];
        if (value > most && i != skipped[0] && i != skipped[1]) {
            most = value;
            best = (int32_t)i;
        }
    }
    return best;
}

static size_t rounded_up(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

void shortlist_largest(const shortlist *s, const packed_weight *exact, const row_kernels *kernels,
                       const float *x, int64_t rows, const int32_t (*skipped)[2], int32_t *found,
                       void *room) {
    float *y = room;
    float *values = (float *)(void *)((char *)room + rounded_up((size_t)(rows * s->outputs) * sizeof *y));
    void *own = (char *)values + rounded_up((size_t)product_panel(exact) * sizeof *values);
    product_run(y, s->outputs, x, s->depth, rows, s->coarse, s->bias, 0, own);
    for (int64_t row = 0; row < rows; row++, y += s->outputs) {
        for (int i = 0; i < 2; i++) {
            if (skipped[row][i] >= 0) {
                y[skipped[row][i]] = -INFINITY;
            }
        }
        found[row] = largest_of(s, exact, kernels, x + row * s->depth, y, skipped[row], values, own);
    }
}

size_t shortlist_room(const shortlist *s, const packed_weight *exact, int64_t rows) {
    const size_t coarse = product_room(s->coarse, rows), one = product_room(exact, 1);
    return rounded_up((size_t)(rows * s->outputs) * sizeof(float)) +
           rounded_up((size_t)product_panel(exact) * sizeof(float)) + (coarse > one ? coarse : one);
}
