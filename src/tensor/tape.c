#include "tensor/tape.h"

#include <string.h>

#include "base/random.h"

attn_status tape_open(tape *t, parameters *set) {
    *t = (tape){.parameters = set, .rows = rows_select(), .memory = arena_new(), .gemm = gemm_context_new()};
    t->type = set->copies ? ELEMENT_BF16 : ELEMENT_F32;
    if (!t->memory || !t->gemm) {
        tape_close(t);
        return ATTN_ERROR_MEMORY;
    }
    return ATTN_OK;
}

void tape_close(tape *t) {
    arena_free(t->memory);
    gemm_context_free(t->gemm);
    memory_free(t->notes);
    memory_free(t->spares);
    *t = (tape){0};
}

void tape_reset(tape *t) {
    arena_reset(t->memory);
    t->count = 0;
    t->draws = 0;
    t->spare_count = 0;
    t->status = ATTN_OK;
}

void tape_start(tape *t, int recording, uint64_t seed, uint64_t step) {
    tape_reset(t);
    t->recording = recording;
    t->key = random_key(seed, step, 0x64726f70); /* "drop" */
}

attn_status tape_backward(tape *t) {
    while (t->count > 0 && !t->status) {
        tape_note note = t->notes[--t->count];
        note.backward(t, note.context);
    }
    return t->status;
}

void *tape_memory(tape *t, int64_t count, size_t size) {
    void *memory = t->status || count < 0 ? NULL : arena_allocate(t->memory, (size_t)count, size);
    if (!memory) {
        tape_fail(t, ATTN_ERROR_MEMORY);
    }
    return memory;
}

tensor *tape_tensor(tape *t, int64_t rows, int64_t columns) {
    tensor *x = tape_memory(t, 1, sizeof *x);
    if (!x) {
        return NULL;
    }
    *x = (tensor){NULL, NULL, rows, columns, t->type};
    x->data = tape_memory(t, rows * columns, element_size(t->type));
    return x->data ? x : NULL;
}

uint64_t tape_draw(tape *t) {
    return random_key(t->key, t->draws++, 0);
}

void tape_note_backward(tape *t, void (*backward)(tape *, void *), void *context) {
    if (!t->recording || t->status) {
        return;
    }
    attn_status status = memory_grow(&t->notes, &t->capacity, t->count + 1, sizeof *t->notes);
    if (status) {
        tape_fail(t, status);
        return;
    }
    t->notes[t->count++] = (tape_note){backward, context};
}

void tape_fail(tape *t, attn_status status) {
    if (!t->status) {
        t->status = status;
    }
}

static int64_t gradient_bytes(const tensor *x) {
    return x->rows * x->columns * (int64_t)element_size(x->type);
}

/* The newest spare of that size, or NULL. */
static void *take_spare(tape *t, int64_t bytes) {
    for (size_t i = t->spare_count; i-- > 0;) {
        if (t->spares[i].bytes == bytes) {
            void *memory = t->spares[i].memory;
            t->spares[i] = t->spares[--t->spare_count];
            return memory;
        }
    }
    return NULL;
}

void *tape_gradient(tape *t, tensor *x, int *accumulate) {
    *accumulate = x->gradient != NULL;
    if (!x->gradient) {
        x->gradient = take_spare(t, gradient_bytes(x));
    }
    if (!x->gradient) {
        x->gradient = tape_memory(t, gradient_bytes(x), 1);
    }
    return x->gradient;
}

void tape_release_gradient(tape *t, tensor *y) {
    attn_status status = memory_grow(&t->spares, &t->spare_capacity, t->spare_count + 1, sizeof *t->spares);
    if (status) {
        tape_fail(t, status);
        return;
    }
    t->spares[t->spare_count++] = (tape_spare){y->gradient, gradient_bytes(y)};
    y->gradient = NULL;
}

attn_status tape_product(tape *t, matrix c, matrix a, parameter weight, int transposed, gemm_options options) {
    if (t->weights) {
        const packed_matrix *packed;
        attn_status status = packed_weights_get(t->weights, weight, transposed, &packed);
        return status ? status : gemm_packed(t->gemm, c, a, packed, options);
    }
    matrix plain = parameter_matrix(t->parameters, weight);
    return gemm(t->gemm, c, a, transposed ? matrix_transpose(plain) : plain, options);
}

/* --- watching the input ---------------------------------------------------------- */

static void copy_gradient(tape *t, void *context) {
    tensor *x = context;
    if (x->gradient) {
        for (int64_t i = 0; i < x->rows; i++) {
            row_load(t, x->type, gradient_row(x, x->gradient, i), t->watch->gradient + i * x->columns, x->columns);
        }
    }
}

void tape_watch_input(tape *t, tensor *x) {
    if (!x || !t->watch || t->watch->rows) {
        return;
    }
    t->watch->gradient = tape_memory(t, x->rows * x->columns, sizeof(float));
    if (t->watch->gradient) {
        t->watch->rows = x;
        memset(t->watch->gradient, 0, (size_t)(x->rows * x->columns) * sizeof(float));
        tape_note_backward(t, copy_gradient, x);
    }
}
