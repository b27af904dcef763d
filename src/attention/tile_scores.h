/* Scores become weights, and their gradients: a part of tile_kernels.h; see tile.h for what the
 * kernels mean. */
#ifndef ATTN_ATTENTION_TILE_SCORES_H
#define ATTN_ATTENTION_TILE_SCORES_H

#include <float.h>
#include <math.h>

#include "attention/tile.h"
#include "attention/vector.h"

#define LOG2_E 1.44269504f

#define TANH_NEAR 0.65f
#define MOST_CAP 256.0f

enum { WEIGHED = VECTOR == 16 ? 4 : 2 }; /* vectors whose exponentials are made together */

/* tanh(x) = x + x^3 p(x^2) for sizes below TANH_NEAR: relative error 6e-9. The terms, highest first. */
static const float tanh_terms[] = {-5.528634414e-03f, 2.048331685e-02f, -5.369296670e-02f,
                                   1.333089918e-01f,  -3.333326280e-01f, 1.0f};

INLINE vec tanh_near(vec x) {
    vec z = x * x, p = vec_set(tanh_terms[0]);
    for (int t = 1; t < 5; t++) {
        p = p * z + tanh_terms[t];
    }
    return x + x * z * p;
}

/* tanh: beyond the polynomial 1 - 2 / (e^2x + 1), which is left out where no lane needs it. */
INLINE vec vec_tanh(vec x) {
    vec near = tanh_near(x);
    vec size = vec_abs(x);
    ivec is_near = size < vec_set(TANH_NEAR);
    if (vec_all_below(size, TANH_NEAR)) {
        return near;
    }
    vec far = 1.0f - 2.0f / (vec_exp2(vec_min(vec_set(20.0f), size) * (2 * LOG2_E)) + 1.0f);
    far = (vec)((ivec)far | ((ivec)x & ivec_set(INT32_MIN)));
    return vec_select(is_near, near, far);
}

/* Lanes of the vector at `column` that the row may see. */
INLINE ivec seen(const score_row *row, int column) {
    ivec key = ivec_iota() + column;
    return (key >= row->low) & (key < row->high);
}

/* What changes scores: nothing, a bias alone (of adjacent keys), a slope alone, a soft cap alone, or
 * anything. */
enum { NOT_MODIFIED, BIASED, SLOPED, CAPPED, MODIFIED };

INLINE int modification(const score_rule *rule, const score_row *row) {
    if (!rule->modified) {
        return NOT_MODIFIED;
    }
    if (row->mask || (row->slope != 0.0f && row->bias)) {
        return MODIFIED;
    }
    if (row->slope != 0.0f) {
        return rule->softcap == INFINITY ? SLOPED : MODIFIED;
    }
    if (row->bias) {
        return rule->softcap == INFINITY && rule->bias_stride == 1 ? BIASED : MODIFIED;
    }
    return rule->softcap > 1e-30f && rule->softcap < 1e30f ? CAPPED : MODIFIED;
}

/* x scale + added; -inf hides even a score that is no number. */
INLINE vec add_bias(vec x, float scale, vec added) {
#if VECTOR == 16
    const __mmask16 kept = _mm512_cmp_ps_mask((__m512)added, _mm512_set1_ps(-INFINITY), _CMP_NEQ_UQ);
    return (vec)_mm512_mask3_fmadd_ps((__m512)x, _mm512_set1_ps(scale), (__m512)added, kept);
#else
    return vec_select(added == vec_set(-INFINITY), added, x * scale + added);
#endif
}

/* What a bare product is multiplied with under a soft cap: tanh's argument. */
INLINE float cap_factor(const score_rule *rule) {
    const float factor = rule->scale * rule->softcap_inverse;
    return factor > FLT_MAX ? FLT_MAX : factor < -FLT_MAX ? -FLT_MAX : factor; /* no call for each row */
}

