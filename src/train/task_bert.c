#include "train/task_bert.h"

#include <string.h>

#include "base/memory.h"
#include "model/folder.h"

attn_status bert_task_check(const attn_train_options *o) {
    if (!o->init && o->tokenizer != ATTN_TOKENIZER_WORDPIECE && o->tokenizer != ATTN_TOKENIZER_WORDS) {
        return fail(ATTN_ERROR_ARGUMENT, "a BERT model cuts text by wordpiece or words: choose one of these tokenizers");
    }
    if (!o->init && o->letters > 0 && o->tokenizer != ATTN_TOKENIZER_WORDS) {
        return fail(ATTN_ERROR_ARGUMENT, "letters are those of whole words: choose the tokenizer words");
    }
    if (o->max_tokens < 3) {
        return fail(ATTN_ERROR_ARGUMENT, "max-tokens is %d; 3 were expected at least: [CLS], a word, [SEP]", o->max_tokens);
    }
    return ATTN_OK;
}

static attn_status labels_of_folder(trainer *t) {
    bert_config saved;
    attn_status status = bert_config_read(t->options->model, &saved);
    if (!status) {
        *t->labels = saved.labels; /* taken over */
    }
    return status;
}

attn_status bert_task_labels(trainer *t, const text_line *labels, size_t count) {
    t->labels = memory_allocate(1, sizeof *t->labels);
    if (!t->labels) {
        return ATTN_ERROR_MEMORY;
    }
    if (t->options->resume && trainer_has_state(t->options->model)) {
        return labels_of_folder(t);
    }
    attn_status status = vocabulary_build_labels(labels, count, t->labels);
    if (!status && t->labels->size < 2) {
        status = fail(ATTN_ERROR_FORMAT, "the training text has one label, \"%.*s\"; two were expected at least",
                      (int)(labels[0].length < 60 ? labels[0].length : 60), labels[0].bytes);
    }
    if (!status) {
        trainer_log(t, "train: %zu labels", t->labels->size);
    }
    return status;
}

attn_status bert_task_tokenizer(trainer *t, const text_line *lines, size_t count) {
    const attn_train_options *o = t->options;
    tokenizer_options options;
    tokenizer_options_defaults(&options);
    options.kind = TOKENIZER_WORDPIECE;
    options.whole_words = o->tokenizer == ATTN_TOKENIZER_WORDS;
    options.vocabulary_size = (size_t)o->vocabulary;
    trainer_log(t, "learning a vocabulary of at most %d", o->vocabulary);
    return tokenizer_train(lines, count, NULL, 0, &options, &t->tokenizer);
}

static attn_status append(id_buffer *ids, int32_t id) {
    attn_status status = memory_grow(&ids->ids, &ids->capacity, ids->count + 1, sizeof *ids->ids);
    if (!status) {
        ids->ids[ids->count++] = id;
    }
    return status;
}

/* Where a model with letters keeps the words outside its vocabulary. */
static attn_status prepare_spelling(trainer *t) {
    const attn_train_options *o = t->options;
    int letters = o->letters, pieces = (int)tokenizer_vocabulary_size(t->tokenizer);
    attn_status status = ATTN_OK;
    if (o->init) {
        bert_config saved;
        status = bert_config_read(o->resume && trainer_has_state(o->model) ? o->model : o->init, &saved);
        letters = saved.letters;
        pieces = saved.vocab_size;
        bert_config_release(&saved);
    }
    if (status || letters == 0 || t->spelled) {
        return status;
    }
    t->spelled = memory_allocate(1, sizeof *t->spelled);
    if (!t->spelled) {
        return ATTN_ERROR_MEMORY;
    }
    *t->spelled = (spelling){.buckets = letters, .first = pieces};
    return ATTN_OK;
}

