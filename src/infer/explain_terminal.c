/* Cross-attention as a table of shaded cells: a row a produced token, a column a source
 * token. Where the source's tokens fit side by side their columns are as wide as they
 * are; otherwise they stand upright over columns of two, in panels of as many as fit
 * into 80. Cells are painted with the 256 colours' nearest to viridis (van der Walt &
 * Smith 2015), or with block characters. */
#include <string.h>

#include "base/utf8.h"
#include "infer/explain.h"

enum { SCREEN = 80, WIDEST_LABEL = 18, TALLEST_LABEL = 12, UPRIGHT_CELL = 2, LEVELS = 10, SHADES = 5 };

static const int COLOURS[LEVELS] = {234, 53, 54, 60, 24, 30, 36, 71, 149, 227};
static const char *const BLOCKS[SHADES] = {" ", "\xE2\x96\x91", "\xE2\x96\x92", "\xE2\x96\x93", "\xE2\x96\x88"};

typedef struct heat_map {
    const attn_explanation *e;
    FILE *out;
    int colour;
    int64_t queries, keys;
    float *weights; /* [queries, keys]: of one head, or the mean */
    int label_width;
} heat_map;

/* A token without the space of its word's start; U+2581 where it is that space alone. */
static const char *label_of(const token_list *list, int64_t i) {
    const char *text = list->texts[i];
    return text[0] != ' ' ? text : text[1] ? text + 1 : "\xE2\x96\x81";
}

static int shown_width(const char *text) {
    size_t width = utf8_width(text, strlen(text));
    return width > WIDEST_LABEL ? WIDEST_LABEL : (int)width;
}

/* The label in exactly `width` columns, at the left or the right of them. */
static void print_label(FILE *out, const char *text, int width, int right) {
    size_t length = strlen(text), columns = utf8_width(text, length);
    int cut = columns > (size_t)width;
    if (cut) {
        length = utf8_truncate_width(text, length, (size_t)width - 1);
        columns = utf8_width(text, length) + 1;
    }
    int space = width - (int)columns;
    (void)fprintf(out, "%*s%.*s%s%*s", right ? space : 0, "", (int)length, text, cut ? "\xE2\x80\xA6" : "",
                  right ? 0 : space, "");
}

static void print_cell(const heat_map *m, float weight, int width) {
    float share = weight < 0 ? 0 : weight > 1 ? 1 : weight;
    if (m->colour) {
        int level = (int)(share * (LEVELS - 1) + 0.5f);
        level = level == 0 && share > 0.02f ? 1 : level;
        (void)fprintf(m->out, "\033[48;5;%dm%*s\033[0m", COLOURS[level], width, "");
        return;
    }
    int shade = (int)(share * (SHADES - 1) + 0.5f);
    shade = shade == 0 && share >= 0.05f ? 1 : shade;
    for (int i = 0; i < width; i++) {
        (void)fputs(BLOCKS[shade], m->out);
    }
}

/* One codepoint a line, the last ones on one line just above the cells. */
static void print_upright_labels(const heat_map *m, int64_t first, int64_t count) {
    int tallest = 0;
    for (int64_t j = first; j < first + count; j++) {
        const char *text = label_of(&m->e->source, j);
        int height = 0;
        for (size_t at = 0, length = strlen(text); at < length;) {
            uint32_t codepoint;
            at += utf8_decode(text + at, length - at, &codepoint);
            height += utf8_codepoint_width(codepoint) > 0;
        }
        tallest = height > tallest ? height : tallest;
    }
    tallest = tallest > TALLEST_LABEL ? TALLEST_LABEL : tallest;
    for (int line = 0; line < tallest; line++) {
        (void)fprintf(m->out, "%*s", m->label_width + 1, "");
        for (int64_t j = first; j < first + count; j++) {
            const char *text = label_of(&m->e->source, j);
            size_t length = strlen(text), at = 0;
            int height = 0, wanted = line;
            /* Labels that are too tall lose their end; short ones stand on the cells. */
            for (size_t k = 0; k < length;) {
                uint32_t codepoint;
                k += utf8_decode(text + k, length - k, &codepoint);
                height += utf8_codepoint_width(codepoint) > 0;
            }
            wanted -= tallest - (height > tallest ? tallest : height);
            uint32_t found = ' ';
            size_t start = 0, end = 0;
            for (int seen = -1; at < length && wanted >= 0;) {
                uint32_t codepoint;
                size_t bytes = utf8_decode(text + at, length - at, &codepoint);
                seen += utf8_codepoint_width(codepoint) > 0;
                if (seen == wanted) {
                    found = end > start ? found : codepoint;
                    start = end > start ? start : at;
                    end = at + bytes; /* with its combining marks */
                } else if (seen > wanted) {
                    break;
                }
                at += bytes;
            }
            int width = end > start ? utf8_codepoint_width(found) : 0;
            (void)fprintf(m->out, "%.*s%*s", (int)(end - start), text + start, UPRIGHT_CELL - width, "");
        }
        (void)fputc('\n', m->out);
    }
}

