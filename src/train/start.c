/* The beginning of a run: its folder, its texts, its model fresh, fine-tuned or resumed. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "data/spelling.h"
#include "data/vocabulary.h"
#include "train/task.h"

static const uint64_t MOST_EPOCHS_COUNTED = 1000;

/* 1 if something of that name stands in the folder; 0 too where memory is short. */
static int stands(const char *directory, const char *name) {
    char *path = file_join(directory, name);
    int exists = path && file_exists(path);
    memory_free(path);
    return exists;
}

/* A fresh folder: nothing of a model may stand there. */
static attn_status check_fresh(const attn_train_options *o) {
    if (o->resume && stands(o->model, FOLDER_WEIGHTS)) {
        return fail(ATTN_ERROR_ARGUMENT,
                    "%s holds a model but no training state (%s), so it cannot be resumed; fine-tune it into another "
                    "folder with --init", o->model, FOLDER_TRAINING);
    }
    static const char *const NAMES[] = {FOLDER_WEIGHTS, FOLDER_TRAINING};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        if (stands(o->model, NAMES[i])) {
            return fail(ATTN_ERROR_ARGUMENT,
                        "%s already holds a model (%s); go on training it with --resume, or name another folder",
                        o->model, NAMES[i]);
        }
    }
    return ATTN_OK;
}

/* --- the vocabulary and the model ------------------------------------------------ */

static attn_status choose_tokenizer(trainer *t, int resumes) {
    const attn_train_options *o = t->options;
    if (!t->task->make_tokenizer) {
        return ATTN_OK;
    }
    return resumes ? tokenizer_load(o->model, &t->tokenizer)
           : o->init ? tokenizer_load(o->init, &t->tokenizer) : t->task->make_tokenizer(t);
}

/* What is drawn at random while training is this run's, whatever the folder's was. */
static attn_status open_folder(trainer *t, const char *directory, network_purpose purpose) {
    const attn_train_options *o = t->options;
    attn_status status = network_open(directory, purpose, &t->network);
    if (status) {
        return status;
    }
    t->network.kind->set_dropout(t->network.model, o->dropout, o->attention_dropout);
    network_limits limits = t->network.kind->limits(t->network.model);
    size_t pieces = t->tokenizer ? tokenizer_vocabulary_size(t->tokenizer) : 0;
    int checks_end = t->tokenizer && limits.eos != TOKEN_NONE && !tokenizer_takes_lines(t->tokenizer);
    if (t->tokenizer && (pieces > (size_t)limits.vocabulary ||
                         (checks_end && tokenizer_eos(t->tokenizer) != limits.eos))) {
        return fail(ATTN_ERROR_FORMAT, "%s: the vocabulary (%zu pieces, </s> is %d) is not that of config.json (%d, %d)",
                    directory, pieces, tokenizer_eos(t->tokenizer), limits.vocabulary, limits.eos);
    }
    int language = o->task == ATTN_TASK_LANGUAGE, longest = language ? o->block : o->max_tokens;
    if (limits.positions > 0 && longest > limits.positions) {
        return fail(ATTN_ERROR_ARGUMENT, "%s is %d; at most the %d positions of %s were expected",
                    language ? "block" : "max-tokens", longest, limits.positions, directory);
    }
    return ATTN_OK;
}

static attn_status create_network(trainer *t, int resumes, network_purpose purpose) {
    const attn_train_options *o = t->options;
    if (o->init && t->task->create_from) {
        return t->task->create_from(t, resumes ? o->model : o->init, purpose, &t->network);
    }
    if (o->init) {
        return open_folder(t, resumes ? o->model : o->init, purpose);
    }
    int same = 1;
    attn_status status = t->task->create(t, purpose, &t->network);
    if (!status && resumes) {
        status = t->network.kind->same_shape(o->model, t->network.model, &same);
    }
    return status || same ? status
                          : fail(ATTN_ERROR_ARGUMENT, "%s holds a model of another shape than the options say", o->model);
}

static attn_status make_network(trainer *t, int resumes) {
    const attn_train_options *o = t->options;
    element_type type = o->precision == ATTN_PRECISION_AUTO ? network_best_type()
                        : o->precision == ATTN_PRECISION_BF16 ? ELEMENT_BF16 : ELEMENT_F32;
    if (type == ELEMENT_BF16 && network_best_type() != ELEMENT_BF16) {
        return fail(ATTN_ERROR_UNSUPPORTED, "this processor does not multiply bf16; use f32");
    }
    attn_status status = create_network(t, resumes, (network_purpose){1, type});
    status = status ? status : gradient_step_open(&t->network, 0, &t->step);
    if (!status && !resumes) {
        t->network.kind->initialize(t->network.model, o->seed);
        status = !o->init               ? ATTN_OK
                 : t->task->create_from ? t->task->read_weights(t, o->init)
                                        : network_read_weights(&t->network, o->init);
    }
    status = status ? status : train_options_frozen(o, t->frozen);
    optimizer_settings settings = {.kind = o->optimizer,
                                   .beta1 = o->beta1,
                                   .beta2 = o->beta2,
                                   .epsilon = o->epsilon,
                                   .momentum = o->momentum,
                                   .weight_decay = o->weight_decay,
                                   .clip = o->clip,
                                   .average_decay = o->average,
                                   .frozen = t->frozen};
    return status ? status : optimizer_open(&t->optimizer, t->network.parameters, &settings);
}

