/* oneDNN's matmul, v2 (Debian 12) and v3 interfaces: every block of a product is one single-threaded
 * primitive, kept in a table by shape, so a new number of tokens compiles nothing. See gemm_kernels.h. */
#include "tensor/gemm_kernels.h"

#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/dnnl_versions.h"

enum { TABLE_SIZE = 4096 };

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
    thread_arguments *threads[GEMM_THREADS];
    struct gemm_kernel *next;
} gemm_kernel;

struct gemm_context {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    gemm_kernel *table[TABLE_SIZE];
    omp_lock_t lock;
    int multiplies[2];           /* by element type */
    int rows_are_independent[2]; /* likewise: brgemm was chosen */
    char *room[GEMM_ROOMS][GEMM_THREADS];
    size_t room_size[GEMM_ROOMS][GEMM_THREADS];
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
        status = key->b_stride ? descriptor_strided(&b, b_dims, dnnl_type(key->type), b_strides)
                               : descriptor_any(&b, b_dims, dnnl_type(key->type));
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
    for (int i = 0; i < GEMM_THREADS; i++) {
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
    const int64_t parts[] = {key->rows,     key->columns,   key->depth,        key->a_stride,
                             key->b_stride, key->c_stride,  key->a_transposed, key->b_transposed,
                             key->b_packed, key->type,      key->c_type,       key->bias,
                             key->rectify,  key->accumulate};
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        hash = (hash ^ (uint64_t)parts[i]) * 1099511628211u;
        hash ^= hash >> 29;
    }
    return hash;
}

