/* A training run's state, shared by the files of this room: the loop (train.c), its
 * beginning (start.c, train_options.c), its texts (corpora.c), its checkpoints
 * (checkpoint.c, keep.c) and its measuring (validate.c). */
#ifndef ATTN_TRAIN_TRAINER_H
#define ATTN_TRAIN_TRAINER_H

#include <attn/attn.h>

#include "data/batch.h"
#include "data/corpus.h"
#include "data/picture_set.h"
#include "data/sound_set.h"
#include "data/tokenizer.h"
#include "model/network.h"
#include "train/board.h"
#include "train/journal.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/step.h"

enum { TRAIN_FROZEN_ROOM = 8 }; /* names of frozen parts, and the NULL behind them */

typedef struct task task; /* task.h */

/* One split: its text, which is pairs or lines as the task has it, and its ids. */
typedef struct split {
    parallel_text text;
    text_lines lines;
    char *owned; /* what `lines` or a task's own text points at, or NULL */
    text_line plain; /* a language model's text */
    picture_set pictures;
    sound_set sounds;
    feature_source features; /* of pictures or sounds: the corpus points here */
    corpus corpus;
    int present;
} split;

/* What one validation found. */
typedef struct validated {
    int64_t update, epoch;
    double loss, token_accuracy, bleu, chrf; /* NAN, and < 0: not computed */
} validated;

/* What is summed between two reports. */
typedef struct interval {
    double started; /* seconds trained when it began, without measuring and saving */
    double loss, flops, norm;
    int64_t tokens, correct, updates, timed_tokens; /* timed: since `started`, in this process */
} interval;

typedef struct trainer {
    const attn_train_options *options;
    const task *task;
    tokenizer *tokenizer;  /* NULL for a task without text */
    struct vocabulary *labels; /* of a classifier, owned: data/vocabulary.h; else NULL */
    struct spelling *spelled;  /* words outside the vocabulary, of a model with letters, owned; else NULL */
    split train, valid, test;
    uint64_t data_hash; /* of the training ids: a resumed run must see the same */
    network network;
    gradient_step *step;
    const char *frozen[TRAIN_FROZEN_ROOM]; /* the optimizer's settings point here */
    optimizer optimizer;
    schedule schedule;
    batcher *batcher;
    journal *journal;
    board *board;          /* TensorBoard; may be NULL */

    double seconds_before; /* trained in the parts before this one */
    double started;        /* monotonic clock */
    double seconds_aside;  /* of this part: spent validating and saving */
    validated *history;    /* one for each validation, in order */
    size_t history_count, history_capacity;
    size_t best;           /* its index in the history; history_count > 0 */
    int64_t epoch;         /* finished epochs */
    interval shown, noted; /* for the progress; for the journal */
    profile profile;       /* of all updates, where o->profile asks for it */
} trainer;

/* --- train_options.c --- */

/* Ranges, and what excludes what. */
attn_status train_options_check(const attn_train_options *options);
/* Beginnings of the names of the parts in o->freeze, ended by NULL; room for
 * TRAIN_FROZEN_ROOM. */
attn_status train_options_frozen(const attn_train_options *options, const char *names[TRAIN_FROZEN_ROOM]);
const char *schedule_name(attn_schedule kind);
const char *optimizer_name(attn_optimizer kind);
const char *watch_name(attn_watch watch);

/* --- start.c --- */

attn_status trainer_open(trainer *t);
void trainer_close(trainer *t);

/* --- corpora.c --- */

/* Encodes the splits that are present, and hashes the training ids. */
attn_status trainer_encode_texts(trainer *t);
/* How many of `all` pieces of text are held out by the options' valid_share. */
size_t held_out_count(const attn_train_options *o, size_t all);
/* 1 if piece i of `all` is one of `count` that the seed draws to be held out; called for
 * i = 0, 1, .. in order, `taken`: how many were so far. */
int held_out(const trainer *t, size_t i, size_t all, size_t count, size_t taken);
/* Reads pairs from two files or a TSV into s->text; all NULL: nothing, and not present. */
attn_status trainer_read_pairs(const trainer *t, const char *source, const char *target, const char *tsv, split *s,
                               const char *what);
/* Moves `count` pairs, drawn by the seed, from the training text to the validation's,
 * each keeping the order that it had. Both go on pointing into the training storage. */
attn_status trainer_hold_out_pairs(trainer *t, size_t count);
void split_release(split *s);

/* --- checkpoint.c --- */

/* Replaces training.safetensors. */
attn_status trainer_save_state(trainer *t);
/* After a validation: the folders of the weights that it has seen, that is last/, the best
 * one and the kept ones. Doing it twice changes nothing. */
attn_status trainer_publish(trainer *t);
/* 1 if the folder has a training state. */
int trainer_has_state(const char *directory);
/* Fills the model, the optimizer and the counters from training.safetensors. */
attn_status trainer_resume(trainer *t);

/* --- keep.c --- */

/* How good a validation was, by what is watched: higher is better. */
double validated_score(const validated *v, attn_watch watch);
/* Index of the best in the history (the first of equals); without validation pairs the
 * newest. history_count > 0. */
size_t history_best(const trainer *t);
/* DIR/checkpoints/update-000000042, to be released with memory_free. */
char *kept_path(const trainer *t, int64_t update);
/* 1 if the validation at `index` of the history is to be kept. */
int kept_is_wanted(const trainer *t, size_t index);
/* Removes the kept folders that are not wanted any more. */
attn_status kept_prune(const trainer *t);
/* The mean of the last ones goes to DIR/averaged. */
attn_status kept_average(const trainer *t);

/* --- average.c --- */

/* attn_average, over a folder that may hold a model already. */
attn_status average_folders(const char *const *models, size_t count, const char *output);

/* --- profile_table.c --- */

/* Logs where the updates' time went: `seconds` of the clock for `updates` of them. */
void trainer_log_profile(const trainer *t, int64_t updates, double seconds);

/* --- validate.c --- */

/* Measures the validation split with the weights that are published, by the task. Tells
 * the callback and the journal, and adds to the history. */
attn_status trainer_validate(trainer *t);
/* The same of the test split, in short; not in the history. */
attn_status trainer_test(trainer *t);

/* The weights that are published (their moving average if there is one), f32 and not
 * trained; shares memory with the network's. */
parameters trainer_published(const trainer *t);

double trainer_seconds(const trainer *t); /* trained in all, measuring and saving included */
double trainer_seconds_busy(const trainer *t); /* of this part, without them */
int64_t memory_peak(void); /* largest resident size of this process, bytes */
void trainer_log(const trainer *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
