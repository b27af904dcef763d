/* Opening a model folder, and saying what it holds. */
#include "infer/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/file_memory.h"
#include "model/folder.h"
#include "model/safetensors.h"

/* The vocabulary's ids must be rows of the embedding, and the special ids the same. */
static attn_status check_agreement(const attn_model *m) {
    network_limits limits = m->network.kind->limits(m->network.model);
    size_t pieces = tokenizer_vocabulary_size(m->tokenizer);
    if (pieces > (size_t)limits.vocabulary) {
        return fail(ATTN_ERROR_FORMAT, "%s: vocab.json has %zu pieces, the model's vocab_size is %d", m->directory, pieces,
                    limits.vocabulary);
    }
    if (limits.eos != TOKEN_NONE && !tokenizer_takes_lines(m->tokenizer) &&
        tokenizer_eos(m->tokenizer) != limits.eos) {
        return fail(ATTN_ERROR_FORMAT, "%s: </s> is %d in vocab.json, eos_token_id is %d in config.json", m->directory,
                    tokenizer_eos(m->tokenizer), limits.eos);
    }
    return ATTN_OK;
}

/* What the products are computed in. */
static attn_status product_type_of(const char *directory, attn_compute compute, product_type *type) {
    int quantized;
    switch (compute) {
    case ATTN_COMPUTE_F32:
        *type = PRODUCT_F32;
        return ATTN_OK;
    case ATTN_COMPUTE_BF16:
        *type = PRODUCT_BF16;
        return ATTN_OK;
    case ATTN_COMPUTE_INT8:
        *type = PRODUCT_INT8;
        return ATTN_OK;
    case ATTN_COMPUTE_AUTO:
        break;
    }
    attn_status status = folder_is_quantized(directory, &quantized);
    *type = !status && quantized ? PRODUCT_INT8 : PRODUCT_F32;
    return status;
}

attn_status attn_model_load(const char *directory, attn_model **model) {
    return attn_model_load_as(directory, ATTN_COMPUTE_AUTO, model);
}

attn_status attn_model_load_as(const char *directory, attn_compute compute, attn_model **model) {
    product_type type;
    if (!model) {
        return fail(ATTN_ERROR_ARGUMENT, "there is no place for the loaded model: a pointer was expected");
    }
    *model = NULL;
    if (!directory) {
        return fail(ATTN_ERROR_ARGUMENT, "no model folder was given");
    }
    if ((int)compute < ATTN_COMPUTE_AUTO || (int)compute > ATTN_COMPUTE_INT8) {
        return fail(ATTN_ERROR_ARGUMENT, "compute is %d, 0 to %d was expected", (int)compute, ATTN_COMPUTE_INT8);
    }
    attn_model *m = memory_allocate(1, sizeof *m);
    if (!m) {
        return ATTN_ERROR_MEMORY;
    }
    m->directory = memory_copy_string(directory);
    attn_status status = m->directory ? ATTN_OK : ATTN_ERROR_MEMORY;
    status = status ? status : network_load(directory, (network_purpose){0, ELEMENT_F32}, &m->network);
    status = status ? status : tokenizer_load(directory, &m->tokenizer);
    status = status ? status : check_agreement(m);
    if (!status) {
        m->translator = translator_of(&m->network);
    }
    if (!status && m->translator.kind) {
        status = product_type_of(directory, compute, &type);
        status = status ? status : searcher_new(&m->translator, type, &m->searcher);
    } else if (!status && compute != ATTN_COMPUTE_AUTO && compute != ATTN_COMPUTE_F32) {
        status = fail(ATTN_ERROR_UNSUPPORTED, "%s does not translate: its products are f32 alone", directory);
    }
    if (status) {
        attn_model_free(m);
        return status;
    }
    *model = m;
    return ATTN_OK;
}

