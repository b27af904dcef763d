/* Reading a safetensors file. The header is the part that a stranger writes, so
 * everything in it is checked once, at opening; after that the tensors are plain
 * pointers into the mapping. The rules are the format's own: header of at most
 * 100 MB that begins with '{', no duplicate key, begin <= end inside the data,
 * end - begin = product of the shape * element size, no hole and no overlap. */
#include "model/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are read where they lie: little-endian");

enum { LENGTH_BYTES = 8, MAX_HEADER = 100000000 };

static const struct {
    const char *name;
    size_t size;
} DTYPES[] = {
    [SAFETENSORS_F64] = {"F64", 8},   [SAFETENSORS_F32] = {"F32", 4}, [SAFETENSORS_F16] = {"F16", 2},
    [SAFETENSORS_BF16] = {"BF16", 2}, [SAFETENSORS_I64] = {"I64", 8}, [SAFETENSORS_I32] = {"I32", 4},
    [SAFETENSORS_I16] = {"I16", 2},   [SAFETENSORS_I8] = {"I8", 1},   [SAFETENSORS_U64] = {"U64", 8},
    [SAFETENSORS_U32] = {"U32", 4},   [SAFETENSORS_U16] = {"U16", 2}, [SAFETENSORS_U8] = {"U8", 1},
    [SAFETENSORS_BOOL] = {"BOOL", 1}};

const char *safetensors_dtype_name(safetensors_dtype dtype) {
    return DTYPES[dtype].name;
}

size_t safetensors_dtype_size(safetensors_dtype dtype) {
    return DTYPES[dtype].size;
}

size_t safetensors_elements(const safetensors_tensor *tensor) {
    size_t elements = 1;
    for (int i = 0; i < tensor->dims; i++) {
        elements *= tensor->shape[i]; /* checked when the tensor was made */
    }
    return elements;
}

/* A tensor as the header describes it; begin orders the tensors by their data. */
typedef struct entry {
    safetensors_tensor tensor;
    size_t begin, end;
} entry;

struct safetensors {
    char *path;
    file_map map;                        /* empty when the bytes are the caller's */
    json_t *header;                      /* owns the names and the metadata */
    entry *entries;                      /* [count], in the order of the data */
    const safetensors_tensor **by_name;  /* [count], sorted */
    size_t count;
};

/* Names come from the file: a long one must not push out the rest of the sentence. */
#define IN_TENSOR "%s: tensor \"%.200s\": "

/* --- the header --------------------------------------------------------------- */

static attn_status read_dtype(const char *path, const char *name, const json_t *value, safetensors_dtype *dtype) {
    const char *text = json_string_value(value);
    if (!text) {
        return fail(ATTN_ERROR_FORMAT, IN_TENSOR "\"dtype\" is %s, a string was expected", path, name,
                    value ? "not a string" : "missing");
    }
    for (size_t i = 0; i < sizeof DTYPES / sizeof *DTYPES; i++) {
        if (strcmp(text, DTYPES[i].name) == 0) {
            *dtype = (safetensors_dtype)i;
            return ATTN_OK;
        }
    }
    return fail(ATTN_ERROR_UNSUPPORTED,
                IN_TENSOR "unknown dtype \"%.40s\"; F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8 or "
                "BOOL was expected", path, name, text);
}

/* Element i of an array of sizes. */
static attn_status read_size(const char *path, const char *name, const char *key, const json_t *array, size_t i,
                             size_t *size) {
    const json_t *value = json_array_get(array, i);
    if (!json_is_integer(value)) {
        return fail(ATTN_ERROR_FORMAT, IN_TENSOR "\"%s\" holds something that is not an integer", path, name, key);
    }
    json_int_t number = json_integer_value(value);
    if (number < 0 || (uintmax_t)number > SIZE_MAX) {
        return fail(ATTN_ERROR_FORMAT, IN_TENSOR "\"%s\" holds %lld, which is out of range", path, name, key,
                    (long long)number);
    }
    *size = (size_t)number;
    return ATTN_OK;
}

