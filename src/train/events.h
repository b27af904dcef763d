/* Event files as TensorBoard reads them: scalars, texts and pictures by training step.
 *
 * Records are gathered in memory and reach the file at events_flush, whole or not at all:
 * where the disk fails, what was gathered is dropped, the file ends behind its last whole
 * record and the next flush tries again. Nothing here needs to stop a training run. */
#ifndef ATTN_TRAIN_EVENTS_H
#define ATTN_TRAIN_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct event_writer event_writer;

/* Starts a new file DIRECTORY/events/events.out.tfevents.<seconds>.<host>; the folders
 * are made. first_step: 0 for a fresh run; for a resumed one the first step that is to
 * come: what earlier files hold from there on is no longer shown (it is done again).
 * ATTN_ERROR_FILE, ATTN_ERROR_MEMORY; then *writer is NULL. */
attn_status events_open(const char *directory, int64_t first_step, event_writer **writer);

/* A point of the curve `tag`, e.g. "train/loss"; a value that is not finite is a gap
 * that TensorBoard marks. Fails for want of memory alone. */
attn_status events_scalar(event_writer *writer, int64_t step, const char *tag, double value);

/* A text, shown as Markdown. */
attn_status events_text(event_writer *writer, int64_t step, const char *tag, const char *markdown);

/* A picture of width x height pixels as a PNG file's bytes. */
attn_status events_image(event_writer *writer, int64_t step, const char *tag, const void *png, size_t size, int width,
                         int height);

/* Writes what was gathered. ATTN_ERROR_FILE: it is lost, the file is as before. */
attn_status events_flush(event_writer *writer);

const char *events_path(const event_writer *writer);

/* Flushes as well as it can and releases; NULL is allowed. */
void events_close(event_writer *writer);

#endif
