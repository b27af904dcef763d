#include "data/plain_text.h"

#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/utf8.h"

static size_t line_of(const char *bytes, size_t at) {
    size_t line = 1;
    for (size_t i = 0; i < at; i++) {
        line += bytes[i] == '\n';
    }
    return line;
}

attn_status plain_text_read(const char *path, char **owned, text_line *text) {
    size_t size;
    *owned = NULL;
    attn_status status = file_read(path, owned, &size);
    if (status) {
        return status;
    }
    size_t mark = size >= 3 && memcmp(*owned, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    *text = (text_line){*owned + mark, size - mark};
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path, *zero = memchr(text->bytes, 0, text->length);
    size_t valid = utf8_valid_prefix(text->bytes, text->length);
    if (valid < text->length) {
        status = fail(ATTN_ERROR_FORMAT, "%s line %zu is not valid UTF-8; text was expected", name,
                      line_of(text->bytes, valid));
    } else if (zero) {
        status = fail(ATTN_ERROR_FORMAT, "%s line %zu holds a NUL byte; text was expected", name,
                      line_of(text->bytes, (size_t)(zero - text->bytes)));
    } else if (text->length == 0) {
        status = fail(ATTN_ERROR_FORMAT, "%s is empty; text was expected", name);
    }
    if (status) {
        memory_free(*owned);
        *owned = NULL;
    }
    return status;
}

static attn_status append(id_buffer *ids, int32_t id) {
    attn_status status = memory_grow(&ids->ids, &ids->capacity, ids->count + 1, sizeof *ids->ids);
    if (!status) {
        ids->ids[ids->count++] = id;
    }
    return status;
}

attn_status plain_text_encode(const tokenizer *t, text_line text, id_buffer *ids) {
    if (tokenizer_takes_lines(t)) {
        return tokenizer_encode(t, TOKENIZER_SOURCE, text.bytes, text.length, ids);
    }
    attn_status status = ATTN_OK;
    for (size_t at = 0; at < text.length && !status;) {
        const char *line = text.bytes + at, *end = memchr(line, '\n', text.length - at);
        size_t length = end ? (size_t)(end - line) : text.length - at;
        status = tokenizer_encode(t, TOKENIZER_SOURCE, line, length, ids);
        status = status || !end ? status : append(ids, tokenizer_eos(t));
        at += length + (end != NULL);
    }
    return status;
}
