/* Naming a text's class: a TSV of label and text; a BERT encoder with a classifier, from
 * nothing or from one that has guessed hidden words (--init). Measured by loss, accuracy
 * and the mean of the labels' F1. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "infer/classify.h"
#include "train/task_bert.h"

static attn_status check(const attn_train_options *o) {
    if (o->source || o->target || o->valid_source || o->valid_target || o->test_source || o->test_target) {
        return fail(ATTN_ERROR_ARGUMENT, "a classifier learns from a TSV of label and text: corpus, not source and target");
    }
    if (o->watch == ATTN_WATCH_BLEU || o->watch == ATTN_WATCH_CHRF) {
        return fail(ATTN_ERROR_ARGUMENT, "a classifier has no translations: watch its loss or its accuracy");
    }
    return bert_task_check(o);
}

static attn_status read_texts(trainer *t) {
    const attn_train_options *o = t->options;
    if (!o->corpus) {
        return fail(ATTN_ERROR_ARGUMENT, "no training text: give a TSV of label and text (corpus)");
    }
    attn_status status = trainer_read_pairs(t, NULL, NULL, o->corpus, &t->train, "train");
    status = status ? status : trainer_read_pairs(t, NULL, NULL, o->valid_corpus, &t->valid, "validation");
    status = status ? status : trainer_read_pairs(t, NULL, NULL, o->test_corpus, &t->test, "test");
    status = status ? status : bert_task_labels(t, t->train.text.source, t->train.text.pairs);
    size_t count = status || t->valid.present ? 0 : held_out_count(o, t->train.text.pairs);
    return count > 0 ? trainer_hold_out_pairs(t, count) : status;
}

static attn_status make_tokenizer(trainer *t) {
    return bert_task_tokenizer(t, t->train.text.target, t->train.text.pairs);
}

/* --- labels and ids ----------------------------------------------------------------- */

/* A label that nothing was learned for is named with its first text. */
static attn_status find_label(const trainer *t, const parallel_text *text, size_t i, const char *what, int32_t *label) {
    text_line name = text->source[i], line = text->target[i];
    *label = vocabulary_find(t->labels, name.bytes, name.length);
    return *label >= 0 ? ATTN_OK
                       : fail(ATTN_ERROR_FORMAT, "%s text: the label \"%.*s\" (of \"%.*s\") is none of the %zu of the "
                              "training text", what, (int)(name.length < 60 ? name.length : 60), name.bytes,
                              (int)(line.length < 60 ? line.length : 60), line.bytes, t->labels->size);
}

static void say_which_are_missing(const trainer *t, const corpus *c, const char *what) {
    for (size_t k = 0; k < t->labels->size; k++) {
        size_t count = 0;
        for (size_t i = 0; i < c->pairs; i++) {
            count += c->target[i] == (int32_t)k;
        }
        if (count == 0) {
            text_line name = vocabulary_piece(t->labels, k);
            trainer_log(t, "%s: the label \"%.60s\" has no example there", what, name.bytes);
        }
    }
}

static attn_status encode(trainer *t, split *s, const char *what) {
    attn_status status = bert_task_encode(t, s->text.target, s->text.pairs, &s->corpus, what);
    for (size_t i = 0; i < s->text.pairs && !status; i++) {
        status = find_label(t, &s->text, i, what, &s->corpus.target[i]);
    }
    if (!status) {
        say_which_are_missing(t, &s->corpus, what);
    }
    return status;
}

/* --- the model ----------------------------------------------------------------------- */

static attn_status create(const trainer *t, network_purpose purpose, network *made) {
    bert_config config;
    attn_status status = bert_task_config(t, BERT_CLASSIFY, &config);
    return status ? status : bert_task_open(t, &config, purpose, made);
}

static attn_status create_from(const trainer *t, const char *directory, network_purpose purpose, network *made) {
    bert_config config;
    attn_status status = bert_config_read(directory, &config);
    if (status) {
        return status;
    }
    bert_config_release(&config);
    config.head = BERT_CLASSIFY;
    config.pooling = t->options->pooling == ATTN_POOLING_CLS ? BERT_POOL_CLS : BERT_POOL_ATTENTION;
    config.hidden_dropout = t->options->dropout;
    config.attention_dropout = t->options->attention_dropout;
    config.labels = *t->labels; /* lent */
    status = bert_task_fits(t, &config, directory);
    return status ? status : bert_task_open(t, &config, purpose, made);
}

static attn_status read_weights(trainer *t, const char *directory) {
    return bert_read_encoder(t->network.model, directory);
}

/* --- how good it is ------------------------------------------------------------------- */

static attn_status make_samples(const trainer *t, const classifier *c, const split *s, samples *shown) {
    size_t labels = t->labels->size;
    size_t count = s->corpus.pairs < SAMPLES ? s->corpus.pairs : SAMPLES;
    float *p = memory_allocate(count * labels, sizeof *p);
    attn_status status = p ? classifier_run(c, s->corpus.source, s->corpus.source_offsets, count, p, NULL) : ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < count && !status; i++) {
        size_t best = 0;
        for (size_t k = 1; k < labels; k++) {
            best = p[i * labels + k] > p[i * labels + best] ? k : best;
        }
        char *text = memory_copy_bytes(s->text.target[i].bytes, s->text.target[i].length);
        status = text ? samples_add(shown, text, vocabulary_piece(t->labels, (size_t)s->corpus.target[i]).bytes,
                                    vocabulary_piece(t->labels, best).bytes)
                      : ATTN_ERROR_MEMORY;
        memory_free(text);
    }
    memory_free(p);
    return status;
}

static attn_status measure(trainer *t, const split *s, int full, attn_validation *figures, samples *shown) {
    parameters view = trainer_published(t);
    const bert *model = t->network.model;
    classifier *c = NULL;
    size_t labels = t->labels->size, correct = 0;
    size_t *confusion = memory_allocate(labels * labels, sizeof *confusion);
    attn_status status = confusion ? classifier_new(model, &view, &c) : ATTN_ERROR_MEMORY;
    status = status ? status : classifier_measure(c, &s->corpus, &figures->loss, &correct, confusion);
    if (!status) {
        double sum = 0, precision, recall;
        size_t seen = 0;
        for (size_t k = 0; k < labels; k++) {
            double f1 = confusion_f1(confusion, labels, k, &precision, &recall);
            sum += isnan(f1) ? 0 : f1;
            seen += isnan(f1) ? 0 : 1;
        }
        figures->token_accuracy = (double)correct / (double)s->corpus.pairs;
        figures->metrics[figures->metric_count++] = (attn_metric){"macro_f1", sum / (double)seen};
    }
    if (!status && full) {
        status = make_samples(t, c, s, shown);
    }
    classifier_free(c);
    memory_free(confusion);
    return status;
}

const task task_classify = {.name = "classify",
                            .counts = BATCH_COUNTS_SOURCE,
                            .check = check,
                            .read_texts = read_texts,
                            .make_tokenizer = make_tokenizer,
                            .encode = encode,
                            .create = create,
                            .create_from = create_from,
                            .read_weights = read_weights,
                            .measure = measure};
