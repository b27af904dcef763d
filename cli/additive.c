/* attn additive: attention with additive scores (Bahdanau et al. 2015) on NumPy's arrays. */
#include <attn/attn.h>
#include <math.h>
#include <string.h>

#include "arrays.h"
#include "commands.h"
#include "masks.h"

typedef struct settings {
    int causal, dtype, kernel, threads;
    double softcap, dropout;
    int64_t seed;
    mask_settings masks;
    const char *wq, *wk, *bias, *v, *q_offsets, *k_offsets;
    const char *out, *lse, *weights, *grad_out, *dq, *dk, *dv, *dwq, *dwk, *dbias, *dscore, *dscore_bias, *dsinks;
} settings;

static const char *const CAUSALS[] = {"none", "top-left", "bottom-right", NULL};
static const char *const DTYPES[] = {"f32", "bf16", NULL};
static const char *const KERNELS[] = {"auto", "reference", "portable", "avx2", "avx512", NULL};
static const char *const OUTPUTS[] = {"out", "lse",   "weights", "dq",          "dk",     "dv", "dwq",
                                      "dwk", "dbias", "dscore",  "dscore-bias", "dsinks", NULL};

static const command_usage USAGE = {
    "additive", "Q.npy K.npy V.npy --wq W.npy --wk U.npy --v V.npy [OPTION]...",
    "Computes attention with the scores v . tanh(W q + U k + b) and, with --grad-out, its\n"
    "gradients. Arrays are [tokens, heads, d] or [batch, tokens, heads, d].",
    "W and U are [heads, width, d], b and v [heads, width]; the axis of heads may be left out\n"
    "where there is one. Masks and score biases have up to four axes, [batch, heads, queries, keys];\n"
    "leading ones may be left out, and an axis of 1 is broadcast."};

/* A parameter; the axis of heads, the first expected, may be left out where there is one. */
static const float *load_parameter(array_set *set, const char *path, int dimensions, const int64_t *expected,
                                   npy_array *shape) {
    const float *values = arrays_load(set, path, 0, shape);
    const int left_out = values && expected[0] == 1 && shape->dimensions == dimensions - 1;
    if (!values || !arrays_check_shape(set, path, shape, dimensions - left_out, expected + left_out)) {
        return NULL;
    }
    return values;
}

typedef struct parameter_shapes {
    npy_array w, u, b, v;
} parameter_shapes;

static int load_parameters(array_set *set, const settings *s, const attn_attention_problem *p,
                           attn_additive_parameters *w, parameter_shapes *shapes) {
    if (!(w->w = arrays_load(set, s->wq, 0, &shapes->w))) {
        return 0;
    }
    const int n = shapes->w.dimensions;
    if (n < 2 || n > 3 || shapes->w.shape[n - 1] != p->d || (n == 2 ? 1 : shapes->w.shape[0]) != p->heads) {
        char found[NPY_SHAPE_TEXT];
        (void)arrays_failed(set, "%s is %s, expected [%lld, width, %lld]", s->wq,
                            npy_shape_text(n, shapes->w.shape, found), (long long)p->heads, (long long)p->d);
        return 0;
    }
    w->width = shapes->w.shape[n - 2];
    const int64_t expected[3] = {p->heads, w->width, p->d};
    return (w->u = load_parameter(set, s->wk, 3, expected, &shapes->u)) &&
           (w->v = load_parameter(set, s->v, 2, expected, &shapes->v)) &&
           (!s->bias || (w->b = load_parameter(set, s->bias, 2, expected, &shapes->b)));
}

static int save_f32(array_set *set, const char *path, const float *data, const npy_array *shape) {
    return arrays_save(set, path, data, 0, shape->dimensions, shape->shape);
}

static void *new_workspace(array_set *set, const attn_attention_problem *p, int64_t width,
                           attn_attention_pass pass, size_t *size) {
    if (attn_additive_workspace(p, width, pass, size)) {
        (void)command_failed(set->usage);
        return NULL;
    }
    return arrays_new(set, *size, 1);
}

/* What is computed. All of it is there before any is saved: an output may lie over an input. */
typedef struct results {
    void *o;
    float *lse, *weights;
    attn_additive_gradients gradients;
} results;

