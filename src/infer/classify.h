/* A BERT classifier at work: packed texts to probabilities, and the weight that each token
 * had; a corpus to loss and confusion. */
#ifndef ATTN_INFER_CLASSIFY_H
#define ATTN_INFER_CLASSIFY_H

#include "data/corpus.h"
#include "infer/model.h"
#include "model/bert.h"

typedef struct classifier classifier;

/* The weights are `view`'s, f32 (the model's own, or their moving average), packed once. */
attn_status classifier_new(const bert *model, const parameters *view, classifier **made);
void classifier_free(classifier *c); /* NULL is allowed */

/* For one call: a copy of the model whose words outside the vocabulary go to *more by way of *ids (of
 * these, both are to be released); without letters they stay [UNK]. */
bert encoder_with_words(const bert *model, spelling *more, id_buffer *ids);

/* Sequences [CLS] .. [SEP] -> probabilities [sequences, labels]. weights [tokens] (may be
 * NULL): the pooling's attention, or with the pooling of [CLS] what [CLS] attends to in the
 * last layer, the mean of its heads; they sum to 1 over a sequence. A sequence's figures do
 * not depend on its company. */
attn_status classifier_run(const classifier *c, const int32_t *ids, const size_t *offsets, size_t sequences,
                           float *probabilities, float *weights);

/* Each sequence's label is its one target token. confusion [labels, labels]: how often
 * label `row` was called `column`. */
attn_status classifier_measure(const classifier *c, const corpus *texts, double *loss, size_t *correct,
                               size_t *confusion);

/* Masked words of a corpus, the same ones at every call: mean loss and share guessed. */
attn_status guesser_measure(const bert *model, const parameters *view, const corpus *texts, double *loss,
                            double *accuracy);

/* exp(logits) over their sum. */
void class_probabilities(const float *logits, size_t count, float *probabilities);

/* Counts one classified thing: its likeliest label (the first of equals) in the row of the
 * right one. Its loss, -log p[label]. */
double confusion_add(size_t *confusion, size_t labels, const float *p, size_t label);

/* F1 = 2 tp / (2 tp + fp + fn) of a label; NAN where it is neither there nor given. */
double confusion_f1(const size_t *confusion, size_t labels, size_t label, double *precision, double *recall);

/* The ids of a text: [CLS], its tokens cut to the positions, [SEP]. *changed as in
 * encode_text; a text without tokens is told of there. */
attn_status encode_for_bert(const tokenizer *t, size_t positions, const char *text, id_buffer *buffer, char *changed);

#endif
