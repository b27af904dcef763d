/* Masks, biases and what is given per head for the operator's commands; see masks.h. */
#include "masks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* Strides of an array that is broadcast over [sequences, heads, queries, keys]. */
static int broadcast(const array_set *set, const char *path, const npy_array *a,
                     const attn_attention_problem *p, attn_score_strides *strides) {
    int64_t step[4] = {0}, size[4], run = 1;
    const int packed = p->q_offsets.i64 != NULL;
    const int most = packed && p->sequences > 1 ? 3 : 4;
    if (a->dimensions > most) {
        return arrays_failed(set, "%s has %d axes, expected at most %d", path, a->dimensions, most), 0;
    }
    size[0] = p->sequences;
    size[1] = p->heads;
    size[2] = p->queries;
    size[3] = p->keys;
    for (int i = 3, from = a->dimensions - 1; from >= 0; i--, from--) {
        /* packed sequences differ in length: the axis must hold the longest */
        int64_t need = size[i];
        for (int64_t b = 0; packed && i >= 2 && b < p->sequences; b++) {
            const int64_t *offsets = i == 2 ? p->q_offsets.i64 : p->k_offsets.i64;
            const int64_t tokens = offsets[b + 1] - offsets[b];
            need = b == 0 || tokens > need ? tokens : need;
        }
        if (a->shape[from] != 1 && (packed && i >= 2 ? a->shape[from] < need : a->shape[from] != need)) {
            return arrays_failed(set, "axis %d of %s is %lld, expected 1 or %lld", from, path,
                                 (long long)a->shape[from], (long long)need), 0;
        }
        step[i] = a->shape[from] == 1 ? 0 : run;
        run *= a->shape[from];
    }
    *strides = (attn_score_strides){step[0], step[1], step[2], step[3]};
    return 1;
}

/* The digits at *text as a count; *text is then behind them. 0 where there are none or too many. */
static int take_count(const char **text, int64_t *count) {
    if (**text < '0' || **text > '9') {
        return 0;
    }
    char *end;
    errno = 0;
    *count = strtoll(*text, &end, 10);
    *text = end;
    return errno == 0;
}

int masks_parse_window(const array_set *set, const char *text, attn_attention_problem *p) {
    const char *at = text;
    if (!text ||
        (take_count(&at, &p->window_left) && *at++ == ',' && take_count(&at, &p->window_right) && !*at)) {
        return 1;
    }
    (void)usage_error(set->usage,
                      "--window is \"%.100s\", expected LEFT,RIGHT: two whole numbers from 0 to %" PRId64,
                      text, INT64_MAX);
    return 0;
}

/* Per-head values: [heads]. */
static const float *load_heads(array_set *set, const char *path, const attn_attention_problem *p) {
    npy_array shape;
    const float *values = arrays_load(set, path, 0, &shape);
    return values && arrays_check_shape(set, path, &shape, 1, &p->heads) ? values : NULL;
}

static int load_key_lengths(array_set *set, const char *path, attn_attention_problem *p) {
    int64_t count;
    const int64_t *lengths = arrays_load_indices(set, path, &count);
    if (lengths && count != p->sequences) {
        return arrays_failed(set, "%s has %lld lengths, expected one for each of %lld sequences", path,
                             (long long)count, (long long)p->sequences), 0;
    }
    p->key_lengths.i64 = lengths;
    return lengths != NULL;
}

int masks_load(array_set *set, const mask_settings *s, attn_attention_problem *p, npy_array *bias_shape) {
    npy_array shape;
    if (s->mask) {
        const uint8_t *mask = arrays_load_mask(set, s->mask, &shape);
        if (!mask || !broadcast(set, s->mask, &shape, p, &p->mask_strides)) {
            return 0;
        }
        p->mask = mask;
    }
    if (s->bias && (!(p->bias = arrays_load(set, s->bias, 0, bias_shape)) ||
                    !broadcast(set, s->bias, bias_shape, p, &p->bias_strides))) {
        return 0;
    }
    return (!s->key_lengths || load_key_lengths(set, s->key_lengths, p)) &&
           (!s->alibi || (p->alibi = load_heads(set, s->alibi, p))) &&
           (!s->sinks || (p->sinks = load_heads(set, s->sinks, p)));
}
