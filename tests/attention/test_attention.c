/* Every case, in every kernel that the processor has, against the f64 reference: the
 * error may be at most twice that of plain f32 (three times for gradients).
 *     test_attention [CASE...]      those cases alone */
#include "cases.h"

#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
/* behind those */
#include <cmocka.h>
#include <string.h>

#include "bench/attention_check.h"

static char **chosen; /* names, ended by NULL; none: every case */

static int check(attention_case c, uint64_t seed, attn_dtype dtype) {
    int bad;
    c.dtype = dtype;
    if (attention_check_case(&c, seed, stdout, &bad)) {
        fail_msg("%s: %s", c.name, attn_last_error());
    }
    return bad;
}

static int is_chosen(const attention_case *c) {
    char **name = chosen;
    while (*name && strcmp(*name, c->name)) {
        name++;
    }
    return !*chosen || *name;
}

static void check_table(uint64_t seed, attn_dtype dtype) {
    int bad = 0, ran = 0;
    for (const attention_case *c = attention_check_cases; c->name; c++, seed++) {
        if (is_chosen(c)) {
            omp_set_num_threads(c->window ? 1 : 2); /* a window's rows move where no threads share a head */
            bad += check(*c, seed, dtype);
            ran++;
        }
    }
    assert_int_equal(bad, 0);
    assert_true(ran > 0);
}

static void f32_cases_agree_with_the_reference(void **state) {
    (void)state;
    check_table(100, ATTN_F32);
}

static void bf16_cases_agree_with_the_reference(void **state) {
    (void)state;
    check_table(300, ATTN_BF16);
}

static void random_cases_agree_with_the_reference(void **state) {
    (void)state;
    int bad = 0;
    for (uint64_t seed = 1000; seed < 1030 && !*chosen; seed++) {
        const attention_case c = attention_case_random(seed);
        bad += check(c, seed, c.dtype);
    }
    assert_int_equal(bad, 0);
}

int main(int count, char **arguments) {
    chosen = arguments + (count > 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_cases_agree_with_the_reference),
        cmocka_unit_test(bf16_cases_agree_with_the_reference),
        cmocka_unit_test(random_cases_agree_with_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
