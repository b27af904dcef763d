/* int8 weights, one scale for each output channel, i.e. each row of a matrix [out, in]: written
 * and read. A row of zeros has scale 0; a matrix of zeros alone is refused, for no model
 * that learned anything has one. */
#include "model/folder_int8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "tensor/product.h"

attn_status folder_is_quantized(const char *directory, int *quantized) {
    safetensors *file = NULL;
    char *path = file_join(directory, FOLDER_WEIGHTS);
    attn_status status = path ? safetensors_open(path, &file) : ATTN_ERROR_MEMORY;
    *quantized = 0;
    for (size_t i = 0; !status && i < safetensors_count(file); i++) {
        *quantized |= safetensors_at(file, i)->dtype == SAFETENSORS_I8;
    }
    safetensors_close(file);
    memory_free(path);
    return status;
}

static char *scale_name(const char *name) {
    size_t size = strlen(name) + sizeof FOLDER_SCALE;
    char *full = memory_allocate_raw(size, 1);
    if (full) {
        (void)snprintf(full, size, "%s" FOLDER_SCALE, name);
    }
    return full;
}

int folder_is_scale(const safetensors *file, const char *name) {
    size_t length = strlen(name), end = sizeof FOLDER_SCALE - 1;
    if (length <= end || strcmp(name + length - end, FOLDER_SCALE) != 0) {
        return 0;
    }
    char *matrix = memory_copy_bytes(name, length - end);
    const safetensors_tensor *stored = matrix ? safetensors_find(file, matrix) : NULL;
    memory_free(matrix);
    return stored && stored->dtype == SAFETENSORS_I8;
}

attn_status folder_read_int8(const safetensors *file, const safetensors_tensor *stored, float *values) {
    const safetensors_tensor *found = NULL;
    if (stored->dims != 2) {
        return fail(ATTN_ERROR_FORMAT, "%s: tensor \"%s\" is I8 with %d dimensions, 2 were expected", safetensors_path(file),
                    stored->name, stored->dims);
    }
    const size_t rows = stored->shape[0], columns = stored->shape[1];
    char *name = scale_name(stored->name);
    float *scales = memory_allocate(rows, sizeof *scales);
    attn_status status = name && scales ? safetensors_require(file, name, 1, &rows, &found) : ATTN_ERROR_MEMORY;
    status = status ? status : safetensors_to_f32(file, found, scales);
    for (size_t r = 0; r < rows && !status; r++) {
        const signed char *q = (const signed char *)stored->data + r * columns;
        if (!(scales[r] >= 0 && isfinite(scales[r] * 127))) {
            status = fail(ATTN_ERROR_NUMERIC, "%s: tensor \"%s\": element %zu is %g, a finite number of at least 0 was "
                          "expected", safetensors_path(file), name, r, (double)scales[r]);
        }
        for (size_t i = 0; i < columns && !status; i++) {
            if (scales[r] == 0 && q[i] != 0) {
                status = fail(ATTN_ERROR_NUMERIC, "%s: tensor \"%s\": element %zu is 0, but row %zu of the matrix is not",
                              safetensors_path(file), name, r, r);
            }
            values[r * columns + i] = scales[r] * (float)q[i];
        }
    }
    memory_free(scales);
    memory_free(name);
    return status;
}

/* --- writing ------------------------------------------------------------------- */

static int is_matrix(const folder_tensor *tensor) {
    return tensor->dims == 2 && tensor->shape[0] > 1;
}

static attn_status quantize(const folder_tensor *tensor, signed char *q, float *scales) {
    const size_t rows = tensor->shape[0], columns = tensor->shape[1];
    float most = 0;
    for (size_t r = 0; r < rows; r++) {
        if (!product_quantize_row(tensor->values + r * columns, (int64_t)columns, q + r * columns, &scales[r])) {
            return fail(ATTN_ERROR_NUMERIC, "tensor \"%s\": the scale of row %zu would be %g; a finite number, and above 0 "
                        "where the row is not 0, was expected", tensor->name, r, (double)scales[r]);
        }
        most = scales[r] > most ? scales[r] : most;
    }
    return most > 0 ? ATTN_OK
                    : fail(ATTN_ERROR_NUMERIC, "tensor \"%s\" would collapse: all its weights, and so all its scales, are 0",
                           tensor->name);
}

/* What is to be saved: first all F32, then all I8, as the format wants it. */
typedef struct stored_list {
    safetensors_tensor *tensors;
    void **owned; /* names, codes and scales of the matrices */
    size_t count, owned_count;
} stored_list;

static safetensors_tensor describe(const folder_tensor *tensor, const char *name, safetensors_dtype dtype, int dims,
                                   const void *data) {
    safetensors_tensor stored = {.name = name, .dtype = dtype, .dims = dims, .data = data};
    memcpy(stored.shape, tensor->shape, sizeof stored.shape);
    return stored;
}

static attn_status add_matrix(stored_list *list, size_t matrices_from, size_t *matrices, const folder_tensor *tensor) {
    char *name = scale_name(tensor->name);
    signed char *q = memory_allocate(tensor->shape[0], tensor->shape[1]);
    float *scales = memory_allocate(tensor->shape[0], sizeof *scales);
    list->owned[list->owned_count++] = name;
    list->owned[list->owned_count++] = q;
    list->owned[list->owned_count++] = scales;
    if (!name || !q || !scales) {
        return ATTN_ERROR_MEMORY;
    }
    list->tensors[list->count++] = describe(tensor, name, SAFETENSORS_F32, 1, scales);
    list->tensors[matrices_from + (*matrices)++] = describe(tensor, tensor->name, SAFETENSORS_I8, 2, q);
    return quantize(tensor, q, scales);
}

attn_status folder_write_quantized(const char *directory, const folder_tensor *tensors, size_t count,
                                   const safetensors_metadata *metadata, size_t metadata_count) {
    stored_list list = {memory_allocate(2 * count, sizeof *list.tensors), memory_allocate(3 * count, sizeof *list.owned), 0, 0};
    char *path = file_join(directory, FOLDER_WEIGHTS);
    attn_status status = path && list.tensors && list.owned ? ATTN_OK : ATTN_ERROR_MEMORY;
    size_t matrices = 0;
    for (size_t i = 0; i < count && !status; i++) { /* count places: a vector or a matrix's scales each */
        if (is_matrix(&tensors[i])) {
            status = add_matrix(&list, count, &matrices, &tensors[i]);
        } else {
            list.tensors[list.count++] = describe(&tensors[i], tensors[i].name, SAFETENSORS_F32, tensors[i].dims,
                                                  tensors[i].values);
        }
    }
    if (!status) {
        status = safetensors_save(path, list.tensors, count + matrices, metadata, metadata_count);
    }
    for (size_t i = 0; i < list.owned_count; i++) {
        memory_free(list.owned[i]);
    }
    memory_free(list.tensors);
    memory_free(list.owned);
    memory_free(path);
    return status;
}
