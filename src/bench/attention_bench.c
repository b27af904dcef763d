/* The operator's speed, case by case: the share of what a 2048-cubed matrix product reaches in the
 * same type, on the same threads, in the same run; for decoding the share of the bandwidth at which
 * memory is read. FLOPs are counted for the visible scores P alone: forward 2 P (d + d_v), backward
 * 2 P (3 d + 2 d_v). Beside it the check of cases against the reference. */
#include <attn/attn.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/threads.h"
#include "bench/attention_check.h"
#include "tensor/gemm.h"

static const char *const TYPE_NAMES[] = {"f32", "bf16", "int8"};

/* One thread's own time, so that others who use the machine count less; with more, the clock's. */
static double now(void) {
    struct timespec t;
    clock_gettime(threads_get() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Runs work until the time is over; *best: seconds of the fastest run. */
typedef attn_status (*timed_work)(void *context);
static attn_status fastest(timed_work work, void *context, double seconds, double *best) {
    attn_status status = work(context); /* pages touched, kernels made */
    *best = 1e9;
    for (const double end = now() + seconds; !status;) {
        const double start = now();
        status = work(context);
        const double stop = now();
        *best = stop - start < *best ? stop - start : *best;
        if (stop >= end) {
            break;
        }
    }
    return status;
}

/* --- the two roofs ------------------------------------------------------------------------ */

enum { CUBE = 2048, READ_FLOATS = 64 << 20, READ_BLOCK = 4096 };

typedef struct product_work {
    gemm_context *context;
    matrix a, b, c;
} product_work;

static attn_status run_product(void *context) {
    const product_work *w = context;
    return gemm(w->context, w->c, w->a, w->b, (gemm_options){0});
}

/* The type of the product that is the roof: f32 where the processor multiplies no bf16. */
static element_type roof_type(const gemm_context *context, attn_dtype dtype) {
    return dtype != ATTN_F32 && gemm_multiplies(context, ELEMENT_BF16) ? ELEMENT_BF16 : ELEMENT_F32;
}

/* *rate: operations a second of oneDNN's product. */
static attn_status measure_roof(gemm_context *context, attn_dtype dtype, double seconds, double *rate) {
    const element_type type = roof_type(context, dtype);
    const size_t count = (size_t)CUBE * CUBE;
    void *in = memory_allocate(2 * count, element_size(type)), *out = memory_allocate(count, sizeof(float));
    attn_status status = in && out ? ATTN_OK : ATTN_ERROR_MEMORY;
    double best = 1;
    if (!status) {
        product_work w = {context, matrix_of(in, CUBE, CUBE, type),
                          matrix_of(element_at(in, type, (int64_t)count), CUBE, CUBE, type),
                          matrix_of(out, CUBE, CUBE, ELEMENT_F32)};
        status = fastest(run_product, &w, seconds, &best);
    }
    memory_free(in);
    memory_free(out);
    *rate = 2.0 * CUBE * CUBE * CUBE / best;
    return status;
}

typedef struct read_work {
    const float *array;
    double total; /* keeps the sums alive */
} read_work;

static attn_status run_read(void *context) {
    read_work *w = context;
    double sum = 0;
#pragma omp parallel for reduction(+ : sum) schedule(static)
    for (int64_t block = 0; block < READ_FLOATS / READ_BLOCK; block++) {
        float lane[64] = {0};
        for (int64_t i = 0; i < READ_BLOCK; i += 64) {
            for (int64_t l = 0; l < 64; l++) {
                lane[l] += w->array[block * READ_BLOCK + i + l];
            }
        }
        for (int64_t l = 0; l < 64; l++) {
            sum += (double)lane[l];
        }
    }
    w->total += sum;
    return ATTN_OK;
}

/* *rate: bytes a second that a plain sum of 256 MB reads. */
static attn_status measure_reading(double seconds, double *rate) {
    float *array = memory_allocate(READ_FLOATS, sizeof(float));
    double best = 1;
    if (!array) {
        return ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < READ_FLOATS; i += 1024) { /* every page its own */
        array[i] = 1;
    }
    read_work w = {array, 0};
    attn_status status = fastest(run_read, &w, seconds, &best);
    memory_free(array);
    *rate = w.total > 0 ? (double)READ_FLOATS * sizeof(float) / best : 0;
    return status;
}

/* --- forward and backward -------------------------------------------------------------------- */

static double visible_pairs(const attn_attention_problem *p) {
    double pairs = 0;
    for (int64_t b = 0; b < p->sequences; b++) {
        const sequence_view s = problem_sequence(p, b);
        for (int64_t i = 0; i < s.queries; i++) {
            int64_t low, high;
            problem_visible(p, &s, i, &low, &high);
            pairs += (double)(high - low);
        }
    }
    return pairs * (double)p->heads;
}

static attn_status run_forward(void *arrays) {
    return case_forward(arrays);
}

static attn_status run_backward(void *arrays) {
    return case_backward(arrays);
}

static void print_case(const attention_case *c, const char *type, const char *roof_name, double roof,
                       const double *work, const double *seconds, const size_t *workspace, int json,
                       FILE *out) {
    const double forward = work[0] / seconds[0], backward = work[1] / seconds[1];
    if (json) {
        (void)fprintf(out,
                      "{\"case\": \"%s\", \"type\": \"%s\", \"roof\": %.6g, \"roof_type\": \"%s\", "
                      "\"forward_seconds\": %.6g, "
                      "\"backward_seconds\": %.6g, \"forward_share\": %.4f, \"backward_share\": %.4f, "
                      "\"workspace_bytes\": [%zu, %zu]}\n",
                      c->name, type, roof, roof_name, seconds[0], seconds[1], forward / roof, backward / roof,
                      workspace[0], workspace[1]);
    } else {
        (void)fprintf(out, "%-26s %-5s %7.0f %9.0f %6.2f %9.0f %6.2f %9.2f %6.2f\n", c->name, type, roof * 1e-9,
                      forward * 1e-9, forward / roof, backward * 1e-9, backward / roof, (double)workspace[0] * 1e-6,
                      (double)workspace[1] * 1e-6);
    }
    (void)fflush(out);
}

/* The roof is measured before and after: the better of the two. */
static attn_status case_row(const attention_case *given, attn_dtype dtype, const attn_bench_options *options,
                            gemm_context *gemm, FILE *out) {
    attention_case c = *given;
    case_arrays a;
    double roof[2] = {1, 1}, seconds[2] = {1, 1};
    size_t workspace[2] = {0, 0};
    c.dtype = dtype;
    attn_status status = case_fill(&c, 1, &a);
    if (!status && !(status = measure_roof(gemm, dtype, options->seconds, &roof[0])) &&
        !(status = attn_attention_workspace(&a.problem, ATTN_PASS_FORWARD, &workspace[0])) &&
        !(status = attn_attention_workspace(&a.problem, ATTN_PASS_BACKWARD, &workspace[1])) &&
        !(status = fastest(run_forward, &a, options->seconds, &seconds[0])) &&
        !(status = fastest(run_backward, &a, options->seconds, &seconds[1])) &&
        !(status = measure_roof(gemm, dtype, options->seconds, &roof[1]))) {
        const double pairs = visible_pairs(&a.problem);
        const double work[2] = {2 * pairs * (double)(c.d + c.d_v), 2 * pairs * (double)(3 * c.d + 2 * c.d_v)};
        print_case(&c, TYPE_NAMES[dtype], roof_type(gemm, dtype) == ELEMENT_F32 ? "f32" : "bf16",
                   roof[0] > roof[1] ? roof[0] : roof[1], work, seconds, workspace, options->json, out);
    }
    case_free(&a);
    return status;
}

/* --- decoding -------------------------------------------------------------------------------- */

enum { SEQUENCES = 8, HEADS = 16, KV = 4, KEYS = 4096, WIDTH = 128 };
static const char DECODE_NAME[] = "8x16/4x1x4096-decode";

typedef struct decode_work {
    attn_attention_problem problem;
    attn_attention_cache cache;
    float *q, *o, *scales;
    char *k, *v;
    void *workspace;
    size_t workspace_size;
} decode_work;

static attn_status run_decode(void *context) {
    decode_work *w = context;
    return attn_attention_decode(&w->problem, &w->cache, w->q, w->o, NULL, w->workspace, w->workspace_size);
}

static attn_status decode_fill(attn_dtype dtype, decode_work *w) {
    const size_t rows = (size_t)SEQUENCES * KEYS * KV, bytes = (size_t)dtype_size(dtype);
    memset(w, 0, sizeof *w);
    attn_attention_defaults(&w->problem, HEADS, KV, WIDTH, WIDTH);
    attn_attention_batch(&w->problem, SEQUENCES, 1, KEYS);
    attn_status status = attn_attention_workspace(&w->problem, ATTN_PASS_DECODE, &w->workspace_size);
    w->k = memory_allocate(rows * WIDTH, bytes);
    w->v = memory_allocate(rows * WIDTH, bytes);
    w->scales = memory_allocate(rows, sizeof(float));
    w->q = memory_allocate(SEQUENCES * HEADS * WIDTH, sizeof(float));
    w->o = memory_allocate(SEQUENCES * HEADS * WIDTH, sizeof(float));
    w->workspace = memory_allocate(w->workspace_size, 1);
    if (status || !w->k || !w->v || !w->scales || !w->q || !w->o || !w->workspace) {
        return status ? status : ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < rows * WIDTH; i++) { /* small numbers in every type */
        const float x = (float)(i * 31 % 127) / 64.0f - 1.0f;
        if (dtype == ATTN_I8) {
            w->k[i] = w->v[i] = (char)(x * 100.0f);
        } else {
            case_set(w->k, dtype, i, x);
            case_set(w->v, dtype, i, x);
        }
    }
    for (size_t i = 0; i < rows; i++) {
        w->scales[i] = 0.01f;
    }
    for (size_t i = 0; i < SEQUENCES * HEADS * WIDTH; i++) {
        w->q[i] = random_normal(1, i);
    }
    const attn_strides strides = {KV * WIDTH, WIDTH, (int64_t)KEYS * KV * WIDTH}, scales = {KV, 1, KEYS * KV};
    w->cache = (attn_attention_cache){.dtype = dtype, .k = w->k, .v = w->v, .k_strides = strides,
                                      .v_strides = strides, .k_scales = w->scales, .v_scales = w->scales,
                                      .k_scale_strides = scales, .v_scale_strides = scales};
    return ATTN_OK;
}

static attn_status decode_row(attn_dtype dtype, const attn_bench_options *options, FILE *out) {
    const size_t rows = (size_t)SEQUENCES * KEYS * KV, bytes = (size_t)dtype_size(dtype);
    decode_work w;
    double bandwidth = 1, seconds = 1;
    attn_status status = decode_fill(dtype, &w);
    if (!status && !(status = measure_reading(options->seconds, &bandwidth)) &&
        !(status = fastest(run_decode, &w, options->seconds, &seconds))) {
        const double rate = (double)(rows * WIDTH * 2 * bytes + (dtype == ATTN_I8 ? rows * 8 : 0)) / seconds;
        (void)fprintf(out,
                      options->json ? "{\"case\": \"%s\", \"type\": \"%s\", \"bandwidth\": %.6g, \"read\": %.6g, "
                                      "\"share\": %.4f, \"workspace_bytes\": %.0f}\n"
                                    : "%-26s %-5s read bandwidth %.3g, decoding %.3g bytes/s, share %.2f, "
                                      "workspace %.0f bytes\n",
                      DECODE_NAME, TYPE_NAMES[dtype], bandwidth, rate, rate / bandwidth, (double)w.workspace_size);
        (void)fflush(out);
    }
    void *all[] = {w.k, w.v, w.scales, w.q, w.o, w.workspace};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        memory_free(all[i]);
    }
    return status;
}

/* --- public ------------------------------------------------------------------------------------ */

void attn_bench_options_defaults(attn_bench_options *options) {
    *options = (attn_bench_options){.seconds = 0.3, .types = ATTN_BENCH_F32 | ATTN_BENCH_BF16 | ATTN_BENCH_INT8};
}

static attn_status check_names(const char *const *names, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        if (strcmp(names[i], DECODE_NAME) != 0 && !attention_case_named(names[i])) {
            return fail(ATTN_ERROR_ARGUMENT, "there is no attention case \"%.60s\"", names[i]);
        }
    }
    return ATTN_OK;
}

