/* Memory: sizes that overflow are refused, alignment holds, an arena reuses its blocks. */
#include "test.h"

#include <string.h>

#include "base/memory.h"

static void sizes_that_overflow_are_refused_with_a_sentence(void **state) {
    (void)state;
    assert_null(memory_allocate(SIZE_MAX / 2, 3));
    assert_non_null(strstr(attn_last_error(), "overflows"));
    assert_null(memory_allocate_raw(SIZE_MAX, 1));
    assert_null(memory_allocate_raw(SIZE_MAX - 63, 1));
    assert_null(memory_copy_bytes("x", SIZE_MAX));
    size_t product;
    assert_true(size_multiply(SIZE_MAX, 1, &product));
    assert_false(size_multiply(SIZE_MAX / 2 + 1, 2, &product));
}

static void a_size_beyond_the_machine_is_refused(void **state) {
    (void)state;
#if !defined(__SANITIZE_ADDRESS__) /* ASan ends the process on such a size */
    assert_null(memory_allocate_raw((size_t)1 << 60, 1));
    assert_non_null(strstr(attn_last_error(), "out of memory"));
#endif
}

static void memory_is_zeroed_and_aligned_to_64(void **state) {
    (void)state;
    for (size_t count = 0; count < 300; count += 7) {
        unsigned char *bytes = memory_allocate(count, 3);
        assert_non_null(bytes);
        assert_int_equal((uintptr_t)bytes % 64, 0);
        for (size_t i = 0; i < count * 3; i++) {
            assert_int_equal(bytes[i], 0);
        }
        memory_free(bytes);
    }
    memory_free(NULL);
}

static void growing_keeps_the_content(void **state) {
    (void)state;
    int *numbers = NULL;
    size_t capacity = 0;
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(memory_grow(&numbers, &capacity, (size_t)i + 1, sizeof *numbers), ATTN_OK);
        numbers[i] = i;
    }
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(numbers[i], i);
    }
    size_t before = capacity;
    int *same = numbers;
    assert_int_equal(memory_grow(&numbers, &capacity, SIZE_MAX / 2, sizeof *numbers), ATTN_ERROR_MEMORY);
    assert_ptr_equal(numbers, same);
    assert_int_equal(capacity, before);
    memory_free(numbers);
}

static void copies_end_with_0(void **state) {
    (void)state;
    char *copy = memory_copy_string("abc"), *part = memory_copy_bytes("abc", 2);
    assert_string_equal(copy, "abc");
    assert_string_equal(part, "ab");
    memory_free(copy);
    memory_free(part);
}

static void arena_pieces_are_aligned_and_do_not_overlap(void **state) {
    (void)state;
    enum { PIECES = 400 };
    arena *a = arena_new();
    unsigned char *pieces[PIECES];
    for (int i = 0; i < PIECES; i++) { /* up to 40 KB each: several blocks */
        pieces[i] = arena_allocate(a, (size_t)(i * 100 + 1), 1);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 64, 0);
        memset(pieces[i], i & 255, (size_t)(i * 100 + 1));
    }
    for (int i = 0; i < PIECES; i++) {
        for (int j = 0; j <= i * 100; j++) {
            assert_int_equal(pieces[i][j], i & 255);
        }
    }
    arena_free(a);
}

static void a_reset_arena_takes_no_new_memory(void **state) {
    (void)state;
    arena *a = arena_new();
    void *first = NULL;
    size_t size = 0;
    for (int step = 0; step < 5; step++) {
        arena_reset(a);
        void *begin = arena_allocate(a, 10, 4);
        for (int i = 0; i < 20; i++) {
            assert_non_null(arena_allocate(a, 100000, 4));
        }
        if (step == 0) {
            first = begin;
            size = arena_size(a);
        }
        assert_ptr_equal(begin, first);
        assert_int_equal(arena_size(a), size);
    }
    arena_free(a);
}

static void going_back_to_a_mark_frees_what_came_after(void **state) {
    (void)state;
    arena *a = arena_new();
    char *kept = arena_allocate(a, 100, 1);
    memset(kept, 'k', 100);
    arena_mark mark = arena_get_mark(a);
    void *once = arena_allocate(a, 1000, 1);
    assert_non_null(arena_allocate(a, (size_t)5 << 20, 1)); /* into another block */
    arena_return_to(a, mark);
    assert_ptr_equal(arena_allocate(a, 1000, 1), once);
    assert_int_equal(kept[99], 'k');
    arena_free(a);
}

static void an_arena_refuses_sizes_that_overflow(void **state) {
    (void)state;
    arena *a = arena_new();
    assert_null(arena_allocate(a, SIZE_MAX / 4, 8));
    assert_null(arena_allocate(a, SIZE_MAX, 1));
    assert_non_null(strstr(attn_last_error(), "overflows"));
    assert_non_null(arena_allocate(a, 0, 8));
    arena_free(a);
    arena_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_that_overflow_are_refused_with_a_sentence),
        cmocka_unit_test(a_size_beyond_the_machine_is_refused),
        cmocka_unit_test(memory_is_zeroed_and_aligned_to_64),
        cmocka_unit_test(growing_keeps_the_content),
        cmocka_unit_test(copies_end_with_0),
        cmocka_unit_test(arena_pieces_are_aligned_and_do_not_overlap),
        cmocka_unit_test(a_reset_arena_takes_no_new_memory),
        cmocka_unit_test(going_back_to_a_mark_frees_what_came_after),
        cmocka_unit_test(an_arena_refuses_sizes_that_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