/* Reads the shape; *bytes is the size of the data that it calls for. */
static attn_status read_shape(const char *path, const json_t *value, safetensors_tensor *tensor, size_t *bytes) {
    const char *name = tensor->name;
    if (!json_is_array(value)) {
        return fail(ATTN_ERROR_FORMAT, IN_TENSOR "\"shape\" is %s, an array of sizes was expected", path, name,
                    value ? "not an array" : "missing");
    }
    size_t dims = json_array_size(value);
    if (dims > SAFETENSORS_MAX_DIMS) {
        return fail(ATTN_ERROR_UNSUPPORTED, IN_TENSOR "%zu dimensions, at most %d were expected", path, name, dims,
                    (int)SAFETENSORS_MAX_DIMS);
    }
    tensor->dims = (int)dims;
    *bytes = safetensors_dtype_size(tensor->dtype);
    for (size_t i = 0; i < dims; i++) {
        attn_status status = read_size(path, name, "shape", value, i, &tensor->shape[i]);
        if (status) {
            return status;
        }
        if (!size_multiply(*bytes, tensor->shape[i], bytes)) {
            return fail(ATTN_ERROR_FORMAT, IN_TENSOR "the size of its shape overflows", path, name);
        }
    }
    return ATTN_OK;
}

static attn_status read_offsets(const char *path, const json_t *value, size_t data_size, size_t expected, entry *e) {
    const char *name = e->tensor.name;
    if (!json_is_array(value) || json_array_size(value) != 2) {
        return fail(ATTN_ERROR_FORMAT, IN_TENSOR "\"data_offsets\" is %s, [begin, end] was expected", path, name,
                    value ? "not an array of two" : "missing");
    }
    attn_status status = read_size(path, name, "data_offsets", value, 0, &e->begin);
    if (!status) {
        status = read_size(path, name, "data_offsets", value, 1, &e->end);
    }
    if (status) {
        return status;
    }
    if (e->begin > e->end || e->end > data_size) {
        return fail(ATTN_ERROR_FORMAT, IN_TENSOR "data_offsets [%zu, %zu] do not lie in the file's %zu bytes of data",
                    path, name, e->begin, e->end, data_size);
    }
    if (e->end - e->begin != expected) {
        return fail(ATTN_ERROR_FORMAT, IN_TENSOR "data_offsets [%zu, %zu] give %zu bytes, shape and dtype %s call for %zu",
                    path, name, e->begin, e->end, e->end - e->begin, safetensors_dtype_name(e->tensor.dtype), expected);
    }
    return ATTN_OK;
}

static attn_status read_metadata(const char *path, json_t *value) {
    const char *key;
    json_t *text;
    if (!json_is_object(value)) {
        return fail(ATTN_ERROR_FORMAT, "%s: \"__metadata__\" is not an object of strings", path);
    }
    json_object_foreach(value, key, text) {
        if (!json_is_string(text)) {
            return fail(ATTN_ERROR_FORMAT, "%s: \"__metadata__\": the value of \"%.200s\" is not a string", path, key);
        }
    }
    return ATTN_OK;
}

static int compare_begin(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    if (x->end != y->end) { /* an empty tensor lies before the one that begins there */
        return x->end < y->end ? -1 : 1;
    }
    return strcmp(x->tensor.name, y->tensor.name);
}

