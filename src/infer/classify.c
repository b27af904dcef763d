#include "infer/classify.h"

#include <math.h>
#include <string.h>

#include "data/batch.h"
#include "infer/translate.h"

enum { RUN_TOKENS = 2048 /* a batch; bounds memory alone */ };

struct classifier {
    const bert *model;
    parameters view;
    packed_parameters *packed;
};

void classifier_free(classifier *c) {
    if (c) {
        packed_parameters_free(c->packed);
        memory_free(c);
    }
}

static attn_status pack(classifier *c) {
    const bert *m = c->model;
    attn_status status = c->packed ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (int i = 0; i < m->config.layers && !status; i++) {
        const encoder_layer *layer = &m->layers[i];
        const parameter weights[] = {parameter_joined(layer->self_attention.query.weight, 3),
                                     layer->self_attention.output.weight, layer->feed_forward.inner.weight,
                                     layer->feed_forward.outer.weight};
        for (int k = 0; k < 4 && !status; k++) {
            status = packed_parameters_add(c->packed, PRODUCT_F32, &c->view, weights[k]);
        }
    }
    status = status ? status : packed_parameters_add(c->packed, PRODUCT_F32, &c->view, m->pooler.weight);
    return status ? status : packed_parameters_add(c->packed, PRODUCT_F32, &c->view, m->classifier.weight);
}

attn_status classifier_new(const bert *model, const parameters *view, classifier **made) {
    *made = NULL;
    classifier *c = memory_allocate(1, sizeof *c);
    if (!c) {
        return ATTN_ERROR_MEMORY;
    }
    *c = (classifier){.model = model, .view = *view, .packed = packed_parameters_new()};
    c->view.copies = NULL;
    c->view.gradients = NULL;
    attn_status status = pack(c);
    if (status) {
        classifier_free(c);
        return status;
    }
    *made = c;
    return ATTN_OK;
}

/* --- probabilities ------------------------------------------------------------------ */

/* What the probe writes to: the weights of the batch at hand. */
typedef struct weight_taker {
    const bert *model;
    const int32_t *offsets;
    float *weights;
} weight_taker;

static attn_status take_weights(void *context, const char *part, int64_t sequence, int64_t heads, int64_t queries,
                                int64_t keys, const float *weights) {
    const weight_taker *taker = context;
    char wanted[32] = "pool";
    if (taker->model->config.pooling == BERT_POOL_CLS) {
        (void)snprintf(wanted, sizeof wanted, "encoder.%d.self", taker->model->config.layers - 1);
    }
    float *out = taker->weights + taker->offsets[sequence];
    if (strcmp(part, wanted) != 0) {
        return ATTN_OK;
    }
    for (int64_t j = 0; j < keys; j++) {
        double sum = 0;
        for (int64_t h = 0; h < heads; h++) {
            sum += (double)weights[h * queries * keys + j];
        }
        out[j] = (float)(sum / (double)heads);
    }
    return ATTN_OK;
}

void class_probabilities(const float *logits, size_t count, float *probabilities) {
    double largest = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++) {
        largest = (double)logits[i] > largest ? (double)logits[i] : largest;
    }
    for (size_t i = 0; i < count; i++) {
        sum += exp((double)logits[i] - largest);
    }
    for (size_t i = 0; i < count; i++) {
        probabilities[i] = (float)(exp((double)logits[i] - largest) / sum);
    }
}

attn_status classifier_run(const classifier *c, const int32_t *ids, const size_t *offsets, size_t sequences,
                           float *probabilities, float *weights) {
    parameters view = c->view;
    size_t labels = c->model->config.labels.size;
    int32_t *local = memory_allocate(sequences + 1, sizeof *local);
    tape t;
    attn_status status = local ? tape_open(&t, &view) : ATTN_ERROR_MEMORY;
    if (status) {
        memory_free(local);
        return status;
    }
    t.packed = c->packed;
    for (size_t first = 0, end; first < sequences && !status; first = end) {
        for (end = first; end < sequences && (end == first || offsets[end + 1] - offsets[first] <= RUN_TOKENS); end++) {
            local[end - first + 1] = (int32_t)(offsets[end + 1] - offsets[first]);
        }
        weight_taker taker = {c->model, local, weights ? weights + offsets[first] : NULL};
        tape_start(&t, 0, 0, 0);
        t.probe = weights ? (attention_probe){take_weights, &taker} : (attention_probe){0};
        tensor *logits = bert_logits(&t, c->model, ids + offsets[first], (packing){local, (int64_t)(end - first)});
        for (size_t s = first; logits && s < end; s++) {
            class_probabilities((const float *)logits->data + (s - first) * labels, labels, probabilities + s * labels);
        }
        status = t.status;
    }
    tape_close(&t);
    memory_free(local);
    return status;
}

