#include "model/layers.h"

#include <math.h>
#include <stdio.h>

float *sinusoid_positions(int64_t longest, int64_t width) {
    float *table = memory_allocate((size_t)longest, (size_t)width * sizeof(float));
    int64_t half = width / 2;
    for (int64_t i = 0; table && i < half; i++) {
        const double wave = pow(10000.0, 2.0 * (double)i / (double)width);
        for (int64_t place = 0; place < longest; place++) {
            double angle = (double)place / wave;
            table[place * width + i] = (float)sin(angle);
            table[place * width + half + i] = (float)cos(angle);
        }
    }
    return table;
}

static attn_status declare_linear(parameters *set, linear_layer *l, int64_t out, int64_t in, const char *prefix) {
    attn_status status = parameters_declare(set, 1, 2, out, in, &l->weight, "%s.weight", prefix);
    return status ? status : parameters_declare(set, 1, 1, 1, out, &l->bias, "%s.bias", prefix);
}

static attn_status declare_norm(parameters *set, layer_norm *n, int64_t width, const char *prefix) {
    n->epsilon = LAYER_NORM_EPSILON;
    attn_status status = parameters_declare(set, 1, 1, 1, width, &n->gain, "%s.weight", prefix);
    return status ? status : parameters_declare(set, 1, 1, 1, width, &n->bias, "%s.bias", prefix);
}

/* The three weights lie side by side, then the three biases. */
static attn_status declare_attention(parameters *set, multi_head_attention *a, int64_t width, head_shape heads,
                                     const char *prefix, const char *part) {
    static const char *const NAMES[] = {"q_proj", "k_proj", "v_proj"};
    linear_layer *const projections[] = {&a->query, &a->key, &a->value};
    attn_status status = ATTN_OK;
    a->heads = heads.count;
    a->width = heads.count * heads.width;
    (void)snprintf(a->part, sizeof a->part, "%s", part);
    for (int i = 0; i < 3 && !status; i++) {
        status = parameters_declare(set, i == 0, 2, a->width, width, &projections[i]->weight, "%s.%s.weight", prefix, NAMES[i]);
    }
    for (int i = 0; i < 3 && !status; i++) {
        status = parameters_declare(set, i == 0, 1, 1, a->width, &projections[i]->bias, "%s.%s.bias", prefix, NAMES[i]);
    }
    char name[128];
    (void)snprintf(name, sizeof name, "%s.out_proj", prefix);
    return status ? status : declare_linear(set, &a->output, width, a->width, name);
}

static attn_status declare_feed_forward(parameters *set, feed_forward *f, int64_t width, int64_t hidden,
                                        activation kind, const char *prefix) {
    char name[128];
    f->kind = kind;
    (void)snprintf(name, sizeof name, "%s.fc1", prefix);
    attn_status status = declare_linear(set, &f->inner, hidden, width, name);
    (void)snprintf(name, sizeof name, "%s.fc2", prefix);
    return status ? status : declare_linear(set, &f->outer, width, hidden, name);
}

attn_status encoder_layer_declare(parameters *set, encoder_layer *layer, int index, int64_t width, head_shape heads,
                                  int64_t hidden, activation kind) {
    char prefix[64], name[128], part[32];
    (void)snprintf(prefix, sizeof prefix, "model.encoder.layers.%d", index);
    (void)snprintf(name, sizeof name, "%s.self_attn", prefix);
    (void)snprintf(part, sizeof part, "encoder.%d.self", index);
    attn_status status = declare_attention(set, &layer->self_attention, width, heads, name, part);
    (void)snprintf(name, sizeof name, "%s.self_attn_layer_norm", prefix);
    status = status ? status : declare_norm(set, &layer->self_attention_norm, width, name);
    status = status ? status : declare_feed_forward(set, &layer->feed_forward, width, hidden, kind, prefix);
    (void)snprintf(name, sizeof name, "%s.final_layer_norm", prefix);
    return status ? status : declare_norm(set, &layer->final_norm, width, name);
}

