/* Guessing hidden words (Devlin et al. 2019, 3.1): plain text, a line a text; a BERT encoder
 * that a classifier can begin with. Measured by the loss and the share of hidden words that
 * are guessed, the same words at every validation. */
#include <string.h>

#include "base/memory.h"
#include "infer/classify.h"
#include "train/task_bert.h"

static attn_status check(const attn_train_options *o) {
    if (o->source || o->target || o->valid_source || o->valid_target || o->test_source || o->test_target) {
        return fail(ATTN_ERROR_ARGUMENT, "guessing words takes plain text, a line each: corpus, not source and target");
    }
    if (o->watch == ATTN_WATCH_BLEU || o->watch == ATTN_WATCH_CHRF) {
        return fail(ATTN_ERROR_ARGUMENT, "guessing words gives no translations: watch the loss or the accuracy");
    }
    return bert_task_check(o);
}

/* Lines without text are left out. */
static attn_status read_split(const trainer *t, const char *path, split *s, const char *what) {
    text_options options;
    text_options_defaults(&options);
    options.invalid = t->options->skip_invalid ? INVALID_SKIP : INVALID_REFUSE;
    if (!path) {
        return ATTN_OK;
    }
    attn_status status = text_lines_read(path, &options, &s->lines);
    if (status) {
        return status;
    }
    size_t kept = 0, all = s->lines.count;
    for (size_t i = 0; i < all; i++) {
        if (!text_line_is_blank(s->lines.lines[i])) {
            s->lines.lines[kept++] = s->lines.lines[i];
        }
    }
    s->lines.count = kept;
    s->present = 1;
    trainer_log(t, "%s: %zu lines, %zu more are empty", what, kept, all - kept);
    return kept ? ATTN_OK : fail(ATTN_ERROR_FORMAT, "%s: there is no line with text", path);
}

static attn_status hold_out(trainer *t, size_t count) {
    text_lines *all = &t->train.lines, *held = &t->valid.lines;
    held->lines = memory_allocate(count, sizeof *held->lines);
    if (!held->lines) {
        return ATTN_ERROR_MEMORY;
    }
    size_t kept = 0, lines = all->count;
    for (size_t i = 0; i < lines; i++) {
        if (held_out(t, i, lines, count, held->count)) {
            held->lines[held->count++] = all->lines[i];
        } else {
            all->lines[kept++] = all->lines[i];
        }
    }
    all->count = kept;
    t->valid.present = 1;
    trainer_log(t, "validation: %zu lines held out of the training text", held->count);
    return ATTN_OK;
}

static attn_status read_texts(trainer *t) {
    const attn_train_options *o = t->options;
    if (!o->corpus) {
        return fail(ATTN_ERROR_ARGUMENT, "no training text: give a file of lines (corpus)");
    }
    attn_status status = read_split(t, o->corpus, &t->train, "train");
    status = status ? status : read_split(t, o->valid_corpus, &t->valid, "validation");
    status = status ? status : read_split(t, o->test_corpus, &t->test, "test");
    size_t count = status || t->valid.present ? 0 : held_out_count(o, t->train.lines.count);
    return count > 0 ? hold_out(t, count) : status;
}

static attn_status make_tokenizer(trainer *t) {
    return bert_task_tokenizer(t, t->train.lines.lines, t->train.lines.count);
}

static attn_status encode(trainer *t, split *s, const char *what) {
    return bert_task_encode(t, s->lines.lines, s->lines.count, &s->corpus, what);
}

static attn_status create(const trainer *t, network_purpose purpose, network *made) {
    bert_config config;
    attn_status status = bert_task_config(t, BERT_MASKED, &config);
    return status ? status : bert_task_open(t, &config, purpose, made);
}

static attn_status create_from(const trainer *t, const char *directory, network_purpose purpose, network *made) {
    bert_config config;
    attn_status status = bert_config_read(directory, &config);
    if (status) {
        return status;
    }
    bert_config_release(&config);
    config.head = BERT_MASKED;
    config.pooling = BERT_POOL_CLS;
    config.hidden_dropout = t->options->dropout;
    config.attention_dropout = t->options->attention_dropout;
    status = bert_task_fits(t, &config, directory);
    return status ? status : bert_task_open(t, &config, purpose, made);
}

static attn_status read_weights(trainer *t, const char *directory) {
    return bert_read_encoder(t->network.model, directory);
}

static attn_status measure(trainer *t, const split *s, int full, attn_validation *figures, samples *shown) {
    parameters view = trainer_published(t);
    (void)full;
    (void)shown;
    return guesser_measure(t->network.model, &view, &s->corpus, &figures->loss, &figures->token_accuracy);
}

const task task_masked = {.name = "masked",
                          .counts = BATCH_COUNTS_SOURCE,
                          .check = check,
                          .read_texts = read_texts,
                          .make_tokenizer = make_tokenizer,
                          .encode = encode,
                          .create = create,
                          .create_from = create_from,
                          .read_weights = read_weights,
                          .measure = measure};
