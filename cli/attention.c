/* attn attention: the operator on NumPy's arrays, for anyone to check it against their own
 * framework: output, log-sum-exp, weights and every gradient. */
#include <attn/attn.h>
#include <math.h>
#include <string.h>

#include "arrays.h"
#include "commands.h"
#include "masks.h"

typedef struct settings {
    int score, causal, dtype, kernel, threads, rotary;
    double scale, softcap, dropout, rotary_base;
    int64_t seed, rotary_d;
    mask_settings masks;
    const char *q_offsets, *k_offsets;
    const char *out, *lse, *weights, *sums, *grad_out, *dq, *dk, *dv, *dbias, *dsinks;
} settings;

static const char *const SCORES[] = {"scaled-dot", "dot", "cosine", "linear", NULL};
static const char *const CAUSALS[] = {"none", "top-left", "bottom-right", NULL};
static const char *const ROTARIES[] = {"none", "halves", "interleaved", NULL};
static const char *const DTYPES[] = {"f32", "bf16", NULL};
static const char *const KERNELS[] = {"auto", "reference", "portable", "avx2", "avx512", "avx512bf16", NULL};
static const char *const OUTPUTS[] = {"out", "lse", "weights", "column-sums", "dq",
                                      "dk",  "dv",  "dbias",   "dsinks",      NULL};

static const command_usage USAGE = {
    "attention", "Q.npy K.npy V.npy [OPTION]...",
    "Computes softmax(scale Q K^T + masks) V and, with --grad-out, its gradients.\n"
    "Arrays are [tokens, heads, d] (packed, with offsets, or one sequence) or\n"
    "[batch, tokens, heads, d]; float32 or float64 files in C order.",
    "Masks and biases have up to four axes, [batch, heads, queries, keys]; leading ones may be\n"
    "left out, and an axis of 1 is broadcast. Positions of --rotary: key j is at j, query i at i, or\n"
    "with bottom-right at i + keys - queries; pair c is turned by position * base^(-2c / width)."};

/* Tables of the angles for every position of the longest sequence. */
static int make_rotary(array_set *set, const settings *s, attn_attention_problem *p) {
    if (!s->rotary) {
        return 1;
    }
    const int64_t width = s->rotary_d ? s->rotary_d : p->d / 2 * 2, half = width / 2;
    int64_t positions = p->queries > p->keys ? p->queries : p->keys;
    for (int64_t b = 0; b < p->sequences && p->q_offsets.i64; b++) {
        const int64_t nq = p->q_offsets.i64[b + 1] - p->q_offsets.i64[b];
        const int64_t nk = p->k_offsets.i64[b + 1] - p->k_offsets.i64[b];
        positions = nq > positions ? nq : nk > positions ? nk : positions;
    }
    if (width < 2 || width > p->d || width % 2) {
        return arrays_failed(set, "--rotary-width %lld, expected even, 2 to %lld", (long long)width,
                             (long long)p->d), 0;
    }
    float *cosine = arrays_new(set, (size_t)(positions * half), sizeof(float));
    float *sine = cosine ? arrays_new(set, (size_t)(positions * half), sizeof(float)) : NULL;
    for (int64_t t = 0; t < positions && sine; t++) {
        for (int64_t c = 0; c < half; c++) {
            const double angle = (double)t * pow(s->rotary_base, -(double)c / (double)half);
            cosine[t * half + c] = (float)cos(angle);
            sine[t * half + c] = (float)sin(angle);
        }
    }
    p->rotary = (attn_rotary)s->rotary;
    p->rotary_d = width;
    p->rotary_positions = positions;
    p->rotary_cos = cosine;
    p->rotary_sin = sine;
    return sine != NULL;
}

static void *new_workspace(array_set *set, const attn_attention_problem *p, attn_attention_pass pass,
                           size_t *size) {
    if (attn_attention_workspace(p, pass, size)) {
        (void)command_failed(set->usage);
        return NULL;
    }
    return arrays_new(set, *size, 1);
}

/* What is computed. All of it is there before any is saved: an output may lie over an input. */
typedef struct results {
    void *o;
    float *lse, *weights, *sums;
    attn_attention_gradients gradients;
} results;

static int forward(array_set *set, const array_inputs *in, results *r) {
    const attn_attention_problem *p = &in->problem;
    size_t size;
    void *workspace = new_workspace(set, p, ATTN_PASS_FORWARD, &size);
    r->o = arrays_new(set, in->o_count, p->dtype == ATTN_BF16 ? 2 : 4);
    r->lse = arrays_new(set, (size_t)(p->heads * in->q_tokens), sizeof(float));
    return workspace && r->o && r->lse &&
           arrays_computed(set,
                           attn_attention_forward(p, in->q, in->k, in->v, r->o, r->lse, workspace, size));
}

static int find_weights(array_set *set, const array_inputs *in, results *r) {
    const attn_attention_problem *p = &in->problem;
    size_t size;
    void *workspace = new_workspace(set, p, ATTN_PASS_WEIGHTS, &size);
    r->weights = arrays_new(set, arrays_weights_count(in), sizeof(float));
    return workspace && r->weights &&
           arrays_computed(set, attn_attention_weights(p, in->q, in->k, r->weights, workspace, size));
}

