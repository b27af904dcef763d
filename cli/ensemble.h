/* Models that work together: --model given several times. */
#ifndef ATTN_CLI_ENSEMBLE_H
#define ATTN_CLI_ENSEMBLE_H

#include <attn/attn.h>

enum { MOST_MODELS = 8 };

typedef struct ensemble {
    attn_model *models[MOST_MODELS];
    int count;
} ensemble;

/* Loads them (names end with NULL). -1: failed, and attn_last_error() says why. */
int ensemble_load(ensemble *e, const char *const *names, attn_compute compute);
/* Loads translators and tells the options of all but the first. */
int ensemble_open(ensemble *e, const char *const *names, attn_compute compute, attn_translate_options *options);
void ensemble_close(ensemble *e);

#endif
