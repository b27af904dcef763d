/* The one body of the recurrent kernels; each recurrent_rows_*.c includes it once with
 * its instruction set's flags and RECURRENT_TABLE set to the name of its table. */
#include "tensor/recurrent_rows.h"
#include "tensor/rows_vector.h"

static inline vec sigmoid(vec x) {
    return 1.0f / (1.0f + exponential(-x));
}

/* 1 - 2 / (e^2x + 1): within 2e-7, which is all that gates in [-1, 1] can use. */
static inline vec hyperbolic_tangent(vec x) {
    return 1.0f - 2.0f / (exponential(x + x) + 1.0f);
}

static void gru(float *state, float *saved, const float *gx, const float *gh, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        vec candidate_h = load_some(gh + 2 * n + i, left, 0), h = load_some(state + i, left, 0);
        vec r = sigmoid(load_some(gx + i, left, 0) + load_some(gh + i, left, 0));
        vec z = sigmoid(load_some(gx + n + i, left, 0) + load_some(gh + n + i, left, 0));
        vec m = hyperbolic_tangent(load_some(gx + 2 * n + i, left, 0) + r * candidate_h);
        store_some(state + i, m + z * (h - m), left);
        if (saved) {
            store_some(saved + i, r, left);
            store_some(saved + n + i, z, left);
            store_some(saved + 2 * n + i, m, left);
            store_some(saved + 3 * n + i, candidate_h, left);
            store_some(saved + 4 * n + i, h, left);
        }
    }
}

static void gru_backward(float *d_h, float *d_c, float *d_gx, float *d_gh, const float *saved, int64_t n) {
    (void)d_c;
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        vec r = load_some(saved + i, left, 0), z = load_some(saved + n + i, left, 0);
        vec m = load_some(saved + 2 * n + i, left, 0), candidate_h = load_some(saved + 3 * n + i, left, 0);
        vec h = load_some(saved + 4 * n + i, left, 0), dh = load_some(d_h + i, left, 0);
        vec dm = dh * (1.0f - z) * (1.0f - m * m);
        vec dz = dh * (h - m) * z * (1.0f - z);
        vec dr = dm * candidate_h * r * (1.0f - r);
        store_some(d_gx + i, dr, left);
        store_some(d_gx + n + i, dz, left);
        store_some(d_gx + 2 * n + i, dm, left);
        store_some(d_gh + i, dr, left);
        store_some(d_gh + n + i, dz, left);
        store_some(d_gh + 2 * n + i, dm * r, left);
        store_some(d_h + i, dh * z, left);
    }
}

static void lstm(float *state, float *saved, const float *gx, const float *gh, int64_t n) {
    for (int64_t j = 0; j < n; j += LANES) {
        int64_t left = n - j;
        vec i = sigmoid(load_some(gx + j, left, 0) + load_some(gh + j, left, 0));
        vec f = sigmoid(load_some(gx + n + j, left, 0) + load_some(gh + n + j, left, 0));
        vec g = hyperbolic_tangent(load_some(gx + 2 * n + j, left, 0) + load_some(gh + 2 * n + j, left, 0));
        vec o = sigmoid(load_some(gx + 3 * n + j, left, 0) + load_some(gh + 3 * n + j, left, 0));
        vec c = load_some(state + n + j, left, 0), next = f * c + i * g, shown = hyperbolic_tangent(next);
        store_some(state + j, o * shown, left);
        store_some(state + n + j, next, left);
        if (saved) {
            store_some(saved + j, i, left);
            store_some(saved + n + j, f, left);
            store_some(saved + 2 * n + j, g, left);
            store_some(saved + 3 * n + j, o, left);
            store_some(saved + 4 * n + j, c, left);
            store_some(saved + 5 * n + j, shown, left);
        }
    }
}

