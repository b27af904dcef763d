/* The one body of the row kernels, in the compiler's vectors. Each rows_*.c includes it
 * once with its instruction set's flags and ROWS_TABLE set to the name of its table.
 * Sums run in LANES lanes and are folded in a fixed order. */
#include <math.h>

#include "base/random.h"
#include "tensor/rows.h"
#include "tensor/rows_vector.h"

static void widen(float *out, const bf16 *in, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vech h;
        memcpy(&h, in + i, sizeof h);
        vecu bits = __builtin_convertvector(h, vecu) << 16;
        memcpy(out + i, &bits, sizeof bits);
    }
    for (; i < n; i++) {
        out[i] = float_from_bf16(in[i]);
    }
}

static inline vech narrowed(vec x) {
    vecu bits = (vecu)x;
    vecu rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    vecu nan = ~(vecu)(x == x);
    rounded = (nan & ((bits >> 16) | 0x40u)) | (~nan & rounded);
    return __builtin_convertvector(rounded, vech);
}

static void narrow(bf16 *out, const float *in, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vech h = narrowed(load(in + i));
        memcpy(out + i, &h, sizeof h);
    }
    for (; i < n; i++) {
        out[i] = bf16_from_float(in[i]);
    }
}

static void add(float *out, const float *in, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        out[i] += in[i];
    }
}

/* The high and low halves of products of 32 bits. */
#if defined(__AVX512F__)
static inline vecu multiply_wide(vecu a, uint32_t b, vecu *high) {
    __m512i even = _mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
    __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64((__m512i)a, 32), _mm512_set1_epi64(b));
    *high = (vecu)_mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
    return (vecu)_mm512_mask_shuffle_epi32(even, 0xaaaa, odd, _MM_PERM_CCAA);
}
#elif defined(__AVX2__)
static inline vecu multiply_wide(vecu a, uint32_t b, vecu *high) {
    const __m256i even = _mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64((__m256i)a, 32), _mm256_set1_epi64x(b));
    *high = (vecu)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    return (vecu)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}
#else
static inline vecu multiply_wide(vecu a, uint32_t b, vecu *high) {
    vecq product = __builtin_convertvector(a, vecq) * (uint64_t)b;
    *high = __builtin_convertvector(product >> 32, vecu);
    return __builtin_convertvector(product, vecu);
}
#endif

/* Lanes first .. of what 16 Philox blocks (Salmon et al. 2011) give for 128 values from `start` on, 8
 * decisions of 16 bits each. */
static inline void drop_lanes(float *values, int64_t n, int64_t start, uint32_t first, uint64_t key,
                              int64_t row, uint32_t drop, float scale) {
#if LANES == 16
    const vecu lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#else
    const vecu lane = {0, 1, 2, 3, 4, 5, 6, 7};
#endif
    vecu c0 = lane + ((uint32_t)(start / 128) * 16 + first);
    vecu c1 = (vecu){0} + (uint32_t)row;
    vecu c2 = (vecu){0} + (uint32_t)((uint64_t)row >> 32);
    vecu c3 = (vecu){0} + 2u;
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        vecu high0, high1;
        vecu low0 = multiply_wide(c0, 0xD2511F53u, &high0);
        vecu low1 = multiply_wide(c2, 0xCD9E8D57u, &high1);
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    vecu words[8] = {c0 & 0xffffu, c1 & 0xffffu, c2 & 0xffffu, c3 & 0xffffu,
                     c0 >> 16,     c1 >> 16,     c2 >> 16,     c3 >> 16};
    for (int part = 0; part < 8; part++) {
        int64_t at = start + part * 16 + first, left = n - at;
        if (left <= 0) {
            break;
        }
        veci kept =
            ~((veci)(words[part] - drop) >> 31); /* words[part] >= drop: both are of 17 bits at most */
        vec v = load_some(values + at, left, 0) * scale;
        store_some(values + at, choose(kept, v, splat(0)), left);
    }
}

/* Element e of a row takes half e / 64 % 2 of word e / 16 % 4 of block e / 128 * 16 + e % 16. */
static void dropout(float *values, int64_t n, uint64_t key, int64_t row, uint32_t drop) {
    const float scale = 65536.0f / (float)(65536u - drop);
    for (int64_t start = 0; start < n; start += 128) {
        for (uint32_t first = 0; first < 16; first += LANES) {
            drop_lanes(values, n, start, first, key, row, drop, scale);
        }
    }
}