/* --- the end of the schedule ----------------------------------------------------- */

/* Updates that the epochs of the options take: each epoch's batches are counted. */
static attn_status count_updates(trainer *t, double epochs, int64_t *updates) {
    double total = 0, counted = 0;
    for (uint64_t epoch = 0; (double)epoch < epochs && epoch < MOST_EPOCHS_COUNTED; epoch++) {
        size_t batches, group = (size_t)t->options->accumulate;
        attn_status status = batcher_count(t->batcher, epoch, &batches);
        if (status) {
            return status;
        }
        double share = fmin(1, epochs - (double)epoch);
        total += ceil(share * (double)((batches + group - 1) / group));
        counted += share;
    }
    *updates = (int64_t)(total / counted * epochs + 0.5);
    return ATTN_OK;
}

static attn_status set_schedule(trainer *t) {
    const attn_train_options *o = t->options;
    t->schedule = (schedule){o->schedule, o->rate, o->warmup, 0};
    if (!schedule_has_end(o->schedule)) {
        return ATTN_OK;
    }
    int64_t end = o->max_updates;
    if (o->max_epochs > 0) {
        int64_t updates = 0;
        attn_status status = count_updates(t, o->max_epochs, &updates);
        if (status) {
            return status;
        }
        end = end > 0 && end < updates ? end : updates;
    }
    t->schedule.end = end;
    if (end <= o->warmup) {
        return fail(ATTN_ERROR_ARGUMENT, "warmup is %d updates, but the run ends after %lld", o->warmup, (long long)end);
    }
    return ATTN_OK;
}

/* --- all of it ------------------------------------------------------------------- */

static attn_status check_validation(const trainer *t) {
    const attn_train_options *o = t->options;
    const char *needs = o->patience > 0 ? "patience" : o->keep_best > 0 ? "keep-best" : NULL;
    if (needs && !t->valid.present) {
        return fail(ATTN_ERROR_ARGUMENT, "%s needs validation pairs: give valid-corpus, or a valid-share", needs);
    }
    return ATTN_OK;
}

static attn_status write_recipe(const attn_train_options *o) {
    char *path = file_join(o->model, "recipe.json");
    attn_status status = path ? file_replace(path, o->recipe, strlen(o->recipe)) : ATTN_ERROR_MEMORY;
    memory_free(path);
    return status;
}

attn_status trainer_open(trainer *t) {
    const attn_train_options *o = t->options;
    attn_status status = train_options_check(o);
    if (status) {
        return status;
    }
    t->task = task_of(o);
    int resumes = o->resume && trainer_has_state(o->model);
    status = resumes ? ATTN_OK : check_fresh(o);
    status = status ? status : t->task->read_texts(t);
    status = status ? status : check_validation(t);
    status = status ? status : choose_tokenizer(t, resumes);
    status = status ? status : trainer_encode_texts(t);
    status = status ? status : make_network(t, resumes);
    batch_options batches = {(size_t)o->batch_tokens, t->task->counts, true, o->seed};
    status = status ? status : batcher_new(&t->train.corpus, &batches, &t->batcher);
    status = status ? status : set_schedule(t);
    if (!status && resumes) {
        status = trainer_resume(t);
    } else if (!status) {
        status = t->network.kind->write_config(o->model, t->network.model);
        status = status || !t->tokenizer ? status : tokenizer_save(t->tokenizer, o->model);
    }
    if (!status && o->recipe) {
        status = write_recipe(o);
    }
    status = status ? status : journal_open(o->model, resumes ? t->optimizer.updates : -1, &t->journal);
    if (!status) {
        t->board = board_open(o->model, t->optimizer.updates, (board_log){o->log, o->context});
    }
    return status;
}

void trainer_close(trainer *t) {
    journal_close(t->journal);
    board_close(t->board);
    batcher_free(t->batcher);
    optimizer_close(&t->optimizer);
    gradient_step_free(t->step);
    network_free(&t->network);
    tokenizer_free(t->tokenizer);
    if (t->labels) {
        vocabulary_release(t->labels);
        memory_free(t->labels);
    }
    if (t->spelled) {
        spelling_release(t->spelled);
        memory_free(t->spelled);
    }
    split_release(&t->train);
    split_release(&t->valid);
    split_release(&t->test);
    memory_free(t->history);
}
