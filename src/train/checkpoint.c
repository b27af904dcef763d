/* What a run leaves on the disk (folder.h says how a kill at any moment is survived):
 *
 *   DIR/model.safetensors      the weights of the best validation
 *   DIR/last/                  a model folder with the newest validated weights
 *   DIR/checkpoints/update-U/  model folders that are kept (keep.c)
 *   DIR/training.safetensors   weights, moments, average, counters and the validations'
 *                              history, of the last save
 *   DIR/log.jsonl              the journal (journal.h)
 *   DIR/events/                the same for TensorBoard, with pictures (board.h)
 *
 * What decides a run's course (seed, data, rates, ...) is kept as text beside the
 * counters; a run is resumed with the same or not at all. The state is written before
 * the model folders, so a kill between them leaves folders that are behind the state:
 * resuming from a state that was saved at a validation publishes it again. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/folder.h"
#include "train/task.h"

enum { GROUPS = 4, FACTS = 40, FACT_SIZE = 128 };

/* Facts about the run, as metadata. */
typedef struct facts {
    char keys[FACTS][40];
    char values[FACTS][FACT_SIZE];
    safetensors_metadata list[FACTS];
    size_t count;
} facts;

__attribute__((format(printf, 3, 4))) static void fact(facts *f, const char *key, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)snprintf(f->keys[f->count], sizeof f->keys[0], "%s", key);
    (void)vsnprintf(f->values[f->count], FACT_SIZE, format, arguments);
    va_end(arguments);
    f->list[f->count] = (safetensors_metadata){f->keys[f->count], f->values[f->count]};
    f->count++;
}

/* What must be the same in every part of a run. */
static void course_facts(const trainer *t, facts *f) {
    const attn_train_options *o = t->options;
    if (o->task != ATTN_TASK_TRANSLATE) {
        fact(f, "course.task", "%s", t->task->name);
    }
    fact(f, "course.data", "%016" PRIx64, t->data_hash);
    fact(f, "course.seed", "%" PRIu64, o->seed);
    fact(f, "course.dropout", "%.17g, attention %.17g", o->dropout, o->attention_dropout);
    if (strcmp(o->attention, "full") != 0 && !o->init) {
        fact(f, "course.attention", "%s", o->attention);
    }
    fact(f, "course.batch_tokens", "%d", o->batch_tokens);
    fact(f, "course.accumulate", "%d", o->accumulate);
    if (schedule_has_end(o->schedule)) {
        fact(f, "course.rate", "%.17g %s until update %" PRId64 ", warm-up %d", o->rate, schedule_name(o->schedule),
             t->schedule.end, o->warmup);
    } else {
        fact(f, "course.rate", "%.17g %s, warm-up %d", o->rate, schedule_name(o->schedule), o->warmup);
    }
    fact(f, "course.optimizer", "%s", optimizer_name(o->optimizer));
    if (o->optimizer == ATTN_OPTIMIZER_SGD) {
        fact(f, "course.momentum", "%.17g", o->momentum);
    } else {
        fact(f, "course.adam", "%.17g %.17g %.17g", o->beta1, o->beta2, o->epsilon);
    }
    if (o->optimizer == ATTN_OPTIMIZER_ADAMW) {
        fact(f, "course.weight_decay", "%.17g", o->weight_decay);
    }
    const char *frozen[TRAIN_FROZEN_ROOM];
    if (o->freeze && *o->freeze && !train_options_frozen(o, frozen)) {
        char names[200] = "";
        for (size_t i = 0, used = 0; frozen[i] && used < sizeof names; i++) {
            used += (size_t)snprintf(names + used, sizeof names - used, "%s ", frozen[i]);
        }
        fact(f, "course.freeze", "%s", names);
    } else {
        fact(f, "course.freeze", "nothing");
    }
    if (o->convolution > 0 && !o->init) {
        fact(f, "course.convolution", "%d", o->convolution);
    }
    if (o->letters > 0 && !o->init) {
        fact(f, "course.letters", "%d", o->letters);
    }
    if (o->task == ATTN_TASK_CLASSIFY) {
        fact(f, "course.word_dropout", "%.17g", o->word_dropout);
        fact(f, "course.r_drop", "%.17g", o->r_drop);
    } else if (o->task == ATTN_TASK_MASKED) {
        fact(f, "course.mask_share", "%.17g", o->mask_share);
    } else if (o->task == ATTN_TASK_IMAGE) {
        fact(f, "course.augmentation", "shift %.17g, rotation %.17g", o->signal.shift, o->signal.rotation);
    } else if (o->task == ATTN_TASK_SPEECH) {
        fact(f, "course.augmentation", "mask-frames %d, mask-bins %d", o->signal.mask_frames, o->signal.mask_bins);
    }
    fact(f, "course.label_smoothing", "%.17g", o->label_smoothing);
    fact(f, "course.clip", "%.17g", o->clip);
    fact(f, "course.average", "%.17g", o->average);
    fact(f, "course.watch", "%s", watch_name(o->watch));
    fact(f, "course.precision", "%s", t->network.parameters->copies ? "bf16" : "f32");
}

