/* Matrix products cut into blocks of fixed shape (gemm_kernels.h), each computed by one thread.
 *
 * Rows go through in blocks of 256 and the rest in powers of two (with a packed B, where bits do not depend
 * on it, a multiple of 32 first); in multiples of GEMM_PADDED_ROWS, the last one padded, where the kernels
 * need it. Where A is transposed (weight gradients: k counts tokens) k is cut in blocks of 1024, a multiple
 * of 32, and the rest padded to 32, and summed in order. */
#include "tensor/gemm.h"

#include <omp.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/threads.h"
#include "tensor/gemm_kernels.h"

enum {
    ROW_BLOCK = 256,
    SMALL_ROW_BLOCK = 64,
    ROW_STEP = 32,
    DEPTH_STEP = 32,
    LONG_ROW_BLOCK = 512, /* of a transposed A */
    REDUCTION_BLOCK = 1024,
    COLUMN_BLOCK = 512,
    LEAST_COPIED_ROWS = 96, /* of A that are worth a copy of B */
    COPIED_ROWS = 480,      /* that share one */
    SPREAD_FROM = 256       /* strides that are multiples of it keep a column in few sets of the caches */
};
/* The largest block that fits what is left: the full one or a power of two. */
static int64_t next_block(int64_t left, int64_t full) {
    if (left >= full) {
        return full;
    }
    int64_t block = 1;
    while (block * 2 <= left) {
        block *= 2;
    }
    return block;
}

/* *m, where the older kernels would read it slowly as it lies, as a copy whose columns spread over the
 * caches. */
static attn_status spread(gemm_context *context, int thread, gemm_room_use use, matrix *m) {
    if (gemm_rows_are_independent(context, m->type) || m->stride % SPREAD_FROM) {
        return ATTN_OK;
    }
    const int64_t rows = m->transposed ? m->columns : m->rows, columns = m->transposed ? m->rows : m->columns;
    const int64_t stride = gemm_spread_stride(columns);
    const size_t size = element_size(m->type);
    char *copy = gemm_room(context, use, thread, (size_t)(rows * stride) * size);
    if (!copy) {
        return ATTN_ERROR_MEMORY;
    }
    for (int64_t i = 0; i < rows; i++) {
        memcpy(copy + (size_t)(i * stride) * size, element_at(m->data, m->type, i * m->stride),
               (size_t)columns * size);
    }
    m->data = copy;
    m->stride = stride;
    return ATTN_OK;
}

/* The last rows of A, fewer than GEMM_PADDED_ROWS, padded with zeros. */
static attn_status run_last_rows(gemm_context *context, int thread, matrix c, matrix a, matrix b, int packed,
                                 gemm_options options) {
    const size_t a_row = (size_t)a.columns * element_size(a.type),
                 c_row = (size_t)c.columns * element_size(c.type);
    char *copy = memory_allocate(GEMM_PADDED_ROWS, a_row + c_row + 128);
    if (!copy) {
        return ATTN_ERROR_MEMORY;
    }
    char *c_copy = copy + (GEMM_PADDED_ROWS * a_row + 63) / 64 * 64;
    for (int64_t i = 0; i < c.rows; i++) {
        memcpy(copy + (size_t)i * a_row, element_at(a.data, a.type, i * a.stride), a_row);
        if (options.accumulate) {
            memcpy(c_copy + (size_t)i * c_row, element_at(c.data, c.type, i * c.stride), c_row);
        }
    }
    attn_status status = gemm_block(context, thread, matrix_of(c_copy, GEMM_PADDED_ROWS, c.columns, c.type),
                                    matrix_of(copy, GEMM_PADDED_ROWS, a.columns, a.type), b, packed, options);
    for (int64_t i = 0; i < c.rows; i++) {
        memcpy(element_at(c.data, c.type, i * c.stride), c_copy + (size_t)i * c_row, c_row);
    }
    memory_free(copy);
    return status;
}

/* Rows of A that the kernel would round differently by their number: GEMM_PADDED_BLOCK, half of that and so
 * on. */
static attn_status run_padded_rows(gemm_context *context, int thread, matrix c, matrix a, matrix b,
                                   int packed, gemm_options options) {
    const int copies = !packed && !b.transposed && c.rows >= LEAST_COPIED_ROWS;
    attn_status status = copies ? spread(context, thread, GEMM_COPY_B, &b) : ATTN_OK;
    for (int64_t row = 0, block; row < c.rows && !status; row += block) {
        const int64_t left = c.rows - row;
        for (block = GEMM_PADDED_BLOCK; block > left && block > GEMM_PADDED_ROWS;) {
            block /= 2;
        }
        const int64_t rows = left < block ? left : block;
        status = (rows < block ? run_last_rows : gemm_block)(context, thread, matrix_rows(c, row, rows),
                                                             matrix_rows(a, row, rows), b, packed, options);
    }
    return status;
}

