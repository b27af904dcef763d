/* The reference against the formula written out once more, in f64: its output, and its gradients
 * against central differences of that. What the kernels are held to stands on this. */
#include "cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const attention_case CASES[] = {
    {.name = "plain", SHAPE(2, 7, 9, 2, 1, 6, 5)},
    {.name = "masks", SHAPE(1, 9, 11, 2, 2, 4, 4), .causal = ATTN_CAUSAL_BOTTOM_RIGHT, .window = 1, .left = 6,
     .mask = 1, .bias = 1, .alibi = 1},
    {.name = "packed, bias over heads", SHAPE(3, 9, 11, 4, 2, 4, 4), .packed = 1, .bias = 2, .layout = CASE_FUSED},
    {.name = "lengths, bias over queries", SHAPE(3, 6, 8, 2, 2, 4, 4), .key_lengths = 1, .bias = 3, .sinks = 1},
    {.name = "cap, sinks, dropout", SHAPE(2, 6, 9, 2, 1, 4, 4), .softcap = 2, .sinks = 1, .dropout = 0.3f},
    {.name = "cosine, rotary", SHAPE(1, 6, 9, 2, 1, 8, 4), .score = ATTN_SCORE_COSINE, .rotary = 1,
     .layout = CASE_APART},
    {.name = "dot, rotary", SHAPE(1, 6, 9, 2, 1, 8, 4), .score = ATTN_SCORE_DOT, .rotary = 2, .bias = 4},
    {.name = "rotary, more queries", SHAPE(1, 9, 6, 2, 1, 8, 4), .rotary = 1, .causal = ATTN_CAUSAL_BOTTOM_RIGHT},
    {.name = "linear", SHAPE(1, 6, 9, 2, 1, 4, 4), .score = ATTN_SCORE_LINEAR, .causal = ATTN_CAUSAL_TOP_LEFT},
    {.name = "linear, bottom right", SHAPE(2, 9, 6, 2, 1, 4, 4), .score = ATTN_SCORE_LINEAR,
     .causal = ATTN_CAUSAL_BOTTOM_RIGHT},
};
enum { CASE_COUNT = sizeof CASES / sizeof *CASES, MOST = 16 };

/* The element that is a little different. */
static struct {
    const float *array;
    size_t index;
    double by;
} nudge;

static double get(const float *array, size_t index) {
    return (double)array[index] + (array == nudge.array && index == nudge.index ? nudge.by : 0);
}

static size_t at_row(const problem_t *p, const char *row, const void *base) {
    return case_at(row, base, p->dtype);
}

/* A row of Q or K as the scores see it. */
static void load(const problem_t *p, const float *array, size_t first, int64_t position, double *row) {
    double squares = 0;
    for (int64_t c = 0; c < p->d; c++) {
        row[c] = get(array, first + (size_t)c);
        squares += row[c] * row[c];
    }
    for (int64_t c = 0; c < p->d; c++) {
        row[c] = p->score == ATTN_SCORE_COSINE ? row[c] / sqrt(squares)
                 : p->score != ATTN_SCORE_LINEAR ? row[c] : row[c] > 0 ? row[c] + 1 : exp(row[c]);
    }
    for (int64_t c = 0; c < p->rotary_d / 2 && p->rotary && position >= 0; c++) {
        const int64_t half = p->rotary_d / 2, x = p->rotary == ATTN_ROTARY_HALVES ? c : 2 * c;
        const int64_t y = p->rotary == ATTN_ROTARY_HALVES ? c + half : 2 * c + 1;
        const double cosine = (double)p->rotary_cos[position * half + c], a = row[x], b = row[y];
        const double sine = (double)p->rotary_sin[position * half + c];
        row[x] = a * cosine - b * sine;
        row[y] = a * sine + b * cosine;
    }
}

/* exp of the score of a pair; 0 if hidden */
static double pair(const case_arrays *a, const sequence_view *s, int64_t h, int64_t i, int64_t j) {
    const problem_t *p = &a->problem;
    const int64_t kv = h / (p->heads / p->kv_heads), where = i + s->shift;
    const int64_t right = p->causal ? 0 : p->window_right;
    double q[MOST], k[MOST], x = 0;
    if (j >= s->length || (right < MOST && j > where + right) || (p->window_left < MOST && j < where - p->window_left) ||
        (p->mask && !*mask_at(p, s->index, h, i, j))) {
        return 0;
    }
    load(p, a->q, at_row(p, query_row(p, s, a->q, p->q, i, h), a->q), where, q);
    load(p, a->k, at_row(p, key_row(p, s, a->k, p->k, j, kv), a->k), j, k);
    for (int64_t c = 0; c < p->d; c++) {
        x += q[c] * k[c];
    }
    if (p->score == ATTN_SCORE_LINEAR) {
        return x;
    }
    x *= p->score == ATTN_SCORE_DOT ? 1 : (double)p->scale;
    x = p->softcap < INFINITY ? (double)p->softcap * tanh(x / (double)p->softcap) : x;
    x -= p->alibi ? (double)p->alibi[h] * fabs((double)(where - j)) : 0;
    return exp(x + (p->bias ? get(a->bias, (size_t)(bias_at(p, s->index, h, i, j) - p->bias)) : 0));
}

