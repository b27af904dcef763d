/* The options of a training run: their defaults, their ranges, what excludes what. */
#include <string.h>

#include "model/attention_span.h"
#include "train/task.h"

enum { BEGINNINGS = 3 };

void attn_train_options_defaults(attn_train_options *options) {
    *options = (attn_train_options){.valid_share = 0.01,
                                    .max_tokens = 256,
                                    .vocabulary = 8000,
                                    .layers = 4,
                                    .width = 256,
                                    .heads = 4,
                                    .feed_forward = 1024,
                                    .block = 128,
                                    .dropout = 0.1,
                                    .word_dropout = 0.1,
                                    .mask_share = 0.15,
                                    .activation = "relu",
                                    .attention = "full",
                                    .max_positions = 512,
                                    .hidden = 256,
                                    .rate = 0.002,
                                    .warmup = 400,
                                    .beta1 = 0.9,
                                    .beta2 = 0.98,
                                    .epsilon = 1e-9,
                                    .momentum = 0.9,
                                    .weight_decay = 0.01,
                                    .accumulate = 1,
                                    .journal_every = 20,
                                    .label_smoothing = 0.1,
                                    .clip = 1.0,
                                    .batch_tokens = 4096,
                                    .average = 0.995,
                                    .valid_bleu_lines = 200,
                                    .seed = 1,
                                    .signal = {.patch_size = 4, .sample_rate = 16000, .mel_bins = 40, .max_frames = 1000}};
}

const char *schedule_name(attn_schedule kind) {
    static const char *const NAMES[] = {"inverse square root", "constant", "cosine", "linear"};
    return NAMES[kind];
}

const char *optimizer_name(attn_optimizer kind) {
    static const char *const NAMES[] = {"adam", "adamw", "sgd"};
    return NAMES[kind];
}

const char *watch_name(attn_watch watch) {
    static const char *const NAMES[] = {"loss", "accuracy", "bleu", "chrf"};
    return NAMES[watch];
}

attn_status train_options_frozen(const attn_train_options *o, const char *names[TRAIN_FROZEN_ROOM]) {
    static const struct {
        const char *part, *beginnings[BEGINNINGS];
    } PARTS[] = {{"embeddings", {"model.shared.", "final_logits_bias", "bert.embeddings."}},
                 {"encoder", {"model.encoder.", "bert.encoder."}},
                 {"decoder", {"model.decoder."}}};
    enum { PART_COUNT = sizeof PARTS / sizeof *PARTS };
    int chosen[PART_COUNT] = {0}, count = 0, parts = 0;
    for (const char *word = o->freeze; word && *word;) {
        size_t length = strcspn(word, ",");
        int found = -1;
        for (int i = 0; i < PART_COUNT; i++) {
            if (strlen(PARTS[i].part) == length && strncmp(PARTS[i].part, word, length) == 0) {
                found = i;
            }
        }
        if (found < 0) {
            return fail(ATTN_ERROR_ARGUMENT,
                        "freeze names \"%.*s\"; embeddings, encoder or decoder were expected, with commas between",
                        (int)(length < 100 ? length : 100), word);
        }
        chosen[found] = 1;
        word += length + (word[length] == ',');
    }
    for (int i = 0; i < PART_COUNT; i++) {
        for (int j = 0; chosen[i] && j < 2 && PARTS[i].beginnings[j]; j++) {
            names[count++] = PARTS[i].beginnings[j];
        }
        parts += chosen[i];
    }
    names[count] = NULL;
    return parts < PART_COUNT ? ATTN_OK
                              : fail(ATTN_ERROR_ARGUMENT, "freeze names every part of the model; nothing would learn");
}

static attn_status check_number(const char *name, double value, double low, double high) {
    return value >= low && value <= high
               ? ATTN_OK
               : fail(ATTN_ERROR_ARGUMENT, "%s is %g; a number from %g to %g was expected", name, value, low, high);
}

