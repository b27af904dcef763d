/* Translating, or any sequence to any other: pairs of lines, a joint vocabulary, measured by
 * loss, token accuracy, and BLEU and chrF of the translations. */
#include <string.h>

#include "base/memory.h"
#include "infer/evaluate.h"
#include "model/recurrent.h"
#include "model/transformer.h"
#include "train/task.h"

/* --- the texts -------------------------------------------------------------------- */

static attn_status read_texts(trainer *t) {
    const attn_train_options *o = t->options;
    if (!o->corpus && !o->source && !o->target) {
        return fail(ATTN_ERROR_ARGUMENT, "no training text: give a source and a target file, or a TSV of pairs");
    }
    attn_status status = trainer_read_pairs(t, o->source, o->target, o->corpus, &t->train, "train");
    status = status ? status : trainer_read_pairs(t, o->valid_source, o->valid_target, o->valid_corpus, &t->valid, "validation");
    status = status ? status : trainer_read_pairs(t, o->test_source, o->test_target, o->test_corpus, &t->test, "test");
    size_t count = status || t->valid.present ? 0 : held_out_count(o, t->train.text.pairs);
    return count > 0 ? trainer_hold_out_pairs(t, count) : status;
}

static attn_status encode(trainer *t, split *s, const char *what) {
    corpus_options options;
    corpus_options_defaults(&options);
    options.max_source_tokens = options.max_target_tokens = (size_t)t->options->max_tokens;
    attn_status status = corpus_encode(&s->text, t->tokenizer, &options, &s->corpus);
    if (status) {
        return fail_within(status, "%s text", what);
    }
    const corpus *c = &s->corpus;
    trainer_log(t, "%s: %zu source and %zu target tokens%s", what, c->source_offsets[c->pairs], c->target_offsets[c->pairs],
                "");
    if (c->skipped_long) {
        trainer_log(t, "%s: left out %zu pairs longer than %d tokens", what, c->skipped_long, t->options->max_tokens);
    }
    return ATTN_OK;
}

/* --- the model --------------------------------------------------------------------- */

static attn_status make_tokenizer(trainer *t) {
    const attn_train_options *o = t->options;
    tokenizer_options options;
    tokenizer_options_defaults(&options);
    options.kind = o->tokenizer == ATTN_TOKENIZER_WHITESPACE ? TOKENIZER_WHITESPACE : TOKENIZER_SENTENCEPIECE;
    options.vocabulary_size = (size_t)o->vocabulary;
    options.join_continuation = o->join_continuation != 0;
    trainer_log(t, "learning a joint vocabulary of at most %d", o->vocabulary);
    const parallel_text *text = &t->train.text;
    return tokenizer_train(text->source, text->pairs, text->target, text->pairs, &options, &t->tokenizer);
}

/* What every architecture has. */
static void set_common(const attn_train_options *o, const tokenizer *pieces, model_config *config) {
    config->d_model = o->width;
    config->encoder_layers = config->decoder_layers = o->layers;
    config->dropout = o->dropout;
    config->max_position_embeddings = o->max_positions;
    config->eos_token_id = tokenizer_eos(pieces);
    config->pad_token_id = config->decoder_start_token_id = tokenizer_pad(pieces);
    config->max_length = o->max_positions;
}

static attn_status transformer_config_of(const attn_train_options *o, const tokenizer *pieces, model_config *config) {
    model_config_defaults(config, (int)tokenizer_vocabulary_size(pieces));
    set_common(o, pieces, config);
    config->encoder_attention_heads = config->decoder_attention_heads = o->heads;
    config->encoder_ffn_dim = config->decoder_ffn_dim = o->feed_forward;
    config->attention_dropout = o->attention_dropout;
    config->activation_dropout = 0;
    if (strcmp(o->activation, "relu") == 0) {
        config->activation_function = MODEL_RELU;
    } else if (strcmp(o->activation, "swish") == 0) {
        config->activation_function = MODEL_SWISH;
    } else if (strcmp(o->activation, "gelu") == 0) {
        config->activation_function = MODEL_GELU;
    } else {
        return fail(ATTN_ERROR_ARGUMENT, "activation is %s; relu, swish or gelu was expected", o->activation);
    }
    return model_config_check(config, "the model's settings");
}

