/* attn_classify and attn_evaluate_classes: texts in, labels, probabilities and each token's
 * weight out. */
#include <math.h>
#include <string.h>

#include "infer/classification.h"
#include "infer/classify.h"
#include "infer/explain.h"
#include "infer/translate.h"
#include "model/signal_model.h"

/* The model's network where it is a classifier. */
static attn_status check_classifier(const attn_model *model, const bert **encoder) {
    *encoder = NULL;
    if (!model) {
        return fail(ATTN_ERROR_ARGUMENT, "a model was expected");
    }
    const bert *found = model->network.kind == &bert_kind ? model->network.model : NULL;
    if (!found || found->config.head != BERT_CLASSIFY) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s is no classifier: it has no labels", model->directory);
    }
    if (tokenizer_cls(model->tokenizer) < 0) {
        return fail(ATTN_ERROR_FORMAT, "%s: the tokenizer has no [CLS]: it is none of a BERT model", model->directory);
    }
    *encoder = found;
    return ATTN_OK;
}

const vocabulary *model_labels(const attn_model *model) {
    const network *n = model ? &model->network : NULL;
    if (n && (n->kind == &signal_picture_kind || n->kind == &signal_sound_kind)) {
        return &((const signal_model *)n->model)->config.labels;
    }
    const bert *encoder = n && n->kind == &bert_kind ? n->model : NULL;
    return encoder && encoder->config.head == BERT_CLASSIFY ? &encoder->config.labels : NULL;
}

size_t attn_model_labels(const attn_model *model) {
    const vocabulary *labels = model_labels(model);
    return labels ? labels->size : 0;
}

const char *attn_model_label(const attn_model *model, size_t label) {
    return label < attn_model_labels(model) ? vocabulary_piece(model_labels(model), label).bytes : NULL;
}

attn_status classification_new(size_t count, size_t labels, attn_classification **made) {
    attn_classification *c = *made = memory_allocate(1, sizeof *c);
    if (!c) {
        return ATTN_ERROR_MEMORY;
    }
    *c = (attn_classification){.count = count, .labels = labels};
    c->offsets = memory_allocate(count + 1, sizeof *c->offsets);
    c->probabilities = memory_allocate(count, labels * sizeof *c->probabilities);
    if (!c->offsets || !c->probabilities) {
        attn_classification_free(c);
        *made = NULL;
        return ATTN_ERROR_MEMORY;
    }
    return ATTN_OK;
}

/* --- texts --------------------------------------------------------------------------- */

static attn_status encode_all_texts(const attn_model *model, const bert *encoder, const char *const *texts,
                                void (*warn)(void *, size_t, const char *), void *context, attn_classification *c,
                                id_buffer *ids) {
    char changed[CHANGE_ROOM];
    size_t positions = (size_t)encoder->config.max_position_embeddings;
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < c->count && !status; i++) {
        status = encode_for_bert(model->tokenizer, positions, texts[i], ids, changed);
        c->offsets[i + 1] = ids->count;
        if (!status && changed[0] && warn) {
            warn(context, i + 1, changed);
        }
    }
    return status;
}

attn_status attn_classify(const attn_model *model, const char *const *texts, size_t count,
                          void (*warn)(void *context, size_t line, const char *sentence), void *context,
                          attn_classification **classification) {
    const bert *encoder;
    if (!classification || (count && !texts)) {
        return fail(ATTN_ERROR_ARGUMENT, "texts and a place for the classification were expected");
    }
    *classification = NULL;
    attn_status status = check_classifier(model, &encoder);
    if (status) {
        return status;
    }
    attn_classification *c;
    id_buffer ids = {0};
    classifier *runner = NULL;
    status = classification_new(count, encoder->config.labels.size, &c);
    if (status) {
        return status;
    }
    status = encode_all_texts(model, encoder, texts, warn, context, c, &ids);
    c->weights = status ? NULL : memory_allocate(ids.count, sizeof *c->weights);
    c->tokens = status ? NULL : memory_allocate(ids.count, sizeof *c->tokens);
    status = status ? status : c->weights && c->tokens ? classifier_new(encoder, &encoder->parameters, &runner) : ATTN_ERROR_MEMORY;
    status = status ? status : classifier_run(runner, ids.ids, c->offsets, count, c->probabilities, c->weights);
    for (size_t i = 0; i < ids.count && !status; i++) {
        c->tokens[i] = shown_piece(model->tokenizer, ids.ids[i]);
        status = c->tokens[i] ? ATTN_OK : ATTN_ERROR_MEMORY;
    }
    classifier_free(runner);
    id_buffer_release(&ids);
    if (status) {
        attn_classification_free(c);
        return status;
    }
    *classification = c;
    return ATTN_OK;
}

void attn_classification_free(attn_classification *c) {
    if (c) {
        for (size_t i = 0; c->tokens && i < c->offsets[c->count]; i++) {
            memory_free(c->tokens[i]);
        }
        memory_free(c->tokens);
        memory_free(c->weights);
        memory_free(c->probabilities);
        memory_free(c->offsets);
        memory_free(c);
    }
}

size_t attn_classification_best(const attn_classification *c, size_t i) {
    size_t best = 0;
    for (size_t k = 1; i < c->count && k < c->labels; k++) {
        best = c->probabilities[i * c->labels + k] > c->probabilities[i * c->labels + best] ? k : best;
    }
    return best;
}

double attn_classification_probability(const attn_classification *c, size_t i, size_t label) {
    return i < c->count && label < c->labels ? (double)c->probabilities[i * c->labels + label] : NAN;
}