/* 1 if the case is to be run: it is named, or none is and it is of the table. */
static int is_wanted(const char *name, const attn_bench_options *options) {
    for (int64_t i = 0; i < options->case_count; i++) {
        if (strcmp(options->cases[i], name) == 0) {
            return 1;
        }
    }
    return options->case_count == 0;
}

static attn_status bench_type(attn_dtype dtype, const attn_bench_options *options, gemm_context *gemm, FILE *out) {
    attn_status status = ATTN_OK;
    for (const attention_case *c = attention_speed_cases; c->name && !status && dtype != ATTN_I8; c++) {
        status = is_wanted(c->name, options) ? case_row(c, dtype, options, gemm, out) : ATTN_OK;
    }
    for (const attention_case *c = attention_check_cases; c->name && !status && dtype != ATTN_I8; c++) {
        status = options->case_count && is_wanted(c->name, options) ? case_row(c, dtype, options, gemm, out)
                                                                    : ATTN_OK;
    }
    return status || !is_wanted(DECODE_NAME, options) ? status : decode_row(dtype, options, out);
}

attn_status attn_bench_attention(const attn_bench_options *options, FILE *out) {
    attn_status status = !options || !out ? fail(ATTN_ERROR_ARGUMENT, "bench: options or out is NULL")
                                          : check_names(options->cases, options->case_count);
    if (status) {
        return status;
    }
    gemm_context *gemm = gemm_context_new();
    if (!gemm) {
        return ATTN_ERROR_MEMORY;
    }
    if (!options->json) {
        (void)fprintf(out, "%d thread%s, %s kernels; share: of the roof, a 2048-cubed product\n", threads_get(),
                      threads_get() == 1 ? "" : "s", cpu_level_name(cpu_selected()));
        (void)fprintf(out, "%-26s %-5s %7s %16s %16s %16s\n%-26s %-5s %7s %9s %6s %9s %6s %9s %6s\n", "", "", "roof",
                      "forward", "backward", "workspace MB", "case", "type", "GF/s", "GF/s", "share", "GF/s",
                      "share", "forward", "back");
        if (options->types & ATTN_BENCH_BF16 && !gemm_multiplies(gemm, ELEMENT_BF16)) {
            (void)fprintf(out, "bf16: shares of a product in f32, since this processor multiplies no bf16\n");
        }
    }
    for (int type = ATTN_F32; type <= ATTN_I8 && !status; type++) {
        status = options->types & (1 << type) ? bench_type((attn_dtype)type, options, gemm, out) : ATTN_OK;
    }
    gemm_context_free(gemm);
    return status;
}

