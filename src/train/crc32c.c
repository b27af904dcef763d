/* CRC-32C, four bits at a step: event files are small, and sixteen constants can be read. */
#include "train/crc32c.h"

/* The register after the four bits i: i shifted out four times, the polynomial put in
 * for each 1. */
static const uint32_t STEPS[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
                                   0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                   0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};

uint32_t crc32c(const void *bytes, size_t size) {
    const unsigned char *b = bytes;
    uint32_t crc = ~(uint32_t)0;
    for (size_t i = 0; i < size; i++) {
        crc ^= b[i];
        crc = STEPS[crc & 15] ^ crc >> 4;
        crc = STEPS[crc & 15] ^ crc >> 4;
    }
    return ~crc;
}
