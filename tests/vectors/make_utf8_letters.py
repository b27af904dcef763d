#!/usr/bin/env python3
"""The ranges of src/base/utf8_letters.c: code points of Unicode's categories L and N.

    python3 tests/vectors/make_utf8_letters.py >src/base/utf8_letters.c
"""
import unicodedata

HEAD = """/* Letters (category L) and numbers (category N) of Unicode %s, as ranges of code points. Made by
 * tests/vectors/make_utf8_letters.py. */
#include <stddef.h>

#include "base/utf8.h"

typedef struct range {
    uint32_t first, last;
} range;
"""
TAIL = """
static int is_within(uint32_t c, const range *ranges, size_t count) {
    size_t low = 0;
    while (low < count) {
        size_t middle = (low + count) / 2;
        if (c > ranges[middle].last) {
            low = middle + 1;
        } else if (c < ranges[middle].first) {
            count = middle;
        } else {
            return 1;
        }
    }
    return 0;
}

int utf8_is_letter(uint32_t c) {
    return is_within(c, LETTERS, sizeof LETTERS / sizeof *LETTERS);
}

int utf8_is_number(uint32_t c) {
    return is_within(c, NUMBERS, sizeof NUMBERS / sizeof *NUMBERS);
}
"""


def ranges(category):
    found = []
    for c in range(0x110000):
        if unicodedata.category(chr(c))[0] == category:
            if found and found[-1][1] == c - 1:
                found[-1][1] = c
            else:
                found.append([c, c])
    return found


print(HEAD % unicodedata.unidata_version, end="")
for name, category in (("LETTERS", "L"), ("NUMBERS", "N")):
    print("\nstatic const range %s[] = {" % name)
    items = ["{0x%X, 0x%X}" % tuple(r) for r in ranges(category)]
    for i in range(0, len(items), 5):
        print("    " + ", ".join(items[i:i + 5]) + ",")
    print("};")
print(TAIL, end="")
