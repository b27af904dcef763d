/* What the tasks of pictures and sounds share. */
#ifndef ATTN_TRAIN_TASK_SIGNAL_H
#define ATTN_TRAIN_TASK_SIGNAL_H

#include "model/signal_model.h"
#include "train/task.h"

attn_status signal_task_check(const attn_train_options *options);

/* Reads the splits' sounds, holds some out. */
attn_status signal_task_read_sounds(trainer *t);
log_mel_options signal_task_frames(const attn_train_options *options);

/* The encoder that the options say; what a kind has besides is left to the caller. */
attn_status signal_task_config(const trainer *t, signal_kind kind, signal_config *config);

#endif
