/* An IDX array from any bytes: refused, or as many values as its shape says. The first
 * byte is the number of dimensions that is asked for. */
#include <stdint.h>
#include <stdlib.h>

#include "data/idx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    idx_array array;
    int dimensions = 1 + data[0] % IDX_MOST_DIMENSIONS;
    if (idx_parse(data + 1, size - 1, "array", dimensions, &array) != ATTN_OK) {
        if (array.values) {
            abort();
        }
        return 0;
    }
    size_t count = 1;
    for (int i = 0; i < array.dimensions; i++) {
        count *= array.shape[i];
    }
    unsigned sum = 0;
    for (size_t i = 0; i < array.count; i++) {
        sum += array.values[i];
    }
    if (count != array.count || sum > 255 * count) {
        abort();
    }
    idx_release(&array);
    return 0;
}
