/* The cases and their arrays; see attention_cases.h. */
#include "bench/attention_cases.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"

#define SHAPE(b, nq, nk, h, hk, dd, dv) \
    .sequences = b, .queries = nq, .keys = nk, .heads = h, .kv_heads = hk, .d = dd, .d_v = dv
#define TOP_LEFT .causal = ATTN_CAUSAL_TOP_LEFT
#define BOTTOM_RIGHT .causal = ATTN_CAUSAL_BOTTOM_RIGHT

const attention_case attention_check_cases[] = {
    {.name = "self", SHAPE(2, 70, 70, 2, 2, 64, 64)},
    {.name = "one by one", SHAPE(1, 1, 1, 1, 1, 1, 1)},
    {.name = "odd widths", SHAPE(2, 33, 97, 3, 3, 7, 5)},
    {.name = "wide", SHAPE(1, 50, 140, 1, 1, 256, 256)},
    {.name = "d 80, dv 48", SHAPE(1, 33, 97, 2, 2, 80, 48)},
    {.name = "d 18, dv 130", SHAPE(1, 40, 65, 2, 1, 18, 130)},
    {.name = "many blocks", SHAPE(1, 300, 400, 1, 1, 32, 32)},
    {.name = "causal", SHAPE(1, 300, 300, 2, 2, 32, 32), TOP_LEFT},
    {.name = "causal, more keys", SHAPE(1, 50, 200, 1, 1, 16, 16), TOP_LEFT},
    {.name = "bottom right, more keys", SHAPE(1, 50, 200, 1, 1, 16, 16), BOTTOM_RIGHT},
    {.name = "bottom right, more queries", SHAPE(1, 200, 50, 1, 1, 16, 16), BOTTOM_RIGHT},
    {.name = "grouped", SHAPE(1, 70, 90, 6, 2, 32, 32)},
    {.name = "grouped causal", SHAPE(1, 150, 150, 8, 1, 16, 16), TOP_LEFT},
    {.name = "packed", SHAPE(12, 30, 30, 4, 4, 32, 32), .packed = 1},
    {.name = "packed causal dropout", SHAPE(9, 40, 40, 2, 2, 32, 32), .packed = 1, TOP_LEFT, .dropout = 0.1f},
    {.name = "packed cross", SHAPE(9, 20, 35, 2, 2, 64, 64), .packed = 1, .layout = CASE_FUSED},
    {.name = "key lengths", SHAPE(5, 40, 150, 2, 2, 32, 32), .key_lengths = 1},
    {.name = "window", SHAPE(1, 300, 300, 1, 1, 16, 16), .window = 1, .left = 20, .right = 7},
    {.name = "window causal", SHAPE(1, 300, 310, 1, 1, 16, 16), .window = 1, .left = 64, .right = 0, BOTTOM_RIGHT},
    {.name = "mask", SHAPE(2, 70, 90, 2, 2, 32, 32), .mask = 1},
    {.name = "bias over sequences", SHAPE(3, 40, 50, 2, 2, 32, 32), .bias = 1},
    {.name = "bias over heads", SHAPE(3, 40, 50, 2, 2, 32, 32), .bias = 2, TOP_LEFT},
    {.name = "bias over queries", SHAPE(3, 40, 50, 2, 1, 32, 32), .bias = 3},
    {.name = "alibi", SHAPE(1, 150, 150, 4, 4, 32, 32), .alibi = 1, TOP_LEFT},
    {.name = "soft cap", SHAPE(1, 70, 150, 2, 2, 32, 32), .softcap = 5},
    {.name = "sinks", SHAPE(2, 70, 150, 4, 2, 32, 32), .sinks = 1, BOTTOM_RIGHT},
    {.name = "dropout", SHAPE(2, 70, 150, 4, 2, 32, 32), .dropout = 0.3f},
    {.name = "dot", SHAPE(1, 40, 60, 2, 2, 16, 16), .score = ATTN_SCORE_DOT},
    {.name = "cosine", SHAPE(2, 40, 150, 2, 2, 48, 32), .score = ATTN_SCORE_COSINE},
    {.name = "rotary halves", SHAPE(2, 40, 150, 2, 2, 48, 32), .rotary = ATTN_ROTARY_HALVES},
    {.name = "rotary interleaved", SHAPE(2, 40, 150, 2, 1, 48, 32), .rotary = ATTN_ROTARY_INTERLEAVED, BOTTOM_RIGHT},
    {.name = "linear", SHAPE(2, 70, 300, 4, 2, 48, 32), .score = ATTN_SCORE_LINEAR, .key_lengths = 1},
    {.name = "linear causal", SHAPE(1, 500, 500, 2, 1, 32, 48), .score = ATTN_SCORE_LINEAR, TOP_LEFT},
    {.name = "linear bottom right", SHAPE(3, 200, 500, 2, 2, 16, 20), .score = ATTN_SCORE_LINEAR, .packed = 1,
     BOTTOM_RIGHT},
    {.name = "large scores", SHAPE(2, 600, 60, 4, 4, 32, 32), .amplitude = 35},
    {.name = "everything", SHAPE(3, 60, 140, 4, 2, 40, 24), .packed = 1, BOTTOM_RIGHT, .window = 1, .left = 50,
     .right = 9, .mask = 1, .bias = 1, .alibi = 1, .sinks = 1, .softcap = 8, .dropout = 0.2f, .score = ATTN_SCORE_COSINE, .layout = CASE_FUSED},
    {.name = "huge scores", SHAPE(4, 600, 40, 4, 2, 16, 16), .amplitude = 100},
    {.name = "rotary, more queries", SHAPE(2, 90, 40, 2, 2, 32, 32), .rotary = ATTN_ROTARY_HALVES, BOTTOM_RIGHT},
    {.name = "heads apart", SHAPE(3, 50, 140, 4, 2, 20, 33), .layout = CASE_APART, BOTTOM_RIGHT},
    {.name = "heads apart, d 64", SHAPE(2, 70, 140, 4, 2, 64, 64), .layout = CASE_APART, .packed = 1},
    {.name = "linear, heads apart", SHAPE(3, 50, 140, 4, 2, 20, 33), .layout = CASE_APART,
     .score = ATTN_SCORE_LINEAR, TOP_LEFT},
    {.name = "large scores, sinks", SHAPE(2, 60, 70, 4, 2, 32, 32), .amplitude = 30, .sinks = 1},
    {.name = "many rows", SHAPE(1, 2100, 90, 2, 1, 16, 16)},
    {.name = "many rows, window", SHAPE(1, 1100, 1100, 4, 1, 16, 16), .window = 1, .left = 60, BOTTOM_RIGHT},
    {.name = "window of blocks", SHAPE(2, 500, 700, 2, 1, 32, 24), .packed = 1, .window = 1, .left = 300, .right = 40,
     .bias = 1, .dropout = 0.2f},
    {.name = "bias over none", SHAPE(3, 40, 50, 2, 2, 32, 32), .bias = 4},
    {.name = "short, odd", SHAPE(4, 33, 97, 2, 2, 37, 51), .packed = 1, BOTTOM_RIGHT, .dropout = 0.2f},
    {.name = "short window, apart", SHAPE(2, 17, 65, 2, 2, 80, 30), .window = 1, .left = 9, .right = 5,
     .layout = CASE_APART},
    {.name = "short, all keys", SHAPE(1, 64, 128, 2, 2, 256, 256)},
    {.name = "groups of keys", SHAPE(1, 110, 2300, 2, 1, 16, 32), BOTTOM_RIGHT, .window = 1, .left = 1100, .sinks = 1},
    {.name = "long window", SHAPE(1, 900, 1100, 2, 1, 24, 20), .window = 1, .left = 35, .right = 15, .alibi = 1,
     .softcap = 8, .dropout = 0.2f, .rotary = ATTN_ROTARY_HALVES},
    {.name = "long window, rows behind", SHAPE(1, 1500, 600, 1, 1, 16, 16), .window = 1, .left = 23, .right = 9},
    {.name = NULL},
};

