/* An explanation as JSON, for files and inside the HTML page. */
#ifndef ATTN_INFER_EXPLAIN_JSON_H
#define ATTN_INFER_EXPLAIN_JSON_H

#include "infer/explain.h"

/* A JSON string. <, > and & are escaped too, so that no text ends a script element. */
void write_json_string(FILE *out, const char *text);

/* The whole; `digits` of each weight. */
void write_explanation_json(const attn_explanation *e, int digits, FILE *out);

#endif