/* One case in one type: prints it if it is bad. */
static attn_status check_one(const attention_case *c, uint64_t seed, FILE *out, int64_t *all_bad) {
    int bad;
    attn_status status = attention_check_case(c, seed, out, &bad);
    *all_bad += bad > 0;
    if (bad && strcmp(c->name, "random") == 0) {
        (void)fprintf(out,
                      "seed %llu: %lld sequences, %lld/%lld heads, %lld x %lld, d %lld, d_v %lld, %s, score %d, "
                      "causal %d, packed %d, layout %d, window %d, mask %d, bias %d, slopes %d, sinks %d, "
                      "lengths %d, rotary %d, soft cap %g, dropout %g, amplitude %g\n",
                      (unsigned long long)seed, (long long)c->sequences, (long long)c->heads, (long long)c->kv_heads,
                      (long long)c->queries, (long long)c->keys, (long long)c->d, (long long)c->d_v,
                      TYPE_NAMES[c->dtype], (int)c->score, (int)c->causal, c->packed, (int)c->layout, c->window,
                      c->mask, c->bias, c->alibi, c->sinks, c->key_lengths, c->rotary, (double)c->softcap,
                      (double)c->dropout, (double)c->amplitude);
    }
    return status;
}

static attn_status report(int64_t bad, int64_t count, FILE *out) {
    if (bad) {
        return fail(ATTN_ERROR_INTERNAL, "%lld of %lld attention cases are worse than their bound", (long long)bad,
                    (long long)count);
    }
    (void)fprintf(out, "%lld cases agree with the reference\n", (long long)count);
    return ATTN_OK;
}

