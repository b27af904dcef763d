/* Unknown words replaced through attention (Luong et al. 2015): what the vocabulary cannot
 * spell is copied from where the decoder looked. */
#include <string.h>

#include "base/utf8.h"
#include "infer/align.h"

#define UNKNOWN_MARK "\xE2\x81\x87" /* U+2047: SentencePiece decodes <unk> to it, a space on either side */

/* The source token that target token i looked at most, beside </s>. */
static size_t most_looked_at(const hypothesis *h, size_t i, size_t keys) {
    size_t best = 0;
    for (size_t j = 1; j + 1 < keys; j++) {
        best = h->alignment[i * keys + j] > h->alignment[i * keys + best] ? j : best;
    }
    return best;
}

/* Puts bytes in the place of the next mark behind *from; *from moves behind them. */
static attn_status replace_next(char **text, size_t *from, const char *mark, const char *bytes, size_t length) {
    const char *at = strstr(*text + *from, mark);
    if (!at) {
        return ATTN_OK;
    }
    size_t all = strlen(*text), begin = (size_t)(at - *text), end = begin + strlen(mark);
    if (strcmp(mark, UNKNOWN_MARK) == 0) { /* its own spaces, which the text's ends have lost */
        begin -= begin > 0 && (*text)[begin - 1] == ' ';
        end += (*text)[end] == ' ';
    }
    char *made = memory_allocate_raw(all - (end - begin) + length + 1, 1);
    if (!made) {
        return ATTN_ERROR_MEMORY;
    }
    memcpy(made, *text, begin);
    memcpy(made + begin, bytes, length);
    memcpy(made + begin + length, *text + end, all - end + 1);
    memory_free(*text);
    *text = made;
    *from = begin + length;
    return ATTN_OK;
}

/* The bytes of a source token, without the space before it. */
typedef struct source_spans {
    const char *text;
    size_t *begin, *end; /* [tokens] */
} source_spans;

static attn_status replace_in(const tokenizer *t, const hypothesis *h, size_t keys, const source_spans *s, char **text) {
    const char *mark =
        tokenizer_get_kind(t) == TOKENIZER_WHITESPACE ? tokenizer_piece(t, tokenizer_unk(t)) : UNKNOWN_MARK;
    size_t from = 0;
    attn_status status = ATTN_OK;
    for (int32_t i = 0; i < h->count && !status; i++) {
        if (h->ids[i] == tokenizer_unk(t)) {
            size_t token = most_looked_at(h, (size_t)i, keys), begin = s->begin[token];
            while (begin < s->end[token] && s->text[begin] == ' ') {
                begin++;
            }
            status = replace_next(text, &from, mark, s->text + begin, s->end[token] - begin);
        }
    }
    return status;
}

static int holds_unknown(const hypothesis_list *list, int32_t unknown) {
    int found = 0;
    for (int rank = 0; rank < list->count; rank++) {
        for (int32_t i = 0; i < list->items[rank].count; i++) {
            found |= list->items[rank].ids[i] == unknown;
        }
    }
    return found;
}

static attn_status replace_in_text(attn_translation *r, size_t i, const char *source) {
    size_t keys = r->source_offsets[i + 1] - r->source_offsets[i], length = strlen(source);
    char *repaired = NULL;
    attn_status status = ATTN_OK;
    if (!utf8_is_valid(source, length)) { /* as it was when it was encoded */
        status = utf8_repair(source, length, &repaired, &length, NULL);
    }
    source_spans s = {.text = repaired ? repaired : source, .begin = memory_allocate(2 * keys, sizeof *s.begin)};
    status = status ? status : s.begin ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (!status) {
        s.end = s.begin + keys;
        status = tokenizer_spans(r->tokenizer, TOKENIZER_SOURCE, s.text, length, s.begin, s.end, keys - 1);
    }
    for (int rank = 0; rank < r->lists[i].count && !status; rank++) {
        status = replace_in(r->tokenizer, &r->lists[i].items[rank], keys, &s, &r->texts[i][rank]);
    }
    memory_free(s.begin);
    memory_free(repaired);
    return status;
}

attn_status replace_unknown(attn_translation *r, const char *const *sources) {
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < r->count && !status; i++) {
        if (holds_unknown(&r->lists[i], tokenizer_unk(r->tokenizer))) {
            status = replace_in_text(r, i, sources[i]);
        }
    }
    return status;
}
