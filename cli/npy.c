/* NumPy's .npy files; see npy.h. */
#include "npy.h"

#include <ctype.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_LINKS = 40 }; /* followed from one path, as Linux does */

__attribute__((format(printf, 3, 4))) static int refuse(char *why, size_t size, const char *format,
                                                        ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why, size, format, arguments);
    va_end(arguments);
    return 0;
}

/* The header's text, read left to right. */
typedef struct header_text {
    const char *at, *end;
} header_text;

static void skip_space(header_text *t) {
    while (t->at < t->end && isspace((unsigned char)*t->at)) {
        t->at++;
    }
}

/* 1 if the next character that is no space is c; it is then behind us. */
static int take(header_text *t, char c) {
    skip_space(t);
    if (t->at < t->end && *t->at == c) {
        t->at++;
        return 1;
    }
    return 0;
}

/* A quoted string of at most size - 1 characters without escapes. */
static int take_string(header_text *t, char *string, size_t size) {
    skip_space(t);
    if (t->at == t->end || (*t->at != '\'' && *t->at != '"')) {
        return 0;
    }
    const char quote = *t->at++;
    size_t length = 0;
    while (t->at < t->end && *t->at != quote) {
        if (length + 1 >= size) {
            return 0;
        }
        string[length++] = *t->at++;
    }
    string[length] = 0;
    return t->at < t->end && *t->at++ == quote;
}

static int take_number(header_text *t, int64_t *number) {
    skip_space(t);
    *number = 0;
    const char *start = t->at;
    while (t->at < t->end && *t->at >= '0' && *t->at <= '9') {
        if (__builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, *t->at - '0', number)) {
            return 0;
        }
        t->at++;
    }
    return t->at > start;
}

static int take_word(header_text *t, const char *word) {
    const size_t length = strlen(word);
    skip_space(t);
    if ((size_t)(t->end - t->at) >= length && memcmp(t->at, word, length) == 0) {
        t->at += length;
        return 1;
    }
    return 0;
}

static int take_shape(header_text *t, npy_array *array) {
    array->dimensions = 0;
    if (!take(t, '(')) {
        return 0;
    }
    while (!take(t, ')')) {
        if (array->dimensions == NPY_DIMENSIONS ||
            !take_number(t, &array->shape[array->dimensions])) {
            return 0;
        }
        array->dimensions++;
        if (!take(t, ',')) {
            return take(t, ')');
        }
    }
    return 1;
}

static int set_type(const char *descr, npy_array *array) {
    static const char *const known[] = {"<f4", "<f8", "<i4", "<i8", "<u4", "|u1", "|i1", "|b1"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(descr, known[i]) == 0) {
            array->kind = descr[1];
            array->size = descr[2] - '0';
            return 1;
        }
    }
    return 0;
}

enum { KEY_TYPE, KEY_ORDER, KEY_SHAPE, KEYS };
static const char *const KEY_NAMES[KEYS] = {"descr", "fortran_order", "shape"};

static int take_type(header_text *t, npy_array *array, char *why, size_t why_size) {
    char descr[32];
    if (!take_string(t, descr, sizeof descr)) {
        return refuse(why, why_size, "the element type is not a plain one");
    }
    if (!set_type(descr, array)) {
        return refuse(
            why, why_size,
            "the element type is %s, expected float32, float64, int32, int64, int8, uint32, uint8 or "
            "bool, little-endian",
            descr);
    }
    return 1;
}

static int take_value(header_text *t, int key, npy_array *array, char *why, size_t why_size) {
    if (key == KEY_TYPE) {
        return take_type(t, array, why, why_size);
    }
    if (key == KEY_SHAPE) {
        return take_shape(t, array) ||
               refuse(why, why_size, "the shape is not a tuple of at most %d numbers", NPY_DIMENSIONS);
    }
    if (take_word(t, "True")) {
        return refuse(why, why_size,
                      "the array is in Fortran order, expected C order (numpy.ascontiguousarray)");
    }
    return take_word(t, "False") || refuse(why, why_size, "fortran_order is neither True nor False");
}

