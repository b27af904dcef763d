/* oneDNN's matmul, v2 (Debian 12) and v3 interfaces, cut into blocks of fixed shape.
 *
 * Every block is one single-threaded primitive, kept in a table by shape, so a new
 * number of tokens compiles nothing: rows go through in blocks of 256 and the
 * rest in powers of two (with a packed B, where bits do not depend on it, a multiple of 32 first). Where A is
 * transposed (weight gradients: k counts tokens) k is cut in blocks of 1024, a multiple of 32,
 * and the rest padded to 32, and summed in order.
 *
 * With a packed B, oneDNN's brgemm gives a row the same bits whatever the number of rows
 * beside it. Its older kernels (gemm:jit, taken without AVX-512) do not; where they are
 * taken, rows go through in blocks of exactly PADDED_ROWS, the last one padded; being
 * a multiple of those kernels' 4 and 6 rows, it treats all its rows alike. */
#include "tensor/gemm.h"

#include <omp.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/threads.h"
#include "tensor/dnnl_versions.h"

enum {
    ROW_BLOCK = 256,
    SMALL_ROW_BLOCK = 64,
    ROW_STEP = 32,
    DEPTH_STEP = 32,
    LONG_ROW_BLOCK = 512, /* of a transposed A */
    REDUCTION_BLOCK = 1024,
    COLUMN_BLOCK = 512,
    PADDED_ROWS = 24,
    MOST_THREADS = 256,
    TABLE_SIZE = 4096
};

/* What a primitive is compiled for. */
typedef struct gemm_key {
    int64_t rows, columns, depth;
    int64_t a_stride, b_stride, c_stride;
    int a_transposed, b_transposed, b_packed;
    int type, c_type;
    int bias, rectify, accumulate;
} gemm_key;

/* The memory objects of one thread: only their addresses change from call to call. */
typedef struct thread_arguments {
    dnnl_memory_t a, b, c, bias, scratch;
} thread_arguments;

typedef struct gemm_kernel {
    gemm_key key;
    dnnl_primitive_t primitive;
    dnnl_primitive_desc_t descriptor;
    size_t scratch_size;
    thread_arguments *threads[MOST_THREADS];
    struct gemm_kernel *next;
} gemm_kernel;

struct gemm_context {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    gemm_kernel *table[TABLE_SIZE];
    omp_lock_t lock;
    int rows_are_independent[2]; /* by element type: brgemm was chosen */
    char *scratch[MOST_THREADS];
    size_t scratch_size[MOST_THREADS];
};

struct packed_matrix {
    void *data;
    int64_t rows, columns;
    element_type type;
    dnnl_primitive_t reorder; /* from the stored order */
    dnnl_memory_t from, to;
};

static dnnl_data_type_t dnnl_type(int type) {
    return type == ELEMENT_BF16 ? dnnl_bf16 : dnnl_f32;
}

static attn_status dnnl_failed(dnnl_status_t status, const char *what) {
    return fail(ATTN_ERROR_INTERNAL, "oneDNN could not %s (its status %d)", what, (int)status);
}

/* --- kernels ------------------------------------------------------------------ */