attn_status attn_check_attention(const char *const *cases, int64_t case_count, uint64_t seed, FILE *out) {
    int64_t bad = 0, count = 0;
    attn_status status = !out || (case_count && !cases) ? fail(ATTN_ERROR_ARGUMENT, "check: cases or out is NULL")
                                                        : check_names(cases, case_count);
    const int64_t all = case_count ? case_count : INT64_MAX;
    for (int64_t i = 0; i < all && !status && (case_count || attention_check_cases[i].name); i++) {
        const attention_case *named = case_count ? attention_case_named(cases[i]) : &attention_check_cases[i];
        for (int type = ATTN_F32; type <= ATTN_BF16 && named && !status; type++) {
            attention_case c = *named;
            c.dtype = (attn_dtype)type;
            status = check_one(&c, seed, out, &bad);
            count++;
        }
    }
    return status ? status : report(bad, count, out);
}

attn_status attn_check_attention_random(int64_t count, uint64_t seed, FILE *out) {
    int64_t bad = 0;
    attn_status status = count < 0 || !out ? fail(ATTN_ERROR_ARGUMENT, "check: %lld cases, or out is NULL",
                                                  (long long)count)
                                           : ATTN_OK;
    for (int64_t i = 0; i < count && !status; i++) {
        const attention_case c = attention_case_random(seed + (uint64_t)i);
        status = check_one(&c, seed + (uint64_t)i, out, &bad);
    }
    return status ? status : report(bad, count, out);
}
