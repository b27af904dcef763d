/* Vectors of f32 as GCC vector extensions: as wide as the file that includes this is
 * compiled for (16 lanes with AVX-512, 8 with AVX2, else 4), so that the tile kernels
 * are written once. Arithmetic is the operators'; only what they cannot say (maximum,
 * selection, rounding, parts of a vector) is spelled per instruction set here. */
#ifndef ATTN_ATTENTION_VECTOR_H
#define ATTN_ATTENTION_VECTOR_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define VECTOR 16
#elif defined(__AVX2__)
#define VECTOR 8
#else
#define VECTOR 4
#endif

/* Columns of a register tile, in vectors: 6 x 4 accumulators where there are 32
 * registers, 6 x 2 where there are 16. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define PANEL_VECTORS 4
#else
#define PANEL_VECTORS 2
#endif
#define PANEL (VECTOR * PANEL_VECTORS)

typedef float vec __attribute__((vector_size(VECTOR * 4)));
typedef int32_t ivec __attribute__((vector_size(VECTOR * 4)));
typedef uint32_t uvec __attribute__((vector_size(VECTOR * 4)));

#define INLINE static inline __attribute__((always_inline, unused))

INLINE vec vec_load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void vec_store(float *p, vec v) {
    memcpy(p, &v, sizeof v);
}

INLINE vec vec_set(float x) {
#if VECTOR == 16
    return (vec)_mm512_set1_ps(x); /* any bits: x may be two bf16 */
#else
    return x - (vec){0};
#endif
}

INLINE ivec ivec_set(int32_t x) {
    return x - (ivec){0};
}

INLINE uvec uvec_set(uint32_t x) {
    return x - (uvec){0};
}

/* 0, 1, 2, ... */
INLINE ivec ivec_iota(void) {
#if VECTOR == 16
    return (ivec){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#elif VECTOR == 8
    return (ivec){0, 1, 2, 3, 4, 5, 6, 7};
#else
    return (ivec){0, 1, 2, 3};
#endif
}

/* What lies in memory is rounded to floats; this is rounded alike: the compiler may not fuse the product or
 * sum that it is with what follows. */
INLINE vec vec_rounded(vec x) {
#if defined(__x86_64__)
    __asm__("" : "+x"(x));
#elif defined(__aarch64__)
    __asm__("" : "+w"(x));
#endif
    return x;
}

/* mask lanes are -1 or 0 */
INLINE vec vec_select(ivec mask, vec yes, vec no) {
#if VECTOR == 16
    return (vec)_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)mask), (__m512)no, (__m512)yes);
#elif VECTOR == 8
    return (vec)_mm256_blendv_ps((__m256)no, (__m256)yes, (__m256)mask);
#else
    return (vec)((mask & (ivec)yes) | (~mask & (ivec)no));
#endif
}

/* 1 if the sign of any lane is set, as a mask's is. */
INLINE int vec_any(ivec mask) {
#if VECTOR == 16
    return _mm512_movepi32_mask((__m512i)mask) != 0;
#elif VECTOR == 8
    return _mm256_movemask_ps((__m256)mask) != 0;
#else
    int any = 0;
    for (int i = 0; i < VECTOR; i++) {
        any |= mask[i];
    }
    return any < 0;
#endif
}

/* 1 if every lane is below the limit. */
INLINE int vec_all_below(vec a, float limit) {
#if VECTOR == 16
    return _mm512_cmp_ps_mask((__m512)a, _mm512_set1_ps(limit), _CMP_NLT_UQ) == 0;
#else
    return !vec_any(~(a < vec_set(limit)));
#endif
}

/* The larger one; b where either is not a number. */
INLINE vec vec_max(vec a, vec b) {
#if VECTOR == 16
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif VECTOR == 8
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return vec_select(a > b, a, b);
#endif
}

INLINE vec vec_min(vec a, vec b) {
#if VECTOR == 16
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif VECTOR == 8
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return vec_select(a < b, a, b);
#endif
}

/* A sign for every lane that is infinite or no number. Or-ed over a loop it costs less than a sum of
 * zeros, whose every step waits for the one before. */
INLINE ivec vec_not_finite(vec a) {
    return (ivec)(((uvec)a & uvec_set(0x7f800000u)) + uvec_set(0x00800000u));
}

INLINE vec vec_abs(vec a) {
    return (vec)((ivec)a & ivec_set(0x7fffffff));
}

/* Sums and maxima over lanes, always in the order of a binary tree. */
INLINE float vec_sum(vec v) {
#if VECTOR == 16
    return _mm512_reduce_add_ps((__m512)v);
#elif VECTOR == 8
    __m128 half = _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
#else
    float lane[VECTOR];
    vec_store(lane, v);
    for (int half = VECTOR / 2; half; half /= 2) {
        for (int i = 0; i < half; i++) {
            lane[i] += lane[i + half];
        }
    }
    return lane[0];
#endif
}

INLINE float vec_largest(vec v) {
#if VECTOR == 16
    return _mm512_reduce_max_ps((__m512)v);
#elif VECTOR == 8
    __m128 half = _mm_max_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
#else
    float lane[VECTOR];
    vec_store(lane, v);
    for (int half = VECTOR / 2; half; half /= 2) {
        for (int i = 0; i < half; i++) {
            lane[i] = lane[i] > lane[i + half] ? lane[i] : lane[i + half];
        }
    }
    return lane[0];
#endif
}