static int compare_name(const void *a, const void *b) {
    const safetensors_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* The tensors, sorted by begin, must cover the data exactly. */
static attn_status check_cover(const safetensors *file, size_t data_size) {
    size_t reached = 0;
    for (size_t i = 0; i < file->count; i++) {
        const entry *e = &file->entries[i];
        if (e->begin != reached) {
            return fail(ATTN_ERROR_FORMAT, IN_TENSOR "its data begin at %zu and %s the tensor before, which ends at %zu",
                        file->path, e->tensor.name, e->begin,
                        e->begin < reached ? "overlap" : "leave a hole behind", reached);
        }
        reached = e->end;
    }
    if (reached != data_size) {
        return fail(ATTN_ERROR_FORMAT, "%s: holds %zu bytes of data, its tensors account for %zu", file->path, data_size,
                    reached);
    }
    return ATTN_OK;
}

static attn_status read_entries(safetensors *file, const unsigned char *data, size_t data_size) {
    const char *name;
    json_t *value;
    size_t members = json_object_size(file->header);
    file->entries = memory_allocate(members, sizeof *file->entries);
    file->by_name = memory_allocate(members, sizeof *file->by_name);
    if (!file->entries || !file->by_name) {
        return ATTN_ERROR_MEMORY;
    }
    json_object_foreach(file->header, name, value) {
        attn_status status;
        size_t bytes = 0;
        if (strcmp(name, "__metadata__") == 0) {
            status = read_metadata(file->path, value);
            if (status) {
                return status;
            }
            continue;
        }
        entry *e = &file->entries[file->count];
        e->tensor.name = name;
        if (!json_is_object(value)) {
            return fail(ATTN_ERROR_FORMAT, IN_TENSOR "its entry in the header is not an object", file->path, name);
        }
        status = read_dtype(file->path, name, json_object_get(value, "dtype"), &e->tensor.dtype);
        if (!status) {
            status = read_shape(file->path, json_object_get(value, "shape"), &e->tensor, &bytes);
        }
        if (!status) {
            status = read_offsets(file->path, json_object_get(value, "data_offsets"), data_size, bytes, e);
        }
        if (status) {
            return status;
        }
        e->tensor.data = data + e->begin;
        file->count++;
    }
    qsort(file->entries, file->count, sizeof *file->entries, compare_begin);
    for (size_t i = 0; i < file->count; i++) {
        file->by_name[i] = &file->entries[i].tensor;
    }
    qsort(file->by_name, file->count, sizeof *file->by_name, compare_name);
    return check_cover(file, data_size);
}

static attn_status read_header(safetensors *file, const unsigned char *bytes, size_t size) {
    uint64_t length;
    json_error_t error;
    if (size < LENGTH_BYTES) {
        return fail(ATTN_ERROR_FORMAT, "%s: holds %zu bytes, too few for a safetensors file", file->path, size);
    }
    memcpy(&length, bytes, sizeof length);
    if (length > MAX_HEADER) {
        return fail(ATTN_ERROR_FORMAT,
                    "%s: not a safetensors file: its header would be %llu bytes long, at most %d were expected",
                    file->path, (unsigned long long)length, (int)MAX_HEADER);
    }
    if (length > size - LENGTH_BYTES) {
        return fail(ATTN_ERROR_FORMAT, "%s: cut short: its header is %llu bytes long, but only %zu follow", file->path,
                    (unsigned long long)length, size - LENGTH_BYTES);
    }
    const char *text = (const char *)bytes + LENGTH_BYTES;
    if (length == 0 || text[0] != '{') {
        return fail(ATTN_ERROR_FORMAT, "%s: not a safetensors file: its header does not begin with {", file->path);
    }
    file->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (!file->header) {
        return fail(ATTN_ERROR_FORMAT, "%s: its header is not valid JSON: %s (byte %d of the header)", file->path,
                    error.text, error.position);
    }
    return read_entries(file, bytes + LENGTH_BYTES + length, size - LENGTH_BYTES - (size_t)length);
}

/* --- opening and looking up ---------------------------------------------------- */

attn_status safetensors_parse(const char *path, const void *bytes, size_t size, safetensors **result) {
    *result = NULL;
    safetensors *file = memory_allocate(1, sizeof *file);
    if (!file) {
        return ATTN_ERROR_MEMORY;
    }
    file->path = memory_copy_string(path);
    attn_status status = file->path ? read_header(file, bytes, size) : ATTN_ERROR_MEMORY;
    if (status) {
        safetensors_close(file);
        return status;
    }
    *result = file;
    return ATTN_OK;
}

attn_status safetensors_open(const char *path, safetensors **result) {
    file_map map;
    *result = NULL;
    attn_status status = file_map_open(path, &map);
    if (status) {
        return status;
    }
    status = safetensors_parse(path, map.bytes, map.size, result);
    if (status) {
        file_map_close(&map);
        return status;
    }
    (*result)->map = map;
    return ATTN_OK;
}

void safetensors_close(safetensors *file) {
    if (!file) {
        return;
    }
    json_decref(file->header);
    memory_free(file->entries);
    memory_free(file->by_name);
    memory_free(file->path);
    file_map_close(&file->map);
    memory_free(file);
}

const char *safetensors_path(const safetensors *file) {
    return file->path;
}

size_t safetensors_count(const safetensors *file) {
    return file->count;
}

const safetensors_tensor *safetensors_at(const safetensors *file, size_t index) {
    return &file->entries[index].tensor;
}

const safetensors_tensor *safetensors_find(const safetensors *file, const char *name) {
    size_t low = 0, high = file->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, file->by_name[middle]->name);
        if (order == 0) {
            return file->by_name[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

static const char *shape_text(int dims, const size_t *shape, char text[256]) {
    size_t used = (size_t)snprintf(text, 256, "[");
    for (int i = 0; i < dims; i++) { /* 8 numbers of at most 20 digits fit */
        used += (size_t)snprintf(text + used, 256 - used, "%s%zu", i ? ", " : "", shape[i]);
    }
    (void)snprintf(text + used, 256 - used, "]");
    return text;
}

attn_status safetensors_require(const safetensors *file, const char *name, int dims, const size_t *shape,
                                const safetensors_tensor **result) {
    *result = NULL;
    const safetensors_tensor *tensor = safetensors_find(file, name);
    if (!tensor) {
        return fail(ATTN_ERROR_FORMAT, "%s: tensor \"%s\" is missing", file->path, name);
    }
    int same = tensor->dims == dims;
    for (int i = 0; same && i < dims; i++) {
        same = tensor->shape[i] == shape[i];
    }
    if (!same) {
        char found[256], expected[256];
        return fail(ATTN_ERROR_FORMAT, IN_TENSOR "its shape is %s, %s was expected", file->path, name,
                    shape_text(tensor->dims, tensor->shape, found), shape_text(dims, shape, expected));
    }
    *result = tensor;
    return ATTN_OK;
}

const char *safetensors_metadata_value(const safetensors *file, const char *key) {
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}

/* --- values -------------------------------------------------------------------- */

static float f32_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float safetensors_bf16_to_f32(uint16_t bits) {
    return f32_of_bits((uint32_t)bits << 16);
}

float safetensors_f16_to_f32(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    uint32_t exponent = bits >> 10 & 0x1fu;
    uint32_t mantissa = bits & 0x3ffu;
    if (exponent == 0) { /* zero and subnormals: mantissa * 2^-24 */
        float value = (float)mantissa * 0x1p-24f;
        return sign ? -value : value;
    }
    if (exponent == 31) { /* infinity and NaN */
        return f32_of_bits(sign | 0x7f800000u | mantissa << 13);
    }
    return f32_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

attn_status safetensors_to_f32(const safetensors *file, const safetensors_tensor *tensor, float *out) {
    const unsigned char *data = tensor->data;
    size_t elements = safetensors_elements(tensor);
    uint16_t half;
    double wide;
    switch (tensor->dtype) {
    case SAFETENSORS_F32:
        if (elements) {
            memcpy(out, data, elements * sizeof *out);
        }
        return ATTN_OK;
    case SAFETENSORS_F16:
        for (size_t i = 0; i < elements; i++) {
            memcpy(&half, data + i * sizeof half, sizeof half);
            out[i] = safetensors_f16_to_f32(half);
        }
        return ATTN_OK;
    case SAFETENSORS_BF16:
        for (size_t i = 0; i < elements; i++) {
            memcpy(&half, data + i * sizeof half, sizeof half);
            out[i] = safetensors_bf16_to_f32(half);
        }
        return ATTN_OK;
    case SAFETENSORS_F64:
        for (size_t i = 0; i < elements; i++) {
            memcpy(&wide, data + i * sizeof wide, sizeof wide);
            out[i] = (float)wide;
        }
        return ATTN_OK;
    default:
        return fail(ATTN_ERROR_UNSUPPORTED, IN_TENSOR "its dtype is %s, F32, F16, BF16 or F64 was expected", file->path,
                    tensor->name, safetensors_dtype_name(tensor->dtype));
    }
}
