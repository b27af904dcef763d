/* The beginning of a run: its folder, its texts, its model fresh, fine-tuned or resumed. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/folder.h"
#include "train/trainer.h"

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

/* --- the vocabulary and the shape ------------------------------------------------ */

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

static attn_status model_config_of(const attn_train_options *o, const tokenizer *vocabulary, model_config *config) {
    model_config_defaults(config, (int)tokenizer_vocabulary_size(vocabulary));
    config->d_model = o->width;
    config->encoder_layers = config->decoder_layers = o->layers;
    config->encoder_attention_heads = config->decoder_attention_heads = o->heads;
    config->encoder_ffn_dim = config->decoder_ffn_dim = o->feed_forward;
    config->dropout = o->dropout;
    config->attention_dropout = o->attention_dropout;
    config->activation_dropout = 0;
    config->max_position_embeddings = o->max_positions;
    config->eos_token_id = tokenizer_eos(vocabulary);
    config->pad_token_id = config->decoder_start_token_id = tokenizer_pad(vocabulary);
    config->max_length = o->max_positions;
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

/* The shape of the model that the run begins with; what is drawn at random while
 * training is this run's. */
static attn_status config_of_folder(const trainer *t, const char *directory, model_config *config) {
    const attn_train_options *o = t->options;
    attn_status status = folder_read_config(directory, config);
    if (status) {
        return status;
    }
    config->dropout = o->dropout;
    config->attention_dropout = o->attention_dropout;
    config->activation_dropout = 0;
    size_t pieces = tokenizer_vocabulary_size(t->tokenizer);
    if (pieces > (size_t)config->vocab_size || tokenizer_eos(t->tokenizer) != config->eos_token_id) {
        return fail(ATTN_ERROR_FORMAT, "%s: the vocabulary (%zu pieces, </s> is %d) is not that of config.json (%d, %d)",
                    directory, pieces, tokenizer_eos(t->tokenizer), config->vocab_size, config->eos_token_id);
    }
    if (o->max_tokens > config->max_position_embeddings) {
        return fail(ATTN_ERROR_ARGUMENT, "max-tokens is %d; at most the %d positions of %s were expected", o->max_tokens,
                    config->max_position_embeddings, directory);
    }
    return ATTN_OK;
}

static attn_status choose_config(const trainer *t, int resumes, model_config *config) {
    const attn_train_options *o = t->options;
    if (o->init) {
        return config_of_folder(t, resumes ? o->model : o->init, config);
    }
    attn_status status = model_config_of(o, t->tokenizer, config);
    if (!status && resumes) {
        model_config saved;
        status = folder_read_config(o->model, &saved);
        if (!status && !model_config_equal(&saved, config)) {
            status = fail(ATTN_ERROR_ARGUMENT, "%s holds a model of another shape than the options say", o->model);
        }
    }
    return status;
}

static attn_status choose_tokenizer(trainer *t, int resumes) {
    const attn_train_options *o = t->options;
    return resumes ? tokenizer_load(o->model, &t->tokenizer)
           : o->init ? tokenizer_load(o->init, &t->tokenizer) : make_tokenizer(t);
}

/* --- the weights ----------------------------------------------------------------- */

static attn_status first_weights(trainer *t) {
    const attn_train_options *o = t->options;
    transformer_initialize(t->model, o->seed);
    if (!o->init) {
        return ATTN_OK;
    }
    folder_tensor *tensors = transformer_tensors(t->model, t->model->parameters.values);
    attn_status status = tensors ? folder_read_weights(o->init, tensors, t->model->parameters.count) : ATTN_ERROR_MEMORY;
    memory_free(tensors);
    parameters_update_copies(&t->model->parameters);
    return status;
}

static attn_status make_model(trainer *t, const model_config *config, int resumes) {
    const attn_train_options *o = t->options;
    element_type type = o->precision == ATTN_PRECISION_AUTO ? transformer_best_type()
                        : o->precision == ATTN_PRECISION_BF16 ? ELEMENT_BF16 : ELEMENT_F32;
    if (type == ELEMENT_BF16 && transformer_best_type() != ELEMENT_BF16) {
        return fail(ATTN_ERROR_UNSUPPORTED, "this processor does not multiply bf16; use f32");
    }
    attn_status status = transformer_new(config, (transformer_purpose){1, type}, &t->model);
    status = status ? status : gradient_step_open(t->model, &t->step);
    if (!status && !resumes) {
        status = first_weights(t);
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
    return status ? status : optimizer_open(&t->optimizer, &t->model->parameters, &settings);
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
    int resumes = o->resume && trainer_has_state(o->model);
    status = resumes ? ATTN_OK : check_fresh(o);
    status = status ? status : trainer_read_texts(t);
    status = status ? status : check_validation(t);
    status = status ? status : choose_tokenizer(t, resumes);
    status = status ? status : trainer_encode_texts(t);
    model_config config;
    status = status ? status : choose_config(t, resumes, &config);
    status = status ? status : make_model(t, &config, resumes);
    batch_options batches = {(size_t)o->batch_tokens, true, o->seed};
    status = status ? status : batcher_new(&t->train.corpus, &batches, &t->batcher);
    status = status ? status : set_schedule(t);
    if (!status && resumes) {
        status = trainer_resume(t);
    } else if (!status) {
        status = folder_write_config(o->model, &config);
        status = status ? status : tokenizer_save(t->tokenizer, o->model);
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
    transformer_free(t->model);
    tokenizer_free(t->tokenizer);
    split_release(&t->train);
    split_release(&t->valid);
    split_release(&t->test);
    memory_free(t->history);
}
