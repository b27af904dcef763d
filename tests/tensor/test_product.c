/* Products with packed weights: against sums in double, and a row alone against the same row
 * among others. */
#include <math.h>
#include <omp.h>

#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "tensor/product.h"

enum { SEED = 20240601 };

typedef struct problem {
    int64_t rows, outputs, depth;
    float *x, *w, *bias, *y;
} problem;

static problem problem_of(int64_t rows, int64_t outputs, int64_t depth) {
    problem p = {rows, outputs, depth, memory_allocate((size_t)(rows * depth), 4), memory_allocate((size_t)(outputs * depth), 4),
                 memory_allocate((size_t)outputs, 4), memory_allocate((size_t)(rows * outputs), 4)};
    for (int64_t i = 0; i < rows * depth; i++) {
        p.x[i] = random_normal(SEED, (uint64_t)i);
    }
    for (int64_t i = 0; i < outputs * depth; i++) {
        p.w[i] = random_normal(SEED + 1, (uint64_t)i) * (1 + (float)(i / depth % 5));
    }
    for (int64_t i = 0; i < outputs; i++) {
        p.bias[i] = random_normal(SEED + 2, (uint64_t)i);
    }
    return p;
}

static void release(problem *p) {
    memory_free(p->x);
    memory_free(p->w);
    memory_free(p->bias);
    memory_free(p->y);
}

static packed_weight *pack(const problem *p, product_type type) {
    packed_weight *w;
    if (product_pack(p->w, p->outputs, p->depth, type, "w", NULL, &w)) {
        fail_msg("%s", attn_last_error());
    }
    return w;
}

static void run(const problem *p, const packed_weight *w, int64_t first, int64_t count, int rectify, float *y) {
    void *room = memory_allocate(product_room(w, count), 1);
    product_run(y, p->outputs, p->x + first * p->depth, p->depth, count, w, p->bias, rectify, room);
    memory_free(room);
}

static double rounded(double value, double scale) {
    return scale > 0 ? scale * nearbyint(value / scale) : 0;
}

static double largest(const float *x, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)x[i]));
    }
    return most;
}

/* The sum as the type rounds its operands, and the sum of magnitudes for the bound. int8
 * rounds ties and near-ties either way: each may differ by one step of one operand. */
static double expected(const problem *p, product_type type, int64_t r, int64_t o, double *bound) {
    const float *x = p->x + r * p->depth, *w = p->w + o * p->depth;
    double sum = (double)p->bias[o], magnitude = fabs(sum), sx = largest(x, p->depth) / 127, sw = largest(w, p->depth) / 127;
    for (int64_t i = 0; i < p->depth; i++) {
        double a = (double)x[i], b = (double)w[i];
        if (type == PRODUCT_BF16) {
            a = (double)float_from_bf16(bf16_from_float(x[i]));
            b = (double)float_from_bf16(bf16_from_float(w[i]));
        } else if (type == PRODUCT_INT8) {
            a = rounded(a, sx);
            b = rounded(b, sw);
        }
        sum += a * b;
        magnitude += fabs(a * b);
    }
    *bound = magnitude * 1.2e-7 * (double)(p->depth + 4) + (type == PRODUCT_INT8 ? 2 * 127 * sx * sw : 0);
    return sum;
}

static const int64_t SHAPES[][3] = {{1, 1, 1},   {1, 33, 5},   {2, 64, 31},  {3, 100, 16}, {5, 31, 64},   {6, 32, 128}, {7, 130, 67},
                                    {11, 48, 3}, {12, 16, 40}, {13, 200, 9}, {25, 65, 70}, {241, 40, 33}, {500, 17, 20}};

