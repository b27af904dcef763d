#include "infer/requests.h"

#include <string.h>

/* Where a sentence's ids begin, while the buffer still grows. */
typedef struct places {
    size_t prefix, prefix_count, first_phrase, phrases;
} places;

typedef struct phrase_place {
    size_t first, count;
} phrase_place;

typedef struct phrase_places {
    phrase_place *items;
    size_t count, capacity;
} phrase_places;

/* The phrases between tabs. */
static attn_status encode_phrases(const attn_model *model, const char *text, id_buffer *ids, phrase_places *all, places *p) {
    size_t tokens = 0;
    p->first_phrase = all->count;
    for (size_t length; *text; text += length + (text[length] == '\t')) {
        length = strcspn(text, "\t");
        char *part = memory_copy_bytes(text, length);
        size_t first = ids->count;
        attn_status status = part ? encode_text(model->tokenizer, TOKENIZER_TARGET, SIZE_MAX, part, ids, NULL) : ATTN_ERROR_MEMORY;
        memory_free(part);
        if (status) {
            return status;
        }
        if (ids->count == first) {
            continue; /* blank */
        }
        ids->count--; /* </s> */
        status = memory_grow(&all->items, &all->capacity, all->count + 1, sizeof *all->items);
        if (status) {
            return status;
        }
        all->items[all->count++] = (phrase_place){first, ids->count - first};
        tokens += ids->count - first;
        p->phrases++;
        if (p->phrases > MOST_PHRASES || tokens > MOST_PHRASE_TOKENS) {
            return fail(ATTN_ERROR_ARGUMENT, "%zu required phrases have %zu tokens, at most %d phrases of %d tokens were expected",
                        p->phrases, tokens, MOST_PHRASES, MOST_PHRASE_TOKENS);
        }
    }
    return ATTN_OK;
}

static attn_status encode_one(const attn_model *model, const attn_translate_options *options, size_t i, requests *r,
                              phrase_places *phrases, places *p) {
    size_t positions = (size_t)model->translator.config->max_position_embeddings;
    const char *prefix = options->prefixes ? options->prefixes[i] : NULL;
    const char *required = options->required ? options->required[i] : NULL;
    char changed[CHANGE_ROOM] = "";
    *p = (places){.prefix = r->ids.count};
    attn_status status =
        prefix ? encode_text(model->tokenizer, TOKENIZER_TARGET, positions, prefix, &r->ids, changed) : ATTN_OK;
    if (!status && r->ids.count > p->prefix) {
        r->ids.count--; /* </s> */
        p->prefix_count = r->ids.count - p->prefix;
    }
    if (!status && changed[0] && options->warn) {
        options->warn(options->context, i + 1, changed);
    }
    return status ? status : required ? encode_phrases(model, required, &r->ids, phrases, p) : ATTN_OK;
}

/* The buffer has its place now. */
static attn_status point(requests *r, const phrase_places *phrases, const places *p) {
    r->phrases = memory_allocate(phrases->count, sizeof *r->phrases);
    if (!r->phrases) {
        return ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < phrases->count; i++) {
        r->phrases[i] = (phrase){r->ids.ids + phrases->items[i].first, (int32_t)phrases->items[i].count};
    }
    for (size_t i = 0; i < r->count; i++) {
        r->items[i] = (sentence_request){.prefix = r->ids.ids + p[i].prefix,
                                         .prefix_count = (int32_t)p[i].prefix_count,
                                         .required = {r->phrases + p[i].first_phrase, (int)p[i].phrases}};
    }
    return ATTN_OK;
}

attn_status requests_make(const attn_model *model, const attn_translate_options *options, size_t count, requests *r) {
    attn_status status = ATTN_OK;
    *r = (requests){.count = count};
    if (options->forbidden_count) {
        status = forbidden_words_new(model->tokenizer, options->forbidden, options->forbidden_count, &r->forbidden);
    }
    if (status || (!options->prefixes && !options->required)) {
        return status;
    }
    phrase_places phrases = {0};
    places *p = memory_allocate(count, sizeof *p);
    r->items = memory_allocate(count, sizeof *r->items);
    status = p && r->items ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < count && !status; i++) {
        status = encode_one(model, options, i, r, &phrases, &p[i]);
        status = status ? fail_within(status, "text %zu", i + 1) : ATTN_OK;
    }
    status = status ? status : point(r, &phrases, p);
    memory_free(p);
    memory_free(phrases.items);
    return status;
}

void requests_release(requests *r) {
    memory_free(r->items);
    memory_free(r->phrases);
    id_buffer_release(&r->ids);
    forbidden_words_free(r->forbidden);
    *r = (requests){0};
}

void requests_apply(const requests *r, prepared_search *prepared) {
    if (r->items || r->forbidden) {
        prepared->steering.forbidden = r->forbidden;
        prepare_requests(prepared, r->items);
    }
}

void requests_warn(const requests *r, const attn_translate_options *options, const attn_translation *result) {
    for (size_t i = 0; i < result->count && r->items && options->warn; i++) {
        if (result->lists[i].items[0].missing) {
            options->warn(options->context, i + 1, "a required phrase finds no room in the longest translation");
        }
    }
}
