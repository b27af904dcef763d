/* The caller owns the memory: no pass allocates. The linker turns every call of the allocator in
 * this program to the functions below, which count while a pass runs. */
#include "cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <omp.h>

static int counting, counted;

#define COUNT() (counted += counting)
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **p, size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **p, size_t alignment, size_t size);

void *__wrap_malloc(size_t size) {
    COUNT();
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    COUNT();
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size) {
    COUNT();
    return __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    COUNT();
    return __real_aligned_alloc(alignment, size);
}

int __wrap_posix_memalign(void **p, size_t alignment, size_t size) {
    COUNT();
    return __real_posix_memalign(p, alignment, size);
}

/* The counter sees what it should: a case's arrays are allocated through it. */
static void the_counter_counts(void **state) {
    (void)state;
    counting = 1;
    case_arrays a = case_make(&attention_check_cases[0], 1);
    counting = 0;
    assert_true(counted > 0);
    counted = 0;
    case_free(&a);
}

static void no_pass_allocates(void **state) {
    (void)state;
    omp_set_num_threads(1);
    for (const attention_case *c = attention_check_cases; c->name; c++) {
        for (int kernel = ATTN_KERNEL_REFERENCE; kernel <= last_kernel(); kernel++) {
            case_arrays a = case_make(c, 1);
            a.problem.kernel = (attn_kernel)kernel;
            size_t weights = 0;
            for (int64_t b = 0; b < c->sequences; b++) {
                const sequence_view s = problem_sequence(&a.problem, b);
                weights += (size_t)(c->heads * s.queries * s.keys);
            }
            if (weights > 60000 && kernel == ATTN_KERNEL_REFERENCE) { /* slow, and no other than the small ones */
                case_free(&a);
                continue;
            }
            float *w = case_new(weights, 4), *sums = case_new((size_t)(c->heads * a.k_tokens), 4);
            for (int pass = ATTN_PASS_FORWARD; pass <= ATTN_PASS_COLUMN_SUMS; pass++) {
                assert_int_equal(case_workspace(&a, (attn_attention_pass)pass), 0);
            }
            counting = 1;
            const int failed = case_forward(&a) || case_backward(&a) ||
                               attn_attention_weights(&a.problem, a.q, a.k, w, a.workspace, a.workspace_size) ||
                               attn_attention_column_sums(&a.problem, a.q, a.k, a.log_sum_exp, sums, a.workspace,
                                                          a.workspace_size);
            counting = 0;
            assert_int_equal(failed, 0);
            if (counted) {
                fail_msg("%s, kernel %d: %d allocations", c->name, kernel, counted);
            }
            free(w);
            free(sums);
            case_free(&a);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_counter_counts),
        cmocka_unit_test(no_pass_allocates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