static int forward(array_set *set, const array_inputs *in, const attn_additive_parameters *w, results *r) {
    const attn_attention_problem *p = &in->problem;
    size_t size;
    void *workspace = new_workspace(set, p, w->width, ATTN_PASS_FORWARD, &size);
    r->o = arrays_new(set, in->o_count, p->dtype == ATTN_BF16 ? 2 : 4);
    r->lse = arrays_new(set, (size_t)(p->heads * in->q_tokens), sizeof(float));
    return workspace && r->o && r->lse &&
           arrays_computed(set,
                           attn_additive_forward(p, w, in->q, in->k, in->v, r->o, r->lse, workspace, size));
}

static int find_weights(array_set *set, const array_inputs *in, const attn_additive_parameters *w,
                        results *r) {
    const attn_attention_problem *p = &in->problem;
    size_t size;
    void *workspace = new_workspace(set, p, w->width, ATTN_PASS_WEIGHTS, &size);
    r->weights = arrays_new(set, arrays_weights_count(in), sizeof(float));
    return workspace && r->weights &&
           arrays_computed(set, attn_additive_weights(p, w, in->q, in->k, r->weights, workspace, size));
}

static int backward(array_set *set, const settings *s, const array_inputs *in,
                    const attn_additive_parameters *w, const parameter_shapes *shapes, const void *d_o,
                    const npy_array *bias_shape, results *r) {
    const attn_attention_problem *p = &in->problem;
    const size_t bytes = p->dtype == ATTN_BF16 ? 2 : 4;
    size_t size;
    r->gradients = (attn_additive_gradients){
        .q = arrays_new(set, in->q_count, bytes),
        .k = arrays_new(set, in->k_count, bytes),
        .v = arrays_new(set, in->v_count, bytes),
        .w = arrays_new(set, shapes->w.count, 4),
        .u = arrays_new(set, shapes->u.count, 4),
        .b = arrays_new(set, shapes->v.count, 4),
        .score_v = arrays_new(set, shapes->v.count, 4),
        .bias = s->dscore_bias ? arrays_new(set, bias_shape->count, 4) : NULL,
        .sinks = s->dsinks ? arrays_new(set, (size_t)p->heads, 4) : NULL,
    };
    const attn_additive_gradients *g = &r->gradients;
    void *workspace = new_workspace(set, p, w->width, ATTN_PASS_BACKWARD, &size);
    if (!g->q || !g->k || !g->v || !g->w || !g->u || !g->b || !g->score_v || !workspace ||
        (s->dscore_bias && !g->bias) || (s->dsinks && !g->sinks)) {
        return 0;
    }
    return arrays_computed(
        set, attn_additive_backward(p, w, in->q, in->k, in->v, r->o, r->lse, d_o, g, workspace, size));
}

static int save(array_set *set, const settings *s, const array_inputs *in, const parameter_shapes *shapes,
                const npy_array *bias_shape, const results *r) {
    const attn_additive_gradients *g = &r->gradients;
    return arrays_save_output(set, s->out, r->o, in) && arrays_save_log_sum_exp(set, s->lse, r->lse, in) &&
           arrays_save_weights(set, s->weights, r->weights, in) &&
           arrays_save_like(set, s->dq, g->q, in, &in->q_shape) &&
           arrays_save_like(set, s->dk, g->k, in, &in->k_shape) &&
           arrays_save_like(set, s->dv, g->v, in, &in->v_shape) && save_f32(set, s->dwq, g->w, &shapes->w) &&
           save_f32(set, s->dwk, g->u, &shapes->u) && save_f32(set, s->dbias, g->b, &shapes->b) &&
           save_f32(set, s->dscore, g->score_v, &shapes->v) &&
           save_f32(set, s->dscore_bias, g->bias, bias_shape) &&
           arrays_save(set, s->dsinks, g->sinks, 0, 1, &in->problem.heads);
}