static void print_panel(const heat_map *m, int64_t first, int64_t count, int upright) {
    if (upright) {
        print_upright_labels(m, first, count);
    } else {
        (void)fprintf(m->out, "%*s", m->label_width + 1, "");
        for (int64_t j = first; j < first + count; j++) {
            const char *label = label_of(&m->e->source, j);
            print_label(m->out, label, shown_width(label), 0);
            (void)fputc(' ', m->out);
        }
        (void)fputc('\n', m->out);
    }
    for (int64_t i = 0; i < m->queries; i++) {
        print_label(m->out, label_of(&m->e->target, i), m->label_width, 1);
        (void)fputc(' ', m->out);
        for (int64_t j = first; j < first + count; j++) {
            int width = upright ? UPRIGHT_CELL : shown_width(label_of(&m->e->source, j)) + 1;
            print_cell(m, m->weights[i * m->keys + j], width);
        }
        (void)fputc('\n', m->out);
    }
}

static void print_legend(const heat_map *m) {
    (void)fprintf(m->out, "%*s 0 ", m->label_width, "");
    for (int i = 0; i < LEVELS; i++) {
        print_cell(m, (float)i / (LEVELS - 1), 2);
    }
    (void)fputs(" 1\n", m->out);
}

static void print_map(heat_map *m) {
    int across = 0;
    for (int64_t i = 0; i < m->queries; i++) {
        int width = shown_width(label_of(&m->e->target, i));
        m->label_width = width > m->label_width ? width : m->label_width;
    }
    for (int64_t j = 0; j < m->keys; j++) {
        across += shown_width(label_of(&m->e->source, j)) + 1;
    }
    int room = SCREEN - m->label_width - 1;
    int upright = across > room;
    int64_t panel = upright ? room / UPRIGHT_CELL : m->keys;
    for (int64_t first = 0; first < m->keys; first += panel) {
        if (first) {
            (void)fputc('\n', m->out);
        }
        print_panel(m, first, m->keys - first < panel ? m->keys - first : panel, upright);
    }
    print_legend(m);
}

attn_status attn_explanation_write_terminal(const attn_explanation *explanation, int layer, int head, int colour,
                                            FILE *out) {
    if (!explanation || !out) {
        return fail(ATTN_ERROR_ARGUMENT, "an explanation and a stream were expected");
    }
    int layers = explanation->layers[ATTN_DECODER_CROSS];
    if (layer >= layers) {
        return fail(ATTN_ERROR_ARGUMENT, "layer %d was asked for, the decoder has 0 to %d", layer, layers - 1);
    }
    const layer_weights *w = &explanation->weights[ATTN_DECODER_CROSS][layer < 0 ? layers - 1 : layer];
    if (head >= w->heads) {
        return fail(ATTN_ERROR_ARGUMENT, "head %d was asked for, the layer has 0 to %d", head, (int)w->heads - 1);
    }
    heat_map m = {.e = explanation, .out = out, .colour = colour, .queries = w->queries, .keys = w->keys};
    int64_t cells = w->queries * w->keys;
    m.weights = memory_allocate((size_t)cells, sizeof *m.weights);
    if (!m.weights) {
        return ATTN_ERROR_MEMORY;
    }
    for (int64_t h = head < 0 ? 0 : head; h < (head < 0 ? w->heads : head + 1); h++) {
        for (int64_t i = 0; i < cells; i++) {
            m.weights[i] += w->values[h * cells + i] / (float)(head < 0 ? w->heads : 1);
        }
    }
    (void)fprintf(out, "Cross-attention, layer %d (0 to %d), ", layer < 0 ? layers - 1 : layer, layers - 1);
    (void)(head < 0 ? fprintf(out, "mean of %d heads\n", (int)w->heads) : fprintf(out, "head %d\n", head));
    print_map(&m);
    memory_free(m.weights);
    return ferror(out) ? fail(ATTN_ERROR_FILE, "the heat map could not be written") : ATTN_OK;
}
