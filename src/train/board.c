/* Tags are "train/loss", "validation/bleu", "cross_attention/layer_4": TensorBoard groups
 * by what stands before the slash. The step is the number of updates. */
#include "train/board.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "train/events.h"
#include "train/heat_picture.h"

enum { FEWEST_DRAWN = 8, MOST_DRAWN = 40, TAG_ROOM = 64, ROW_LABEL = 20, LINE_ROOM = 1024 };

struct board {
    event_writer *writer;
    board_log log;
    int complained;
    int tokens_shown; /* 1: the fixed pair's tokens are in this file */
};

static void say(const board_log *log, const char *prefix) {
    char line[LINE_ROOM];
    (void)snprintf(line, sizeof line, "%s; the training goes on: %s", prefix, attn_last_error());
    if (log->line) {
        log->line(log->context, line);
    }
}

/* Writes what was gathered if that went well; says the first failure. */
static void finish_group(board *b, attn_status status) {
    status = status ? status : events_flush(b->writer);
    if (status && !b->complained) {
        b->complained = 1;
        say(&b->log, "the TensorBoard files miss a part");
    }
}

board *board_open(const char *directory, int64_t updates, board_log log) {
    board *b = memory_allocate(1, sizeof *b);
    attn_status status = b ? events_open(directory, updates > 0 ? updates + 1 : 0, &b->writer) : ATTN_ERROR_MEMORY;
    if (status) {
        say(&log, "there are no TensorBoard files");
        memory_free(b);
        return NULL;
    }
    b->log = log;
    return b;
}

void board_close(board *b) {
    if (b) {
        events_close(b->writer);
        memory_free(b);
    }
}

/* --- curves and samples ----------------------------------------------------------- */

typedef struct point {
    const char *name;
    double value;
    int known;
} point;

static attn_status write_points(board *b, int64_t update, const char *group, const point *points, size_t count) {
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < count && !status; i++) {
        char tag[TAG_ROOM];
        (void)snprintf(tag, sizeof tag, "%s/%s", group, points[i].name);
        status = points[i].known ? events_scalar(b->writer, update, tag, points[i].value) : ATTN_OK;
    }
    return status;
}

void board_note_update(board *b, const journal_update *r) {
    if (!b) {
        return;
    }
    const point points[] = {{"loss", r->loss, 1},
                            {"token_accuracy", r->accuracy, 1},
                            {"learning_rate", r->rate, 1},
                            {"gradient_norm", r->norm, 1},
                            {"epoch", (double)r->epoch, 1},
                            {"skipped_updates", (double)r->skipped, 1},
                            {"target_tokens_per_second", r->tokens_per_second, !isnan(r->tokens_per_second)},
                            {"peak_memory_MiB", (double)r->memory / (1 << 20), 1}};
    finish_group(b, write_points(b, r->update, "train", points, sizeof points / sizeof *points));
}

/* Four spaces in front make a line literal in Markdown. */
static attn_status write_samples(board *b, const journal_validation *r) {
    char *markdown = NULL, tag[TAG_ROOM];
    size_t size = 0;
    FILE *out = open_memstream(&markdown, &size);
    for (size_t i = 0; i < r->sample_count && out; i++) {
        const journal_sample *s = &r->samples[i];
        (void)fprintf(out, "    source       %s\n    reference    %s\n    translation  %s\n\n---\n\n", s->source,
                      s->reference, s->translation);
    }
    int whole = out && fclose(out) == 0;
    (void)snprintf(tag, sizeof tag, "%s/samples", r->figures.split);
    attn_status status = whole ? events_text(b->writer, r->figures.update, tag, markdown)
                               : fail(ATTN_ERROR_MEMORY, "out of memory for the sample translations");
    free(markdown);
    return status;
}