attn_status attn_model_load_memory(const attn_file *files, size_t count, attn_model **model) {
    if (!model || (count && !files)) {
        return fail(ATTN_ERROR_ARGUMENT, "files and a place for the loaded model were expected");
    }
    *model = NULL;
    memory_file *list = memory_allocate(count, sizeof *list);
    if (!list) {
        return ATTN_ERROR_MEMORY;
    }
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < count && !status; i++) {
        list[i] = (memory_file){files[i].name, files[i].bytes, files[i].size};
        if (!files[i].name || (files[i].size && !files[i].bytes)) {
            status = fail(ATTN_ERROR_ARGUMENT, "file %zu has no name or no bytes", i + 1);
        }
    }
    if (!status) {
        file_memory_open(list, count);
        status = attn_model_load(FILE_MEMORY_FOLDER, model);
        file_memory_close();
    }
    if (!status) {
        (*model)->from_memory = 1;
    }
    memory_free(list);
    return status;
}

attn_status model_check_searcher(const attn_model *model) {
    return model->searcher ? ATTN_OK
                           : fail(ATTN_ERROR_UNSUPPORTED, "%s holds a model that does not translate (its architecture is %s)",
                                  model->directory, model->network.kind->name);
}

void attn_model_free(attn_model *model) {
    if (model) {
        searcher_free(model->searcher);
        tokenizer_free(model->tokenizer);
        network_free(&model->network);
        memory_free(model->directory);
        memory_free(model);
    }
}

/* --- describing ---------------------------------------------------------------- */

static int64_t parameters_under(const parameters *set, const char *prefix) {
    int64_t count = 0;
    for (size_t i = 0; i < set->count; i++) {
        const named_parameter *p = &set->list[i];
        if (strncmp(p->name, prefix, strlen(prefix)) == 0) {
            count += p->where.rows * p->where.columns;
        }
    }
    return count;
}

/* 1234567 as "1,234,567". */
static const char *grouped(int64_t value, char text[32]) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)value), out = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            text[out++] = ',';
        }
        text[out++] = digits[i];
    }
    text[out] = '\0';
    return text;
}

static const char *activation_name(model_activation kind) {
    return kind == MODEL_RELU ? "relu" : kind == MODEL_SWISH ? "swish" : "gelu";
}

/* "0.0050000000000000001 inverse square root" as "0.005 inverse square root". */
static void print_numbers(FILE *out, const char *text) {
    while (*text) {
        char *end;
        double number = strtod(text, &end);
        if (end == text) {
            for (; *text; text++) { /* a file may hold anything, a terminal obeys it */
                (void)fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, out);
            }
            return;
        }
        (void)fprintf(out, "%.10g", number);
        text = end;
        if (*text == ' ') {
            (void)fputc(*text++, out);
        }
    }
}

/* What training left in the weights' metadata. */
static attn_status describe_training(const attn_model *m, FILE *out) {
    if (m->from_memory) {
        (void)fputs("training\n  not kept: the model was opened from memory\n", out);
        return ATTN_OK;
    }
    safetensors *file = NULL;
    char *path = file_join(m->directory, FOLDER_WEIGHTS);
    attn_status status = path ? safetensors_open(path, &file) : ATTN_ERROR_MEMORY;
    memory_free(path);
    if (status) {
        return status;
    }
    static const struct { const char *key, *label; } ROWS[] = {
        {"run.updates", "updates"},
        {"run.epochs", "epochs"},
        {"run.training_pairs", "training pairs"},
        {"run.validation_loss", "validation loss"},
        {"run.validation_accuracy", "validation accuracy"},
        {"run.validation_bleu", "validation BLEU"},
        {"run.averaged_models", "mean of models"},
        {"course.rate", "learning rate"},
        {"course.optimizer", "optimizer"},
        {"course.adam", "Adam: betas, epsilon"},
        {"course.momentum", "momentum"},
        {"course.weight_decay", "weight decay"},
        {"course.label_smoothing", "label smoothing"},
        {"course.batch_tokens", "tokens an update"},
        {"course.clip", "gradient clipped at"},
        {"course.average", "average of weights"},
        {"course.precision", "products in"},
        {"course.seed", "seed"}};
    int any = 0;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        const char *value = safetensors_metadata_value(file, ROWS[i].key);
        if (value) {
            (void)fprintf(out, "%s  %-22s", any ? "" : "training\n", ROWS[i].label);
            print_numbers(out, value);
            (void)fputc('\n', out);
            any = 1;
        }
    }
    if (!any) {
        (void)fputs("training\n  the weights do not say how they were trained\n", out);
    }
    safetensors_close(file);
    return ATTN_OK;
}

