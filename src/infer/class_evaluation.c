/* attn_evaluate_classes: classifiers of texts, one or several together, on a TSV of label and text. */
#include <math.h>

#include "infer/classification.h"
#include "infer/classify.h"

attn_status class_evaluation_new(const vocabulary *labels, attn_class_evaluation **made) {
    attn_class_evaluation *e = *made = memory_allocate(1, sizeof *e);
    if (e) {
        e->labels = labels->size;
        e->figures = memory_allocate(e->labels, sizeof *e->figures);
        e->confusion = memory_allocate(e->labels, e->labels * sizeof *e->confusion);
    }
    if (!e || !e->figures || !e->confusion) {
        attn_class_evaluation_free(e);
        *made = NULL;
        return ATTN_ERROR_MEMORY;
    }
    for (size_t k = 0; k < e->labels; k++) {
        e->figures[k].label = vocabulary_piece(labels, k).bytes;
    }
    return ATTN_OK;
}

void class_evaluation_finish(attn_class_evaluation *e, double loss, size_t count) {
    double sum = 0;
    size_t seen = 0, right = 0;
    for (size_t k = 0; k < e->labels; k++) {
        attn_label_figures *f = &e->figures[k];
        f->right = e->confusion[k * e->labels + k];
        right += f->right;
        for (size_t j = 0; j < e->labels; j++) {
            f->there += e->confusion[k * e->labels + j];
            f->given += e->confusion[j * e->labels + k];
        }
        f->f1 = confusion_f1(e->confusion, e->labels, k, &f->precision, &f->recall);
        sum += isnan(f->f1) ? 0 : f->f1;
        seen += isnan(f->f1) ? 0 : 1;
    }
    e->texts = count;
    e->loss = loss / (double)count;
    e->accuracy = (double)right / (double)count;
    e->macro_f1 = sum / (double)seen;
}

void attn_class_evaluation_free(attn_class_evaluation *e) {
    if (e) {
        memory_free(e->figures);
        memory_free(e->confusion);
        memory_free(e);
    }
}

/* --- a file ---------------------------------------------------------------------------- */

/* Which of the labels each line has. */
static attn_status find_labels(const vocabulary *labels, const parallel_text *text, const char *path, int32_t *found) {
    for (size_t i = 0; i < text->pairs; i++) {
        text_line name = text->source[i], line = text->target[i];
        found[i] = vocabulary_find(labels, name.bytes, name.length);
        if (found[i] < 0) {
            return fail(ATTN_ERROR_FORMAT, "%s: the label \"%.*s\" (of \"%.*s\") is none of the model's %zu", path,
                        (int)(name.length < 60 ? name.length : 60), name.bytes,
                        (int)(line.length < 60 ? line.length : 60), line.bytes, labels->size);
        }
    }
    return ATTN_OK;
}

static attn_status encode_lines(const attn_model *model, const bert *encoder, const parallel_text *text, id_buffer *ids,
                                size_t *offsets) {
    size_t positions = (size_t)encoder->config.max_position_embeddings;
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < text->pairs && !status; i++) {
        char *line = memory_copy_bytes(text->target[i].bytes, text->target[i].length);
        status = line ? encode_for_bert(model->tokenizer, positions, line, ids, NULL) : ATTN_ERROR_MEMORY;
        offsets[i + 1] = ids->count;
        memory_free(line);
    }
    return status;
}

/* Adds what one model answers to the sums [lines, labels]. */
static attn_status add_answers(const attn_model *model, const parallel_text *text, const int32_t *places, double *sums) {
    const bert *encoder;
    classifier *runner = NULL;
    id_buffer ids;
    spelling more;
    attn_status status = model_check_classifier(model, &encoder);
    if (status) {
        return status;
    }
    const bert reader = encoder_with_words(encoder, &more, &ids);
    size_t labels = encoder->config.labels.size;
    size_t *offsets = memory_allocate(text->pairs + 1, sizeof *offsets);
    float *probabilities = memory_allocate(text->pairs, labels * sizeof *probabilities);
    status = offsets && probabilities ? encode_lines(model, encoder, text, &ids, offsets) : ATTN_ERROR_MEMORY;
    status = status ? status : classifier_new(&reader, &reader.parameters, &runner);
    status = status ? status : classifier_run(runner, ids.ids, offsets, text->pairs, probabilities, NULL);
    if (!status) {
        class_ensemble_add(probabilities, text->pairs, labels, places, sums);
    }
    classifier_free(runner);
    id_buffer_release(&ids);
    spelling_release(&more);
    memory_free(probabilities);
    memory_free(offsets);
    return status;
}

static attn_status evaluate_lines(const attn_model *const *models, int model_count, const int32_t *places,
                                  const parallel_text *text, const char *path, attn_class_evaluation *e) {
    size_t labels = e->labels;
    int32_t *right = memory_allocate(text->pairs, sizeof *right);
    double *sums = memory_allocate(text->pairs, labels * sizeof *sums), loss = 0;
    float *mean = memory_allocate(labels, sizeof *mean);
    attn_status status = right && sums && mean ? find_labels(model_labels(models[0]), text, path, right) : ATTN_ERROR_MEMORY;
    for (int m = 0; m < model_count && !status; m++) {
        status = add_answers(models[m], text, places + (size_t)m * labels, sums);
    }
    for (size_t i = 0; i < text->pairs && !status; i++) {
        for (size_t k = 0; k < labels; k++) {
            mean[k] = (float)(sums[i * labels + k] / model_count);
        }
        loss += confusion_add(e->confusion, labels, mean, (size_t)right[i]);
    }
    if (!status) {
        class_evaluation_finish(e, loss, text->pairs);
    }
    memory_free(mean);
    memory_free(sums);
    memory_free(right);
    return status;
}

attn_status attn_evaluate_classes_ensemble(const attn_model *const *models, int model_count, const char *path,
                                           int skip_invalid, attn_class_evaluation **evaluation) {
    if (!path || !evaluation) {
        return fail(ATTN_ERROR_ARGUMENT, "a TSV of label and text and a place for the evaluation were expected");
    }
    *evaluation = NULL;
    text_options options;
    parallel_text text = {0};
    attn_class_evaluation *e = NULL;
    int32_t *places;
    text_options_defaults(&options);
    options.invalid = skip_invalid ? INVALID_SKIP : INVALID_REFUSE;
    attn_status status = class_ensemble_check(models, model_count, &places);
    status = status ? status : class_evaluation_new(model_labels(models[0]), &e);
    status = status ? status : parallel_text_read_tsv(path, &options, &text);
    status = status ? status : evaluate_lines(models, model_count, places, &text, path, e);
    if (!status) {
        *evaluation = e;
    } else {
        attn_class_evaluation_free(e);
    }
    parallel_text_release(&text);
    memory_free(places);
    return status;
}

attn_status attn_evaluate_classes(const attn_model *model, const char *path, int skip_invalid,
                                  attn_class_evaluation **evaluation) {
    return attn_evaluate_classes_ensemble(&model, 1, path, skip_invalid, evaluation);
}