static int same_key(const gemm_key *x, const gemm_key *y) {
    return x->rows == y->rows && x->columns == y->columns && x->depth == y->depth &&
           x->a_stride == y->a_stride && x->b_stride == y->b_stride && x->c_stride == y->c_stride &&
           x->a_transposed == y->a_transposed && x->b_transposed == y->b_transposed &&
           x->b_packed == y->b_packed && x->type == y->type && x->c_type == y->c_type && x->bias == y->bias &&
           x->rectify == y->rectify && x->accumulate == y->accumulate;
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

char *gemm_room(gemm_context *context, gemm_room_use use, int thread, size_t size) {
    char **room = &context->room[use][thread];
    size_t *has = &context->room_size[use][thread];
    if (*has < size || !*room) {
        memory_free(*room);
        *has = 0;
        *room = memory_allocate_raw(size + size / 4, 1);
        *has = *room ? size + size / 4 : 0;
    }
    return *room;
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
    dnnl_status_t status =
        dnnl_memory_create(&t->a, query(kernel, dnnl_query_src_md), context->engine, DNNL_MEMORY_NONE);
    if (!status) {
        status = dnnl_memory_create(&t->b, query(kernel, dnnl_query_weights_md), context->engine,
                                    DNNL_MEMORY_NONE);
    }
    if (!status) {
        status =
            dnnl_memory_create(&t->c, query(kernel, dnnl_query_dst_md), context->engine, DNNL_MEMORY_NONE);
    }
    if (!status && kernel->key.bias) {
        status = dnnl_memory_create(
            &t->bias, dnnl_primitive_desc_query_md(kernel->descriptor, dnnl_query_weights_md, 1),
            context->engine, DNNL_MEMORY_NONE);
    }
    if (!status) {
        status = dnnl_memory_create(&t->scratch, query(kernel, dnnl_query_scratchpad_md), context->engine,
                                    DNNL_MEMORY_NONE);
    }
    if (status) {
        (void)dnnl_failed(status, "describe an array");
        memory_free(t);
        return NULL;
    }
    kernel->threads[thread] = t;
    return t;
}

/* From row to row of a packed matrix of the older kernels. */
static int64_t packed_stride(const gemm_context *context, element_type type, int64_t columns) {
    return context->rows_are_independent[type] ? 0 : gemm_spread_stride(columns);
}

attn_status gemm_block(gemm_context *context, int thread, matrix c, matrix a, matrix b, int packed,
                       gemm_options options) {
    const gemm_key key = {c.rows,
                          c.columns,
                          a.columns,
                          a.stride,
                          packed ? packed_stride(context, b.type, b.columns) : b.stride,
                          c.stride,
                          a.transposed,
                          packed ? 0 : b.transposed,
                          packed,
                          (int)a.type,
                          (int)c.type,
                          options.bias != NULL,
                          options.rectify,
                          options.accumulate};
    gemm_kernel *kernel = kernel_for(context, &key);
    if (!kernel) {
        return ATTN_ERROR_INTERNAL;
    }
    thread_arguments *t = arguments_for(context, kernel, thread);
    char *scratch = gemm_room(context, GEMM_SCRATCH, thread, kernel->scratch_size + 64);
    if (!t || !scratch) {
        return ATTN_ERROR_MEMORY;
    }
    dnnl_status_t status = dnnl_memory_set_data_handle(t->a, a.data);
    status = status ? status : dnnl_memory_set_data_handle(t->b, b.data);
    status = status ? status : dnnl_memory_set_data_handle(t->c, c.data);
    status = status ? status : dnnl_memory_set_data_handle(t->scratch, scratch);
    dnnl_exec_arg_t arguments[5] = {{DNNL_ARG_SRC, t->a},
                                    {DNNL_ARG_WEIGHTS, t->b},
                                    {DNNL_ARG_DST, t->c},
                                    {DNNL_ARG_SCRATCHPAD, t->scratch},
                                    {DNNL_ARG_BIAS, t->bias}};
    if (options.bias) {
        status = status ? status : dnnl_memory_set_data_handle(t->bias, (void *)(uintptr_t)options.bias);
    }
    status =
        status ? status
               : dnnl_primitive_execute(kernel->primitive, context->stream, options.bias ? 5 : 4, arguments);
    return status ? dnnl_failed(status, "compute a matrix product") : ATTN_OK;
}

/* --- packing ------------------------------------------------------------------ */

/* The primitive that brings b into the kernels' order. */
static dnnl_status_t prepare_packing(gemm_context *context, packed_matrix *packed, matrix b,
                                     const_descriptor blocked) {
    dnnl_dims_t dims = {b.rows, b.columns},
                strides = {b.transposed ? 1 : b.stride, b.transposed ? b.stride : 1};
    descriptor plain;
    dnnl_primitive_desc_t reorder = NULL;
    dnnl_status_t status = descriptor_strided(&plain, dims, dnnl_type((int)b.type), strides);
    if (status) {
        return status;
    }
    status = dnnl_memory_create(&packed->from, DESCRIPTOR_ADDRESS(plain), context->engine, DNNL_MEMORY_NONE);
    status = status ? status : dnnl_memory_create(&packed->to, blocked, context->engine, packed->data);
    status = status ? status
                    : dnnl_reorder_primitive_desc_create(&reorder, DESCRIPTOR_ADDRESS(plain), context->engine,
                                                         blocked, context->engine, NULL);
    status = status ? status : dnnl_primitive_create(&packed->reorder, reorder);
    descriptor_free(plain);
    if (reorder) {
        (void)dnnl_primitive_desc_destroy(reorder);
    }
    return status;
}

attn_status gemm_pack(gemm_context *context, matrix b, element_type type, packed_matrix **packed) {
    *packed = NULL;
    const gemm_key key = {
        GEMM_PADDED_ROWS, b.columns, b.rows, b.rows, packed_stride(context, type, b.columns),
        b.columns,        0,         0,      1,      (int)type,
        (int)type,        0,         0,      0};
    gemm_kernel *kernel = kernel_for(context, &key);
    packed_matrix *result = memory_allocate(1, sizeof *result);
    if (!kernel || !result) {
        memory_free(result);
        return ATTN_ERROR_INTERNAL;
    }
    const_descriptor blocked = query(kernel, dnnl_query_weights_md);
    *result = (packed_matrix){.data = memory_allocate(dnnl_memory_desc_get_size(blocked) + 64, 1),
                              .rows = b.rows,
                              .columns = b.columns,
                              .type = type};
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

matrix gemm_packed_contents(const packed_matrix *packed) {
    return matrix_of(packed->data, packed->rows, packed->columns, packed->type);
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

/* --- context ------------------------------------------------------------------ */

/* Which kernels oneDNN takes for a type, if any. */
static void look_at_type(gemm_context *context, element_type type) {
    const gemm_key key = {1, 64, 64, 64, 64, 64, 0, 0, 0, (int)type, (int)type, 0, 0, 0};
    const gemm_kernel *kernel = kernel_for(context, &key);
    const char *name = "";
    if (kernel) {
        (void)dnnl_primitive_desc_query(kernel->descriptor, dnnl_query_impl_info_str, 0, &name);
    }
    context->multiplies[type] = kernel != NULL;
    context->rows_are_independent[type] = strncmp(name, "brg", 3) == 0;
}

int gemm_multiplies(const gemm_context *context, element_type type) {
    return context->multiplies[type];
}

int gemm_rows_are_independent(const gemm_context *context, element_type type) {
    return context->rows_are_independent[type];
}

gemm_context *gemm_context_new(void) {
    gemm_context *context = memory_allocate(1, sizeof *context);
    if (!context) {
        return NULL;
    }
    dnnl_status_t status = dnnl_engine_create(&context->engine, dnnl_cpu, 0);
    status =
        status ? status : dnnl_stream_create(&context->stream, context->engine, dnnl_stream_default_flags);
    if (status) {
        (void)dnnl_failed(status, "start on this processor");
        if (context->engine) {
            (void)dnnl_engine_destroy(context->engine);
        }
        memory_free(context);
        return NULL;
    }
    omp_init_lock(&context->lock);
    look_at_type(context, ELEMENT_F32);
    look_at_type(context, ELEMENT_BF16);
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
    for (int use = 0; use < GEMM_ROOMS; use++) {
        for (int i = 0; i < GEMM_THREADS; i++) {
            memory_free(context->room[use][i]);
        }
    }
    omp_destroy_lock(&context->lock);
    (void)dnnl_stream_destroy(context->stream);
    (void)dnnl_engine_destroy(context->engine);
    memory_free(context);
}
