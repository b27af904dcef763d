/* Pictures as sequences of patches: the order of the numbers, and what augmentation does. */
#include "test.h"

#include <math.h>

#include "base/random.h"
#include "data/patches.h"

static void patches_are_in_the_order_of_the_convolution(void **state) {
    (void)state;
    const patch_shape shape = {6, 4, 3, 2};
    unsigned char pixels[4][6][3];
    float out[6][3][2][2];
    for (int i = 0; i < 72; i++) {
        pixels[i / 18][i / 3 % 6][i % 3] = (unsigned char)(3 * i);
    }
    assert_int_equal(patches_count(&shape), 6);
    assert_int_equal(patches_width(&shape), 12);
    patches_cut(&shape, pixels[0][0], out[0][0][0]);
    for (int p = 0; p < 6; p++) {
        for (int c = 0; c < 3; c++) {
            for (int y = 0; y < 2; y++) {
                for (int x = 0; x < 2; x++) {
                    int pixel = pixels[2 * (p / 3) + y][2 * (p % 3) + x][c];
                    assert_true(fabsf(out[p][c][y][x] - ((float)pixel / 127.5f - 1)) < 1e-6f);
                }
            }
        }
    }
}

enum { SIDE = 28 };

/* A slope, which shifts and turns are easy to read from: 2 x + 3 y. */
static void slope(unsigned char *pixels) {
    for (int i = 0; i < SIDE * SIDE; i++) {
        pixels[i] = (unsigned char)(2 * (i % SIDE) + 3 * (i / SIDE));
    }
}

/* Pixel (x, y) as a byte. */
static double at(const float *out, int x, int y) {
    return ((double)out[(size_t)(y / 4 * 7 + x / 4) * 16 + (size_t)(y % 4 * 4 + x % 4)] + 1) * 127.5;
}

static void nothing_to_do_changes_nothing(void **state) {
    (void)state;
    const patch_shape shape = {SIDE, SIDE, 1, 4};
    unsigned char pixels[SIDE * SIDE];
    float plain[SIDE * SIDE], same[SIDE * SIDE];
    slope(pixels);
    patches_cut(&shape, pixels, plain);
    patches_cut_augmented(&shape, pixels, &(augmentation){0, 0}, 1, 2, same);
    for (int i = 0; i < SIDE * SIDE; i++) {
        assert_true(fabsf(plain[i] - same[i]) < 1e-5f);
    }
}

static void shifts_and_turns_stay_within_their_bounds(void **state) {
    (void)state;
    const patch_shape shape = {SIDE, SIDE, 1, 4};
    unsigned char pixels[SIDE * SIDE];
    float out[SIDE * SIDE];
    double most_shift = 0, most_turn = 0;
    slope(pixels);
    for (uint64_t i = 0; i < 200; i++) {
        patches_cut_augmented(&shape, pixels, &(augmentation){2, 0}, 5, i, out);
        double difference = at(out, 13, 13) - (2 * 13 + 3 * 13), slant = at(out, 14, 13) - at(out, 13, 13);
        assert_true(fabs(difference) <= 2 * (2 + 3) + 1e-3 && fabs(slant - 2) < 1e-3);
        most_shift = fmax(most_shift, fabs(difference));
        patches_cut_augmented(&shape, pixels, &(augmentation){0, 10}, 5, i, out);
        double dx = at(out, 14, 13) - at(out, 13, 13), dy = at(out, 13, 14) - at(out, 13, 13);
        double angle = (atan2(dy, dx) - atan2(3, 2)) * 57.29577951308232;
        assert_true(fabs(angle) < 10.01 && fabs(hypot(dx, dy) - sqrt(13)) < 1e-2);
        assert_true(fabs(at(out, 13, 13) + at(out, 14, 14) - 2 * 13.5 * 5) < 1e-2); /* about the centre */
        most_turn = fmax(most_turn, fabs(angle));
    }
    assert_true(most_shift > 5 && most_turn > 8);
    float again[SIDE * SIDE];
    patches_cut_augmented(&shape, pixels, &(augmentation){0, 10}, 5, 199, again);
    assert_memory_equal(out, again, sizeof out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(patches_are_in_the_order_of_the_convolution),
                                       cmocka_unit_test(nothing_to_do_changes_nothing),
                                       cmocka_unit_test(shifts_and_turns_stay_within_their_bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
