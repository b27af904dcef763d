/* What `attn attention` and `attn additive` share: named arrays from .npy files, kept until
 * the end and released together, and the shape of a problem read off Q, K and V. */
#ifndef ATTN_CLI_ARRAYS_H
#define ATTN_CLI_ARRAYS_H

#include <attn/attention.h>

#include "npy.h"
#include "options.h"

enum { ARRAYS_MOST = 48 };

typedef struct array_set {
    const command_usage *usage;
    void *blocks[ARRAYS_MOST]; /* everything allocated */
    int count;
} array_set;

void arrays_release(array_set *set);

/* `count` zeroed elements; NULL after a sentence. */
void *arrays_new(array_set *set, size_t count, size_t size);

/* A file as f32 (or, with as_bf16, rounded to bf16); its shape is left in *shape. NULL after a
 * sentence. */
void *arrays_load(array_set *set, const char *path, int as_bf16, npy_array *shape);

/* A file as a mask: 1 where an element is not 0. */
uint8_t *arrays_load_mask(array_set *set, const char *path, npy_array *shape);

/* 1 if a file's shape is the expected one, or 0 after a sentence. */
int arrays_check_shape(const array_set *set, const char *path, const npy_array *found, int dimensions,
                       const int64_t *expected);

/* A file of integers, one axis. */
int64_t *arrays_load_indices(array_set *set, const char *path, int64_t *count);

/* 0, or EXIT_USAGE after a sentence where two of the outputs name one file. `names`: the options of outputs,
 * up to a NULL. */
int arrays_check_outputs(const command_usage *usage, const option_row *rows, const char *const *names);

/* Says a sentence and returns EXIT_FAILED. */
int arrays_failed(const array_set *set, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* 1 where a call of the library succeeded, or 0 after its sentence. */
int arrays_computed(const array_set *set, attn_status status);

/* Writes an array unless path is NULL; 1 or 0 after a sentence. */
int arrays_save(array_set *set, const char *path, const void *data, int is_bf16, int dimensions,
                const int64_t *shape);

/* Q, K, V in the problem's dtype and the problem filled from their shapes: [tokens, heads, d]
 * packed (offsets or one sequence) or [batch, tokens, heads, d]. */
typedef struct array_inputs {
    npy_array q_shape, k_shape, v_shape;
    void *q, *k, *v;
    attn_attention_problem problem;
    int64_t q_tokens, k_tokens, q_offsets_count;
    size_t q_count, k_count, v_count, o_count;
} array_inputs;
int arrays_load_inputs(array_set *set, char **names, const char *q_offsets, const char *k_offsets,
                       int bf16, array_inputs *in);

/* A gradient of the output, with its shape and in the problem's dtype. NULL after a sentence. */
void *arrays_load_output_gradient(array_set *set, const char *path, const array_inputs *in);

/* Saves what has the shape of Q, K, V or, with o, [.., heads, d_v]. */
int arrays_save_output(array_set *set, const char *path, const void *data, const array_inputs *in);
int arrays_save_like(array_set *set, const char *path, const void *data, const array_inputs *in,
                     const npy_array *shape);
/* [batch, heads, queries, keys], [heads, queries, keys] or, of several packed ones, flat. */
size_t arrays_weights_count(const array_inputs *in);
int arrays_save_weights(array_set *set, const char *path, const float *weights, const array_inputs *in);
int arrays_save_log_sum_exp(array_set *set, const char *path, const float *data, const array_inputs *in);

#endif
