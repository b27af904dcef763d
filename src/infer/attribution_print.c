/* Reading an attribution, and writing it for a person and as JSON. */
#include <math.h>
#include <string.h>

#include "base/utf8.h"
#include "infer/attribution.h"
#include "infer/explain_json.h"

size_t attn_attribution_tokens(const attn_attribution *a) {
    return a->tokens.count;
}

const char *attn_attribution_token(const attn_attribution *a, size_t token) {
    return token < a->tokens.count ? a->tokens.texts[token] : NULL;
}

size_t attn_attribution_answers(const attn_attribution *a) {
    return a->answers.count;
}

const char *attn_attribution_answer(const attn_attribution *a, size_t answer) {
    return answer < a->answers.count ? a->answers.texts[answer] : NULL;
}

double attn_attribution_log_probability(const attn_attribution *a, size_t answer) {
    return answer < a->answers.count ? a->log_probabilities[answer] : NAN;
}

const float *attn_attribution_rollout(const attn_attribution *a) {
    return a->rollout;
}

const float *attn_attribution_gradient(const attn_attribution *a) {
    return a->gradient;
}

const float *attn_attribution_pooling(const attn_attribution *a) {
    return a->pooling;
}

int attn_attribution_layers(const attn_attribution *a) {
    return a->layers[0];
}

const float *attn_attribution_attention(const attn_attribution *a, int layer, int *heads) {
    if (layer < 0 || layer >= a->layers[0]) {
        return NULL;
    }
    *heads = (int)a->attention[0][layer].heads;
    return a->attention[0][layer].values;
}

/* --- a table --------------------------------------------------------------------------- */

/* The attention that each token gets: the mean over queries, of one head or all. */
static double received(const layer_weights *w, int head, size_t token) {
    double sum = 0;
    int64_t first = head < 0 ? 0 : head, end = head < 0 ? w->heads : head + 1;
    for (int64_t h = first; h < end; h++) {
        for (int64_t i = 0; i < w->queries; i++) {
            sum += (double)w->values[(h * w->queries + i) * w->keys + (int64_t)token];
        }
    }
    return sum / (double)((end - first) * w->queries);
}

static void print_token(FILE *out, const char *text, size_t width) {
    size_t columns = utf8_width(text, strlen(text));
    (void)fprintf(out, "%s%*s", text, columns < width ? (int)(width - columns) : 0, "");
}

static void print_answer(const attn_attribution *a, size_t answer, const layer_weights *w, int head, size_t width, FILE *out) {
    size_t tokens = a->tokens.count;
    (void)fprintf(out, "answer \"");
    print_token(out, a->answers.texts[answer], 0);
    (void)fprintf(out, "\", probability %.6f\n", exp(a->log_probabilities[answer]));
    (void)fprintf(out, "%*s%s%s   rollout  gradient x input\n", (int)width, "", w ? "  attention" : "",
                  a->pooling ? "    pooling" : "");
    for (size_t i = 0; i < tokens; i++) {
        print_token(out, a->tokens.texts[i], width);
        (void)(w ? fprintf(out, "  %9.4f", received(w, head, i)) : 0);
        (void)(a->pooling ? fprintf(out, "  %9.4f", (double)a->pooling[i]) : 0);
        (void)fprintf(out, "  %8.4f  %+16.4f\n", (double)a->rollout[answer * tokens + i], (double)a->gradient[answer * tokens + i]);
    }
}

