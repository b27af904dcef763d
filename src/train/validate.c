/* Measuring a split, and what becomes known of it: callback, history, journal, board. */
#include <math.h>

#include "base/memory.h"
#include "train/task.h"

parameters trainer_published(const trainer *t) {
    parameters view = *t->network.parameters;
    view.values = t->optimizer.average ? t->optimizer.average : view.values;
    view.gradients = NULL;
    view.copies = NULL;
    return view;
}

static attn_status tell(trainer *t, const attn_validation *v, const samples *s) {
    if (t->options->validated) {
        t->options->validated(t->options->context, v);
    }
    journal_validation record = {*v, trainer_seconds(t), s->list, s->count};
    board_note_validation(t->board, &record);
    return journal_note_validation(t->journal, &record);
}

/* Adds to the history; 1 if it is the best so far. Without validation pairs the newest
 * weights count as the best. */
static attn_status remember(trainer *t, const attn_validation *v, int *best) {
    attn_status status = memory_grow(&t->history, &t->history_capacity, t->history_count + 1, sizeof *t->history);
    if (status) {
        return status;
    }
    t->history[t->history_count++] = (validated){v->update, v->epoch, v->loss, v->token_accuracy, v->bleu, v->chrf};
    t->best = history_best(t);
    *best = t->best == t->history_count - 1;
    return ATTN_OK;
}

attn_status trainer_validate(trainer *t) {
    attn_validation v = {.split = "validation", .update = t->optimizer.updates, .epoch = t->epoch, .loss = NAN,
                         .token_accuracy = NAN, .bleu = -1, .chrf = -1};
    if (!t->valid.present) {
        return remember(t, &v, &v.best);
    }
    samples s = {.count = 0};
    attn_status status = t->task->measure(t, &t->valid, 1, &v, &s);
    status = status ? status : remember(t, &v, &v.best);
    status = status ? status : tell(t, &v, &s);
    samples_release(&s);
    return status;
}

attn_status trainer_test(trainer *t) {
    if (!t->test.present) {
        return ATTN_OK;
    }
    attn_validation v = {.split = "test", .update = t->optimizer.updates, .epoch = t->epoch, .bleu = -1, .chrf = -1};
    samples none = {.count = 0};
    attn_status status = t->task->measure(t, &t->test, 0, &v, &none);
    status = status ? status : tell(t, &v, &none);
    samples_release(&none);
    return status ? status : journal_sync(t->journal);
}
