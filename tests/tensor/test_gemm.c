/* Matrix products against a plain sum in f64, for every stored order, type and ragged
 * size, and the promise that bits depend neither on threads nor on neighbours. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "tensor/gemm.h"

static const uint64_t SEED = 20170612;

/* A bf16 product where the processor has none is not offered by oneDNN. */
static int has_type(gemm_context *context, element_type type) {
    float c[4];
    bf16 ones[4] = {0x3f80, 0x3f80, 0x3f80, 0x3f80};
    return type == ELEMENT_F32 ||
           gemm(context, matrix_of(c, 2, 2, ELEMENT_F32), matrix_of(ones, 2, 2, type), matrix_of(ones, 2, 2, type),
                (gemm_options){0}) == ATTN_OK;
}

static void *random_array(element_type type, int64_t count, uint64_t key) {
    void *array = memory_allocate((size_t)count, element_size(type));
    for (int64_t i = 0; i < count; i++) {
        float x = random_normal(key, (uint64_t)i);
        if (type == ELEMENT_F32) {
            ((float *)array)[i] = x;
        } else {
            ((bf16 *)array)[i] = bf16_from_float(x);
        }
    }
    return array;
}

static double get(matrix m, int64_t row, int64_t column) {
    int64_t i = m.transposed ? column * m.stride + row : row * m.stride + column;
    return m.type == ELEMENT_F32 ? (double)((float *)m.data)[i] : (double)float_from_bf16(((bf16 *)m.data)[i]);
}

typedef struct product_case {
    int64_t m, n, k;
    int a_transposed, b_transposed;
    element_type type, c_type;
    int bias, rectify, accumulate;
} product_case;

static void check_product(gemm_context *context, product_case p, uint64_t seed) {
    void *a_data = random_array(p.type, p.m * p.k, random_key(seed, 0, 0));
    void *b_data = random_array(p.type, p.k * p.n, random_key(seed, 1, 0));
    void *c_data = random_array(p.c_type, p.m * p.n, random_key(seed, 2, 0));
    void *before = random_array(p.c_type, p.m * p.n, random_key(seed, 2, 0));
    float *bias = random_array(ELEMENT_F32, p.n, random_key(seed, 3, 0));
    matrix a = p.a_transposed ? matrix_transpose(matrix_of(a_data, p.k, p.m, p.type)) : matrix_of(a_data, p.m, p.k, p.type);
    matrix b = p.b_transposed ? matrix_transpose(matrix_of(b_data, p.n, p.k, p.type)) : matrix_of(b_data, p.k, p.n, p.type);
    matrix c = matrix_of(c_data, p.m, p.n, p.c_type), old = matrix_of(before, p.m, p.n, p.c_type);
    gemm_options options = {p.bias ? bias : NULL, p.rectify, p.accumulate};
    assert_int_equal(gemm(context, c, a, b, options), ATTN_OK);
    for (int64_t i = 0; i < p.m; i++) {
        for (int64_t j = 0; j < p.n; j++) {
            double sum = (p.bias ? (double)bias[j] : 0) + (p.accumulate ? get(old, i, j) : 0), size = fabs(sum);
            for (int64_t k = 0; k < p.k; k++) {
                double product = get(a, i, k) * get(b, k, j);
                sum += product;
                size += fabs(product);
            }
            sum = p.rectify && sum < 0 ? 0 : sum;
            /* k roundings of f32, and one of the result's type */
            double bound = size * (double)(p.k + 2) * 6e-8 + (p.c_type == ELEMENT_BF16 ? size * 0x1p-7 : 0) + 1e-30;
            double error = fabs(get(c, i, j) - sum);
            if (!(error <= bound)) {
                fail_msg("%lld x %lld x %lld (seed %llu) at %lld, %lld: error %g above %g", (long long)p.m,
                         (long long)p.n, (long long)p.k, (unsigned long long)seed, (long long)i, (long long)j, error, bound);
            }
        }
    }
    memory_free(a_data);
    memory_free(b_data);
    memory_free(c_data);
    memory_free(before);
    memory_free(bias);
}

