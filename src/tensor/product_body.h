/* The one body of the product kernels, in the compiler's vectors. Each product_*.c includes it
 * once with its instruction set's flags and PRODUCT_TABLE set to the name of its table.
 *
 * A tile is a few rows of x against one panel of weights (few rows: several panels, so that
 * enough sums are under way to hide the latency of an addition). All its sums stay in
 * registers over the whole depth. */
#include <string.h>

#include "tensor/product_kernels.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { LANES = 16, ROW_BLOCK = 12 };
#elif defined(__AVX2__)
enum { LANES = 8, ROW_BLOCK = 6 };
#else
enum { LANES = 8, ROW_BLOCK = 2 };
#endif
enum { PANEL = 2 * LANES, MOST_SUMS = 24 };
/* Words by which weights that are read once are asked for before their use. */
enum { STREAM_AHEAD = 2048 };

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t veci __attribute__((vector_size(4 * LANES)));
typedef uint8_t vecb __attribute__((vector_size(LANES)));
typedef int16_t vech __attribute__((vector_size(2 * LANES)));

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

INLINE vec load(const void *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The first `left` elements, 0 behind them. Apart, since they are rarely wanted. */
static __attribute__((noinline)) vec load_part(const float *p, int64_t left) {
    vec v = {0};
    for (int64_t i = 0; i < left; i++) {
        v[i] = p[i];
    }
    return v;
}

static __attribute__((noinline)) void store_part(float *p, vec v, int64_t left) {
    for (int64_t i = 0; i < left; i++) {
        p[i] = v[i];
    }
}

INLINE vec load_some(const float *p, int64_t left) {
    return left >= LANES ? load(p) : load_part(p, left);
}

INLINE veci splat_word(uint32_t word) {
    return (int32_t)word - (veci){0};
}

#if !defined(__AVX512F__) && !defined(__AVX2__)
/* a + sum of the two int16 products of each lane */
INLINE veci add_pairs(veci a, veci x, veci w) {
    return a + ((x << 16) >> 16) * ((w << 16) >> 16) + (x >> 16) * (w >> 16);
}
#endif

/* sum + x w, where x is one word for all columns. */
INLINE vec multiply_add(const word_kind kind, vec sum, veci x, vec w) {
    switch (kind) {
    case WORD_BF16:
#if defined(__AVX512BF16__)
        return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)w);
#else
        break;
#endif
    case WORD_INT8:
#if defined(__AVX512VNNI__)
        return (vec)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)x, (__m512i)w);
#else
        break;
#endif
    case WORD_INT16:
#if defined(__AVX512F__)
        return (vec)_mm512_add_epi32((__m512i)sum, _mm512_madd_epi16((__m512i)x, (__m512i)w));
#elif defined(__AVX2__)
        return (vec)_mm256_add_epi32((__m256i)sum, _mm256_madd_epi16((__m256i)x, (__m256i)w));
#else
        return (vec)add_pairs((veci)sum, x, (veci)w);
#endif
    default:
        break;
    }
    return sum + (vec)x * w;
}

INLINE int is_integer(const word_kind kind) {
    return kind == WORD_INT8 || kind == WORD_INT16;
}

/* A tile's sums [2 panels][rows] to y; `whole`: all its columns are there. */
INLINE void finish_tile(const word_kind kind, const int whole, const product_call *c, const vec *sums, int rows, int panels,
                        int64_t row, int64_t panel) {
    for (int j = 0; j < 2 * panels; j++) {
        const int64_t column = panel * PANEL + j * LANES, left = whole ? LANES : c->outputs - column;
        const vec bias = c->bias ? load_some(c->bias + column, left) : (vec){0};
        const vec scale = is_integer(kind) ? load(c->weight_scales + column) : (vec){0};
        float *y = c->y + row * c->y_stride + column;
        for (int i = 0; i < rows; i++, y += c->y_stride) {
            vec sum = sums[j * rows + i];
            if (is_integer(kind)) {
                sum = __builtin_convertvector((veci)sum, vec) * (scale * c->x_scales[row + i]) + bias;
            } else {
                sum += bias;
            }
            if (c->rectify) {
                sum = (vec)((veci)sum & ~(sum < 0)); /* NaN stays NaN */
            }
            if (left >= LANES) {
                memcpy(y, &sum, sizeof sum);
            } else {
                store_part(y, sum, left);
            }
        }
    }
}

/* Apart from the tiles: were the sums alive across its calls, the compiler would keep them in memory all the
 * while that they are added to. */
static __attribute__((noinline)) void finish_integers(const product_call *c, const vec *sums, int rows, int panels,
                                                      int64_t row, int64_t panel) {
    const int whole = (panel + panels) * PANEL <= c->outputs;
    if (whole) {
        finish_tile(WORD_INT8, 1, c, sums, rows, panels, row, panel);
    } else {
        finish_tile(WORD_INT8, 0, c, sums, rows, panels, row, panel);
    }
}

