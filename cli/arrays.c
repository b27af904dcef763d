/* Arrays for the operator's commands; see arrays.h. */
#include "arrays.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void arrays_release(array_set *set) {
    for (int i = 0; i < set->count; i++) {
        free(set->blocks[i]);
    }
    set->count = 0;
}

int arrays_failed(const array_set *set, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)fprintf(stderr, "attn %s: ", set->usage->command);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    return EXIT_FAILED;
}

int arrays_computed(const array_set *set, attn_status status) {
    if (status) {
        (void)command_failed(set->usage);
    }
    return !status;
}

void *arrays_new(array_set *set, size_t count, size_t size) {
    void *block = set->count < ARRAYS_MOST ? calloc(count ? count : 1, size) : NULL;
    if (!block) {
        (void)arrays_failed(set, "out of memory for %zu elements", count);
        return NULL;
    }
    set->blocks[set->count++] = block;
    return block;
}

static uint16_t to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x != x) {
        return (uint16_t)(bits >> 16 | 0x40);
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static float from_bf16(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static int load(array_set *set, const char *path, npy_array *array) {
    char why[4300];
    if (!npy_load(path, array, why, sizeof why)) {
        (void)arrays_failed(set, "%s", why);
        return 0;
    }
    return 1;
}

void *arrays_load(array_set *set, const char *path, int as_bf16, npy_array *shape) {
    npy_array array;
    if (!load(set, path, &array)) {
        return NULL;
    }
    void *data = arrays_new(set, array.count, as_bf16 ? sizeof(uint16_t) : sizeof(float));
    for (size_t i = 0; data && i < array.count; i++) {
        const float x = (float)npy_get(&array, i);
        if (as_bf16) {
            ((uint16_t *)data)[i] = to_bf16(x);
        } else {
            ((float *)data)[i] = x;
        }
    }
    *shape = array;
    shape->elements = NULL;
    shape->owned = NULL;
    npy_release(&array);
    return data;
}

uint8_t *arrays_load_mask(array_set *set, const char *path, npy_array *shape) {
    npy_array array;
    if (!load(set, path, &array)) {
        return NULL;
    }
    uint8_t *mask = arrays_new(set, array.count, sizeof *mask);
    for (size_t i = 0; mask && i < array.count; i++) {
        mask[i] = npy_get(&array, i) != 0;
    }
    *shape = array;
    shape->elements = NULL;
    shape->owned = NULL;
    npy_release(&array);
    return mask;
}

int arrays_check_shape(const array_set *set, const char *path, const npy_array *found, int dimensions,
                       const int64_t *expected) {
    char is[NPY_SHAPE_TEXT], should_be[NPY_SHAPE_TEXT];
    int same = found->dimensions == dimensions;
    for (int i = 0; same && i < dimensions; i++) {
        same = found->shape[i] == expected[i];
    }
    if (!same) {
        (void)arrays_failed(set, "%s is %s, expected %s", path,
                            npy_shape_text(found->dimensions, found->shape, is),
                            npy_shape_text(dimensions, expected, should_be));
    }
    return same;
}

int64_t *arrays_load_indices(array_set *set, const char *path, int64_t *count) {
    npy_array array;
    if (!load(set, path, &array)) {
        return NULL;
    }
    int64_t *data = NULL;
    if (array.dimensions != 1 || array.kind == 'f') {
        char found[NPY_SHAPE_TEXT];
        (void)arrays_failed(set, "%s is %s of %s, expected one axis of integers", path,
                            npy_shape_text(array.dimensions, array.shape, found),
                            array.kind == 'f' ? "floats" : "integers");
    } else if ((data = arrays_new(set, array.count, sizeof *data))) {
        for (size_t i = 0; i < array.count; i++) {
            data[i] = npy_get_integer(&array, i);
        }
        *count = (int64_t)array.count;
    }
    npy_release(&array);
    return data;
}

int arrays_check_outputs(const command_usage *usage, const option_row *rows, const char *const *names) {
    for (int i = 0; names[i]; i++) {
        const char *first = *(const char **)options_find(rows, names[i])->value;
        for (int j = i + 1; first && names[j]; j++) {
            const char *second = *(const char **)options_find(rows, names[j])->value;
            struct stat file;
            const int device =
                second && stat(second, &file) == 0 && !S_ISREG(file.st_mode); /* takes any number */
            if (second && !device && npy_same_file(first, second)) {
                return usage_error(usage, "--%s and --%s both name %s, expected different files", names[i],
                                   names[j], second);
            }
        }
    }
    return 0;
}

int arrays_save(array_set *set, const char *path, const void *data, int is_bf16, int dimensions,
                const int64_t *shape) {
    char why[4300];
    if (!path) {
        return 1;
    }
    const float *values = data;
    if (is_bf16) {
        size_t count = 1;
        for (int i = 0; i < dimensions; i++) {
            count *= (size_t)shape[i];
        }
        float *wide = arrays_new(set, count, sizeof(float));
        for (size_t i = 0; wide && i < count; i++) {
            wide[i] = from_bf16(((const uint16_t *)data)[i]);
        }
        values = wide;
    }
    if (!values) {
        return 0;
    }
    if (!npy_save(path, values, dimensions, shape, why, sizeof why)) {
        (void)arrays_failed(set, "%s", why);
        return 0;
    }
    return 1;
}

/* --- Q, K and V --------------------------------------------------------------------------- */

static int check_shapes(array_set *set, char **names, const array_inputs *in) {
    const npy_array *all[3] = {&in->q_shape, &in->k_shape, &in->v_shape};
    const int n = in->q_shape.dimensions;
    for (int i = 0; i < 3; i++) {
        if (all[i]->dimensions != n || n < 3 || n > 4) {
            return arrays_failed(set, "%s has %d axes, expected [tokens, heads, d] or "
                                 "[batch, tokens, heads, d], the same for all three", names[i],
                                 all[i]->dimensions), 0;
        }
    }
    char q[NPY_SHAPE_TEXT], k[NPY_SHAPE_TEXT], v[NPY_SHAPE_TEXT];
    (void)npy_shape_text(n, in->q_shape.shape, q);
    (void)npy_shape_text(n, in->k_shape.shape, k);
    (void)npy_shape_text(n, in->v_shape.shape, v);
    if (in->q_shape.shape[n - 1] != in->k_shape.shape[n - 1]) {
        return arrays_failed(set, "%s is %s and %s is %s, expected rows as long", names[0], q, names[1], k),
               0;
    }
    if (in->k_shape.shape[n - 2] != in->v_shape.shape[n - 2] ||
        in->k_shape.shape[n - 3] != in->v_shape.shape[n - 3]) {
        return arrays_failed(set, "%s is %s and %s is %s, expected the same tokens and heads", names[1], k,
                             names[2], v),
               0;
    }
    if (n == 4 && (in->q_shape.shape[0] != in->k_shape.shape[0] ||
                   in->q_shape.shape[0] != in->v_shape.shape[0])) {
        return arrays_failed(set, "%s is %s, %s is %s and %s is %s, expected the same batch", names[0], q,
                             names[1], k, names[2], v),
               0;
    }
    return 1;
}

/* 1 if they begin at 0 or later, never fall and end with the tokens. */
static int check_offsets(array_set *set, const char *option, const char *path, const int64_t *offsets,
                         int64_t count, const char *array, int64_t tokens) {
    const int64_t last = offsets[count - 1];
    for (int64_t i = 0; i < count; i++) {
        const int64_t before = i ? offsets[i - 1] : 0;
        if (offsets[i] < before) {
            return arrays_failed(set, "%s %s: element %lld is %lld, expected %lld or more", option, path,
                                 (long long)i, (long long)offsets[i], (long long)before),
                   0;
        }
    }
    if (last != tokens) {
        (void)arrays_failed(set, "%s %s ends at %lld, expected %lld, the tokens of %s", option, path,
                            (long long)last, (long long)tokens, array);
    }
    return last == tokens;
}

static int load_offsets(array_set *set, char **names, const char *q_path, const char *k_path,
                        array_inputs *in) {
    attn_attention_problem *p = &in->problem;
    int64_t q_count = 0, k_count = 0;
    if (in->q_shape.dimensions == 4) {
        char found[NPY_SHAPE_TEXT];
        return arrays_failed(set, "--q-offsets: %s is %s, expected [tokens, heads, d]", names[0],
                             npy_shape_text(4, in->q_shape.shape, found)),
               0;
    }
    const int64_t *q = arrays_load_indices(set, q_path, &q_count);
    const int64_t *k = q ? arrays_load_indices(set, k_path, &k_count) : NULL;
    if (!q || !k) {
        return 0;
    }
    if (q_count < 1) {
        return arrays_failed(set, "--q-offsets %s has 0 offsets, expected at least 1", q_path), 0;
    }
    if (q_count != k_count) {
        return arrays_failed(set, "--q-offsets %s has %lld offsets, --k-offsets %s %lld, expected as many",
                             q_path, (long long)q_count, k_path, (long long)k_count),
               0;
    }
    if (!check_offsets(set, "--q-offsets", q_path, q, q_count, names[0], in->q_tokens) ||
        !check_offsets(set, "--k-offsets", k_path, k, k_count, names[1], in->k_tokens)) {
        return 0;
    }
    p->sequences = q_count - 1;
    p->q_offsets = (attn_indices){.i64 = q};
    p->k_offsets = (attn_indices){.i64 = k};
    in->q_offsets_count = q_count;
    return 1;
}

int arrays_load_inputs(array_set *set, char **names, const char *q_offsets, const char *k_offsets,
                       int bf16, array_inputs *in) {
    memset(in, 0, sizeof *in);
    if (!(in->q = arrays_load(set, names[0], bf16, &in->q_shape)) ||
        !(in->k = arrays_load(set, names[1], bf16, &in->k_shape)) ||
        !(in->v = arrays_load(set, names[2], bf16, &in->v_shape)) || !check_shapes(set, names, in)) {
        return 0;
    }
    const int n = in->q_shape.dimensions;
    const int64_t *q = in->q_shape.shape + n - 3, *k = in->k_shape.shape + n - 3;
    const int64_t batch = n == 4 ? in->q_shape.shape[0] : 1, d_v = in->v_shape.shape[n - 1];
    attn_attention_defaults(&in->problem, q[1], k[1], q[2], d_v);
    attn_attention_batch(&in->problem, batch, q[0], k[0]);
    in->problem.dtype = bf16 ? ATTN_BF16 : ATTN_F32;
    in->q_tokens = batch * q[0];
    in->k_tokens = batch * k[0];
    in->q_count = in->q_shape.count;
    in->k_count = in->k_shape.count;
    in->v_count = in->v_shape.count;
    in->o_count = (size_t)in->q_tokens * (size_t)q[1] * (size_t)d_v;
    if (!q_offsets != !k_offsets) {
        return arrays_failed(set, "--q-offsets and --k-offsets go together"), 0;
    }
    return !q_offsets || load_offsets(set, names, q_offsets, k_offsets, in);
}

int arrays_save_like(array_set *set, const char *path, const void *data, const array_inputs *in,
                     const npy_array *shape) {
    return arrays_save(set, path, data, in->problem.dtype == ATTN_BF16, shape->dimensions, shape->shape);
}

static npy_array output_shape(const array_inputs *in) {
    npy_array shape = in->q_shape;
    shape.shape[shape.dimensions - 1] = in->problem.d_v;
    return shape;
}

void *arrays_load_output_gradient(array_set *set, const char *path, const array_inputs *in) {
    const npy_array expected = output_shape(in);
    npy_array shape;
    void *data = arrays_load(set, path, in->problem.dtype == ATTN_BF16, &shape);
    return data && arrays_check_shape(set, path, &shape, expected.dimensions, expected.shape) ? data : NULL;
}

int arrays_save_output(array_set *set, const char *path, const void *data, const array_inputs *in) {
    const npy_array shape = output_shape(in);
    return arrays_save_like(set, path, data, in, &shape);
}

size_t arrays_weights_count(const array_inputs *in) {
    const attn_attention_problem *p = &in->problem;
    size_t count = 0;
    for (int64_t b = 0; b < p->sequences; b++) {
        const int64_t nq = p->q_offsets.i64 ? p->q_offsets.i64[b + 1] - p->q_offsets.i64[b] : p->queries;
        const int64_t nk = p->k_offsets.i64 ? p->k_offsets.i64[b + 1] - p->k_offsets.i64[b] : p->keys;
        count += (size_t)(p->heads * nq * nk);
    }
    return count;
}

int arrays_save_weights(array_set *set, const char *path, const float *weights, const array_inputs *in) {
    const attn_attention_problem *p = &in->problem;
    const int packed = p->q_offsets.i64 != NULL;
    int64_t shape[4] = {p->sequences, p->heads, p->queries, p->keys};
    if (packed && p->sequences != 1) {
        shape[0] = (int64_t)arrays_weights_count(in);
        return arrays_save(set, path, weights, 0, 1, shape);
    }
    if (packed) {
        shape[2] = in->q_tokens;
        shape[3] = in->k_tokens;
    }
    const int batch = in->q_shape.dimensions == 4;
    return arrays_save(set, path, weights, 0, batch ? 4 : 3, shape + !batch);
}

int arrays_save_log_sum_exp(array_set *set, const char *path, const float *data, const array_inputs *in) {
    const int64_t shape[2] = {in->problem.heads, in->q_tokens};
    return arrays_save(set, path, data, 0, 2, shape);
}
