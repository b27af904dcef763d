/* Matrix products against a plain sum in f64, for every stored order, type and ragged
 * size, and the promise that bits depend neither on threads nor on neighbours. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "tensor/gemm_kernels.h"

static const uint64_t SEED = 20170612;

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
    static const int64_t SIZES[][3] = {
        {1, 1, 1},      {1, 64, 32},    {3, 5, 7},      {17, 33, 65},
        {64, 64, 64},   {257, 130, 48}, {300, 16, 129}, {33, 1, 20},
        {1100, 70, 24}, {40, 200, 515}, {530, 512, 40}, {256, 256, 33}}; /* rows 2 and 1 KB apart */
    gemm_context *context = gemm_context_new();
    assert_non_null(context);
    uint64_t seed = SEED;
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        for (int bits = 0; bits < 16; bits++) {
            element_type type = bits & 4 ? ELEMENT_BF16 : ELEMENT_F32;
            if (!gemm_multiplies(context, type)) {
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

/* C of 700 rows with 1 to 4 threads, and some of its rows on their own. */
static void check_bits(gemm_context *context, element_type type, int packed, int64_t columns, int64_t depth) {
    enum { ROWS = 700, CALLS = 4 };
    static const int64_t FIRST[] = {100, 5, 0, 77}, COUNT[] = {37, 1, 200, 600};
    const size_t row = (size_t)columns * sizeof(float);
    void *a = random_array(type, ROWS * depth, random_key(SEED, 10, 0));
    void *b = random_array(type, depth * columns, random_key(SEED, 11, 0));
    char *whole = memory_allocate(ROWS, row), *other = memory_allocate(ROWS, row);
    packed_matrix *pack = NULL;
    matrix am = matrix_of(a, ROWS, depth, type), bm = matrix_of(b, depth, columns, type);
    assert_int_equal(gemm_pack(context, bm, type, &pack), ATTN_OK);
    for (int threads = 1; threads <= 4; threads++) {
        omp_set_num_threads(threads);
        matrix c = matrix_of(threads == 1 ? whole : other, ROWS, columns, ELEMENT_F32);
        assert_int_equal(packed ? gemm_packed(context, c, am, pack, (gemm_options){0})
                                : gemm(context, c, am, bm, (gemm_options){0}),
                         ATTN_OK);
        assert_memory_equal(c.data, whole, ROWS * row);
    }
    omp_set_num_threads(2);
    /* brgemm promises it for a packed B alone */
    const int calls = packed || !gemm_rows_are_independent(context, type) ? CALLS : 1;
    for (int n = 0; n < calls; n++) {
        matrix c = matrix_of(other, COUNT[n], columns, ELEMENT_F32),
               part = matrix_rows(am, FIRST[n], COUNT[n]);
        assert_int_equal(packed ? gemm_packed(context, c, part, pack, (gemm_options){0})
                                : gemm(context, c, part, bm, (gemm_options){0}),
                         ATTN_OK);
        if (memcmp(other, whole + (size_t)FIRST[n] * row, (size_t)COUNT[n] * row) != 0) {
            fail_msg(
                "%lld rows of a product with B [%lld, %lld], packed %d, type %d: other bits than among 700",
                (long long)COUNT[n], (long long)depth, (long long)columns, packed, (int)type);
        }
    }
    memory_free(whole);
    memory_free(other);
    memory_free(a);
    memory_free(b);
    packed_matrix_free(pack);
}

static void bits_depend_on_neither_threads_nor_neighbours(void **state) {
    (void)state;
    static const int64_t SHAPES[][2] = {{192, 96},   {1, 96},  {3, 300},   {512, 300},
                                        {256, 1100}, {77, 33}, {2048, 512}};
    gemm_context *context = gemm_context_new();
    assert_non_null(context);
    for (int type = 0; type < 2; type++) {
        if (!gemm_multiplies(context, (element_type)type)) {
            continue;
        }
        /* the older kernels change their ways with the shape */
        const size_t shapes =
            gemm_rows_are_independent(context, (element_type)type) ? 1 : sizeof SHAPES / sizeof *SHAPES;
        for (size_t shape = 0; shape < shapes; shape++) {
            check_bits(context, (element_type)type, 0, SHAPES[shape][0], SHAPES[shape][1]);
            check_bits(context, (element_type)type, 1, SHAPES[shape][0], SHAPES[shape][1]);
        }
    }
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
