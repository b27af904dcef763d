/* Softmax, label smoothing, cross-entropy and all their gradients in one operation.
 *
 *   z = x W^T + b        x [tokens, width], W [vocabulary, width], b [1, vocabulary] or none
 *   loss = sum over tokens of -sum_v q[v] log softmax(z)[v],
 *   q = (1 - smoothing) onehot(label) + smoothing / vocabulary
 *   g = (softmax(z) - q) / divisor;  dx = g W;  dW += g^T x;  db += sum g
 *
 * z exists for 64 tokens a thread, g for 1,024 tokens. Being the last operation, it
 * computes the gradients on the way forward. */
#include "tensor/ops.h"

#include <omp.h>

enum { LOGIT_ROWS = 64, GRADIENT_ROWS = 1024 };

typedef struct loss_state {
    tape *t;
    tensor *x;
    parameter table, bias;
    const int32_t *labels;
    float smoothing, scale;
    int64_t vocabulary;
    const packed_matrix *to_logits; /* W^T */
    const packed_matrix *to_width;  /* W */
    packed_matrix *own[2];          /* where the tape has no packed weights */
    float *logits;            /* [threads, LOGIT_ROWS, vocabulary] */
    void *gradient;           /* [GRADIENT_ROWS, vocabulary] of the tape's type */
    float *bias_sums;         /* [GRADIENT_ROWS / LOGIT_ROWS, vocabulary]: db of each LOGIT_ROWS tokens; or NULL */
    float *losses, *likelihoods;
    int *corrects;
} loss_state;

/* Logits and their gradient for rows first .. first + count - 1 of x, which are rows
 * `place` .. of the gradient block. */
static attn_status logit_rows(loss_state *s, int64_t first, int64_t count, int64_t place) {
    tape *t = s->t;
    /* The operation's profile is the first thread's. */
    profile *p = omp_get_thread_num() == 0 ? t->profile : NULL;
    profile_place before = profile_enter(p, PROFILE_LOGITS, PROFILE_FORWARD,
                                         product_operations(count, s->vocabulary, s->x->columns));
    void *gradient = s->gradient ? element_at(s->gradient, t->type, place * s->vocabulary) : NULL;
    bf16 *copies = t->type == ELEMENT_BF16 ? gradient : NULL;
    /* In f32 the gradient takes the logits' place. */
    float *logits = gradient && !copies ? gradient : s->logits + (int64_t)omp_get_thread_num() * LOGIT_ROWS * s->vocabulary;
    float *sums = s->bias_sums ? s->bias_sums + place / LOGIT_ROWS * s->vocabulary : NULL;
    attn_status status = gemm_packed(t->gemm, matrix_of(logits, count, s->vocabulary, ELEMENT_F32),
                                     matrix_rows(tensor_matrix(s->x), first, count), s->to_logits,
                                     (gemm_options){.bias = s->bias.columns ? parameter_values(t->parameters, s->bias) : NULL});
    (void)profile_enter(p, PROFILE_SOFTMAX, PROFILE_FORWARD, (double)(count * s->vocabulary) * 6);
    if (sums) {
        memset(sums, 0, (size_t)s->vocabulary * sizeof *sums);
    }
    for (int64_t i = 0; i < count && !status; i++) {
        int64_t token = first + i;
        s->losses[token] = t->rows->cross_entropy(logits + i * s->vocabulary, copies ? copies + i * s->vocabulary : NULL, sums,
                                                  s->vocabulary, s->labels[token], s->smoothing, s->scale,
                                                  &s->likelihoods[token], &s->corrects[token]);
    }
    profile_return(p, before);
    return status;
}

/* What a block of at most GRADIENT_ROWS tokens gives to dx, dW and db. */
static attn_status spread_gradient(loss_state *s, int64_t first, int64_t count) {
    tape *t = s->t;
    matrix g = matrix_of(s->gradient, count, s->vocabulary, t->type);
    double operations = product_operations(count, s->vocabulary, s->x->columns);
    profile_place before = profile_enter(t->profile, PROFILE_LOGITS, PROFILE_BACKWARD, operations);
    attn_status status = gemm_packed(t->gemm, matrix_rows(gradient_matrix(s->x), first, count), g, s->to_width,
                                     (gemm_options){0});
    (void)profile_enter(t->profile, PROFILE_LOGITS_WEIGHTS, PROFILE_BACKWARD, operations);
    if (!status && !parameters_frozen(t->parameters, s->table)) {
        matrix d_table = matrix_of(parameter_gradients(t->parameters, s->table), s->vocabulary, s->table.columns, ELEMENT_F32);
        status = gemm(t->gemm, d_table, matrix_transpose(g), matrix_rows(tensor_matrix(s->x), first, count),
                      (gemm_options){.accumulate = 1});
    }
    (void)profile_enter(t->profile, PROFILE_SOFTMAX, PROFILE_BACKWARD, 0);
    for (int64_t place = 0; s->bias_sums && place < count; place += LOGIT_ROWS) {
        t->rows->add(parameter_gradients(t->parameters, s->bias), s->bias_sums + place / LOGIT_ROWS * s->vocabulary,
                     s->vocabulary);
    }
    profile_return(t->profile, before);
    return status;
}

