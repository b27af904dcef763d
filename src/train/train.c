/* The loop: one update after the other until a limit is reached, with progress, at
 * times a validation, and checkpoints that a stopped run goes on from. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "base/threads.h"
#include "train/trainer.h"

static const double REPORT_SECONDS = 0.5;
enum { MOST_SKIPPED = 3 };

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double trainer_seconds(const trainer *t) {
    return t->seconds_before + now() - t->started;
}

double trainer_seconds_busy(const trainer *t) {
    return now() - t->started - t->seconds_aside;
}

int64_t memory_peak(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : (int64_t)usage.ru_maxrss * 1024;
}

void trainer_log(const trainer *t, const char *format, ...) {
    if (t->options->log) {
        char line[1024];
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(line, sizeof line, format, arguments);
        va_end(arguments);
        t->options->log(t->options->context, line);
    }
}

/* --- how far it is --------------------------------------------------------------- */

static double epochs_done(const trainer *t) {
    batch_position p = batcher_position(t->batcher);
    return (double)p.epoch + (double)p.pair / (double)t->train.corpus.pairs;
}

static int out_of_patience(const trainer *t) {
    return t->options->patience > 0 && t->history_count > 0 &&
           t->history_count - 1 - t->best >= (size_t)t->options->patience;
}

static int finished(const trainer *t) {
    const attn_train_options *o = t->options;
    return (o->max_updates > 0 && t->optimizer.updates >= o->max_updates) ||
           (o->max_epochs > 0 && epochs_done(t) >= o->max_epochs) ||
           (o->max_minutes > 0 && trainer_seconds(t) >= 60 * o->max_minutes) || out_of_patience(t);
}

/* The share of the run that is done, by whichever limit comes first. */
static double share_done(const trainer *t) {
    const attn_train_options *o = t->options;
    double share = 0;
    if (o->max_updates > 0) {
        share = fmax(share, (double)t->optimizer.updates / (double)o->max_updates);
    }
    if (o->max_epochs > 0) {
        share = fmax(share, epochs_done(t) / o->max_epochs);
    }
    if (o->max_minutes > 0) {
        share = fmax(share, trainer_seconds(t) / (60 * o->max_minutes));
    }
    return fmin(share, 1);
}

/* --- telling --------------------------------------------------------------------- */

static void add_to(interval *i, const interval *more) {
    i->loss += more->loss;
    i->flops += more->flops;
    i->norm += more->norm;
    i->tokens += more->tokens;
    i->correct += more->correct;
    i->timed_tokens += more->tokens;
    i->updates += more->updates;
}

static void report(trainer *t, double rate, double roof) {
    const attn_train_options *o = t->options;
    const interval *i = &t->shown;
    double busy = trainer_seconds_busy(t), seconds = busy - i->started;
    double done = share_done(t), trained = trainer_seconds(t);
    if (o->progress && i->tokens > 0) {
        attn_progress p = {.update = t->optimizer.updates,
                           .epoch = t->epoch,
                           .loss = i->loss / (double)i->tokens,
                           .token_accuracy = (double)i->correct / (double)i->tokens,
                           .learning_rate = rate,
                           .gradient_norm = i->norm / (double)i->updates,
                           .target_tokens_per_second = (double)i->tokens / seconds,
                           .share_of_roof = roof > 0 ? i->flops / seconds / roof : 0,
                           .seconds = trained,
                           .seconds_left = done > 0 ? trained * (1 - done) / done : 0,
                           .skipped = t->optimizer.skipped,
                           .memory = memory_peak()};
        p.updates_planned = done > 0 ? (int64_t)((double)t->optimizer.updates / done) : 0;
        o->progress(o->context, &p);
    }
    t->shown = (interval){.started = busy};
}

static attn_status note_update(trainer *t, double rate) {
    const interval *i = &t->noted;
    double busy = trainer_seconds_busy(t);
    journal_update record = {.update = t->optimizer.updates,
                             .epoch = t->epoch,
                             .loss = i->loss / (double)i->tokens,
                             .accuracy = (double)i->correct / (double)i->tokens,
                             .rate = rate,
                             .norm = i->norm / (double)i->updates,
                             .tokens_per_second = (double)i->timed_tokens / (busy - i->started),
                             .seconds = trainer_seconds(t),
                             .memory = memory_peak(),
                             .skipped = t->optimizer.skipped};
    t->noted = (interval){.started = busy};
    board_note_update(t->board, &record);
    return journal_note_update(t->journal, &record);
}

/* --- one update ------------------------------------------------------------------ */

/* Adds the gradients of the update's batches; *scale makes their sum the gradient of the
 * mean over all their tokens, *sums receives losses and counts. */
