#include "train/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

struct journal {
    char *path;
    FILE *file;
};

/* --- going on in an old journal -------------------------------------------------- */

/* 1 if the line [text, text + length) belongs to what happened up to `last_update`. */
static int line_stays(const char *text, size_t length, int64_t last_update) {
    json_t *line = json_loadb(text, length, 0, NULL);
    const char *split = json_string_value(json_object_get(line, "split"));
    const json_t *update = json_object_get(line, "update");
    int stays = json_is_integer(update) && json_integer_value(update) <= last_update &&
                !(split && strcmp(split, "validation") != 0);
    json_decref(line);
    return stays;
}

/* Rewrites the file without its end where something there is to be dropped. */
static attn_status drop_later_lines(const char *path, int64_t last_update) {
    char *bytes;
    size_t size, keep = 0;
    attn_status status = file_read(path, &bytes, &size);
    if (status) {
        return status;
    }
    while (keep < size) {
        const char *line = bytes + keep, *end = memchr(line, '\n', size - keep);
        if (!end || !line_stays(line, (size_t)(end - line), last_update)) {
            break;
        }
        keep += (size_t)(end - line) + 1;
    }
    if (keep < size) {
        status = file_replace(path, bytes, keep);
    }
    memory_free(bytes);
    return status;
}

attn_status journal_open(const char *directory, int64_t last_update, journal **opened) {
    journal *j = memory_allocate(1, sizeof *j);
    *opened = NULL;
    if (!j) {
        return ATTN_ERROR_MEMORY;
    }
    j->path = file_join(directory, JOURNAL_FILE);
    attn_status status = j->path ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (!status && file_exists(j->path)) {
        status = drop_later_lines(j->path, last_update);
    }
    if (!status) {
        j->file = fopen(j->path, "ae");
        status = j->file ? ATTN_OK : fail(ATTN_ERROR_FILE, "cannot write %s: %s", j->path, strerror(errno));
    }
    if (status) {
        journal_close(j);
        return status;
    }
    *opened = j;
    return ATTN_OK;
}

/* --- lines ----------------------------------------------------------------------- */

static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

/* Takes the object over. */
static attn_status write_line(journal *j, json_t *line) {
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    json_decref(line);
    if (!text) {
        return fail(ATTN_ERROR_MEMORY, "out of memory while writing %s", j->path);
    }
    int written = fprintf(j->file, "%s\n", text) > 0 && fflush(j->file) == 0;
    int error = errno;
    free(text);
    return written ? ATTN_OK : fail(ATTN_ERROR_FILE, "cannot write %s: %s", j->path, strerror(error));
}

attn_status journal_note_update(journal *j, const journal_update *r) {
    json_t *line = json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I}", "type", "update", "update",
                             (json_int_t)r->update, "epoch", (json_int_t)r->epoch, "loss", number(r->loss), "accuracy",
                             number(r->accuracy), "rate",
                             number(r->rate), "norm", number(r->norm), "tokens_per_second",
                             number(r->tokens_per_second), "seconds", number(r->seconds), "memory",
                             (json_int_t)r->memory, "skipped", (json_int_t)r->skipped);
    return write_line(j, line);
}

attn_status journal_note_validation(journal *j, const journal_validation *r) {
    const attn_validation *v = &r->figures;
    json_t *samples = json_array();
    for (size_t i = 0; i < r->sample_count; i++) {
        const journal_sample *s = &r->samples[i];
        json_t *sample = json_pack("{s:s, s:s, s:s}", "source", s->source, "reference", s->reference, "translation",
                                   s->translation);
        if (!sample || json_array_append_new(samples, sample)) {
            json_decref(samples);
            return fail(ATTN_ERROR_MEMORY, "out of memory while writing %s", j->path);
        }
    }
    json_t *line = json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:b, s:o, s:o}", "type", "validation", "split",
                             v->split, "update", (json_int_t)v->update, "epoch", (json_int_t)v->epoch, "loss",
                             number(v->loss), "accuracy", number(v->token_accuracy), "bleu",
                             number(v->bleu < 0 ? NAN : v->bleu), "chrf", number(v->chrf < 0 ? NAN : v->chrf), "best",
                             v->best, "seconds", number(r->seconds), "samples", samples);
    for (int i = 0; i < v->metric_count; i++) {
        if (json_object_set_new(line, v->metrics[i].name, number(v->metrics[i].value))) {
            json_decref(line);
            return fail(ATTN_ERROR_MEMORY, "out of memory while writing %s", j->path);
        }
    }
    return write_line(j, line);
}

attn_status journal_sync(journal *j) {
    if (fflush(j->file) || fsync(fileno(j->file))) {
        return fail(ATTN_ERROR_FILE, "cannot write %s: %s", j->path, strerror(errno));
    }
    return ATTN_OK;
}

void journal_close(journal *j) {
    if (j) {
        if (j->file) {
            (void)fclose(j->file);
        }
        memory_free(j->path);
        memory_free(j);
    }
}