const attention_case attention_speed_cases[] = {
    {.name = "4x8x512", SHAPE(4, 512, 512, 8, 8, 64, 64)},
    {.name = "1x8x4096", SHAPE(1, 4096, 4096, 8, 8, 64, 64)},
    {.name = "1x8x4096-causal", SHAPE(1, 4096, 4096, 8, 8, 64, 64), TOP_LEFT},
    {.name = "4x8x1024-causal", SHAPE(4, 1024, 1024, 8, 8, 64, 64), TOP_LEFT},
    {.name = "64x8x32", SHAPE(64, 32, 32, 8, 8, 64, 64)},
    {.name = "1x16/4x2048-causal", SHAPE(1, 2048, 2048, 16, 4, 128, 128), TOP_LEFT},
    {.name = "16x8x33x97", SHAPE(16, 33, 97, 8, 8, 80, 80)},
    {.name = "150x4x13-packed-dropout", SHAPE(150, 26, 26, 4, 4, 32, 32), .packed = 1, .dropout = 0.1f,
     .layout = CASE_FUSED},
    {.name = "300x4x20-packed-dropout", SHAPE(300, 26, 26, 4, 4, 32, 32), .packed = 1, .dropout = 0.1f,
     .layout = CASE_FUSED},
    {.name = "300x4x20-packed-causal", SHAPE(300, 26, 26, 4, 4, 32, 32), .packed = 1, TOP_LEFT, .layout = CASE_FUSED},
    {.name = "4x8x512-dropout", SHAPE(4, 512, 512, 8, 8, 64, 64), .dropout = 0.1f},
    {.name = "4x8x512-alibi", SHAPE(4, 512, 512, 8, 8, 64, 64), .alibi = 1},
    {.name = "4x8x512-softcap", SHAPE(4, 512, 512, 8, 8, 64, 64), .softcap = 30},
    {.name = "4x8x512-bias", SHAPE(4, 512, 512, 8, 8, 64, 64), .bias = 1},
    {.name = "4x8x512-mask", SHAPE(4, 512, 512, 8, 8, 64, 64), .mask = 1},
    {.name = "1x8x8192-window", SHAPE(1, 8192, 8192, 8, 8, 64, 64), .window = 1, .left = 256, TOP_LEFT},
    {.name = NULL},
};

