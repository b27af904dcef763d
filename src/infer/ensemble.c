/* Which models can translate together. */
#include "infer/translate.h"

#include <string.h>

static attn_status check_member(const attn_model *model, const attn_model *other, int index) {
    if (!other) {
        return fail(ATTN_ERROR_ARGUMENT, "model %d of the ensemble is missing", index + 2);
    }
    attn_status status = model_check_searcher(other);
    if (!status && other->translator.feature_width != model->translator.feature_width) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s reads another kind of source than the first model", other->directory);
    }
    size_t size = tokenizer_vocabulary_size(model->tokenizer), found = status ? 0 : tokenizer_vocabulary_size(other->tokenizer);
    const model_config *first = model->translator.config, *c = other->translator.config;
    if (!status && (found != size || c->vocab_size != first->vocab_size)) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s has a vocabulary of %zu pieces, the first model of %zu: an ensemble shares one",
                      other->directory, found, size);
    }
    for (size_t i = 0; i < size && !status; i++) {
        const char *expected = tokenizer_piece(model->tokenizer, (int32_t)i), *piece = tokenizer_piece(other->tokenizer, (int32_t)i);
        if ((expected || piece) && (!expected || !piece || strcmp(expected, piece) != 0)) {
            status = fail(ATTN_ERROR_ARGUMENT, "%s: piece %zu of its vocabulary is \"%s\", the first model's is \"%s\"",
                          other->directory, i, piece ? piece : "", expected ? expected : "");
        }
    }
    if (!status && (c->pad_token_id != first->pad_token_id || c->eos_token_id != first->eos_token_id ||
                    c->decoder_start_token_id != first->decoder_start_token_id)) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s has other special tokens than the first model of the ensemble", other->directory);
    }
    if (!status && c->max_position_embeddings < first->max_position_embeddings) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s has %d positions, less than the first model's %d: name it first", other->directory,
                      c->max_position_embeddings, first->max_position_embeddings);
    }
    return status;
}

attn_status prepare_ensemble(const attn_model *model, const attn_translate_options *options, prepared_search *out) {
    if (options->other_count < 0 || options->other_count > MOST_MODELS - 1) {
        return fail(ATTN_ERROR_ARGUMENT, "other_count is %d, 0 to %d was expected", options->other_count, MOST_MODELS - 1);
    }
    if (options->other_count && !options->others) {
        return fail(ATTN_ERROR_ARGUMENT, "other_count is %d, but others is NULL", options->other_count);
    }
    for (int i = 0; i < options->other_count; i++) {
        attn_status status = check_member(model, options->others[i], i);
        if (status) {
            return status;
        }
        out->others[i] = options->others[i]->searcher;
    }
    out->options.others = out->others;
    out->options.other_count = options->other_count;
    return ATTN_OK;
}
