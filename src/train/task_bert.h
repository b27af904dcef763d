/* What classifying and guessing hidden words have in common: a BERT encoder over
 * [CLS] text [SEP]. */
#ifndef ATTN_TRAIN_TASK_BERT_H
#define ATTN_TRAIN_TASK_BERT_H

#include "model/bert.h"
#include "train/task.h"

attn_status bert_task_check(const attn_train_options *o);

/* t->labels: the different ones of the training text, in the order of their bytes; those of
 * the folder where a run is resumed. */
attn_status bert_task_labels(trainer *t, const text_line *labels, size_t count);
attn_status bert_task_tokenizer(trainer *t, const text_line *lines, size_t count);

/* Sequences [CLS] .. [SEP], cut to max_tokens, each with one target token, 0. */
attn_status bert_task_encode(trainer *t, const text_line *lines, size_t count, corpus *encoded, const char *what);

/* The options as a config; its labels are the trainer's (lent). */
attn_status bert_task_config(const trainer *t, bert_head head, bert_config *config);
attn_status bert_task_open(const trainer *t, const bert_config *config, network_purpose purpose, network *made);
/* Refuses a folder that the tokenizer or max_tokens do not fit. */
attn_status bert_task_fits(const trainer *t, const bert_config *config, const char *directory);

#endif