static int run(array_set *set, const settings *s, const array_inputs *in, const npy_array *bias_shape) {
    attn_additive_parameters w = {0};
    parameter_shapes shapes = {0};
    results r = {0};
    if (!load_parameters(set, s, &in->problem, &w, &shapes)) {
        return EXIT_FAILED;
    }
    const void *d_o = s->grad_out ? arrays_load_output_gradient(set, s->grad_out, in) : NULL;
    if (s->grad_out && !d_o) {
        return EXIT_FAILED;
    }
    return forward(set, in, &w, &r) && (!s->weights || find_weights(set, in, &w, &r)) &&
                   (!d_o || backward(set, s, in, &w, &shapes, d_o, bias_shape, &r)) &&
                   save(set, s, in, &shapes, bias_shape, &r)
               ? EXIT_DONE
               : EXIT_FAILED;
}

int command_additive(int argc, char **argv) {
    settings s = {.softcap = INFINITY};
    option_row rows[] = {
        option_string("wq", &s.wq, "FILE", "W, what the query is multiplied by"),
        option_string("wk", &s.wk, "FILE", "U, what the key is multiplied by"),
        option_string("bias", &s.bias, "FILE", "b, added to both (default: none)"),
        option_string("v", &s.v, "FILE", "v, the weights of the tanh"),
        option_choice("causal", &s.causal, CAUSALS, "which keys a query may see"),
        option_string("window", &s.masks.window, "L,R", "keys to the left and right of its own that a query sees"),
        option_string("mask", &s.masks.mask, "FILE", "nonzero or true: may attend"),
        option_string("score-bias", &s.masks.bias, "FILE", "added to the scores"),
        option_string("alibi", &s.masks.alibi, "FILE", "slopes [heads] of a penalty on distance"),
        option_without_default(option_double("softcap", &s.softcap, 1e-30, INFINITY, "X", "scores become X tanh(score / X)")),
        option_string("sinks", &s.masks.sinks, "FILE", "a logit [heads] without a value"),
        option_string("key-lengths", &s.masks.key_lengths, "FILE", "how many keys of each sequence exist"),
        option_double("dropout", &s.dropout, 0, 0.9999, "P", "share of weights dropped"),
        option_int64("seed", &s.seed, 0, INT64_MAX, "N", "of the dropout"),
        option_string("q-offsets", &s.q_offsets, "FILE", "first tokens of packed sequences, and the end"),
        option_string("k-offsets", &s.k_offsets, "FILE", "the same of the keys"),
        option_choice("dtype", &s.dtype, DTYPES, "type of Q, K, V and the output; sums and parameters are f32"),
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
        option_string("dwq", &s.dwq, "FILE", "gradient of W"),
        option_string("dwk", &s.dwk, "FILE", "gradient of U"),
        option_string("dbias", &s.dbias, "FILE", "gradient of b"),
        option_string("dscore", &s.dscore, "FILE", "gradient of v"),
        option_string("dscore-bias", &s.dscore_bias, "FILE", "gradient of the score bias"),
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
    if (!s.wq || !s.wk || !s.v) {
        return usage_error(&USAGE, "--wq, --wk and --v are needed");
    }
    if (!s.grad_out && (s.dq || s.dk || s.dv || s.dwq || s.dwk || s.dbias || s.dscore || s.dscore_bias || s.dsinks)) {
        return usage_error(&USAGE, "gradients need --grad-out");
    }
    if ((s.dbias && !s.bias) || (s.dscore_bias && !s.masks.bias) || (s.dsinks && !s.masks.sinks)) {
        return usage_error(&USAGE, "a gradient of what is not there: --dbias needs --bias, --dscore-bias "
                           "--score-bias, --dsinks --sinks");
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
        p->causal = (attn_causal)s.causal;
        p->kernel = (attn_kernel)s.kernel; /* the names are in its order */
        p->softcap = (float)s.softcap;
        p->dropout = (float)s.dropout;
        p->dropout_seed = (uint64_t)s.seed;
        if (!masks_parse_window(&set, s.masks.window, p)) {
            status = EXIT_USAGE;
        } else if (masks_load(&set, &s.masks, p, &bias_shape)) {
            status = run(&set, &s, &in, &bias_shape);
        }
    }
    arrays_release(&set);
    return status;
}