/* sum(d_o * o); o is compared where `compare` is set */
static double formula(const case_arrays *a, const char *compare) {
    const problem_t *p = &a->problem;
    const uint32_t threshold = dropout_threshold(p->dropout);
    double total = 0;
    for (int64_t b = 0; b < p->sequences; b++) {
        const sequence_view s = problem_sequence(p, b);
        for (int64_t h = 0; h < p->heads; h++) {
            for (int64_t i = 0; i < s.queries; i++) {
                const dropout_row keys = dropout_row_keys(dropout_head_key(p->dropout_seed, b, h), i);
                double w[MOST], sum = p->sinks ? exp(get(a->sinks, (size_t)h)) : 0;
                for (int64_t j = 0; j < s.keys; j++) {
                    w[j] = pair(a, &s, h, i, j);
                    sum += w[j];
                }
                for (int64_t c = 0; c < p->d_v; c++) {
                    double o = 0;
                    for (int64_t j = 0; j < s.keys && sum > 0; j++) {
                        const double keep = dropout_bits(keys, j) < threshold ? 0 : (double)dropout_scale(threshold);
                        const int64_t kv = h / (p->heads / p->kv_heads);
                        o += w[j] / sum * keep *
                             (w[j] > 0 ? get(a->v, at_row(p, key_row(p, &s, a->v, p->v, j, kv), a->v) + (size_t)c) : 0);
                    }
                    const float got = ((float *)a->o)[at_row(p, query_row(p, &s, a->o, p->o, i, h), a->o) + (size_t)c];
                    if (compare && !(fabs(o - (double)got) < 1e-6)) {
                        fail_msg("%s: o is %g, expected %g", compare, (double)got, o);
                    }
                    total += o * (double)((float *)a->d_o)[at_row(p, query_row(p, &s, a->d_o, p->d_o, i, h), a->d_o) + (size_t)c];
                }
            }
        }
    }
    return total;
}

static void check(case_arrays *a, const char *name, const char *what, const float *x, size_t i, float gradient) {
    const double step = 1e-5;
    nudge.array = x;
    nudge.index = i;
    nudge.by = step;
    const double plus = formula(a, NULL);
    nudge.by = -step;
    const double slope = (plus - formula(a, NULL)) / (2 * step);
    nudge.array = NULL;
    if (!(fabs(slope - (double)gradient) < 2e-6 * (1 + fabs(slope)))) {
        fail_msg("%s: %s[%zu]: gradient %g, central difference %g", name, what, i, (double)gradient, slope);
    }
}

/* Some of the elements of all rows: those of x by one stride, of the gradient by another. */
static void check_rows(case_arrays *a, const char *name, const char *what, const float *x, attn_strides strides,
                       const float *g, attn_strides g_strides, int64_t tokens, int64_t heads, int64_t width) {
    for (int64_t n = 0; n < tokens * heads * width; n += 5) {
        const int64_t t = n / (heads * width), h = n / width % heads, c = n % width;
        /* a plain batch's sequences lie token after token in these layouts */
        check(a, name, what, x, (size_t)(t * strides.token + h * strides.head + c),
              g[t * g_strides.token + h * g_strides.head + c]);
    }
}

static void gradients_are_central_differences(void **state) {
    (void)state;
    for (int n = 0; n < CASE_COUNT; n++) {
        const char *name = CASES[n].name;
        case_arrays a = case_make(&CASES[n], 20 + (uint64_t)n);
        const problem_t *p = &a.problem;
        a.problem.kernel = ATTN_KERNEL_REFERENCE;
        if (case_forward(&a) || case_backward(&a)) {
            fail_msg("%s: %s", name, attn_last_error());
        }
        formula(&a, name);
        check_rows(&a, name, "q", a.q, p->q, a.d_q, p->d_q, a.q_tokens, p->heads, p->d);
        check_rows(&a, name, "k", a.k, p->k, a.d_k, p->d_k, a.k_tokens, p->kv_heads, p->d);
        check_rows(&a, name, "v", a.v, p->v, a.d_v, p->d_v_, a.k_tokens, p->kv_heads, p->d_v);
        for (size_t i = 0; i < a.bias_count; i += 3) {
            check(&a, name, "bias", a.bias, i, a.d_bias[i]);
        }
        for (size_t i = 0; i < (size_t)p->heads && a.sinks; i++) {
            check(&a, name, "sinks", a.sinks, i, a.d_sinks[i]);
        }
        case_free(&a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_are_central_differences)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
