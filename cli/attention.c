/* attn attention: the operator on NumPy's arrays, for anyone to check it against their own
 * framework: output, log-sum-exp, weights and every gradient. */
#include <attn/attn.h>
#include <math.h>
#include <string.h>

#include "arrays.h"
#include "commands.h"

typedef struct settings {
    int score, causal, dtype, kernel, threads, seed_given;
    double scale, softcap, dropout;
    int64_t seed;
    const char *window, *mask, *bias, *alibi, *sinks, *q_offsets, *k_offsets;
    const char *out, *lse, *weights, *grad_out, *dq, *dk, *dv, *dbias, *dsinks;
} settings;

static const char *const SCORES[] = {"scaled-dot", "dot", "cosine", "linear", NULL};
static const char *const CAUSALS[] = {"none", "top-left", "bottom-right", NULL};
static const char *const DTYPES[] = {"f32", "bf16", NULL};
static const char *const KERNELS[] = {"auto", "reference", "portable", "avx2", "avx512", "avx512bf16", NULL};

static const command_usage USAGE = {
    "attention", "Q.npy K.npy V.npy [OPTION]...",
    "Computes softmax(scale Q K^T + masks) V and, with --grad-out, its gradients.\n"
    "Arrays are [tokens, heads, d] (packed, with offsets, or one sequence) or\n"
    "[batch, tokens, heads, d]; float32 or float64 files in C order.",
    "Masks and biases have up to four axes, [batch, heads, queries, keys]; leading ones may be\n"
    "left out, and an axis of 1 is broadcast."};

/* Strides of an array that is broadcast over [sequences, heads, queries, keys]. */
static int broadcast(const array_set *set, const char *path, const npy_array *a,
                     const attn_attention_problem *p, attn_score_strides *strides) {
    int64_t step[4] = {0}, size[4], run = 1;
    const int packed = p->q_offsets.i64 != NULL;
    if (a->dimensions > 4 || (packed && p->sequences > 1 && a->dimensions > 3)) {
        return arrays_failed(set, "%s has %d axes, expected at most %d", path, a->dimensions, packed ? 3 : 4), 0;
    }
    size[0] = p->sequences;
    size[1] = p->heads;
    size[2] = p->queries;
    size[3] = p->keys;
    for (int i = 3, from = a->dimensions - 1; from >= 0; i--, from--) {
        /* packed sequences differ in length: the axis must hold the longest */
        int64_t need = size[i];
        for (int64_t b = 0; packed && i >= 2 && b < p->sequences; b++) {
            const int64_t *offsets = i == 2 ? p->q_offsets.i64 : p->k_offsets.i64;
            const int64_t tokens = offsets[b + 1] - offsets[b];
            need = b == 0 || tokens > need ? tokens : need;
        }
        if (a->shape[from] != 1 && (packed && i >= 2 ? a->shape[from] < need : a->shape[from] != need)) {
            return arrays_failed(set, "axis %d of %s is %lld, expected 1 or %lld", from, path,
                                 (long long)a->shape[from], (long long)need), 0;
        }
        step[i] = a->shape[from] == 1 ? 0 : run;
        run *= a->shape[from];
    }
    *strides = (attn_score_strides){step[0], step[1], step[2], step[3]};
    return 1;
}

static int parse_window(const char *text, attn_attention_problem *p) {
    long long left, right;
    char rest;
    if (!text) {
        return 1;
    }
    if (sscanf(text, "%lld,%lld%c", &left, &right, &rest) != 2 || left < 0 || right < 0) {
        return 0;
    }
    p->window_left = left;
    p->window_right = right;
    return 1;
}

/* Per-head values: [heads]. */
static const float *load_heads(array_set *set, const char *path, const attn_attention_problem *p) {
    npy_array shape;
    const float *values = arrays_load(set, path, 0, &shape);
    if (values && (int64_t)shape.count != p->heads) {
        (void)arrays_failed(set, "%s has %zu values, expected one for each of %lld heads", path,
                            shape.count, (long long)p->heads);
        return NULL;
    }
    return values;
}

