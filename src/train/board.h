/* What a training run shows in TensorBoard: the journal's records as curves and texts, and
 * the cross-attention of one fixed pair of sentences as pictures, one a decoder layer, in
 * DIR/events (events.h).
 *
 * Nothing that goes wrong here stops a run: the first failure is said in its log. */
#ifndef ATTN_TRAIN_BOARD_H
#define ATTN_TRAIN_BOARD_H

#include "data/corpus.h"
#include "infer/model.h"
#include "train/journal.h"

typedef struct board board;

/* Receives the sentence of the first failure; may be NULL. */
typedef struct board_log {
    void (*line)(void *context, const char *line);
    void *context;
} board_log;

/* For a model folder. updates: done already, 0 for a fresh run. NULL, and a line in the
 * log, where the files cannot be made; every function below allows NULL. */
board *board_open(const char *directory, int64_t updates, board_log log);

void board_note_update(board *b, const journal_update *record);

/* Figures and samples of a split. */
void board_note_validation(board *b, const journal_validation *record);

/* Draws where the model looks in one pair of the text: the first of readable length, which
 * is the same at every call. pairs: the text's ids, at least one pair. */
void board_draw_attention(board *b, int64_t update, const attn_model *model, const parallel_text *text,
                          const corpus *pairs);

void board_close(board *b);

#endif
