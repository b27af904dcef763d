#include "data/text.h"

#include <stdint.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/utf8.h"

void text_options_defaults(text_options *options) {
    *options = (text_options){.invalid = INVALID_REFUSE, .keep_blank = false};
}

/* A list of repaired lines, kept as one allocation chain: each block begins with
 * a pointer to the next. */
typedef struct repaired_line {
    struct repaired_line *next;
    char *bytes;
} repaired_line;

typedef struct text_storage {
    char *bytes; /* the whole file */
    repaired_line *repaired;
} text_storage;

static void storage_free(void *pointer) {
    text_storage *storage = pointer;
    if (!storage)
        return;
    for (repaired_line *r = storage->repaired; r;) {
        repaired_line *next = r->next;
        memory_free(r->bytes);
        memory_free(r);
        r = next;
    }
    memory_free(storage->bytes);
    memory_free(storage);
}

static attn_status repair_line(text_storage *storage, text_line *line) {
    repaired_line *r = memory_allocate(1, sizeof *r);
    if (!r)
        return ATTN_ERROR_MEMORY;
    size_t length;
    attn_status status = utf8_repair(line->bytes, line->length, &r->bytes, &length, NULL);
    if (status) {
        memory_free(r);
        return status;
    }
    r->next = storage->repaired;
    storage->repaired = r;
    *line = (text_line){r->bytes, length};
    return ATTN_OK;
}

/* How a line that is dropped is marked until the pairs are put together. */
static const char dropped[] = "";

/* Cuts storage->bytes into text->lines and checks each. With INVALID_SKIP an
 * invalid line is left with bytes == dropped. */
static attn_status cut_lines(text_storage *storage, size_t size, const char *name, const text_options *options,
                             text_lines *text) {
    const char *at = storage->bytes, *end = storage->bytes + size;
    if (size >= 3 && memcmp(at, "\xEF\xBB\xBF", 3) == 0)
        at += 3;
    size_t count = 0;
    for (const char *s = at; s < end; count++) {
        const char *newline = memchr(s, '\n', (size_t)(end - s));
        s = newline ? newline + 1 : end;
    }
    if (count > UINT32_MAX)
        return fail(ATTN_ERROR_UNSUPPORTED, "%s has %zu lines; at most %u are supported", name, count, UINT32_MAX);
    text->lines = memory_allocate_raw(count, sizeof *text->lines);
    if (!text->lines)
        return ATTN_ERROR_MEMORY;
    for (; at < end; text->count++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        text_line line = {at, (size_t)((newline ? newline : end) - at)};
        if (newline && line.length > 0 && line.bytes[line.length - 1] == '\r')
            line.length--;
        at = newline ? newline + 1 : end;
        if (memchr(line.bytes, 0, line.length))
            return fail(ATTN_ERROR_FORMAT, "%s line %zu holds a NUL byte; text was expected", name, text->count + 1);
        size_t valid = utf8_valid_prefix(line.bytes, line.length);
        if (valid != line.length) {
            if (options->invalid == INVALID_REFUSE)
                return fail(ATTN_ERROR_FORMAT, "%s line %zu is not valid UTF-8 (byte %zu of the line)", name,
                            text->count + 1, valid + 1);
            text->invalid++;
            if (options->invalid == INVALID_SKIP) {
                line = (text_line){dropped, 0};
            } else {
                attn_status status = repair_line(storage, &line);
                if (status)
                    return status;
            }
        }
        text->lines[text->count] = line;
    }
    return ATTN_OK;
}

/* Takes over `bytes` in every case. */
static attn_status parse_owned(char *bytes, size_t size, const char *name, const text_options *options,
                               text_lines *text) {
    *text = (text_lines){0};
    text_storage *storage = memory_allocate(1, sizeof *storage);
    if (!storage) {
        memory_free(bytes);
        return ATTN_ERROR_MEMORY;
    }
    storage->bytes = bytes;
    text->storage = storage;
    attn_status status = cut_lines(storage, size, name, options, text);
    if (status)
        text_lines_release(text);
    return status;
}

static attn_status read_marked(const char *path, const text_options *options, text_lines *text) {
    *text = (text_lines){0};
    char *bytes;
    size_t size;
    attn_status status = file_read(path, &bytes, &size);
    if (status)
        return status;
    return parse_owned(bytes, size, strcmp(path, "-") == 0 ? "standard input" : path, options, text);
}

/* Closes the gaps that dropped lines left. */
static void remove_dropped(text_lines *text) {
    size_t kept = 0;
    for (size_t i = 0; i < text->count; i++)
        if (text->lines[i].bytes != dropped)
            text->lines[kept++] = text->lines[i];
    text->count = kept;
}

attn_status text_lines_read(const char *path, const text_options *options, text_lines *text) {
    attn_status status = read_marked(path, options, text);
    if (!status)
        remove_dropped(text);
    return status;
}

