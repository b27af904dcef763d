/* Public translating: texts repaired, encoded and cut, searched, and turned back into
 * text. */
#include "infer/align.h"
#include "infer/requests.h"

#include <string.h>

#include "base/utf8.h"

static int is_blank(const char *text, size_t length) {
    for (size_t at = 0; at < length;) {
        uint32_t codepoint;
        at += utf8_decode(text + at, length - at, &codepoint);
        if (!utf8_is_space(codepoint)) {
            return 0;
        }
    }
    return 1;
}

attn_status encode_text(const tokenizer *t, tokenizer_side side, size_t positions, const char *text, id_buffer *buffer,
                        char changed[CHANGE_ROOM]) {
    char *repaired = NULL;
    size_t length = strlen(text), first = buffer->count;
    if (changed) {
        changed[0] = '\0';
    }
    if (is_blank(text, length)) {
        return ATTN_OK;
    }
    attn_status status = ATTN_OK;
    if (!utf8_is_valid(text, length)) {
        size_t replaced;
        status = utf8_repair(text, length, &repaired, &length, &replaced);
        text = repaired;
        if (!status && changed) {
            (void)snprintf(changed, CHANGE_ROOM, "%zu invalid UTF-8 %s read as U+FFFD", replaced,
                           replaced == 1 ? "sequence is" : "sequences are");
        }
    }
    status = status ? status : tokenizer_encode(t, side, text, length, buffer);
    memory_free(repaired);
    if (status) {
        return status;
    }
    size_t tokens = buffer->count - first;
    if (tokens == 0) {
        return ATTN_OK; /* nothing that the tokenizer sees */
    }
    if (tokens > positions - 1) {
        if (changed) {
            (void)snprintf(changed, CHANGE_ROOM, "%zu tokens are more than the model's %zu positions hold: the rest is cut off",
                           tokens + 1, positions);
        }
        buffer->count = first + positions - 1;
    }
    status = memory_grow(&buffer->ids, &buffer->capacity, buffer->count + 1, sizeof *buffer->ids);
    if (!status) {
        buffer->ids[buffer->count++] = tokenizer_eos(t);
    }
    return status;
}

attn_status encode_texts(const attn_model *model, tokenizer_side side, const char *const *texts, size_t count,
                         const attn_translate_options *options, id_buffer *ids, size_t *offsets) {
    char changed[CHANGE_ROOM];
    size_t positions = (size_t)model->translator.config->max_position_embeddings;
    offsets[0] = 0;
    for (size_t i = 0; i < count; i++) {
        changed[0] = '\0';
        attn_status status =
            texts[i] ? encode_text(model->tokenizer, side, positions, texts[i], ids, changed) : ATTN_OK;
        if (status) {
            return fail_within(status, "text %zu", i + 1);
        }
        if (changed[0] && options->warn) {
            options->warn(options->context, i + 1, changed);
        }
        offsets[i + 1] = ids->count;
    }
    return ATTN_OK;
}

attn_status attn_translate(const attn_model *model, const char *const *texts, size_t count,
                           const attn_translate_options *options, attn_translation **translation) {
    attn_translate_options standard;
    prepared_search prepared;
    if (!translation || !model || (count && !texts)) {
        return fail(ATTN_ERROR_ARGUMENT, "a model, texts and a place for the translation were expected");
    }
    *translation = NULL;
    attn_translate_options_defaults(&standard);
    options = options ? options : &standard;
    attn_status status = model_check_searcher(model);
    status = status ? status : prepare_search(options, &prepared);
    status = status ? status : prepare_ensemble(model, options, &prepared);
    if (status) {
        return status;
    }
    attn_translation *result = NULL;
    requests asked = {0};
    status = translation_new(model, count, &result);
    status = status ? status
                    : encode_texts(model, TOKENIZER_SOURCE, texts, count, options, &result->sources, result->source_offsets);
    status = status ? status : requests_make(model, options, count, &asked);
    if (!status) {
        requests_apply(&asked, &prepared);
    }
    if (!status) {
        result->source_tokens = result->sources.count;
        status = search(model->searcher, result->sources.ids, result->source_offsets, count, &prepared.options,
                        result->lists);
    }
    if (!status) {
        requests_warn(&asked, options, result);
    }
    status = status ? status : translation_decode(result, options->n_best);
    if (!status && (options->alignment || options->replace_unknown)) {
        status = align_translation(model, result, options->alignment_layer, options->alignment_head);
    }
    if (!status && options->replace_unknown) {
        status = replace_unknown(result, texts);
    }
    requests_release(&asked);
    if (status) {
        attn_translation_free(result);
        return status;
    }
    *translation = result;
    return ATTN_OK;
}