const attention_case *attention_case_named(const char *name) {
    const attention_case *const tables[] = {attention_speed_cases, attention_check_cases};
    for (int t = 0; t < 2; t++) {
        for (const attention_case *c = tables[t]; c->name; c++) {
            if (strcmp(c->name, name) == 0) {
                return c;
            }
        }
    }
    return NULL;
}

attention_case attention_case_random(uint64_t seed) {
    uint64_t n = 0;
#define DRAW(bound) ((int)random_below(seed, n++, (uint32_t)(bound)))
    attention_case c = {.name = "random"};
    const int group = 1 + DRAW(4), self = DRAW(2);
    c.sequences = 1 + DRAW(4);
    c.kv_heads = 1 + DRAW(2);
    c.heads = c.kv_heads * group;
    const int most_queries = DRAW(3) ? 80 : 300, most_keys = DRAW(3) ? 80 : 300;
    c.queries = 1 + DRAW(most_queries);
    c.keys = self ? c.queries : 1 + DRAW(most_keys);
    c.d = DRAW(2) ? 16 * (1 + DRAW(6)) : 4 + DRAW(90);
    c.d_v = DRAW(2) ? c.d : 1 + DRAW(90);
    c.causal = (attn_causal)DRAW(3);
    c.packed = DRAW(2);
    c.layout = (case_layout)DRAW(3);
    c.dtype = (attn_dtype)DRAW(2);
    c.score = (attn_score)(DRAW(4) ? DRAW(3) : 3);
    c.amplitude = c.score == ATTN_SCORE_DOT ? 0.5f : DRAW(8) ? 1 : 30;
    c.key_lengths = DRAW(4) == 0;
    if (c.score != ATTN_SCORE_LINEAR) {
        c.window = DRAW(4) == 0;
        c.left = DRAW(100);
        c.right = DRAW(100);
        c.mask = DRAW(4) == 0;
        c.bias = DRAW(3) ? 0 : 1 + DRAW(4);
        c.alibi = DRAW(4) == 0;
        c.sinks = DRAW(4) == 0;
        c.softcap = DRAW(4) ? 0 : 5.0f;
        c.dropout = DRAW(3) ? 0 : 0.2f;
        c.rotary = DRAW(3) ? 0 : 1 + DRAW(2);
    }
#undef DRAW
    return c;
}

/* --- elements ----------------------------------------------------------------------------- */