void board_note_validation(board *b, const journal_validation *r) {
    if (!b) {
        return;
    }
    const attn_validation *v = &r->figures;
    const point points[] = {{"loss", v->loss, !isnan(v->loss)},
                            {"token_accuracy", v->token_accuracy, !isnan(v->token_accuracy)},
                            {"bleu", v->bleu, v->bleu >= 0},
                            {"chrf", v->chrf, v->chrf >= 0}};
    attn_status status = write_points(b, v->update, v->split, points, sizeof points / sizeof *points);
    for (int i = 0; i < v->metric_count && !status; i++) {
        const point own = {v->metrics[i].name, v->metrics[i].value, !isnan(v->metrics[i].value)};
        status = write_points(b, v->update, v->split, &own, 1);
    }
    finish_group(b, status || r->sample_count == 0 ? status : write_samples(b, r));
}

/* --- where it looks -------------------------------------------------------------- */

/* The line of the first pair of readable length on both sides, or else of the first. */
static size_t fixed_line(const corpus *c) {
    for (size_t i = 0; i < c->pairs; i++) {
        size_t source = c->source_offsets[i + 1] - c->source_offsets[i];
        size_t target = c->target_offsets[i + 1] - c->target_offsets[i];
        if (source >= FEWEST_DRAWN && source <= MOST_DRAWN && target >= FEWEST_DRAWN && target <= MOST_DRAWN) {
            return c->line[i];
        }
    }
    return c->line[0];
}

/* The tokens by the numbers that stand at the pictures' edges. */
static attn_status write_tokens(board *b, int64_t update, const attn_explanation *e) {
    char *markdown = NULL;
    size_t size = 0, targets = attn_explanation_tokens(e, 0), sources = attn_explanation_tokens(e, 1);
    FILE *out = open_memstream(&markdown, &size);
    if (out) {
        (void)fputs("Rows: the reference's tokens. Columns: the source's.\n\n", out);
    }
    for (size_t i = 0; (i < targets || i < sources) && out; i++) {
        const char *row = i < targets ? attn_explanation_token(e, 0, i) : "";
        const char *column = i < sources ? attn_explanation_token(e, 1, i) : "";
        int columns = (int)utf8_width(row, strlen(row));
        (void)fprintf(out, "    %3zu %s%*s %s\n", i, row, columns < ROW_LABEL ? ROW_LABEL - columns : 0, "", column);
    }
    int whole = out && fclose(out) == 0;
    attn_status status = whole ? events_text(b->writer, update, "cross_attention/tokens", markdown)
                               : fail(ATTN_ERROR_MEMORY, "out of memory for the tokens of the attention pictures");
    free(markdown);
    return status;
}

static attn_status draw_layer(board *b, int64_t update, const attn_explanation *e, int layer) {
    const float *weights;
    int64_t heads, queries, keys;
    heat_picture picture = {0};
    char tag[TAG_ROOM];
    (void)snprintf(tag, sizeof tag, "cross_attention/layer_%d", layer + 1);
    attn_status status = attn_explanation_weights(e, ATTN_DECODER_CROSS, layer, &weights, &heads, &queries, &keys);
    status = status ? status : heat_picture_draw_mean(weights, heads, queries, keys, &picture);
    status = status ? status
                    : events_image(b->writer, update, tag, picture.png, picture.size, picture.width, picture.height);
    heat_picture_release(&picture);
    return status;
}

void board_draw_attention(board *b, int64_t update, const attn_model *model, const parallel_text *text,
                          const corpus *pairs) {
    if (!b) {
        return;
    }
    size_t line = fixed_line(pairs);
    char *source = memory_copy_bytes(text->source[line].bytes, text->source[line].length);
    char *target = memory_copy_bytes(text->target[line].bytes, text->target[line].length);
    attn_explanation *e = NULL;
    attn_status status = source && target ? attn_explain(model, source, target, NULL, &e) : ATTN_ERROR_MEMORY;
    for (int layer = 0; layer < attn_explanation_layers(e, ATTN_DECODER_CROSS) && !status; layer++) {
        status = draw_layer(b, update, e, layer);
    }
    if (!status && !b->tokens_shown) {
        status = write_tokens(b, update, e);
        b->tokens_shown = 1;
    }
    finish_group(b, status);
    attn_explanation_free(e);
    memory_free(source);
    memory_free(target);
}
