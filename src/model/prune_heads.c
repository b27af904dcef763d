#include "model/prune_heads.h"

#include "model/kept_heads.h"

static const multi_head_attention *attention_at(const transformer *m, model_attention kind, int layer) {
    return kind == MODEL_ENCODER_SELF   ? &m->encoder[layer].self_attention
           : kind == MODEL_DECODER_SELF ? &m->decoder[layer].self_attention
                                        : &m->decoder[layer].cross_attention;
}

static attn_status count_kept(const model_config *from, const unsigned char *removed, model_config *config) {
    for (int k = 0; k < MODEL_ATTENTIONS; k++) {
        model_attention kind = (model_attention)k;
        for (int layer = 0; layer < model_config_layers(from, kind); layer++) {
            const unsigned char *gone = removed + model_config_head_number(from, kind, layer);
            int heads = model_config_heads(from, kind, layer), kept = 0;
            for (int head = 0; head < heads; head++) {
                kept += !gone[head];
            }
            if (!kept) {
                return fail(ATTN_ERROR_ARGUMENT, "layer %d would lose all its %d heads; one has to stay", layer, heads);
            }
            config->kept_heads[kind][layer] = kept;
        }
    }
    return ATTN_OK;
}

/* Rows first .. first + count - 1 of p, to row `to` of q. */
static void copy_rows(const parameters *from, parameter p, int64_t first, const parameters *into, parameter q, int64_t to,
                      int64_t count) {
    memcpy(parameter_values(into, q) + to * q.columns, parameter_values(from, p) + first * p.columns,
           (size_t)(count * p.columns) * sizeof(float));
}

/* The same of columns. */
static void copy_columns(const parameters *from, parameter p, int64_t first, const parameters *into, parameter q, int64_t to,
                         int64_t count) {
    for (int64_t row = 0; row < p.rows; row++) {
        memcpy(parameter_values(into, q) + row * q.columns + to, parameter_values(from, p) + row * p.columns + first,
               (size_t)count * sizeof(float));
    }
}

static void copy_heads(const parameters *from, const multi_head_attention *a, const parameters *into,
                       const multi_head_attention *b, const unsigned char *gone) {
    const linear_layer *const all[] = {&a->query, &a->key, &a->value}, *const kept[] = {&b->query, &b->key, &b->value};
    int64_t d = a->width / a->heads, to = 0;
    for (int64_t head = 0; head < a->heads; head++) {
        if (gone[head]) {
            continue;
        }
        for (int i = 0; i < 3; i++) {
            copy_rows(from, all[i]->weight, head * d, into, kept[i]->weight, to, d);
            copy_columns(from, all[i]->bias, head * d, into, kept[i]->bias, to, d);
        }
        copy_columns(from, a->output.weight, head * d, into, b->output.weight, to, d);
        to += d;
    }
}

attn_status transformer_without_heads(const transformer *from, const unsigned char *removed, transformer **made) {
    model_config config = from->config;
    transformer *model = NULL;
    *made = NULL;
    attn_status status = count_kept(&from->config, removed, &config);
    status = status ? status : transformer_new(&config, (network_purpose){0, ELEMENT_F32}, &model);
    if (status) {
        return status;
    }
    const parameters *all = &from->parameters, *kept = &model->parameters;
    for (size_t i = 0; i < kept->count; i++) { /* both are declared in one order */
        parameter p = all->list[i].where, q = kept->list[i].where;
        if (p.rows == q.rows && p.columns == q.columns) {
            copy_rows(all, p, 0, kept, q, 0, p.rows);
        }
    }
    for (int k = 0; k < MODEL_ATTENTIONS; k++) {
        model_attention kind = (model_attention)k;
        for (int layer = 0; layer < model_config_layers(&config, kind); layer++) {
            copy_heads(all, attention_at(from, kind, layer), kept, attention_at(model, kind, layer),
                       removed + model_config_head_number(&from->config, kind, layer));
        }
    }
    *made = model;
    return ATTN_OK;
}