static float layer_norm(float *y, float *normalized, const float *x, const float *gain, const float *bias, int64_t n,
                        float epsilon) {
    vec sum = {0}, squares = {0};
    for (int64_t i = 0; i < n; i += LANES) {
        sum += load_some(x + i, n - i, 0);
    }
    float mean = fold_sum(sum) / (float)n;
    for (int64_t i = 0; i < n; i += LANES) {
        vec d = load_some(x + i, n - i, mean) - mean;
        squares += d * d;
    }
    float rstd = 1.0f / sqrtf(fold_sum(squares) / (float)n + epsilon);
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        vec unit = (load_some(x + i, left, 0) - mean) * rstd;
        vec out = unit * load_some(gain + i, left, 0) + load_some(bias + i, left, 0);
        if (normalized) {
            store_some(normalized + i, unit, left);
        }
        store_some(y + i, out, left);
    }
    return rstd;
}

static void layer_norm_backward(float *dx, float *d_gain, float *d_bias, const float *dy, const float *normalized,
                                const float *gain, int64_t n, float rstd) {
    vec sum = {0}, product = {0};
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        vec d = load_some(dy + i, left, 0), unit = load_some(normalized + i, left, 0);
        vec scaled = d * load_some(gain + i, left, 0);
        sum += scaled;
        product += scaled * unit;
        store_some(d_gain + i, load_some(d_gain + i, left, 0) + d * unit, left);
        store_some(d_bias + i, load_some(d_bias + i, left, 0) + d, left);
    }
    float mean = fold_sum(sum) / (float)n, mean_product = fold_sum(product) / (float)n;
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        vec scaled = load_some(dy + i, left, 0) * load_some(gain + i, left, 0);
        store_some(dx + i, (scaled - mean - load_some(normalized + i, left, 0) * mean_product) * rstd, left);
    }
}

static float rms_norm(float *y, float *normalized, const float *x, const float *gain, int64_t n, float epsilon) {
    vec squares = {0};
    for (int64_t i = 0; i < n; i += LANES) {
        vec v = load_some(x + i, n - i, 0);
        squares += v * v;
    }
    float rstd = 1.0f / sqrtf(fold_sum(squares) / (float)n + epsilon);
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        vec unit = load_some(x + i, left, 0) * rstd;
        vec out = unit * load_some(gain + i, left, 0);
        if (normalized) {
            store_some(normalized + i, unit, left);
        }
        store_some(y + i, out, left);
    }
    return rstd;
}

static void rms_norm_backward(float *dx, float *d_gain, const float *dy, const float *normalized, const float *gain,
                              int64_t n, float rstd) {
    vec product = {0};
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        vec d = load_some(dy + i, left, 0), unit = load_some(normalized + i, left, 0);
        product += d * load_some(gain + i, left, 0) * unit;
        store_some(d_gain + i, load_some(d_gain + i, left, 0) + d * unit, left);
    }
    float mean_product = fold_sum(product) / (float)n;
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        vec scaled = load_some(dy + i, left, 0) * load_some(gain + i, left, 0);
        store_some(dx + i, (scaled - load_some(normalized + i, left, 0) * mean_product) * rstd, left);
    }
}

/* The largest of values [n] in each of 64 lanes, -infinity where one gets none. NaN does not count. Several
 * vectors, so that none waits for itself. */
enum { TOPS = 64 / LANES };

static inline void lane_maxima(const float *values, int64_t n, vec top[TOPS]) {
    for (int v = 0; v < TOPS; v++) {
        top[v] = splat(-INFINITY);
    }
    int64_t i = 0;
    for (; i + TOPS * LANES <= n; i += TOPS * LANES) {
        for (int v = 0; v < TOPS; v++) {
            top[v] = maximum(load(values + i + v * LANES), top[v]);
        }
    }
    for (int v = 0; i < n; i += LANES, v++) {
        top[v] = maximum(load_some(values + i, n - i, -INFINITY), top[v]);
    }
}

static inline float fold_maxima(const vec top[TOPS]) {
    vec most = top[0];
    for (int v = 1; v < TOPS; v++) {
        most = maximum(most, top[v]);
    }
    return fold_maximum(most);
}

static float largest(const float *z, int64_t n) {
    vec top[TOPS];
    lane_maxima(z, n, top);
    return fold_maxima(top);
}

/* One vector of the gradient to where it is wanted. */
static inline void give_gradient(float *z, bf16 *copy, float *sums, vec gradient, int64_t left) {
    if (!copy) {
        store_some(z, gradient, left);
    } else {
        vech h = narrowed(gradient);
        if (left >= LANES) {
            memcpy(copy, &h, sizeof h);
        } else {
            memcpy(copy, &h, (size_t)left * sizeof *copy);
        }
    }
    if (sums) {
        store_some(sums, load_some(sums, left, 0) + gradient, left);
    }
}

