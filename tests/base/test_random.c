/* Philox4x32-10: the known answers published with Random123 (Salmon et al. 2011),
 * and the distributions made from it. The bounds are five standard deviations. */
#include "test.h"

#include <math.h>

#include "base/random.h"

static void assert_block(philox_block r, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    assert_int_equal(r.word[0], a);
    assert_int_equal(r.word[1], b);
    assert_int_equal(r.word[2], c);
    assert_int_equal(r.word[3], d);
}

static void philox_gives_the_published_answers(void **state) {
    (void)state;
    const uint32_t ones = 0xffffffffu;
    assert_block(philox(0, 0, 0, 0, 0), 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u);
    assert_block(philox(UINT64_MAX, ones, ones, ones, ones), 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu);
    /* The digits of pi as counter and key. */
    assert_block(philox(0x299f31d0a4093822u, 0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u),
                 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u);
}

static void elements_are_the_words_of_consecutive_blocks(void **state) {
    (void)state;
    const uint64_t key = 0x0123456789abcdefu;
    for (uint64_t i = 0; i < 64; i++) {
        assert_int_equal(random_bits(key, i), philox(key, (uint32_t)(i / 4), 0, 0, 0).word[i % 4]);
    }
    assert_int_equal(random_bits(key, (uint64_t)5 << 34), philox(key, 0, 5, 0, 0).word[0]);
}

static void keys_differ_in_every_argument(void **state) {
    (void)state;
    uint64_t key = random_key(1, 2, 3);
    assert_true(key == random_key(1, 2, 3));
    assert_true(key != random_key(2, 2, 3) && key != random_key(1, 3, 3) && key != random_key(1, 2, 4));
    assert_true(key != random_key(1, 2 + ((uint64_t)1 << 32), 3) && key != random_key(1, 2, 3 + ((uint64_t)1 << 32)));
}

static void uniform_numbers_fill_the_half_open_interval(void **state) {
    (void)state;
    enum { COUNT = 200000, BINS = 16 };
    double sum = 0;
    int bins[BINS] = {0};
    for (uint64_t i = 0; i < COUNT; i++) {
        float u = random_uniform(20170612, i);
        assert_true(u >= 0 && u < 1);
        sum += (double)u;
        bins[(int)(u * BINS)]++;
    }
    assert_true(fabs(sum / COUNT - 0.5) < 5 * sqrt(1.0 / 12 / COUNT));
    for (int b = 0; b < BINS; b++) {
        assert_true(fabs(bins[b] - (double)COUNT / BINS) < 5 * sqrt((double)COUNT / BINS));
    }
}

static void bounded_numbers_stay_below_the_bound(void **state) {
    (void)state;
    const uint32_t bounds[] = {1, 2, 3, 37, 1000003, 0xffffffffu};
    for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
        uint32_t largest = 0;
        for (uint64_t i = 0; i < 2000; i++) {
            uint32_t number = random_below(7, i, bounds[b]);
            assert_true(number < bounds[b]);
            largest = number > largest ? number : largest;
        }
        assert_true((double)largest > 0.98 * ((double)bounds[b] - 2));
    }
}

static void normal_numbers_have_mean_0_and_variance_1(void **state) {
    (void)state;
    enum { COUNT = 200000 };
    double sum = 0, squares = 0, fourth = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        double x = (double)random_normal(99, i);
        assert_true(isfinite(x));
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
    }
    assert_true(fabs(sum / COUNT) < 5 / sqrt(COUNT));
    assert_true(fabs(squares / COUNT - 1) < 5 * sqrt(2.0 / COUNT));
    assert_true(fabs(fourth / COUNT - 3) < 5 * sqrt(96.0 / COUNT));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_answers),
        cmocka_unit_test(elements_are_the_words_of_consecutive_blocks),
        cmocka_unit_test(keys_differ_in_every_argument),
        cmocka_unit_test(uniform_numbers_fill_the_half_open_interval),
        cmocka_unit_test(bounded_numbers_stay_below_the_bound),
        cmocka_unit_test(normal_numbers_have_mean_0_and_variance_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
