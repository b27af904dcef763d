/* Scoring given translations: the search with one way to go. So the bits are those of
 * translating, in whatever arithmetic the model's weights are held. */
#include "infer/align.h"

/* The pairs with both sides: the others have no source tokens, and so no search. */
static void join_pairs(const id_buffer *targets, const size_t *target_offsets, size_t count, id_buffer *sources,
                       size_t *source_offsets, sentence_request *requests) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        size_t first = source_offsets[i], end = source_offsets[i + 1];
        size_t tokens = target_offsets[i + 1] - target_offsets[i];
        source_offsets[i] = kept;
        for (size_t j = first; j < end && tokens; j++) {
            sources->ids[kept++] = sources->ids[j];
        }
        requests[i] = (sentence_request){.prefix = targets->ids + target_offsets[i],
                                         .prefix_count = tokens ? (int32_t)tokens - 1 : 0, .whole = 1};
    }
    source_offsets[count] = kept;
    sources->count = kept;
}

attn_status attn_score_pairs(const attn_model *model, const char *const *sources, const char *const *targets, size_t count,
                       const attn_translate_options *options, attn_translation **scored) {
    attn_translate_options standard;
    prepared_search prepared;
    if (!scored || !model || (count && (!sources || !targets))) {
        return fail(ATTN_ERROR_ARGUMENT, "a model, sources, targets and a place for the scores were expected");
    }
    *scored = NULL;
    attn_translate_options_defaults(&standard);
    options = options ? options : &standard;
    attn_status status = model_check_searcher(model);
    status = status ? status : prepare_search(options, &prepared);
    status = status ? status : prepare_ensemble(model, options, &prepared);
    if (status) {
        return status;
    }
    prepared.steering = steering_none();
    prepared.options.beam = 1;
    prepared.options.min_length = 0;
    id_buffer target_ids = {0};
    attn_translation *result = NULL;
    size_t *target_offsets = memory_allocate(count + 1, sizeof *target_offsets);
    sentence_request *requests = memory_allocate(count, sizeof *requests);
    status = target_offsets && requests ? translation_new(model, count, &result) : ATTN_ERROR_MEMORY;
    status = status ? status : encode_texts(model, TOKENIZER_SOURCE, sources, count, options, &result->sources, result->source_offsets);
    status = status ? status : encode_texts(model, TOKENIZER_TARGET, targets, count, options, &target_ids, target_offsets);
    if (!status) {
        join_pairs(&target_ids, target_offsets, count, &result->sources, result->source_offsets, requests);
        prepare_requests(&prepared, requests);
        result->source_tokens = result->sources.count;
        status = search(model->searcher, result->sources.ids, result->source_offsets, count, &prepared.options,
                        result->lists);
    }
    status = status ? status : translation_decode(result, 1);
    if (!status && options->alignment) {
        status = align_translation(model, result, options->alignment_layer, options->alignment_head);
    }
    id_buffer_release(&target_ids);
    memory_free(target_offsets);
    memory_free(requests);
    if (status) {
        attn_translation_free(result);
        return status;
    }
    *scored = result;
    return ATTN_OK;
}