static void products_equal_plain_sums(void **state) {
    (void)state;
    static const int64_t SIZES[][3] = {{1, 1, 1}, {1, 64, 32}, {3, 5, 7}, {17, 33, 65}, {64, 64, 64}, {257, 130, 48},
                                       {300, 16, 129}, {33, 1, 20}, {1100, 70, 24}, {40, 200, 515}};
    gemm_context *context = gemm_context_new();
    assert_non_null(context);
    uint64_t seed = SEED;
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        for (int bits = 0; bits < 16; bits++) {
            element_type type = bits & 4 ? ELEMENT_BF16 : ELEMENT_F32;
            if (!has_type(context, type)) {
                continue;
            }
            int a_transposed = bits & 1, b_transposed = bits >> 1 & 1, extras = bits >> 3;
            product_case p = {SIZES[i][0], SIZES[i][1], SIZES[i][2], a_transposed, b_transposed, type,
                              a_transposed ? ELEMENT_F32 : type, extras, extras, extras && a_transposed};
            check_product(context, p, seed++);
        }
    }
    gemm_context_free(context);
}

/* C of 700 rows with 1 to 4 threads, and rows 100 .. 137 on their own. */
static void bits_depend_on_neither_threads_nor_neighbours(void **state) {
    (void)state;
    enum { M = 700, N = 192, K = 96, FIRST = 100, COUNT = 37 };
    gemm_context *context = gemm_context_new();
    assert_non_null(context);
    for (int type = 0; type < 2; type++) {
        if (!has_type(context, (element_type)type)) {
            continue;
        }
        for (int packed = 0; packed < 2; packed++) {
            void *a = random_array((element_type)type, M * K, random_key(SEED, 10, 0));
            void *b = random_array((element_type)type, K * N, random_key(SEED, 11, 0));
            float *results[5], *alone = memory_allocate(COUNT * N, sizeof(float));
            packed_matrix *pack = NULL;
            matrix am = matrix_of(a, M, K, (element_type)type), bm = matrix_of(b, K, N, (element_type)type);
            assert_int_equal(gemm_pack(context, bm, (element_type)type, &pack), ATTN_OK);
            for (int threads = 1; threads <= 4; threads++) {
                results[threads] = memory_allocate(M * N, sizeof(float));
                omp_set_num_threads(threads);
                matrix c = matrix_of(results[threads], M, N, ELEMENT_F32);
                assert_int_equal(packed ? gemm_packed(context, c, am, pack, (gemm_options){0})
                                        : gemm(context, c, am, bm, (gemm_options){0}),
                                 ATTN_OK);
                assert_memory_equal(results[threads], results[1], M * N * sizeof(float));
            }
            matrix c = matrix_of(alone, COUNT, N, ELEMENT_F32), part = matrix_rows(am, FIRST, COUNT);
            assert_int_equal(packed ? gemm_packed(context, c, part, pack, (gemm_options){0})
                                    : gemm(context, c, part, bm, (gemm_options){0}),
                             ATTN_OK);
            assert_memory_equal(alone, results[1] + FIRST * N, COUNT * N * sizeof(float));
            for (int threads = 1; threads <= 4; threads++) {
                memory_free(results[threads]);
            }
            memory_free(alone);
            memory_free(a);
            memory_free(b);
            packed_matrix_free(pack);
        }
    }
    omp_set_num_threads(2);
    gemm_context_free(context);
}

/* A weight gradient: the sum runs over tokens. */
static void transposed_sums_have_the_same_bits_for_any_threads(void **state) {
    (void)state;
    enum { TOKENS = 1237, OUT = 130, IN = 70 };
    gemm_context *context = gemm_context_new();
    float *g = random_array(ELEMENT_F32, TOKENS * OUT, random_key(SEED, 20, 0));
    float *x = random_array(ELEMENT_F32, TOKENS * IN, random_key(SEED, 21, 0));
    float *one = memory_allocate(OUT * IN, sizeof(float)), *many = memory_allocate(OUT * IN, sizeof(float));
    matrix gm = matrix_transpose(matrix_of(g, TOKENS, OUT, ELEMENT_F32)), xm = matrix_of(x, TOKENS, IN, ELEMENT_F32);
    omp_set_num_threads(1);
    assert_int_equal(gemm(context, matrix_of(one, OUT, IN, ELEMENT_F32), gm, xm, (gemm_options){0}), ATTN_OK);
    for (int threads = 2; threads <= 4; threads++) {
        omp_set_num_threads(threads);
        assert_int_equal(gemm(context, matrix_of(many, OUT, IN, ELEMENT_F32), gm, xm, (gemm_options){0}), ATTN_OK);
        assert_memory_equal(one, many, OUT * IN * sizeof(float));
    }
    omp_set_num_threads(2);
    memory_free(g);
    memory_free(x);
    memory_free(one);
    memory_free(many);
    gemm_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_equal_plain_sums),
        cmocka_unit_test(bits_depend_on_neither_threads_nor_neighbours),
        cmocka_unit_test(transposed_sums_have_the_same_bits_for_any_threads),
    };
    printf("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
