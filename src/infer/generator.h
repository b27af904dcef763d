/* A language model going on with a text, token by token. Keys and values of what was read
 * are kept, so that a token costs one row through the layers. The model sees a window of its
 * positions: when that is full, the older half is forgotten and the rest is read anew from
 * position 0. */
#ifndef ATTN_INFER_GENERATOR_H
#define ATTN_INFER_GENERATOR_H

#include "infer/sampling.h"
#include "model/language_model.h"

typedef struct generator generator; /* the weights, packed once; any number of threads may use it */

attn_status generator_new(const language_model *model, generator **made);
void generator_free(generator *g); /* NULL is allowed */

typedef struct generation_request {
    const int32_t *prompt; /* [count], count >= 1 */
    int64_t count;
    int64_t max_tokens;
    int32_t eos;                 /* produced, it ends the text; TOKEN_NONE: none does */
    const unsigned char *barred; /* [vocabulary]: 1 for what is never produced; not all */
    sampling_options sampling;   /* on 0: the likeliest token, the first of equals */
    uint64_t key;                /* sampling_key */
    /* Told of each token, with the model's log-probability of it before temperature and filters;
     * nonzero ends the text. */
    int (*produced)(void *context, int32_t id, double log_probability);
    void *context;
} generation_request;

attn_status generator_run(const generator *g, const generation_request *request);

/* Where the window begins when there are `total` tokens, `count` of them the prompt's. */
int64_t generator_window_start(int64_t count, int64_t total, int64_t positions);

#endif
