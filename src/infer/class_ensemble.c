/* Classifiers that answer together: the mean of their probabilities (Hansen & Salamon 1990, Neural
 * network ensembles). Each cuts the text with its own tokenizer. */
#include <string.h>

#include "infer/classification.h"
#include "infer/classify.h"

static attn_status check_member(const attn_model *first, const attn_model *other, int32_t *places) {
    const bert *encoder, *member;
    attn_status status = model_check_classifier(first, &encoder);
    status = status ? status : model_check_classifier(other, &member);
    if (status) {
        return status;
    }
    const vocabulary *labels = &encoder->config.labels, *own = &member->config.labels;
    if (own->size != labels->size) {
        return fail(ATTN_ERROR_ARGUMENT, "%s has %zu labels, %s has %zu: models answer together with the same labels",
                    other->directory, own->size, first->directory, labels->size);
    }
    for (size_t k = 0; k < own->size; k++) {
        text_line name = vocabulary_piece(own, k);
        places[k] = vocabulary_find(labels, name.bytes, name.length);
        if (places[k] < 0) {
            return fail(ATTN_ERROR_ARGUMENT, "%s has the label \"%.*s\", which %s lacks: models answer together with the same "
                        "labels", other->directory, (int)(name.length < 60 ? name.length : 60), name.bytes, first->directory);
        }
    }
    return ATTN_OK;
}

attn_status class_ensemble_check(const attn_model *const *models, int model_count, int32_t **places) {
    *places = NULL;
    if (!models || model_count < 1 || model_count > ATTN_MOST_CLASSIFIERS) {
        return fail(ATTN_ERROR_ARGUMENT, "%d models were given, 1 to %d were expected", models ? model_count : 0,
                    ATTN_MOST_CLASSIFIERS);
    }
    const bert *encoder;
    attn_status status = model_check_classifier(models[0], &encoder);
    if (status) {
        return status;
    }
    size_t labels = encoder->config.labels.size;
    *places = memory_allocate((size_t)model_count, labels * sizeof **places);
    status = *places ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (int m = 0; m < model_count && !status; m++) {
        status = check_member(models[0], models[m], *places + (size_t)m * labels);
    }
    if (status) {
        memory_free(*places);
        *places = NULL;
    }
    return status;
}

void class_ensemble_add(const float *probabilities, size_t count, size_t labels, const int32_t *places, double *sums) {
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < labels; k++) {
            sums[i * labels + (size_t)places[k]] += (double)probabilities[i * labels + k];
        }
    }
}

/* --- the words' shares ----------------------------------------------------------------- */

/* A word that one of the vocabularies lacks is the same word. */
static int same_word(const char *a, const char *unknown_to_a, const char *b, const char *unknown_to_b) {
    return strcmp(a, b) == 0 || strcmp(a, unknown_to_a) == 0 || strcmp(b, unknown_to_b) == 0;
}

static const char *unknown_piece(const attn_model *model) {
    const char *piece = tokenizer_piece(model->tokenizer, tokenizer_unk(model->tokenizer));
    return piece ? piece : "";
}

/* Adds a member's shares of text i to the first one's where both cut it into the same words. */
static void add_shares(attn_classification *sum, const attn_model *first, attn_classification *own, const attn_model *member,
                       size_t i) {
    const char *unknown = unknown_piece(first), *unknown_to_member = unknown_piece(member);
    size_t from = sum->offsets[i], count = sum->offsets[i + 1] - from, other = own->offsets[i];
    int same = own->offsets[i + 1] - other == count;
    for (size_t j = 0; j < count && same; j++) {
        same = same_word(sum->tokens[from + j], unknown, own->tokens[other + j], unknown_to_member);
    }
    sum->apart[i] |= (char)!same;
    for (size_t j = 0; j < count && same; j++) {
        char **shown = &sum->tokens[from + j], **theirs = &own->tokens[other + j];
        sum->weights[from + j] += own->weights[other + j];
        if (strcmp(*shown, unknown) == 0) {
            char *known = *theirs;
            *theirs = *shown;
            *shown = known;
        }
    }
}

/* --- texts ------------------------------------------------------------------------------ */

/* Each line is told of once, by the first model that has something to say of it. */
typedef struct told_lines {
    void (*warn)(void *, size_t, const char *);
    void *context;
    char *told; /* [texts] */
} told_lines;

static void tell_once(void *context, size_t line, const char *sentence) {
    const told_lines *lines = context;
    if (!lines->told[line - 1]) {
        lines->told[line - 1] = 1;
        lines->warn(lines->context, line, sentence);
    }
}

static void take_means(attn_classification *c, const double *sums, int model_count) {
    for (size_t i = 0; i < c->count * c->labels; i++) {
        c->probabilities[i] = (float)(sums[i] / model_count);
    }
    for (size_t i = 0; i < c->offsets[c->count]; i++) {
        c->weights[i] /= (float)model_count;
    }
}

static attn_status add_member(const attn_model *const *models, int index, const char *const *texts, size_t count,
                              told_lines *lines, const int32_t *places, double *sums, attn_classification **together) {
    attn_classification *own;
    attn_status status = attn_classify(models[index], texts, count, lines->warn ? tell_once : NULL, lines, &own);
    if (status) {
        return status;
    }
    class_ensemble_add(own->probabilities, count, own->labels, places + (size_t)index * own->labels, sums);
    if (index == 0) {
        *together = own;
        own->apart = memory_allocate(count, 1);
        return own->apart ? ATTN_OK : ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        add_shares(*together, models[0], own, models[index], i);
    }
    attn_classification_free(own);
    return ATTN_OK;
}

attn_status attn_classify_ensemble(const attn_model *const *models, int model_count, const char *const *texts, size_t count,
                                   void (*warn)(void *context, size_t line, const char *sentence), void *context,
                                   attn_classification **classification) {
    if (!classification || (count && !texts)) {
        return fail(ATTN_ERROR_ARGUMENT, "texts and a place for the classification were expected");
    }
    *classification = NULL;
    int32_t *places;
    attn_classification *together = NULL;
    attn_status status = class_ensemble_check(models, model_count, &places);
    if (status) {
        return status;
    }
    told_lines lines = {warn, context, memory_allocate(count, 1)};
    double *sums = memory_allocate(count, attn_model_labels(models[0]) * sizeof *sums);
    status = lines.told && sums ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (int m = 0; m < model_count && !status; m++) {
        status = add_member(models, m, texts, count, &lines, places, sums, &together);
    }
    if (!status) {
        take_means(together, sums, model_count);
        *classification = together;
    } else {
        attn_classification_free(together);
    }
    memory_free(sums);
    memory_free(lines.told);
    memory_free(places);
    return status;
}
