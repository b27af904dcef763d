#include "data/idx.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"

enum { TYPE_BYTES = 0x08, HEADER = 4, DIMENSION = 4, CHUNK = 1 << 18 };

static size_t big_endian(const unsigned char *b) {
    return (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
}

attn_status idx_parse(const unsigned char *bytes, size_t size, const char *name, int dimensions, idx_array *array) {
    *array = (idx_array){0};
    if (size < HEADER || bytes[0] != 0 || bytes[1] != 0) {
        return fail(ATTN_ERROR_FORMAT, "%s is not an IDX file: two zero bytes, a type and a number of dimensions were "
                    "expected at its start", name);
    }
    if (bytes[2] != TYPE_BYTES) {
        return fail(ATTN_ERROR_FORMAT, "%s: its elements have type 0x%02x; bytes (0x08) were expected", name, bytes[2]);
    }
    if (bytes[3] != dimensions) {
        return fail(ATTN_ERROR_FORMAT, "%s has %d dimensions; %d were expected", name, bytes[3], dimensions);
    }
    size_t begin = HEADER + DIMENSION * (size_t)dimensions;
    if (size < begin) {
        return fail(ATTN_ERROR_FORMAT, "%s ends within its header, after %zu bytes", name, size);
    }
    array->dimensions = dimensions;
    array->count = 1;
    for (int i = 0; i < dimensions; i++) {
        array->shape[i] = big_endian(bytes + HEADER + DIMENSION * (size_t)i);
        if (!size_multiply(array->count, array->shape[i], &array->count)) {
            return fail(ATTN_ERROR_FORMAT, "%s: the product of its dimensions is too large", name);
        }
    }
    if (array->count != size - begin) {
        return fail(ATTN_ERROR_FORMAT, "%s has %zu bytes of elements; its dimensions say %zu", name, size - begin,
                    array->count);
    }
    array->values = memory_allocate_raw(array->count, 1);
    if (!array->values) {
        return ATTN_ERROR_MEMORY;
    }
    memcpy(array->values, bytes + begin, array->count);
    return ATTN_OK;
}

/* The whole file, unpacked if it is compressed, in *bytes (NULL before). */
static attn_status unpack(const char *path, size_t limit, unsigned char **bytes, size_t *size) {
    gzFile file = gzopen(path, "rbe");
    if (!file) {
        return fail(ATTN_ERROR_FILE, "%s cannot be read: %s", path, strerror(errno));
    }
    attn_status status = ATTN_OK;
    size_t capacity = 0;
    int got = 1;
    while (!status && got > 0) {
        status = memory_grow(bytes, &capacity, *size + CHUNK, 1);
        got = status ? 0 : gzread(file, *bytes + *size, CHUNK);
        *size += got > 0 ? (size_t)got : 0;
        if (*size > limit) {
            status = fail(ATTN_ERROR_FORMAT, "%s unpacks to more than %zu bytes", path, limit);
        }
    }
    int code = Z_OK;
    const char *message = gzerror(file, &code);
    if (!status && (got < 0 || code != Z_OK)) {
        status = code == Z_ERRNO ? fail(ATTN_ERROR_FILE, "%s cannot be read: %s", path, strerror(errno))
                                 : fail(ATTN_ERROR_FORMAT, "%s cannot be unpacked: %s", path, message);
    }
    if (gzclose(file) == Z_BUF_ERROR && !status) {
        status = fail(ATTN_ERROR_FORMAT, "%s ends in the middle of its compressed data", path);
    }
    return status;
}

attn_status idx_read(const char *path, int dimensions, size_t limit, idx_array *array) {
    unsigned char *bytes = NULL;
    size_t size = 0;
    *array = (idx_array){0};
    attn_status status = unpack(path, limit, &bytes, &size);
    status = status ? status : idx_parse(bytes, size, path, dimensions, array);
    memory_free(bytes);
    return status;
}

void idx_release(idx_array *array) {
    memory_free(array->values);
    *array = (idx_array){0};
}