size_t attn_classification_tokens(const attn_classification *c, size_t i) {
    return i < c->count ? c->offsets[i + 1] - c->offsets[i] : 0;
}

const char *attn_classification_token(const attn_classification *c, size_t i, size_t token) {
    return token < attn_classification_tokens(c, i) ? c->tokens[c->offsets[i] + token] : NULL;
}

double attn_classification_weight(const attn_classification *c, size_t i, size_t token) {
    return token < attn_classification_tokens(c, i) ? (double)c->weights[c->offsets[i] + token] : NAN;
}

/* --- a file ---------------------------------------------------------------------------- */

static attn_status encode_corpus(const attn_model *model, const bert *encoder, const parallel_text *text,
                                 const char *path, corpus *encoded) {
    id_buffer ids = {0};
    size_t count = text->pairs, positions = (size_t)encoder->config.max_position_embeddings;
    *encoded = (corpus){.pairs = count};
    encoded->source_offsets = memory_allocate(count + 1, sizeof *encoded->source_offsets);
    encoded->target_offsets = memory_allocate(count + 1, sizeof *encoded->target_offsets);
    encoded->target = memory_allocate(count, sizeof *encoded->target);
    attn_status status = encoded->source_offsets && encoded->target_offsets && encoded->target ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < count && !status; i++) {
        text_line name = text->source[i];
        char *line = memory_copy_bytes(text->target[i].bytes, text->target[i].length);
        status = line ? encode_for_bert(model->tokenizer, positions, line, &ids, NULL) : ATTN_ERROR_MEMORY;
        encoded->target[i] = vocabulary_find(&encoder->config.labels, name.bytes, name.length);
        if (!status && encoded->target[i] < 0) {
            status = fail(ATTN_ERROR_FORMAT, "%s: the label \"%.*s\" (of \"%.60s\") is none of the model's %zu", path,
                          (int)(name.length < 60 ? name.length : 60), name.bytes, line, encoder->config.labels.size);
        }
        encoded->source_offsets[i + 1] = ids.count;
        encoded->target_offsets[i + 1] = i + 1;
        memory_free(line);
    }
    encoded->source = ids.ids;
    return status;
}

attn_status class_evaluation_new(const vocabulary *labels, attn_class_evaluation **made) {
    attn_class_evaluation *e = *made = memory_allocate(1, sizeof *e);
    if (e) {
        e->labels = labels->size;
        e->figures = memory_allocate(e->labels, sizeof *e->figures);
        e->confusion = memory_allocate(e->labels, e->labels * sizeof *e->confusion);
    }
    if (!e || !e->figures || !e->confusion) {
        attn_class_evaluation_free(e);
        *made = NULL;
        return ATTN_ERROR_MEMORY;
    }
    for (size_t k = 0; k < e->labels; k++) {
        e->figures[k].label = vocabulary_piece(labels, k).bytes;
    }
    return ATTN_OK;
}

void class_evaluation_finish(attn_class_evaluation *e, double loss, size_t count) {
    double sum = 0;
    size_t seen = 0, right = 0;
    for (size_t k = 0; k < e->labels; k++) {
        attn_label_figures *f = &e->figures[k];
        f->right = e->confusion[k * e->labels + k];
        right += f->right;
        for (size_t j = 0; j < e->labels; j++) {
            f->there += e->confusion[k * e->labels + j];
            f->given += e->confusion[j * e->labels + k];
        }
        f->f1 = confusion_f1(e->confusion, e->labels, k, &f->precision, &f->recall);
        sum += isnan(f->f1) ? 0 : f->f1;
        seen += isnan(f->f1) ? 0 : 1;
    }
    e->texts = count;
    e->loss = loss / (double)count;
    e->accuracy = (double)right / (double)count;
    e->macro_f1 = sum / (double)seen;
}

attn_status attn_evaluate_classes(const attn_model *model, const char *path, int skip_invalid,
                                  attn_class_evaluation **evaluation) {
    const bert *encoder;
    if (!path || !evaluation) {
        return fail(ATTN_ERROR_ARGUMENT, "a TSV of label and text and a place for the evaluation were expected");
    }
    *evaluation = NULL;
    attn_status status = check_classifier(model, &encoder);
    if (status) {
        return status;
    }
    text_options options;
    parallel_text text = {0};
    corpus encoded = {0};
    classifier *runner = NULL;
    size_t correct = 0;
    double loss = 0;
    text_options_defaults(&options);
    options.invalid = skip_invalid ? INVALID_SKIP : INVALID_REFUSE;
    attn_class_evaluation *e = NULL;
    status = class_evaluation_new(&encoder->config.labels, &e);
    status = status ? status : parallel_text_read_tsv(path, &options, &text);
    status = status ? status : encode_corpus(model, encoder, &text, path, &encoded);
    status = status ? status : classifier_new(encoder, &encoder->parameters, &runner);
    status = status ? status : classifier_measure(runner, &encoded, &loss, &correct, e->confusion);
    if (!status) {
        class_evaluation_finish(e, loss * (double)encoded.pairs, encoded.pairs);
        *evaluation = e;
    } else {
        attn_class_evaluation_free(e);
    }
    classifier_free(runner);
    corpus_release(&encoded);
    parallel_text_release(&text);
    return status;
}

void attn_class_evaluation_free(attn_class_evaluation *e) {
    if (e) {
        memory_free(e->figures);
        memory_free(e->confusion);
        memory_free(e);
    }
}