static void lstm_backward(float *d_h, float *d_c, float *d_gx, float *d_gh, const float *saved, int64_t n) {
    for (int64_t j = 0; j < n; j += LANES) {
        int64_t left = n - j;
        vec i = load_some(saved + j, left, 0), f = load_some(saved + n + j, left, 0);
        vec g = load_some(saved + 2 * n + j, left, 0), o = load_some(saved + 3 * n + j, left, 0);
        vec c = load_some(saved + 4 * n + j, left, 0), shown = load_some(saved + 5 * n + j, left, 0);
        vec dh = load_some(d_h + j, left, 0);
        vec dc = load_some(d_c + j, left, 0) + dh * o * (1.0f - shown * shown);
        vec di = dc * g * i * (1.0f - i), df = dc * c * f * (1.0f - f);
        vec dg = dc * i * (1.0f - g * g), d_o = dh * shown * o * (1.0f - o);
        store_some(d_gx + j, di, left);
        store_some(d_gx + n + j, df, left);
        store_some(d_gx + 2 * n + j, dg, left);
        store_some(d_gx + 3 * n + j, d_o, left);
        store_some(d_gh + j, di, left);
        store_some(d_gh + n + j, df, left);
        store_some(d_gh + 2 * n + j, dg, left);
        store_some(d_gh + 3 * n + j, d_o, left);
        store_some(d_h + j, splat(0), left);
        store_some(d_c + j, dc * f, left);
    }
}

static void tanh_row(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        store_some(x + i, hyperbolic_tangent(load_some(x + i, n - i, 0)), n - i);
    }
}

static void tanh_backward(float *dy, const float *y, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        vec out = load_some(y + i, n - i, 0);
        store_some(dy + i, load_some(dy + i, n - i, 0) * (1.0f - out * out), n - i);
    }
}

static float dot(const float *a, const float *b, int64_t n) {
    vec sum = {0};
    for (int64_t i = 0; i < n; i += LANES) {
        sum += load_some(a + i, n - i, 0) * load_some(b + i, n - i, 0);
    }
    return fold_sum(sum);
}

static void add_scaled(float *out, const float *x, float scale, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        store_some(out + i, load_some(out + i, n - i, 0) + scale * load_some(x + i, n - i, 0), n - i);
    }
}

static void softmax(float *x, int64_t n) {
    vec largest = splat(-__builtin_inff()), sum = {0};
    for (int64_t i = 0; i < n; i += LANES) {
        largest = maximum(largest, load_some(x + i, n - i, -__builtin_inff()));
    }
    float top = fold_maximum(largest);
    for (int64_t i = 0; i < n; i += LANES) {
        vec e = exponential(load_some(x + i, n - i, -__builtin_inff()) - top);
        store_some(x + i, e, n - i);
        sum += e;
    }
    float share = 1.0f / fold_sum(sum);
    for (int64_t i = 0; i < n; i += LANES) {
        store_some(x + i, load_some(x + i, n - i, 0) * share, n - i);
    }
}

static float additive_score(const float *q, const float *k, const float *v, int64_t n) {
    vec sum = {0};
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        sum += load_some(v + i, left, 0) * hyperbolic_tangent(load_some(q + i, left, 0) + load_some(k + i, left, 0));
    }
    return fold_sum(sum);
}

static void additive_backward(float *d_q, float *d_k, float *d_v, const float *q, const float *k, const float *v,
                              float de, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        vec t = hyperbolic_tangent(load_some(q + i, left, 0) + load_some(k + i, left, 0));
        vec d_sum = de * load_some(v + i, left, 0) * (1.0f - t * t);
        store_some(d_q + i, load_some(d_q + i, left, 0) + d_sum, left);
        store_some(d_k + i, load_some(d_k + i, left, 0) + d_sum, left);
        store_some(d_v + i, load_some(d_v + i, left, 0) + de * t, left);
    }
}

extern const recurrent_kernels RECURRENT_TABLE;
const recurrent_kernels RECURRENT_TABLE = {
    .gru = gru,
    .lstm = lstm,
    .gru_backward = gru_backward,
    .lstm_backward = lstm_backward,
    .tanh = tanh_row,
    .tanh_backward = tanh_backward,
    .dot = dot,
    .add_scaled = add_scaled,
    .softmax = softmax,
    .additive_score = additive_score,
    .additive_backward = additive_backward,
};