attn_status attn_attribution_write_terminal(const attn_attribution *a, int layer, int head, FILE *out) {
    if (!a || !out) {
        return fail(ATTN_ERROR_ARGUMENT, "an attribution and a stream were expected");
    }
    if (layer >= a->layers[0]) {
        return fail(ATTN_ERROR_ARGUMENT, "layer %d was asked for; the model has %d that read the text", layer, a->layers[0]);
    }
    const layer_weights *w = a->layers[0] ? &a->attention[0][layer < 0 ? a->layers[0] - 1 : layer] : NULL;
    if (w ? head >= w->heads : head >= 0) {
        return fail(ATTN_ERROR_ARGUMENT, "head %d was asked for; the layer has %d", head, w ? (int)w->heads : 0);
    }
    size_t width = 0;
    for (size_t i = 0; i < a->tokens.count; i++) {
        size_t columns = utf8_width(a->tokens.texts[i], strlen(a->tokens.texts[i]));
        width = columns > width ? columns : width;
    }
    for (size_t i = 0; i < a->answers.count; i++) {
        (void)(i ? fputc('\n', out) : 0);
        print_answer(a, i, w, head, width, out);
    }
    (void)fputs("\nAttention says where the model looked, not why it answered so (Jain & Wallace 2019).\n", out);
    return ferror(out) ? fail(ATTN_ERROR_FILE, "the table could not be written") : ATTN_OK;
}

/* --- JSON ------------------------------------------------------------------------------- */

static void write_numbers(const float *values, size_t count, int digits, FILE *out) {
    for (size_t i = 0; i < count; i++) {
        (void)fputs(i ? "," : "[", out);
        (void)(isfinite(values[i]) ? fprintf(out, "%.*g", digits, (double)values[i]) : fputs("null", out));
    }
    (void)fputc(']', out);
}

static void write_rows(const char *key, const float *values, size_t rows, size_t columns, int digits, FILE *out) {
    (void)fprintf(out, ",\n\"%s\": [", key);
    for (size_t i = 0; i < rows; i++) {
        (void)fputs(i ? ",\n" : "", out);
        write_numbers(values + i * columns, columns, digits, out);
    }
    (void)fputc(']', out);
}

static void write_texts(const char *key, const token_list *list, FILE *out) {
    (void)fprintf(out, "\"%s\": [", key);
    for (size_t i = 0; i < list->count; i++) {
        (void)fputs(i ? ", " : "", out);
        write_json_string(out, list->texts[i]);
    }
    (void)fputc(']', out);
}

void write_attribution_json(const attn_attribution *a, int digits, FILE *out) {
    static const char *const KEYS[ATTENTION_KINDS] = {"attention", "decoder_self", "cross"};
    size_t tokens = a->tokens.count, answers = a->answers.count;
    (void)fputc('{', out);
    write_texts("tokens", &a->tokens, out);
    (void)fputs(",\n", out);
    write_texts("answers", &a->answers, out);
    (void)fputs(",\n\"log_probabilities\": [", out);
    for (size_t i = 0; i < answers; i++) {
        (void)fprintf(out, "%s%.9g", i ? "," : "", a->log_probabilities[i]);
    }
    (void)fputc(']', out);
    write_rows("rollout", a->rollout, answers, tokens, digits, out);
    write_rows("gradient_times_input", a->gradient, answers, tokens, digits, out);
    if (a->pooling) {
        (void)fputs(",\n\"pooling\": ", out);
        write_numbers(a->pooling, tokens, digits, out);
    }
    for (int kind = 0; kind < ATTENTION_KINDS; kind++) {
        (void)fprintf(out, ",\n\"%s\": [", KEYS[kind]);
        for (int layer = 0; layer < a->layers[kind]; layer++) {
            const layer_weights *w = &a->attention[kind][layer];
            for (int64_t row = 0; row < w->heads * w->queries; row++) {
                (void)fputs(row == 0 ? layer ? ",\n[[" : "[[" : row % w->queries == 0 ? "],\n[" : ",", out);
                write_numbers(w->values + row * w->keys, (size_t)w->keys, digits, out);
            }
            (void)fputs("]]", out);
        }
        (void)fputc(']', out);
    }
    (void)fputs("}\n", out);
}

attn_status attn_attribution_write_json(const attn_attribution *a, FILE *out) {
    if (!a || !out) {
        return fail(ATTN_ERROR_ARGUMENT, "an attribution and a stream were expected");
    }
    write_attribution_json(a, 7, out);
    return ferror(out) ? fail(ATTN_ERROR_FILE, "the JSON could not be written") : ATTN_OK;
}
