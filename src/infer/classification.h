/* What classifying gives: shared by texts (classification.c) and files (signal_files.c). */
#ifndef ATTN_INFER_CLASSIFICATION_H
#define ATTN_INFER_CLASSIFICATION_H

#include <attn/attn.h>

#include "data/vocabulary.h"

struct attn_classification {
    size_t count, labels;
    size_t *offsets; /* [count + 1], of tokens; files have none */
    float *probabilities, *weights;
    char **tokens;
};

/* The labels of a classifier of any kind; NULL for another model. */
const vocabulary *model_labels(const attn_model *model);

/* Room for so many results, all zero. */
attn_status classification_new(size_t count, size_t labels, attn_classification **made);

attn_status class_evaluation_new(const vocabulary *labels, attn_class_evaluation **made);
/* Loss and accuracy from their sums over `count`, and each label's figures from the confusion. */
void class_evaluation_finish(attn_class_evaluation *e, double loss, size_t count);

#endif
