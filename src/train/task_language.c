/* Language modelling: one plain text, cut into blocks; each token is foretold from those before
 * it in its block. Measured by loss, token accuracy and bits a byte of the text. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "data/plain_text.h"
#include "infer/measure.h"
#include "model/language_model.h"
#include "train/task.h"

static attn_status check(const attn_train_options *o) {
    if (!o->corpus || o->source || o->target || o->valid_source || o->valid_target || o->test_source || o->test_target) {
        return fail(ATTN_ERROR_ARGUMENT, "a language model is trained on plain text: corpus, and valid-corpus and "
                    "test-corpus, were expected, no source and target");
    }
    if (o->architecture != ATTN_ARCHITECTURE_TRANSFORMER) {
        return fail(ATTN_ERROR_ARGUMENT, "the architecture of a language model is the transformer; no other is built");
    }
    if (o->freeze && *o->freeze) {
        return fail(ATTN_ERROR_ARGUMENT, "freeze names parts of a translator; a language model has none of them");
    }
    if (o->watch == ATTN_WATCH_BLEU || o->watch == ATTN_WATCH_CHRF) {
        return fail(ATTN_ERROR_ARGUMENT, "watch is %s; a language model is watched by its loss or accuracy",
                    watch_name(o->watch));
    }
    if (!o->init && o->block > o->max_positions) {
        return fail(ATTN_ERROR_ARGUMENT, "block is %d; at most the %d of max-positions were expected", o->block,
                    o->max_positions);
    }
    if (!o->init && o->kv_heads > 0 && (o->family == ATTN_FAMILY_GPT2 || o->heads % o->kv_heads)) {
        return fail(ATTN_ERROR_ARGUMENT, "kv-heads is %d; a divisor of the %d heads, in the llama family, was expected",
                    o->kv_heads, o->heads);
    }
    return ATTN_OK;
}

/* --- the texts ------------------------------------------------------------------------ */

static attn_status read_split(const trainer *t, const char *path, split *s, const char *what) {
    attn_status status = path ? plain_text_read(path, &s->owned, &s->plain) : ATTN_OK;
    if (path && !status) {
        s->present = 1;
        trainer_log(t, "%s: %zu bytes", what, s->plain.length);
    }
    return status;
}

/* The last share of the text, in characters. */
static void hold_out(trainer *t) {
    text_line *all = &t->train.plain, *held = &t->valid.plain;
    size_t characters = 0, at = 0;
    for (size_t i = 0; i < all->length; i++) {
        characters += ((unsigned char)all->bytes[i] & 0xC0) != 0x80;
    }
    size_t kept = (size_t)((double)characters * (1 - t->options->valid_share));
    for (size_t seen = 0; at < all->length; at++) {
        seen += ((unsigned char)all->bytes[at] & 0xC0) != 0x80;
        if (seen > kept) {
            break;
        }
    }
    *held = (text_line){all->bytes + at, all->length - at};
    all->length = at;
    t->valid.present = held->length > 0;
    trainer_log(t, "validation: the last %zu bytes of the text", held->length);
}

static attn_status read_texts(trainer *t) {
    const attn_train_options *o = t->options;
    attn_status status = read_split(t, o->corpus, &t->train, "train");
    status = status ? status : read_split(t, o->valid_corpus, &t->valid, "validation");
    status = status ? status : read_split(t, o->test_corpus, &t->test, "test");
    if (!status && !t->valid.present && o->valid_share > 0) {
        hold_out(t);
    }
    return status;
}

