/* Decoding from a cache must equal attention over the same keys, for every layout and
 * type of cache. */
#include "cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <omp.h>

enum { HEADS = 6, KV = 2, D = 40, DV = 24, CAPACITY = 1500, SEQUENCES = 3 };

typedef struct decode_case {
    int queries, page_size; /* 0: contiguous */
    attn_dtype dtype;
    int masks;
    int head_major; /* contiguous: [sequences, kv heads, keys, width] */
} decode_case;

static void run(const decode_case *c, int kernel) {
    const int32_t lengths[SEQUENCES] = {CAPACITY - 7, 20, c->masks ? 300 : 0};
    attn_attention_problem p;
    attn_attention_defaults(&p, HEADS, KV, D, DV);
    attn_attention_batch(&p, SEQUENCES, c->queries, CAPACITY);
    p.kernel = (attn_kernel)kernel;
    p.key_lengths.i32 = lengths;
    p.causal = ATTN_CAUSAL_BOTTOM_RIGHT;
    float slopes[HEADS] = {0.5f, 0.25f, 0.1f, 0.05f, 0.01f, 0.001f}, sinks[HEADS] = {0, 1, 2, 3, -1, 0.5f};
    if (c->masks) {
        p.alibi = slopes;
        p.sinks = sinks;
        p.softcap = 5;
        p.window_left = 900;
    }
    const size_t rows = SEQUENCES * CAPACITY * KV;
    float *q = case_random(ATTN_F32, (size_t)(SEQUENCES * c->queries * HEADS * D), 1, 1);
    float *k = case_random(ATTN_F32, rows * D, 2, 1), *v = case_random(ATTN_F32, rows * DV, 3, 1);
    /* the cache in its own type; k and v become what it holds */
    const size_t size = (size_t)dtype_size(c->dtype);
    char *ck = case_new(rows * D, size), *cv = case_new(rows * DV, size);
    float *ks = case_new(rows, 4), *vs = case_new(rows, 4);
    int32_t *table = case_new(SEQUENCES * CAPACITY, sizeof(int32_t));
    const int page = c->page_size ? c->page_size : 1, per = CAPACITY / page;
    for (int b = 0; b < SEQUENCES; b++) {
        for (int j = 0; j < CAPACITY; j++) {
            const int number = c->page_size ? (j / page * SEQUENCES + b) % (per * SEQUENCES) : 0;
            table[b * CAPACITY + j / page] = number;
            const size_t token = c->page_size ? (size_t)(number * page + j % page)
                                              : (size_t)(b * CAPACITY + j);
            for (int h = 0; h < KV; h++) {
                const size_t from = ((size_t)(b * CAPACITY + j)) * KV + (size_t)h, to = c->head_major ? (size_t)((b * KV + h) * CAPACITY + j) : token * KV + (size_t)h;
                ks[to] = 0.01f * (1 + (float)(from % 3));
                vs[to] = 0.02f;
                for (int e = 0; e < D + DV; e++) {
                    float *x = e < D ? k + from * D + e : v + from * DV + (e - D);
                    char *y = e < D ? ck + (to * D + (size_t)e) * size : cv + (to * DV + (size_t)(e - D)) * size;
                    const float scale = e < D ? ks[to] : vs[to];
                    if (c->dtype == ATTN_I8) {
                        const float n = roundf(*x / scale);
                        *(int8_t *)y = (int8_t)(n > 127 ? 127 : n < -127 ? -127 : n);
                        *x = *(int8_t *)y * scale;
                    } else {
                        case_set(y, c->dtype, 0, *x);
                        *x = case_get(y, c->dtype, 0);
                    }
                }
            }
        }
    }
    attn_attention_cache cache = {
        .dtype = c->dtype, .k = ck, .v = cv, .k_scales = ks, .v_scales = vs,
        .k_strides = {KV * D, D, (c->page_size ? page : CAPACITY) * KV * D},
        .v_strides = {KV * DV, DV, (c->page_size ? page : CAPACITY) * KV * DV},
        .k_scale_strides = {KV, 1, (c->page_size ? page : CAPACITY) * KV},
        .page_table = c->page_size ? table : NULL, .page_table_stride = CAPACITY,
        .page_size = c->page_size, .pages = per * SEQUENCES};
    if (c->head_major) {
        cache.k_strides = (attn_strides){D, CAPACITY * D, CAPACITY * KV * D};
        cache.v_strides = (attn_strides){DV, CAPACITY * DV, CAPACITY * KV * DV};
        cache.k_scale_strides = (attn_strides){1, CAPACITY, CAPACITY * KV};
    }
    cache.v_scale_strides = cache.k_scale_strides;
    const size_t count = (size_t)(SEQUENCES * c->queries * HEADS);
    float *o = case_new(count * DV, 4), *want = case_new(count * DV, 4), *one = case_new(count * DV, 4);
    float *lse = case_new(count, 4), *want_lse = case_new(count, 4);
    size_t need;
    omp_set_num_threads(7);
    assert_int_equal(attn_attention_workspace(&p, ATTN_PASS_DECODE, &need), 0);
    void *workspace = case_new(need, 1);
    assert_int_equal(attn_attention_decode(&p, &cache, q, o, lse, workspace, need), 0);
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        assert_int_equal(attn_attention_decode(&p, &cache, q, one, lse, workspace, need), 0);
        assert_memory_equal(o, one, count * DV * 4);
    }
    free(workspace);
    p.kernel = ATTN_KERNEL_REFERENCE;
    assert_int_equal(attn_attention_workspace(&p, ATTN_PASS_FORWARD, &need), 0);
    workspace = case_new(need, 1);
    assert_int_equal(attn_attention_forward(&p, q, k, v, want, want_lse, workspace, need), 0);
    for (size_t i = 0; i < count * DV; i++) {
        if (!(fabsf(o[i] - want[i]) < 2e-5f)) {
            fail_msg("kernel %d, %d queries, page %d, dtype %d: o[%zu] is %g, expected %g", kernel,
                     c->queries, c->page_size, (int)c->dtype, i, (double)o[i], (double)want[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        assert_true(lse[i] == want_lse[i] || fabsf(lse[i] - want_lse[i]) < 1e-5f);
    }
    void *all[] = {q, k, v, ck, cv, ks, vs, table, o, want, one, lse, want_lse, workspace};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
}

static void decoding_equals_attention(void **state) {
    (void)state;
    const decode_case cases[] = {{1, 0, ATTN_F32, 0, 0}, {1, 1, ATTN_F32, 0, 0}, {16, 100, ATTN_F32, 0, 0},
                                 {3, 0, ATTN_BF16, 0, 0}, {1, 0, ATTN_I8, 0, 0}, {2, 50, ATTN_I8, 1, 0},
                                 {5, 1, ATTN_F32, 1, 0}, {2, 0, ATTN_F32, 0, 1}, {1, 0, ATTN_I8, 1, 1}};
    for (int kernel = ATTN_KERNEL_REFERENCE; kernel <= ATTN_KERNEL_PORTABLE + (int)cpu_detected(); kernel++) {
        for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
            run(&cases[n], kernel);
        }
    }
}

/* Keys 40 .. 59 of 400 hidden by a mask, a bias or a window, and those beyond the length. */
static void hidden_poison_in_the_cache_never_leaks(void **state) {
    (void)state;
    enum { KEYS = 400, H = 4, K = 2, W = 16 };
    static float q[3 * H * W], k[KEYS * K * W], v[KEYS * K * W], o[2][3 * H * W], bias[KEYS];
    static uint16_t kb[KEYS * K * W], vb[KEYS * K * W];
    static uint8_t mask[KEYS];
    const int32_t length[] = {390};
    for (int n = 0; n < 6 * (last_kernel() - ATTN_KERNEL_REFERENCE + 1); n++) {
        const int how = n % 3, bf16 = n / 3 % 2, kernel = ATTN_KERNEL_REFERENCE + n / 6;
        attn_attention_problem p;
        attn_attention_defaults(&p, H, K, W, W);
        attn_attention_batch(&p, 1, 3, KEYS);
        p.kernel = (attn_kernel)kernel;
        p.key_lengths.i32 = length;
        for (size_t j = 0; j < KEYS; j++) {
            mask[j] = j < 40 || j >= 60;
            bias[j] = mask[j] ? 0 : -INFINITY;
        }
        p.mask = how == 0 ? mask : NULL;
        p.mask_strides.key = 1;
        p.bias = how == 1 ? bias : NULL;
        p.bias_strides.key = 1;
        p.causal = how == 2 ? ATTN_CAUSAL_BOTTOM_RIGHT : ATTN_CAUSAL_NONE;
        p.window_left = how == 2 ? 300 : ATTN_WINDOW_UNLIMITED; /* keys below 87 are hidden */
        for (size_t i = 0; i < 3 * H * W; i++) {
            q[i] = random_normal(1, i);
        }
        size_t size;
        assert_int_equal(attn_attention_workspace(&p, ATTN_PASS_DECODE, &size), 0);
        void *workspace = case_new(size, 1);
        for (int poisoned = 0; poisoned < 2; poisoned++) {
            for (size_t i = 0; i < KEYS * K * W; i++) {
                const size_t j = i / (K * W);
                const int hidden = (j >= 40 && j < 60) || j >= 390;
                k[i] = poisoned && hidden ? (i % 2 ? NAN : INFINITY) : random_normal(2, i);
                v[i] = poisoned && hidden ? (i % 2 ? -INFINITY : NAN) : random_normal(3, i);
                kb[i] = to_bf16(k[i]);
                vb[i] = to_bf16(v[i]);
            }
            const attn_attention_cache cache = {.dtype = bf16 ? ATTN_BF16 : ATTN_F32,
                                                .k = bf16 ? (void *)kb : k, .v = bf16 ? (void *)vb : v,
                                                .k_strides = {K * W, W, 0}, .v_strides = {K * W, W, 0}};
            assert_int_equal(attn_attention_decode(&p, &cache, q, o[poisoned], NULL, workspace, size), 0);
        }
        free(workspace);
        for (size_t i = 0; i < 3 * H * W; i++) {
            if (!(fabsf(o[0][i] - o[1][i]) < 1e-6f)) {
                fail_msg("kernel %d, bf16 %d, hidden by %d: o[%zu] is %g, expected %g", kernel, bf16, how, i,
                         (double)o[1][i], (double)o[0][i]);
            }
        }
    }
}

static void a_page_out_of_range_is_refused(void **state) {
    (void)state;
    attn_attention_problem p;
    attn_attention_defaults(&p, 1, 1, 8, 8);
    attn_attention_batch(&p, 1, 1, 4);
    float q[8] = {0}, k[32] = {0}, o[8];
    int32_t table[4] = {0, 1, 4, 2};
    attn_attention_cache cache = {.k = k, .v = k, .page_table = table, .page_table_stride = 4,
                                  .page_size = 1, .pages = 4, .k_strides = {8, 8, 8}, .v_strides = {8, 8, 8}};
    char workspace[1 << 16];
    assert_int_equal(attn_attention_decode(&p, &cache, q, o, NULL, workspace, sizeof workspace),
                     ATTN_ERROR_ARGUMENT);
    table[2] = 3;
    cache.k_strides.token = INT64_MAX / 4;
    assert_int_equal(attn_attention_decode(&p, &cache, q, o, NULL, workspace, sizeof workspace), ATTN_ERROR_ARGUMENT);
    cache.k_strides.token = 8;
    assert_int_equal(attn_attention_decode(&p, &cache, q, o, NULL, workspace, 200), ATTN_ERROR_ARGUMENT);
    assert_int_equal(attn_attention_decode(&p, &cache, NULL, o, NULL, workspace, sizeof workspace), ATTN_ERROR_ARGUMENT);
    assert_int_equal(attn_attention_decode(&p, NULL, q, o, NULL, workspace, sizeof workspace), ATTN_ERROR_ARGUMENT);
    assert_int_equal(attn_attention_decode(&p, &cache, q, o, NULL, workspace, sizeof workspace), ATTN_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_equals_attention),
        cmocka_unit_test(hidden_poison_in_the_cache_never_leaks),
        cmocka_unit_test(a_page_out_of_range_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
