#include "translation_print.h"

#include <jansson.h>
#include <stdlib.h>

static void print_token_scores(const attn_translation *result, size_t i, int rank, const char *before) {
    size_t count = attn_translation_tokens(result, i, rank);
    (void)fputs(before, stdout);
    for (size_t k = 0; k < count; k++) {
        (void)printf("%s%.6f", k ? " " : "", attn_translation_token_log_probability(result, i, rank, k));
    }
}

/* " 0-0 1-2": the Pharaoh format. */
static int print_links(const attn_translation *result, size_t i, int rank, int words) {
    size_t count = attn_translation_links(result, i, rank, words, NULL, 0);
    attn_link *links = malloc((count + 1) * sizeof *links);
    if (!links) {
        (void)fputs("attn: out of memory\n", stderr);
        return -1;
    }
    (void)attn_translation_links(result, i, rank, words, links, count);
    (void)putchar('\t');
    for (size_t k = 0; k < count; k++) {
        (void)printf("%s%zu-%zu", k ? " " : "", links[k].source, links[k].target);
    }
    free(links);
    return 0;
}

static int print_line(const print_settings *s, const attn_translation *result, size_t i, int rank, size_t line) {
    if (s->n_best) {
        (void)printf("%zu\t%d\t", line, rank + 1);
    }
    if (s->scores) {
        (void)printf("%.6f%s", attn_translation_score(result, i, rank), s->no_text ? "" : "\t");
    }
    if (!s->no_text) {
        (void)fputs(attn_translation_ranked(result, i, rank), stdout);
    }
    if (s->token_scores) {
        print_token_scores(result, i, rank, "\t");
    }
    int failed = s->alignment ? print_links(result, i, rank, s->alignment == 1) : 0;
    (void)putchar('\n');
    return failed;
}

static json_t *tokens_to_json(const attn_translation *result, size_t i, int rank) {
    json_t *tokens = json_array();
    size_t count = attn_translation_tokens(result, i, rank);
    for (size_t k = 0; k < count; k++) {
        (void)json_array_append_new(tokens, json_pack("{s:s, s:f}", "piece", attn_translation_token(result, i, rank, k),
                                                      "log_probability",
                                                      attn_translation_token_log_probability(result, i, rank, k)));
    }
    return tokens;
}

/* Adds the source's tokens and [token][source token] of weights. */
static int add_alignment(json_t *object, const attn_translation *result, size_t i, int rank) {
    const float *weights = attn_translation_alignment(result, i, rank);
    size_t queries = attn_translation_tokens(result, i, rank), keys = attn_translation_source_length(result, i);
    json_t *source = json_array(), *rows = json_array();
    for (size_t k = 0; k < keys; k++) {
        (void)json_array_append_new(source, json_string(attn_translation_source_token(result, i, k)));
    }
    for (size_t q = 0; q < queries && weights; q++) {
        json_t *row = json_array();
        for (size_t k = 0; k < keys; k++) {
            (void)json_array_append_new(row, json_real((double)weights[q * keys + k]));
        }
        (void)json_array_append_new(rows, row);
    }
    return json_object_set_new(object, "source", source) | json_object_set_new(object, "alignment", rows);
}

static int print_json(const print_settings *s, const attn_translation *result, size_t i, int rank, size_t line) {
    json_t *object = json_pack("{s:I, s:i, s:s, s:f, s:f, s:o}", "line", (json_int_t)line, "rank", rank + 1, "text",
                               attn_translation_ranked(result, i, rank), "score",
                               attn_translation_score(result, i, rank), "log_probability",
                               attn_translation_log_probability(result, i, rank), "tokens",
                               tokens_to_json(result, i, rank));
    if (object && s->alignment && add_alignment(object, result, i, rank)) {
        json_decref(object);
        object = NULL;
    }
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(object);
    if (!text) {
        (void)fputs("attn: out of memory\n", stderr);
        return -1;
    }
    (void)puts(text);
    free(text);
    return 0;
}

int print_translations(const print_settings *s, const attn_translation *result, size_t count, size_t first_line) {
    int failed = 0;
    for (size_t i = 0; i < count && !failed; i++) {
        for (int rank = 0; attn_translation_ranked(result, i, rank) && !failed; rank++) {
            if (s->json) {
                failed = print_json(s, result, i, rank, first_line + i);
            } else {
                failed = print_line(s, result, i, rank, first_line + i);
            }
        }
    }
    return failed;
}