/* The polynomial's terms for bare products x and scores in log 2: cap tanh(factor x) log2(e) = x q(x^2).
 * The last is 0 where there is no such thing: no soft cap, one whose last digits would differ from tanh's
 * too much, or powers that leave the range of floats. */
INLINE void cap_terms(score_rule *rule) {
    const float factor = cap_factor(rule), cap = rule->softcap * LOG2_E * factor;
    float power = 1.0f;
    for (int t = 5; t >= 0; t--, power *= factor * factor) {
        rule->cap_terms[t] = tanh_terms[t] * cap * power;
    }
    if (!(rule->softcap <= MOST_CAP && fabsf(factor) > 1e-3f && fabsf(factor) < 1e3f && fabsf(cap) > 1e-10f &&
          fabsf(cap) < 1e10f)) {
        rule->cap_terms[5] = 0;
    }
}

/* Natural scores of the vector at `column` from bare products. *slope: the soft cap's derivative.
 * `edge`: the vector may reach beyond what the row sees. */
INLINE vec modified(vec s, const score_row *row, const score_rule *rule, int column, const int edge,
                    vec *slope, const int kind) {
    const int lanes = edge ? smaller(row->high - column, VECTOR) : VECTOR;
    *slope = vec_set(1.0f);
    if (kind == BIASED) {
        const float *bias = row->bias + column;
        return add_bias(s, rule->scale,
                        lanes == VECTOR ? vec_load(bias) : vec_load_part(bias, larger(lanes, 0)));
    }
    if (kind == CAPPED) {
        const vec t = vec_tanh(s * cap_factor(rule));
        *slope = 1.0f - t * t;
        return t * rule->softcap;
    }
    s *= rule->scale;
    if (kind == SLOPED) {
        const vec away = row->distance - (__builtin_convertvector(ivec_iota(), vec) + (float)column);
        return s - row->slope * vec_abs(away);
    }
    if (rule->softcap < INFINITY) {
        vec t = vec_tanh(s * rule->softcap_inverse);
        s = t * rule->softcap;
        *slope = 1.0f - t * t;
    }
    if (row->slope != 0.0f) {
        vec away = row->distance - (__builtin_convertvector(ivec_iota(), vec) + (float)column);
        s -= row->slope * vec_abs(away);
    }
    if (row->bias) {
        const float *bias = row->bias + column * rule->bias_stride;
        vec added;
        if (rule->bias_stride == 1) {
            added = lanes == VECTOR ? vec_load(bias) : vec_load_part(bias, larger(lanes, 0));
        } else if (rule->bias_stride == 0) {
            added = vec_set(*bias);
        } else {
            float b[VECTOR] = {0};
            for (int i = 0; i < lanes; i++) {
                b[i] = bias[i * rule->bias_stride];
            }
            added = vec_load(b);
        }
        /* -inf hides even a score that is no number */
        s = vec_select(added == vec_set(-INFINITY), added, s + added);
    }
    if (row->mask) {
        const uint8_t *mask = row->mask + column * rule->mask_stride;
        vec may;
        if (rule->mask_stride == 1 && lanes == VECTOR) {
            may = vec_load_i8((const int8_t *)mask);
        } else {
            int8_t some[VECTOR] = {0};
            for (int i = 0; i < lanes; i++) {
                some[i] = mask[i * rule->mask_stride] != 0;
            }
            may = vec_load_i8(some);
        }
        s = vec_select(may != 0.0f, s, vec_set(-INFINITY));
    }
    return s;
}

/* Lanes kept by dropout, of the keys key .. key + VECTOR - 1; key a multiple of VECTOR.
 * *bits is the hash, which two vectors of 16 keys share: it is made again unless this is
 * the second of them and not the `first` vector of a row. */
