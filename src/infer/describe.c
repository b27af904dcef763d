/* What a model folder holds, as text for a person. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "infer/model.h"
#include "model/bert.h"
#include "model/folder.h"
#include "model/kept_heads.h"
#include "model/safetensors.h"
#include "model/signal_model.h"

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
        {"run.heads", "heads, after pruning"},
        {"run.sparsity", "weights that are 0"},
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

static void describe_span(attention_span span, FILE *out) {
    char text[ATTENTION_SPAN_TEXT];
    (void)fprintf(out, "  attention             %s\n", attention_span_print(span, text));
}

/* --- architectures --------------------------------------------------------------- */

/* The heads of each layer that pruning left. */
static void describe_kept(const model_config *c, const char *name, model_attention kind, FILE *out) {
    (void)fprintf(out, "    kept, %-15s", name);
    for (int layer = 0; layer < model_config_layers(c, kind); layer++) {
        (void)fprintf(out, " %d", model_config_heads(c, kind, layer));
    }
    (void)fputc('\n', out);
}

static void describe_transformer(const model_config *c, FILE *out) {
    (void)fprintf(out, "  Transformer (MarianMT), encoder and decoder, post-norm, sinusoidal positions\n");
    (void)fprintf(out, "  layers                %d encoder + %d decoder\n", c->encoder_layers, c->decoder_layers);
    (void)fprintf(out, "  width                 %d\n", c->d_model);
    (void)fprintf(out, "  heads                 %d encoder, %d decoder\n", c->encoder_attention_heads,
                  c->decoder_attention_heads);
    if (kept_heads_pruned(c)) {
        describe_kept(c, "encoder self", MODEL_ENCODER_SELF, out);
        describe_kept(c, "decoder self", MODEL_DECODER_SELF, out);
        describe_kept(c, "cross", MODEL_DECODER_CROSS, out);
    }
    (void)fprintf(out, "  feed-forward          %d encoder, %d decoder, %s\n", c->encoder_ffn_dim, c->decoder_ffn_dim,
                  activation_name(c->activation_function));
}

static void describe_recurrent(const model_config *c, FILE *out) {
    (void)fprintf(out, "  recurrent: bidirectional encoder, decoder with attention and input feeding\n");
    (void)fprintf(out, "  layers                %d encoder + %d decoder\n", c->encoder_layers, c->decoder_layers);
    (void)fprintf(out, "  cell, score           %s, %s\n", CELL_NAMES[c->cell], SCORE_NAMES[c->score]);
    (void)fprintf(out, "  width, hidden         %d, %d\n", c->d_model, c->hidden_size);
}

static void describe_translator(const attn_model *model, FILE *out) {
    const model_config *c = model->translator.config;
    const parameters *all = model->translator.parameters;
    char a[32], b[32], d[32], e[32];
    (c->type == MODEL_RECURRENT ? describe_recurrent : describe_transformer)(c, out);
    (void)fprintf(out, "  positions             %d\n", c->max_position_embeddings);
    (void)fprintf(out, "  beams, longest        %d, %d tokens\n", c->num_beams, c->max_length);
    (void)fprintf(out, "\nparameters\n  all                   %s\n  embedding and bias    %s\n  encoder               %s\n"
                  "  decoder               %s\n",
                  grouped(parameters_count(all), a), grouped((int64_t)c->vocab_size * (c->d_model + 1), b),
                  grouped(parameters_under(all, "model.encoder."), d), grouped(parameters_under(all, "model.decoder."), e));
}

static void describe_language(const attn_model *model, FILE *out) {
    const language_config *c = &((const language_model *)model->network.model)->config;
    int gpt2 = c->family == LANGUAGE_GPT2;
    (void)fprintf(out, "  language model (%s): decoder, pre-norm, %s positions, %s\n", gpt2 ? "GPT-2" : "Llama",
                  gpt2 ? "learned" : "rotary", gpt2 ? "LayerNorm" : "RMSNorm, SwiGLU");
    (void)fprintf(out, "  layers                %d\n  width                 %d\n", c->layers, c->width);
    (void)fprintf(out, "  heads                 %d, %d of keys and values, %d wide\n", c->heads, c->kv_heads, c->head_dim);
    (void)fprintf(out, "  feed-forward          %d\n  positions             %d\n", c->hidden, c->positions);
    describe_span(c->span, out);
}

