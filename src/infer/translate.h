/* Text to ids and back around a search, for translating, scoring, evaluating and explaining. */
#ifndef ATTN_INFER_TRANSLATE_H
#define ATTN_INFER_TRANSLATE_H

#include "infer/model.h"

enum { MOST_HYPOTHESES = 64 };

/* The ids of one text of any bytes, with </s>, cut to the model's positions; none for a
 * blank text. Invalid UTF-8 is read as U+FFFD. Appends to *buffer; *changed (may be
 * NULL) receives "" or a sentence on what was changed. */
enum { CHANGE_ROOM = 160 };
attn_status encode_text(const tokenizer *t, tokenizer_side side, size_t positions, const char *text, id_buffer *buffer,
                        char changed[CHANGE_ROOM]);

/* The ids of a language model's prompt, at least one (generate.c); appends. */
attn_status prompt_encode(const attn_model *model, const char *prompt, id_buffer *ids, char changed[CHANGE_ROOM]);

/* encode_text of many: text i is ids[offsets[i]] .. ids[offsets[i + 1] - 1]; offsets [count + 1]. */
attn_status encode_texts(const attn_model *model, tokenizer_side side, const char *const *texts, size_t count,
                         const attn_translate_options *options, id_buffer *ids, size_t *offsets);

/* Public options made ready for the search. The options point into it: it is not copied. */
typedef struct prepared_search {
    search_options options;
    steering steering;
    searcher *others[MOST_MODELS - 1];
} prepared_search;

/* ATTN_ERROR_ARGUMENT where a value is out of range. */
attn_status prepare_search(const attn_translate_options *options, prepared_search *out);

/* Adds the models that translate together with this one. ATTN_ERROR_ARGUMENT where one does not fit. */
attn_status prepare_ensemble(const attn_model *model, const attn_translate_options *options, prepared_search *out);

/* Adds what is asked of each sentence. */
void prepare_requests(prepared_search *prepared, const sentence_request *requests);

/* Owned by translation.c. */
struct attn_translation {
    const tokenizer *tokenizer;
    size_t count;
    id_buffer sources;      /* all sources' ids */
    size_t *source_offsets; /* [count + 1] in them */
    hypothesis_list *lists; /* [count] */
    char ***texts;          /* [count][list's count] */
    size_t source_tokens, target_tokens;
};

attn_status translation_new(const attn_model *model, size_t count, attn_translation **made);

/* Turns the found ids into texts; of each list the first n_best stay. */
attn_status translation_decode(attn_translation *translation, int n_best);

#endif
