/* What every body of row kernels computes with: the compiler's vectors of LANES f32, as wide as the
 * registers where those are named below, and the exponential. Included by files that are compiled once
 * for each instruction set. */
#ifndef ATTN_TENSOR_ROWS_VECTOR_H
#define ATTN_TENSOR_ROWS_VECTOR_H

#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX2__) && !defined(__AVX512F__)
#define LANES 8
#else
#define LANES 16
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t veci __attribute__((vector_size(4 * LANES)));
typedef uint32_t vecu __attribute__((vector_size(4 * LANES)));
typedef uint64_t vecq __attribute__((vector_size(8 * LANES)));
typedef uint16_t vech __attribute__((vector_size(2 * LANES)));

static inline vec splat(float x) {
    return x - (vec){0};
}

static inline vec load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store(float *p, vec v) {
    memcpy(p, &v, sizeof v);
}

/* The last n < LANES elements; lanes behind them hold `fill`. */
static inline vec load_part(const float *p, int64_t n, float fill) {
    vec v = splat(fill);
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}

static inline void store_part(float *p, vec v, int64_t n) {
    memcpy(p, &v, (size_t)n * sizeof *p);
}

static inline vec load_some(const float *p, int64_t left, float fill) {
    return left >= LANES ? load(p) : load_part(p, left, fill);
}

static inline void store_some(float *p, vec v, int64_t left) {
    if (left >= LANES) {
        store(p, v);
    } else {
        store_part(p, v, left);
    }
}

static inline vec choose(veci mask, vec yes, vec no) {
    return (vec)((mask & (veci)yes) | (~mask & (veci)no));
}

/* b where either is NaN. */
static inline vec maximum(vec a, vec b) {
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return choose(a > b, a, b);
#endif
}

static inline vec minimum(vec a, vec b) {
#if defined(__AVX512F__)
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return choose(a < b, a, b);
#endif
}

/* Lane i takes lane i + n (mod LANES). */
#if LANES == 16
#define ROTATED(v, n)                                                                                                 \
    __builtin_shufflevector(v, v, (n), (n) + 1, (n) + 2, (n) + 3, (n) + 4, (n) + 5, (n) + 6, (n) + 7, (n) + 8, (n) + 9, \
                            (n) + 10, (n) + 11, (n) + 12, (n) + 13, (n) + 14, (n) + 15)
#else
#define ROTATED(v, n)                                                                                        \
    __builtin_shufflevector(v, v, (n), (n) + 1, (n) + 2, (n) + 3, (n) + 4, (n) + 5, (n) + 6, (n) + 7)
#endif

static inline float fold_sum(vec v) {
#if LANES == 16
    v += ROTATED(v, 8);
#endif
    v += ROTATED(v, 4);
    v += ROTATED(v, 2);
    v += ROTATED(v, 1);
    return v[0];
}

static inline float fold_maximum(vec v) {
#if LANES == 16
    v = maximum(v, ROTATED(v, 8));
#endif
    v = maximum(v, ROTATED(v, 4));
    v = maximum(v, ROTATED(v, 2));
    v = maximum(v, ROTATED(v, 1));
    return v[0];
}

/* e^x = 2^n e^r with n = round(x log2 e), |r| <= log 2 / 2, and Taylor's series for
 * e^r to r^6 (error 2e-7 of the result). 0 below -87.3, held at e^88 above; NaN
 * stays NaN. */
static inline vec exponential(vec x) {
    const vec magic = splat(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    const vec lowest = splat(-87.3f);
    vec held = minimum(splat(88.0f), maximum(lowest, x));
    vec shifted = held * 1.44269504f + magic;
    vec n = shifted - magic;
    vec r = held - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vec e = splat(1.0f / 720);
    e = e * r + 1.0f / 120;
    e = e * r + 1.0f / 24;
    e = e * r + 1.0f / 6;
    e = e * r + 0.5f;
    e = e * r + 1.0f;
    e = e * r + 1.0f;
#if defined(__AVX512F__)
    __mmask16 kept = _mm512_cmp_ps_mask((__m512)x, (__m512)lowest, _CMP_NLT_UQ);
    return (vec)_mm512_maskz_scalef_ps(kept, (__m512)e, (__m512)n);
#else
    const vec power = (vec)(((veci)shifted - (veci)magic + 127) << 23);
    return choose(x < lowest, splat(0), e * power); /* what is no number stays so */
#endif
}

#endif
