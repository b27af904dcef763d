/* Made-up parallel text for the tests: sentences of syllables, the target a rule's
 * image of the source. The same text every time. */
#ifndef ATTN_TESTS_SAMPLE_TEXT_H
#define ATTN_TESTS_SAMPLE_TEXT_H

#include <stdlib.h>

#include "base/random.h"
#include "data/text.h"

static inline parallel_text sample_text(size_t pairs) {
    static const char *const source[] = {"ba", "ki", "lo", "mun", "tra", "sel", "\xC3\xA4n", "do", "wu", "pre"};
    static const char *const target[] = {"ga", "ti", "\xC3\xB6r", "nan", "ste", "fol", "in", "\xE4\xB8\xAD", "bu", "vor"};
    size_t room = pairs * 700, used = 0;
    char *bytes = calloc(room + 1, 1);
    parallel_text text = {.pairs = pairs, .lines = pairs};
    text.source = calloc(pairs, sizeof *text.source);
    text.target = calloc(pairs, sizeof *text.target);
    assert_true(bytes && text.source && text.target);
    text.storage[0] = bytes; /* sample_text_free releases it */
    uint64_t index = 0;
    for (size_t i = 0; i < pairs; i++) {
        uint64_t sentence = index;
        uint32_t words = 1 + random_below(11, index++, 9);
        for (int side = 0; side < 2; side++) {
            const char *const *syllables = side ? target : source;
            size_t start = used;
            index = sentence + 1;
            for (uint32_t w = 0; w < words; w++) {
                uint32_t count = 1 + random_below(11, index++, 4);
                for (uint32_t s = 0; s < count; s++)
                    used += (size_t)sprintf(bytes + used, "%s", syllables[random_below(11, index++, 10)]);
                bytes[used++] = w + 1 < words ? ' ' : '.';
            }
            *(side ? &text.target[i] : &text.source[i]) = (text_line){bytes + start, used - start};
        }
        assert_true(used < room);
    }
    return text;
}

static inline void sample_text_free(parallel_text *text) {
    free(text->storage[0]);
    free(text->source);
    free(text->target);
}

#endif
