/* One vector a sequence, by a learned attention over its tokens (Yang et al. 2016, 2.2,
 * equations 5 to 7; the scores are Bahdanau's, 2015, with the query a parameter):
 *
 *   s[t] = u . k[t]     a = softmax of s over the sequence     y = sum over t of a[t] h[t]
 *
 * h [tokens, width], k [tokens, hidden] (tanh(W h + b), by op_linear), u [1, hidden],
 * y [sequences, width]. The weights a [tokens] are kept. With e[t] = dy . h[t]:
 *   dh[t] += a[t] dy    ds[t] = a[t] (e[t] - sum a e)    dk[t] = ds[t] u    du = sum ds[t] k[t] */
#include <math.h>

#include "tensor/ops.h"

typedef struct attention_pool_context {
    tensor *h, *k, *y;
    parameter query;
    packing p;
    float *weights; /* [tokens] */
} attention_pool_context;

static float dot(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t j = 0; j < n; j++) {
        sum += (double)a[j] * (double)b[j];
    }
    return (float)sum;
}

/* The scores of one sequence to its weights, in place. */
static void softmax(float *s, int64_t count) {
    float largest = -INFINITY;
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        largest = s[i] > largest ? s[i] : largest;
    }
    for (int64_t i = 0; i < count; i++) {
        s[i] = expf(s[i] - largest);
        sum += (double)s[i];
    }
    for (int64_t i = 0; i < count; i++) {
        s[i] = (float)((double)s[i] / sum);
    }
}

static void pool_sequence(const tape *t, const attention_pool_context *c, int64_t sequence) {
    int64_t first = c->p.offsets[sequence], end = c->p.offsets[sequence + 1];
    int64_t width = c->h->columns, hidden = c->k->columns;
    int64_t wider = width > hidden ? width : hidden;
    float room[wider + 16], sum[width + 16];
    const float *query = parameter_values(t->parameters, c->query);
    for (int64_t i = first; i < end; i++) {
        c->weights[i] = dot(query, row_read(t, c->k->type, tensor_row(c->k, i), room, hidden), hidden);
    }
    softmax(c->weights + first, end - first);
    memset(sum, 0, (size_t)width * sizeof *sum);
    for (int64_t i = first; i < end; i++) {
        const float *h = row_read(t, c->h->type, tensor_row(c->h, i), room, width);
        for (int64_t j = 0; j < width; j++) {
            sum[j] += c->weights[i] * h[j];
        }
    }
    row_write(t, c->y->type, tensor_row(c->y, sequence), sum, width);
}

/* Gives h's and k's gradients of one sequence; d_query [hidden] receives its share. */
static void pool_sequence_backward(const tape *t, const attention_pool_context *c, int64_t sequence, int add_h,
                                   int add_k, float *score_gradient, float *d_query) {
    int64_t first = c->p.offsets[sequence], end = c->p.offsets[sequence + 1];
    int64_t width = c->h->columns, hidden = c->k->columns;
    int64_t wider = width > hidden ? width : hidden;
    float dy_room[width + 16], room[wider + 16], row[wider + 16];
    const float *query = parameter_values(t->parameters, c->query);
    const float *dy = row_read(t, c->y->type, gradient_row(c->y, c->y->gradient, sequence), dy_room, width);
    double mean = 0;
    for (int64_t i = first; i < end; i++) {
        score_gradient[i] = dot(dy, row_read(t, c->h->type, tensor_row(c->h, i), room, width), width);
        mean += (double)c->weights[i] * (double)score_gradient[i];
    }
    for (int64_t i = first; i < end; i++) {
        float ds = c->weights[i] * (score_gradient[i] - (float)mean);
        const float *k = row_read(t, c->k->type, tensor_row(c->k, i), room, hidden);
        for (int64_t j = 0; j < hidden; j++) {
            d_query[j] += ds * k[j];
            row[j] = ds * query[j];
        }
        row_give(t, c->k->type, gradient_row(c->k, c->k->gradient, i), row, room, hidden, add_k);
        for (int64_t j = 0; j < width; j++) {
            row[j] = c->weights[i] * dy[j];
        }
        row_give(t, c->h->type, gradient_row(c->h, c->h->gradient, i), row, room, width, add_h);
    }
}

static void attention_pool_backward(tape *t, void *context) {
    attention_pool_context *c = context;
    int add_h, add_k;
    if (!c->y->gradient || !tape_gradient(t, c->h, &add_h) || !tape_gradient(t, c->k, &add_k)) {
        return;
    }
    int64_t hidden = c->k->columns, sequences = c->p.sequences;
    arena_mark mark = arena_get_mark(t->memory);
    float *scores = tape_memory(t, c->h->rows, sizeof(float));
    float *shares = tape_memory(t, sequences * hidden, sizeof(float));
    if (!scores || !shares) {
        return;
    }
    memset(shares, 0, (size_t)(sequences * hidden) * sizeof(float));
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < sequences; s++) {
        pool_sequence_backward(t, c, s, add_h, add_k, scores, shares + s * hidden);
    }
    for (int64_t s = 0; s < sequences; s++) {
        t->rows->add(parameter_gradients(t->parameters, c->query), shares + s * hidden, hidden);
    }
    arena_return_to(t->memory, mark);
}

tensor *op_attention_pool(tape *t, tensor *h, tensor *k, parameter query, packing p, const char *part) {
    if (!h || !k || t->status) {
        return NULL;
    }
    tensor *y = tape_tensor(t, p.sequences, h->columns);
    float *weights = tape_memory(t, h->rows, sizeof(float));
    attention_pool_context *c = tape_memory(t, 1, sizeof *c);
    if (!y || !weights || !c) {
        return NULL;
    }
    *c = (attention_pool_context){h, k, y, query, p, weights};
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < p.sequences; s++) {
        pool_sequence(t, c, s);
    }
    for (int64_t s = 0; s < p.sequences && t->probe.look && !t->status; s++) {
        tape_fail(t, t->probe.look(t->probe.context, part, s, 1, 1, p.offsets[s + 1] - p.offsets[s],
                                   weights + p.offsets[s]));
    }
    tape_note_backward(t, attention_pool_backward, c);
    return t->status ? NULL : y;
}
