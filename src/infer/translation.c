/* A result of translating: who holds it, and reading it. */
#include "infer/align.h"

attn_status translation_new(const attn_model *model, size_t count, attn_translation **made) {
    attn_translation *result = *made = memory_allocate(1, sizeof *result);
    if (!result) {
        return ATTN_ERROR_MEMORY;
    }
    result->tokenizer = model->tokenizer;
    result->lists = memory_allocate(count, sizeof *result->lists);
    result->texts = memory_allocate(count, sizeof *result->texts);
    result->source_offsets = memory_allocate(count + 1, sizeof *result->source_offsets);
    int complete = result->lists && result->texts && result->source_offsets;
    result->count = complete ? count : 0;
    return complete ? ATTN_OK : ATTN_ERROR_MEMORY;
}

attn_status translation_decode(attn_translation *result, int n_best) {
    for (size_t i = 0; i < result->count; i++) {
        hypothesis_list *list = &result->lists[i];
        while (list->count > n_best) {
            hypothesis_release(&list->items[--list->count]);
        }
        result->texts[i] = memory_allocate((size_t)list->count, sizeof(char *));
        if (!result->texts[i]) {
            return ATTN_ERROR_MEMORY;
        }
        for (int rank = 0; rank < list->count; rank++) {
            const hypothesis *h = &list->items[rank];
            attn_status status = tokenizer_decode(result->tokenizer, h->ids, (size_t)h->count, &result->texts[i][rank]);
            if (status) {
                return status;
            }
        }
        result->target_tokens += list->items[0].ids ? (size_t)list->items[0].count + 1 : 0;
    }
    return ATTN_OK;
}

void attn_translation_free(attn_translation *translation) {
    if (!translation) {
        return;
    }
    for (size_t i = 0; i < translation->count; i++) {
        for (int rank = 0; translation->texts[i] && rank < translation->lists[i].count; rank++) {
            memory_free(translation->texts[i][rank]);
        }
        memory_free(translation->texts[i]);
        hypothesis_list_release(&translation->lists[i]);
    }
    id_buffer_release(&translation->sources);
    memory_free(translation->source_offsets);
    memory_free(translation->texts);
    memory_free(translation->lists);
    memory_free(translation);
}

static const hypothesis *find(const attn_translation *t, size_t i, int rank) {
    return t && i < t->count && rank >= 0 && rank < t->lists[i].count ? &t->lists[i].items[rank] : NULL;
}

const char *attn_translation_ranked(const attn_translation *translation, size_t i, int rank) {
    return find(translation, i, rank) ? translation->texts[i][rank] : NULL;
}

const char *attn_translation_text(const attn_translation *translation, size_t i) {
    return attn_translation_ranked(translation, i, 0);
}

double attn_translation_score(const attn_translation *translation, size_t i, int rank) {
    const hypothesis *h = find(translation, i, rank);
    return h ? h->score : 0;
}

double attn_translation_log_probability(const attn_translation *translation, size_t i, int rank) {
    const hypothesis *h = find(translation, i, rank);
    return h ? h->log_probability : 0;
}

size_t attn_translation_tokens(const attn_translation *translation, size_t i, int rank) {
    const hypothesis *h = find(translation, i, rank);
    return h && h->token_log_probabilities ? (size_t)h->count + 1 : 0;
}

const char *attn_translation_token(const attn_translation *translation, size_t i, int rank, size_t token) {
    if (token >= attn_translation_tokens(translation, i, rank)) {
        return NULL;
    }
    const hypothesis *h = find(translation, i, rank);
    return tokenizer_piece(translation->tokenizer,
                           token < (size_t)h->count ? h->ids[token] : tokenizer_eos(translation->tokenizer));
}

double attn_translation_token_log_probability(const attn_translation *translation, size_t i, int rank, size_t token) {
    return token < attn_translation_tokens(translation, i, rank)
               ? (double)find(translation, i, rank)->token_log_probabilities[token]
               : 0;
}

size_t attn_translation_source_length(const attn_translation *translation, size_t i) {
    return translation && i < translation->count ? translation->source_offsets[i + 1] - translation->source_offsets[i] : 0;
}

const char *attn_translation_source_token(const attn_translation *translation, size_t i, size_t token) {
    return token < attn_translation_source_length(translation, i)
               ? tokenizer_piece(translation->tokenizer, translation->sources.ids[translation->source_offsets[i] + token])
               : NULL;
}

const float *attn_translation_alignment(const attn_translation *translation, size_t i, int rank) {
    const hypothesis *h = find(translation, i, rank);
    return h ? h->alignment : NULL;
}

size_t attn_translation_links(const attn_translation *translation, size_t i, int rank, int words, attn_link *links,
                              size_t room) {
    const hypothesis *h = find(translation, i, rank);
    return h && h->alignment ? align_links(translation->tokenizer, translation->sources.ids + translation->source_offsets[i],
                                           attn_translation_source_length(translation, i), h, words, links, room)
                             : 0;
}

size_t attn_translation_source_tokens(const attn_translation *translation) {
    return translation ? translation->source_tokens : 0;
}

size_t attn_translation_target_tokens(const attn_translation *translation) {
    return translation ? translation->target_tokens : 0;
}