static attn_status create_recurrent(const trainer *t, network_purpose purpose, network *made) {
    const attn_train_options *o = t->options;
    model_config config;
    recurrent *model;
    model_config_recurrent(&config, (int)tokenizer_vocabulary_size(t->tokenizer));
    set_common(o, t->tokenizer, &config);
    config.hidden_size = o->hidden;
    config.cell = o->cell == ATTN_CELL_LSTM ? CELL_LSTM : CELL_GRU;
    config.score = o->score == ATTN_RECURRENT_SCORE_DOT       ? SCORE_DOT
                   : o->score == ATTN_RECURRENT_SCORE_GENERAL ? SCORE_GENERAL
                                                          : SCORE_ADDITIVE;
    attn_status status = model_config_check(&config, "the model's settings");
    status = status ? status : recurrent_new(&config, purpose, &model);
    if (!status) {
        *made = network_of(&recurrent_kind, model);
    }
    return status;
}

static attn_status create(const trainer *t, network_purpose purpose, network *made) {
    model_config config;
    transformer *model;
    if (t->options->architecture == ATTN_ARCHITECTURE_RECURRENT) {
        return create_recurrent(t, purpose, made);
    }
    attn_status status = transformer_config_of(t->options, t->tokenizer, &config);
    status = status ? status : transformer_new(&config, purpose, &model);
    if (!status) {
        *made = network_of(&transformer_kind, model);
    }
    return status;
}

/* --- how good it is ----------------------------------------------------------------- */

static attn_evaluate_options evaluating(const trainer *t) {
    attn_evaluate_options options;
    attn_evaluate_options_defaults(&options);
    options.translate.beam = 1;
    options.tokenizer = tokenizer_get_kind(t->tokenizer) == TOKENIZER_WHITESPACE ? ATTN_BLEU_NONE : ATTN_BLEU_13A;
    return options;
}

/* BLEU and chrF of the split's beginning. */
static attn_status measure_translations(const trainer *t, const attn_model *model, const split *s,
                                        attn_validation *figures) {
    attn_evaluation evaluation = {.bleu = -1, .chrf = -1};
    attn_evaluate_options options = evaluating(t);
    size_t lines = (size_t)t->options->valid_bleu_lines;
    parallel_text beginning = s->text; /* borrows the lines */
    beginning.pairs = beginning.pairs > lines ? lines : beginning.pairs;
    attn_status status =
        beginning.pairs > 0 ? evaluate_translations(model, &beginning, &options, &evaluation) : ATTN_OK;
    figures->bleu = evaluation.bleu;
    figures->chrf = evaluation.chrf;
    return status;
}

/* Translations of the split's first lines. */
static attn_status make_samples(const trainer *t, const attn_model *model, const split *s, samples *shown) {
    attn_evaluate_options options = evaluating(t);
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < SAMPLES && i < s->text.pairs && !status; i++) {
        const text_line *line = &s->text.source[i], *expected = &s->text.target[i];
        char *source = memory_copy_bytes(line->bytes, line->length);
        char *reference = memory_copy_bytes(expected->bytes, expected->length);
        const char *const sources[] = {source};
        attn_translation *translation = NULL;
        status = source && reference ? attn_translate(model, sources, 1, &options.translate, &translation)
                                     : ATTN_ERROR_MEMORY;
        status = status ? status : samples_add(shown, source, reference, attn_translation_text(translation, 0));
        attn_translation_free(translation);
        memory_free(source);
        memory_free(reference);
    }
    return status;
}

static attn_status measure(trainer *t, const split *s, int full, attn_validation *figures, samples *shown) {
    parameters view = trainer_published(t);
    attn_model model = {.network = t->network, .translator = translator_of(&t->network), .tokenizer = t->tokenizer};
    model.network.parameters = &view;
    model.translator.parameters = &view;
    attn_evaluation evaluation;
    attn_status status = searcher_new(&model.translator, PRODUCT_F32, &model.searcher);
    status = status ? status : evaluate_loss(&model, &s->corpus, &evaluation);
    if (!status) {
        figures->loss = evaluation.loss;
        figures->token_accuracy = evaluation.token_accuracy;
    }
    if (!status && full && t->options->valid_bleu_lines > 0) {
        status = measure_translations(t, &model, s, figures);
        status = status ? status : make_samples(t, &model, s, shown);
    }
    if (!status && full) {
        board_draw_attention(t->board, figures->update, &model, &s->text, &s->corpus);
    }
    searcher_free(model.searcher);
    return status;
}

const task task_translate = {.name = "translate",
                             .counts = BATCH_COUNTS_TARGET,
                             .read_texts = read_texts,
                             .make_tokenizer = make_tokenizer,
                             .encode = encode,
                             .create = create,
                             .measure = measure};
