/* Text from any bytes: refused, or lines of valid UTF-8 without '\n' and NUL. The
 * first byte chooses what is done with invalid UTF-8. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "data/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *bytes, size_t size, invalid_utf8 invalid) {
    text_options options;
    text_options_defaults(&options);
    options.invalid = invalid;
    text_lines text;
    if (text_lines_parse(bytes, size, "text", &options, &text) != ATTN_OK) {
        if (text.lines || text.storage)
            abort();
        return;
    }
    for (size_t i = 0; i < text.count; i++) {
        const char *line = text.lines[i].bytes;
        size_t length = text.lines[i].length, columns = utf8_width(line, length);
        if (!utf8_is_valid(line, length) || memchr(line, '\n', length) || memchr(line, 0, length))
            abort();
        if (!utf8_is_valid(line, utf8_truncate(line, length, length / 2)) ||
            utf8_truncate_width(line, length, columns) != length ||
            utf8_width(line, utf8_truncate_width(line, length, columns / 2)) > columns / 2)
            abort();
    }
    text_lines_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 0)
        check((const char *)data + 1, size - 1, (invalid_utf8)(data[0] % 3));
    return 0;
}