/* The tokenizer sees lines, as it does in translating; characters also what ends them. */
static attn_status make_tokenizer(trainer *t) {
    const attn_train_options *o = t->options;
    tokenizer_options options;
    tokenizer_options_defaults(&options);
    options.kind = o->tokenizer == ATTN_TOKENIZER_WHITESPACE   ? TOKENIZER_WHITESPACE
                   : o->tokenizer == ATTN_TOKENIZER_CHARACTERS ? TOKENIZER_CHARACTERS : TOKENIZER_SENTENCEPIECE;
    options.vocabulary_size = (size_t)o->vocabulary;
    options.join_continuation = o->join_continuation != 0;
    if (options.kind == TOKENIZER_CHARACTERS) {
        return tokenizer_train(&t->train.plain, 1, NULL, 0, &options, &t->tokenizer);
    }
    trainer_log(t, "learning a vocabulary of at most %d", o->vocabulary);
    text_lines lines;
    text_options reading;
    text_options_defaults(&reading);
    attn_status status = text_lines_parse(t->train.plain.bytes, t->train.plain.length, "the text", &reading, &lines);
    status = status ? status : tokenizer_train(lines.lines, lines.count, NULL, 0, &options, &t->tokenizer);
    text_lines_release(&lines);
    return status;
}

static attn_status encode(trainer *t, split *s, const char *what) {
    id_buffer ids = {0};
    attn_status status = plain_text_encode(t->tokenizer, s->plain, &ids);
    status = status ? (id_buffer_release(&ids), status)
                    : corpus_stream(ids.ids, ids.count, (size_t)t->options->block, &s->corpus);
    if (status) {
        return fail_within(status, "%s text", what);
    }
    trainer_log(t, "%s: %zu tokens", what, s->corpus.stream_tokens);
    return ATTN_OK;
}

/* --- the model ------------------------------------------------------------------------- */

static attn_status create(const trainer *t, network_purpose purpose, network *made) {
    const attn_train_options *o = t->options;
    int gpt2 = o->family == ATTN_FAMILY_GPT2;
    language_config c = {.family = gpt2 ? LANGUAGE_GPT2 : LANGUAGE_LLAMA,
                         .vocab_size = (int)tokenizer_vocabulary_size(t->tokenizer),
                         .width = o->width,
                         .layers = o->layers,
                         .heads = o->heads,
                         .kv_heads = o->kv_heads ? o->kv_heads : o->heads,
                         .head_dim = o->width / o->heads,
                         .hidden = o->feed_forward,
                         .positions = o->max_positions,
                         .norm_epsilon = gpt2 ? 1e-5 : 1e-6,
                         .rope_theta = 10000,
                         .tied = 1,
                         .dropout = o->dropout,
                         .attention_dropout = o->attention_dropout,
                         .bos = TOKEN_NONE,
                         .eos = tokenizer_eos(t->tokenizer),
                         .pad = tokenizer_pad(t->tokenizer)};
    static const struct {
        const char *name;
        activation kind;
    } KINDS[] = {{"relu", ACTIVATION_RELU}, {"swish", ACTIVATION_SWISH}, {"gelu", ACTIVATION_GELU_TANH}};
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        c.kind = strcmp(o->activation, KINDS[i].name) == 0 ? KINDS[i].kind : c.kind;
    }
    if (c.kind == ACTIVATION_NONE) {
        return fail(ATTN_ERROR_ARGUMENT, "activation is %s; relu, swish or gelu was expected", o->activation);
    }
    language_model *model;
    attn_status status = attention_span_parse(o->attention, "attention", &c.span);
    status = status ? status : language_model_new(&c, purpose, &model);
    if (!status) {
        *made = network_of(language_kind(c.family), model);
    }
    return status;
}

/* --- how good it is ---------------------------------------------------------------------- */

static attn_status measure(trainer *t, const split *s, int full, attn_validation *figures, samples *shown) {
    parameters weights = trainer_published(t);
    loss_result sum;
    (void)full;
    (void)shown;
    attn_status status = measure_weights(&weights, &t->network, &s->corpus, BATCH_COUNTS_TARGET, &sum);
    if (!status) {
        figures->loss = sum.loss / (double)sum.tokens;
        figures->token_accuracy = (double)sum.correct / (double)sum.tokens;
        figures->metrics[figures->metric_count++] =
            (attn_metric){"bits_per_byte", sum.loss / log(2.0) / (double)s->plain.length};
    }
    return status;
}

const task task_language = {.name = "language",
                            .counts = BATCH_COUNTS_TARGET,
                            .check = check,
                            .read_texts = read_texts,
                            .make_tokenizer = make_tokenizer,
                            .encode = encode,
                            .create = create,
                            .measure = measure};
