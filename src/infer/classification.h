/* What classifying gives: shared by texts (classification.c) and files (signal_files.c). */
#ifndef ATTN_INFER_CLASSIFICATION_H
#define ATTN_INFER_CLASSIFICATION_H

#include <attn/attn.h>

#include "data/vocabulary.h"
#include "model/bert.h"

struct attn_classification {
    size_t count, labels;
    size_t *offsets; /* [count + 1], of tokens; files have none */
    float *probabilities, *weights;
    char **tokens;
    char *apart; /* [count]: an ensemble cuts this text in different ways; NULL: none */
};

/* The encoder of a classifier of texts; ATTN_ERROR_UNSUPPORTED for another model. */
attn_status model_check_classifier(const attn_model *model, const bert **encoder);

/* The labels of a classifier of any kind; NULL for another model. */
const vocabulary *model_labels(const attn_model *model);

/* Whether classifiers of texts can answer together: their labels are the same, in any order. places
 * [model_count, labels]: where the first model has each one's label k; to be freed. */
attn_status class_ensemble_check(const attn_model *const *models, int model_count, int32_t **places);
/* Adds a member's probabilities [count, labels] to the sums at its labels' places. */
void class_ensemble_add(const float *probabilities, size_t count, size_t labels, const int32_t *places, double *sums);

/* Room for so many results, all zero. */
attn_status classification_new(size_t count, size_t labels, attn_classification **made);

attn_status class_evaluation_new(const vocabulary *labels, attn_class_evaluation **made);
/* Loss and accuracy from their sums over `count`, and each label's figures from the confusion. */
void class_evaluation_finish(attn_class_evaluation *e, double loss, size_t count);

#endif