static void products_equal_sums_in_double(void **state) {
    (void)state;
    print_message("seed %d\n", SEED);
    for (int type = PRODUCT_F32; type <= PRODUCT_INT8; type++) {
        for (size_t s = 0; s < sizeof SHAPES / sizeof *SHAPES; s++) {
            problem p = problem_of(SHAPES[s][0], SHAPES[s][1], SHAPES[s][2]);
            packed_weight *w = pack(&p, (product_type)type);
            for (int rectify = 0; rectify < 2; rectify++) {
                run(&p, w, 0, p.rows, rectify, p.y);
                for (int64_t i = 0; i < p.rows * p.outputs; i++) {
                    double bound, want = expected(&p, (product_type)type, i / p.outputs, i % p.outputs, &bound);
                    want = rectify ? fmax(want, 0) : want;
                    if (!(fabs((double)p.y[i] - want) <= bound)) {
                        fail_msg("type %d, %lld x %lld x %lld, element %lld is %g, not %g (bound %g)", type, (long long)p.rows,
                                 (long long)p.outputs, (long long)p.depth, (long long)i, (double)p.y[i], want, bound);
                    }
                }
            }
            packed_weight_free(w);
            release(&p);
        }
    }
}

static void a_row_has_the_same_bits_alone_and_among_others(void **state) {
    (void)state;
    const int threads = omp_get_max_threads();
    for (int type = PRODUCT_F32; type <= PRODUCT_INT8; type++) {
        problem p = problem_of(260, 190, 70);
        packed_weight *w = pack(&p, (product_type)type);
        float *alone = memory_allocate((size_t)(p.rows * p.outputs), sizeof *alone);
        for (int64_t r = 0; r < p.rows; r++) {
            run(&p, w, r, 1, 0, alone + r * p.outputs);
        }
        for (int64_t count = 2; count <= p.rows; count += count < 14 ? 1 : 123) {
            omp_set_num_threads(1 + (int)(count % 3));
            run(&p, w, 0, count, 0, p.y);
            assert_memory_equal(p.y, alone, (size_t)(count * p.outputs) * sizeof *alone);
        }
        memory_free(alone);
        packed_weight_free(w);
        release(&p);
    }
    omp_set_num_threads(threads);
}

static void numbers_that_are_not_finite_reach_the_result(void **state) {
    (void)state;
    const float strange[] = {NAN, INFINITY, -INFINITY};
    for (int type = PRODUCT_F32; type <= PRODUCT_INT8; type++) {
        for (int i = 0; i < 3; i++) {
            problem p = problem_of(3, 20, 40);
            packed_weight *w = pack(&p, (product_type)type);
            p.x[p.depth + 7] = strange[i];
            run(&p, w, 0, 3, 0, p.y);
            for (int64_t o = 0; o < p.outputs; o++) {
                assert_true(isfinite(p.y[o]) && !isfinite(p.y[p.outputs + o]) && isfinite(p.y[2 * p.outputs + o]));
            }
            packed_weight_free(w);
            release(&p);
        }
    }
}

static void weights_that_int8_cannot_hold_are_refused(void **state) {
    (void)state;
    const struct { float value; int taken; } cases[] = {{NAN, 0}, {INFINITY, 0}, {1e-40f, 0}, {0, 1}, {1e-20f, 1}, {3e38f, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float w[12] = {1, 2, 3, 4, 0, 0, 0, 0, 1, 2, 3, 4};
        packed_weight *packed;
        w[5] = cases[i].value;
        attn_status status = product_pack(w, 3, 4, PRODUCT_INT8, "the.name", NULL, &packed);
        assert_int_equal(status, cases[i].taken ? ATTN_OK : ATTN_ERROR_NUMERIC);
        if (status) {
            assert_non_null(strstr(attn_last_error(), "\"the.name\": the scale of row 1"));
        }
        packed_weight_free(packed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(products_equal_sums_in_double),
                                       cmocka_unit_test(a_row_has_the_same_bits_alone_and_among_others),
                                       cmocka_unit_test(numbers_that_are_not_finite_reach_the_result),
                                       cmocka_unit_test(weights_that_int8_cannot_hold_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