static attn_status gather_gradients(trainer *t, double *scale, interval *sums) {
    const attn_train_options *o = t->options;
    uint64_t number = (uint64_t)(t->optimizer.updates + t->optimizer.skipped) * (uint64_t)o->accumulate;
    double divisor = 0;
    batch b = {.last_of_epoch = false};
    for (int k = 0; k < o->accumulate && !b.last_of_epoch; k++) {
        loss_result loss;
        profile *p = o->profile ? &t->profile : NULL;
        profile_place before = profile_enter(p, PROFILE_LOADER, PROFILE_FORWARD, 0);
        attn_status status = batcher_next(t->batcher, &b);
        profile_return(p, before);
        if (status) {
            return status;
        }
        divisor = k == 0 ? (double)b.tokens_target : divisor;
        gradient_task wanted = {(float)o->label_smoothing, divisor, k > 0, o->seed, number + (uint64_t)k, p};
        status = gradient_step_run(t->step, &b, &wanted, &loss);
        if (status) {
            return status;
        }
        sums->loss += loss.loss;
        sums->tokens += loss.tokens;
        sums->correct += loss.correct;
        sums->flops += 3 * t->network.kind->forward_flops(t->network.model, &b);
    }
    t->epoch = (int64_t)b.epoch + b.last_of_epoch;
    *scale = divisor / (double)sums->tokens;
    return ATTN_OK;
}

static attn_status one_update(trainer *t, double *rate) {
    interval sums = {.updates = 1};
    double scale = 1;
    profile *p = t->options->profile ? &t->profile : NULL;
    profile_start(p);
    attn_status status = gather_gradients(t, &scale, &sums);
    if (status) {
        return status;
    }
    *rate = schedule_rate(&t->schedule, t->optimizer.updates + 1);
    profile_place before = profile_enter_team(p, PROFILE_OPTIMIZER, optimizer_bytes(&t->optimizer), threads_get());
    status = optimizer_update(&t->optimizer, *rate, scale, &sums.norm);
    profile_return(p, before);
    profile_stop(p);
    if (status == ATTN_ERROR_NUMERIC) {
        trainer_log(t, "update %lld left out: %s", (long long)t->optimizer.updates + 1, attn_last_error());
        if (t->optimizer.skipped_in_a_row >= MOST_SKIPPED) {
            return fail_within(status, "%d updates in a row had to be left out after update %lld", MOST_SKIPPED,
                               (long long)t->optimizer.updates);
        }
        return ATTN_OK;
    }
    add_to(&t->shown, &sums);
    add_to(&t->noted, &sums);
    return status;
}

/* --- the loop -------------------------------------------------------------------- */

static int is_validated(const trainer *t) {
    return t->history_count > 0 && t->history[t->history_count - 1].update == t->optimizer.updates;
}

/* The state goes first: it can make the published models again, they cannot make it. */
static attn_status validate_and_save(trainer *t) {
    double started = now();
    attn_status status = trainer_validate(t);
    status = status ? status : trainer_save_state(t);
    status = status ? status : trainer_publish(t);
    t->seconds_aside += now() - started;
    return status;
}

static attn_status save_aside(trainer *t) {
    double started = now();
    attn_status status = trainer_save_state(t);
    t->seconds_aside += now() - started;
    return status;
}

/* What is due behind an update. */
static attn_status after_update(trainer *t, int64_t epoch, double rate, double roof) {
    const attn_train_options *o = t->options;
    int64_t updates = t->optimizer.updates;
    attn_status status = updates % o->journal_every == 0 && t->noted.updates > 0 ? note_update(t, rate) : ATTN_OK;
    int due = o->validate_every > 0 ? updates % o->validate_every == 0 && !is_validated(t) : t->epoch > epoch;
    int save = o->save_every > 0 && updates % o->save_every == 0;
    if (due || trainer_seconds_busy(t) - t->shown.started >= REPORT_SECONDS) {
        report(t, rate, roof);
    }
    return status ? status : due ? validate_and_save(t) : save ? save_aside(t) : ATTN_OK;
}

static attn_status run(trainer *t) {
    const attn_train_options *o = t->options;
    double roof = gradient_step_roof(t->step) * threads_get(), rate = 0;
    int64_t updates_before = t->optimizer.updates;
    t->started = now();
    attn_status status = ATTN_OK;
    while (!finished(t) && !status) {
        int64_t epoch = t->epoch;
        status = one_update(t, &rate);
        status = status ? status : after_update(t, epoch, rate, roof);
        if (!status && o->stop && o->stop(o->context)) {
            status = trainer_save_state(t);
            return status ? status
                          : fail(ATTN_ERROR_INTERRUPTED, "stopped after %lld updates; everything is saved in %s",
                                 (long long)t->optimizer.updates, o->model);
        }
    }
    if (status) {
        return status;
    }
    report(t, rate, roof);
    if (o->profile) {
        trainer_log_profile(t, t->optimizer.updates - updates_before, trainer_seconds_busy(t));
    }
    if (!is_validated(t)) {
        status = validate_and_save(t);
    }
    if (!status && out_of_patience(t)) {
        trainer_log(t, "no better %s in %d validations; the best was update %lld", watch_name(o->watch), o->patience,
                    (long long)t->history[t->best].update);
    }
    return status;
}

attn_status attn_train(const attn_train_options *options) {
    trainer t = {.options = options, .started = now()};
    attn_status status = trainer_open(&t);
    if (!status) {
        trainer_log(&t, "model: %lld parameters, vocabulary %d, products in %s, %d threads",
                    (long long)parameters_count(t.network.parameters), t.network.kind->limits(t.network.model).vocabulary,
                    t.network.parameters->copies ? "bf16" : "f32", threads_get());
        status = run(&t);
    }
    if (!status && options->average_kept) {
        status = kept_average(&t);
    }
    status = status ? status : trainer_test(&t);
    trainer_close(&t);
    return status;
}