static float cross_entropy(float *z, bf16 *copy, float *sums, int64_t n, int64_t y, float smoothing, float scale,
                           float *likelihood, int *correct) {
    float top = largest(z, n), label = z[y];
    vec mass = {0}, total = {0};
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        vec v = load_some(z + i, left, -INFINITY);
        vec e = exponential(v - top);
        mass += e;
        total += left >= LANES ? v : load_part(z + i, left, 0);
        store_some(z + i, e, left);
    }
    float sum = fold_sum(mass), log_sum = top + logf(sum);
    float share = smoothing / (float)n;
    float factor = scale / sum, shift = scale * share, at_label = scale * (1.0f - smoothing);
    float whole = z[y] * factor - shift - at_label;
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        give_gradient(z + i, copy ? copy + i : NULL, sums ? sums + i : NULL, load_some(z + i, left, 0) * factor - shift, left);
    }
    if (copy) {
        copy[y] = bf16_from_float(whole);
    } else {
        z[y] = whole;
    }
    if (sums) {
        sums[y] -= at_label;
    }
    *likelihood = label - log_sum;
    *correct = label >= top;
    return log_sum - (1.0f - smoothing) * label - share * fold_sum(total);
}

static float log_sum_exp(const float *z, int64_t n) {
    float top = largest(z, n);
    vec mass = {0};
    for (int64_t i = 0; i < n; i += LANES) {
        mass += exponential(load_some(z + i, n - i, -INFINITY) - top);
    }
    return top + logf(fold_sum(mass));
}

static float log_softmax(float *z, int64_t n) {
    float log_sum = log_sum_exp(z, n);
    for (int64_t i = 0; i < n; i++) {
        z[i] -= log_sum;
    }
    return log_sum;
}

static inline vec sigmoid(vec x) {
    return 1.0f / (1.0f + exponential(-x));
}

static void swish(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        vec v = load_some(x + i, n - i, 0);
        store_some(x + i, v * sigmoid(v), n - i);
    }
}

static void swish_backward(float *dy, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        vec v = load_some(x + i, n - i, 0), s = sigmoid(v);
        store_some(dy + i, load_some(dy + i, n - i, 0) * (s + v * s * (1.0f - s)), n - i);
    }
}

static void gelu(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        x[i] = 0.5f * x[i] * (1.0f + erff(x[i] * 0.70710678f));
    }
}

static void gelu_backward(float *dy, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float share = 0.5f * (1.0f + erff(x[i] * 0.70710678f));
        float density = 0.39894228f * expf(-0.5f * x[i] * x[i]);
        dy[i] *= share + x[i] * density;
    }
}

/* 1/2 (1 + tanh(u)) = sigmoid(2 u), and u = sqrt(2 / pi) (x + 0.044715 x^3). */
static void gelu_tanh(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        vec v = load_some(x + i, n - i, 0);
        store_some(x + i, v * sigmoid(v * (1.59576912f + 0.07135481f * v * v)), n - i);
    }
}

static void gelu_tanh_backward(float *dy, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        vec v = load_some(x + i, n - i, 0), squared = v * v;
        vec s = sigmoid(v * (1.59576912f + 0.07135481f * squared));
        vec slope = s + v * s * (1.0f - s) * (1.59576912f + 0.21406444f * squared);
        store_some(dy + i, load_some(dy + i, n - i, 0) * slope, n - i);
    }
}

static void rectify_backward(float *dy, const float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        dy[i] = y[i] > 0 ? dy[i] : 0;
    }
}

static void adam(float *value, float *first, float *second, const float *gradient, bf16 *copy, int64_t n,
                 const adam_step *step) {
    const float rate = step->rate / step->correction1, unbias = 1.0f / step->correction2;
    for (int64_t i = 0; i < n; i++) {
        float g = gradient[i] * step->gradient_scale;
        float m = step->beta1 * first[i] + (1.0f - step->beta1) * g;
        float v = step->beta2 * second[i] + (1.0f - step->beta2) * g * g;
        first[i] = m;
        second[i] = v;
        value[i] -= step->decay * value[i] + rate * m / (sqrtf(v * unbias) + step->epsilon);
    }
    if (copy) {
        narrow(copy, value, n);
    }
}

static void blend(float *average, const float *values, int64_t n, float share) {
    for (int64_t i = 0; i < n; i++) {
        average[i] += share * (values[i] - average[i]);
    }
}

static double sum_of_squares(const float *values, int64_t n) {
    double lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            lane[j] += (double)values[i + j] * (double)values[i + j];
        }
    }
    for (; i < n; i++) {
        lane[0] += (double)values[i] * (double)values[i];
    }
    double sum = 0;
    for (int j = 0; j < LANES; j++) {
        sum += lane[j];
    }
    return sum;
}

#include "tensor/rows_attend.h"

const row_kernels ROWS_TABLE = {
    widen, narrow, add, dropout, layer_norm, layer_norm_backward, rms_norm, rms_norm_backward,
    cross_entropy, log_softmax, swish, swish_backward, gelu, gelu_backward, gelu_tanh, gelu_tanh_backward, rectify_backward, adam, blend, sum_of_squares,
    log_sum_exp, attend, next_above, floor_of};
