/* Event files read back, strictly and with nothing of the writer's: frames, checksums
 * (CRC-32C bit by bit) and the fields of the protocol buffers. */
#ifndef ATTN_TESTS_EVENT_READER_H
#define ATTN_TESTS_EVENT_READER_H

#include <dirent.h>
#include <stdlib.h>

#include "test.h"

#include "base/file.h"

typedef struct field {
    int number, type;           /* type: the wire's */
    uint64_t value;             /* of types 0, 1, 5 */
    const unsigned char *bytes; /* of type 2 */
    size_t size;
} field;

static inline uint32_t plain_crc32c(const unsigned char *bytes, size_t size) {
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
        }
    }
    return ~crc;
}

static inline uint64_t little_endian(const unsigned char *bytes, size_t size) {
    uint64_t value = 0;
    for (size_t i = size; i-- > 0;) {
        value = value << 8 | bytes[i];
    }
    return value;
}

static inline void assert_masked_crc(const unsigned char *bytes, size_t size, const unsigned char *stored) {
    uint32_t rotated = (uint32_t)(little_endian(stored, 4) - 0xa282ead8u);
    assert_int_equal(rotated << 15 | rotated >> 17, plain_crc32c(bytes, size));
}

/* The record at *at of the file; 0 at its end. Anything but whole records fails. */
static inline int next_record(const char *file, size_t file_size, size_t *at, field *event) {
    const unsigned char *bytes = (const unsigned char *)file + *at;
    size_t left = file_size - *at;
    if (left == 0) {
        return 0;
    }
    assert_true(left >= 16);
    assert_masked_crc(bytes, 8, bytes + 8);
    event->size = (size_t)little_endian(bytes, 8);
    assert_true(event->size <= left - 16);
    event->bytes = bytes + 12;
    assert_masked_crc(event->bytes, event->size, event->bytes + event->size);
    *at += event->size + 16;
    return 1;
}

static inline uint64_t read_varint(const field *message, size_t *at) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(*at < message->size && shift < 64);
        unsigned char byte = message->bytes[(*at)++];
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            return value;
        }
    }
}

/* The field at *at of the message; 0 at its end. */
static inline int next_field(const field *message, size_t *at, field *f) {
    if (*at == message->size) {
        return 0;
    }
    uint64_t key = read_varint(message, at);
    *f = (field){.number = (int)(key >> 3), .type = (int)(key & 7)};
    assert_true(f->type == 0 || f->type == 1 || f->type == 2 || f->type == 5);
    if (f->type == 0) {
        f->value = read_varint(message, at);
        return 1;
    }
    f->size = f->type == 1 ? 8 : f->type == 5 ? 4 : (size_t)read_varint(message, at);
    assert_true(f->size <= message->size - *at);
    f->bytes = message->bytes + *at;
    f->value = f->type == 2 ? 0 : little_endian(f->bytes, f->size);
    *at += f->size;
    return 1;
}

/* The field found by these numbers, one message inside the other (0 ends the list); of
 * several equal ones the first. Returns 0 where there is none. */
static inline int find_field(const field *message, const int *path, field *found) {
    field inside = *message;
    for (; *path; path++) {
        size_t at = 0;
        int there = 0;
        while (!there && next_field(&inside, &at, found)) {
            there = found->number == *path;
        }
        if (!there) {
            return 0;
        }
        inside = *found;
    }
    return 1;
}

#define FIELD(message, found, ...) find_field(message, (const int[]){__VA_ARGS__, 0}, found)

static inline int field_is(const field *f, const char *text) {
    return f->size == strlen(text) && memcmp(f->bytes, text, f->size) == 0;
}

/* The n-th event file of the folder by name, in a buffer that the next call overwrites;
 * NULL if there are fewer. */
static inline const char *event_file(const char *folder, int n) {
    static char path[1024];
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort), files = 0;
    const char *found = NULL;
    for (int i = 0; i < count; i++) {
        if (strncmp(entries[i]->d_name, "events.out.tfevents.", 20) == 0 && files++ == n) {
            (void)snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
            found = path;
        }
        free(entries[i]);
    }
    if (count >= 0) {
        free(entries);
    }
    return found;
}

#endif
