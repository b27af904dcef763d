/* tokenizer.json from any bytes: refused, or pieces that any text is cut into and that come back
 * as text. */
#include <stdlib.h>
#include <string.h>

#include "base/file_memory.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "data/bpe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_text(const bpe *b, const vocabulary *pieces, const char *text) {
    id_buffer ids = {0};
    char *back = NULL;
    if (bpe_encode(b, pieces, 0, text, strlen(text), &ids))
        abort();
    text_line *lines = memory_allocate(ids.count + 1, sizeof *lines);
    for (size_t i = 0; i < ids.count; i++) {
        if (ids.ids[i] < 0 || (size_t)ids.ids[i] >= pieces->size)
            abort();
        lines[i] = vocabulary_piece(pieces, (size_t)ids.ids[i]);
    }
    if (bpe_decode(b, lines, ids.count, &back) || !utf8_is_valid(back, strlen(back)))
        abort();
    memory_free(lines);
    memory_free(back);
    memory_free(ids.ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const memory_file file = {"tokenizer.json", data, size};
    vocabulary pieces = {0};
    bpe *b = NULL;
    file_memory_open(&file, 1);
    attn_status status = bpe_load(FILE_MEMORY_FOLDER "/tokenizer.json", &pieces, &b);
    file_memory_close();
    if (status == ATTN_OK) {
        try_text(b, &pieces, "the lower  house's\n\n 12\xE5\xA4\xA9 a");
        try_text(b, &pieces, "aaaaabbbbb\xF0\x9F\x98\x80");
        bpe_free(b);
    }
    vocabulary_release(&pieces);
    return 0;
}
