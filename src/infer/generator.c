#include "infer/generator.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "infer/kept_context.h"

struct generator {
    const language_model *model;
    parameters view; /* the model's, f32 alone */
    packed_parameters *packed;
};

void generator_free(generator *g) {
    if (g) {
        packed_parameters_free(g->packed);
        memory_free(g);
    }
}

static attn_status pack(generator *g) {
    const language_model *m = g->model;
    attn_status status = g->packed ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (int i = 0; i < m->config.layers && !status; i++) {
        const language_layer *l = &m->layers[i];
        const parameter weights[] = {l->projection, l->output, l->inner, l->outer};
        for (int k = 0; k < 4 && !status; k++) {
            status = packed_parameters_add(g->packed, PRODUCT_F32, &g->view, weights[k]);
        }
    }
    return status ? status : packed_parameters_add(g->packed, PRODUCT_F32, &g->view, m->logits);
}

attn_status generator_new(const language_model *model, generator **made) {
    *made = NULL;
    generator *g = memory_allocate(1, sizeof *g);
    if (!g) {
        return ATTN_ERROR_MEMORY;
    }
    *g = (generator){.model = model, .view = model->parameters, .packed = packed_parameters_new()};
    g->view.copies = NULL;
    g->view.gradients = NULL;
    attn_status status = pack(g);
    if (status) {
        generator_free(g);
        return status;
    }
    *made = g;
    return ATTN_OK;
}

/* --- keys and values ----------------------------------------------------------------- */

typedef struct generation {
    const language_model *model;
    parameters view;
    tape t;
    kept_context *kept; /* [layers] */
    int32_t *ids;   /* [total] */
    int64_t total;
    int64_t start;  /* the window is ids[start] .. ids[total - 1] */
    int64_t cached; /* so many of the window's first tokens are kept */
    packing window; /* while the window is read whole */
    int32_t offsets[2];
    sampled_token *likely; /* [vocabulary] */
} generation;

/* Their keys and values are behind the queries. */
static void keep(generation *g, int layer, const tensor *projected) {
    const language_config *c = &g->model->config;
    kept_context_add(&g->kept[layer], (const float *)projected->data + (int64_t)c->heads * c->head_dim, projected->rows,
                     projected->columns);
}

static tensor *attend_window(tape *t, void *context, const language_model *model, int layer, tensor *projected) {
    generation *g = context;
    keep(g, layer, projected);
    return language_attend_packed(t, &g->window, model, layer, projected);
}

/* One query, of the newest token, to what is kept. */
static tensor *attend_kept(tape *t, void *context, const language_model *model, int layer, tensor *projected) {
    generation *g = context;
    tensor *y = tape_tensor(t, 1, (int64_t)model->config.heads * model->config.head_dim);
    keep(g, layer, projected);
    if (y) {
        tape_fail(t, kept_context_attend(&g->kept[layer], t, projected->data, y->data));
    }
    return t->status ? NULL : y;
}

/* --- one step --------------------------------------------------------------------------- */

static tensor *read_window(generation *g) {
    int64_t count = g->total - g->start;
    for (int i = 0; i < g->model->config.layers; i++) {
        kept_context_clear(&g->kept[i]);
    }
    g->offsets[1] = (int32_t)count;
    g->window = (packing){g->offsets, 1};
    tensor *x = language_forward_with(&g->t, g->model, g->ids + g->start, g->window, attend_window, g), *last;
    last = x ? tape_tensor(&g->t, 1, x->columns) : NULL;
    if (last) {
        memcpy(last->data, tensor_row(x, count - 1), (size_t)x->columns * sizeof(float));
    }
    g->cached = count;
    return last;
}

static tensor *read_newest(generation *g) {
    const language_model *m = g->model;
    int32_t place = (int32_t)g->cached, id = g->ids[g->total - 1];
    int64_t n = m->config.width;
    tensor *x = tape_tensor(&g->t, 1, n);
    if (!x) {
        return NULL;
    }
    float *row = x->data;
    memcpy(row, parameter_values(g->t.parameters, m->embedding) + id * n, (size_t)n * sizeof *row);
    for (int64_t j = 0; j < n && m->config.family == LANGUAGE_GPT2; j++) {
        row[j] += parameter_values(g->t.parameters, m->positions)[place * n + j];
    }
    x = language_layers(&g->t, m, x, &place, attend_kept, g);
    g->cached++;
    return x;
}

