/* Attention of one query to rows that lie anywhere, for rows_body.h: a decoder's step with a
 * cache. Sums over a head run in LANES lanes; the lanes of as many keys are folded together. */

/* Lane i: a[i] + a[i ^ g] where bit g of i is 0, else b[i] + b[i ^ g]. */
#define FOLD(a, b, g) (__builtin_shufflevector(a, b, LANES_OF(g, 0)) + __builtin_shufflevector(a, b, LANES_OF(g, g)))
#define LANE_OF(i, g, x) (((i) & (g)) ? LANES + ((i) ^ (x)) : ((i) ^ (x)))
#define EIGHT_OF(i, g, x)                                                                                    \
    LANE_OF(i, g, x), LANE_OF(i + 1, g, x), LANE_OF(i + 2, g, x), LANE_OF(i + 3, g, x),                      \
        LANE_OF(i + 4, g, x), LANE_OF(i + 5, g, x), LANE_OF(i + 6, g, x), LANE_OF(i + 7, g, x)
#if LANES == 16
#define LANES_OF(g, x) EIGHT_OF(0, g, x), EIGHT_OF(8, g, x)
#else
#define LANES_OF(g, x) EIGHT_OF(0, g, x)
#endif

/* Lane i of the result is the sum of v[i]'s lanes. */
static inline vec fold_all(vec v[LANES]) {
#if LANES == 16
    for (int i = 0; i < 8; i++) {
        v[i] = FOLD(v[i], v[i + 8], 8);
    }
#endif
    for (int i = 0; i < 4; i++) {
        v[i] = FOLD(v[i], v[i + 4], 4);
    }
    for (int i = 0; i < 2; i++) {
        v[i] = FOLD(v[i], v[i + 2], 2);
    }
    return FOLD(v[0], v[1], 1);
}

/* Scores of LANES keys with one head of the query: d is a multiple of LANES. */
static inline vec score_lanes(const float *q, const float *const key[LANES], int64_t at, int64_t d) {
    vec sums[LANES];
    vec first = load(q + at);
    for (int j = 0; j < LANES; j++) {
        sums[j] = first * load(key[j] + at);
    }
    for (int64_t e = LANES; e < d; e += LANES) {
        vec part = load(q + at + e);
        for (int j = 0; j < LANES; j++) {
            sums[j] += part * load(key[j] + at + e);
        }
    }
    return fold_all(sums);
}

/* exp(scale (s - largest s)) in place; lanes behind count become 0. Returns 1 / sum. */
static inline float exponential_scores(float *scores, int64_t count, float scale) {
    const int64_t padded = (count + LANES - 1) / LANES * LANES;
    for (int64_t j = count; j < padded; j++) {
        scores[j] = -INFINITY;
    }
    vec top = load(scores), mass = {0};
    for (int64_t j = LANES; j < padded; j += LANES) {
        top = maximum(load(scores + j), top);
    }
    const float most = fold_maximum(top);
    for (int64_t j = 0; j < padded; j += LANES) {
        vec e = exponential((load(scores + j) - most) * scale);
        store(scores + j, e);
        mass += e;
    }
    return 1.0f / fold_sum(mass);
}

/* Keys and values lie anywhere: so many values are asked for ahead of their use, and of the next
 * row's first keys so many columns. */
enum { AHEAD = 6, NEXT_KEYS = 16, NEXT_COLUMNS = 512 };

/* Asks for n floats' lines. */
static inline void prefetch(const float *p, int64_t n) {
    for (int64_t i = 0; i < n; i += 16) {
        __builtin_prefetch(p + i);
    }
}

/* `heads` heads of `vectors` vectors each, from column `at` on, together at most 8 vectors:
 * y = share of the head * sum over keys of weight times value. */
static inline __attribute__((always_inline)) void sum_values(float *y, const float *rows, int64_t width,
                                                             const int32_t *places, int64_t count, const float *weights,
                                                             int64_t padded, const float *shares, int64_t at,
                                                             const int heads, const int vectors) {
    vec sums[8] = {{0}};
    for (int64_t j = 0; j < count; j++) {
        const float *value = rows + (int64_t)places[j] * 2 * width + width + at;
        if (j + AHEAD < count) {
            prefetch(rows + (int64_t)places[j + AHEAD] * 2 * width + width + at, heads * vectors * LANES);
        }
        for (int h = 0; h < heads; h++) {
            const vec weight = splat(weights[h * padded + j]);
            for (int v = 0; v < vectors; v++) {
                sums[h * vectors + v] += weight * load(value + (h * vectors + v) * LANES);
            }
        }
    }
    for (int i = 0; i < heads * vectors; i++) {
        store(y + at + i * LANES, sums[i] * shares[i / vectors]);
    }
}

