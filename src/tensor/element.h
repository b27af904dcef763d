/* The types in which activations and the products' operands are stored. Sums,
 * normalisation, softmax and loss are always f32. */
#ifndef ATTN_TENSOR_ELEMENT_H
#define ATTN_TENSOR_ELEMENT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum element_type { ELEMENT_F32, ELEMENT_BF16 } element_type;

typedef uint16_t bf16; /* the upper half of an f32 */

static inline size_t element_size(element_type type) {
    return type == ELEMENT_F32 ? sizeof(float) : sizeof(bf16);
}

/* The address of element `index` of an array of `type`. */
static inline void *element_at(const void *array, element_type type, int64_t index) {
    return (char *)(uintptr_t)array + index * (int64_t)element_size(type);
}

/* f32 to bf16, to nearest, ties to even; NaN stays NaN. */
static inline bf16 bf16_from_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    uint32_t nan = bits >> 16 | 0x40u;
    return (bf16)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

static inline float float_from_bf16(bf16 value) {
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

#endif