static void progress_facts(const trainer *t, facts *f) {
    batch_position position = batcher_position(t->batcher);
    const interval *i = &t->noted;
    fact(f, "run.updates", "%" PRId64, t->optimizer.updates);
    fact(f, "run.skipped", "%" PRId64, t->optimizer.skipped);
    fact(f, "run.skipped_in_a_row", "%" PRId64, t->optimizer.skipped_in_a_row);
    fact(f, "run.epoch", "%" PRIu64, position.epoch);
    fact(f, "run.pair", "%" PRIu64, position.pair);
    fact(f, "run.seconds", "%.3f", trainer_seconds(t));
    /* The journal's unfinished line. */
    fact(f, "noted.loss", "%.17g", i->loss);
    fact(f, "noted.norm", "%.17g", i->norm);
    fact(f, "noted.tokens", "%" PRId64, i->tokens);
    fact(f, "noted.correct", "%" PRId64, i->correct);
    fact(f, "noted.updates", "%" PRId64, i->updates);
}

/* --- the history, one validation a line: update, epoch, loss, accuracy, BLEU, chrF --- */

enum { HISTORY_LINE = 160 };

static char *history_text(const trainer *t) {
    char *text = memory_allocate(t->history_count + 1, HISTORY_LINE);
    size_t used = 0;
    for (size_t i = 0; text && i < t->history_count; i++) {
        const validated *v = &t->history[i];
        used += (size_t)snprintf(text + used, HISTORY_LINE, "%" PRId64 " %" PRId64 " %.17g %.17g %.17g %.17g\n", v->update,
                                 v->epoch, v->loss, v->token_accuracy, v->bleu, v->chrf);
    }
    return text;
}

static attn_status read_history(trainer *t, const safetensors *file) {
    const char *text = safetensors_metadata_value(file, "run.history");
    int64_t previous = -1;
    t->history_count = 0;
    for (size_t line = 1; text && *text; line++) {
        validated v;
        int length = 0;
        if (sscanf(text, "%" SCNd64 " %" SCNd64 " %lf %lf %lf %lf%n", &v.update, &v.epoch, &v.loss, &v.token_accuracy,
                   &v.bleu, &v.chrf, &length) != 6 || text[length] != '\n' || v.update < previous ||
            v.update > t->optimizer.updates) {
            return fail(ATTN_ERROR_FORMAT, "%s: run.history, validation %zu: six numbers in the order of the updates were "
                        "expected", safetensors_path(file), line);
        }
        attn_status status = memory_grow(&t->history, &t->history_capacity, line, sizeof *t->history);
        if (status) {
            return status;
        }
        t->history[t->history_count++] = v;
        previous = v.update;
        text += length + 1;
    }
    t->best = t->history_count > 0 ? history_best(t) : 0;
    return text ? ATTN_OK : fail(ATTN_ERROR_FORMAT, "%s: run.history is missing", safetensors_path(file));
}