static attn_status check_ranges(const attn_train_options *o) {
    const struct {
        const char *name;
        double value, low, high;
    } ranges[] = {{"valid-share", o->valid_share, 0, 0.9},
                  {"max-tokens", o->max_tokens, 2, 65536},
                  {"vocabulary", o->vocabulary, 16, 1000000},
                  {"layers", o->layers, 1, 1024},
                  {"width", o->width, 2, 65536},
                  {"heads", o->heads, 1, 4096},
                  {"feed-forward", o->feed_forward, 1, 1 << 18},
                  {"dropout", o->dropout, 0, 0.99},
                  {"attention-dropout", o->attention_dropout, 0, 0.99},
                  {"max-positions", o->max_positions, 2, 1 << 20},
                  {"rate", o->rate, 1e-12, 1000},
                  {"warmup", o->warmup, 0, 1e9},
                  {"beta1", o->beta1, 0, 0.999999},
                  {"beta2", o->beta2, 0, 0.999999},
                  {"epsilon", o->epsilon, 1e-20, 1},
                  {"label-smoothing", o->label_smoothing, 0, 0.99},
                  {"clip", o->clip, 0, 1e9},
                  {"batch-tokens", o->batch_tokens, 1, 1 << 24},
                  {"average", o->average, 0, 0.999999},
                  {"updates", (double)o->max_updates, 0, 1e12},
                  {"epochs", o->max_epochs, 0, 1e9},
                  {"minutes", o->max_minutes, 0, 1e7},
                  {"validate-every", (double)o->validate_every, 0, 1e12},
                  {"valid-bleu-lines", o->valid_bleu_lines, 0, 1e9},
                  {"task", o->task, 0, ATTN_TASK_LAST},
                  {"pooling", o->pooling, 0, ATTN_POOLING_CLS},
                  {"r-drop", o->r_drop, 0, 1000},
                  {"convolution", o->convolution, 0, 31},
                  {"letters", o->letters, 0, 1 << 22},
                  {"word-dropout", o->word_dropout, 0, 0.99},
                  {"mask-share", o->mask_share, 0.01, 0.9},
                  {"family", o->family, 0, ATTN_FAMILY_LLAMA},
                  {"kv-heads", o->kv_heads, 0, 4096},
                  {"block", o->block, 1, 65536},
                  {"architecture", o->architecture, 0, ATTN_ARCHITECTURE_RECURRENT},
                  {"cell", o->cell, 0, ATTN_CELL_LSTM},
                  {"score", o->score, 0, ATTN_RECURRENT_SCORE_GENERAL},
                  {"hidden", o->hidden, 2, 16384},
                  {"schedule", o->schedule, 0, ATTN_SCHEDULE_LINEAR},
                  {"optimizer", o->optimizer, 0, ATTN_OPTIMIZER_SGD},
                  {"watch", o->watch, 0, ATTN_WATCH_CHRF},
                  {"momentum", o->momentum, 0, 0.999999},
                  {"weight-decay", o->weight_decay, 0, 1},
                  {"accumulate", o->accumulate, 1, 1 << 20},
                  {"patience", o->patience, 0, 1e9},
                  {"save-every", (double)o->save_every, 0, 1e12},
                  {"journal-every", (double)o->journal_every, 1, 1e12},
                  {"keep-last", o->keep_last, 0, 10000},
                  {"keep-best", o->keep_best, 0, 10000}};
    if (!o->model) {
        return fail(ATTN_ERROR_ARGUMENT, "no model folder was named");
    }
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        attn_status status = check_number(ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high);
        if (status) {
            return status;
        }
    }
    return ATTN_OK;
}

/* The other networks' layers have the full attention alone. */
static attn_status check_attention(const attn_train_options *o) {
    attention_span span;
    attn_status status = o->attention ? attention_span_parse(o->attention, "attention", &span)
                                      : fail(ATTN_ERROR_ARGUMENT, "no attention was named");
    if (status || o->init || span.kind == ATTENTION_FULL) {
        return status;
    }
    if (o->task != ATTN_TASK_LANGUAGE && o->task != ATTN_TASK_CLASSIFY && o->task != ATTN_TASK_MASKED) {
        return fail(ATTN_ERROR_ARGUMENT, "attention is %s; language models, classifiers of texts and models of hidden words "
                    "have it, full was expected here", o->attention);
    }
    if (span.kind == ATTENTION_LINEAR && o->attention_dropout > 0) {
        return fail(ATTN_ERROR_ARGUMENT, "attention-dropout is %g, but linear attention makes no weights: 0 was expected",
                    o->attention_dropout);
    }
    return ATTN_OK;
}

static attn_status check_agreement(const attn_train_options *o) {
    if (o->max_updates == 0 && o->max_epochs == 0 && o->max_minutes == 0) {
        return fail(ATTN_ERROR_ARGUMENT, "no end was given: set updates, epochs or minutes");
    }
    if (o->architecture == ATTN_ARCHITECTURE_RECURRENT) {
        if (o->attention_dropout > 0) {
            return fail(ATTN_ERROR_ARGUMENT, "attention-dropout is %g; a recurrent network has none", o->attention_dropout);
        }
    } else if (!o->init && o->width % o->heads != 0) {
        return fail(ATTN_ERROR_ARGUMENT, "heads is %d; a divisor of the width, %d, was expected", o->heads, o->width);
    }
    if (!o->init && o->task != ATTN_TASK_LANGUAGE && o->max_tokens > o->max_positions) {
        return fail(ATTN_ERROR_ARGUMENT, "max-tokens is %d; at most the %d of max-positions were expected", o->max_tokens,
                    o->max_positions);
    }
    if (schedule_has_end(o->schedule) && o->max_updates == 0 && o->max_epochs == 0) {
        return fail(ATTN_ERROR_ARGUMENT,
                    "the %s schedule needs the run's end in updates or epochs; minutes do not say at which update it is",
                    schedule_name(o->schedule));
    }
    if ((o->watch == ATTN_WATCH_BLEU || o->watch == ATTN_WATCH_CHRF) && o->valid_bleu_lines == 0) {
        return fail(ATTN_ERROR_ARGUMENT, "watch is %s, but valid-bleu-lines is 0: nothing would be translated",
                    watch_name(o->watch));
    }
    attn_status status = check_attention(o);
    if (status) {
        return status;
    }
    if (o->average_kept && o->keep_last == 0) {
        return fail(ATTN_ERROR_ARGUMENT, "average-kept needs keep-last: how many checkpoints to average");
    }
    const task *chosen = task_of(o);
    status = chosen->check ? chosen->check(o) : ATTN_OK;
    if (status) {
        return status;
    }
    const char *frozen[TRAIN_FROZEN_ROOM];
    return train_options_frozen(o, frozen);
}

attn_status train_options_check(const attn_train_options *o) {
    attn_status status = check_ranges(o);
    return status ? status : check_agreement(o);
}