INLINE ivec kept(dropout_row keys, int64_t key, uint32_t threshold, const int first, uvec *bits) {
    if (VECTOR != 16 || first || !(key & 16)) {
        uvec x = (uvec)ivec_iota() + (uint32_t)((key >> 5) * 16 + (key & 15));
        x = x * 0x9E3779B1u + keys.first;
        x = (x ^ (x >> 16)) * 0x21F0AAADu + keys.second;
        x = (x ^ (x >> 15)) * 0x735A2D97u;
        *bits = x ^ (x >> 15);
    }
    const uvec half = (key & 16) ? *bits >> 16 : *bits & 0xffffu;
    return (ivec)half >= (int32_t)threshold;
}

/* What the row does not see of low .. high becomes -inf. */
INLINE void hide_rest(const int low, const int high, const score_row *row, float *s) {
    const int whole_low = round_up(row->low), whole_high = round_down(row->high);
    for (int c = low; c < smaller(whole_low, high); c += VECTOR) {
        vec_store(s + c, vec_select(seen(row, c), vec_load(s + c), vec_set(-INFINITY)));
    }
    for (int c = larger(low, whole_high); c < high; c += VECTOR) {
        vec_store(s + c, vec_select(seen(row, c), vec_load(s + c), vec_set(-INFINITY)));
    }
}

/* Scores from .. to of a row in place of products, -inf where hidden; the largest ones, lane by lane.
 * `edge`: some may lie outside what the row sees. */
INLINE vec modify(const int from, const int to, const int edge, const score_row *row, const score_rule *rule,
                  const int kind, float *s, vec most) {
#pragma GCC unroll 4
    for (int c = from; c < to; c += VECTOR) {
        vec slope, x = modified(vec_load(s + c), row, rule, c, edge, &slope, kind);
        if (edge) {
            x = vec_select(seen(row, c), x, vec_set(-INFINITY));
        }
        most = vec_max(most, x);
        vec_store(s + c, x);
    }
    return most;
}

INLINE vec modify_row(const int low, const int high, const score_row *row, const score_rule *rule,
                      const int kind, float *s) {
    const int from = smaller(larger(low, round_up(row->low)), high);
    const int to = larger(from, smaller(round_down(row->high), high));
    vec most = modify(low, from, 1, row, rule, kind, s, vec_set(-INFINITY));
    most = modify(from, to, 0, row, rule, kind, s, most);
    return modify(to, high, 1, row, rule, kind, s, most);
}

/* Takes a block's largest score into the row's maximum; what weights are relative to from now on.
 * The output is rescaled only when the maximum grows by more than a factor of 2^8 in the
 * weights; until then they are just larger than 1 (FlashAttention-4). */
INLINE float raise_maximum(float largest, const int is_modified, float *maximum, float *sum, float *output,
                           int columns) {
    const float before = *maximum, room = is_modified ? 8.0f / LOG2_E : 8.0f;
    if (largest > before + room || (before == -INFINITY && largest > before)) {
        float factor = before - largest;
        factor = before == -INFINITY ? 0.0f : exp2f(is_modified ? factor * LOG2_E : factor);
        *sum *= factor;
        *maximum = largest;
        if (before != -INFINITY) {
            for (int c = 0; c < columns; c += VECTOR) {
                vec_store(output + c, vec_load(output + c) * factor);
            }
        }
    }
    return *maximum == -INFINITY ? 0.0f : *maximum;
}

/* raise_maximum() by the largest lane. A block that stays within its room needs no more than to be found so.
 */
INLINE float raise_lanes(vec most, const int is_modified, float *maximum, float *sum, float *output,
                         int columns) {
    const float room = is_modified ? 8.0f / LOG2_E : 8.0f;
    if (*maximum != -INFINITY && vec_all_below(most, *maximum + room)) {
        return *maximum;
    }
    return raise_maximum(vec_largest(most), is_modified, maximum, sum, output, columns);
}

/* The largest of bare products in the unit of the maximum is taken into it: what weights are relative to. */
INLINE float raise_plain(const int low, const int high, float unit, const float *s, float *maximum,
                         float *sum, float *output, int columns) {
    vec most = vec_load(s + low);
    for (int c = low + VECTOR; c < high; c += VECTOR) {
        most = vec_max(most, vec_load(s + c));
    }
    return raise_lanes(most * unit, 0, maximum, sum, output, columns);
}