static int load_masks(array_set *set, const settings *s, attn_attention_problem *p, npy_array *bias_shape) {
    npy_array shape;
    if (s->mask) {
        const float *values = arrays_load(set, s->mask, 0, &shape);
        uint8_t *mask = values ? arrays_new(set, shape.count, 1) : NULL;
        if (!mask || !broadcast(set, s->mask, &shape, p, &p->mask_strides)) {
            return 0;
        }
        for (size_t i = 0; i < shape.count; i++) {
            mask[i] = values[i] != 0;
        }
        p->mask = mask;
    }
    if (s->bias && (!(p->bias = arrays_load(set, s->bias, 0, bias_shape)) ||
                    !broadcast(set, s->bias, bias_shape, p, &p->bias_strides))) {
        return 0;
    }
    return (!s->alibi || (p->alibi = load_heads(set, s->alibi, p))) &&
           (!s->sinks || (p->sinks = load_heads(set, s->sinks, p)));
}

static void *new_workspace(array_set *set, const attn_attention_problem *p, attn_attention_pass pass,
                           size_t *size) {
    if (attn_attention_workspace(p, pass, size)) {
        (void)command_failed(set->usage);
        return NULL;
    }
    return arrays_new(set, *size, 1);
}

static int backward(array_set *set, const settings *s, const array_inputs *in, const void *o,
                    const float *lse, const npy_array *bias_shape) {
    const attn_attention_problem *p = &in->problem;
    const int bf16 = p->dtype == ATTN_BF16;
    const size_t bytes = bf16 ? 2 : 4;
    npy_array shape;
    size_t size;
    const void *d_o = arrays_load(set, s->grad_out, bf16, &shape);
    if (!d_o) {
        return EXIT_FAILED;
    }
    if (shape.count != in->o_count) {
        return arrays_failed(set, "%s has %zu elements, the output %zu", s->grad_out, shape.count, in->o_count);
    }
    attn_attention_gradients g = {.q = arrays_new(set, in->q_count, bytes),
                                  .k = arrays_new(set, in->k_count, bytes),
                                  .v = arrays_new(set, in->v_count, bytes)};
    if (s->dbias) {
        g.bias = arrays_new(set, bias_shape->count, sizeof(float));
    }
    if (s->dsinks) {
        g.sinks = arrays_new(set, (size_t)p->heads, sizeof(float));
    }
    void *workspace = new_workspace(set, p, ATTN_PASS_BACKWARD, &size);
    if (!g.q || !g.k || !g.v || !workspace || (s->dbias && !g.bias) || (s->dsinks && !g.sinks)) {
        return EXIT_FAILED;
    }
    if (attn_attention_backward(p, in->q, in->k, in->v, o, lse, d_o, &g, workspace, size)) {
        return command_failed(set->usage);
    }
    return arrays_save_like(set, s->dq, g.q, in, &in->q_shape) &&
                   arrays_save_like(set, s->dk, g.k, in, &in->k_shape) &&
                   arrays_save_like(set, s->dv, g.v, in, &in->v_shape) &&
                   (!s->dbias || arrays_save(set, s->dbias, g.bias, 0, bias_shape->dimensions, bias_shape->shape)) &&
                   (!s->dsinks || arrays_save(set, s->dsinks, g.sinks, 0, 1, &p->heads))
               ? EXIT_DONE
               : EXIT_FAILED;
}

static int run(array_set *set, const settings *s, array_inputs *in, const npy_array *bias_shape) {
    const attn_attention_problem *p = &in->problem;
    size_t size;
    void *o = arrays_new(set, in->o_count, p->dtype == ATTN_BF16 ? 2 : 4);
    float *lse = arrays_new(set, (size_t)(p->heads * in->q_tokens), sizeof(float));
    void *workspace = new_workspace(set, p, ATTN_PASS_FORWARD, &size);
    if (!o || !lse || !workspace) {
        return EXIT_FAILED;
    }
    if (attn_attention_forward(p, in->q, in->k, in->v, o, lse, workspace, size)) {
        return command_failed(set->usage);
    }
    if (!arrays_save_output(set, s->out, o, in) || !arrays_save_log_sum_exp(set, s->lse, lse, in)) {
        return EXIT_FAILED;
    }
    if (s->weights) {
        float *weights = arrays_new(set, arrays_weights_count(in), sizeof(float));
        workspace = new_workspace(set, p, ATTN_PASS_WEIGHTS, &size);
        if (!weights || !workspace) {
            return EXIT_FAILED;
        }
        if (attn_attention_weights(p, in->q, in->k, weights, workspace, size)) {
            return command_failed(set->usage);
        }
        if (!arrays_save_weights(set, s->weights, weights, in)) {
            return EXIT_FAILED;
        }
    }
    return s->grad_out ? backward(set, s, in, o, lse, bias_shape) : EXIT_DONE;
}

