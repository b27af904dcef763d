/* What a model of pictures or sounds saw, as a page, as JSON and in a terminal. */
#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/memory.h"
#include "infer/explain_json.h"
#include "infer/sight.h"

/* --- JSON -------------------------------------------------------------------------------- */

static void write_numbers(FILE *out, const float *values, int64_t count) {
    (void)fputc('[', out);
    for (int64_t i = 0; i < count; i++) {
        (void)(isfinite(values[i]) ? fprintf(out, "%s%.9g", i ? "," : "", (double)values[i]) : fprintf(out, "%snull", i ? "," : ""));
    }
    (void)fputc(']', out);
}

attn_status attn_sight_write_json(const attn_sight *s, FILE *out) {
    (void)fputs("{\"file\": ", out);
    write_json_string(out, s->path);
    (void)fputs(",\n\"label\": ", out);
    write_json_string(out, attn_sight_label(s));
    (void)fprintf(out, ",\n\"probability\": %.9g,\n\"rows\": %lld,\n\"columns\": %lld,\n\"rollout\": ", attn_sight_probability(s),
                  (long long)s->rows, (long long)s->columns);
    write_numbers(out, s->rollout, s->rows * s->columns);
    if (s->pooling) {
        (void)fputs(",\n\"pooling\": ", out);
        write_numbers(out, s->pooling, s->columns);
    }
    (void)fputs(",\n\"gradient_times_input\": ", out);
    write_numbers(out, s->gradient, s->rows * s->gradient_columns);
    (void)fputs(",\n\"attention\": [", out);
    for (int l = 0; l < s->layers; l++) {
        (void)fputs(l ? ",\n[" : "[", out);
        for (int h = 0; h < s->heads; h++) {
            (void)fputs(h ? ",\n" : "", out);
            write_numbers(out, attn_sight_attention(s, l, h), s->rows * s->columns);
        }
        (void)fputc(']', out);
    }
    (void)fputs("]}\n", out);
    return ferror(out) ? fail(ATTN_ERROR_FILE, "the explanation could not be written") : ATTN_OK;
}

/* --- terminal ---------------------------------------------------------------------------- */

attn_status attn_sight_write_terminal(const attn_sight *s, int layer, int head, int colour, FILE *out) {
    static const char SHADES[] = " .:-=+*#%@";
    const float *map = layer < 0 ? s->rollout : attn_sight_attention(s, layer, head < 0 ? 0 : head);
    int64_t wide = s->columns < 80 ? s->columns : 80;
    float largest = 0;
    if (!map) {
        return fail(ATTN_ERROR_ARGUMENT, "layer %d, head %d: the model has %d layers of %d heads, counted from 0", layer, head,
                    s->layers, s->heads);
    }
    for (int64_t i = 0; i < s->rows * s->columns; i++) {
        largest = fmaxf(largest, map[i]);
    }
    for (int64_t y = 0; y < s->rows; y++) {
        for (int64_t x = 0; x < wide; x++) {
            float share = largest > 0 ? map[y * s->columns + x * s->columns / wide] / largest : 0;
            int shade = (int)(share * 9 + 0.5f);
            if (colour) {
                (void)fprintf(out, "\033[48;5;%dm  ", 232 + (int)(share * 23 + 0.5f));
            } else {
                (void)fprintf(out, "%c%c", SHADES[shade < 0 ? 0 : shade > 9 ? 9 : shade], SHADES[shade < 0 ? 0 : shade > 9 ? 9 : shade]);
            }
        }
        (void)fputs(colour ? "\033[0m\n" : "\n", out);
    }
    return ferror(out) ? fail(ATTN_ERROR_FILE, "the explanation could not be written") : ATTN_OK;
}

/* --- a page ------------------------------------------------------------------------------ */

static const char HEAD[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
    "<title>Where the model looked</title>\n<style>\n"
    ":root{--bg:#fbfaf8;--fg:#22252b;--soft:#6a707c;--line:#dcd9d3;--card:#fff}\n"
    "@media (prefers-color-scheme:dark){:root{--bg:#16181d;--fg:#e7e8ea;--soft:#9298a5;--line:#31353e;--card:#1e2128}}\n"
    "body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif}\n"
    "main{max-width:78rem;margin:0 auto;padding:1.5rem 1.25rem 4rem}\nh1{font-size:1.35rem;margin:0 0 1rem}\n"
    "h2{font-size:.95rem;margin:0 0 .6rem}\n"
    ".card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.1rem;margin:0 0 1rem}\n"
    ".maps{display:flex;flex-wrap:wrap;gap:.8rem}\nfigure{margin:0}\nimg{display:block;border-radius:4px;image-rendering:pixelated}\n"
    "figcaption,.soft{color:var(--soft);font-size:.82rem}\ntable{border-collapse:collapse;font-size:.9rem}\n"
    "td{padding:.1rem 1rem .1rem 0}\n</style>\n</head>\n<body>\n<main>\n<h1>Where the model looked</h1>\n";

static void write_text(FILE *out, const char *text) {
    for (; *text; text++) {
        switch (*text) {
        case '<':
            (void)fputs("&lt;", out);
            break;
        case '>':
            (void)fputs("&gt;", out);
            break;
        case '&':
            (void)fputs("&amp;", out);
            break;
        case '"':
            (void)fputs("&quot;", out);
            break;
        default:
            (void)fputc(*text, out);
        }
    }
}

static void write_base64(FILE *out, const unsigned char *bytes, size_t size) {
    static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        unsigned value = (unsigned)bytes[i] << 16 | (i + 1 < size ? (unsigned)bytes[i + 1] << 8 : 0) |
                         (i + 2 < size ? (unsigned)bytes[i + 2] : 0);
        (void)fputc(LETTERS[value >> 18], out);
        (void)fputc(LETTERS[value >> 12 & 63], out);
        (void)fputc(i + 1 < size ? LETTERS[value >> 6 & 63] : '=', out);
        (void)fputc(i + 2 < size ? LETTERS[value & 63] : '=', out);
    }
}

