#include "tensor/time_order.h"

#include "tensor/partial_sums.h"

attn_status time_order_make(tape *t, packing p, time_order *out) {
    *out = (time_order){.sequences = p.sequences, .tokens = p.offsets[p.sequences]};
    for (int64_t s = 0; s < p.sequences; s++) {
        int64_t length = p.offsets[s + 1] - p.offsets[s];
        out->steps = length > out->steps ? length : out->steps;
    }
    out->sequence = tape_memory(t, p.sequences, sizeof *out->sequence);
    out->base = tape_memory(t, out->steps + 1, sizeof *out->base);
    int32_t *place = tape_memory(t, out->steps + 1, sizeof *place); /* by length: the next rank */
    if (t->status) {
        return t->status;
    }
    memset(place, 0, (size_t)(out->steps + 1) * sizeof *place);
    for (int64_t s = 0; s < p.sequences; s++) {
        place[p.offsets[s + 1] - p.offsets[s]]++;
    }
    int32_t running = (int32_t)p.sequences - place[0], rank = 0;
    out->base[0] = 0;
    for (int64_t step = 0; step < out->steps; step++) {
        out->base[step + 1] = out->base[step] + running;
        running -= place[step + 1];
    }
    for (int64_t length = out->steps; length >= 0; length--) {
        int32_t count = place[length];
        place[length] = rank;
        rank += count;
    }
    for (int64_t s = 0; s < p.sequences; s++) {
        out->sequence[place[p.offsets[s + 1] - p.offsets[s]]++] = (int32_t)s;
    }
    return ATTN_OK;
}

attn_status step_weight_forward(tape *t, parameter weight, step_weight *out) {
    *out = (step_weight){NULL, t->packed ? packed_parameters_find(t->packed, weight) : NULL};
    return out->fixed ? ATTN_OK
                      : gemm_pack(t->gemm, matrix_transpose(parameter_matrix(t->parameters, weight)), t->type, &out->own);
}

attn_status step_weight_backward(tape *t, parameter weight, step_weight *out) {
    *out = (step_weight){NULL, NULL};
    return gemm_pack(t->gemm, parameter_matrix(t->parameters, weight), t->type, &out->own);
}

void step_weight_free(step_weight *weight) {
    packed_matrix_free(weight->own);
    *weight = (step_weight){NULL, NULL};
}

size_t step_weight_room(const step_weight *weight, int64_t rows) {
    return weight->fixed ? product_room(weight->fixed, rows) : 0;
}

attn_status step_product(const tape *t, const step_weight *weight, matrix c, matrix a, gemm_options options, void *room) {
    if (!weight->fixed) {
        return gemm_packed(t->gemm, c, a, weight->own, options);
    }
    product_run(c.data, c.stride, a.data, a.stride, a.rows, weight->fixed, options.bias, 0, room);
    return ATTN_OK;
}

void add_column_sums(tape *t, matrix x, float *out) {
    partial_sums sums;
    if (partial_sums_open(t, &sums, x.rows, x.columns)) {
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t chunk = 0; chunk < sums.chunks; chunk++) {
        float room[x.columns + 16];
        for (int64_t i = partial_sums_first(chunk); i < partial_sums_end(&sums, chunk); i++) {
            const void *row = element_at(x.data, x.type, i * x.stride);
            t->rows->add(partial_sums_chunk(&sums, chunk), row_read(t, x.type, row, room, x.columns), x.columns);
        }
    }
    partial_sums_add_to(t, &sums, out);
}

void add_weight_gradient(tape *t, parameter weight, parameter bias, matrix dy, matrix x) {
    if (t->status) {
        return;
    }
    matrix d_weight = matrix_of(parameter_gradients(t->parameters, weight), weight.rows, weight.columns, ELEMENT_F32);
    tape_fail(t, gemm(t->gemm, d_weight, matrix_transpose(dy), x, (gemm_options){.accumulate = 1}));
    if (bias.columns) {
        add_column_sums(t, dy, parameter_gradients(t->parameters, bias));
    }
}
