/* A translation with all its attention weights, as explain.c collects them and
 * explain_*.c draw them. */
#ifndef ATTN_INFER_EXPLAIN_H
#define ATTN_INFER_EXPLAIN_H

#include "data/picture.h"
#include "infer/model.h"

/* Weights of one layer: [heads, queries, keys]. */
typedef struct layer_weights {
    int64_t heads, queries, keys;
    float *values;
} layer_weights;

/* Tokens for display: '\u2581' made a space where a word starts, </s> as it is. */
typedef struct token_list {
    char **texts;
    size_t count;
} token_list;

enum { ATTENTION_KINDS = 3 };

struct attn_explanation {
    char *text;             /* the translation */
    token_list source, target;
    int layers[ATTENTION_KINDS];
    layer_weights *weights[ATTENTION_KINDS]; /* [layers] */
    picture spectrogram;    /* of speech; else empty */
};

/* What was read, for explain_source: ids with </s>, or rows of numbers and zeros as ids. */
typedef struct explained_source {
    id_buffer ids;
    const float *features; /* or NULL */
    token_list tokens;     /* their names; taken over by the explanation */
} explained_source;

/* Searches (or reads `target`) and collects the weights. */
attn_status explain_source(const attn_model *model, explained_source *source, const char *target,
                           const attn_translate_options *options, attn_explanation **explanation);
void token_list_release(token_list *list);

/* The labels of a kind's queries (0) or keys (1): `i`-th; the start token for i = 0 of
 * the decoder's self-attention keys. */
const char *explanation_label(const attn_explanation *e, attn_attention_kind kind, int keys, int64_t i);

/* A piece for a person, to be released with memory_free: a space in front where a word
 * starts (WordPiece: no space, and no "##"). */
char *shown_piece(const tokenizer *t, int32_t id);

/* The target's ids with </s>: those of the given text, or (NULL) of the best translation. */
attn_status explanation_target(const attn_model *model, const id_buffer *source, const char *target,
                               const search_options *options, id_buffer *ids);

attn_status token_list_fill(token_list *list, const tokenizer *t, const int32_t *ids, size_t count);
void token_list_release(token_list *list);

/* "encoder self-attention", ... */
const char *explanation_kind_name(attn_attention_kind kind);

#endif
