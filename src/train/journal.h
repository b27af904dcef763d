/* What a run notes as it goes, for people and programs to read later: DIR/log.jsonl,
 * one JSON object a line,
 *
 *   {"type": "update", "update": 40, "epoch": 0, "loss": 7.1, "rate": 2e-4, "norm": 1.9,
 *    "tokens_per_second": 9000, "seconds": 31.5, "memory": 410000000, "skipped": 0}
 *   {"type": "validation", "split": "validation", "update": 921, "epoch": 1, "loss": 4.9,
 *    "accuracy": 0.3, "bleu": 5.1, "chrf": 22.0, "best": true, "seconds": 99.1,
 *    "samples": [{"source": "...", "reference": "...", "translation": "..."}]}
 *
 * with the task's own metrics under their names, and null for what was not computed or
 * is not finite. loss of an update line: the mean since the line before, nats a token,
 * against the smoothed target. All but seconds, tokens_per_second and memory is the same
 * in every repetition of a run, stopped or not: a resumed run drops the lines behind the
 * state that it goes on from.
 *
 * Every other form of the same record hooks in here, in journal.c. */
#ifndef ATTN_TRAIN_JOURNAL_H
#define ATTN_TRAIN_JOURNAL_H

#include <attn/attn.h>

#define JOURNAL_FILE "log.jsonl"

typedef struct journal journal;

typedef struct journal_update {
    int64_t update, epoch;
    double loss, accuracy, rate, norm;
    double tokens_per_second, seconds; /* target tokens; seconds trained in all */
    int64_t memory, skipped;
} journal_update;

typedef struct journal_sample {
    const char *source, *reference, *translation;
} journal_sample;

typedef struct journal_validation {
    attn_validation figures;
    double seconds;
    const journal_sample *samples;
    size_t sample_count;
} journal_validation;

/* Opens the folder's journal. Lines of updates behind `last_update` are dropped, a line
 * that was cut short and the final figures of a finished run too; a fresh run gives -1. */
attn_status journal_open(const char *directory, int64_t last_update, journal **opened);

attn_status journal_note_update(journal *j, const journal_update *record);
attn_status journal_note_validation(journal *j, const journal_validation *record);

/* Everything noted is on the disk when this returns. */
attn_status journal_sync(journal *j);

void journal_close(journal *j); /* NULL is allowed */

#endif
