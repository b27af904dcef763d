/* o = softmax(scale q k^T + mask) v for packed sequences, by the attention operator
 * (attn/attention.h); the mask may be a window, and the score linear. Queries, keys and values are column ranges of one or two fused
 * projections, read in place through strides; the log-sum-exp [heads, tokens] is what
 * the way back needs. */
#include <attn/attention.h>

#include "tensor/ops.h"

typedef struct attention_context {
    attention_inputs in;
    tensor *y;
    float *log_sum_exp;
    attn_attention_problem problem;
} attention_context;

static void describe(const tape *t, attention_context *c) {
    attn_attention_problem *p = &c->problem;
    const attention_inputs *in = &c->in;
    attn_attention_defaults(p, in->heads, in->kv_heads ? in->kv_heads : in->heads, in->head_dim, in->head_dim);
    attn_attention_packed(p, in->query_packing.sequences, in->query_packing.offsets, in->key_packing.offsets);
    p->dtype = t->type == ELEMENT_BF16 ? ATTN_BF16 : ATTN_F32;
    p->q.token = p->d_q.token = in->queries->columns;
    p->k.token = p->d_k.token = in->keys->columns;
    p->v.token = p->d_v_.token = in->keys->columns;
    p->causal = in->causal ? ATTN_CAUSAL_TOP_LEFT : ATTN_CAUSAL_NONE;
    if (in->span.kind == ATTENTION_WINDOW) {
        p->window_left = in->causal ? in->span.window - 1 : in->span.window / 2;
        p->window_right = in->causal ? 0 : in->span.window / 2;
    }
    p->score = in->span.kind == ATTENTION_LINEAR ? ATTN_SCORE_LINEAR : ATTN_SCORE_SCALED_DOT;
}

static const void *column_of(const tensor *x, int64_t column) {
    return element_at(x->data, x->type, column);
}

static void show_heads(tape *t, const attention_context *c) {
    const attention_inputs *in = &c->in;
    const int32_t *offsets = in->query_packing.offsets;
    const int64_t n = c->y->columns;
    arena_mark mark = arena_get_mark(t->memory);
    double *sums = tape_memory(t, in->heads, sizeof *sums);
    float *room = tape_memory(t, 2 * n, sizeof *room);
    for (int64_t s = 0; s < in->query_packing.sequences && !t->status; s++) {
        memset(sums, 0, (size_t)in->heads * sizeof *sums);
        for (int64_t row = offsets[s]; row < offsets[s + 1]; row++) {
            const float *o = row_read(t, c->y->type, tensor_row(c->y, row), room, n);
            const float *g = row_read(t, c->y->type, gradient_row(c->y, c->y->gradient, row), room + n, n);
            for (int64_t j = 0; j < n; j++) {
                sums[j / in->head_dim] += (double)o[j] * (double)g[j];
            }
        }
        tape_fail(t, t->head_probe.look(t->head_probe.context, in->part, s, in->heads, sums));
    }
    arena_return_to(t->memory, mark);
}

static void attention_backward(tape *t, void *context) {
    attention_context *c = context;
    attention_inputs *in = &c->in;
    int add_queries, add_keys;
    if (!c->y->gradient || !tape_gradient(t, in->queries, &add_queries)) {
        return;
    }
    if (in->keys == in->queries) {
        add_keys = add_queries;
    } else if (!tape_gradient(t, in->keys, &add_keys)) {
        return;
    }
    if (add_queries || add_keys) {
        /* A fused projection has one reader. */
        tape_fail(t, fail(ATTN_ERROR_INTERNAL, "attention's inputs are used by another operation"));
        return;
    }
    if (t->head_probe.look) {
        show_heads(t, c);
    }
    profile_place before = profile_enter(t->profile, PROFILE_ATTENTION, PROFILE_BACKWARD, 0);
    arena_mark mark = arena_get_mark(t->memory);
    size_t size = 0;
    attn_status status = attn_attention_workspace(&c->problem, ATTN_PASS_BACKWARD, &size);
    void *workspace = status ? NULL : tape_memory(t, (int64_t)size, 1);
    if (workspace) {
        attn_attention_gradients gradients = {
            .q = element_at(in->queries->gradient, in->queries->type, in->query_column),
            .k = element_at(in->keys->gradient, in->keys->type, in->key_column),
            .v = element_at(in->keys->gradient, in->keys->type, in->value_column)};
        status = attn_attention_backward(&c->problem, column_of(in->queries, in->query_column),
                                         column_of(in->keys, in->key_column), column_of(in->keys, in->value_column),
                                         c->y->data, c->log_sum_exp, c->y->gradient, &gradients, workspace, size);
    }
    tape_fail(t, status);
    arena_return_to(t->memory, mark);
    profile_return(t->profile, before);
    tape_release_gradient(t, c->y);
}