int64_t generator_window_start(int64_t count, int64_t total, int64_t positions) {
    int64_t start = count > positions ? count - positions : 0, kept = (positions + 1) / 2;
    if (total - start > positions) { /* the window was full `forgot` times, each time after so many tokens */
        int64_t forgot = (total - start - positions - 1) / (positions + 1 - kept) + 1;
        start += forgot * (positions + 1 - kept);
    }
    return start;
}

/* Logits [vocabulary] for what comes behind the newest token; they live until the next step. */
static float *next_logits(generation *g, int64_t prompt) {
    int64_t start = generator_window_start(prompt, g->total, g->model->config.positions);
    int one = g->cached > 0 && start == g->start && g->cached == g->total - start - 1;
    tape_start(&g->t, 0, 0, 0);
    g->start = start;
    tensor *x = one ? read_newest(g) : read_window(g);
    x = op_linear(&g->t, x, g->model->logits, (parameter){0}, ACTIVATION_NONE);
    return x ? x->data : NULL;
}

static double log_sum_exp(const float *logits, int64_t count) {
    double largest = -INFINITY, sum = 0;
    for (int64_t i = 0; i < count; i++) {
        largest = (double)logits[i] > largest ? (double)logits[i] : largest;
    }
    for (int64_t i = 0; i < count; i++) {
        sum += exp((double)logits[i] - largest);
    }
    return largest + log(sum);
}

static attn_status choose(const generation *g, const generation_request *r, float *logits, int64_t step, int32_t *id,
                          double *log_probability) {
    int64_t vocabulary = g->model->config.vocab_size;
    double normaliser = log_sum_exp(logits, vocabulary);
    if (!isfinite(normaliser)) {
        return fail(ATTN_ERROR_NUMERIC, "the model's logits behind token %lld are not finite", (long long)g->total);
    }
    for (int64_t i = 0; i < vocabulary; i++) {
        logits[i] = r->barred[i] ? -INFINITY : logits[i];
    }
    int64_t best = 0;
    for (int64_t i = 1; i < vocabulary; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    *id = (int32_t)best;
    if (r->sampling.on) {
        int64_t count = sampling_filter(logits, vocabulary, &r->sampling, g->likely);
        *id = sampling_draw(g->likely, count, r->key, (int32_t)step);
    }
    *log_probability = (double)logits[*id] - normaliser;
    return ATTN_OK;
}

/* --- a text ------------------------------------------------------------------------------- */

static attn_status open_generation(const generator *from, const generation_request *r, generation *g) {
    const language_config *c = &from->model->config;
    *g = (generation){.model = from->model, .view = from->view, .total = r->count};
    int64_t room = r->count + r->max_tokens < c->positions ? r->count + r->max_tokens : c->positions;
    g->ids = memory_allocate((size_t)(r->count + r->max_tokens), sizeof *g->ids);
    g->likely = memory_allocate((size_t)c->vocab_size, sizeof *g->likely);
    g->kept = memory_allocate((size_t)c->layers, sizeof *g->kept);
    attn_status status = g->ids && g->likely && g->kept ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (int i = 0; i < c->layers && !status; i++) {
        status = kept_context_open(&g->kept[i], c, room);
    }
    if (!status) {
        memcpy(g->ids, r->prompt, (size_t)r->count * sizeof *g->ids);
    }
    status = status ? status : tape_open(&g->t, &g->view);
    g->t.packed = from->packed;
    return status;
}

static void close_generation(generation *g) {
    tape_close(&g->t);
    for (int i = 0; i < g->model->config.layers && g->kept; i++) {
        kept_context_close(&g->kept[i]);
    }
    memory_free(g->kept);
    memory_free(g->ids);
    memory_free(g->likely);
}

attn_status generator_run(const generator *from, const generation_request *r) {
    generation g;
    attn_status status = open_generation(from, r, &g);
    for (int64_t step = 0; step < r->max_tokens && !status; step++) {
        int32_t id = TOKEN_NONE;
        double log_probability = 0;
        float *logits = next_logits(&g, r->count);
        status = logits ? choose(&g, r, logits, step, &id, &log_probability) : g.t.status;
        if (status || r->produced(r->context, id, log_probability) || id == r->eos) {
            break;
        }
        g.ids[g.total++] = id;
    }
    close_generation(&g);
    return status;
}
