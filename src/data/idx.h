/* IDX: the format of the MNIST files (LeCun, Cortes, Burges, "The MNIST database", file
 * formats): two zero bytes, the element's type, the number of dimensions, each dimension
 * in four bytes, highest first, then the elements. Plain or compressed with gzip. */
#ifndef ATTN_DATA_IDX_H
#define ATTN_DATA_IDX_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { IDX_MOST_DIMENSIONS = 4 };

/* Bytes (type 0x08) are what pictures and labels are; the other types are refused. */
typedef struct idx_array {
    int dimensions;
    size_t shape[IDX_MOST_DIMENSIONS];
    size_t count;          /* the product of the shape */
    unsigned char *values; /* [count] */
} idx_array;

/* ATTN_ERROR_FILE where it cannot be read; ATTN_ERROR_FORMAT for anything that is not a
 * whole IDX file of bytes with `dimensions` dimensions (the sentence says what was
 * found). A compressed file may unpack to at most `limit` bytes. Release with
 * idx_release. */
attn_status idx_read(const char *path, int dimensions, size_t limit, idx_array *array);

/* The same from unpacked bytes; `name` begins the sentence of an error. */
attn_status idx_parse(const unsigned char *bytes, size_t size, const char *name, int dimensions, idx_array *array);

void idx_release(idx_array *array);

#endif