static int find_column_sums(array_set *set, const array_inputs *in, results *r) {
    const attn_attention_problem *p = &in->problem;
    size_t size;
    void *workspace = new_workspace(set, p, ATTN_PASS_COLUMN_SUMS, &size);
    r->sums = arrays_new(set, (size_t)(p->heads * in->k_tokens), sizeof(float));
    return workspace && r->sums &&
           arrays_computed(set,
                           attn_attention_column_sums(p, in->q, in->k, r->lse, r->sums, workspace, size));
}

static int backward(array_set *set, const settings *s, const array_inputs *in, const void *d_o,
                    const npy_array *bias_shape, results *r) {
    const attn_attention_problem *p = &in->problem;
    const size_t bytes = p->dtype == ATTN_BF16 ? 2 : 4;
    size_t size;
    attn_attention_gradients *g = &r->gradients;
    g->q = arrays_new(set, in->q_count, bytes);
    g->k = arrays_new(set, in->k_count, bytes);
    g->v = arrays_new(set, in->v_count, bytes);
    g->bias = s->dbias ? arrays_new(set, bias_shape->count, sizeof(float)) : NULL;
    g->sinks = s->dsinks ? arrays_new(set, (size_t)p->heads, sizeof(float)) : NULL;
    void *workspace = new_workspace(set, p, ATTN_PASS_BACKWARD, &size);
    if (!g->q || !g->k || !g->v || !workspace || (s->dbias && !g->bias) || (s->dsinks && !g->sinks)) {
        return 0;
    }
    return arrays_computed(
        set, attn_attention_backward(p, in->q, in->k, in->v, r->o, r->lse, d_o, g, workspace, size));
}

static int save(array_set *set, const settings *s, const array_inputs *in, const npy_array *bias_shape,
                const results *r) {
    const attn_attention_gradients *g = &r->gradients;
    const int64_t heads = in->problem.heads, sums_shape[2] = {heads, in->k_tokens};
    return arrays_save_output(set, s->out, r->o, in) && arrays_save_log_sum_exp(set, s->lse, r->lse, in) &&
           arrays_save_weights(set, s->weights, r->weights, in) &&
           arrays_save(set, s->sums, r->sums, 0, 2, sums_shape) &&
           arrays_save_like(set, s->dq, g->q, in, &in->q_shape) &&
           arrays_save_like(set, s->dk, g->k, in, &in->k_shape) &&
           arrays_save_like(set, s->dv, g->v, in, &in->v_shape) &&
           arrays_save(set, s->dbias, g->bias, 0, bias_shape->dimensions, bias_shape->shape) &&
           arrays_save(set, s->dsinks, g->sinks, 0, 1, &heads);
}

static int run(array_set *set, const settings *s, const array_inputs *in, const npy_array *bias_shape) {
    results r = {0};
    const void *d_o = s->grad_out ? arrays_load_output_gradient(set, s->grad_out, in) : NULL;
    if (s->grad_out && !d_o) {
        return EXIT_FAILED;
    }
    return forward(set, in, &r) && (!s->weights || find_weights(set, in, &r)) &&
                   (!s->sums || find_column_sums(set, in, &r)) &&
                   (!d_o || backward(set, s, in, d_o, bias_shape, &r)) && save(set, s, in, bias_shape, &r)
               ? EXIT_DONE
               : EXIT_FAILED;
}

int command_attention(int argc, char **argv) {
    settings s = {.softcap = INFINITY, .scale = 1, .rotary_base = 10000};
    option_row rows[] = {
        option_choice("score", &s.score, SCORES, "how queries and keys are compared"),
        option_without_default(option_double("scale", &s.scale, -1e30, 1e30, "X", "factor of the scores (default: 1/sqrt(d); cosine: 1)")),
        option_choice("causal", &s.causal, CAUSALS, "which keys a query may see"),
        option_string("window", &s.masks.window, "L,R", "keys to the left and right of its own that a query sees"),
        option_string("mask", &s.masks.mask, "FILE", "nonzero or true: may attend"),
        option_string("bias", &s.masks.bias, "FILE", "added to the scores"),
        option_string("alibi", &s.masks.alibi, "FILE", "slopes [heads] of a penalty on distance"),
        option_without_default(option_double("softcap", &s.softcap, 1e-30, INFINITY, "X", "scores become X tanh(score / X)")),
        option_string("sinks", &s.masks.sinks, "FILE", "a logit [heads] without a value"),
        option_string("key-lengths", &s.masks.key_lengths, "FILE", "how many keys of each sequence exist"),
        option_choice("rotary", &s.rotary, ROTARIES, "positions turn pairs (c, c + width/2) or (2c, 2c + 1) of Q and K"),
        option_without_default(option_int64("rotary-width", &s.rotary_d, 2, 256, "N", "elements that are turned (default: d)")),
        option_double("rotary-base", &s.rotary_base, 1e-6, 1e30, "X", "of the angles"),
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
        option_string("column-sums", &s.sums, "FILE", "weight that each key receives, before dropout [heads, tokens]"),
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
    if ((s.dbias && !s.masks.bias) || (s.dsinks && !s.masks.sinks)) {
        return usage_error(&USAGE, "a gradient of what is not there: --dbias needs --bias, --dsinks --sinks");
    }
    if (arrays_check_outputs(&USAGE, rows, OUTPUTS)) {
        return EXIT_USAGE;
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
        if (!masks_parse_window(&set, s.masks.window, p)) {
            status = EXIT_USAGE;
        } else if (masks_load(&set, &s.masks, p, &bias_shape) && make_rotary(&set, &s, p)) {
            status = run(&set, &s, &in, &bias_shape);
        }
    }
    arrays_release(&set);
    return status;
}
