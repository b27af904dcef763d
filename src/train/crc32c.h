/* CRC-32C (Castagnoli), the checksum of iSCSI (RFC 3720, 12.1), ext4 and TFRecord:
 * reflected polynomial 0x82F63B78, start and final xor of all ones. */
#ifndef ATTN_TRAIN_CRC32C_H
#define ATTN_TRAIN_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of size bytes; of "123456789" it is 0xE3069283. */
uint32_t crc32c(const void *bytes, size_t size);

#endif