/* The vectors from low to high in which the row sees something. How a row is computed hangs on these alone:
 * the tile's other rows may see more, and which rows those are must not reach the bits. */
INLINE int own_low(const int low, const score_row *row) {
    return larger(low, round_down(row->low));
}
INLINE int own_high(const int high, const score_row *row) {
    return smaller(high, round_up(row->high));
}

/* Weights of what the row does not see of low .. high. */
INLINE void clear_weights(const int low, const int high, float *s, uint16_t *rounded) {
    for (int c = low; c < high; c += VECTOR) {
        if (rounded) {
            vec_store_bf16(rounded + c, vec_set(0.0f));
        } else {
            vec_store(s + c, vec_set(0.0f));
        }
    }
}

/* The same under a soft cap alone, which keeps the order of scores. *weighs: what weigh_row() is to do,
 * CAPPED from the products, as long as all of them are near enough for tanh's polynomial, or MODIFIED
 * from the scores, which are made here. */
INLINE float raise_capped(const int low, const int high, const score_row *row, const score_rule *rule, float *s,
                          float *maximum, float *sum, float *output, int columns, int *weighs) {
    const float factor = cap_factor(rule), cap = rule->softcap;
    vec most = vec_set(-INFINITY), least = vec_set(INFINITY);
    hide_rest(low, high, row, s);
    for (int c = low; c < high; c += VECTOR) {
        const vec x = vec_load(s + c);
        most = vec_max(most, x);
        least = vec_min(least, x);
    }
    if (own_low(low, row) > low || own_high(high, row) < high) {
        least = vec_set(INFINITY);
        for (int c = own_low(low, row); c < own_high(high, row); c += VECTOR) {
            least = vec_min(least, vec_load(s + c));
        }
    }
    const vec one = most * factor, other = least * factor, size = vec_max(vec_abs(one), vec_abs(other));
    most = vec_max(one, other);
    *weighs = rule->cap_terms[5] != 0.0f && vec_all_below(size, TANH_NEAR) ? CAPPED : MODIFIED;
    if (*weighs == CAPPED && *maximum != -INFINITY &&
        vec_all_below(vec_max(most, vec_set(0.0f)) * cap, *maximum + 8.0f / LOG2_E)) {
        return *maximum; /* tanh(x) is at most x for x >= 0 */
    }
    if (*weighs == MODIFIED) {
        return raise_lanes(modify_row(low, high, row, rule, CAPPED, s), 1, maximum, sum, output, columns);
    }
    return raise_maximum(tanh_near(vec_set(vec_largest(most)))[0] * cap, 1, maximum, sum, output, columns);
}

/* Products whose unit is not positive become those of a positive one, which is returned. */
INLINE float straighten(const int low, const int high, float unit, float *s) {
    for (int c = low; c < high && !(unit > 0); c += VECTOR) {
        vec_store(s + c, vec_load(s + c) * (unit < 0 ? -1.0f : unit));
    }
    return unit > 0 ? unit : unit < 0 ? -unit : 1.0f;
}

/* A fused difference to a maximum beyond this keeps what rounding took from the maximum, which is worth
 * powers of two there: then the products, too, are rounded as it was. Returns what is left of the unit. */
#define LARGE_EXPONENT 16777216.0f

INLINE float round_products(const int low, const int high, float unit, float maximum, float *s) {
    if (!(fabsf(maximum) > LARGE_EXPONENT)) {
        return unit;
    }
    for (int c = low; c < high; c += VECTOR) {
        vec_store(s + c, vec_load(s + c) * unit);
    }
    return 1.0f;
}

/* Weights in bf16, where any are wanted. */
INLINE uint16_t *rounded_at(uint16_t *rounded, int64_t at) {
    return rounded ? rounded + at : NULL;
}

/* A few vectors of weights, from products (also under a soft cap with its polynomial) or modified scores;
 * unit and base are those of softmax_row(). */