static int parse_dictionary(header_text t, npy_array *array, char *why, size_t why_size) {
    int has[KEYS] = {0};
    char name[32];
    if (!take(&t, '{')) {
        return refuse(why, why_size, "the header is not a dictionary");
    }
    while (!take(&t, '}')) {
        if (!take_string(&t, name, sizeof name) || !take(&t, ':')) {
            return refuse(why, why_size, "the header's dictionary is malformed");
        }
        int key = 0;
        while (key < KEYS && strcmp(name, KEY_NAMES[key]) != 0) {
            key++;
        }
        if (key == KEYS) {
            return refuse(why, why_size, "the header has an unknown key");
        }
        if (has[key]) {
            return refuse(why, why_size, "the header has %s twice, expected once", name);
        }
        if (!take_value(&t, key, array, why, why_size)) {
            return 0;
        }
        has[key] = 1;
        if (!take(&t, ',')) {
            if (!take(&t, '}')) {
                return refuse(why, why_size, "the header's dictionary does not end");
            }
            break;
        }
    }
    if (!has[KEY_TYPE] || !has[KEY_ORDER] || !has[KEY_SHAPE]) {
        return refuse(why, why_size, "the header lacks descr, fortran_order or shape");
    }
    return 1;
}

int npy_parse(const unsigned char *bytes, size_t size, npy_array *array, char *why, size_t why_size) {
    static const unsigned char magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    memset(array, 0, sizeof *array);
    if (size < 10 || memcmp(bytes, magic, sizeof magic) != 0) {
        return refuse(why, why_size, "this is not a .npy file");
    }
    const int version = bytes[6];
    if (version < 1 || version > 3) {
        return refuse(why, why_size, "version %d of the format, expected 1 to 3", version);
    }
    const size_t start = version == 1 ? 10 : 12;
    if (size < start) {
        return refuse(why, why_size, "the file ends in its header");
    }
    size_t length = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    if (version > 1) {
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    }
    if (length > size - start) {
        return refuse(why, why_size, "the file ends in its header");
    }
    const header_text text = {(const char *)bytes + start, (const char *)bytes + start + length};
    if (!parse_dictionary(text, array, why, why_size)) {
        return 0;
    }
    array->count = 1;
    for (int i = 0; i < array->dimensions; i++) {
        if (__builtin_mul_overflow(array->count, (size_t)array->shape[i], &array->count)) {
            return refuse(why, why_size, "the shape has more elements than memory");
        }
    }
    /* a zero among the sizes makes the product small, whatever the others are */
    for (int i = 0; i < array->dimensions; i++) {
        if (array->shape[i] > INT32_MAX) {
            return refuse(why, why_size, "an axis of %lld elements", (long long)array->shape[i]);
        }
    }
    size_t need;
    const size_t there = size - start - length;
    if (__builtin_mul_overflow(array->count, (size_t)array->size, &need)) {
        return refuse(why, why_size, "the shape has more elements than memory");
    }
    if (need > there) {
        return refuse(why, why_size, "the file holds %zu bytes of elements, expected %zu by its shape", there,
                      need);
    }
    if (need < there) {
        return refuse(why, why_size, "%zu bytes follow the array's elements", there - need);
    }
    array->elements = bytes + start + length;
    return 1;
}

double npy_get(const npy_array *array, size_t i) {
    const unsigned char *at = array->elements + i * (size_t)array->size;
    union {
        float f4;
        double f8;
        int32_t i4;
        int64_t i8;
        uint32_t u4;
    } x;
    memcpy(&x, at, (size_t)array->size);
    if (array->size == 1) {
        return array->kind == 'i' ? (double)(int8_t)*at : (double)*at;
    }
    if (array->kind == 'f') {
        return array->size == 4 ? (double)x.f4 : x.f8;
    }
    if (array->kind == 'u') {
        return (double)x.u4;
    }
    return array->size == 4 ? (double)x.i4 : (double)x.i8;
}

int64_t npy_get_integer(const npy_array *array, size_t i) {
    int64_t x;
    if (array->kind != 'i' || array->size != 8) {
        return (int64_t)npy_get(array, i);
    }
    memcpy(&x, array->elements + i * sizeof x, sizeof x);
    return x;
}

int npy_load(const char *path, npy_array *array, char *why, size_t why_size) {
    memset(array, 0, sizeof *array);
    FILE *file = fopen(path, "rb");
    if (!file) {
        return refuse(why, why_size, "%s: %s", path, strerror(errno));
    }
    unsigned char *bytes = NULL;
    size_t size = 0, room = 0;
    for (;;) {
        if (size == room) {
            room = room ? room * 2 : 1 << 16;
            unsigned char *larger = realloc(bytes, room);
            if (!larger) {
                free(bytes);
                (void)fclose(file);
                return refuse(why, why_size, "%s: out of memory", path);
            }
            bytes = larger;
        }
        const size_t got = fread(bytes + size, 1, room - size, file);
        size += got;
        if (got == 0) {
            break;
        }
    }
    const int failed = ferror(file);
    (void)fclose(file);
    char reason[200];
    if (failed || !npy_parse(bytes, size, array, reason, sizeof reason)) {
        free(bytes);
        array->elements = NULL;
        return refuse(why, why_size, "%s: %s", path, failed ? "cannot be read" : reason);
    }
    array->owned = bytes;
    return 1;
}