/* Scores [heads][padded] of all keys, not scaled. */
static inline void score_keys(float *scores, const float *q, const float *rows, int64_t width, int64_t heads,
                              const int32_t *places, int64_t count) {
    const int64_t d = width / heads, padded = (count + LANES - 1) / LANES * LANES;
    for (int64_t j = 0; j < count; j += LANES) {
        const float *key[LANES];
        const int next = count - j - LANES < LANES ? (int)(count - j - LANES) : LANES;
        for (int i = 0; i < LANES; i++) {
            key[i] = rows + (int64_t)places[j + i < count ? j + i : j] * 2 * width;
        }
        for (int64_t h = 0; h < heads; h++) {
            for (int i = 0; i < next; i++) {
                prefetch(rows + (int64_t)places[j + LANES + i] * 2 * width + h * d, d);
            }
            store(scores + h * padded + j, score_lanes(q, key, h * d, d));
        }
    }
}

static void attend(float *y, const float *q, const float *rows, int64_t width, int64_t heads, const int32_t *places,
                   int64_t count, const int32_t *next, int64_t next_count, float *room) {
    const int64_t d = width / heads, padded = (count + LANES - 1) / LANES * LANES;
    float shares[heads];
    score_keys(room, q, rows, width, heads, places, count);
    for (int64_t j = 0; j < count && j < AHEAD; j++) {
        prefetch(rows + (int64_t)places[j] * 2 * width + width, width < 8 * LANES ? width : 8 * LANES);
    }
    for (int64_t h = 0; h < heads; h++) {
        shares[h] = exponential_scores(room + h * padded, count, 1.0f / sqrtf((float)d));
    }
    for (int64_t j = 0; j < next_count && j < NEXT_KEYS; j++) {
        prefetch(rows + (int64_t)next[j] * 2 * width, width < NEXT_COLUMNS ? width : NEXT_COLUMNS);
    }
    int64_t h = 0;
    for (; d == LANES && h + 8 <= heads; h += 8) {
        sum_values(y, rows, width, places, count, room + h * padded, padded, shares + h, h * d, 8, 1);
    }
    for (; d == 2 * LANES && h + 4 <= heads; h += 4) {
        sum_values(y, rows, width, places, count, room + h * padded, padded, shares + h, h * d, 4, 2);
    }
    for (; d == 4 * LANES && h + 2 <= heads; h += 2) {
        sum_values(y, rows, width, places, count, room + h * padded, padded, shares + h, h * d, 2, 4);
    }
    for (; h < heads; h++) {
        int64_t at = h * d;
        for (; at + 8 * LANES <= (h + 1) * d; at += 8 * LANES) {
            sum_values(y, rows, width, places, count, room + h * padded, padded, shares + h, at, 1, 8);
        }
        for (; at < (h + 1) * d; at += LANES) {
            sum_values(y, rows, width, places, count, room + h * padded, padded, shares + h, at, 1, 1);
        }
    }
}

/* Bit i: values[i] > bound, of 64. */
static inline uint64_t above(const float *values, vec bound) {
#if defined(__AVX512F__)
    uint64_t bits[4];
    __mmask16 part[4];
    for (int v = 0; v < 4; v++) {
        part[v] = _mm512_cmp_ps_mask((__m512)load(values + v * LANES), (__m512)bound, _CMP_GT_OQ);
    }
    if (!(part[0] | part[1] | part[2] | part[3])) {
        return 0;
    }
    for (int v = 0; v < 4; v++) {
        bits[v] = (uint64_t)part[v] << (v * LANES);
    }
    return bits[0] | bits[1] | bits[2] | bits[3];
#elif defined(__AVX2__)
    uint64_t bits = 0;
    for (int v = 0; v < 8; v++) {
        const __m256 part = _mm256_cmp_ps((__m256)load(values + v * LANES), (__m256)bound, _CMP_GT_OQ);
        bits |= (uint64_t)(uint32_t)_mm256_movemask_ps(part) << (v * LANES);
    }
    return bits;
#else
    veci any = {0};
    for (int v = 0; v < 4; v++) {
        any |= load(values + v * LANES) > bound;
    }
    int32_t found = 0;
    for (int j = 0; j < LANES; j++) {
        found |= any[j];
    }
    uint64_t bits = 0;
    for (int j = 0; j < 4 * LANES && found; j++) {
        bits |= (uint64_t)(values[j] > bound[0]) << j;
    }
    return bits;
#endif
}

/* The first index from `from` on whose value is above the bound; n if there is none. */
static int64_t next_above(const float *values, int64_t from, int64_t n, float bound) {
    int64_t i = from;
    for (; i + 64 <= n; i += 64) {
        uint64_t bits = above(values + i, splat(bound));
        if (bits) {
            return i + __builtin_ctzll(bits);
        }
    }
    while (i < n && !(values[i] > bound)) {
        i++;
    }
    return i;
}

/* Each of 64 groups of values has a largest; `wanted` values reach the lowest of the `wanted` largest of these. */
static float floor_of(const float *values, int64_t n, int wanted) {
    vec top[TOPS];
    lane_maxima(values, n, top);
    float found = INFINITY;
    for (int k = 0; k < wanted && found > -INFINITY; k++) {
        found = fold_maxima(top);
        for (int v = 0; v < TOPS; v++) {
            top[v] = choose(top[v] == found, splat(-INFINITY), top[v]);
        }
    }
    return found;
}