static attn_status write_map(FILE *out, const attn_sight *s, const float *map, int64_t columns, int is_signed, const char *caption) {
    picture drawn;
    unsigned char *bytes = NULL;
    size_t size = 0;
    attn_status status = sight_draw_map(s, map, columns, is_signed, &drawn);
    status = status ? status : picture_encode(&drawn, &bytes, &size);
    if (!status) {
        (void)fprintf(out, "<figure><img width=\"%d\" height=\"%d\" alt=\"%s\" src=\"data:image/png;base64,", drawn.width,
                      drawn.height, caption);
        write_base64(out, bytes, size);
        (void)fprintf(out, "\"><figcaption>%s</figcaption></figure>\n", caption);
    }
    memory_free(bytes);
    picture_release(&drawn);
    return status;
}

static void write_labels(FILE *out, const attn_sight *s) {
    enum { SHOWN = 5 };
    size_t last = s->labels->size;
    float above = INFINITY;
    (void)fputs("<table>", out);
    for (int i = 0; i < SHOWN; i++) {
        size_t best = s->labels->size;
        for (size_t k = 0; k < s->labels->size; k++) {
            float p = s->probabilities[k];
            int left = p < above || (p == above && k > last);
            best = left && (best == s->labels->size || p > s->probabilities[best]) ? k : best;
        }
        if (best == s->labels->size) {
            break;
        }
        last = best;
        above = s->probabilities[best];
        (void)fprintf(out, "<tr><td>%s", best == s->label ? "<b>" : "");
        write_text(out, vocabulary_piece(s->labels, best).bytes);
        (void)fprintf(out, "%s</td><td>%.4f</td></tr>", best == s->label ? "</b>" : "", (double)s->probabilities[best]);
    }
    (void)fputs("</table>\n", out);
}

static attn_status write_page(FILE *out, const attn_sight *s) {
    (void)fputs(HEAD, out);
    (void)fputs("<section class=\"card\"><h2>", out);
    write_text(out, s->path);
    (void)fputs("</h2>\n", out);
    write_labels(out, s);
    (void)fputs("</section>\n<section class=\"card\"><h2>Label: ", out);
    write_text(out, attn_sight_label(s));
    (void)fputs("</h2><div class=\"maps\">\n", out);
    attn_status status = write_map(out, s, NULL, 1, 0, s->kind == SIGNAL_PICTURE ? "the picture" : "the sound, low below, over time");
    status = status ? status : write_map(out, s, s->rollout, s->columns, 0, "attention rolled out over all layers");
    status = status ? status : write_map(out, s, s->gradient, s->gradient_columns, 1, "gradient times input: red for the label, blue against");
    status = status || !s->pooling ? status : write_map(out, s, s->pooling, s->columns, 0, "the pooling's attention");
    (void)fputs("</div><p class=\"soft\">Each map is scaled to its own largest value. Attention says where the model looked, not "
                "why it decided so (Jain &amp; Wallace 2019).</p></section>\n", out);
    for (int l = 0; l < s->layers && !status; l++) {
        (void)fprintf(out, "<section class=\"card\"><h2>Layer %d</h2><div class=\"maps\">\n", l);
        for (int h = 0; h < s->heads && !status; h++) {
            char caption[32];
            (void)snprintf(caption, sizeof caption, "head %d", h);
            status = write_map(out, s, attn_sight_attention(s, l, h), s->columns, 0, caption);
        }
        (void)fputs("</div></section>\n", out);
    }
    (void)fputs("</main>\n</body>\n</html>\n", out);
    return status;
}

attn_status attn_sight_write_html(const attn_sight *s, const char *path) {
    char *page = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&page, &size);
    if (!out) {
        return ATTN_ERROR_MEMORY;
    }
    attn_status status = write_page(out, s);
    if (fclose(out) && !status) {
        status = ATTN_ERROR_MEMORY;
    }
    status = status ? status : file_replace(path, page, size);
    free(page);
    return status;
}