static void describe_transformer(const model_config *c, FILE *out) {
    (void)fprintf(out, "  Transformer (MarianMT), encoder and decoder, post-norm, sinusoidal positions\n");
    (void)fprintf(out, "  layers                %d encoder + %d decoder\n", c->encoder_layers, c->decoder_layers);
    (void)fprintf(out, "  width                 %d\n", c->d_model);
    (void)fprintf(out, "  heads                 %d encoder, %d decoder\n", c->encoder_attention_heads,
                  c->decoder_attention_heads);
    (void)fprintf(out, "  feed-forward          %d encoder, %d decoder, %s\n", c->encoder_ffn_dim, c->decoder_ffn_dim,
                  activation_name(c->activation_function));
}

static void describe_recurrent(const model_config *c, FILE *out) {
    (void)fprintf(out, "  recurrent: bidirectional encoder, decoder with attention and input feeding\n");
    (void)fprintf(out, "  layers                %d encoder + %d decoder\n", c->encoder_layers, c->decoder_layers);
    (void)fprintf(out, "  cell, score           %s, %s\n", CELL_NAMES[c->cell], SCORE_NAMES[c->score]);
    (void)fprintf(out, "  width, hidden         %d, %d\n", c->d_model, c->hidden_size);
}

attn_status attn_model_describe(const attn_model *model, FILE *out) {
    if (!model || !out) {
        return fail(ATTN_ERROR_ARGUMENT, "a model and a stream were expected");
    }
    const model_config *c = model->translator.config;
    char a[32], b[32], d[32], e[32];
    (void)fprintf(out, "%s\n\narchitecture\n", model->directory);
    (c->type == MODEL_RECURRENT ? describe_recurrent : describe_transformer)(c, out);
    (void)fprintf(out, "  positions             %d\n", c->max_position_embeddings);
    (void)fprintf(out, "  beams, longest        %d, %d tokens\n", c->num_beams, c->max_length);
    const parameters *all = model->translator.parameters;
    int64_t embedding = (int64_t)c->vocab_size * (c->d_model + 1);
    (void)fprintf(out, "\nparameters\n  all                   %s\n  embedding and bias    %s\n  encoder               %s\n"
                  "  decoder               %s\n",
                  grouped(parameters_count(all), a), grouped(embedding, b),
                  grouped(parameters_under(all, "model.encoder."), d), grouped(parameters_under(all, "model.decoder."), e));
    (void)fprintf(out, "\nvocabulary\n  pieces                %s\n  tokenizer             %s\n",
                  grouped((int64_t)tokenizer_vocabulary_size(model->tokenizer), a),
                  tokenizer_get_kind(model->tokenizer) == TOKENIZER_WHITESPACE ? "whitespace" : "SentencePiece");
    (void)fprintf(out, "  </s>, <unk>, <pad>    %d, %d, %d\n\n", tokenizer_eos(model->tokenizer),
                  tokenizer_unk(model->tokenizer), tokenizer_pad(model->tokenizer));
    attn_status status = describe_training(model, out);
    return status ? status : ferror(out) ? fail(ATTN_ERROR_FILE, "the description could not be written") : ATTN_OK;
}
