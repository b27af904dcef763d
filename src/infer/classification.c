/* attn_classify: texts in, labels, probabilities and each token's weight out. */
#include <math.h>
#include <string.h>

#include "infer/classification.h"
#include "infer/classify.h"
#include "infer/explain.h"
#include "infer/translate.h"
#include "model/signal_model.h"

attn_status model_check_classifier(const attn_model *model, const bert **encoder) {
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
    attn_status status = model_check_classifier(model, &encoder);
    if (status) {
        return status;
    }
    attn_classification *c;
    id_buffer ids;
    spelling more;
    classifier *runner = NULL;
    const bert reader = encoder_with_words(encoder, &more, &ids);
    status = classification_new(count, encoder->config.labels.size, &c);
    if (status) {
        return status;
    }
    status = encode_all_texts(model, encoder, texts, warn, context, c, &ids);
    c->weights = status ? NULL : memory_allocate(ids.count, sizeof *c->weights);
    c->tokens = status ? NULL : memory_allocate(ids.count, sizeof *c->tokens);
    status = status ? status : c->weights && c->tokens ? classifier_new(&reader, &reader.parameters, &runner) : ATTN_ERROR_MEMORY;
    status = status ? status : classifier_run(runner, ids.ids, c->offsets, count, c->probabilities, c->weights);
    for (size_t i = 0; i < ids.count && !status; i++) {
        int known = ids.ids[i] < encoder->config.vocab_size;
        c->tokens[i] = shown_piece(model->tokenizer, known ? ids.ids[i] : tokenizer_unk(model->tokenizer));
        status = c->tokens[i] ? ATTN_OK : ATTN_ERROR_MEMORY;
    }
    classifier_free(runner);
    id_buffer_release(&ids);
    spelling_release(&more);
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
        memory_free(c->apart);
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
    return i < c->count && !(c->apart && c->apart[i]) ? c->offsets[i + 1] - c->offsets[i] : 0;
}

const char *attn_classification_token(const attn_classification *c, size_t i, size_t token) {
    return token < attn_classification_tokens(c, i) ? c->tokens[c->offsets[i] + token] : NULL;
}

double attn_classification_weight(const attn_classification *c, size_t i, size_t token) {
    return token < attn_classification_tokens(c, i) ? (double)c->weights[c->offsets[i] + token] : NAN;
}
