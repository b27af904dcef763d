/* A case against the reference; see attention_check.h. */
#include "bench/attention_check.h"

#include <math.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "bench/attention_plain.h"

/* What is compared: a case's arrays and those that the looking passes give. */
typedef struct case_result {
    case_arrays arrays;
    float *weights, *sums;
} case_result;

typedef struct comparison {
    const char *what;
    const void *got, *want;
    const float *plain[PLAIN_ORDERS]; /* f32 whatever the dtype */
    size_t count;
    attn_dtype dtype;
    double factor;
    attn_dtype precision; /* of what it is computed from */
    float term;           /* the largest that is summed */
} comparison;

static double largest_difference(const comparison *c) {
    double most = 0;
    for (size_t i = 0; i < c->count; i++) {
        const double a = (double)case_get(c->got, c->dtype, i), b = (double)case_get(c->want, c->dtype, i);
        if (a == b || (a != a && b != b)) {
            continue;
        }
        const double difference = fabs(a - b);
        if (difference != difference) {
            return INFINITY;
        }
        most = difference > most ? difference : most;
    }
    return most;
}

/* 1 if it is worse than its bound, after saying so. */
static int is_worse(const comparison *c, const char *name, FILE *out) {
    double size = isfinite(c->term) ? (double)c->term : 0, plain_error = 0;
    for (size_t i = 0; i < c->count; i++) {
        const double want = (double)case_get(c->want, c->dtype, i);
        if (isfinite(want)) {
            size = fabs(want) > size ? fabs(want) : size;
            for (int order = 0; order < PLAIN_ORDERS; order++) {
                plain_error = fmax(plain_error, fabs(want - (double)c->plain[order][i]));
            }
        }
    }
    const double error = largest_difference(c);
    /* an error of zero in plain is luck: allow the last bit of the largest element or term */
    const double unit = c->precision == ATTN_F32 ? 0x1p-23 : 0x1p-8;
    const double bound = c->factor * (plain_error + unit * size);
    if (error <= bound) {
        return 0;
    }
    (void)fprintf(out, "%s: error of %s %.3g, bound %.3g (plain %.3g, size %.3g)\n", name, c->what, error,
                  bound, plain_error, size);
    return 1;
}

static attn_status run(const attention_case *c, uint64_t seed, attn_kernel kernel, size_t weights,
                       case_result *r) {
    case_arrays *a = &r->arrays;
    attn_status status = case_fill(c, seed, a);
    a->problem.kernel = kernel;
    r->weights = memory_allocate(weights, sizeof(float));
    r->sums = memory_allocate((size_t)(c->heads * a->k_tokens), sizeof(float));
    status = status ? status : r->weights && r->sums ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (status || (status = case_forward(a)) || (status = case_backward(a)) ||
        (status = case_workspace(a, ATTN_PASS_COLUMN_SUMS)) ||
        (status = attn_attention_column_sums(&a->problem, a->q, a->k, a->log_sum_exp, r->sums, a->workspace,
                                             a->workspace_size)) ||
        !weights || (status = case_workspace(a, ATTN_PASS_WEIGHTS))) {
        return status;
    }
    return attn_attention_weights(&a->problem, a->q, a->k, r->weights, a->workspace, a->workspace_size);
}

static void release(case_result *r) {
    memory_free(r->weights);
    memory_free(r->sums);
    r->weights = r->sums = NULL;
    case_free(&r->arrays);
}

static int compare(const case_result *got, const case_result *want, const plain_result *plain,
                   const char *name, FILE *out) {
    const case_arrays *g = &got->arrays, *w = &want->arrays;
    const attn_dtype t = w->problem.dtype;
    const size_t heads = (size_t)w->problem.heads;
#define PLAIN(array) {plain[0].array, plain[1].array, plain[2].array}
    const comparison all[] = {
        {"o", g->o, w->o, PLAIN(o), w->o_count, t, 2, t, plain->linear_term},
        {"log_sum_exp", g->log_sum_exp, w->log_sum_exp, PLAIN(log_sum_exp), w->rows, ATTN_F32, 2, ATTN_F32,
         plain->weight_term},
        {"weights", got->weights, want->weights, PLAIN(weights), plain->weights_count, ATTN_F32, 2, ATTN_F32,
         plain->weight_term},
        {"column sums", got->sums, want->sums, PLAIN(sums), heads * (size_t)w->k_tokens, ATTN_F32, 2,
         ATTN_F32, plain->weight_term},
        {"d_q", g->d_q, w->d_q, PLAIN(d_q), w->d_q_count, t, 3, t, plain->gradient_term},
        {"d_k", g->d_k, w->d_k, PLAIN(d_k), w->d_k_count, t, 3, t, plain->gradient_term},
        {"d_v", g->d_v, w->d_v, PLAIN(d_v), w->d_v_count, t, 3, t, 0},
        {"d_bias", g->d_bias, w->d_bias, PLAIN(d_bias), w->bias_count, ATTN_F32, 3, t, plain->bias_term},
        {"d_sinks", g->d_sinks, w->d_sinks, PLAIN(d_sinks), w->d_sinks ? heads : 0, ATTN_F32, 3, t,
         plain->sink_term},
    };
#undef PLAIN
    int bad = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        bad += is_worse(&all[i], name, out);
    }
    return bad;
}

attn_status attention_check_case(const attention_case *c, uint64_t seed, FILE *out, int *bad) {
    case_result want = {0}, got = {0};
    plain_result plain[PLAIN_ORDERS] = {{0}};
    *bad = 0;
    attn_status status = case_fill(c, seed, &want.arrays);
    for (int order = 0; order < PLAIN_ORDERS && !status; order++) {
        status = plain_run(&want.arrays, order, &plain[order]);
    }
    case_free(&want.arrays);
    if (!status) {
        status = run(c, seed, ATTN_KERNEL_REFERENCE, plain[0].weights_count, &want);
    }
    for (int level = 0; level <= (int)cpu_detected() && !status; level++) {
        char name[200];
        (void)snprintf(name, sizeof name, "%s %s (seed %llu), %s", c->name, c->dtype ? "bf16" : "f32",
                       (unsigned long long)seed, cpu_level_name((cpu_level)level));
        status = run(c, seed, (attn_kernel)(ATTN_KERNEL_PORTABLE + level), plain[0].weights_count, &got);
        *bad += status ? 0 : compare(&got, &want, plain, name, out);
        release(&got);
    }
    for (int order = 0; order < PLAIN_ORDERS; order++) {
        plain_free(&plain[order]);
    }
    release(&want);
    return status;
}