INLINE vec weigh_vectors(const int count, const int kind, const int drops, float unit, float base,
                         const score_row *row, const score_rule *rule, int64_t key, uvec *bits, float *s,
                         uint16_t *rounded, vec total) {
    vec x[WEIGHED];
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
        x[i] = vec_load(s + i * VECTOR);
        if (kind != CAPPED) {
            x[i] = kind == NOT_MODIFIED ? x[i] * unit - base : (x[i] - base) * unit;
        }
    }
    if (kind == CAPPED) {
        vec p[WEIGHED];
#pragma GCC unroll 6
        for (int t = 0; t < 6; t++) {
#pragma GCC unroll 4
            for (int i = 0; i < count; i++) {
                p[i] = t ? p[i] * (x[i] * x[i]) + rule->cap_terms[t] : vec_set(rule->cap_terms[t]);
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < count; i++) {
            x[i] = x[i] * p[i] - base;
        }
    }
    vec_exp2_each(count, x);
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
        total += x[i];
        if (drops) {
            const ivec keep = kept(row->keys, key + i * VECTOR, rule->drop_below, i == 0, bits);
            x[i] = vec_select(keep, x[i], vec_set(0.0f));
        }
        if (rounded) {
            vec_store_bf16(rounded + i * VECTOR, x[i]);
        } else {
            vec_store(s + i * VECTOR, x[i]);
        }
    }
    return total;
}

/* Scores become weights; returns their sum before dropout. */
INLINE float weigh_row(const int low, const int high, const int kind, const int drops, float unit,
                       float base, const score_row *row, const score_rule *rule, int64_t first_key, float *s,
                       uint16_t *rounded) {
    vec total = {0};
    uvec bits = {0};
    int c = low;
    for (; c + WEIGHED * VECTOR <= high; c += WEIGHED * VECTOR) {
        total = weigh_vectors(WEIGHED, kind, drops, unit, base, row, rule, first_key + c, &bits, s + c,
                              rounded_at(rounded, c), total);
    }
    for (; c < high; c += VECTOR) {
        total = weigh_vectors(1, kind, drops, unit, base, row, rule, first_key + c, &bits, s + c,
                              rounded_at(rounded, c), total);
    }
    return vec_sum(total);
}

INLINE float weigh_kind(const int low, const int high, const int kind, float unit, float base, const score_row *row,
                        const score_rule *rule, int64_t first_key, float *s, uint16_t *rounded) {
    return rule->drop_below ? weigh_row(low, high, kind, 1, unit, base, row, rule, first_key, s, rounded)
                            : weigh_row(low, high, kind, 0, unit, base, row, rule, first_key, s, rounded);
}

/* rounded: where the weights go in bf16 instead, NULL: they stay where the scores are. */
INLINE void softmax_row(const int low, const int high, const score_row *row, const score_rule *rule,
                        const int kind, int64_t first_key, float *s, uint16_t *rounded, float *maximum,
                        float *sum, float *output, int columns) {
    int weighs = kind == NOT_MODIFIED ? NOT_MODIFIED : MODIFIED;
    float unit = LOG2_E, base;
    if (kind == NOT_MODIFIED) {
        unit = straighten(low, high, rule->scale * LOG2_E, s);
        hide_rest(low, high, row, s);
        base = raise_plain(low, high, unit, s, maximum, sum, output, columns);
        unit = round_products(low, high, unit, base, s);
    } else if (kind == CAPPED) {
        base = raise_capped(low, high, row, rule, s, maximum, sum, output, columns, &weighs);
    } else {
        base = raise_lanes(modify_row(low, high, row, rule, kind, s), 1, maximum, sum, output, columns);
    }
    if (weighs == NOT_MODIFIED) {
        *sum += weigh_kind(low, high, NOT_MODIFIED, unit, base, row, rule, first_key, s, rounded);
    } else if (weighs == CAPPED) {
        const int from = own_low(low, row), to = own_high(high, row);
        clear_weights(low, from, s, rounded);
        *sum += weigh_kind(from, to, CAPPED, unit, base * LOG2_E, row, rule, first_key, s, rounded);
        clear_weights(to, high, s, rounded);
    } else {
        *sum += weigh_kind(low, high, MODIFIED, unit, base, row, rule, first_key, s, rounded);
    }
}

