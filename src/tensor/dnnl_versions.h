/* oneDNN's interfaces of version 2 (Debian 12) and 3 as one; for gemm_kernels.c alone. */
#ifndef ATTN_TENSOR_DNNL_VERSIONS_H
#define ATTN_TENSOR_DNNL_VERSIONS_H

#include <oneapi/dnnl/dnnl.h>

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t descriptor;
typedef const_dnnl_memory_desc_t const_descriptor;
#define DESCRIPTOR_ADDRESS(d) (d)
static inline void descriptor_free(descriptor d) {
    (void)dnnl_memory_desc_destroy(d);
}
static inline dnnl_status_t descriptor_strided(descriptor *d, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides) {
    return dnnl_memory_desc_create_with_strides(d, 2, dims, type, strides);
}
static inline dnnl_status_t descriptor_any(descriptor *d, const dnnl_dims_t dims, dnnl_data_type_t type) {
    return dnnl_memory_desc_create_with_tag(d, 2, dims, type, dnnl_format_tag_any);
}
static inline dnnl_status_t matmul_descriptor(dnnl_primitive_desc_t *out, dnnl_engine_t engine, descriptor a, descriptor b,
                                       descriptor bias, descriptor c, dnnl_primitive_attr_t attributes) {
    return dnnl_matmul_primitive_desc_create(out, engine, a, b, bias, c, attributes);
}
static inline dnnl_status_t append_rectifier(dnnl_post_ops_t operations) {
    return dnnl_post_ops_append_eltwise(operations, dnnl_eltwise_relu, 0.f, 0.f);
}
static inline dnnl_status_t append_sum(dnnl_post_ops_t operations) {
    return dnnl_post_ops_append_sum(operations, 1.f, 0, dnnl_data_type_undef);
}
#define NO_DESCRIPTOR NULL
#else
typedef dnnl_memory_desc_t descriptor;
typedef const dnnl_memory_desc_t *const_descriptor;
#define DESCRIPTOR_ADDRESS(d) (&(d))
static inline void descriptor_free(descriptor d) {
    (void)d;
}
static inline dnnl_status_t descriptor_strided(descriptor *d, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides) {
    return dnnl_memory_desc_init_by_strides(d, 2, dims, type, strides);
}
static inline dnnl_status_t descriptor_any(descriptor *d, const dnnl_dims_t dims, dnnl_data_type_t type) {
    return dnnl_memory_desc_init_by_tag(d, 2, dims, type, dnnl_format_tag_any);
}
static inline dnnl_status_t matmul_descriptor(dnnl_primitive_desc_t *out, dnnl_engine_t engine, descriptor a, descriptor b,
                                       descriptor bias, descriptor c, dnnl_primitive_attr_t attributes) {
    dnnl_matmul_desc_t operation;
    dnnl_status_t status = dnnl_matmul_desc_init(&operation, &a, &b, bias.ndims ? &bias : NULL, &c);
    return status ? status : dnnl_primitive_desc_create(out, &operation, attributes, engine, NULL);
}
static inline dnnl_status_t append_rectifier(dnnl_post_ops_t operations) {
    return dnnl_post_ops_append_eltwise(operations, 1.f, dnnl_eltwise_relu, 0.f, 0.f);
}
static inline dnnl_status_t append_sum(dnnl_post_ops_t operations) {
    return dnnl_post_ops_append_sum(operations, 1.f);
}
#define NO_DESCRIPTOR ((descriptor){0})
#endif

#endif
