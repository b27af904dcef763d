/* Row kernels that must give the same bits whatever the instruction set: what is dropped, rounded or found.
 */
#include <math.h>

#include "test.h"

#include "base/random.h"
#include "tensor/rows.h"

extern const row_kernels rows_portable;

enum { SEED = 5, MOST = 700, TIMES = 300 };

static uint64_t drawn;

static float value(void) {
    return random_normal(SEED, drawn++);
}

static int64_t below(int64_t end) {
    return (int64_t)(random_uniform(SEED, drawn++) * (float)end);
}

static void draw(float *a, float *b) {
    for (int64_t i = 0; i < MOST; i++) {
        a[i] = b[i] = value();
    }
}

static void test_dropout(void **state) {
    (void)state;
    const row_kernels *rows = rows_select();
    float a[MOST], b[MOST];
    for (int t = 0; t < TIMES; t++) {
        const uint64_t key = (uint64_t)below(1 << 20) << 32 | (uint64_t)below(1 << 20);
        const int64_t n = 1 + below(MOST), row = below(1 << 20);
        const uint32_t drop = (uint32_t)below(65536);
        draw(a, b);
        rows->dropout(a, n, key, row, drop);
        rows_portable.dropout(b, n, key, row, drop);
        assert_memory_equal(a, b, sizeof a);
    }
}

static void test_rounding(void **state) {
    (void)state;
    const row_kernels *rows = rows_select();
    float a[MOST], b[MOST];
    bf16 x[MOST] = {0}, y[MOST] = {0};
    draw(a, b);
    a[3] = b[3] = NAN;
    a[4] = b[4] = -INFINITY;
    a[5] = b[5] = 1e-40f;
    for (int64_t n = 1; n <= 70; n++) {
        rows->narrow(x, a, n);
        rows_portable.narrow(y, b, n);
        assert_memory_equal(x, y, sizeof x);
        rows->widen(a, x, n);
        rows_portable.widen(b, y, n);
        assert_memory_equal(a, b, sizeof a);
    }
}

static void test_finding(void **state) {
    (void)state;
    const row_kernels *rows = rows_select();
    float a[MOST], b[MOST];
    for (int t = 0; t < TIMES; t++) {
        const int64_t n = 1 + below(MOST), from = below(n);
        const float bound = 2.0f + value();
        const int wanted = 1 + (int)below(8);
        draw(a, b);
        a[below(n)] = b[0] = NAN;
        memcpy(b, a, sizeof a);
        assert_int_equal(rows->next_above(a, from, n, bound), rows_portable.next_above(b, from, n, bound));
        assert_true(rows->floor_of(a, n, wanted) == rows_portable.floor_of(b, n, wanted));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_dropout), cmocka_unit_test(test_rounding),
                                       cmocka_unit_test(test_finding)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
