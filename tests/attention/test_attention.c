/* Every case, in every kernel that the processor has, against the f64 reference: the
 * error may be at most twice that of plain f32 (three times for gradients). */
#include "check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define SHAPE(b, nq, nk, h, hk, dd, dv) \
    .sequences = b, .queries = nq, .keys = nk, .heads = h, .kv_heads = hk, .d = dd, .d_v = dv

static const attention_case CASES[] = {
    {.name = "self", SHAPE(2, 70, 70, 2, 2, 64, 64)},
    {.name = "one by one", SHAPE(1, 1, 1, 1, 1, 1, 1)},
    {.name = "odd widths", SHAPE(2, 33, 97, 3, 3, 7, 5)},
    {.name = "wide", SHAPE(1, 50, 140, 1, 1, 256, 256)},
    {.name = "d 80, dv 48", SHAPE(1, 33, 97, 2, 2, 80, 48)},
    {.name = "d 18, dv 130", SHAPE(1, 40, 65, 2, 1, 18, 130)},
    {.name = "many blocks", SHAPE(1, 300, 400, 1, 1, 32, 32)},
    {.name = "causal", SHAPE(1, 300, 300, 2, 2, 32, 32), .causal = ATTN_CAUSAL_TOP_LEFT},
    {.name = "causal, more keys", SHAPE(1, 50, 200, 1, 1, 16, 16), .causal = ATTN_CAUSAL_TOP_LEFT},
    {.name = "bottom right, more keys", SHAPE(1, 50, 200, 1, 1, 16, 16), .causal = ATTN_CAUSAL_BOTTOM_RIGHT},
    {.name = "bottom right, more queries", SHAPE(1, 200, 50, 1, 1, 16, 16), .causal = ATTN_CAUSAL_BOTTOM_RIGHT},
    {.name = "grouped", SHAPE(1, 70, 90, 6, 2, 32, 32)},
    {.name = "grouped causal", SHAPE(1, 150, 150, 8, 1, 16, 16), .causal = ATTN_CAUSAL_TOP_LEFT},
    {.name = "packed", SHAPE(12, 30, 30, 4, 4, 32, 32), .packed = 1},
    {.name = "packed causal dropout", SHAPE(9, 40, 40, 2, 2, 32, 32), .packed = 1, .causal = ATTN_CAUSAL_TOP_LEFT, .dropout = 0.1f},
    {.name = "packed cross", SHAPE(9, 20, 35, 2, 2, 64, 64), .packed = 1, .fused = 1},
    {.name = "key lengths", SHAPE(5, 40, 150, 2, 2, 32, 32), .key_lengths = 1},
    {.name = "window", SHAPE(1, 300, 300, 1, 1, 16, 16), .window = 1, .left = 20, .right = 7},
    {.name = "window causal", SHAPE(1, 300, 310, 1, 1, 16, 16), .window = 1, .left = 64, .right = 0, .causal = ATTN_CAUSAL_BOTTOM_RIGHT},
    {.name = "mask", SHAPE(2, 70, 90, 2, 2, 32, 32), .mask = 1},
    {.name = "bias over sequences", SHAPE(3, 40, 50, 2, 2, 32, 32), .bias = 1},
    {.name = "bias over heads", SHAPE(3, 40, 50, 2, 2, 32, 32), .bias = 2, .causal = ATTN_CAUSAL_TOP_LEFT},
    {.name = "bias over queries", SHAPE(3, 40, 50, 2, 1, 32, 32), .bias = 3},
    {.name = "alibi", SHAPE(1, 150, 150, 4, 4, 32, 32), .alibi = 1, .causal = ATTN_CAUSAL_TOP_LEFT},
    {.name = "soft cap", SHAPE(1, 70, 150, 2, 2, 32, 32), .softcap = 5},
    {.name = "sinks", SHAPE(2, 70, 150, 4, 2, 32, 32), .sinks = 1, .causal = ATTN_CAUSAL_BOTTOM_RIGHT},
    {.name = "dropout", SHAPE(2, 70, 150, 4, 2, 32, 32), .dropout = 0.3f},
    {.name = "dot", SHAPE(1, 40, 60, 2, 2, 16, 16), .score = ATTN_SCORE_DOT},
    {.name = "cosine", SHAPE(2, 40, 150, 2, 2, 48, 32), .score = ATTN_SCORE_COSINE},
    {.name = "rotary halves", SHAPE(2, 40, 150, 2, 2, 48, 32), .rotary = ATTN_ROTARY_HALVES},
    {.name = "rotary interleaved", SHAPE(2, 40, 150, 2, 1, 48, 32), .rotary = ATTN_ROTARY_INTERLEAVED, .causal = ATTN_CAUSAL_BOTTOM_RIGHT},
    {.name = "linear", SHAPE(2, 70, 300, 4, 2, 48, 32), .score = ATTN_SCORE_LINEAR, .key_lengths = 1},
    {.name = "linear causal", SHAPE(2, 500, 500, 2, 1, 32, 48), .score = ATTN_SCORE_LINEAR, .causal = ATTN_CAUSAL_TOP_LEFT},
    {.name = "linear bottom right", SHAPE(5, 200, 500, 2, 2, 16, 20), .score = ATTN_SCORE_LINEAR, .packed = 1, .causal = ATTN_CAUSAL_BOTTOM_RIGHT},
    {.name = "large scores", SHAPE(2, 400, 300, 4, 4, 64, 64), .amplitude = 35},
    {.name = "everything", SHAPE(3, 60, 140, 4, 2, 40, 24), .packed = 1, .causal = ATTN_CAUSAL_BOTTOM_RIGHT, .window = 1, .left = 50, .right = 9, .mask = 1, .bias = 1, .alibi = 1, .sinks = 1, .key_lengths = 0, .softcap = 8, .dropout = 0.2f, .score = ATTN_SCORE_COSINE, .fused = 1},
};
enum { CASE_COUNT = sizeof CASES / sizeof *CASES };

static void f32_cases_agree_with_the_reference(void **state) {
    (void)state;
    int bad = 0;
    for (int c = 0; c < CASE_COUNT; c++) {
        bad += run_case(&CASES[c], 100 + (uint64_t)c, ATTN_F32);
    }
    assert_int_equal(bad, 0);
}

static void bf16_cases_agree_with_the_reference(void **state) {
    (void)state;
    int bad = 0;
    for (int c = 0; c < CASE_COUNT; c++) {
        bad += run_case(&CASES[c], 300 + (uint64_t)c, ATTN_BF16);
    }
    assert_int_equal(bad, 0);
}

static void random_cases_agree_with_the_reference(void **state) {
    (void)state;
    int bad = 0;
    for (uint64_t seed = 1000; seed < 1040; seed++) {
        const attention_case c = random_case(seed);
        bad += run_case(&c, seed, (int)c.dtype);
    }
    assert_int_equal(bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_cases_agree_with_the_reference),
        cmocka_unit_test(bf16_cases_agree_with_the_reference),
        cmocka_unit_test(random_cases_agree_with_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