int command_attention(int argc, char **argv) {
    settings s = {.softcap = INFINITY, .scale = 1};
    option_row rows[] = {
        option_choice("score", &s.score, SCORES, "how queries and keys are compared"),
        option_without_default(option_double("scale", &s.scale, -1e30, 1e30, "X", "factor of the scores (default: 1/sqrt(d); cosine: 1)")),
        option_choice("causal", &s.causal, CAUSALS, "which keys a query may see"),
        option_string("window", &s.window, "L,R", "keys to the left and right of its own that a query sees"),
        option_string("mask", &s.mask, "FILE", "nonzero or true: may attend"),
        option_string("bias", &s.bias, "FILE", "added to the scores"),
        option_string("alibi", &s.alibi, "FILE", "slopes [heads] of a penalty on distance"),
        option_without_default(option_double("softcap", &s.softcap, 1e-30, INFINITY, "X", "scores become X tanh(score / X)")),
        option_string("sinks", &s.sinks, "FILE", "a logit [heads] without a value"),
        option_double("dropout", &s.dropout, 0, 0.9999, "P", "share of weights dropped"),
        option_int64("seed", &s.seed, 0, INT64_MAX, "N", "of the dropout"),
        option_string("q-offsets", &s.q_offsets, "FILE", "first tokens of packed sequences, and the end"),
        option_string("k-offsets", &s.k_offsets, "FILE", "the same of the keys"),
        option_choice("dtype", &s.dtype, DTYPES, "type to compute in"),
        option_choice("kernel", &s.kernel, KERNELS, "instruction set"),
        option_without_default(option_int("threads", &s.threads, 0, 1024, "N", "threads (default: all processors)")),
        option_heading("Results"),
        option_string("out", &s.out, "FILE", "output"),
        option_string("lse", &s.lse, "FILE", "log-sum-exp [heads, tokens]"),
        option_string("weights", &s.weights, "FILE", "weights [heads, queries, keys]"),
        option_string("grad-out", &s.grad_out, "FILE", "gradient of the output (an input): asks for the ones below"),
        option_string("dq", &s.dq, "FILE", "gradient of Q"),
        option_string("dk", &s.dk, "FILE", "gradient of K"),
        option_string("dv", &s.dv, "FILE", "gradient of V"),
        option_string("dbias", &s.dbias, "FILE", "gradient of the bias"),
        option_string("dsinks", &s.dsinks, "FILE", "gradient of the sinks"),
        option_end()};
    int operands;
    const options_result result = options_parse(&USAGE, rows, argc, argv, &operands);
    if (result != OPTIONS_RUN) {
        return result == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
    }
    if (argc - operands != 3) {
        return usage_error(&USAGE, "%d arrays, expected Q, K and V", argc - operands);
    }
    if (!s.grad_out && (s.dq || s.dk || s.dv || s.dbias || s.dsinks)) {
        return usage_error(&USAGE, "gradients need --grad-out");
    }
    if ((s.dbias && !s.bias) || (s.dsinks && !s.sinks)) {
        return usage_error(&USAGE, "a gradient of what is not there: --dbias needs --bias, --dsinks --sinks");
    }
    array_set set = {.usage = &USAGE};
    array_inputs in;
    npy_array bias_shape = {0};
    int status = EXIT_FAILED;
    attn_set_threads(s.threads);
    if (arrays_load_inputs(&set, argv + operands, s.q_offsets, s.k_offsets, s.dtype, &in)) {
        attn_attention_problem *p = &in.problem;
        p->score = (attn_score)s.score;
        p->causal = (attn_causal)s.causal;
        p->kernel = (attn_kernel)s.kernel;
        p->softcap = (float)s.softcap;
        p->dropout = (float)s.dropout;
        p->dropout_seed = (uint64_t)s.seed;
        if (options_find(rows, "scale")->given || p->score == ATTN_SCORE_COSINE) {
            p->scale = (float)s.scale;
        }
        if (!parse_window(s.window, p)) {
            status = usage_error(&USAGE, "--window %.50s, expected two counts: LEFT,RIGHT", s.window);
        } else if (load_masks(&set, &s, p, &bias_shape)) {
            status = run(&set, &s, &in, &bias_shape);
        }
    }
    arrays_release(&set);
    return status;
}
