/* Writing down what is said: sounds and their texts, an encoder over frames and a translator's
 * decoder (model/signal_model.h). Measured by loss, token accuracy and, at a validation, word
 * errors. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "infer/measure.h"
#include "infer/transcribe.h"
#include "train/task_signal.h"

static attn_status check(const attn_train_options *o) {
    attn_status status = signal_task_check(o);
    if (!status && o->tokenizer != ATTN_TOKENIZER_SENTENCEPIECE && o->tokenizer != ATTN_TOKENIZER_WHITESPACE) {
        status = fail(ATTN_ERROR_ARGUMENT, "the text of speech is cut by sentencepiece or whitespace: choose one of these tokenizers");
    }
    return status;
}

static attn_status read_sounds(trainer *t) {
    attn_status status = signal_task_read_sounds(t);
    t->train.sounds.stack = t->valid.sounds.stack = t->test.sounds.stack = SIGNAL_FRAMES_A_ROW;
    return status;
}

static attn_status make_tokenizer(trainer *t) {
    const attn_train_options *o = t->options;
    tokenizer_options options;
    tokenizer_options_defaults(&options);
    options.kind = o->tokenizer == ATTN_TOKENIZER_WHITESPACE ? TOKENIZER_WHITESPACE : TOKENIZER_SENTENCEPIECE;
    options.vocabulary_size = (size_t)o->vocabulary;
    options.join_continuation = o->join_continuation != 0;
    trainer_log(t, "learning a vocabulary of at most %d", o->vocabulary);
    return tokenizer_train(t->train.sounds.labels, t->train.sounds.count, NULL, 0, &options, &t->tokenizer);
}

static attn_status append(const trainer *t, const sound_set *set, size_t i, id_buffer *ids) {
    text_line text = set->labels[i], file = set->files[i];
    size_t first = ids->count, most = (size_t)t->options->max_positions;
    attn_status status = tokenizer_encode(t->tokenizer, TOKENIZER_TARGET, text.bytes, text.length, ids);
    status = status ? status : memory_grow(&ids->ids, &ids->capacity, ids->count + 1, sizeof *ids->ids);
    if (status) {
        return status;
    }
    ids->ids[ids->count++] = tokenizer_eos(t->tokenizer);
    return ids->count - first <= most
               ? ATTN_OK
               : fail(ATTN_ERROR_FORMAT, "the text of %.*s has %zu tokens; at most %zu were expected: see max-positions",
                      (int)(file.length < 200 ? file.length : 200), file.bytes, ids->count - first, most);
}

static attn_status encode(trainer *t, split *s, const char *what) {
    const sound_set *set = &s->sounds;
    corpus *c = &s->corpus;
    id_buffer ids = {0};
    c->pairs = set->count;
    c->eos = tokenizer_eos(t->tokenizer);
    c->pad = tokenizer_pad(t->tokenizer);
    c->target_offsets = memory_allocate(set->count + 1, sizeof *c->target_offsets);
    attn_status status = c->target_offsets ? speech_offsets(set, &c->source_offsets) : ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < set->count && !status; i++) {
        status = append(t, set, i, &ids);
        c->target_offsets[i + 1] = ids.count;
    }
    c->target = ids.ids;
    s->features = sound_set_features(set);
    c->features = &s->features;
    if (status) {
        return fail_within(status, "%s set", what);
    }
    trainer_log(t, "%s: %zu tokens of text", what, ids.count);
    return ATTN_OK;
}

static attn_status create(const trainer *t, network_purpose purpose, network *made) {
    const attn_train_options *o = t->options;
    signal_config c;
    signal_model *model;
    attn_status status = signal_task_config(t, SIGNAL_SPEECH, &c);
    c.decoder_layers = o->layers;
    c.vocab_size = (int)tokenizer_vocabulary_size(t->tokenizer);
    c.max_target_positions = o->max_positions;
    c.eos_token_id = tokenizer_eos(t->tokenizer);
    c.pad_token_id = tokenizer_pad(t->tokenizer);
    status = status ? status : signal_new(&c, purpose, &model);
    if (!status) {
        *made = network_of(&signal_speech_kind, model);
    }
    return status;
}

static attn_status measure(trainer *t, const split *s, int full, attn_validation *figures, samples *shown) {
    parameters view = trainer_published(t);
    loss_result sum;
    attn_status status = measure_weights(&view, &t->network, &s->corpus, BATCH_COUNTS_SOURCE, &sum);
    if (status) {
        return status;
    }
    figures->loss = sum.loss / (double)sum.tokens;
    figures->token_accuracy = (double)sum.correct / (double)sum.tokens;
    (void)shown;
    if (!full && t->options->valid_bleu_lines > 0) { /* the end: what the search itself writes */
        attn_model model = {.network = t->network, .translator = translator_of(&t->network), .tokenizer = t->tokenizer};
        attn_translate_options options;
        attn_speech_evaluation e;
        attn_translate_options_defaults(&options);
        model.network.parameters = &view;
        model.translator.parameters = &view;
        status = searcher_new(&model.translator, PRODUCT_F32, &model.searcher);
        status = status ? status : evaluate_speech(&model, &s->sounds, &options, &e);
        searcher_free(model.searcher);
        if (!status) {
            trainer_log(t, "%s: word error rate %.4f, %zu of %zu words", figures->split, e.word_error_rate, e.word_errors, e.words);
        }
    }
    return status;
}

const task task_transcribe = {.name = "speech",
                              .counts = BATCH_COUNTS_SOURCE,
                              .check = check,
                              .read_texts = read_sounds,
                              .make_tokenizer = make_tokenizer,
                              .encode = encode,
                              .create = create,
                              .measure = measure};
