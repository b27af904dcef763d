/* HTML of any bytes: cut into segments and put together again, with links between words of any kind. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "../tests/data/html_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *wrong = size > 0 ? html_check((const char *)data + 1, size - 1, data[0]) : NULL;
    if (wrong) {
        (void)fprintf(stderr, "%s\n", wrong);
        abort();
    }
    return 0;
}