static void describe_bert(const attn_model *model, FILE *out) {
    const bert_config *c = &((const bert *)model->network.model)->config;
    (void)fprintf(out, "  %s (BERT): encoder, post-norm, learned positions%s\n",
                  c->head == BERT_CLASSIFY ? "classifier" : "model of hidden words",
                  c->head != BERT_CLASSIFY ? "" : c->pooling == BERT_POOL_ATTENTION ? ", pooled by attention" : ", read from [CLS]");
    (void)fprintf(out, "  layers                %d\n  width                 %d\n  heads                 %d\n", c->layers,
                  c->hidden_size, c->heads);
    (void)fprintf(out, "  feed-forward          %d, %s\n  positions             %d\n", c->intermediate_size,
                  activation_name(c->hidden_act), c->max_position_embeddings);
    describe_span(c->span, out);
    if (c->convolution > 0) {
        (void)fprintf(out, "  convolution           %d words\n", c->convolution);
    }
    if (c->letters > 0) {
        (void)fprintf(out, "  letters               %d numbers\n", c->letters);
    }
    for (size_t k = 0; k < c->labels.size; k++) {
        (void)fprintf(out, "  label %-16zu%s\n", k, vocabulary_piece(&c->labels, k).bytes);
    }
}

static void describe_signal(const attn_model *model, FILE *out) {
    const signal_config *c = &((const signal_model *)model->network.model)->config;
    (void)fprintf(out, "  %s: encoder, pre-norm\n", model->network.kind->name);
    (void)fprintf(out, "  layers                %d\n  width                 %d\n  heads                 %d\n", c->num_hidden_layers,
                  c->hidden_size, c->num_attention_heads);
    (void)fprintf(out, "  feed-forward          %d\n", c->intermediate_size);
    if (c->kind == SIGNAL_SPEECH) {
        (void)fprintf(out, "  decoder layers        %d, post-norm\n  positions             %d\n", c->decoder_layers,
                      c->max_target_positions);
    }
    if (c->kind == SIGNAL_PICTURE) {
        (void)fprintf(out, "  pictures              %d x %d, %s, patches of %d x %d\n", c->image_size, c->image_size,
                      c->num_channels == 3 ? "colour" : "grey", c->patch_size, c->patch_size);
    } else {
        (void)fprintf(out, "  sounds                %d Hz, %d mel bins, a frame each %g ms, at most %d\n", c->rate, c->bins,
                      1000.0 * c->hop / c->rate, c->max_frames);
    }
    for (size_t k = 0; k < c->labels.size; k++) {
        (void)fprintf(out, "  label %-16zu%s\n", k, vocabulary_piece(&c->labels, k).bytes);
    }
}

static void describe_vocabulary(const tokenizer *t, FILE *out) {
    static const char *const KINDS[] = {[TOKENIZER_SENTENCEPIECE] = "SentencePiece",
                                        [TOKENIZER_WHITESPACE] = "whitespace",
                                        [TOKENIZER_WORDPIECE] = "WordPiece",
                                        [TOKENIZER_CHARACTERS] = "characters",
                                        [TOKENIZER_BPE] = "byte-level BPE"};
    char a[32];
    (void)fprintf(out, "\nvocabulary\n  pieces                %s\n  tokenizer             %s\n",
                  grouped((int64_t)tokenizer_vocabulary_size(t), a), KINDS[tokenizer_get_kind(t)]);
    (void)fprintf(out, "  </s>, <unk>, <pad>    %d, %d, %d\n", tokenizer_eos(t), tokenizer_unk(t), tokenizer_pad(t));
}

attn_status attn_model_describe(const attn_model *model, FILE *out) {
    if (!model || !out) {
        return fail(ATTN_ERROR_ARGUMENT, "a model and a stream were expected");
    }
    char a[32];
    (void)fprintf(out, "%s\n\narchitecture\n", model->directory);
    if (model->translator.kind && !model->translator.feature_width) {
        describe_translator(model, out);
    } else {
        if (model->generator) {
            describe_language(model, out);
        } else if (model->network.kind == &bert_kind) {
            describe_bert(model, out);
        } else {
            describe_signal(model, out);
        }
        (void)fprintf(out, "\nparameters\n  all                   %s\n", grouped(parameters_count(model->network.parameters), a));
    }
    if (model->tokenizer) {
        describe_vocabulary(model->tokenizer, out);
    }
    (void)fputc('\n', out);
    attn_status status = describe_training(model, out);
    return status ? status : ferror(out) ? fail(ATTN_ERROR_FILE, "the description could not be written") : ATTN_OK;
}
