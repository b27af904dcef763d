/* A command's options in a file: one flat JSON object whose keys are the options' names,
 *   {"corpus": "train.tsv", "rate": 0.005, "schedule": "cosine", "average-kept": true}
 * Flags are true or false, numbers are numbers, the rest is text. What the command line
 * gives goes before the recipe, what the recipe gives before the defaults. */
#ifndef ATTN_CLI_RECIPE_H
#define ATTN_CLI_RECIPE_H

#include "options.h"

typedef struct recipe {
    void *storage;  /* owns the texts that rows point at */
    char *resolved; /* every row's value, as a recipe */
} recipe;

/* Sets the rows that the file gives. Returns 0, or EXIT_USAGE with a sentence that names
 * the file and the key; an unknown key is told the nearest known one. */
int recipe_read(const command_usage *usage, const char *path, option_row *rows, recipe *r);

/* Makes r->resolved of all rows but those that belong to one call ("resume", "quiet"). */
int recipe_write(const command_usage *usage, const option_row *rows, recipe *r);

void recipe_release(recipe *r);

#endif
