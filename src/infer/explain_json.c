/* Weights as nested arrays, a line a head. Numbers that JSON cannot say become null. */
#include "infer/explain_json.h"

#include <math.h>

void write_json_string(FILE *out, const char *text) {
    (void)fputc('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < ' ' || c == '<' || c == '>' || c == '&' || c == 0x7f) {
            (void)fprintf(out, "\\u%04x", c);
        } else {
            if (c == '"' || c == '\\') {
                (void)fputc('\\', out);
            }
            (void)fputc(c, out);
        }
    }
    (void)fputc('"', out);
}

static void write_tokens(FILE *out, const char *key, const token_list *list) {
    (void)fprintf(out, "\"%s\": [", key);
    for (size_t i = 0; i < list->count; i++) {
        (void)fputs(i ? ", " : "", out);
        write_json_string(out, list->texts[i]);
    }
    (void)fputs("],\n", out);
}

static void write_layer(FILE *out, const layer_weights *w, int digits) {
    const float *value = w->values;
    (void)fputc('[', out);
    for (int64_t h = 0; h < w->heads; h++) {
        (void)fputs(h ? ",\n[" : "[", out);
        for (int64_t i = 0; i < w->queries; i++) {
            (void)fputs(i ? "," : "", out);
            for (int64_t j = 0; j < w->keys; j++, value++) {
                (void)fputc(j ? ',' : '[', out);
                if (isfinite(*value)) {
                    (void)fprintf(out, "%.*g", digits, (double)*value);
                } else {
                    (void)fputs("null", out);
                }
            }
            (void)fputc(']', out);
        }
        (void)fputc(']', out);
    }
    (void)fputc(']', out);
}

void write_explanation_json(const attn_explanation *e, int digits, FILE *out) {
    static const char *const KEYS[ATTENTION_KINDS] = {"encoder_self", "decoder_self", "cross"};
    (void)fputs("{", out);
    write_tokens(out, "source", &e->source);
    write_tokens(out, "target", &e->target);
    (void)fputs("\"translation\": ", out);
    write_json_string(out, e->text);
    for (int kind = 0; kind < ATTENTION_KINDS; kind++) {
        (void)fprintf(out, ",\n\"%s\": [", KEYS[kind]);
        for (int layer = 0; layer < e->layers[kind]; layer++) {
            (void)fputs(layer ? ",\n" : "", out);
            write_layer(out, &e->weights[kind][layer], digits);
        }
        (void)fputc(']', out);
    }
    (void)fputs("}\n", out);
}

attn_status attn_explanation_write_json(const attn_explanation *explanation, FILE *out) {
    if (!explanation || !out) {
        return fail(ATTN_ERROR_ARGUMENT, "an explanation and a stream were expected");
    }
    write_explanation_json(explanation, 7, out);
    return ferror(out) ? fail(ATTN_ERROR_FILE, "the JSON could not be written") : ATTN_OK;
}
