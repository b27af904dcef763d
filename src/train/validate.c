/* Measuring a split: loss and token accuracy over all of it, BLEU and chrF over its
 * beginning, and what becomes known of it: callback, history, journal. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "infer/evaluate.h"
#include "train/trainer.h"

enum { SAMPLES = 4 };

transformer trainer_published(const trainer *t) {
    transformer view = *t->model;
    view.parameters.values = t->optimizer.average ? t->optimizer.average : view.parameters.values;
    view.parameters.gradients = NULL;
    view.parameters.copies = NULL;
    return view;
}

static attn_evaluate_options evaluating(const trainer *t) {
    attn_evaluate_options options;
    attn_evaluate_options_defaults(&options);
    options.translate.beam = 1;
    options.tokenizer = tokenizer_get_kind(t->tokenizer) == TOKENIZER_WHITESPACE ? ATTN_BLEU_NONE : ATTN_BLEU_13A;
    return options;
}

static attn_status measure(const trainer *t, const attn_model *model, const split *s, int bleu_lines,
                           attn_validation *result) {
    attn_evaluation evaluation = {.bleu = -1, .chrf = -1};
    attn_evaluate_options options = evaluating(t);
    attn_status status = evaluate_loss(model, &s->corpus, &evaluation);
    parallel_text beginning = s->text; /* borrows the lines */
    if (beginning.pairs > (size_t)bleu_lines) {
        beginning.pairs = (size_t)bleu_lines;
    }
    if (!status && beginning.pairs > 0) {
        status = evaluate_translations(model, &beginning, &options, &evaluation);
    }
    result->loss = evaluation.loss;
    result->token_accuracy = evaluation.token_accuracy;
    result->bleu = evaluation.bleu;
    result->chrf = evaluation.chrf;
    return status;
}

/* --- samples --------------------------------------------------------------------- */

typedef struct samples {
    journal_sample list[SAMPLES];
    char *texts[2 * SAMPLES]; /* what the list points at */
    attn_translation *translation;
    size_t count;
} samples;

static void samples_release(samples *s) {
    for (size_t i = 0; i < 2 * SAMPLES; i++) {
        memory_free(s->texts[i]);
    }
    attn_translation_free(s->translation);
}

/* Translations of the split's first lines. */
static attn_status samples_make(const trainer *t, const attn_model *model, const split *s, samples *made) {
    const char *sources[SAMPLES];
    attn_evaluate_options options = evaluating(t);
    size_t count = s->text.pairs < SAMPLES ? s->text.pairs : SAMPLES;
    for (size_t i = 0; i < count; i++) {
        const text_line *source = &s->text.source[i], *reference = &s->text.target[i];
        made->texts[2 * i] = memory_copy_bytes(source->bytes, source->length);
        made->texts[2 * i + 1] = memory_copy_bytes(reference->bytes, reference->length);
        sources[i] = made->texts[2 * i];
        if (!sources[i] || !made->texts[2 * i + 1]) {
            return ATTN_ERROR_MEMORY;
        }
    }
    attn_status status = attn_translate(model, sources, count, &options.translate, &made->translation);
    for (size_t i = 0; i < count && !status; i++) {
        made->list[i] = (journal_sample){sources[i], made->texts[2 * i + 1], attn_translation_text(made->translation, i)};
        made->count++;
    }
    return status;
}

/* --- a validation ---------------------------------------------------------------- */

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
    const attn_train_options *o = t->options;
    attn_validation v = {.split = "validation", .update = t->optimizer.updates, .epoch = t->epoch, .loss = NAN,
                         .token_accuracy = NAN, .bleu = -1, .chrf = -1};
    if (!t->valid.present) {
        return remember(t, &v, &v.best);
    }
    transformer view = trainer_published(t);
    attn_model model = {.transformer = &view, .tokenizer = t->tokenizer};
    samples s = {.count = 0};
    attn_status status = searcher_new(&view, &model.searcher);
    status = status ? status : measure(t, &model, &t->valid, o->valid_bleu_lines, &v);
    if (!status && o->valid_bleu_lines > 0) {
        status = samples_make(t, &model, &t->valid, &s);
    }
    status = status ? status : remember(t, &v, &v.best);
    status = status ? status : tell(t, &v, &s);
    if (!status) {
        board_draw_attention(t->board, v.update, &model, &t->valid.text, &t->valid.corpus);
    }
    samples_release(&s);
    searcher_free(model.searcher);
    return status;
}

attn_status trainer_test(trainer *t) {
    if (!t->test.present) {
        return ATTN_OK;
    }
    attn_validation v = {.split = "test", .update = t->optimizer.updates, .epoch = t->epoch};
    transformer view = trainer_published(t);
    attn_model model = {.transformer = &view, .tokenizer = t->tokenizer};
    samples none = {.count = 0};
    attn_status status = searcher_new(&view, &model.searcher);
    status = status ? status : measure(t, &model, &t->test, 0, &v);
    status = status ? status : tell(t, &v, &none);
    searcher_free(model.searcher);
    return status ? status : journal_sync(t->journal);
}