static __attribute__((noinline)) void finish_floats(const product_call *c, const vec *sums, int rows, int panels,
                                                    int64_t row, int64_t panel) {
    const int whole = (panel + panels) * PANEL <= c->outputs;
    if (whole) {
        finish_tile(WORD_F32, 1, c, sums, rows, panels, row, panel);
    } else {
        finish_tile(WORD_F32, 0, c, sums, rows, panels, row, panel);
    }
}

/* `rows` and `panels` are constants where this is expanded; all inner loops unroll, so that the
 * sums are registers. */
INLINE void tile(const word_kind kind, const int rows, const int panels, const product_call *c, int64_t row,
                 int64_t panel) {
    vec sums[12][8], w[8];
    const int64_t panel_words = c->words * PANEL, x_stride = c->x_stride, words = c->words;
    const uint32_t *x = c->x + row * x_stride, *weights = c->weights + panel * panel_words;
    /* Weights that are read once are asked for a little ahead. Otherwise the next panel is, a part while each of
     * 2, 4, .. row blocks is at work. */
    const int shift = c->ahead_shift;
    const int64_t part = row / ROW_BLOCK;
    const uint32_t *ahead = shift == 0           ? weights + STREAM_AHEAD
                            : part >> shift == 0 ? weights + panel_words + (part * panel_words >> shift)
                                                 : NULL;
    UNROLL for (int j = 0; j < 2 * panels; j++) {
        vec start = {0};
        if (kind == WORD_INT8) {
            start = load(c->compensation + panel * PANEL + j * LANES);
        }
        UNROLL for (int i = 0; i < rows; i++) {
            sums[i][j] = start;
        }
    }
    for (int64_t k = 0; k < words; k++) {
        UNROLL for (int j = 0; j < 2 * panels; j++) {
            w[j] = load(weights + (j / 2) * panel_words + k * PANEL + j % 2 * LANES);
        }
        if (ahead) {
            UNROLL for (int j = 0; j < 2 * panels; j++) {
                __builtin_prefetch(ahead + (j / 2) * panel_words + (k * PANEL >> shift) + j % 2 * LANES, 0, 3);
            }
        }
        UNROLL for (int i = 0; i < rows; i++) {
            veci word = splat_word(x[i * x_stride + k]);
            UNROLL for (int j = 0; j < 2 * panels; j++) {
                sums[i][j] = multiply_add(kind, sums[i][j], word, w[j]);
            }
        }
    }
    vec done[MOST_SUMS];
    UNROLL for (int j = 0; j < 2 * panels; j++) {
        UNROLL for (int i = 0; i < rows; i++) {
            done[j * rows + i] = sums[i][j];
        }
    }
    (is_integer(kind) ? finish_integers : finish_floats)(c, done, rows, panels, row, panel);
}

/* 1 or 2 rows: panels in twos, then one by one. */
INLINE void few_rows(const word_kind kind, const int rows, const int panels, const product_call *c, int64_t row,
                     int64_t first, int64_t end) {
    for (; first + panels <= end; first += panels) {
        tile(kind, rows, panels, c, row, first);
    }
    for (; first < end; first++) {
        tile(kind, rows, 1, c, row, first);
    }
}

INLINE void many_rows(const word_kind kind, const int rows, const product_call *c, int64_t row, int64_t panel) {
    tile(kind, rows, 1, c, row, panel);
}

INLINE void run_kind(const word_kind kind, const product_call *c, int64_t first, int64_t end) {
    if (c->rows == 1) {
        few_rows(kind, 1, 2, c, 0, first, end);
        return;
    }
    if (c->rows == 2) {
        few_rows(kind, 2, 2, c, 0, first, end);
        return;
    }
    for (int64_t panel = first; panel < end; panel++) {
        for (int64_t row = 0; row < c->rows; row += ROW_BLOCK) {
            switch (c->rows - row) {
            case 1: many_rows(kind, 1, c, row, panel); break;
            case 2: many_rows(kind, 2, c, row, panel); break;
#if defined(__AVX512F__) || defined(__AVX2__)
            case 3: many_rows(kind, 3, c, row, panel); break;
            case 4: many_rows(kind, 4, c, row, panel); break;
            case 5: many_rows(kind, 5, c, row, panel); break;
#endif
#if defined(__AVX512F__)
            case 6: many_rows(kind, 6, c, row, panel); break;
            case 7: many_rows(kind, 7, c, row, panel); break;
            case 8: many_rows(kind, 8, c, row, panel); break;
            case 9: many_rows(kind, 9, c, row, panel); break;
            case 10: many_rows(kind, 10, c, row, panel); break;
            case 11: many_rows(kind, 11, c, row, panel); break;
#endif
            default: many_rows(kind, ROW_BLOCK, c, row, panel); break;
            }
        }
    }
}