attn_status bert_task_encode(trainer *t, const text_line *lines, size_t count, corpus *encoded, const char *what) {
    size_t cut = 0, longest = (size_t)t->options->max_tokens, unknown = 0;
    if (tokenizer_cls(t->tokenizer) < 0) {
        return fail(ATTN_ERROR_FORMAT, "the model's tokenizer has no [CLS]: it is none of a BERT model");
    }
    attn_status status = prepare_spelling(t);
    if (status) {
        return status;
    }
    id_buffer ids = {.unknown = t->spelled};
    *encoded = (corpus){.pairs = count, .eos = tokenizer_eos(t->tokenizer), .pad = tokenizer_pad(t->tokenizer)};
    encoded->source_offsets = memory_allocate(count + 1, sizeof *encoded->source_offsets);
    encoded->target_offsets = memory_allocate(count + 1, sizeof *encoded->target_offsets);
    encoded->target = memory_allocate(count, sizeof *encoded->target);
    encoded->line = memory_allocate(count, sizeof *encoded->line);
    status = encoded->source_offsets && encoded->target_offsets && encoded->target && encoded->line
                             ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < count && !status; i++) {
        size_t first = ids.count;
        status = append(&ids, tokenizer_cls(t->tokenizer));
        status = status ? status : tokenizer_encode(t->tokenizer, TOKENIZER_SOURCE, lines[i].bytes, lines[i].length, &ids);
        if (!status && ids.count - first > longest - 1) {
            ids.count = first + longest - 1;
            cut++;
        }
        status = status ? status : append(&ids, encoded->eos);
        if (!status) {
            encoded->line[i] = (uint32_t)i;
            encoded->source_offsets[i + 1] = ids.count;
            encoded->target_offsets[i + 1] = i + 1;
        }
    }
    encoded->source = ids.ids;
    for (size_t i = 0; i < ids.count; i++) {
        unknown += ids.ids[i] == tokenizer_unk(t->tokenizer) || (t->spelled && ids.ids[i] >= t->spelled->first);
    }
    encoded->unknown_source = unknown;
    if (!status) {
        trainer_log(t, "%s: %zu tokens, %zu unknown", what, ids.count, unknown);
    }
    if (!status && cut) {
        trainer_log(t, "%s: %zu texts are longer than %zu tokens and were cut", what, cut, longest);
    }
    return status;
}

static attn_status activation_of(const char *name, model_activation *kind) {
    *kind = strcmp(name, "swish") == 0 ? MODEL_SWISH : strcmp(name, "gelu") == 0 ? MODEL_GELU : MODEL_RELU;
    return *kind != MODEL_RELU || strcmp(name, "relu") == 0
               ? ATTN_OK
               : fail(ATTN_ERROR_ARGUMENT, "activation is %s; relu, swish or gelu was expected", name);
}

attn_status bert_task_config(const trainer *t, bert_head head, bert_config *config) {
    const attn_train_options *o = t->options;
    *config = (bert_config){.vocab_size = (int)tokenizer_vocabulary_size(t->tokenizer),
                            .hidden_size = o->width,
                            .layers = o->layers,
                            .heads = o->heads,
                            .intermediate_size = o->feed_forward,
                            .max_position_embeddings = o->max_positions,
                            .type_vocab_size = 2,
                            .hidden_dropout = o->dropout,
                            .attention_dropout = o->attention_dropout,
                            .layer_norm_epsilon = 1e-12,
                            .pad_token_id = tokenizer_pad(t->tokenizer),
                            .cls_token_id = TOKEN_NONE,
                            .sep_token_id = TOKEN_NONE,
                            .unk_token_id = TOKEN_NONE,
                            .mask_token_id = TOKEN_NONE,
                            .convolution = o->convolution,
                            .letters = o->letters,
                            .head = head};
    if (head == BERT_CLASSIFY) {
        config->pooling = o->pooling == ATTN_POOLING_CLS ? BERT_POOL_CLS : BERT_POOL_ATTENTION;
        config->labels = *t->labels;
    }
    attn_status status = attention_span_parse(o->attention, "attention", &config->span);
    return status ? status : activation_of(o->activation, &config->hidden_act);
}

attn_status bert_task_open(const trainer *t, const bert_config *config, network_purpose purpose, network *made) {
    bert *model;
    attn_status status = bert_new(config, purpose, &model);
    if (!status) {
        bert_set_tokens(model, t->tokenizer);
        status = bert_spell(model, t->tokenizer);
        if (status) {
            bert_free(model);
        }
    }
    if (!status) {
        model->more = t->spelled;
        model->noise = (bert_noise){(float)t->options->word_dropout, (float)t->options->r_drop,
                                    (float)t->options->mask_share};
        *made = network_of(&bert_kind, model);
    }
    return status;
}

attn_status bert_task_fits(const trainer *t, const bert_config *config, const char *directory) {
    size_t pieces = tokenizer_vocabulary_size(t->tokenizer);
    if (pieces > (size_t)config->vocab_size) {
        return fail(ATTN_ERROR_FORMAT, "%s: the vocabulary has %zu pieces, config.json says vocab_size %d", directory,
                    pieces, config->vocab_size);
    }
    if (t->options->max_tokens > config->max_position_embeddings) {
        return fail(ATTN_ERROR_ARGUMENT, "max-tokens is %d; at most the %d positions of %s were expected",
                    t->options->max_tokens, config->max_position_embeddings, directory);
    }
    return ATTN_OK;
}
