/* The wire format's four shapes of value, of which these are written: 0 a varint (seven
 * bits a byte, low ones first, the top bit set on all but the last), 1 eight bytes,
 * 2 a length and bytes, 5 four bytes; all little-endian. */
#include "train/protobuf.h"

#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

enum { VARINT = 0, EIGHT_BYTES = 1, LENGTH_AND_BYTES = 2, FOUR_BYTES = 5, LONGEST_VARINT = 10 };

void protobuf_append(protobuf *message, const void *bytes, size_t size) {
    size_t needed;
    if (message->status || size == 0) {
        return;
    }
    if (__builtin_add_overflow(message->size, size, &needed)) {
        message->status = fail(ATTN_ERROR_MEMORY, "a message of the event file is too large");
        return;
    }
    message->status = memory_grow(&message->bytes, &message->capacity, needed, 1);
    if (!message->status) {
        memcpy(message->bytes + message->size, bytes, size);
        message->size = needed;
    }
}

static void append_varint(protobuf *message, uint64_t value) {
    unsigned char bytes[LONGEST_VARINT];
    size_t size = 0;
    for (; value > 127; value >>= 7) {
        bytes[size++] = (unsigned char)(value & 127) | 128;
    }
    bytes[size++] = (unsigned char)value;
    protobuf_append(message, bytes, size);
}

static void append_key(protobuf *message, int field, int wire_type) {
    append_varint(message, (uint64_t)field << 3 | (uint64_t)wire_type);
}

static void append_little_endian(protobuf *message, uint64_t value, size_t size) {
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)(value >> (8 * i));
    }
    protobuf_append(message, bytes, size);
}

void protobuf_integer(protobuf *message, int field, uint64_t value) {
    append_key(message, field, VARINT);
    append_varint(message, value);
}

void protobuf_float(protobuf *message, int field, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    append_key(message, field, FOUR_BYTES);
    append_little_endian(message, bits, sizeof bits);
}

void protobuf_double(protobuf *message, int field, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    append_key(message, field, EIGHT_BYTES);
    append_little_endian(message, bits, sizeof bits);
}

void protobuf_bytes(protobuf *message, int field, const void *bytes, size_t size) {
    append_key(message, field, LENGTH_AND_BYTES);
    append_varint(message, size);
    protobuf_append(message, bytes, size);
}

void protobuf_string(protobuf *message, int field, const char *text) {
    char *repaired = NULL;
    size_t size = 0;
    attn_status status = utf8_repair(text, strlen(text), &repaired, &size, NULL);
    if (!status) {
        protobuf_bytes(message, field, repaired, size);
    } else if (!message->status) {
        message->status = status;
    }
    memory_free(repaired);
}

void protobuf_message(protobuf *message, int field, protobuf *inner) {
    if (inner->status && !message->status) {
        message->status = inner->status;
    }
    protobuf_bytes(message, field, inner->bytes, inner->size);
    protobuf_release(inner);
}

void protobuf_release(protobuf *message) {
    memory_free(message->bytes);
    *message = (protobuf){0};
}
