/* A decoder's attention of one query to scattered rows, and the search for the next value above
 * a bound: against plain loops in double precision. */
#include <math.h>

#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "tensor/rows.h"

enum { SEED = 20240602, PLACES = 97 };

/* One column of the attention in double. */
static double expected(const float *q, const float *rows, int64_t width, int64_t heads, const int32_t *places, int64_t count,
                       int64_t column) {
    int64_t d = width / heads, head = column / d * d;
    double scores[PLACES], most = -INFINITY, sum = 0, y = 0;
    for (int64_t j = 0; j < count; j++) {
        const float *key = rows + places[j] * 2 * width;
        scores[j] = 0;
        for (int64_t e = head; e < head + d; e++) {
            scores[j] += (double)q[e] * (double)key[e];
        }
        scores[j] /= sqrt((double)d);
        most = scores[j] > most ? scores[j] : most;
    }
    for (int64_t j = 0; j < count; j++) {
        double weight = exp(scores[j] - most);
        sum += weight;
        y += weight * (double)rows[places[j] * 2 * width + width + column];
    }
    return y / sum;
}

static void check(const row_kernels *kernels, int64_t width, int64_t heads, int64_t count) {
    float *rows = memory_allocate((size_t)(PLACES * 2 * width), 4), *q = memory_allocate((size_t)width, 4);
    float *y = memory_allocate((size_t)width, 4), *room = memory_allocate((size_t)(heads * (count + 15) / 16 * 16 + heads * 16), 4);
    int32_t places[PLACES];
    for (int64_t i = 0; i < PLACES * 2 * width; i++) {
        rows[i] = random_normal(SEED, (uint64_t)i);
    }
    for (int64_t i = 0; i < width; i++) {
        q[i] = 3 * random_normal(SEED + 1, (uint64_t)i);
    }
    for (int64_t j = 0; j < count; j++) {
        places[j] = (int32_t)(j * 31 % PLACES);
    }
    kernels->attend(y, q, rows, width, heads, places, count, places, count, room);
    for (int64_t c = 0; c < width; c++) {
        double right = expected(q, rows, width, heads, places, count, c);
        /* scores of at most 128 terms to 1e-5, weights that sum to 1 over values below 5 */
        if (!(fabs((double)y[c] - right) < 2e-5)) {
            fail_msg("seed %d, width %d, heads %d, count %d, column %d: %.9g, %.9g was expected", SEED, (int)width, (int)heads,
                     (int)count, (int)c, (double)y[c], right);
        }
    }
    memory_free(rows);
    memory_free(q);
    memory_free(y);
    memory_free(room);
}

static void attention_of_scattered_rows_is_right(void **state) {
    (void)state;
    static const int64_t SHAPES[][2] = {{16, 1}, {48, 3}, {128, 4}, {128, 1}, {160, 5}, {512, 8}};
    static const int64_t COUNTS[] = {1, 2, 15, 16, 17, 33, 97};
    for (size_t s = 0; s < sizeof SHAPES / sizeof *SHAPES; s++) {
        for (size_t c = 0; c < sizeof COUNTS / sizeof *COUNTS; c++) {
            check(rows_select(), SHAPES[s][0], SHAPES[s][1], COUNTS[c]);
        }
    }
}

static void nan_in_a_key_reaches_its_head_alone(void **state) {
    (void)state;
    float rows[2 * 64] = {0}, q[32], y[32], room[2 * 16];
    const int32_t places[2] = {1, 0};
    for (int i = 0; i < 32; i++) {
        q[i] = 1;
    }
    rows[3] = NAN;
    rows_select()->attend(y, q, rows, 32, 2, places, 2, NULL, 0, room);
    for (int i = 0; i < 32; i++) {
        assert_true((y[i] != y[i]) == (i < 16));
    }
}

static void next_above_is_the_first(void **state) {
    (void)state;
    enum { MOST = 200 };
    float values[MOST];
    for (int i = 0; i < MOST; i++) {
        values[i] = i % 7 == 3 ? NAN : random_uniform(SEED, (uint64_t)i);
    }
    for (int64_t n = 0; n <= MOST; n += 1 + n / 8) {
        for (float bound = 0.5f; bound < 1; bound += 0.07f) {
            int64_t i = 0;
            for (int64_t from = 0; from <= n; from++) {
                for (i = from; i < n && !(values[i] > bound); i++) {
                }
                assert_int_equal(rows_select()->next_above(values, from, n, bound), i);
            }
        }
    }
}

static int reaching(const float *values, int n, float floor) {
    int count = 0;
    for (int i = 0; i < n; i++) {
        count += values[i] >= floor;
    }
    return count;
}

static void as_many_values_as_wanted_reach_the_floor(void **state) {
    (void)state;
    enum { MOST = 1000 };
    float values[MOST];
    for (int i = 0; i < MOST; i++) { /* few values: many ties */
        values[i] = i % 7 == 3 ? NAN : (float)random_below(SEED, (uint64_t)i, 40);
    }
    for (int n = 0; n <= MOST; n += 1 + n / 8) {
        const int numbers = reaching(values, n, -INFINITY);
        for (int wanted = 1; wanted < 90; wanted++) {
            float floor = rows_select()->floor_of(values, n, wanted);
            assert_true(reaching(values, n, floor) >= (wanted < numbers ? wanted : numbers));
            assert_true(wanted > 1 || numbers == 0 || reaching(values, n, nextafterf(floor, INFINITY)) == 0);
        }
    }
    for (int i = 0; i < MOST; i++) {
        values[i] = random_uniform(SEED, (uint64_t)i);
    }
    assert_true(reaching(values, MOST, rows_select()->floor_of(values, MOST, 10)) <= 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_of_scattered_rows_is_right),
        cmocka_unit_test(nan_in_a_key_reaches_its_head_alone),
        cmocka_unit_test(next_above_is_the_first),
        cmocka_unit_test(as_many_values_as_wanted_reach_the_floor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