/* The first n lanes, 0 in the others; nothing beyond is read or written. */
INLINE vec vec_load_part(const float *p, int n) {
#if VECTOR == 16
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif VECTOR == 8
    return (vec)_mm256_maskload_ps(p, (__m256i)(ivec_iota() < ivec_set(n)));
#else
    vec v = {0};
    for (int i = 0; i < n; i++) {
        v[i] = p[i];
    }
    return v;
#endif
}

INLINE void vec_store_part(float *p, vec v, int n) {
#if VECTOR == 16
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif VECTOR == 8
    _mm256_maskstore_ps(p, (__m256i)(ivec_iota() < ivec_set(n)), (__m256)v);
#else
    for (int i = 0; i < n; i++) {
        p[i] = v[i];
    }
#endif
}

/* The same from bf16 and from int8. */
INLINE vec vec_load_bf16(const uint16_t *p) {
#if VECTOR == 16
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
#elif VECTOR == 8
    /* both halves take all eight, and of them four each into the upper parts of their lanes */
    const __m256i four = _mm256_set_epi8(15, 14, -1, -1, 13, 12, -1, -1, 11, 10, -1, -1, 9, 8, -1, -1, 7, 6,
                                         -1, -1, 5, 4, -1, -1, 3, 2, -1, -1, 1, 0, -1, -1);
    return (vec)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)p)), four);
#else
    typedef uint16_t half __attribute__((vector_size(2 * VECTOR)));
    half h;
    memcpy(&h, p, sizeof h);
    return (vec)(__builtin_convertvector(h, uvec) << 16);
#endif
}

/* To the nearest bf16, ties to even; a quiet not-a-number stays one. AVX512-BF16 takes numbers
 * below the least normal one for 0. */
INLINE void vec_store_bf16(uint16_t *p, vec v) {
#if defined(__AVX512BF16__)
    _mm256_storeu_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh((__m512)v));
#else
    const uvec bits = (uvec)v;
    const uvec rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const uvec chosen = (uvec)vec_select(v != v, (vec)((bits >> 16) | 0x40u), (vec)rounded);
#if VECTOR == 16
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16((__m512i)chosen));
#elif VECTOR == 8
    const __m256i packed = _mm256_packus_epi32((__m256i)chosen, (__m256i)chosen); /* in each half twice */
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08)));
#else
    for (int i = 0; i < VECTOR; i++) {
        p[i] = (uint16_t)chosen[i];
    }
#endif
#endif
}

#if defined(__AVX512BF16__)
/* Units of two bf16: even in the lower halves, odd in the upper. */
INLINE vec vec_units(vec even, vec odd) {
    const __m512i halves = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                                            22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return (vec)_mm512_permutexvar_epi16(halves, (__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even));
}
#endif

INLINE vec vec_load_i8(const int8_t *p) {
#if VECTOR == 16
    return (vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif VECTOR == 8
    return (vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#else
    typedef int8_t byte __attribute__((vector_size(VECTOR)));
    byte b;
    memcpy(&b, p, sizeof b);
    return __builtin_convertvector(b, vec);
#endif
}

/* 2^x of several: x = n + f with |f| <= 1/2, a polynomial of degree 6 in f (minimax, relative
 * error 2e-9 before rounding) and n put into the exponent. 0 from about -127 on (with
 * AVX-512 -150) and for -inf; not a number stays one. Meant for x <= 127. Step by step for all of
 * them: the processor does not look far enough ahead to mix whole chains. */
INLINE void vec_exp2_each(const int count, vec *x) {
    static const float terms[] = {1.339887385e-03f, 9.618436918e-03f, 5.550332367e-02f,
                                  2.402264774e-01f, 6.931471825e-01f, 1.0f};
    vec n[4], p[4];
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
#if VECTOR == 16
        x[i] = vec_max(vec_set(-200.0f), x[i]);
        n[i] = (vec)_mm512_roundscale_ps((__m512)x[i], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        x[i] -= n[i];
#else
        const vec magic = vec_set(12583039.0f); /* 1.5 * 2^23 + 127: the sum's last bits are n's exponent */
        x[i] = vec_min(vec_set(128.0f), vec_max(vec_set(-127.0f), x[i]));
        n[i] = x[i] + magic;
        x[i] -= n[i] - magic;
#endif
        p[i] = vec_set(1.535336196e-04f);
    }
#pragma GCC unroll 6
    for (int t = 0; t < 6; t++) {
#pragma GCC unroll 4
        for (int i = 0; i < count; i++) {
            p[i] = p[i] * x[i] + terms[t];
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
#if VECTOR == 16
        x[i] = (vec)_mm512_scalef_ps((__m512)p[i], (__m512)n[i]);
#else
        x[i] = p[i] * (vec)((uvec)n[i] << 23);
#endif
    }
}

INLINE vec vec_exp2(vec x) {
    vec_exp2_each(1, &x);
    return x;
}

#endif