/* Shows the weights of every sequence to the probe. */
static void show_weights(tape *t, attention_context *c) {
    const attention_inputs *in = &c->in;
    const int32_t *query = in->query_packing.offsets, *key = in->key_packing.offsets;
    arena_mark mark = arena_get_mark(t->memory);
    int64_t total = 0;
    for (int64_t s = 0; s < in->query_packing.sequences; s++) {
        total += (int64_t)(query[s + 1] - query[s]) * (key[s + 1] - key[s]);
    }
    size_t size = 0;
    attn_status status = attn_attention_workspace(&c->problem, ATTN_PASS_WEIGHTS, &size);
    float *weights = tape_memory(t, total * in->heads, sizeof(float));
    void *workspace = status ? NULL : tape_memory(t, (int64_t)size, 1);
    if (weights && workspace) {
        status = attn_attention_weights(&c->problem, column_of(in->queries, in->query_column),
                                        column_of(in->keys, in->key_column), weights, workspace, size);
    }
    for (int64_t s = 0; s < in->query_packing.sequences && !status && !t->status; s++) {
        int64_t queries = query[s + 1] - query[s], keys = key[s + 1] - key[s];
        status = t->probe.look(t->probe.context, in->part, s, in->heads, queries, keys, weights);
        weights += in->heads * queries * keys;
    }
    tape_fail(t, status);
    arena_return_to(t->memory, mark);
}

tensor *op_attention(tape *t, const attention_inputs *inputs) {
    if (!inputs->queries || !inputs->keys || t->status) {
        return NULL;
    }
    attention_context *c = tape_memory(t, 1, sizeof *c);
    tensor *y = tape_tensor(t, inputs->queries->rows, inputs->heads * inputs->head_dim);
    float *log_sum_exp = t->recording ? tape_memory(t, inputs->queries->rows * inputs->heads, sizeof(float)) : NULL;
    if (!c || !y || t->status) {
        return NULL;
    }
    *c = (attention_context){.in = *inputs, .y = y, .log_sum_exp = log_sum_exp};
    describe(t, c);
    if (t->recording && inputs->dropout > 0) {
        c->problem.dropout = inputs->dropout;
        c->problem.dropout_seed = tape_draw(t);
    }
    profile_place before = profile_enter(t->profile, PROFILE_ATTENTION, PROFILE_FORWARD, 0);
    arena_mark mark = arena_get_mark(t->memory);
    size_t size = 0;
    attn_status status = attn_attention_workspace(&c->problem, ATTN_PASS_FORWARD, &size);
    void *workspace = status ? NULL : tape_memory(t, (int64_t)size, 1);
    if (workspace) {
        status = attn_attention_forward(&c->problem, column_of(inputs->queries, inputs->query_column),
                                        column_of(inputs->keys, inputs->key_column),
                                        column_of(inputs->keys, inputs->value_column), y->data, log_sum_exp, workspace,
                                        size);
    }
    tape_fail(t, status);
    arena_return_to(t->memory, mark);
    profile_return(t->profile, before);
    if (t->probe.look) {
        show_weights(t, c);
    }
    tape_note_backward(t, attention_backward, c);
    return t->status ? NULL : y;
}
