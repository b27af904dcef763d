/* What a model is trained for: the part of a run that knows what the texts are, how they
 * become a corpus and how good a model is at it. The engine (train.c, step.c, checkpoint.c,
 * ...) knows the table alone; trainer.h holds the state that both work on. A task is a
 * constant in a file of its own, task_*.c, and stands in the list of task_of (task.c). */
#ifndef ATTN_TRAIN_TASK_H
#define ATTN_TRAIN_TASK_H

#include "train/trainer.h"

enum { SAMPLES = 4 };

/* What is shown of a split beside its figures; the texts are owned. */
typedef struct samples {
    journal_sample list[SAMPLES];
    size_t count;
} samples;

struct task {
    const char *name;     /* "translate", as attn train --task has it */
    batch_counted counts; /* what fills a batch */

    /* What this task cannot do with these options. NULL: nothing to say. */
    attn_status (*check)(const attn_train_options *options);
    /* Reads the texts of the splits into t->train, t->valid (or holds a share out) and
     * t->test, and sets what is present. */
    attn_status (*read_texts)(trainer *t);
    /* Learns t->tokenizer from the training text. Not called where a folder has one. */
    attn_status (*make_tokenizer)(trainer *t);
    /* Makes the corpus of a split that is present: see corpus.h for what a sequence can be. */
    attn_status (*encode)(trainer *t, split *s, const char *what);
    /* An untrained model of the shape that the options say, for the tokenizer. */
    attn_status (*create)(const trainer *t, network_purpose purpose, network *made);
    /* With --init, where the model that is begun with may have another head: an untrained
     * model of that folder's shape, and then the weights that fit. Both NULL: the folder's
     * model as it is. */
    attn_status (*create_from)(const trainer *t, const char *directory, network_purpose purpose, network *made);
    attn_status (*read_weights)(trainer *t, const char *directory);
    /* Measures the published weights (trainer_published). full: a validation, with samples
     * and pictures; else the figures that the whole split gives at once. */
    attn_status (*measure)(trainer *t, const split *s, int full, attn_validation *figures, samples *shown);
};

/* NULL for a number that is none. */
const task *task_of(const attn_train_options *options);

/* Adds copies of three texts. */
attn_status samples_add(samples *s, const char *source, const char *reference, const char *result);
void samples_release(samples *s);

extern const task task_translate, task_classify, task_masked, task_image, task_speech, task_transcribe, task_language;

#endif