attn_status text_lines_parse(const char *bytes, size_t size, const char *name, const text_options *options,
                             text_lines *text) {
    *text = (text_lines){0};
    char *copy = memory_copy_bytes(bytes, size);
    if (!copy)
        return ATTN_ERROR_MEMORY;
    attn_status status = parse_owned(copy, size, name, options, text);
    if (!status)
        remove_dropped(text);
    return status;
}

void text_lines_release(text_lines *text) {
    memory_free(text->lines);
    storage_free(text->storage);
    *text = (text_lines){0};
}

bool text_line_is_blank(text_line line) {
    for (size_t i = 0; i < line.length; i++)
        if (line.bytes[i] != ' ' && line.bytes[i] != '\t')
            return false;
    return true;
}

/* Drops marked and (unless they are kept) blank pairs; fails when none is left. */
static attn_status keep_pairs(parallel_text *text, const char *name, const text_options *options) {
    size_t kept = 0;
    for (size_t i = 0; i < text->lines; i++) {
        if (text->source[i].bytes == dropped || text->target[i].bytes == dropped)
            continue;
        if (!options->keep_blank && (text_line_is_blank(text->source[i]) || text_line_is_blank(text->target[i]))) {
            text->blank++;
            continue;
        }
        text->source[kept] = text->source[i];
        text->target[kept] = text->target[i];
        kept++;
    }
    text->pairs = kept;
    if (kept > 0)
        return ATTN_OK;
    if (text->lines == 0)
        return fail(ATTN_ERROR_FORMAT, "%s is empty; pairs of sentences were expected", name);
    return fail(ATTN_ERROR_FORMAT, "%s has no pair of sentences: of %zu lines %zu have an empty side and %zu are "
                "not valid UTF-8", name, text->lines, text->blank, text->invalid);
}

attn_status parallel_text_read(const char *source_path, const char *target_path, const text_options *options,
                               parallel_text *text) {
    *text = (parallel_text){0};
    if (strcmp(source_path, "-") == 0 && strcmp(target_path, "-") == 0)
        return fail(ATTN_ERROR_ARGUMENT, "source and target cannot both be standard input");
    text_lines source = {0}, target = {0};
    attn_status status = read_marked(source_path, options, &source);
    if (!status)
        status = read_marked(target_path, options, &target);
    if (!status && source.count != target.count)
        status = fail(ATTN_ERROR_FORMAT, "%s has %zu lines and %s has %zu; parallel text needs equal counts",
                      source_path, source.count, target_path, target.count);
    if (status) {
        text_lines_release(&source);
        text_lines_release(&target);
        return status;
    }
    *text = (parallel_text){.source = source.lines, .target = target.lines, .lines = source.count,
                            .storage = {source.storage, target.storage}};
    text->invalid = source.invalid + target.invalid;
    if (options->invalid == INVALID_SKIP) { /* pairs are counted, not lines */
        text->invalid = 0;
        for (size_t i = 0; i < text->lines; i++)
            text->invalid += text->source[i].bytes == dropped || text->target[i].bytes == dropped;
    }
    status = keep_pairs(text, source_path, options);
    if (status)
        parallel_text_release(text);
    return status;
}

/* Cuts each line at its tab. Blank lines become pairs of empty sides. */
static attn_status cut_tabs(const char *name, parallel_text *text) {
    for (size_t i = 0; i < text->lines; i++) {
        text_line line = text->source[i];
        const char *tab = memchr(line.bytes, '\t', line.length);
        if (line.bytes == dropped || (!tab && text_line_is_blank(line))) {
            text->target[i] = line;
            continue;
        }
        if (!tab)
            return fail(ATTN_ERROR_FORMAT, "%s line %zu has no tab; source<TAB>target was expected", name, i + 1);
        size_t rest = line.length - (size_t)(tab - line.bytes) - 1;
        if (memchr(tab + 1, '\t', rest))
            return fail(ATTN_ERROR_FORMAT, "%s line %zu has more than one tab; source<TAB>target was expected",
                        name, i + 1);
        text->source[i].length = (size_t)(tab - line.bytes);
        text->target[i] = (text_line){tab + 1, rest};
    }
    return ATTN_OK;
}

attn_status parallel_text_read_tsv(const char *path, const text_options *options, parallel_text *text) {
    *text = (parallel_text){0};
    text_lines lines;
    attn_status status = read_marked(path, options, &lines);
    if (status)
        return status;
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    *text = (parallel_text){.source = lines.lines, .lines = lines.count, .invalid = lines.invalid,
                            .storage = {lines.storage, NULL}};
    text->target = memory_allocate_raw(text->lines, sizeof *text->target);
    status = text->target ? cut_tabs(name, text) : ATTN_ERROR_MEMORY;
    if (!status)
        status = keep_pairs(text, name, options);
    if (status)
        parallel_text_release(text);
    return status;
}

void parallel_text_release(parallel_text *text) {
    memory_free(text->source);
    memory_free(text->target);
    storage_free(text->storage[0]);
    storage_free(text->storage[1]);
    *text = (parallel_text){0};
}
