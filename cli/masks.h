/* What `attn attention` and `attn additive` let a query see, and what they add to its scores: options
 * that name .npy files, loaded into a problem. */
#ifndef ATTN_CLI_MASKS_H
#define ATTN_CLI_MASKS_H

#include "arrays.h"

typedef struct mask_settings {
    const char *window, *mask, *bias, *alibi, *sinks, *key_lengths; /* NULL: not given */
} mask_settings;

/* "LEFT,RIGHT" into the problem; NULL changes nothing. 1, or 0 after a sentence. */
int masks_parse_window(const array_set *set, const char *text, attn_attention_problem *p);

/* Loads the others; *bias_shape is left as the file's. 0 after a sentence. */
int masks_load(array_set *set, const mask_settings *s, attn_attention_problem *p, npy_array *bias_shape);

#endif
