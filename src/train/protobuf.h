/* Protocol Buffers, the writing half: a message is its fields one after the other, each a
 * key (field number << 3 | wire type) and a value (protobuf.dev, "Encoding"). A message
 * inside another is a field of bytes, so it is finished before it goes in. Field numbers
 * come from the .proto file of the format that is written. */
#ifndef ATTN_TRAIN_PROTOBUF_H
#define ATTN_TRAIN_PROTOBUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A message being written; {0} is the empty one. After a failure (memory) further fields
 * are dropped and status keeps it, so that it is looked at once, at the end. */
typedef struct protobuf {
    unsigned char *bytes;
    size_t size, capacity;
    attn_status status;
} protobuf;

void protobuf_integer(protobuf *message, int field, uint64_t value); /* int32, int64, bool, enum; not sint */
void protobuf_float(protobuf *message, int field, float value);
void protobuf_double(protobuf *message, int field, double value);
void protobuf_bytes(protobuf *message, int field, const void *bytes, size_t size);
/* As the format asks, always valid UTF-8: what is not becomes U+FFFD. */
void protobuf_string(protobuf *message, int field, const char *text);
/* Puts the inner message in and releases it. */
void protobuf_message(protobuf *message, int field, protobuf *inner);

/* Bytes without a key: for a record's frame around messages. */
void protobuf_append(protobuf *message, const void *bytes, size_t size);

void protobuf_release(protobuf *message); /* leaves {0} */

#endif
