/* Translating ids: beam search (Graves 2012; Sutskever et al. 2014) over a key/value
 * cache, many sentences at once.
 *
 * Of the hypotheses that are alive (at first one, the start token) every step looks at
 * the 2 * beam likeliest continuations. Those among the first `beam` that end with </s>
 * are finished, with the score
 *     score = log p / ((length_offset + L) / (length_offset + 1))^length_penalty,     L tokens, </s> counted,
 * and the `beam` best finished ones are kept; the likeliest `beam` others live on. A
 * sentence is done when `beam` hypotheses are finished and the likeliest living one,
 * scored at its present length, is no better than the worst of them. That is what
 * transformers does with early_stopping = False. With beam 1 the first </s> ends it.
 * <pad> is never produced. A hypothesis that has max_length - 1 tokens can only go on
 * with </s>, whose probability counts as the model gives it (transformers counts 1).
 *
 * A sentence's result has the same bits alone and in any company, in any order, with
 * any number of threads. */
#ifndef ATTN_INFER_SEARCH_H
#define ATTN_INFER_SEARCH_H

#include "data/tokenizer.h"
#include "infer/steering.h"
#include "infer/translator.h"
#include "tensor/shortlist.h"

struct searcher;

enum { MOST_MODELS = 8 };

typedef struct search_options {
    int beam;              /* 1 .. 64 */
    double length_penalty, length_offset;
    int max_length;        /* tokens of a translation, </s> counted; 0: the least of the model's
                              max_length - 1 (its start token not counted), its positions, and
                              2 * source tokens + 32. A request's prefix and </s> find room */
    int batch_tokens;      /* source tokens that a thread translates at once; >= 1 */
    int min_length;        /* </s> comes no earlier than as this token of a translation, or at
                              max_length if that is less; 0: anywhere */
    const float *features;    /* rows for the source's tokens where the model reads no ids; else NULL */
    const steering *steering; /* NULL: the model alone decides */
    struct searcher *const *others; /* [other_count] more models of the same vocabulary (an ensemble): */
    int other_count;                /* the search sees the mean of all models' logits */
} search_options;

/* One translation. ids are without </s>. */
typedef struct hypothesis {
    int32_t *ids;
    int32_t count;
    double log_probability; /* the model's, natural, </s> included */
    double score;           /* of what the search counted: a repetition penalty counts in */
    int32_t missing;        /* tokens of required phrases that found no room */
    float *token_log_probabilities; /* [count + 1], </s> last; NULL for an empty sentence */
    float *alignment;       /* [count + 1, source tokens], or NULL (align.h); not the search's */
} hypothesis;

/* The best first; `count` >= 1 after a search. */
typedef struct hypothesis_list {
    hypothesis *items;
    int count;
} hypothesis_list;

void hypothesis_release(hypothesis *h);
void hypothesis_list_release(hypothesis_list *list);

/* A model made ready: weights packed, working memory pooled. Several threads may
 * search at once. The model must outlive it and must not change. Products are of
 * `type`, whatever the model trains in. */
typedef struct searcher searcher;
attn_status searcher_new(const translator *from, product_type type, searcher **made);
void searcher_free(searcher *s); /* NULL is allowed */
const translator *searcher_translator(const searcher *s);

/* One thread's working memory, to be given back: a tape over the model with its packed
 * weights, and empty caches. */
typedef struct search_room {
    tape tape;
    cache self, cross;
} search_room;

search_room *searcher_borrow(searcher *s); /* NULL when memory is short */
void searcher_return(searcher *s, search_room *room);

/* A list for a step of so few rows that reading the output layer's weights is what takes the time; NULL until
 * enough such rows have come, for other products than f32, and where the weights allow none. */
const shortlist *searcher_shortlist(searcher *s, int64_t rows);

/* source: packed ids, sentence i is ids[offsets[i]] .. ids[offsets[i + 1] - 1], its last
 * id </s>, within the model's positions and vocabulary. An empty sentence gives one
 * empty hypothesis. results [sentences], released by the caller also on failure. */
attn_status search(searcher *s, const int32_t *ids, const size_t *offsets, size_t sentences,
                   const search_options *options, hypothesis_list *results);

#endif