static dnnl_status_t describe(const gemm_key *key, dnnl_engine_t engine, dnnl_primitive_desc_t *out) {
    dnnl_dims_t a_dims = {key->rows, key->depth}, b_dims = {key->depth, key->columns};
    dnnl_dims_t c_dims = {key->rows, key->columns}, bias_dims = {1, key->columns};
    dnnl_dims_t a_strides = {key->a_transposed ? 1 : key->a_stride, key->a_transposed ? key->a_stride : 1};
    dnnl_dims_t b_strides = {key->b_transposed ? 1 : key->b_stride, key->b_transposed ? key->b_stride : 1};
    dnnl_dims_t c_strides = {key->c_stride, 1}, bias_strides = {key->columns, 1};
    descriptor a, b, c, bias = NO_DESCRIPTOR;
    dnnl_primitive_attr_t attributes;
    dnnl_post_ops_t operations;
    dnnl_status_t status = dnnl_primitive_attr_create(&attributes);
    if (status) {
        return status;
    }
    status = dnnl_post_ops_create(&operations);
    if (status) {
        (void)dnnl_primitive_attr_destroy(attributes);
        return status;
    }
    status = descriptor_strided(&a, a_dims, dnnl_type(key->type), a_strides);
    if (!status) {
        status = key->b_packed ? descriptor_any(&b, b_dims, dnnl_type(key->type))
                               : descriptor_strided(&b, b_dims, dnnl_type(key->type), b_strides);
    }
    if (!status) {
        status = descriptor_strided(&c, c_dims, dnnl_type(key->c_type), c_strides);
    }
    if (!status && key->bias) {
        status = descriptor_strided(&bias, bias_dims, dnnl_f32, bias_strides);
    }
    if (!status && key->accumulate) {
        status = append_sum(operations);
    }
    if (!status && key->rectify) {
        status = append_rectifier(operations);
    }
    if (!status) {
        status = dnnl_primitive_attr_set_post_ops(attributes, operations);
    }
    if (!status) {
        status = dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    }
    if (!status) {
        status = matmul_descriptor(out, engine, a, b, bias, c, attributes);
        descriptor_free(a);
        descriptor_free(b);
        descriptor_free(c);
        if (key->bias) {
            descriptor_free(bias);
        }
    }
    (void)dnnl_post_ops_destroy(operations);
    (void)dnnl_primitive_attr_destroy(attributes);
    return status;
}

static const_descriptor query(const gemm_kernel *kernel, dnnl_query_t what) {
    return dnnl_primitive_desc_query_md(kernel->descriptor, what, 0);
}

/* A primitive's blocking depends on the number of threads that oneDNN sees when it
 * is made; it always sees one. */
static gemm_kernel *kernel_new(gemm_context *context, const gemm_key *key) {
    gemm_kernel *kernel = memory_allocate(1, sizeof *kernel);
    if (!kernel) {
        return NULL;
    }
    kernel->key = *key;
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    dnnl_status_t status = describe(key, context->engine, &kernel->descriptor);
    if (!status) {
        status = dnnl_primitive_create(&kernel->primitive, kernel->descriptor);
        if (status) {
            (void)dnnl_primitive_desc_destroy(kernel->descriptor);
        }
    }
    omp_set_num_threads(threads);
    if (status) {
        (void)dnnl_failed(status, "compile a matrix product");
        memory_free(kernel);
        return NULL;
    }
    kernel->scratch_size = dnnl_memory_desc_get_size(query(kernel, dnnl_query_scratchpad_md));
    return kernel;
}

static void kernel_free(gemm_kernel *kernel) {
    for (int i = 0; i < MOST_THREADS; i++) {
        thread_arguments *t = kernel->threads[i];
        if (t) {
            (void)dnnl_memory_destroy(t->a);
            (void)dnnl_memory_destroy(t->b);
            (void)dnnl_memory_destroy(t->c);
            (void)dnnl_memory_destroy(t->scratch);
            if (t->bias) {
                (void)dnnl_memory_destroy(t->bias);
            }
            memory_free(t);
        }
    }
    (void)dnnl_primitive_destroy(kernel->primitive);
    (void)dnnl_primitive_desc_destroy(kernel->descriptor);
    memory_free(kernel);
}

static uint64_t hash_key(const gemm_key *key) {
    const int64_t parts[] = {key->rows, key->columns, key->depth, key->a_stride, key->b_stride, key->c_stride,
                             key->a_transposed, key->b_transposed, key->b_packed, key->type, key->c_type,
                             key->bias, key->rectify, key->accumulate};
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        hash = (hash ^ (uint64_t)parts[i]) * 1099511628211u;
        hash ^= hash >> 29;
    }
    return hash;
}

static int same_key(const gemm_key *x, const gemm_key *y) {
    return x->rows == y->rows && x->columns == y->columns && x->depth == y->depth && x->a_stride == y->a_stride &&
           x->b_stride == y->b_stride && x->c_stride == y->c_stride && x->a_transposed == y->a_transposed &&
           x->b_transposed == y->b_transposed && x->b_packed == y->b_packed && x->type == y->type &&
           x->c_type == y->c_type && x->bias == y->bias && x->rectify == y->rectify &&
           x->accumulate == y->accumulate;
}