/* --- the state ------------------------------------------------------------------- */

static attn_status groups_of(const trainer *t, folder_group groups[GROUPS], size_t *count) {
    const optimizer *o = &t->optimizer;
    const struct {
        const char *prefix;
        float *values;
    } blocks[GROUPS] = {{"weights", t->network.parameters->values},
                        {o->settings.kind == ATTN_OPTIMIZER_SGD ? "sgd.velocity" : "adam.first", o->first},
                        {"adam.second", o->second}, {"average", o->average}};
    *count = 0;
    for (int i = 0; i < GROUPS; i++) {
        if (blocks[i].values) {
            folder_tensor *tensors = network_tensors(t->network.parameters, blocks[i].values);
            groups[(*count)++] = (folder_group){blocks[i].prefix, tensors, t->network.parameters->count};
            if (!tensors) {
                return ATTN_ERROR_MEMORY;
            }
        }
    }
    return ATTN_OK;
}

static void groups_free(folder_group *groups, size_t count) {
    for (size_t i = 0; i < count; i++) {
        memory_free((void *)(uintptr_t)groups[i].tensors);
    }
}

attn_status trainer_save_state(trainer *t) {
    facts f = {.count = 0};
    course_facts(t, &f);
    progress_facts(t, &f);
    char *history = history_text(t);
    folder_group groups[GROUPS];
    size_t count;
    attn_status status = groups_of(t, groups, &count);
    status = status ? status : history ? journal_sync(t->journal) : ATTN_ERROR_MEMORY;
    if (!status) {
        f.list[f.count++] = (safetensors_metadata){"run.history", history};
        status = folder_write_training(t->options->model, groups, count, f.list, f.count);
    }
    groups_free(groups, count);
    memory_free(history);
    return status;
}

/* --- the published models -------------------------------------------------------- */

/* Facts in the model's own file hold nothing that depends on the clock, so that the
 * same run gives the same file. */
static attn_status save_weights(trainer *t, const char *directory) {
    const validated *v = &t->history[t->history_count - 1];
    facts f = {.count = 0};
    course_facts(t, &f);
    fact(&f, "run.updates", "%" PRId64, v->update);
    fact(&f, "run.epochs", "%" PRId64, v->epoch);
    fact(&f, "run.training_pairs", "%zu", t->train.corpus.pairs);
    if (t->valid.present) {
        fact(&f, "run.validation_loss", "%.6f", v->loss);
        fact(&f, "run.validation_accuracy", "%.6f", v->token_accuracy);
    }
    if (v->bleu >= 0) {
        fact(&f, "run.validation_bleu", "%.4f", v->bleu);
        fact(&f, "run.validation_chrf", "%.4f", v->chrf);
    }
    parameters view = trainer_published(t);
    folder_tensor *tensors = network_tensors(&view, view.values);
    if (!tensors) {
        return ATTN_ERROR_MEMORY;
    }
    attn_status status = folder_write_weights(directory, tensors, view.count, f.list, f.count);
    memory_free(tensors);
    return status;
}

/* Takes the path over; NULL: memory was short. */
static attn_status save_folder(trainer *t, char *directory) {
    attn_status status = directory ? t->network.kind->write_config(directory, t->network.model) : ATTN_ERROR_MEMORY;
    status = status || !t->tokenizer ? status : tokenizer_save(t->tokenizer, directory);
    status = status ? status : save_weights(t, directory);
    memory_free(directory);
    return status;
}

attn_status trainer_publish(trainer *t) {
    size_t newest = t->history_count - 1;
    attn_status status = t->best == newest ? save_weights(t, t->options->model) : ATTN_OK;
    status = status ? status : save_folder(t, file_join(t->options->model, "last"));
    if (!status && kept_is_wanted(t, newest)) {
        status = save_folder(t, kept_path(t, t->history[newest].update));
    }
    return status ? status : kept_prune(t);
}

/* --- going on -------------------------------------------------------------------- */