static void run(word_kind kind, const product_call *c, int64_t first, int64_t end) {
    switch (kind) {
    case WORD_F32:
    case WORD_BF16_AS_F32:
        run_kind(WORD_F32, c, first, end);
        break;
    case WORD_BF16:
#if defined(__AVX512BF16__)
        run_kind(WORD_BF16, c, first, end);
#endif
        break;
    case WORD_INT8:
#if defined(__AVX512VNNI__)
        run_kind(WORD_INT8, c, first, end);
#endif
        break;
    case WORD_INT16:
        run_kind(WORD_INT16, c, first, end);
        break;
    }
}

/* --- inputs ---------------------------------------------------------------------- */

INLINE veci largest(veci a, veci b) {
#if defined(__AVX512F__)
    return (veci)_mm512_max_epi32((__m512i)a, (__m512i)b);
#else
    veci more = a > b;
    return (a & more) | (b & ~more);
#endif
}

INLINE int32_t largest_lane(veci v) {
#if defined(__AVX512F__)
    return _mm512_reduce_max_epi32((__m512i)v);
#else
    int32_t top = v[0];
    for (int i = 1; i < LANES; i++) {
        top = v[i] > top ? v[i] : top;
    }
    return top;
#endif
}

/* The largest magnitude; NaN counts as larger than all, since its bits do. */
static float largest_magnitude(const float *x, int64_t n) {
    veci most[2] = {{0}};
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        most[0] = largest((veci)load(x + i) & 0x7fffffff, most[0]);
        most[1] = largest((veci)load(x + i + LANES) & 0x7fffffff, most[1]);
    }
    for (; i < n; i += LANES) {
        most[0] = largest((veci)load_some(x + i, n - i) & 0x7fffffff, most[0]);
    }
    const int32_t top = largest_lane(largest(most[0], most[1]));
    float value;
    memcpy(&value, &top, sizeof value);
    return value;
}

/* round(x inverse), to the nearest, ties to even; for |x inverse| <= 127 */
INLINE veci rounded(vec x, float inverse) {
    const vec magic = 12582912.0f - (vec){0}; /* 1.5 * 2^23 */
    return (veci)(x * inverse + magic) - (veci)magic;
}

static float pack_int8(word_kind kind, uint32_t *words, const float *x, int64_t depth) {
    float most = largest_magnitude(x, depth), inverse = 0, scale = most / 127;
    if (most >= 1e-30f && most <= 3e38f) {
        inverse = 127 / most;
    } else if (most < 1e-30f) {
        scale = 0;
    } else { /* not finite: so is every sum */
        scale = __builtin_nanf("");
    }
    for (int64_t i = 0; i < depth; i += LANES) {
        int64_t left = depth - i < LANES ? depth - i : LANES;
        vec values = inverse == 0 ? (vec){0} : load_some(x + i, left);
        veci q = rounded(values, inverse);
        if (kind == WORD_INT8) {
            vecb bytes = __builtin_convertvector(q + 128, vecb);
            memcpy((char *)words + i, &bytes, (size_t)(left + 3) / 4 * 4);
        } else {
            vech halves = __builtin_convertvector(q, vech);
            memcpy((char *)words + 2 * i, &halves, (size_t)(left + 1) / 2 * 4);
        }
    }
    return scale;
}

static float pack_row(word_kind kind, uint32_t *words, const float *x, int64_t depth) {
    if (is_integer(kind)) {
        return pack_int8(kind, words, x, depth);
    }
    if (kind == WORD_F32) {
        memcpy(words, x, (size_t)depth * sizeof *x);
        return 1;
    }
    bf16 *halves = (bf16 *)words;
    if (kind == WORD_BF16 && depth % 2) {
        words[depth / 2] = 0;
    }
    for (int64_t i = 0; i < depth; i++) {
        if (kind == WORD_BF16) {
            halves[i] = bf16_from_float(x[i]);
        } else {
            float value = float_from_bf16(bf16_from_float(x[i]));
            memcpy(words + i, &value, sizeof value);
        }
    }
    return 1;
}

#if defined(__AVX512BF16__)
#define KIND_OF_BF16 WORD_BF16
#else
#define KIND_OF_BF16 WORD_BF16_AS_F32
#endif
#if defined(__AVX512VNNI__)
#define KIND_OF_INT8 WORD_INT8
#else
#define KIND_OF_INT8 WORD_INT16
#endif

const product_kernels PRODUCT_TABLE = {PANEL, ROW_BLOCK, {WORD_F32, KIND_OF_BF16, KIND_OF_INT8}, run, pack_row};
