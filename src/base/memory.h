/* Heap memory for the library: sizes checked before they are multiplied, 64-byte
 * alignment (a cache line, an AVX-512 register), and an arena for a step's
 * activations: allocated by moving a pointer, reset as a whole, never freed
 * piece by piece. */
#ifndef ATTN_BASE_MEMORY_H
#define ATTN_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* count * size zeroed bytes, 64-byte aligned; NULL, with the sentence set, when
 * the product overflows or memory is short. count or size 0 gives a pointer that
 * can be freed. Release with memory_free. */
void *memory_allocate(size_t count, size_t size);

/* The same for memory that is about to be overwritten: not zeroed. */
void *memory_allocate_raw(size_t count, size_t size);

/* Grows *array (NULL at first) so that it holds at least `needed` elements;
 * *capacity counts elements and grows by half. The content is kept. On failure
 * nothing is changed. */
attn_status memory_grow(void *array, size_t *capacity, size_t needed, size_t size);

char *memory_copy_string(const char *text);
char *memory_copy_bytes(const char *text, size_t length); /* adds a final 0 */

void memory_free(void *pointer);

/* *product = a * b, or 0 is returned where that overflows. */
static inline int size_multiply(size_t a, size_t b, size_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}

typedef struct arena arena;

/* A new empty arena; it takes memory from the system in blocks as it is used. */
arena *arena_new(void);

/* Before anything is allocated: room for so many bytes in one block, on large pages where it is large. */
attn_status arena_reserve(arena *a, size_t bytes);

/* count * size bytes, 64-byte aligned, not zeroed; valid until arena_reset or
 * arena_free. NULL, with the sentence set, on overflow or when memory is short. */
void *arena_allocate(arena *a, size_t count, size_t size);

/* Everything allocated becomes invalid; the memory is kept for the next step. */
void arena_reset(arena *a);

/* A position in the arena, and going back to it: everything allocated since
 * becomes invalid. For a function's temporary arrays. */
typedef struct arena_mark {
    size_t block;
    size_t used;
} arena_mark;
arena_mark arena_get_mark(const arena *a);
void arena_return_to(arena *a, arena_mark mark);

/* Bytes taken from the system, for memory reports. */
size_t arena_size(const arena *a);

void arena_free(arena *a);

#endif