static gemm_kernel *kernel_for(gemm_context *context, const gemm_key *key) {
    gemm_kernel **slot = &context->table[hash_key(key) % TABLE_SIZE];
    omp_set_lock(&context->lock);
    gemm_kernel *kernel = *slot;
    while (kernel && !same_key(&kernel->key, key)) {
        kernel = kernel->next;
    }
    if (!kernel) {
        kernel = kernel_new(context, key);
        if (kernel) {
            kernel->next = *slot;
            *slot = kernel;
        }
    }
    omp_unset_lock(&context->lock);
    return kernel;
}

static char *scratch_for(gemm_context *context, int thread, size_t size) {
    if (context->scratch_size[thread] < size || !context->scratch[thread]) {
        memory_free(context->scratch[thread]);
        context->scratch_size[thread] = 0;
        context->scratch[thread] = memory_allocate_raw(size + size / 4, 1);
        if (context->scratch[thread]) {
            context->scratch_size[thread] = size + size / 4;
        }
    }
    return context->scratch[thread];
}

static thread_arguments *arguments_for(gemm_context *context, gemm_kernel *kernel, int thread) {
    thread_arguments *t = kernel->threads[thread];
    if (t) {
        return t;
    }
    t = memory_allocate(1, sizeof *t);
    if (!t) {
        return NULL;
    }
    dnnl_status_t status = dnnl_memory_create(&t->a, query(kernel, dnnl_query_src_md), context->engine, DNNL_MEMORY_NONE);
    if (!status) {
        status = dnnl_memory_create(&t->b, query(kernel, dnnl_query_weights_md), context->engine, DNNL_MEMORY_NONE);
    }
    if (!status) {
        status = dnnl_memory_create(&t->c, query(kernel, dnnl_query_dst_md), context->engine, DNNL_MEMORY_NONE);
    }
    if (!status && kernel->key.bias) {
        status = dnnl_memory_create(&t->bias, dnnl_primitive_desc_query_md(kernel->descriptor, dnnl_query_weights_md, 1),
                                    context->engine, DNNL_MEMORY_NONE);
    }
    if (!status) {
        status = dnnl_memory_create(&t->scratch, query(kernel, dnnl_query_scratchpad_md), context->engine, DNNL_MEMORY_NONE);
    }
    if (status) {
        (void)dnnl_failed(status, "describe an array");
        memory_free(t);
        return NULL;
    }
    kernel->threads[thread] = t;
    return t;
}

/* One block on one thread. */
static attn_status run_block(gemm_context *context, int thread, matrix c, matrix a, matrix b, int packed,
                             gemm_options options) {
    gemm_key key = {c.rows, c.columns, a.columns, a.stride, packed ? 0 : b.stride, c.stride,
                    a.transposed, packed ? 0 : b.transposed, packed, (int)a.type, (int)c.type,
                    options.bias != NULL, options.rectify, options.accumulate};
    gemm_kernel *kernel = kernel_for(context, &key);
    if (!kernel) {
        return ATTN_ERROR_INTERNAL;
    }
    thread_arguments *t = arguments_for(context, kernel, thread);
    char *scratch = scratch_for(context, thread, kernel->scratch_size + 64);
    if (!t || !scratch) {
        return ATTN_ERROR_MEMORY;
    }
    dnnl_status_t status = dnnl_memory_set_data_handle(t->a, a.data);
    status = status ? status : dnnl_memory_set_data_handle(t->b, b.data);
    status = status ? status : dnnl_memory_set_data_handle(t->c, c.data);
    status = status ? status : dnnl_memory_set_data_handle(t->scratch, scratch);
    dnnl_exec_arg_t arguments[5] = {{DNNL_ARG_SRC, t->a}, {DNNL_ARG_WEIGHTS, t->b}, {DNNL_ARG_DST, t->c},
                                    {DNNL_ARG_SCRATCHPAD, t->scratch}, {DNNL_ARG_BIAS, t->bias}};
    if (options.bias) {
        status = status ? status : dnnl_memory_set_data_handle(t->bias, (void *)(uintptr_t)options.bias);
    }
    status = status ? status : dnnl_primitive_execute(kernel->primitive, context->stream, options.bias ? 5 : 4, arguments);
    return status ? dnnl_failed(status, "compute a matrix product") : ATTN_OK;
}

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