void npy_release(npy_array *array) {
    free(array->owned);
    memset(array, 0, sizeof *array);
}

const char *npy_shape_text(int dimensions, const int64_t *shape, char text[NPY_SHAPE_TEXT]) {
    int used = snprintf(text, NPY_SHAPE_TEXT, "[");
    for (int i = 0; i < dimensions; i++) {
        used += snprintf(text + used, NPY_SHAPE_TEXT - (size_t)used, "%s%lld", i ? ", " : "",
                         (long long)shape[i]);
    }
    (void)snprintf(text + used, NPY_SHAPE_TEXT - (size_t)used, "]");
    return text;
}

/* --- writing ------------------------------------------------------------------------------ */

/* The file that a path names once symbolic links are followed, whether it exists or not; 0 with errno. */
static int follow_links(const char *path, char name[PATH_MAX]) {
    char target[PATH_MAX];
    size_t folder = 0;
    if (snprintf(target, sizeof target, "%s", path) >= (int)sizeof target) {
        errno = ENAMETOOLONG;
        return 0;
    }
    for (int links = 0; links <= MOST_LINKS; links++) {
        if (snprintf(name + folder, PATH_MAX - folder, "%s", target) >= (int)(PATH_MAX - folder)) {
            errno = ENAMETOOLONG;
            return 0;
        }
        const ssize_t length = readlink(name, target, sizeof target - 1);
        if (length < 0) { /* it is no link */
            return 1;
        }
        target[length] = 0;
        const char *slash = strrchr(name, '/');
        folder = slash && target[0] != '/' ? (size_t)(slash + 1 - name) : 0;
    }
    errno = ELOOP;
    return 0;
}

int npy_same_file(const char *a, const char *b) {
    char first[PATH_MAX], second[PATH_MAX];
    struct stat first_folder, second_folder;
    if (!follow_links(a, first) || !follow_links(b, second)) {
        return strcmp(a, b) == 0;
    }
    const char *first_slash = strrchr(first, '/'), *second_slash = strrchr(second, '/');
    if (strcmp(first_slash ? first_slash + 1 : first, second_slash ? second_slash + 1 : second) != 0) {
        return 0;
    }
    return stat(dirname(first), &first_folder) == 0 && stat(dirname(second), &second_folder) == 0 &&
           first_folder.st_dev == second_folder.st_dev && first_folder.st_ino == second_folder.st_ino;
}

static int write_array(FILE *file, const float *data, int dimensions, const int64_t *shape) {
    char header[256];
    size_t count = 1;
    int at = snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < dimensions; i++) {
        at += snprintf(header + at, sizeof header - (size_t)at, "%lld,", (long long)shape[i]);
        count *= (size_t)shape[i];
    }
    at += snprintf(header + at, sizeof header - (size_t)at, "), }");
    while ((10 + at + 1) % 64) { /* the elements begin at a multiple of 64 bytes */
        header[at++] = ' ';
    }
    header[at++] = '\n';
    const unsigned char start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(at & 255),
                                     (unsigned char)(at >> 8)};
    return fwrite(start, 1, sizeof start, file) == sizeof start &&
           fwrite(header, 1, (size_t)at, file) == (size_t)at &&
           fwrite(data, sizeof *data, count, file) == count;
}

int npy_save(const char *path, const float *data, int dimensions, const int64_t *shape, char *why,
             size_t why_size) {
    char name[PATH_MAX] = "", beside[PATH_MAX + 32];
    struct stat there;
    const int itself = stat(path, &there) == 0 && !S_ISREG(there.st_mode); /* a device or a pipe */
    if (!itself && !follow_links(path, name)) {
        return refuse(why, why_size, "%.4000s: %s", path, strerror(errno));
    }
    (void)snprintf(beside, sizeof beside, "%s.%ld.part", name, (long)getpid());
    FILE *file = fopen(itself ? path : beside, "wb");
    if (!file) {
        return refuse(why, why_size, "%.4000s: %s", path, strerror(errno));
    }
    int good = write_array(file, data, dimensions, shape);
    good = fclose(file) == 0 && good;
    if (!good || (!itself && rename(beside, name) != 0)) {
        refuse(why, why_size, "%.4000s: cannot be written: %s", path, strerror(errno));
        if (!itself) {
            (void)unlink(beside);
        }
        return 0;
    }
    return 1;
}
