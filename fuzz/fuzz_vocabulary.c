/* vocab.json from any bytes: refused, or a vocabulary whose pieces all find themselves. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/vocabulary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    vocabulary v;
    if (vocabulary_parse((const char *)data, size, "vocab.json", &v) != ATTN_OK)
        return 0;
    for (size_t i = 0; i < v.size; i++) {
        text_line piece = vocabulary_piece(&v, i);
        if (vocabulary_find(&v, piece.bytes, piece.length) != (int32_t)i)
            abort();
    }
    if (v.size == 0 || vocabulary_find(&v, (const char *)data, size) >= 0)
        abort(); /* the whole file is never one of its own pieces */
    vocabulary_release(&v);
    return 0;
}
