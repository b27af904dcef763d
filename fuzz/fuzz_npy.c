/* .npy files from any bytes: refused with a sentence, or an array whose every element can be
 * read. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../cli/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    npy_array array;
    char why[200] = "";
    double sum = 0;
    if (!npy_parse(data, size, &array, why, sizeof why)) {
        if (!why[0])
            abort();
        return 0;
    }
    for (size_t i = 0; i < array.count; i++)
        sum += npy_get(&array, i);
    if (array.elements + array.count * (size_t)array.size != data + size)
        abort();
    return sum > 1e300 && 0;
}
