/* The safetensors format (https://github.com/huggingface/safetensors): 8 bytes
 * with the header's length N (little-endian), N bytes of JSON, then the data.
 *   {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...,
 *    "__metadata__": {"KEY": "VALUE", ...}}
 * Offsets count from the end of the header; the tensors cover the data without
 * hole or overlap. A file is mapped and its tensors are read where they lie. */
#ifndef ATTN_MODEL_SAFETENSORS_H
#define ATTN_MODEL_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef enum safetensors_dtype {
    SAFETENSORS_F64,
    SAFETENSORS_F32,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_I64,
    SAFETENSORS_I32,
    SAFETENSORS_I16,
    SAFETENSORS_I8,
    SAFETENSORS_U64,
    SAFETENSORS_U32,
    SAFETENSORS_U16,
    SAFETENSORS_U8,
    SAFETENSORS_BOOL
} safetensors_dtype;

const char *safetensors_dtype_name(safetensors_dtype dtype); /* "F32", ... */
size_t safetensors_dtype_size(safetensors_dtype dtype);      /* bytes of an element */

enum { SAFETENSORS_MAX_DIMS = 8 };

/* A tensor of a file, or one to be written. */
typedef struct safetensors_tensor {
    const char *name;
    safetensors_dtype dtype;
    int dims;                            /* 0 (a scalar) .. SAFETENSORS_MAX_DIMS */
    size_t shape[SAFETENSORS_MAX_DIMS];  /* the first dims are used */
    const void *data;                    /* little-endian, perhaps not aligned */
} safetensors_tensor;

size_t safetensors_elements(const safetensors_tensor *tensor); /* product of the shape */

/* One entry of "__metadata__". */
typedef struct safetensors_metadata {
    const char *key;
    const char *value;
} safetensors_metadata;

typedef struct safetensors safetensors;

/* Maps and checks a file: after this every tensor's data lies inside it, its size
 * is that of its shape and dtype, and names are unique. ATTN_ERROR_FILE,
 * ATTN_ERROR_FORMAT, ATTN_ERROR_UNSUPPORTED (dtype, dimensions) or
 * ATTN_ERROR_MEMORY; the sentence names the file and the tensor. */
attn_status safetensors_open(const char *path, safetensors **file);

/* The same over bytes in memory, which must outlive *file; `path` is for the sentences. */
attn_status safetensors_parse(const char *path, const void *bytes, size_t size, safetensors **file);

void safetensors_close(safetensors *file); /* NULL is allowed */

const char *safetensors_path(const safetensors *file);

/* Number of tensors, and the one at index, in the order of their data. Valid until close. */
size_t safetensors_count(const safetensors *file);
const safetensors_tensor *safetensors_at(const safetensors *file, size_t index);

/* The tensor of that name, or NULL. */
const safetensors_tensor *safetensors_find(const safetensors *file, const char *name);

/* The same, with a sentence if it is missing or has another shape than the one expected. */
attn_status safetensors_require(const safetensors *file, const char *name, int dims, const size_t *shape,
                                const safetensors_tensor **tensor);

/* The value of a metadata key, or NULL. */
const char *safetensors_metadata_value(const safetensors *file, const char *key);

/* Writes all elements to out [safetensors_elements(tensor)] as f32. F32, F16 and BF16
 * exactly, F64 rounded to nearest; ATTN_ERROR_UNSUPPORTED for integers. */
attn_status safetensors_to_f32(const safetensors *file, const safetensors_tensor *tensor, float *out);

/* Replaces the file at path atomically by these tensors, in this order. The
 * metadata begins with {"format": "pt"}, without which transformers refuses a
 * file. The data begin on a multiple of 8; put wide element types first if mixed. */
attn_status safetensors_save(const char *path, const safetensors_tensor *tensors, size_t count,
                             const safetensors_metadata *metadata, size_t metadata_count);

/* One value of IEEE binary16 and of bfloat16 as f32 (exact). */
float safetensors_f16_to_f32(uint16_t bits);
float safetensors_bf16_to_f32(uint16_t bits);

#endif