attn_status decoder_layer_declare(parameters *set, decoder_layer *layer, int index, int64_t width, head_shape heads,
                                  head_shape cross_heads, int64_t hidden, activation kind) {
    char prefix[64], name[128], part[32];
    (void)snprintf(prefix, sizeof prefix, "model.decoder.layers.%d", index);
    (void)snprintf(name, sizeof name, "%s.self_attn", prefix);
    (void)snprintf(part, sizeof part, "decoder.%d.self", index);
    attn_status status = declare_attention(set, &layer->self_attention, width, heads, name, part);
    (void)snprintf(name, sizeof name, "%s.self_attn_layer_norm", prefix);
    status = status ? status : declare_norm(set, &layer->self_attention_norm, width, name);
    (void)snprintf(name, sizeof name, "%s.encoder_attn", prefix);
    (void)snprintf(part, sizeof part, "decoder.%d.cross", index);
    status = status ? status : declare_attention(set, &layer->cross_attention, width, cross_heads, name, part);
    (void)snprintf(name, sizeof name, "%s.encoder_attn_layer_norm", prefix);
    status = status ? status : declare_norm(set, &layer->cross_attention_norm, width, name);
    status = status ? status : declare_feed_forward(set, &layer->feed_forward, width, hidden, kind, prefix);
    (void)snprintf(name, sizeof name, "%s.final_layer_norm", prefix);
    return status ? status : declare_norm(set, &layer->final_norm, width, name);
}

static tensor *linear(tape *t, const linear_layer *l, tensor *x) {
    return op_linear(t, x, l->weight, l->bias, ACTIVATION_NONE);
}

static tensor *residual_norm(tape *t, const layer_norm *n, tensor *x, tensor *f, float dropout) {
    return op_residual_norm(t, x, f, n->gain, n->bias, n->epsilon, dropout);
}

tensor *project_all(tape *t, const multi_head_attention *a, tensor *x) {
    return op_linear(t, x, parameter_joined(a->query.weight, 3), parameter_joined(a->query.bias, 3), ACTIVATION_NONE);
}

tensor *project_keys_values(tape *t, const multi_head_attention *a, tensor *memory) {
    return op_linear(t, memory, parameter_joined(a->key.weight, 2), parameter_joined(a->key.bias, 2), ACTIVATION_NONE);
}

tensor *self_attention_forward(tape *t, const multi_head_attention *a, tensor *x, packing p, int causal,
                               float dropout) {
    tensor *projected = project_all(t, a, x);
    attention_inputs inputs = {projected, projected, 0, a->width, 2 * a->width, a->heads, a->width / a->heads,
                               p, p, causal, dropout, a->part, 0, a->span};
    return linear(t, &a->output, op_attention(t, &inputs));
}

tensor *cross_attention_forward(tape *t, const multi_head_attention *a, tensor *x, packing p, tensor *memory,
                                packing memory_packing, float dropout) {
    tensor *queries = linear(t, &a->query, x), *keys_values = project_keys_values(t, a, memory);
    attention_inputs inputs = {queries, keys_values, 0, 0, a->width, a->heads, a->width / a->heads,
                               p, memory_packing, 0, dropout, a->part, 0, {ATTENTION_FULL, 0}};
    return linear(t, &a->output, op_attention(t, &inputs));
}

tensor *feed_forward_forward(tape *t, const feed_forward *f, tensor *x, float dropout) {
    tensor *hidden = op_linear(t, x, f->inner.weight, f->inner.bias, f->kind);
    return linear(t, &f->outer, op_dropout(t, hidden, dropout));
}

tensor *encoder_layer_forward(tape *t, const encoder_layer *layer, tensor *x, packing p, dropout_rates rates) {
    tensor *attended = self_attention_forward(t, &layer->self_attention, x, p, 0, rates.attention);
    x = residual_norm(t, &layer->self_attention_norm, x, attended, rates.residual);
    tensor *transformed = feed_forward_forward(t, &layer->feed_forward, x, rates.inner);
    return residual_norm(t, &layer->final_norm, x, transformed, rates.residual);
}

tensor *decoder_layer_forward(tape *t, const decoder_layer *layer, tensor *x, packing p, tensor *memory,
                              packing memory_packing, dropout_rates rates) {
    tensor *attended = self_attention_forward(t, &layer->self_attention, x, p, 1, rates.attention);
    x = residual_norm(t, &layer->self_attention_norm, x, attended, rates.residual);
    tensor *crossed = cross_attention_forward(t, &layer->cross_attention, x, p, memory, memory_packing, rates.attention);
    x = residual_norm(t, &layer->cross_attention_norm, x, crossed, rates.residual);
    tensor *transformed = feed_forward_forward(t, &layer->feed_forward, x, rates.inner);
    return residual_norm(t, &layer->final_norm, x, transformed, rates.residual);
}
