#include "tensor/parameters.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/rows.h"

enum { ALIGNMENT = 16, COPY_BLOCK = 1 << 14 };

attn_status parameters_declare(parameters *set, int aligned, int rank, int64_t rows, int64_t columns, parameter *out,
                               const char *name_format, ...) {
    char name[256];
    va_list arguments;
    va_start(arguments, name_format);
    (void)vsnprintf(name, sizeof name, name_format, arguments);
    va_end(arguments);
    int64_t elements, offset = set->size;
    if (aligned) {
        offset = (offset + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    if (rows <= 0 || columns <= 0 || __builtin_mul_overflow(rows, columns, &elements) ||
        elements > INT64_MAX / 16 - offset) {
        return fail(ATTN_ERROR_ARGUMENT, "parameter %s cannot have the shape [%lld, %lld]", name, (long long)rows,
                    (long long)columns);
    }
    attn_status status = memory_grow(&set->list, &set->capacity, set->count + 1, sizeof *set->list);
    if (status) {
        return status;
    }
    char *copy = memory_copy_string(name);
    if (!copy) {
        return ATTN_ERROR_MEMORY;
    }
    *out = (parameter){offset, rows, columns};
    named_parameter *last = &set->list[set->count++];
    *last = (named_parameter){.name = copy, .rank = rank, .where = *out};
    last->shape[0] = (size_t)(rank == 2 ? rows : columns);
    last->shape[1] = (size_t)columns;
    set->size = offset + elements;
    return ATTN_OK;
}

void parameters_shape_last(parameters *set, int rank, const size_t *shape) {
    named_parameter *last = &set->list[set->count - 1];
    last->rank = rank;
    memcpy(last->shape, shape, (size_t)rank * sizeof *shape);
}

attn_status parameters_allocate(parameters *set, int with_gradients, int with_copies) {
    size_t size = (size_t)set->size;
    set->values = memory_allocate(size, sizeof(float));
    if (with_gradients) {
        set->gradients = memory_allocate(size, sizeof(float));
    }
    if (with_copies) {
        set->copies = memory_allocate(size, sizeof(bf16));
    }
    int missing = !set->values || (with_gradients && !set->gradients) || (with_copies && !set->copies);
    return missing ? ATTN_ERROR_MEMORY : ATTN_OK;
}

void parameters_update_copies(parameters *set) {
    if (!set->copies) {
        return;
    }
    const row_kernels *rows = rows_select();
    int64_t blocks = (set->size + COPY_BLOCK - 1) / COPY_BLOCK;
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < blocks; block++) {
        int64_t start = block * COPY_BLOCK, left = set->size - start;
        rows->narrow(set->copies + start, set->values + start, left < COPY_BLOCK ? left : COPY_BLOCK);
    }
}

const named_parameter *parameters_find(const parameters *set, const char *name) {
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->list[i].name, name) == 0) {
            return &set->list[i];
        }
    }
    return NULL;
}

int parameters_frozen(const parameters *set, parameter p) {
    size_t low = 0, high = set->count; /* arrays are declared in the order of their offsets */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (set->list[middle].where.offset < p.offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < set->count && set->list[low].where.offset == p.offset && set->list[low].frozen;
}

int64_t parameters_count(const parameters *set) {
    int64_t total = 0;
    for (size_t i = 0; i < set->count; i++) {
        total += set->list[i].where.rows * set->list[i].where.columns;
    }
    return total;
}

void parameters_free(parameters *set) {
    for (size_t i = 0; i < set->count; i++) {
        memory_free(set->list[i].name);
    }
    memory_free(set->list);
    memory_free(set->values);
    memory_free(set->gradients);
    memory_free(set->copies);
    memset(set, 0, sizeof *set);
}

parameter parameter_joined(parameter first, int count) {
    if (first.rows == 1) {
        first.columns *= count;
    } else {
        first.rows *= count;
    }
    return first;
}