/* Rows of A that the kernel would round differently by their number: in fixed
 * blocks, the last one padded with zeros. */
static attn_status run_padded_rows(gemm_context *context, int thread, matrix c, matrix a, matrix b, int packed,
                                   gemm_options options) {
    attn_status status = ATTN_OK;
    for (int64_t row = 0; row < c.rows && !status; row += PADDED_ROWS) {
        int64_t count = c.rows - row < PADDED_ROWS ? c.rows - row : PADDED_ROWS;
        matrix a_part = matrix_rows(a, row, PADDED_ROWS), c_part = matrix_rows(c, row, PADDED_ROWS);
        if (count == PADDED_ROWS) {
            status = run_block(context, thread, c_part, a_part, b, packed, options);
            continue;
        }
        size_t a_row = (size_t)a.columns * element_size(a.type), c_row = (size_t)c.columns * element_size(c.type);
        char *copy = memory_allocate(PADDED_ROWS, a_row + c_row + 128);
        if (!copy) {
            return ATTN_ERROR_MEMORY;
        }
        char *c_copy = copy + (PADDED_ROWS * a_row + 63) / 64 * 64;
        for (int64_t i = 0; i < count; i++) {
            memcpy(copy + (size_t)i * a_row, element_at(a_part.data, a.type, i * a.stride), a_row);
            if (options.accumulate) {
                memcpy(c_copy + (size_t)i * c_row, element_at(c_part.data, c.type, i * c.stride), c_row);
            }
        }
        status = run_block(context, thread, matrix_of(c_copy, PADDED_ROWS, c.columns, c.type),
                           matrix_of(copy, PADDED_ROWS, a.columns, a.type), b, packed, options);
        for (int64_t i = 0; i < count; i++) {
            memcpy(element_at(c_part.data, c.type, i * c.stride), c_copy + (size_t)i * c_row, c_row);
        }
        memory_free(copy);
    }
    return status;
}

/* C (+)= the last terms of the sum, fewer than DEPTH_STEP: copied and padded with zeros, which add
 * nothing. A is transposed, B is not. */
static attn_status run_padded_depth(gemm_context *context, int thread, matrix c, matrix a, matrix b, gemm_options options) {
    size_t size = element_size(a.type), a_row = (size_t)a.rows * size, b_row = (size_t)b.columns * size;
    char *a_copy = memory_allocate(DEPTH_STEP, a_row + b_row), *b_copy = a_copy + DEPTH_STEP * a_row;
    if (!a_copy) {
        return ATTN_ERROR_MEMORY;
    }
    for (int64_t k = 0; k < a.columns; k++) {
        memcpy(a_copy + (size_t)k * a_row, element_at(a.data, a.type, k * a.stride), a_row);
        memcpy(b_copy + (size_t)k * b_row, element_at(b.data, b.type, k * b.stride), b_row);
    }
    attn_status status = run_block(context, thread, c, matrix_transpose(matrix_of(a_copy, DEPTH_STEP, a.rows, a.type)),
                                   matrix_of(b_copy, DEPTH_STEP, b.columns, b.type), 0, options);
    memory_free(a_copy);
    return status;
}

/* The sum over A's columns in blocks, the first ones multiples of DEPTH_STEP: each reads and
 * writes all of C. */
static attn_status run_sum(gemm_context *context, int thread, matrix c, matrix a, matrix b, int packed, gemm_options options) {
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
        status = pads && block < DEPTH_STEP ? run_padded_depth(context, thread, c, a_part, b_part, part)
                                            : run_block(context, thread, c, a_part, b_part, packed, part);
        part.accumulate = 1;
        part.bias = NULL;
    }
    return status;
}