int trainer_has_state(const char *directory) {
    char *path = file_join(directory, FOLDER_TRAINING);
    int exists = path && file_exists(path);
    memory_free(path);
    return exists;
}

static attn_status read_number(const safetensors *file, const char *key, double low, double high, double *number) {
    const char *text = safetensors_metadata_value(file, key);
    char *end = NULL;
    double value = text ? strtod(text, &end) : 0;
    if (!text || end == text || *end || isnan(value) || value < low || value > high) {
        return fail(ATTN_ERROR_FORMAT, "%s: %s is %s; a number from %g to %g was expected", safetensors_path(file), key,
                    text ? text : "missing", low, high);
    }
    *number = value;
    return ATTN_OK;
}

static attn_status check_course(const trainer *t, const safetensors *file) {
    facts f = {.count = 0};
    course_facts(t, &f);
    for (size_t i = 0; i < f.count; i++) {
        const char *saved = safetensors_metadata_value(file, f.keys[i]);
        if (!saved || strcmp(saved, f.values[i]) != 0) {
            return fail(ATTN_ERROR_ARGUMENT,
                        "%s cannot be resumed with other settings: %s was \"%s\" there and is \"%s\" now",
                        t->options->model, f.keys[i] + strlen("course."), saved ? saved : "missing", f.values[i]);
        }
    }
    return ATTN_OK;
}

/* Before anything is read from it: the state of a run of another course may hold other
 * tensors. */
static attn_status check_saved_course(const trainer *t) {
    safetensors *file = NULL;
    char *path = file_join(t->options->model, FOLDER_TRAINING);
    attn_status status = path ? safetensors_open(path, &file) : ATTN_ERROR_MEMORY;
    status = status ? status : check_course(t, file);
    safetensors_close(file);
    memory_free(path);
    return status;
}

static attn_status read_progress(trainer *t, const safetensors *file) {
    static const double MOST = 1e15;
    double updates, skipped, in_a_row, epoch, pair, seconds, loss, norm, tokens, correct, noted;
    const struct {
        const char *key;
        double *number, high;
    } rows[] = {{"run.updates", &updates, MOST}, {"run.skipped", &skipped, MOST},
                {"run.skipped_in_a_row", &in_a_row, MOST}, {"run.epoch", &epoch, MOST}, {"run.pair", &pair, MOST},
                {"run.seconds", &seconds, 1e12}, {"noted.loss", &loss, INFINITY}, {"noted.norm", &norm, INFINITY},
                {"noted.tokens", &tokens, MOST}, {"noted.correct", &correct, MOST},
                {"noted.updates", &noted, MOST}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        attn_status status = read_number(file, rows[i].key, 0, rows[i].high, rows[i].number);
        if (status) {
            return status;
        }
    }
    t->optimizer.updates = (int64_t)updates;
    t->optimizer.skipped = (int64_t)skipped;
    t->optimizer.skipped_in_a_row = (int64_t)in_a_row;
    t->seconds_before = seconds;
    t->epoch = (int64_t)epoch;
    t->noted = (interval){.loss = loss, .norm = norm, .tokens = (int64_t)tokens,
                           .correct = (int64_t)correct, .updates = (int64_t)noted};
    return batcher_seek(t->batcher, (batch_position){(uint64_t)epoch, (uint64_t)pair});
}

attn_status trainer_resume(trainer *t) {
    folder_group groups[GROUPS];
    size_t count;
    safetensors *file = NULL;
    attn_status status = groups_of(t, groups, &count);
    status = status ? status : check_saved_course(t);
    status = status ? status : folder_read_training(t->options->model, groups, count, &file);
    status = status ? status : read_progress(t, file);
    status = status ? status : read_history(t, file);
    parameters_update_copies(t->network.parameters);
    if (!status && t->history_count > 0 && t->history[t->history_count - 1].update == t->optimizer.updates) {
        status = trainer_publish(t);
    }
    safetensors_close(file);
    groups_free(groups, count);
    return status;
}