uint16_t to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float from_bf16(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

float case_get(const void *array, attn_dtype dtype, size_t i) {
    return dtype == ATTN_F32 ? ((const float *)array)[i] : from_bf16(((const uint16_t *)array)[i]);
}

void case_set(void *array, attn_dtype dtype, size_t i, float x) {
    if (dtype == ATTN_F32) {
        ((float *)array)[i] = x;
    } else {
        ((uint16_t *)array)[i] = to_bf16(x);
    }
}

/* --- arrays ------------------------------------------------------------------------------- */

/* `count` zeroed elements; NULL where memory is short. */
static void *take(case_arrays *a, size_t count, size_t size) {
    void *block = memory_allocate(count, size);
    if (block) {
        a->blocks[a->block_count++] = block;
    }
    return block;
}

/* An array of rows; in the layout of rows apart it begins one element off. */
static void *take_rows(case_arrays *a, const attention_case *c, size_t count) {
    const size_t size = (size_t)dtype_size(c->dtype), off = c->layout == CASE_APART;
    char *block = take(a, count + off, size);
    return block ? block + off * size : NULL;
}

static void fill_normal(void *array, attn_dtype dtype, size_t count, uint64_t key, float amplitude) {
    for (size_t i = 0; i < count; i++) {
        case_set(array, dtype, i, amplitude * random_normal(key, i));
    }
}

/* Packed lengths from 0 up; the first sequence has the greatest. */
static attn_status make_offsets(const attention_case *c, uint64_t seed, case_arrays *a) {
    a->q_tokens = c->sequences * c->queries;
    a->k_tokens = c->sequences * c->keys;
    if (!c->packed) {
        return ATTN_OK;
    }
    a->q_offsets = take(a, (size_t)c->sequences + 1, sizeof(int32_t));
    a->k_offsets = take(a, (size_t)c->sequences + 1, sizeof(int32_t));
    if (!a->q_offsets || !a->k_offsets) {
        return ATTN_ERROR_MEMORY;
    }
    for (int64_t b = 0; b < c->sequences; b++) {
        uint32_t nq = random_below(seed + 1, (uint64_t)b, (uint32_t)c->queries + 1);
        uint32_t nk = random_below(seed + 2, (uint64_t)b, (uint32_t)c->keys + 1);
        nq = b == 0 ? (uint32_t)c->queries : nq;
        nk = b == 0 ? (uint32_t)c->keys : c->queries == c->keys ? nq : nk;
        a->q_offsets[b + 1] = a->q_offsets[b] + (int32_t)nq;
        a->k_offsets[b + 1] = a->k_offsets[b] + (int32_t)nk;
    }
    a->q_tokens = a->q_offsets[c->sequences];
    a->k_tokens = a->k_offsets[c->sequences];
    return ATTN_OK;
}

/* Rows of `width` with a gap, all tokens of a head together. */
static attn_strides apart(int64_t width, int64_t gap, int64_t tokens) {
    return (attn_strides){.token = width + gap, .head = tokens * (width + gap) + 7};
}

static void set_strides(const attention_case *c, case_arrays *a) {
    attn_attention_problem *p = &a->problem;
    if (c->layout == CASE_FUSED) {
        p->q.token = p->k.token = p->v.token = p->d_q.token = p->d_k.token = p->d_v_.token =
            c->heads * c->d + c->kv_heads * (c->d + c->d_v) + 5;
    } else if (c->layout == CASE_APART) {
        p->q = apart(c->d, 3, a->q_tokens);
        p->d_q = apart(c->d, 1, a->q_tokens);
        p->k = apart(c->d, 2, a->k_tokens);
        p->d_k = apart(c->d, 0, a->k_tokens);
        p->v = apart(c->d_v, 5, a->k_tokens);
        p->d_v_ = apart(c->d_v, 1, a->k_tokens);
        p->o = apart(c->d_v, 1, a->q_tokens);
        p->d_o = apart(c->d_v, 4, a->q_tokens);
    }
}

static attn_status make_lengths(const attention_case *c, uint64_t seed, case_arrays *a) {
    if (!c->key_lengths) {
        return ATTN_OK;
    }
    a->key_lengths = take(a, (size_t)c->sequences, sizeof(int32_t));
    if (!a->key_lengths) {
        return ATTN_ERROR_MEMORY;
    }
    for (int64_t b = 0; b < c->sequences; b++) {
        const sequence_view s = problem_sequence(&a->problem, b);
        a->key_lengths[b] = (int32_t)random_below(seed + 3, (uint64_t)b, (uint32_t)s.keys + 1);
    }
    a->problem.key_lengths.i32 = a->key_lengths;
    return ATTN_OK;
}

static attn_status make_mask(const attention_case *c, uint64_t seed, case_arrays *a) {
    const size_t count = (size_t)(c->sequences * c->queries * c->keys);
    if (!c->mask) {
        return ATTN_OK;
    }
    a->mask = take(a, count, 1);
    if (!a->mask) {
        return ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        a->mask[i] = random_uniform(seed + 4, i) < 0.7f;
    }
    a->problem.mask = a->mask;
    a->problem.mask_strides = (attn_score_strides){c->queries * c->keys, 0, c->keys, 1};
    return ATTN_OK;
}

static attn_status make_bias(const attention_case *c, uint64_t seed, case_arrays *a) {
    const int64_t pairs = c->queries * c->keys;
    const attn_score_strides kinds[] = {{0}, {0, pairs, c->keys, 1}, {pairs, 0, 1, c->queries},
                                        {c->heads * c->keys, c->keys, 0, 1}, {c->heads * pairs, pairs, c->keys, 1}};
    const int64_t counts[] = {0, c->heads * pairs, c->sequences * pairs, c->sequences * c->heads * c->keys,
                              c->sequences * c->heads * pairs};
    if (!c->bias) {
        return ATTN_OK;
    }
    a->bias_count = (size_t)counts[c->bias];
    a->bias = take(a, a->bias_count, sizeof(float));
    a->d_bias = take(a, a->bias_count, sizeof(float));
    if (!a->bias || !a->d_bias) {
        return ATTN_ERROR_MEMORY;
    }
    fill_normal(a->bias, ATTN_F32, a->bias_count, seed + 5, 1);
    a->problem.bias = a->bias;
    a->problem.bias_strides = kinds[c->bias];
    return ATTN_OK;
}

static attn_status make_head_values(const attention_case *c, uint64_t seed, case_arrays *a) {
    const size_t heads = (size_t)c->heads;
    if (c->alibi) {
        a->problem.alibi = a->alibi = take(a, heads, sizeof(float));
    }
    if (c->sinks) {
        a->problem.sinks = a->sinks = take(a, heads, sizeof(float));
        a->d_sinks = take(a, heads, sizeof(float));
    }
    if ((c->alibi && !a->alibi) || (c->sinks && (!a->sinks || !a->d_sinks))) {
        return ATTN_ERROR_MEMORY;
    }
    for (size_t h = 0; h < heads && a->alibi; h++) {
        a->alibi[h] = exp2f(-8.0f * (float)(h + 1) / (float)heads);
    }
    if (a->sinks) {
        fill_normal(a->sinks, ATTN_F32, heads, seed + 6, 1);
    }
    return ATTN_OK;
}

static attn_status make_rotary(const attention_case *c, case_arrays *a) {
    attn_attention_problem *p = &a->problem;
    if (!c->rotary) {
        return ATTN_OK;
    }
    p->rotary = (attn_rotary)c->rotary;
    p->rotary_d = c->d / 4 > 0 ? c->d / 4 * 2 : 2;
    p->rotary_positions = c->queries + c->keys;
    const int64_t half = p->rotary_d / 2;
    a->rotary_cos = take(a, (size_t)(p->rotary_positions * half), sizeof(float));
    a->rotary_sin = take(a, (size_t)(p->rotary_positions * half), sizeof(float));
    if (!a->rotary_cos || !a->rotary_sin) {
        return ATTN_ERROR_MEMORY;
    }
    for (int64_t t = 0; t < p->rotary_positions; t++) {
        for (int64_t i = 0; i < half; i++) {
            const double angle = (double)t * pow(10000, -(double)i / (double)half);
            a->rotary_cos[t * half + i] = (float)cos(angle);
            a->rotary_sin[t * half + i] = (float)sin(angle);
        }
    }
    p->rotary_cos = a->rotary_cos;
    p->rotary_sin = a->rotary_sin;
    return ATTN_OK;
}

/* Elements from the first to the last row's end. */
static size_t span(attn_strides s, int64_t tokens, int64_t heads, int64_t width) {
    return tokens && heads ? (size_t)((tokens - 1) * s.token + (heads - 1) * s.head + width) : 0;
}

static attn_status make_rows(const attention_case *c, uint64_t seed, case_arrays *a) {
    const attn_attention_problem *p = &a->problem;
    const float amplitude = c->amplitude > 0 ? c->amplitude : 1;
    a->rows = (size_t)(a->q_tokens * c->heads);
    a->q_count = span(p->q, a->q_tokens, c->heads, c->d);
    a->k_count = span(p->k, a->k_tokens, c->kv_heads, c->d);
    a->v_count = span(p->v, a->k_tokens, c->kv_heads, c->d_v);
    a->o_count = span(p->o, a->q_tokens, c->heads, c->d_v);
    a->d_o_count = span(p->d_o, a->q_tokens, c->heads, c->d_v);
    a->d_q_count = span(p->d_q, a->q_tokens, c->heads, c->d);
    a->d_k_count = span(p->d_k, a->k_tokens, c->kv_heads, c->d);
    a->d_v_count = span(p->d_v_, a->k_tokens, c->kv_heads, c->d_v);
    a->q = take_rows(a, c, a->q_count);
    a->k = take_rows(a, c, a->k_count);
    a->v = take_rows(a, c, a->v_count);
    a->o = take_rows(a, c, a->o_count);
    a->d_o = take_rows(a, c, a->d_o_count);
    a->d_q = take_rows(a, c, a->d_q_count);
    a->d_k = take_rows(a, c, a->d_k_count);
    a->d_v = take_rows(a, c, a->d_v_count);
    a->log_sum_exp = take(a, a->rows, sizeof(float));
    if (!a->q || !a->k || !a->v || !a->o || !a->d_o || !a->d_q || !a->d_k || !a->d_v || !a->log_sum_exp) {
        return ATTN_ERROR_MEMORY;
    }
    fill_normal(a->q, c->dtype, a->q_count, seed + 10, amplitude);
    fill_normal(a->k, c->dtype, a->k_count, seed + 11, amplitude);
    fill_normal(a->v, c->dtype, a->v_count, seed + 12, 1);
    fill_normal(a->d_o, c->dtype, a->d_o_count, seed + 13, 1);
    return ATTN_OK;
}

attn_status case_fill(const attention_case *c, uint64_t seed, case_arrays *a) {
    attn_attention_problem *p = &a->problem;
    attn_status status;
    memset(a, 0, sizeof *a);
    attn_attention_defaults(p, c->heads, c->kv_heads, c->d, c->d_v);
    if ((status = make_offsets(c, seed, a))) {
        return status;
    }
    set_strides(c, a);
    if (c->packed) {
        attn_attention_packed(p, c->sequences, a->q_offsets, a->k_offsets);
    } else {
        attn_attention_batch(p, c->sequences, c->queries, c->keys);
    }
    p->dtype = c->dtype;
    p->causal = c->causal;
    p->score = c->score;
    p->scale = c->score == ATTN_SCORE_COSINE ? 10.0f : p->scale;
    p->softcap = c->softcap > 0 ? c->softcap : INFINITY;
    p->dropout = c->dropout;
    p->dropout_seed = seed * 77 + 5;
    p->window_left = c->window ? c->left : ATTN_WINDOW_UNLIMITED;
    p->window_right = c->window ? c->right : ATTN_WINDOW_UNLIMITED;
    (void)((status = make_lengths(c, seed, a)) || (status = make_mask(c, seed, a)) ||
           (status = make_bias(c, seed, a)) || (status = make_head_values(c, seed, a)) ||
           (status = make_rotary(c, a)) || (status = make_rows(c, seed, a)));
    return status;
}

void case_free(case_arrays *a) {
    for (int i = 0; i < a->block_count; i++) {
        memory_free(a->blocks[i]);
    }
    memory_free(a->workspace);
    memset(a, 0, sizeof *a);
}

/* --- passes ------------------------------------------------------------------------------- */

attn_status case_workspace(case_arrays *a, attn_attention_pass pass) {
    size_t size;
    attn_status status = attn_attention_workspace(&a->problem, pass, &size);
    if (!status && size > a->workspace_size) {
        memory_free(a->workspace);
        a->workspace_size = 0;
        a->workspace = memory_allocate(size, 1);
        if (!a->workspace) {
            return ATTN_ERROR_MEMORY;
        }
        a->workspace_size = size;
    }
    return status;
}

attn_status case_forward(case_arrays *a) {
    attn_status status = case_workspace(a, ATTN_PASS_FORWARD);
    return status ? status
                  : attn_attention_forward(&a->problem, a->q, a->k, a->v, a->o, a->log_sum_exp,
                                           a->workspace, a->workspace_size);
}

attn_status case_backward(case_arrays *a) {
    attn_status status = case_workspace(a, ATTN_PASS_BACKWARD);
    const attn_attention_gradients g = {a->d_q, a->d_k, a->d_v, a->d_bias, a->d_sinks};
    return status ? status
                  : attn_attention_backward(&a->problem, a->q, a->k, a->v, a->o, a->log_sum_exp,
                                            a->d_o, &g, a->workspace, a->workspace_size);
}
