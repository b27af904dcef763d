/* What the public options ask of each sentence, as ids: prefixes, required phrases,
 * forbidden words. */
#ifndef ATTN_INFER_REQUESTS_H
#define ATTN_INFER_REQUESTS_H

#include "infer/forbidden.h"
#include "infer/translate.h"

typedef struct requests {
    size_t count;
    sentence_request *items; /* [count], or NULL where nothing is asked */
    id_buffer ids;           /* of all phrases and prefixes */
    phrase *phrases;
    forbidden_words *forbidden;
} requests;

/* Released by the caller also on failure. */
attn_status requests_make(const attn_model *model, const attn_translate_options *options, size_t count, requests *made);
void requests_release(requests *r);

/* Hands them to a search, which must end before they are released. */
void requests_apply(const requests *r, prepared_search *prepared);

/* Tells the options' warn of translations that lack a required phrase. */
void requests_warn(const requests *r, const attn_translate_options *options, const attn_translation *result);

#endif
