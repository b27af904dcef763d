/* What every body of row kernels computes with: the compiler's vectors of 16 f32 and the
 * exponential. Included by files that are compiled once for each instruction set. */
#ifndef ATTN_TENSOR_ROWS_VECTOR_H
#define ATTN_TENSOR_ROWS_VECTOR_H

#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

typedef float vec __attribute__((vector_size(64)));
typedef int32_t veci __attribute__((vector_size(64)));
typedef uint32_t vecu __attribute__((vector_size(64)));
typedef uint64_t vecq __attribute__((vector_size(128)));
typedef uint16_t vech __attribute__((vector_size(32)));
enum { LANES = 16 };

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

/* The last n < 16 elements; lanes behind them hold `fill`. */
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

/* Comparisons. Of vectors that are wider than the registers the compiler makes one for each lane, so where
 * the registers have half of one it is told of halves. */
#if defined(__AVX2__) && !defined(__AVX512F__)
static inline __m256 half_of(vec v, int number) {
    __m256 half[2];
    memcpy(half, &v, sizeof v);
    return half[number];
}

static inline vec of_halves(__m256 low, __m256 high) {
    const __m256 half[2] = {low, high};
    vec v;
    memcpy(&v, half, sizeof v);
    return v;
}

#define BY_HALVES(operation, a, b, ...)                                                                      \
    of_halves(operation(half_of(a, 0), half_of(b, 0), ##__VA_ARGS__),                                        \
              operation(half_of(a, 1), half_of(b, 1), ##__VA_ARGS__))
#endif

/* b where either is NaN. */
static inline vec maximum(vec a, vec b) {
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return BY_HALVES(_mm256_max_ps, a, b);
#else
    return choose(a > b, a, b);
#endif
}

static inline vec minimum(vec a, vec b) {
#if defined(__AVX512F__)
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return BY_HALVES(_mm256_min_ps, a, b);
#else
    return choose(a < b, a, b);
#endif
}

static inline veci less(vec a, vec b) {
#if defined(__AVX2__) && !defined(__AVX512F__)
    return (veci)BY_HALVES(_mm256_cmp_ps, a, b, _CMP_LT_OQ);
#else
    return a < b;
#endif
}

static inline veci equal(vec a, vec b) {
#if defined(__AVX2__) && !defined(__AVX512F__)
    return (veci)BY_HALVES(_mm256_cmp_ps, a, b, _CMP_EQ_OQ);
#else
    return a == b;
#endif
}

/* Lane i takes lane i + n (mod 16). */
#define ROTATED(v, n)                                                                                                 \
    __builtin_shufflevector(v, v, (n), (n) + 1, (n) + 2, (n) + 3, (n) + 4, (n) + 5, (n) + 6, (n) + 7, (n) + 8, (n) + 9, \
                            (n) + 10, (n) + 11, (n) + 12, (n) + 13, (n) + 14, (n) + 15)

static inline float fold_sum(vec v) {
    v += ROTATED(v, 8);
    v += ROTATED(v, 4);
    v += ROTATED(v, 2);
    v += ROTATED(v, 1);
    return v[0];
}

static inline float fold_maximum(vec v) {
    v = maximum(v, ROTATED(v, 8));
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
    veci power = ((veci)shifted - (veci)magic) << 23;
    vec result = (vec)((veci)e + power);
    result = choose(less(x, lowest), splat(0), result);
    return choose(equal(x, x), result, x);
#endif
}

#endif
