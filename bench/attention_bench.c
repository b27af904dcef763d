/* The operator's speed, case by case: share of what a 2048-cubed matrix product of
 * oneDNN's reaches in the same type, on the same threads, in the same run; for decoding
 * the share of the bandwidth at which memory is read. FLOPs are counted for the visible
 * scores P alone: forward 2 P (d + d_v), backward 2 P (3 d + 2 d_v).
 *
 *   bench_attention [-t threads] [-s seconds per figure] [-d f32|bf16] [case ...]
 *   bench_attention --random N [SEED]   random cases against the f64 reference instead
 *   bench_attention --serve     a line "case f32|bf16 forward|backward seconds threads"
 *                               in, seconds of the fastest run out; for bench/attention_torch.py */
#include "../tests/attention/check.h"

#include <dnnl.h>
#include <omp.h>
#include <time.h>

#define SHAPE(b, nq, nk, h, hk, dd, dv) \
    .sequences = b, .queries = nq, .keys = nk, .heads = h, .kv_heads = hk, .d = dd, .d_v = dv

static const attention_case CASES[] = {
    {.name = "4x8x512", SHAPE(4, 512, 512, 8, 8, 64, 64)},
    {.name = "1x8x4096", SHAPE(1, 4096, 4096, 8, 8, 64, 64)},
    {.name = "1x8x4096-causal", SHAPE(1, 4096, 4096, 8, 8, 64, 64), .causal = ATTN_CAUSAL_TOP_LEFT},
    {.name = "4x8x1024-causal", SHAPE(4, 1024, 1024, 8, 8, 64, 64), .causal = ATTN_CAUSAL_TOP_LEFT},
    {.name = "64x8x32", SHAPE(64, 32, 32, 8, 8, 64, 64)},
    {.name = "1x16/4x2048-causal", SHAPE(1, 2048, 2048, 16, 4, 128, 128), .causal = ATTN_CAUSAL_TOP_LEFT},
    {.name = "16x8x33x97", SHAPE(16, 33, 97, 8, 8, 80, 80)},
    {.name = "300x4x20-packed-dropout", SHAPE(300, 26, 26, 4, 4, 32, 32), .packed = 1, .dropout = 0.1f, .fused = 1},
    {.name = "300x4x20-packed-causal", SHAPE(300, 26, 26, 4, 4, 32, 32), .packed = 1, .causal = ATTN_CAUSAL_TOP_LEFT, .fused = 1},
    {.name = "4x8x512-dropout", SHAPE(4, 512, 512, 8, 8, 64, 64), .dropout = 0.1f},
    {.name = "4x8x512-alibi", SHAPE(4, 512, 512, 8, 8, 64, 64), .alibi = 1},
    {.name = "4x8x512-softcap", SHAPE(4, 512, 512, 8, 8, 64, 64), .softcap = 30},
    {.name = "4x8x512-bias", SHAPE(4, 512, 512, 8, 8, 64, 64), .bias = 1},
    {.name = "4x8x512-mask", SHAPE(4, 512, 512, 8, 8, 64, 64), .mask = 1},
    {.name = "1x8x8192-window", SHAPE(1, 8192, 8192, 8, 8, 64, 64), .window = 1, .left = 256, .causal = ATTN_CAUSAL_TOP_LEFT},
};
enum { CASE_COUNT = sizeof CASES / sizeof *CASES };

