/* A model on a file of pairs: how likely it finds the references (loss, accuracy) and
 * how near its own translations come to them (BLEU, chrF). */
#include <string.h>

#include "infer/bleu.h"
#include "infer/chrf.h"
#include "infer/evaluate.h"
#include "infer/measure.h"
#include "infer/translate.h"

void attn_evaluate_options_defaults(attn_evaluate_options *options) {
    *options = (attn_evaluate_options){.tokenizer = ATTN_BLEU_13A};
    attn_translate_options_defaults(&options->translate);
}

attn_status evaluate_loss(const attn_model *model, const corpus *pairs, attn_evaluation *result) {
    loss_result sum = {0};
    search_room *room = searcher_borrow(model->searcher);
    attn_status status = room ? measure_corpus(&room->tape, &model->network, pairs, BATCH_COUNTS_TARGET, &sum) : ATTN_ERROR_MEMORY;
    searcher_return(model->searcher, room);
    result->loss = sum.loss / (double)sum.tokens;
    result->token_accuracy = (double)sum.correct / (double)sum.tokens;
    result->source_tokens = pairs->source_offsets[pairs->pairs];
    result->target_tokens = pairs->target_offsets[pairs->pairs];
    return status;
}

/* Of all pairs that the model's positions hold. */
static attn_status measure_loss(const attn_model *model, const parallel_text *text, attn_evaluation *result) {
    corpus_options limits;
    corpus pairs = {0};
    corpus_options_defaults(&limits);
    limits.max_source_tokens = limits.max_target_tokens = (size_t)model->translator.config->max_position_embeddings;
    attn_status status = corpus_encode(text, model->tokenizer, &limits, &pairs);
    status = status ? status : evaluate_loss(model, &pairs, result);
    corpus_release(&pairs);
    return status;
}

/* 0-terminated copies of lines, in one block behind the pointers. */
static const char **terminated(const text_line *lines, size_t count) {
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += lines[i].length + 1;
    }
    const char **copies = memory_allocate_raw(1, count * sizeof *copies + bytes);
    char *at = copies ? (char *)(copies + count) : NULL;
    for (size_t i = 0; i < count && copies; i++) {
        copies[i] = at;
        memcpy(at, lines[i].bytes, lines[i].length);
        at[lines[i].length] = '\0';
        at += lines[i].length + 1;
    }
    return copies;
}

/* What is translated comes out joined, so that is what the references must be. */
static void join_references(const tokenizer *t, const char **references, size_t count) {
    for (size_t i = 0; i < count && tokenizer_joins_continuation(t); i++) {
        char *to = (char *)(uintptr_t)references[i];
        for (const char *from = to; *from;) {
            if (strncmp(from, "@@ ", 3) == 0) {
                from += 3;
            } else {
                *to++ = *from++;
            }
        }
        *to = '\0';
    }
}

attn_status evaluate_translations(const attn_model *model, const parallel_text *text,
                                  const attn_evaluate_options *options, attn_evaluation *result) {
    const bleu_tokenizer tokenizers[] = {BLEU_13A, BLEU_NONE, BLEU_ZH};
    const char **sources = terminated(text->source, text->pairs), **references = terminated(text->target, text->pairs);
    const char **hypotheses = memory_allocate(text->pairs, sizeof *hypotheses);
    attn_translation *translation = NULL;
    attn_status status = sources && references && hypotheses ? ATTN_OK : ATTN_ERROR_MEMORY;
    status = status ? status : attn_translate(model, sources, text->pairs, &options->translate, &translation);
    if (!status) {
        join_references(model->tokenizer, references, text->pairs);
    }
    bleu_options bleu;
    bleu_score score;
    chrf_score characters;
    bleu_options_defaults(&bleu);
    bleu.tokenizer = tokenizers[options->tokenizer];
    for (size_t i = 0; i < text->pairs && !status; i++) {
        hypotheses[i] = attn_translation_text(translation, i);
    }
    status = status ? status : bleu_corpus(hypotheses, references, text->pairs, &bleu, &score);
    status = status ? status : chrf_corpus(hypotheses, references, text->pairs, &characters);
    if (!status) {
        result->bleu = score.score;
        memcpy(result->bleu_precisions, score.precisions, sizeof result->bleu_precisions);
        result->brevity_penalty = score.brevity_penalty;
        result->hypothesis_length = score.hypothesis_length;
        result->reference_length = score.reference_length;
        result->chrf = characters.score;
    }
    attn_translation_free(translation);
    memory_free(sources);
    memory_free(references);
    memory_free(hypotheses);
    return status;
}

attn_status attn_evaluate(const attn_model *model, const char *source, const char *target,
                          const attn_evaluate_options *options, attn_evaluation *evaluation) {
    attn_evaluate_options standard;
    prepared_search searching;
    if (!model || !source || !evaluation) {
        return fail(ATTN_ERROR_ARGUMENT, "a model, a file and a place for the evaluation were expected");
    }
    attn_evaluate_options_defaults(&standard);
    options = options ? options : &standard;
    if ((int)options->tokenizer < ATTN_BLEU_13A || options->tokenizer > ATTN_BLEU_ZH) {
        return fail(ATTN_ERROR_ARGUMENT, "the BLEU tokenizer is %d, 0 to 2 was expected", (int)options->tokenizer);
    }
    attn_status status = model_check_searcher(model);
    status = status ? status : prepare_search(&options->translate, &searching);
    if (status) {
        return status;
    }
    text_options reading;
    parallel_text text = {0};
    text_options_defaults(&reading);
    reading.invalid = options->skip_invalid ? INVALID_SKIP : INVALID_REFUSE;
    status = target ? parallel_text_read(source, target, &reading, &text) : parallel_text_read_tsv(source, &reading, &text);
    if (status) {
        return status;
    }
    *evaluation = (attn_evaluation){.pairs = text.pairs};
    status = measure_loss(model, &text, evaluation);
    if (!status && !options->skip_translation) {
        status = evaluate_translations(model, &text, options, evaluation);
    }
    parallel_text_release(&text);
    return status;
}