/* Runs of rows of one kind. Functions of their own, so that rows without modifications keep the
 * registers; where there are few fields to look at, in copies that no store of a score can reach. */
static __attribute__((noinline)) void softmax_modified(const int low, const int high, int count,
                                                       const score_row *rows, const score_rule *rule,
                                                       int64_t first_key, float *scores, int64_t ld,
                                                       uint16_t *rounded, float *maximum, float *sum,
                                                       float *output, int64_t ldo, int columns) {
    for (int r = 0; r < count; r++) {
        softmax_row(low, high, rows + r, rule, MODIFIED, first_key, scores + r * ld,
                    rounded_at(rounded, r * ld), maximum + r, sum + r, output + r * ldo, columns);
    }
}

static __attribute__((noinline)) void softmax_simple(const int low, const int high, int count,
                                                     const score_row *rows, const score_rule *rule,
                                                     int64_t first_key, float *scores, int64_t ld,
                                                     uint16_t *rounded, float *maximum, float *sum,
                                                     float *output, int64_t ldo, int columns) {
    const score_rule own_rule = *rule;
    for (int r = 0; r < count; r++) {
        const score_row row = rows[r];
        if (row.slope != 0.0f) {
            softmax_row(low, high, &row, &own_rule, SLOPED, first_key, scores + r * ld,
                        rounded_at(rounded, r * ld), maximum + r, sum + r, output + r * ldo, columns);
        } else if (row.bias) {
            softmax_row(low, high, &row, &own_rule, BIASED, first_key, scores + r * ld,
                        rounded_at(rounded, r * ld), maximum + r, sum + r, output + r * ldo, columns);
        } else {
            softmax_row(low, high, &row, &own_rule, CAPPED, first_key, scores + r * ld,
                        rounded_at(rounded, r * ld), maximum + r, sum + r, output + r * ldo, columns);
        }
    }
}

static void softmax(const row_tile *tiles, int tiles_count, const score_row *rows, const score_rule *rule,
                    int64_t first_key, float *scores, int64_t ld, uint16_t *rounded, float *maximum,
                    float *sum, float *output, int64_t ldo, int columns) {
    score_rule own_rule = *rule; /* which no store of a score can reach */
    if (rule->softcap < INFINITY) {
        cap_terms(&own_rule);
    }
    for (int t = 0; t < tiles_count; t++) {
        const int low = round_down(tiles[t].low), high = round_up(tiles[t].high);
        const int end = low < high ? tiles[t].first + tiles[t].count : 0;
        for (int r = tiles[t].first, count = 1; r < end; r += count, count = 1) {
            float *s = scores + r * ld, *o = output + r * ldo;
            uint16_t *to = rounded_at(rounded, r * ld);
            const int kind = modification(rule, rows + r);
            while (kind != NOT_MODIFIED && r + count < end && modification(rule, rows + r + count) == kind) {
                count++;
            }
            if (kind == NOT_MODIFIED) {
                softmax_row(low, high, rows + r, &own_rule, NOT_MODIFIED, first_key, s, to, maximum + r,
                            sum + r, o, columns);
            } else if (kind == MODIFIED) {
                softmax_modified(low, high, count, rows + r, rule, first_key, s, ld, to, maximum + r, sum + r,
                                 o, ldo, columns);
            } else {
                softmax_simple(low, high, count, rows + r, &own_rule, first_key, s, ld, to, maximum + r,
                               sum + r, o, ldo, columns);
            }
        }
    }
}

