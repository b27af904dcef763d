/* A model file is one protocol-buffers message; fields 3 and 5 (normalizer_spec,
 * denormalizer_spec) hold in field 2 (precompiled_charsmap):
 *   u32 size of the trie in bytes | trie: u32 units | texts, each with a 0 behind it
 * A unit of the trie (Yata's darts-clone):
 *   bit 31 set: a leaf; bits 0..30 are the place of its text
 *   else: bits 0..7 label, bit 8 has a leaf, bit 9 the offset is in blocks of 256,
 *         bits 10..30 offset
 * From unit i the trie goes on at base = i ^ offset: the leaf is at base, the child
 * for byte c at base ^ c. All of it is inside if base | 255 is. */
#include "data/sentencepiece_check.h"

#include <stdint.h>

typedef struct reader {
    const unsigned char *at, *end;
} reader;

static bool read_number(reader *r, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        unsigned char byte = *r->at++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* The next field: its number, and its bytes where it is a length-delimited one.
 * False at the end or where the message is malformed. */
static bool next_field(reader *r, uint64_t *number, reader *content) {
    uint64_t key, size;
    *content = (reader){NULL, NULL};
    if (!read_number(r, &key))
        return false;
    *number = key >> 3;
    switch (key & 7) {
    case 0:
        return read_number(r, &size);
    case 1:
        size = 8;
        break;
    case 2:
        if (!read_number(r, &size))
            return false;
        break;
    case 5:
        size = 4;
        break;
    default:
        return false;
    }
    if (size > (uint64_t)(r->end - r->at))
        return false;
    if ((key & 7) == 2)
        *content = (reader){r->at, r->at + size};
    r->at += size;
    return true;
}

static uint32_t read_u32(const unsigned char *bytes) {
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static bool charsmap_is_safe(reader map) {
    size_t size = (size_t)(map.end - map.at);
    if (size == 0)
        return true;
    if (size < 4)
        return false;
    uint32_t trie_size = read_u32(map.at);
    if (trie_size > size - 4 || trie_size % 4 != 0 || trie_size == 0)
        return false;
    const unsigned char *trie = map.at + 4;
    uint32_t units = trie_size / 4, texts = (uint32_t)(size - 4 - trie_size);
    for (uint32_t i = 0; i < units; i++) {
        uint32_t unit = read_u32(trie + (size_t)i * 4);
        if (unit >> 31 && i > 0) /* unit 0 is the root, whatever it says */
            continue;
        uint32_t base = i ^ ((unit >> 10) << ((unit & 0x200) >> 6));
        if ((base | 0xFF) >= units)
            return false;
        if ((unit & 0x100) && (read_u32(trie + (size_t)base * 4) & 0x7FFFFFFF) >= texts)
            return false;
    }
    return true;
}

bool sentencepiece_tables_are_safe(const char *bytes, size_t size) {
    reader model = {(const unsigned char *)bytes, (const unsigned char *)bytes + size}, spec, map;
    uint64_t number;
    while (next_field(&model, &number, &spec)) {
        if ((number != 3 && number != 5) || !spec.at)
            continue;
        while (next_field(&spec, &number, &map))
            if (number == 2 && map.at && !charsmap_is_safe(map))
                return false;
    }
    return true;
}