/* A part of C on one thread: its rows, or where A is transposed its sum, in blocks. */
static attn_status run_part(gemm_context *context, int thread, matrix c, matrix a, matrix b, int packed,
                            gemm_options options) {
    if (!a.transposed) {
        if (!context->rows_are_independent[a.type]) {
            return run_padded_rows(context, thread, c, a, b, packed, options);
        }
        attn_status status = ATTN_OK;
        for (int64_t row = 0, block; row < c.rows && !status; row += block) {
            int64_t left = c.rows - row;
            block = packed && left < ROW_BLOCK && left > ROW_STEP ? left / ROW_STEP * ROW_STEP : next_block(left, ROW_BLOCK);
            status = run_block(context, thread, matrix_rows(c, row, block), matrix_rows(a, row, block), b, packed, options);
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
    if (!a.transposed && !context->rows_are_independent[a.type]) {
        cut.rows = cut.rows / PADDED_ROWS * PADDED_ROWS;
    } else if (packed && !a.transposed && threads_get() == 1) {
        cut.rows = c.rows;
    }
    /* The bits of a row depend on the kernel's width, so that depends on n alone. */
    cut.columns = packed ? c.columns : COLUMN_BLOCK;
    cut.across = divide_up(c.columns, cut.columns);
    cut.tasks = divide_up(c.rows, cut.rows) * cut.across;
    return cut;
}

static attn_status run_task(gemm_context *context, int thread, const cutting *cut, int64_t task, matrix c, matrix a,
                            matrix b, int packed, gemm_options options) {
    int64_t row = task / cut->across * cut->rows, column = task % cut->across * cut->columns;
    int64_t rows = c.rows - row < cut->rows ? c.rows - row : cut->rows;
    int64_t columns = c.columns - column < cut->columns ? c.columns - column : cut->columns;
    if (options.bias) {
        options.bias += column;
    }
    return run_part(context, thread, matrix_columns(matrix_rows(c, row, rows), column, columns), matrix_rows(a, row, rows),
                    packed ? b : matrix_columns(b, column, columns), packed, options);
}

static attn_status run(gemm_context *context, matrix c, matrix a, matrix b, int packed, gemm_options options) {
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
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads < MOST_THREADS ? threads : MOST_THREADS)
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

/* --- packing ------------------------------------------------------------------ */

/* The primitive that brings b into the kernels' order. */
static dnnl_status_t prepare_packing(gemm_context *context, packed_matrix *packed, matrix b, const_descriptor blocked) {
    dnnl_dims_t dims = {b.rows, b.columns}, strides = {b.transposed ? 1 : b.stride, b.transposed ? b.stride : 1};
    descriptor plain;
    dnnl_primitive_desc_t reorder = NULL;
    dnnl_status_t status = descriptor_strided(&plain, dims, dnnl_type((int)b.type), strides);
    if (status) {
        return status;
    }
    status = dnnl_memory_create(&packed->from, DESCRIPTOR_ADDRESS(plain), context->engine, DNNL_MEMORY_NONE);
    status = status ? status : dnnl_memory_create(&packed->to, blocked, context->engine, packed->data);
    status = status ? status
                    : dnnl_reorder_primitive_desc_create(&reorder, DESCRIPTOR_ADDRESS(plain), context->engine, blocked,
                                                         context->engine, NULL);
    status = status ? status : dnnl_primitive_create(&packed->reorder, reorder);
    descriptor_free(plain);
    if (reorder) {
        (void)dnnl_primitive_desc_destroy(reorder);
    }
    return status;
}

attn_status gemm_pack(gemm_context *context, matrix b, element_type type, packed_matrix **packed) {
    *packed = NULL;
    gemm_key key = {PADDED_ROWS, b.columns, b.rows, b.rows, 0, b.columns, 0, 0, 1, (int)type, (int)type, 0, 0, 0};
    gemm_kernel *kernel = kernel_for(context, &key);
    packed_matrix *result = memory_allocate(1, sizeof *result);
    if (!kernel || !result) {
        memory_free(result);
        return ATTN_ERROR_INTERNAL;
    }
    const_descriptor blocked = query(kernel, dnnl_query_weights_md);
    *result = (packed_matrix){.data = memory_allocate(dnnl_memory_desc_get_size(blocked) + 64, 1),
                              .rows = b.rows, .columns = b.columns, .type = type};
    dnnl_status_t status = result->data ? prepare_packing(context, result, b, blocked) : dnnl_out_of_memory;
    attn_status done = status ? dnnl_failed(status, "prepare the packing of a weight matrix")
                              : gemm_repack(context, b.data, result);
    if (done) {
        packed_matrix_free(result);
        return done;
    }
    *packed = result;
    return ATTN_OK;
}

attn_status gemm_repack(gemm_context *context, const void *data, packed_matrix *packed) {
    dnnl_status_t status = dnnl_memory_set_data_handle(packed->from, (void *)(uintptr_t)data);
    dnnl_exec_arg_t arguments[2] = {{DNNL_ARG_FROM, packed->from}, {DNNL_ARG_TO, packed->to}};
    status = status ? status : dnnl_primitive_execute(packed->reorder, context->stream, 2, arguments);
    return status ? dnnl_failed(status, "pack a weight matrix") : ATTN_OK;
}

void packed_matrix_free(packed_matrix *packed) {
    if (packed) {
        if (packed->reorder) {
            (void)dnnl_primitive_destroy(packed->reorder);
        }
        if (packed->from) {
            (void)dnnl_memory_destroy(packed->from);
        }
        if (packed->to) {
            (void)dnnl_memory_destroy(packed->to);
        }
        memory_free(packed->data);
        memory_free(packed);
    }
}

attn_status gemm_packed(gemm_context *context, matrix c, matrix a, const packed_matrix *b, gemm_options options) {
    if (a.transposed || a.stride != a.columns || c.stride != c.columns) {
        return fail(ATTN_ERROR_INTERNAL, "a product with packed weights needs dense matrices");
    }
    return run(context, c, a, matrix_of(b->data, b->rows, b->columns, b->type), 1, options);
}

/* --- context ------------------------------------------------------------------ */

static int is_brgemm(gemm_context *context, element_type type) {
    gemm_key key = {1, 64, 64, 64, 64, 64, 0, 0, 0, (int)type, (int)type, 0, 0, 0};
    gemm_kernel *kernel = kernel_for(context, &key);
    const char *name = "";
    if (kernel) {
        (void)dnnl_primitive_desc_query(kernel->descriptor, dnnl_query_impl_info_str, 0, &name);
    }
    return strncmp(name, "brg", 3) == 0;
}

gemm_context *gemm_context_new(void) {
    gemm_context *context = memory_allocate(1, sizeof *context);
    if (!context) {
        return NULL;
    }
    dnnl_status_t status = dnnl_engine_create(&context->engine, dnnl_cpu, 0);
    status = status ? status : dnnl_stream_create(&context->stream, context->engine, dnnl_stream_default_flags);
    if (status) {
        (void)dnnl_failed(status, "start on this processor");
        if (context->engine) {
            (void)dnnl_engine_destroy(context->engine);
        }
        memory_free(context);
        return NULL;
    }
    omp_init_lock(&context->lock);
    context->rows_are_independent[ELEMENT_F32] = is_brgemm(context, ELEMENT_F32);
    context->rows_are_independent[ELEMENT_BF16] = is_brgemm(context, ELEMENT_BF16);
    return context;
}

void gemm_context_free(gemm_context *context) {
    if (!context) {
        return;
    }
    for (int i = 0; i < TABLE_SIZE; i++) {
        for (gemm_kernel *kernel = context->table[i], *next; kernel; kernel = next) {
            next = kernel->next;
            kernel_free(kernel);
        }
    }
    for (int i = 0; i < MOST_THREADS; i++) {
        memory_free(context->scratch[i]);
    }
    omp_destroy_lock(&context->lock);
    (void)dnnl_stream_destroy(context->stream);
    (void)dnnl_engine_destroy(context->engine);
    memory_free(context);
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
