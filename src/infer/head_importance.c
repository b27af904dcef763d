#include "infer/head_importance.h"

#include <math.h>
#include <stdio.h>

#include "model/kept_heads.h"

enum { BATCH_TOKENS = 2048 }; /* of the target; bounds memory alone */

typedef struct head_sums {
    const model_config *config;
    double *sums; /* [heads] */
} head_sums;

/* "encoder.3.self" */
static int find_part(const model_config *config, const char *part, model_attention *kind, int *layer) {
    static const char *const FORMATS[] = {"encoder.%d.self", "decoder.%d.self", "decoder.%d.cross"};
    for (int k = 0; k < MODEL_ATTENTIONS; k++) {
        for (*layer = 0; *layer < model_config_layers(config, (model_attention)k); ++*layer) {
            char name[32];
            (void)snprintf(name, sizeof name, FORMATS[k], *layer);
            if (strcmp(name, part) == 0) {
                *kind = (model_attention)k;
                return 1;
            }
        }
    }
    return 0;
}

static attn_status add_gradients(void *context, const char *part, int64_t sequence, int64_t heads, const double *gradients) {
    const head_sums *s = context;
    model_attention kind;
    int layer;
    (void)sequence;
    if (!find_part(s->config, part, &kind, &layer)) {
        return fail(ATTN_ERROR_INTERNAL, "\"%s\" is no attention of the model", part);
    }
    double *sums = s->sums + model_config_head_number(s->config, kind, layer);
    for (int64_t h = 0; h < heads; h++) {
        sums[h] += fabs(gradients[h]);
    }
    return ATTN_OK;
}

static attn_status go_back_and_forth(tape *t, const transformer *model, const corpus *pairs) {
    batch_options order;
    batcher *batches = NULL;
    batch_options_defaults(&order);
    order.shuffle = false;
    order.target_tokens = BATCH_TOKENS;
    attn_status status = batcher_new(pairs, &order, &batches);
    for (bool last = false; !status && !last;) {
        batch b;
        loss_result result;
        status = batcher_next(batches, &b);
        if (!status) {
            last = b.last_of_epoch;
            tape_start(t, 1, 0, 0);
            status = transformer_loss(t, model, &b, 0, 1, &result);
        }
        status = status ? status : tape_backward(t);
    }
    batcher_free(batches);
    return status;
}

attn_status head_gradients(const transformer *model, const corpus *pairs, double *gradients) {
    transformer still = *model; /* nothing is dropped */
    still.config.dropout = still.config.attention_dropout = still.config.activation_dropout = 0;
    head_sums s = {&model->config, gradients};
    int heads = model_config_head_number(&model->config, MODEL_ATTENTIONS, 0);
    memset(gradients, 0, (size_t)heads * sizeof *gradients);
    tape t;
    attn_status status = tape_open(&t, &still.parameters);
    if (!status) {
        t.head_probe = (head_probe){add_gradients, &s};
        status = go_back_and_forth(&t, &still, pairs);
    }
    tape_close(&t);
    for (int h = 0; h < heads; h++) {
        gradients[h] /= (double)pairs->pairs;
    }
    return status;
}

void head_importance(const model_config *config, const double *gradients, double *importance) {
    for (int k = 0; k < MODEL_ATTENTIONS; k++) {
        for (int layer = 0; layer < model_config_layers(config, (model_attention)k); layer++) {
            int first = model_config_head_number(config, (model_attention)k, layer);
            int end = first + model_config_heads(config, (model_attention)k, layer);
            double squares = 0;
            for (int h = first; h < end; h++) {
                squares += gradients[h] * gradients[h];
            }
            for (int h = first; h < end; h++) {
                importance[h] = squares > 0 ? gradients[h] / sqrt(squares) : 0;
            }
        }
    }
}
