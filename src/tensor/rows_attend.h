/* Attention of one query to rows that lie anywhere, for rows_body.h: a decoder's step with a
 * cache. Sums over a head run in 16 lanes; 16 keys' lanes are folded together. */

/* Lane i: a[i] + a[i ^ g] where bit g of i is 0, else b[i] + b[i ^ g]. */
#define FOLD(a, b, g) (__builtin_shufflevector(a, b, LANES_OF(g, 0)) + __builtin_shufflevector(a, b, LANES_OF(g, g)))
#define LANE_OF(i, g, x) (((i) & (g)) ? 16 + ((i) ^ (x)) : ((i) ^ (x)))
#define LANES_OF(g, x)                                                                                               \
    LANE_OF(0, g, x), LANE_OF(1, g, x), LANE_OF(2, g, x), LANE_OF(3, g, x), LANE_OF(4, g, x), LANE_OF(5, g, x),      \
        LANE_OF(6, g, x), LANE_OF(7, g, x), LANE_OF(8, g, x), LANE_OF(9, g, x), LANE_OF(10, g, x), LANE_OF(11, g, x), \
        LANE_OF(12, g, x), LANE_OF(13, g, x), LANE_OF(14, g, x), LANE_OF(15, g, x)

/* Lane i of the result is the sum of v[i]'s lanes. */
static inline vec fold_sixteen(vec v[16]) {
    for (int i = 0; i < 8; i++) {
        v[i] = FOLD(v[i], v[i + 8], 8);
    }
    for (int i = 0; i < 4; i++) {
        v[i] = FOLD(v[i], v[i + 4], 4);
    }
    for (int i = 0; i < 2; i++) {
        v[i] = FOLD(v[i], v[i + 2], 2);
    }
    return FOLD(v[0], v[1], 1);
}

/* Scores of 16 keys with one head of the query: d is a multiple of 16. */
static inline vec score_sixteen(const float *q, const float *const key[16], int64_t at, int64_t d) {
    vec sums[16];
    vec first = load(q + at);
    for (int j = 0; j < 16; j++) {
        sums[j] = first * load(key[j] + at);
    }
    for (int64_t e = LANES; e < d; e += LANES) {
        vec part = load(q + at + e);
        for (int j = 0; j < 16; j++) {
            sums[j] += part * load(key[j] + at + e);
        }
    }
    return fold_sixteen(sums);
}

/* exp(scale (s - largest s)) / sum in place; lanes behind count become 0. */
static void softmax_scores(float *scores, int64_t count, float scale) {
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
    const float inverse = 1.0f / fold_sum(mass);
    for (int64_t j = 0; j < padded; j += LANES) {
        store(scores + j, load(scores + j) * inverse);
    }
}

/* Values lie anywhere: so many of them are asked for ahead of their use. */
enum { AHEAD = 6 };

/* Asks for n floats' lines. */
static inline void prefetch(const float *p, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        __builtin_prefetch(p + i);
    }
}

/* `vectors` <= 8 vectors of columns from `at` on: y = sum over keys of weight times value. */
static inline void sum_values(float *y, const float *rows, int64_t width, const int32_t *places, int64_t count,
                              const float *weights, int64_t padded, int64_t d, int64_t at, const int vectors) {
    vec sums[8] = {{0}};
    const float *weight[8];
    for (int v = 0; v < vectors; v++) {
        weight[v] = weights + (at + v * LANES) / d * padded;
    }
    for (int64_t j = 0; j < count; j++) {
        const float *value = rows + (int64_t)places[j] * 2 * width + width + at;
        if (j + AHEAD < count) {
            prefetch(rows + (int64_t)places[j + AHEAD] * 2 * width + width + at, vectors * LANES);
        }
        for (int v = 0; v < vectors; v++) {
            sums[v] += weight[v][j] * load(value + v * LANES);
        }
    }
    for (int v = 0; v < vectors; v++) {
        store(y + at + v * LANES, sums[v]);
    }
}

static void attend(float *y, const float *q, const float *rows, int64_t width, int64_t heads, const int32_t *places,
                   int64_t count, float *room) {
    const int64_t d = width / heads, padded = (count + LANES - 1) / LANES * LANES;
    for (int64_t j = 0; j < count; j += 16) {
        const float *key[16];
        const int next = count - j - 16 < 16 ? (int)(count - j - 16) : 16;
        for (int i = 0; i < 16; i++) {
            key[i] = rows + (int64_t)places[j + i < count ? j + i : j] * 2 * width;
        }
        for (int64_t h = 0; h < heads; h++) {
            for (int i = 0; i < next; i++) {
                prefetch(rows + (int64_t)places[j + 16 + i] * 2 * width + h * d, d);
            }
            store(room + h * padded + j, score_sixteen(q, key, h * d, d));
        }
    }
    for (int64_t h = 0; h < heads; h++) {
        softmax_scores(room + h * padded, count, 1.0f / sqrtf((float)d));
    }
    int64_t at = 0;
    for (; at + 8 * LANES <= width; at += 8 * LANES) {
        sum_values(y, rows, width, places, count, room, padded, d, at, 8);
    }
    for (; at < width; at += LANES) {
        sum_values(y, rows, width, places, count, room, padded, d, at, 1);
    }
}

/* The first index from `from` on whose value is above the bound; n if there is none. */
static int64_t next_above(const float *values, int64_t from, int64_t n, float bound) {
    int64_t i = from;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        veci any = (load(values + i) > bound) | (load(values + i + LANES) > bound) | (load(values + i + 2 * LANES) > bound) |
                   (load(values + i + 3 * LANES) > bound);
        int32_t lanes[LANES], found = 0;
        memcpy(lanes, &any, sizeof lanes);
        for (int j = 0; j < LANES; j++) {
            found |= lanes[j];
        }
        if (found) {
            break;
        }
    }
    while (i < n && !(values[i] > bound)) {
        i++;
    }
    return i;
}
