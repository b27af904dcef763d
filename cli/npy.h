/* NumPy's .npy files: a magic, a version, a Python dictionary {'descr', 'fortran_order',
 * 'shape'} and the elements (NumPy Enhancement Proposal 1). Read: little-endian floats and
 * integers and booleans, C order, at most NPY_DIMENSIONS axes. Written: float32. */
#ifndef ATTN_CLI_NPY_H
#define ATTN_CLI_NPY_H

#include <stddef.h>
#include <stdint.h>

enum { NPY_DIMENSIONS = 8, NPY_SHAPE_TEXT = 200 };

typedef struct npy_array {
    int dimensions;
    int64_t shape[NPY_DIMENSIONS];
    size_t count; /* elements: the product of the shape */
    char kind;    /* 'f', 'i', 'u', 'b' */
    int size;     /* bytes of an element */
    const unsigned char *elements; /* in the bytes that were parsed; any alignment */
    void *owned;                   /* the file's bytes, when it was loaded */
} npy_array;

/* Finds the array in the bytes of a file. 1, or 0 with a sentence in `why`. */
int npy_parse(const unsigned char *bytes, size_t size, npy_array *array, char *why, size_t why_size);

/* Reads a file; 1, or 0 with a sentence in `why`. Release with npy_release. */
int npy_load(const char *path, npy_array *array, char *why, size_t why_size);
void npy_release(npy_array *array);

/* Element i. */
double npy_get(const npy_array *array, size_t i);
/* Of an array that is not of floats, to the last bit. */
int64_t npy_get_integer(const npy_array *array, size_t i);

/* Writes a shape as "[2, 3]" into `text` and returns it. */
const char *npy_shape_text(int dimensions, const int64_t *shape, char text[NPY_SHAPE_TEXT]);

/* Writes float32 beside the file and renames; a symbolic link stays and what it names is replaced; a device
 * or a pipe is written to. 1, or 0 with a sentence. */
int npy_save(const char *path, const float *data, int dimensions, const int64_t *shape, char *why,
             size_t why_size);

/* 1 if both paths name one file, which need not exist. */
int npy_same_file(const char *a, const char *b);

#endif
