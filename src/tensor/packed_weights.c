#include "tensor/packed_weights.h"

#include <omp.h>

#include "base/memory.h"

typedef struct trained_weight {
    parameter weight;
    int transposed;
    packed_matrix *matrix;
} trained_weight;

struct packed_weights {
    const parameters *values;
    gemm_context *gemm; /* packs again with what packed first; workers come and go */
    trained_weight *list; /* in the order of first use; a model has some hundreds at most */
    size_t count, capacity;
    omp_lock_t lock;
};

packed_weights *packed_weights_new(const parameters *values) {
    packed_weights *set = memory_allocate(1, sizeof *set);
    if (set) {
        set->values = values;
        omp_init_lock(&set->lock);
        set->gemm = gemm_context_new();
    }
    if (set && !set->gemm) {
        packed_weights_free(set);
        return NULL;
    }
    return set;
}

void packed_weights_free(packed_weights *set) {
    if (set) {
        for (size_t i = 0; i < set->count; i++) {
            packed_matrix_free(set->list[i].matrix);
        }
        gemm_context_free(set->gemm);
        memory_free(set->list);
        omp_destroy_lock(&set->lock);
        memory_free(set);
    }
}

attn_status packed_weights_renew(packed_weights *set) {
    attn_status result = ATTN_OK;
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t i = 0; i < set->count; i++) {
        matrix plain = parameter_matrix(set->values, set->list[i].weight);
        if (gemm_repack(set->gemm, plain.data, set->list[i].matrix)) {
#pragma omp critical(attn_packed_weights_status)
            result = ATTN_ERROR_INTERNAL;
        }
    }
    return result ? fail(result, "the weights could not be packed for the next update") : ATTN_OK;
}

static const packed_matrix *find(const packed_weights *set, parameter weight, int transposed) {
    for (size_t i = 0; i < set->count; i++) {
        const trained_weight *p = &set->list[i];
        if (p->weight.offset == weight.offset && p->weight.rows == weight.rows && p->transposed == transposed) {
            return p->matrix;
        }
    }
    return NULL;
}

static attn_status add(packed_weights *set, parameter weight, int transposed,
                       const packed_matrix **packed) {
    attn_status status = memory_grow(&set->list, &set->capacity, set->count + 1, sizeof *set->list);
    matrix plain = parameter_matrix(set->values, weight);
    packed_matrix *made = NULL;
    status = status ? status : gemm_pack(set->gemm, transposed ? matrix_transpose(plain) : plain, plain.type, &made);
    if (!status) {
        set->list[set->count++] = (trained_weight){weight, transposed, made};
        *packed = made;
    }
    return status;
}

attn_status packed_weights_get(packed_weights *set, parameter weight, int transposed,
                               const packed_matrix **packed) {
    attn_status status = ATTN_OK;
    omp_set_lock(&set->lock);
    *packed = find(set, weight, transposed);
    if (!*packed) {
        status = add(set, weight, transposed, packed);
    }
    omp_unset_lock(&set->lock);
    return status;
}

size_t packed_weights_bytes(const packed_weights *set) {
    size_t total = 0;
    for (size_t i = 0; i < set->count; i++) {
        size_t elements = (size_t)(set->list[i].weight.rows * set->list[i].weight.columns);
        total += elements * (set->values->copies ? sizeof(bf16) : sizeof(float));
    }
    return total;
}
