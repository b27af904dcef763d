/* attn explain of a picture or a sound. */
#ifndef ATTN_CLI_EXPLAIN_FILE_H
#define ATTN_CLI_EXPLAIN_FILE_H

#include <attn/attn.h>

#include "commands.h"
#include "options.h"

typedef struct explain_file_settings {
    const char *label, *png, *html; /* each may be NULL */
    int json, layer, head, colour;  /* layer -1: the rollout */
} explain_file_settings;

int explain_file(const command_usage *usage, const attn_model *model, const char *path, const explain_file_settings *o);

#endif
