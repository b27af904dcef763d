/* The largest output by a shortlist: against the whole product. */
#include <math.h>
#include <string.h>

#include "test.h"

#include "base/random.h"
#include "tensor/shortlist.h"

enum { SEED = 20261122, ROWS = 3 };

typedef struct problem {
    int64_t outputs, depth;
    float *w, *bias, *x;
} problem;

/* Each seventh output is the one before it again; of two there is a tie, which the lower index wins. */
static problem problem_of(int64_t outputs, int64_t depth, float bias) {
    problem p = {outputs, depth, memory_allocate((size_t)(outputs * depth), 4),
                 memory_allocate((size_t)outputs, 4), memory_allocate((size_t)(ROWS * depth), 4)};
    for (int64_t i = 0; i < outputs * depth; i++) {
        p.w[i] = random_normal(SEED, (uint64_t)i) / sqrtf((float)depth);
    }
    for (int64_t o = 0; o < outputs; o++) {
        p.bias[o] = bias * random_normal(SEED + 1, (uint64_t)o);
        if (o % 7 == 6) {
            memcpy(p.w + o * depth, p.w + (o - 1) * depth, (size_t)depth * sizeof *p.w);
            p.bias[o] = p.bias[o - 1];
        }
    }
    for (int64_t i = 0; i < ROWS * depth; i++) {
        p.x[i] = random_normal(SEED + 2, (uint64_t)i);
    }
    return p;
}

static void release(problem *p) {
    memory_free(p->w);
    memory_free(p->bias);
    memory_free(p->x);
}

static void find(const problem *p, const int32_t (*skipped)[2], int32_t *found) {
    shortlist *s;
    packed_weight *exact;
    assert_int_equal(shortlist_new(p->w, p->bias, p->outputs, p->depth, &s), ATTN_OK);
    assert_non_null(s);
    assert_int_equal(product_pack(p->w, p->outputs, p->depth, PRODUCT_F32, "w", NULL, &exact), ATTN_OK);
    void *room = memory_allocate(shortlist_room(s, exact, ROWS), 1);
    shortlist_largest(s, exact, rows_select(), p->x, ROWS, skipped, found, room);
    memory_free(room);
    packed_weight_free(exact);
    shortlist_free(s);
}

static void find_whole(const problem *p, const int32_t (*skipped)[2], int32_t *found) {
    packed_weight *exact;
    float *y = memory_allocate((size_t)(ROWS * p->outputs), sizeof *y);
    assert_int_equal(product_pack(p->w, p->outputs, p->depth, PRODUCT_F32, "w", NULL, &exact), ATTN_OK);
    void *room = memory_allocate(product_room(exact, ROWS), 1);
    product_run(y, p->outputs, p->x, p->depth, ROWS, exact, p->bias, 0, room);
    for (int row = 0; row < ROWS; row++) {
        found[row] = -1;
        for (int32_t o = 0; o < p->outputs; o++) {
            if (o != skipped[row][0] && o != skipped[row][1] &&
                (found[row] < 0 || y[row * p->outputs + o] > y[row * p->outputs + found[row]])) {
                found[row] = o;
            }
        }
    }
    memory_free(y);
    memory_free(room);
    packed_weight_free(exact);
}

/* The likeliest are then skipped, again and again, so that many ranks are asked for. */
static void the_largest_is_that_of_the_whole_product(void **state) {
    (void)state;
    const struct {
        int64_t outputs, depth;
        float bias;
    } cases[] = {{4000, 64, 0}, {2017, 129, 0}, {3000, 48, 1}, {2500, 7, 0.3f}, {8000, 512, 0}, {40, 16, 4}};
    int told = 0, asked = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        problem p = problem_of(cases[i].outputs, cases[i].depth, cases[i].bias);
        int32_t skipped[ROWS][2], found[ROWS], whole[ROWS];
        memset(skipped, -1, sizeof skipped);
        for (int rank = 0; rank < 12; rank++) {
            find(&p, (const int32_t(*)[2])skipped, found);
            find_whole(&p, (const int32_t(*)[2])skipped, whole);
            for (int row = 0; row < ROWS; row++, asked++) {
                if (found[row] >= 0) {
                    assert_int_equal(found[row], whole[row]);
                    told++;
                }
                skipped[row][rank % 2] = whole[row];
            }
        }
        release(&p);
    }
    assert_true(told > asked * 3 / 4);
}