/* --- a corpus ----------------------------------------------------------------------- */

attn_status classifier_measure(const classifier *c, const corpus *texts, double *loss, size_t *correct,
                               size_t *confusion) {
    size_t labels = c->model->config.labels.size;
    float *probabilities = memory_allocate(texts->pairs * labels, sizeof *probabilities);
    attn_status status = probabilities ? classifier_run(c, texts->source, texts->source_offsets, texts->pairs,
                                                        probabilities, NULL)
                                       : ATTN_ERROR_MEMORY;
    *loss = 0;
    *correct = 0;
    memset(confusion, 0, labels * labels * sizeof *confusion);
    for (size_t s = 0; s < texts->pairs && !status; s++) {
        size_t label = (size_t)texts->target[texts->target_offsets[s]];
        *loss += confusion_add(confusion, labels, probabilities + s * labels, label);
    }
    for (size_t k = 0; k < labels; k++) {
        *correct += confusion[k * labels + k];
    }
    *loss /= (double)texts->pairs;
    memory_free(probabilities);
    return status;
}

attn_status guesser_measure(const bert *model, const parameters *view, const corpus *texts, double *loss,
                            double *accuracy) {
    parameters own = *view;
    batch_options order;
    batcher *batches = NULL;
    batch_options_defaults(&order);
    order.shuffle = false;
    order.counts = BATCH_COUNTS_SOURCE;
    order.target_tokens = RUN_TOKENS;
    tape t;
    attn_status status = tape_open(&t, &own);
    if (status) {
        return status;
    }
    loss_result sum = {0};
    status = batcher_new(texts, &order, &batches);
    for (bool last = false; !status && !last;) {
        batch b;
        loss_result part;
        status = batcher_next(batches, &b);
        if (!status) {
            last = b.last_of_epoch;
            tape_start(&t, 0, 0, 0);
            status = bert_kind.loss(&t, model, &b, 0, 1, &part);
        }
        if (!status) {
            sum.loss += part.loss;
            sum.correct += part.correct;
            sum.tokens += part.tokens;
        }
    }
    *loss = sum.loss / (double)sum.tokens;
    *accuracy = (double)sum.correct / (double)sum.tokens;
    batcher_free(batches);
    tape_close(&t);
    return status;
}

double confusion_add(size_t *confusion, size_t labels, const float *p, size_t label) {
    size_t best = 0;
    for (size_t k = 1; k < labels; k++) {
        best = p[k] > p[best] ? k : best;
    }
    confusion[label * labels + best]++;
    return -log(fmax((double)p[label], 1e-45));
}

double confusion_f1(const size_t *confusion, size_t labels, size_t label, double *precision, double *recall) {
    size_t there = 0, given = 0, right = confusion[label * labels + label];
    for (size_t k = 0; k < labels; k++) {
        there += confusion[label * labels + k];
        given += confusion[k * labels + label];
    }
    *precision = given ? (double)right / (double)given : NAN;
    *recall = there ? (double)right / (double)there : NAN;
    return there + given ? 2 * (double)right / (double)(there + given) : NAN;
}

bert encoder_with_words(const bert *model, spelling *more, id_buffer *ids) {
    bert copy = *model;
    *more = (spelling){.buckets = model->config.letters, .first = model->config.vocab_size};
    *ids = (id_buffer){.unknown = model->config.letters > 0 ? more : NULL};
    copy.more = ids->unknown;
    return copy;
}

attn_status encode_for_bert(const tokenizer *t, size_t positions, const char *text, id_buffer *buffer, char *changed) {
    size_t first = buffer->count;
    attn_status status = memory_grow(&buffer->ids, &buffer->capacity, first + 2, sizeof *buffer->ids);
    if (status) {
        return status;
    }
    buffer->ids[buffer->count++] = tokenizer_cls(t);
    status = encode_text(t, TOKENIZER_SOURCE, positions - 1, text, buffer, changed);
    if (!status && buffer->count == first + 1) {
        buffer->ids[buffer->count++] = tokenizer_eos(t);
        if (changed) {
            (void)snprintf(changed, CHANGE_ROOM, "the text is empty: its label says nothing about it");
        }
    }
    return status;
}
