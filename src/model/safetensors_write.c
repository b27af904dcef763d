/* Writing a safetensors file: the header in one piece, padded with spaces so that
 * the data begin on a multiple of 8, then each tensor's bytes straight from where
 * they lie, through an atomic replacement of the file. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/safetensors.h"

/* {"dtype": ..., "shape": [...], "data_offsets": [begin, end]}, or NULL: out of memory. */
static json_t *describe(const safetensors_tensor *tensor, size_t begin, size_t end) {
    json_t *shape = json_array();
    for (int i = 0; shape && i < tensor->dims; i++) {
        if (json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i]))) {
            json_decref(shape);
            shape = NULL;
        }
    }
    return shape ? json_pack("{s:s, s:o, s:[I,I]}", "dtype", safetensors_dtype_name(tensor->dtype), "shape", shape,
                             "data_offsets", (json_int_t)begin, (json_int_t)end)
                 : NULL;
}

static attn_status add_metadata(const char *path, json_t *header, const safetensors_metadata *metadata, size_t count) {
    json_t *map = json_pack("{s:s}", "format", "pt");
    if (!map || json_object_set_new(header, "__metadata__", map)) {
        return fail(ATTN_ERROR_MEMORY, "out of memory while writing %s", path);
    }
    for (size_t i = 0; i < count; i++) {
        if (json_object_set_new(map, metadata[i].key, json_string(metadata[i].value))) {
            return fail(ATTN_ERROR_ARGUMENT, "cannot write %s: the metadata \"%.200s\" is not UTF-8", path,
                        metadata[i].key);
        }
    }
    return ATTN_OK;
}

static attn_status add_tensors(const char *path, json_t *header, const safetensors_tensor *tensors, size_t count) {
    size_t begin = 0;
    for (size_t i = 0; i < count; i++) {
        const safetensors_tensor *tensor = &tensors[i];
        size_t end = safetensors_dtype_size(tensor->dtype);
        for (int d = 0; d < tensor->dims; d++) {
            if (!size_multiply(end, tensor->shape[d], &end)) {
                return fail(ATTN_ERROR_ARGUMENT, "cannot write %s: tensor \"%s\": the size of its shape overflows", path,
                            tensor->name);
            }
        }
        if (__builtin_add_overflow(begin, end, &end) || end > INT64_MAX) {
            return fail(ATTN_ERROR_ARGUMENT, "cannot write %s: the size of its tensors overflows", path);
        }
        if (json_object_get(header, tensor->name)) {
            return fail(ATTN_ERROR_ARGUMENT, "cannot write %s: the name \"%.200s\" is taken twice", path, tensor->name);
        }
        if (json_object_set_new(header, tensor->name, describe(tensor, begin, end))) {
            return fail(ATTN_ERROR_ARGUMENT, "cannot write %s: tensor \"%.200s\": its name is not UTF-8", path,
                        tensor->name);
        }
        begin = end;
    }
    return ATTN_OK;
}

static attn_status write_all(const char *path, const char *text, const safetensors_tensor *tensors, size_t count) {
    file_writer *writer;
    size_t used = strlen(text);
    uint64_t length = (used + 7) / 8 * 8; /* after the 8 bytes of the length itself */
    attn_status status = file_writer_open(path, &writer);
    if (status) {
        return status;
    }
    status = file_writer_write(writer, &length, sizeof length);
    if (!status) {
        status = file_writer_print(writer, "%s%*s", text, (int)(length - used), "");
    }
    for (size_t i = 0; !status && i < count; i++) {
        size_t bytes = safetensors_elements(&tensors[i]) * safetensors_dtype_size(tensors[i].dtype);
        status = file_writer_write(writer, tensors[i].data, bytes);
    }
    if (status) {
        file_writer_abandon(writer);
        return status;
    }
    return file_writer_commit(writer);
}

attn_status safetensors_save(const char *path, const safetensors_tensor *tensors, size_t count,
                             const safetensors_metadata *metadata, size_t metadata_count) {
    char *text = NULL;
    json_t *header = json_object();
    if (!header) {
        return fail(ATTN_ERROR_MEMORY, "out of memory while writing %s", path);
    }
    attn_status status = add_metadata(path, header, metadata, metadata_count);
    if (!status) {
        status = add_tensors(path, header, tensors, count);
    }
    if (!status) {
        text = json_dumps(header, JSON_COMPACT);
        status = text ? write_all(path, text, tensors, count)
                      : fail(ATTN_ERROR_MEMORY, "out of memory while writing %s", path);
    }
    free(text);
    json_decref(header);
    return status;
}