static attn_status run_blocks(loss_state *s) {
    attn_status result = ATTN_OK;
    for (int64_t first = 0; first < s->x->rows && !result; first += GRADIENT_ROWS) {
        int64_t count = s->x->rows - first < GRADIENT_ROWS ? s->x->rows - first : GRADIENT_ROWS;
        int64_t parts = (count + LOGIT_ROWS - 1) / LOGIT_ROWS;
#pragma omp parallel for schedule(dynamic, 1)
        for (int64_t part = 0; part < parts; part++) {
            int64_t place = part * LOGIT_ROWS;
            int64_t rows = count - place < LOGIT_ROWS ? count - place : LOGIT_ROWS;
            attn_status status = logit_rows(s, first + place, rows, place);
            if (status) {
#pragma omp critical(attn_loss_status)
                result = status;
            }
        }
        if (!result && s->gradient) {
            result = spread_gradient(s, first, count);
        }
    }
    return result;
}

/* The table, for one batch's many blocks of rows. */
static const packed_matrix *pack_table(loss_state *s, int transposed) {
    tape *t = s->t;
    const packed_matrix *shared = NULL;
    matrix plain = parameter_matrix(t->parameters, s->table);
    if (t->status) {
        return NULL;
    }
    if (t->weights) {
        tape_fail(t, packed_weights_get(t->weights, s->table, transposed, &shared));
        return shared;
    }
    tape_fail(t, gemm_pack(t->gemm, transposed ? matrix_transpose(plain) : plain, t->type, &s->own[transposed]));
    return s->own[transposed];
}

attn_status op_cross_entropy(tape *t, tensor *x, parameter table, parameter bias, const int32_t *labels,
                             float smoothing, double divisor, loss_result *result, float *token_likelihood) {
    *result = (loss_result){0};
    if (!x || t->status) {
        return t->status;
    }
    int64_t tokens = x->rows, vocabulary = table.rows;
    loss_state s = {.t = t, .x = x, .table = table, .bias = bias, .labels = labels, .smoothing = smoothing,
                    .scale = (float)(1.0 / divisor), .vocabulary = vocabulary};
    int accumulate;
    if (t->recording && !tape_gradient(t, x, &accumulate)) {
        return t->status;
    }
    arena_mark mark = arena_get_mark(t->memory);
    int64_t block = tokens < GRADIENT_ROWS ? tokens : GRADIENT_ROWS;
    if (t->type != ELEMENT_F32 || !t->recording) {
        s.logits = tape_memory(t, (int64_t)omp_get_max_threads() * LOGIT_ROWS * vocabulary, sizeof(float));
    }
    s.losses = tape_memory(t, tokens, sizeof(float));
    s.likelihoods = tape_memory(t, tokens, sizeof(float));
    s.corrects = tape_memory(t, tokens, sizeof(int));
    if (t->recording) {
        s.gradient = tape_memory(t, block * vocabulary, element_size(t->type));
    }
    if (t->recording && bias.columns) {
        s.bias_sums = tape_memory(t, (block + LOGIT_ROWS - 1) / LOGIT_ROWS * vocabulary, sizeof(float));
    }
    profile_place before = profile_enter(t->profile, PROFILE_PACKING, PROFILE_FORWARD, 0);
    s.to_logits = pack_table(&s, 1);
    s.to_width = t->recording ? pack_table(&s, 0) : NULL;
    profile_return(t->profile, before);
    if (!t->status) {
        tape_fail(t, run_blocks(&s));
    }
    packed_matrix_free(s.own[0]);
    packed_matrix_free(s.own[1]);
    for (int64_t i = 0; i < tokens && !t->status; i++) {
        result->loss += (double)s.losses[i];
        result->likelihood += (double)s.likelihoods[i];
        result->correct += s.corrects[i];
        if (token_likelihood) {
            token_likelihood[i] = s.likelihoods[i];
        }
    }
    result->tokens = tokens;
    arena_return_to(t->memory, mark);
    return t->status;
}