/* C (+)= the last terms of the sum, fewer than DEPTH_STEP: copied and padded with zeros, which add
 * nothing. A is transposed, B is not. */
static attn_status run_padded_depth(gemm_context *context, int thread, matrix c, matrix a, matrix b,
                                    gemm_options options) {
    size_t size = element_size(a.type), a_row = (size_t)a.rows * size, b_row = (size_t)b.columns * size;
    char *a_copy = memory_allocate(DEPTH_STEP, a_row + b_row), *b_copy = a_copy + DEPTH_STEP * a_row;
    if (!a_copy) {
        return ATTN_ERROR_MEMORY;
    }
    for (int64_t k = 0; k < a.columns; k++) {
        memcpy(a_copy + (size_t)k * a_row, element_at(a.data, a.type, k * a.stride), a_row);
        memcpy(b_copy + (size_t)k * b_row, element_at(b.data, b.type, k * b.stride), b_row);
    }
    attn_status status =
        gemm_block(context, thread, c, matrix_transpose(matrix_of(a_copy, DEPTH_STEP, a.rows, a.type)),
                   matrix_of(b_copy, DEPTH_STEP, b.columns, b.type), 0, options);
    memory_free(a_copy);
    return status;
}

/* The sum over A's columns in blocks, the first ones multiples of DEPTH_STEP: each reads and
 * writes all of C. */
static attn_status run_sum(gemm_context *context, int thread, matrix c, matrix a, matrix b, int packed,
                           gemm_options options) {
    attn_status status = ATTN_OK;
    gemm_options part = {options.bias, 0, options.accumulate};
    int pads = !packed && !b.transposed;
    for (int64_t k = 0, block; k < a.columns && !status; k += block) {
        int64_t left = a.columns - k;
        block = !pads || left >= REDUCTION_BLOCK ? next_block(left, REDUCTION_BLOCK)
                : left < DEPTH_STEP              ? left
                                                 : left / DEPTH_STEP * DEPTH_STEP;
        part.rectify = options.rectify && k + block == a.columns;
        matrix a_part = matrix_columns(a, k, block), b_part = matrix_rows(b, k, block);
        if (pads && block < DEPTH_STEP) {
            status = run_padded_depth(context, thread, c, a_part, b_part, part);
        } else {
            status = spread(context, thread, GEMM_COPY_A, &a_part);
            status = status || !pads ? status : spread(context, thread, GEMM_COPY_B, &b_part);
            status = status ? status : gemm_block(context, thread, c, a_part, b_part, packed, part);
        }
        part.accumulate = 1;
        part.bias = NULL;
    }
    return status;
}

/* A part of C on one thread: its rows, or where A is transposed its sum, in blocks. */
static attn_status run_part(gemm_context *context, int thread, matrix c, matrix a, matrix b, int packed,
                            gemm_options options) {
    if (!a.transposed) {
        if (!gemm_rows_are_independent(context, a.type)) {
            return run_padded_rows(context, thread, c, a, b, packed, options);
        }
        attn_status status = ATTN_OK;
        for (int64_t row = 0, block; row < c.rows && !status; row += block) {
            int64_t left = c.rows - row;
            block = packed && left < ROW_BLOCK && left > ROW_STEP ? left / ROW_STEP * ROW_STEP
                                                                  : next_block(left, ROW_BLOCK);
            status = gemm_block(context, thread, matrix_rows(c, row, block), matrix_rows(a, row, block), b,
                                packed, options);
        }
        return status;
    }
    return run_sum(context, thread, c, a, b, packed, options);
}

static int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* How C is cut into tasks: by the shapes alone. */
typedef struct cutting {
    int64_t rows, columns; /* of a task */
    int64_t across;        /* tasks side by side */
    int64_t tasks;
} cutting;

static cutting cut_product(const gemm_context *context, matrix c, matrix a, int packed) {
    cutting cut;
    /* Not by who calls, either: for some shapes a row's bits depend on the rows beside it.
     * With a packed B they do not, and one thread makes no cuts. */
    cut.rows = a.transposed ? LONG_ROW_BLOCK : c.rows >= 2 * ROW_BLOCK ? ROW_BLOCK : SMALL_ROW_BLOCK;
    if (!a.transposed && !gemm_rows_are_independent(context, a.type)) {
        cut.rows = cut.rows == SMALL_ROW_BLOCK ? 2 * GEMM_PADDED_ROWS
                   : packed                    ? GEMM_PADDED_BLOCK
                                               : COPIED_ROWS;
    }
    if (packed && !a.transposed && threads_get() == 1) {
        cut.rows = c.rows;
    }
    /* The bits of a row depend on the kernel's width, so that depends on n alone. */
    cut.columns = packed ? c.columns : COLUMN_BLOCK;
    cut.across = divide_up(c.columns, cut.columns);
    cut.tasks = divide_up(c.rows, cut.rows) * cut.across;
    return cut;
}