static double now(void) {
    struct timespec t;
    /* one thread's own time, where others use the machine too */
    clock_gettime(omp_get_max_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop(const char *what) {
    fprintf(stderr, "bench_attention: %s\n", what);
    exit(1);
}

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

/* The fastest of the runs that fit into the time. */
static double time_pass(case_arrays *a, int backward, double seconds) {
    double best = 1e9;
    const double end = now() + seconds;
    if (case_forward(a) || case_backward(a)) {
        stop(attn_last_error());
    }
    const size_t size = a->workspace_size;
    const attn_attention_gradients g = {a->d_q, a->d_k, a->d_v, a->d_bias, a->d_sinks};
    do {
        const double start = now();
        const attn_status status =
            backward ? attn_attention_backward(&a->problem, a->q, a->k, a->v, a->o, a->log_sum_exp,
                                               a->d_o, &g, a->workspace, size)
                     : attn_attention_forward(&a->problem, a->q, a->k, a->v, a->o, a->log_sum_exp,
                                              a->workspace, size);
        const double took = now() - start;
        if (status) {
            stop(attn_last_error());
        }
        best = took < best ? took : best;
    } while (now() < end);
    return best;
}

/* --- the roof: oneDNN ---------------------------------------------------------------- */

#define DNN(call)                         \
    do {                                  \
        if ((call) != dnnl_success) {     \
            stop("oneDNN: " #call);       \
        }                                 \
    } while (0)

enum { CUBE = 2048 };

static double roof(attn_dtype dtype, double seconds) {
    const dnnl_data_type_t type = dtype == ATTN_F32 ? dnnl_f32 : dnnl_bf16;
    const dnnl_dims_t dims = {CUBE, CUBE};
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t matmul;
    dnnl_primitive_desc_t descriptor;
    dnnl_memory_t memory[3];
    DNN(dnnl_engine_create(&engine, dnnl_cpu, 0));
    DNN(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
#if DNNL_VERSION_MAJOR >= 3
    dnnl_memory_desc_t in, out;
    DNN(dnnl_memory_desc_create_with_tag(&in, 2, dims, type, dnnl_ab));
    DNN(dnnl_memory_desc_create_with_tag(&out, 2, dims, dnnl_f32, dnnl_ab));
    DNN(dnnl_matmul_primitive_desc_create(&descriptor, engine, in, in, NULL, out, NULL));
    const_dnnl_memory_desc_t which[3] = {in, in, out};
#else
    dnnl_memory_desc_t in, out;
    dnnl_matmul_desc_t operation;
    DNN(dnnl_memory_desc_init_by_tag(&in, 2, dims, type, dnnl_ab));
    DNN(dnnl_memory_desc_init_by_tag(&out, 2, dims, dnnl_f32, dnnl_ab));
    DNN(dnnl_matmul_desc_init(&operation, &in, &in, NULL, &out));
    DNN(dnnl_primitive_desc_create(&descriptor, &operation, NULL, engine, NULL));
    const dnnl_memory_desc_t *which[3] = {&in, &in, &out};
#endif
    DNN(dnnl_primitive_create(&matmul, descriptor));
    for (int i = 0; i < 3; i++) {
        DNN(dnnl_memory_create(&memory[i], which[i], engine, DNNL_MEMORY_ALLOCATE));
        void *handle;
        DNN(dnnl_memory_get_data_handle(memory[i], &handle));
        memset(handle, 0, (size_t)CUBE * CUBE * (i == 2 || dtype == ATTN_F32 ? 4 : 2));
    }
    const dnnl_exec_arg_t arguments[3] = {{DNNL_ARG_SRC, memory[0]}, {DNNL_ARG_WEIGHTS, memory[1]}, {DNNL_ARG_DST, memory[2]}};
    double best = 1e9;
    const double end = now() + seconds;
    do {
        const double start = now();
        DNN(dnnl_primitive_execute(matmul, stream, 3, arguments));
        DNN(dnnl_stream_wait(stream));
        const double took = now() - start;
        best = took < best ? took : best;
    } while (now() < end);
    for (int i = 0; i < 3; i++) {
        dnnl_memory_destroy(memory[i]);
    }
    dnnl_primitive_destroy(matmul);
    dnnl_primitive_desc_destroy(descriptor);
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
    return 2.0 * CUBE * CUBE * CUBE / best;
}

/* --- decoding --------------------------------------------------------------------------- */

static double read_bandwidth(double seconds) {
    const size_t count = (size_t)64 << 20; /* 256 MB */
    float *x = case_new(count, sizeof(float));
    for (size_t i = 0; i < count; i += 1024) {
        x[i] = 1;
    }
    double best = 1e9, total = 0;
    const double end = now() + seconds;
    do {
        const double start = now();
        double sum = 0;
#pragma omp parallel for reduction(+ : sum) schedule(static)
        for (size_t block = 0; block < count / 4096; block++) {
            float lane[64] = {0};
            for (size_t i = 0; i < 4096; i += 64) {
                for (size_t l = 0; l < 64; l++) {
                    lane[l] += x[block * 4096 + i + l];
                }
            }
            for (size_t l = 0; l < 64; l++) {
                sum += (double)lane[l];
            }
        }
        const double took = now() - start;
        best = took < best ? took : best;
        total += sum;
    } while (now() < end);
    free(x);
    return total > 0 ? (double)count * 4 / best : 1;
}

static void decode_row(attn_dtype dtype, double seconds, double bandwidth) {
    enum { SEQUENCES = 8, HEADS = 16, KV = 4, KEYS = 4096, D = 128 };
    attn_attention_problem p;
    attn_attention_defaults(&p, HEADS, KV, D, D);
    attn_attention_batch(&p, SEQUENCES, 1, KEYS);
    const size_t rows = (size_t)SEQUENCES * KEYS * KV, bytes = (size_t)dtype_size(dtype);
    attn_attention_cache cache = {.dtype = dtype, .k_strides = {KV * D, D, (int64_t)KEYS * KV * D}};
    cache.v_strides = cache.k_strides;
    cache.k_scale_strides = cache.v_scale_strides = (attn_strides){KV, 1, KEYS * KV};
    char *k = case_new(rows * D, bytes), *v = case_new(rows * D, bytes);
    float *scales = case_new(rows, 4), *q = case_random(ATTN_F32, SEQUENCES * HEADS * D, 1, 1);
    float *o = case_new(SEQUENCES * HEADS * D, 4);
    for (size_t i = 0; i < rows * D * bytes; i++) {
        k[i] = v[i] = (char)(dtype == ATTN_I8 ? i * 7 : i % 4 == 3 ? 0x3d : (i * 31) & 0x3d);
    }
    for (size_t i = 0; i < rows; i++) {
        scales[i] = 0.01f;
    }
    cache.k = k;
    cache.v = v;
    cache.k_scales = cache.v_scales = scales;
    size_t size;
    if (attn_attention_workspace(&p, ATTN_PASS_DECODE, &size)) {
        stop(attn_last_error());
    }
    void *workspace = case_new(size, 1);
    double best = 1e9;
    const double end = now() + seconds;
    do {
        const double start = now();
        if (attn_attention_decode(&p, &cache, q, o, NULL, workspace, size)) {
            stop(attn_last_error());
        }
        const double took = now() - start;
        best = took < best ? took : best;
    } while (now() < end);
    const double read = (double)(rows * D * 2 * bytes + (dtype == ATTN_I8 ? rows * 8 : 0)) / best;
    printf("decode 8x16/4x1x4096, 128  %-4s  %6.1f GB/s of %.1f  share %.2f  workspace %.2f MB\n",
           dtype == ATTN_F32 ? "f32" : dtype == ATTN_BF16 ? "bf16" : "int8", read * 1e-9,
           bandwidth * 1e-9, read / bandwidth, (double)size * 1e-6);
    void *all[] = {k, v, scales, q, o, workspace};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
}

/* ------------------------------------------------------------------------------------------ */

static const attention_case *case_named(const char *name) {
    for (int i = 0; i < CASE_COUNT; i++) {
        if (strcmp(CASES[i].name, name) == 0) {
            return &CASES[i];
        }
    }
    return NULL;
}

static int serve(void) {
    char line[256], name[64], type[8], pass[16];
    double seconds;
    int threads;
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "%63s %7s %15s %lf %d", name, type, pass, &seconds, &threads) != 5 ||
            (!case_named(name) && strcmp(name, "roof") != 0)) {
            printf("error\n");
            fflush(stdout);
            continue;
        }
        omp_set_num_threads(threads);
        const attn_dtype dtype = strcmp(type, "bf16") == 0 ? ATTN_BF16 : ATTN_F32;
        if (strcmp(name, "roof") == 0) {
            printf("%.9g\n", roof(dtype, seconds));
        } else {
            attention_case c = *case_named(name);
            c.dtype = dtype;
            case_arrays a = case_make(&c, 1);
            printf("%.9g\n", time_pass(&a, strcmp(pass, "backward") == 0, seconds));
            case_free(&a);
        }
        fflush(stdout);
    }
    return 0;
}

static void case_row(const attention_case *given, attn_dtype dtype, double seconds) {
    attention_case c = *given;
    c.dtype = dtype;
    case_arrays a = case_make(&c, 1);
    const double pairs = visible_pairs(&a.problem);
    const double roof_before = roof(dtype, seconds);
    const double forward = time_pass(&a, 0, seconds), backward = time_pass(&a, 1, seconds);
    const double roof_after = roof(dtype, seconds), top = roof_before > roof_after ? roof_before : roof_after;
    const double f = 2 * pairs * (double)(c.d + c.d_v), b = 2 * pairs * (double)(3 * c.d + 2 * c.d_v);
    size_t size[2] = {0, 0};
    (void)attn_attention_workspace(&a.problem, ATTN_PASS_FORWARD, &size[0]);
    (void)attn_attention_workspace(&a.problem, ATTN_PASS_BACKWARD, &size[1]);
    printf("%-26s %-4s  roof %5.0f GF/s  forward %5.0f share %.2f  backward %5.0f share %.2f  "
           "workspace %.2f %.2f MB\n",
           c.name, dtype == ATTN_F32 ? "f32" : "bf16", top * 1e-9, f / forward * 1e-9,
           f / forward / top, b / backward * 1e-9, b / backward / top, (double)size[0] * 1e-6,
           (double)size[1] * 1e-6);
    fflush(stdout);
    case_free(&a);
}

/* Random cases against the reference: 1 if one is bad. */
static int random_grid(long count, uint64_t seed) {
    for (uint64_t s = seed; s < seed + (uint64_t)count; s++) {
        const attention_case c = random_case(s);
        if (run_case(&c, s, (int)c.dtype)) {
            printf("seed %llu: %lldx%lld/%lldx%lldx%lld, d %lld, d_v %lld\n", (unsigned long long)s,
                   (long long)c.sequences, (long long)c.heads, (long long)c.kv_heads,
                   (long long)c.queries, (long long)c.keys, (long long)c.d, (long long)c.d_v);
            return 1;
        }
    }
    printf("%ld random cases agree with the reference\n", count);
    return 0;
}

int main(int argc, char **argv) {
    if (argc >= 3 && strcmp(argv[1], "--random") == 0) {
        return random_grid(atol(argv[2]), argc >= 4 ? (uint64_t)atoll(argv[3]) : 1);
    }
    double seconds = 0.3;
    int threads = 1, named = 0, types = 3;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--serve") == 0) {
            return serve();
        }
        if (argv[i][0] == '-' && i + 1 < argc) {
            switch (argv[i][1]) {
            case 't': threads = atoi(argv[++i]); break;
            case 's': seconds = atof(argv[++i]); break;
            case 'd': types = strcmp(argv[++i], "bf16") == 0 ? 2 : 1; break;
            default: stop("usage: bench_attention [-t threads] [-s seconds] [-d f32|bf16] [case ...]");
            }
        }
    }
    omp_set_num_threads(threads);
    printf("threads %d\n", threads);
    for (int dtype = 0; dtype < 2; dtype++) {
        for (int i = 1; i < argc && (types & (1 << dtype)); i++) {
            if (argv[i][0] == '-') {
                i++;
            } else if (case_named(argv[i])) {
                case_row(case_named(argv[i]), (attn_dtype)dtype, seconds);
                named++;
            } else if (strcmp(argv[i], "decode") == 0) {
                named++;
                decode_row((attn_dtype)dtype, seconds, read_bandwidth(seconds));
                if (dtype == ATTN_BF16) {
                    decode_row(ATTN_I8, seconds, read_bandwidth(seconds));
                }
            }
        }
        for (int i = 0; i < CASE_COUNT && !named && (types & (1 << dtype)); i++) {
            case_row(&CASES[i], (attn_dtype)dtype, seconds);
        }
    }
    for (int dtype = 0; dtype < 3 && !named; dtype++) {
        decode_row((attn_dtype)dtype, seconds, read_bandwidth(seconds));
    }
    return 0;
}