/* Outputs that differ by less than int8 can tell: only the exact product knows the best. */
static void outputs_that_int8_cannot_tell_apart_are_told_apart(void **state) {
    (void)state;
    problem p = problem_of(4096, 64, 0);
    int32_t skipped[ROWS][2], found[ROWS], whole[ROWS];
    memset(skipped, -1, sizeof skipped);
    for (int copy = 0; copy < 8; copy++) { /* each row of x, as weights, and near them */
        for (int row = 0; row < ROWS; row++) {
            for (int64_t i = 0; i < p.depth; i++) {
                p.w[(copy * 400 + row) * p.depth + i] =
                    p.x[row * p.depth + i] * (1 + 1e-4f * random_normal(SEED + 3, (uint64_t)(copy * 64 + i)));
            }
        }
    }
    find(&p, (const int32_t(*)[2])skipped, found);
    find_whole(&p, (const int32_t(*)[2])skipped, whole);
    for (int row = 0; row < ROWS; row++) {
        assert_int_equal(found[row], whole[row]);
    }
    release(&p);
}

/* So small that int8's scales, or products, leave the range of floats. */
static void tiny_numbers_are_not_told(void **state) {
    (void)state;
    const float sizes[][2] = {{9e-31f, 1}, {1e-20f, 1e-22f}};
    for (int i = 0; i < 2; i++) {
        problem p = problem_of(2000, 16, 0);
        int32_t skipped[ROWS][2], found[ROWS], whole[ROWS];
        memset(skipped, -1, sizeof skipped);
        for (int64_t j = 0; j < ROWS * p.depth; j++) {
            p.x[j] = sizes[i][0];
        }
        for (int64_t j = 0; j < p.outputs * p.depth; j++) {
            p.w[j] = j / p.depth == 40 ? sizes[i][1] : -sizes[i][1];
        }
        p.bias[0] = sizes[i][0] * sizes[i][1];
        find(&p, (const int32_t(*)[2])skipped, found);
        find_whole(&p, (const int32_t(*)[2])skipped, whole);
        for (int row = 0; row < ROWS; row++) {
            assert_true(found[row] == -1 || found[row] == whole[row]);
        }
        release(&p);
    }
}

static void what_cannot_be_told_is_not_told(void **state) {
    (void)state;
    int32_t skipped[ROWS][2], found[ROWS];
    memset(skipped, -1, sizeof skipped);
    problem p = problem_of(4000, 64, 0);
    p.x[3] = NAN;
    p.x[64] = INFINITY;
    memset(p.x + 128, 0, 64 * sizeof *p.x); /* all are equal */
    find(&p, (const int32_t(*)[2])skipped, found);
    for (int row = 0; row < ROWS; row++) {
        assert_int_equal(found[row], -1);
    }
    const float values[] = {NAN, INFINITY, -INFINITY, 1e-40f};
    for (int i = 0; i < 4; i++) {
        shortlist *s;
        for (int64_t j = 0; j < p.depth; j++) {
            p.w[700 * p.depth + j] = values[i];
        }
        assert_int_equal(shortlist_new(p.w, p.bias, p.outputs, p.depth, &s), ATTN_OK);
        assert_null(s);
    }
    release(&p);
    p = problem_of(100, 16, 0);
    p.bias[40] = NAN;
    shortlist *s;
    assert_int_equal(shortlist_new(p.w, p.bias, p.outputs, p.depth, &s), ATTN_OK);
    assert_null(s);
    release(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_largest_is_that_of_the_whole_product),
                                       cmocka_unit_test(outputs_that_int8_cannot_tell_apart_are_told_apart),
                                       cmocka_unit_test(tiny_numbers_are_not_told),
                                       cmocka_unit_test(what_cannot_be_told_is_not_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