static attn_status run_task(gemm_context *context, int thread, const cutting *cut, int64_t task, matrix c,
                            matrix a, matrix b, int packed, gemm_options options) {
    int64_t row = task / cut->across * cut->rows, column = task % cut->across * cut->columns;
    int64_t rows = c.rows - row < cut->rows ? c.rows - row : cut->rows;
    int64_t columns = c.columns - column < cut->columns ? c.columns - column : cut->columns;
    if (options.bias) {
        options.bias += column;
    }
    return run_part(context, thread, matrix_columns(matrix_rows(c, row, rows), column, columns),
                    matrix_rows(a, row, rows), packed ? b : matrix_columns(b, column, columns), packed,
                    options);
}

static attn_status run(gemm_context *context, matrix c, matrix a, matrix b, int packed,
                       gemm_options options) {
    if (c.rows <= 0 || c.columns <= 0) {
        return ATTN_OK;
    }
    if (a.columns == 0) {
        for (int64_t i = 0; i < c.rows && !options.accumulate; i++) {
            memset(element_at(c.data, c.type, i * c.stride), 0, (size_t)c.columns * element_size(c.type));
        }
        return ATTN_OK;
    }
    if (a.transposed && c.type != ELEMENT_F32) {
        return fail(ATTN_ERROR_UNSUPPORTED, "a product with transposed A needs an f32 result");
    }
    cutting cut = cut_product(context, c, a, packed);
    int threads = omp_get_max_threads();
    attn_status result = ATTN_OK;
    if (threads_get() == 1 || cut.tasks == 1) {
        int thread = omp_get_thread_num();
        /* Outside a team oneDNN would take the threads itself, and cut the work by them. */
        omp_set_num_threads(1);
        for (int64_t task = 0; task < cut.tasks && !result; task++) {
            result = run_task(context, thread, &cut, task, c, a, b, packed, options);
        }
        omp_set_num_threads(threads);
        return result;
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads < GEMM_THREADS ? threads : GEMM_THREADS)
    for (int64_t task = 0; task < cut.tasks; task++) {
        omp_set_num_threads(1); /* of this member of the team: what oneDNN sees here, too */
        attn_status status = run_task(context, omp_get_thread_num(), &cut, task, c, a, b, packed, options);
        if (status) {
#pragma omp critical(attn_gemm_status)
            result = status;
        }
    }
    /* The sentence was left on the worker that failed; say it on the caller's. */
    return result ? fail(result, "a matrix product of %lld x %lld x %lld failed", (long long)c.rows,
                         (long long)c.columns, (long long)a.columns)
                  : ATTN_OK;
}

attn_status gemm(gemm_context *context, matrix c, matrix a, matrix b, gemm_options options) {
    return run(context, c, a, b, 0, options);
}

attn_status gemm_packed(gemm_context *context, matrix c, matrix a, const packed_matrix *b,
                        gemm_options options) {
    if (a.transposed || a.stride != a.columns || c.stride != c.columns) {
        return fail(ATTN_ERROR_INTERNAL, "a product with packed weights needs dense matrices");
    }
    return run(context, c, a, gemm_packed_contents(b), 1, options);
}

static double seconds(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double gemm_roof(gemm_context *context, element_type type) {
    enum { SIDE = 1024 };
    size_t bytes = element_size(type);
    char *arrays = memory_allocate((size_t)3 * SIDE * SIDE, bytes);
    if (!arrays) {
        return 0;
    }
    size_t one = (size_t)SIDE * SIDE * bytes;
    matrix a = matrix_of(arrays, SIDE, SIDE, type), b = matrix_of(arrays + one, SIDE, SIDE, type);
    matrix c = matrix_of(arrays + 2 * one, SIDE, SIDE, type);
    double best = 0;
    for (int i = 0; i < 4; i++) {
        double start = seconds();
        if (run_part(context, 0, c, a, b, 0, (gemm_options){0})) {
            break;
        }
        double rate = 2.0 * SIDE * SIDE * SIDE / (seconds() - start);
        best = rate > best ? rate : best;
    }
    memory_free(arrays);
    return best;
}
