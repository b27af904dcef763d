/* attn translate --format html: a document in, the document out. */
#ifndef ATTN_CLI_TRANSLATE_HTML_H
#define ATTN_CLI_TRANSLATE_HTML_H

#include <attn/attn.h>

#include "options.h"

/* Translates all of standard input to standard output; the exit code. */
int translate_html(const command_usage *usage, const attn_model *model, attn_translate_options *options);

#endif