/* p x; 0 where p is 0, whatever x: hidden values may be anything. */
INLINE vec weighted(vec p, vec x) {
#if VECTOR == 16
    const __mmask16 some = _mm512_cmp_ps_mask((__m512)p, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    return (vec)_mm512_mask_mul_ps((__m512)p, some, (__m512)p, (__m512)x);
#else
    return vec_select(p == 0.0f, p, p * x);
#endif
}

/* Adds a vector of gradients of scores to those of their biases. */
INLINE void add_to_bias(const score_row *row, int column, vec d, float *d_bias, int64_t stride, const int edge) {
    if (stride == 1 && (!edge || column + VECTOR <= round_down(row->high))) {
        vec_store(d_bias + column, vec_load(d_bias + column) + d);
        return;
    }
    float each[VECTOR];
    vec_store(each, d);
    for (int i = larger(0, row->low - column); i < smaller(VECTOR, row->high - column); i++) {
        d_bias[(column + i) * stride] += each[i];
    }
}

/* Weights of the vector at `column` from products x and the log-sum-exp; bare products have a unit.
 * Gradients and what corrects a row's weights both begin here: they must be rounded alike. */
INLINE vec weight_vector(vec x, float unit, const score_row *row, const score_rule *rule, int column,
                         const int edge, vec *slope, const int kind, float log_sum_exp) {
    if (kind == NOT_MODIFIED) {
        return vec_exp2(x * unit - log_sum_exp);
    }
    x = vec_rounded(modified(x, row, rule, column, edge, slope, kind));
    return vec_exp2((x - log_sum_exp) * LOG2_E);
}

/* `edge`: some of low .. high may lie outside what the row sees. */
INLINE void gradient_vectors(const int low, const int high, const int edge, const int drops,
                             const score_row *row, const score_rule *rule, const int kind, int64_t first_key,
                             float *s, float *g, float log_sum_exp, float factor, float delta, float *d_bias,
                             int64_t d_bias_stride) {
    const int whole_low = round_up(row->low), whole_high = round_down(row->high);
    uvec bits = {0};
    for (int c = low; c < high; c += VECTOR) {
        vec slope;
        vec p = weight_vector(vec_load(s + c), rule->scale * LOG2_E, row, rule, c, edge, &slope, kind,
                              log_sum_exp) *
                factor;
        vec product = vec_load(g + c);
        vec keeps = p;
        if (drops) {
            ivec keep = kept(row->keys, first_key + c, rule->drop_below, c == low, &bits);
            product = vec_select(keep, product * rule->keep_scale, vec_set(0.0f));
            keeps = vec_select(keep, p, vec_set(0.0f));
        }
        vec d = kind ? weighted(p, product - delta) : p * (product - delta);
        if (edge && (c < whole_low || c >= whole_high)) {
            ivec inside = seen(row, c);
            keeps = vec_select(inside, keeps, vec_set(0.0f));
            d = vec_select(inside, d, vec_set(0.0f));
        }
        vec_store(s + c, keeps);
        if (kind && d_bias) {
            add_to_bias(row, c, d, d_bias, d_bias_stride, edge);
        }
        vec_store(g + c, kind ? d * slope : d);
    }
}

INLINE void gradient_row(const int low, const int high, const score_row *row, const score_rule *rule,
                         const int kind, int64_t first_key, float *s, float *g, float log_sum_exp,
                         float factor, float delta, float *d_bias, int64_t d_bias_stride) {
    if (rule->drop_below) {
        gradient_vectors(low, high, 1, 1, row, rule, kind, first_key, s, g, log_sum_exp, factor, delta,
                         d_bias, d_bias_stride);
    } else if (round_up(row->low) > low || round_down(row->high) < high) {
        gradient_vectors(low, high, 1, 0, row, rule, kind, first_key, s, g, log_sum_exp, factor, delta,
                         d_bias, d_bias_stride);
    } else {
        gradient_vectors(low, high, 0, 0, row, rule, kind, first_key, s, g, log_sum_exp, factor, delta,
                         d_bias, d_bias_stride);
    }
}

/* A tile's rows. As in softmax(), functions of their own and copies. */
static __attribute__((noinline)) void gradient_modified(const row_tile *tile, const int low, const int high,
                                                        const score_row *rows, const score_rule *rule,
                                                        int64_t first_key, float *scores, float *products,
                                                        int64_t ld, const float *log_sum_exp,
                                                        const float *factor, const float *delta,
                                                        float *const *d_bias, int64_t d_bias_stride) {
    const score_rule own_rule = *rule;
    for (int r = tile->first; r < tile->first + tile->count; r++) {
        const score_row row = rows[r];
        float *s = scores + r * ld, *g = products + r * ld, *d = d_bias && !row.alone ? d_bias[r] : NULL;
#define KIND(kind, bias)                                                                                     \
    case kind:                                                                                               \
        gradient_row(low, high, &row, &own_rule, kind, first_key, s, g, log_sum_exp[r], factor[r], delta[r], \
                     bias, d_bias_stride);                                                                   \
        break;
        switch (modification(&own_rule, &row)) {
            KIND(BIASED, d)
            KIND(SLOPED, NULL)
            KIND(CAPPED, NULL)
            KIND(MODIFIED, d)
        }
#undef KIND
    }
}

static void gradient(const row_tile *tiles, int tiles_count, const score_row *rows, const score_rule *rule,
                     int64_t first_key, float *scores, float *products, int64_t ld, const float *log_sum_exp,
                     const float *factor, const float *delta, float *const *d_bias, int64_t d_bias_stride) {
    const score_rule own_rule = *rule;
    for (int t = 0; t < tiles_count; t++) {
        const int low = round_down(tiles[t].low), high = round_up(tiles[t].high);
        const int first = tiles[t].first, end = first + tiles[t].count;
        if (own_rule.modified) {
            gradient_modified(tiles + t, low, high, rows, rule, first_key, scores, products, ld, log_sum_exp,
                              factor, delta, d_bias, d_bias_stride);
        } else {
            for (int r = first; r < end; r++) {
                gradient_row(low, high, rows + r, &own_rule, NOT_MODIFIED, first_key, scores + r * ld,
                             products + r * ld, log_sum_exp[r], factor[r], delta[r], NULL, 0);
            }
        }
        for (int r = first; r < end; r++) {
            for (int c = low; rows[r].alone && c < high; c += VECTOR) { /* not a number stays one */
                vec_store(products + r * ld + c, vec_load(products + r * ld + c) * 0.0f);
            }
        }
    }
}

INLINE void weights_row(const int low, const int high, const score_row *row, const score_rule *rule,
                        const int kind, float *s, float log_sum_exp) {
    const float bare = rule->scale * LOG2_E;
    const float unit = kind == NOT_MODIFIED ? round_products(low, high, bare, log_sum_exp, s) : bare;
    for (int c = low; c < high; c += VECTOR) {
        vec slope;
        const vec p = weight_vector(vec_load(s + c), unit, row, rule, c, 1, &slope, kind, log_sum_exp);
        vec_store(s + c, vec_select(seen(row, c), p, vec_set(0.0f)));
    }
}

static void weights(const row_tile *tiles, int tiles_count, const score_row *rows, const score_rule *rule,
                    float *scores, int64_t ld, const float *log_sum_exp) {
    for (int t = 0; t < tiles_count; t++) {
        const int low = round_down(tiles[t].low), high = round_up(tiles[t].high);
        for (int r = tiles[t].first; r < tiles[t].first + tiles[t].count; r++) {
            float *s = scores + r * ld;
#define KIND(kind)                                                                                           \
    case kind:                                                                                               \
        weights_row(low, high, rows + r, rule, kind, s, log_sum_exp[r]);                                     \
        break;
            switch (modification(rule, rows + r)) {
                KIND(NOT_MODIFIED)
                KIND(BIASED)
                KIND(SLOPED)
                KIND(CAPPED)
                KIND(MODIFIED)
            }
#undef KIND
        }
    }
}

#endif
