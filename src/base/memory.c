#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64, HUGE_PAGE = 2 << 20 };
static const size_t FIRST_BLOCK = (size_t)1 << 20;

void *memory_allocate_raw(size_t count, size_t size) {
    size_t bytes;
    if (!size_multiply(count, size, &bytes) || bytes > SIZE_MAX - ALIGNMENT) {
        (void)fail(ATTN_ERROR_MEMORY, "cannot allocate %zu elements of %zu bytes: the size overflows", count, size);
        return NULL;
    }
    /* Large arrays ask for large pages: fewer faults, and addresses that the processor keeps. */
    size_t alignment = bytes >= 2 * (size_t)HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void *pointer = NULL; /* aligned_alloc would want a multiple of the alignment */
    if (posix_memalign(&pointer, alignment, rounded ? rounded : ALIGNMENT)) {
        pointer = NULL;
        (void)fail(ATTN_ERROR_MEMORY, "out of memory: cannot allocate %zu bytes", bytes);
    }
#ifdef MADV_HUGEPAGE
    if (pointer && alignment == HUGE_PAGE) {
        (void)madvise(pointer, rounded / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    }
#endif
    return pointer;
}

void *memory_allocate(size_t count, size_t size) {
    void *pointer = memory_allocate_raw(count, size);
    if (pointer) {
        memset(pointer, 0, count * size);
    }
    return pointer;
}

void memory_free(void *pointer) {
    free(pointer);
}

attn_status memory_grow(void *array, size_t *capacity, size_t needed, size_t size) {
    void **slot = array;
    if (needed <= *capacity) {
        return ATTN_OK;
    }
    size_t wanted = *capacity + *capacity / 2;
    if (wanted < needed) {
        wanted = needed;
    }
    if (wanted < 16) {
        wanted = 16;
    }
    void *larger = memory_allocate_raw(wanted, size);
    if (!larger) {
        return ATTN_ERROR_MEMORY;
    }
    if (*slot) {
        memcpy(larger, *slot, *capacity * size);
        free(*slot);
    }
    *slot = larger;
    *capacity = wanted;
    return ATTN_OK;
}

char *memory_copy_bytes(const char *text, size_t length) {
    if (length == SIZE_MAX) {
        return NULL;
    }
    char *copy = memory_allocate_raw(length + 1, 1);
    if (copy) {
        if (length) { /* nothing may be at NULL */
            memcpy(copy, text, length);
        }
        copy[length] = '\0';
    }
    return copy;
}

char *memory_copy_string(const char *text) {
    return memory_copy_bytes(text, strlen(text));
}

typedef struct arena_block {
    char *bytes;
    size_t size;
} arena_block;

/* Blocks double in size, so a step settles into few of them; the largest ones
 * are kept over a reset. */
struct arena {
    arena_block *blocks;
    size_t count, capacity;
    size_t current; /* index of the block that is being filled */
    size_t used;    /* bytes used in it */
};

arena *arena_new(void) {
    return memory_allocate(1, sizeof(arena));
}

static attn_status arena_add_block(arena *a, size_t bytes) {
    size_t size = a->count ? a->blocks[a->count - 1].size * 2 : FIRST_BLOCK;
    if (size < bytes) {
        size = bytes;
    }
    attn_status status = memory_grow(&a->blocks, &a->capacity, a->count + 1, sizeof *a->blocks);
    if (status) {
        return status;
    }
    char *memory = memory_allocate_raw(size, 1);
    if (!memory) {
        return ATTN_ERROR_MEMORY;
    }
    a->blocks[a->count++] = (arena_block){memory, size};
    return ATTN_OK;
}

attn_status arena_reserve(arena *a, size_t bytes) {
    return a->count || bytes < FIRST_BLOCK ? ATTN_OK : arena_add_block(a, bytes);
}

void *arena_allocate(arena *a, size_t count, size_t size) {
    size_t bytes;
    if (!size_multiply(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        (void)fail(ATTN_ERROR_MEMORY, "cannot allocate %zu elements of %zu bytes: the size overflows", count, size);
        return NULL;
    }
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    while (a->current < a->count && a->blocks[a->current].size - a->used < bytes) {
        a->current++;
        a->used = 0;
    }
    if (a->current == a->count && arena_add_block(a, bytes)) {
        return NULL;
    }
    void *pointer = a->blocks[a->current].bytes + a->used;
    a->used += bytes;
    return pointer;
}

void arena_reset(arena *a) {
    a->current = 0;
    a->used = 0;
}

arena_mark arena_get_mark(const arena *a) {
    return (arena_mark){a->current, a->used};
}

void arena_return_to(arena *a, arena_mark mark) {
    a->current = mark.block;
    a->used = mark.used;
}

size_t arena_size(const arena *a) {
    size_t total = 0;
    for (size_t i = 0; i < a->count; i++) {
        total += a->blocks[i].size;
    }
    return total;
}

void arena_free(arena *a) {
    if (!a) {
        return;
    }
    for (size_t i = 0; i < a->count; i++) {
        free(a->blocks[i].bytes);
    }
    free(a->blocks);
    free(a);
}
