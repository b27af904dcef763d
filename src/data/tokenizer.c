#include "data/tokenizer.h"

#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "data/spelling.h"
#include "data/tokenizer_private.h"

void tokenizer_options_defaults(tokenizer_options *options) {
    *options = (tokenizer_options){.kind = TOKENIZER_SENTENCEPIECE,
                                   .vocabulary_size = 8000,
                                   .minimum_count = 1,
                                   .character_coverage = 0.9999,
                                   .sample_lines = 200000,
                                   .join_continuation = false};
}

void tokenizer_free(tokenizer *t) {
    if (!t)
        return;
    for (int side = 0; side < 2; side++) {
        sentencepiece_close(t->side[side].model);
        memory_free(t->side[side].bytes);
    }
    for (size_t i = 0; t->display && i < t->pieces.size; i++)
        memory_free(t->display[i]);
    memory_free(t->display);
    vocabulary_release(&t->pieces);
    bpe_free(t->bpe);
    memory_free(t);
}

/* --- made from text ------------------------------------------------------------ */

static attn_status check_lines(const text_line *lines, size_t count, const char *side) {
    for (size_t i = 0; i < count; i++)
        if (!utf8_is_valid(lines[i].bytes, lines[i].length) || memchr(lines[i].bytes, 0, lines[i].length))
            return fail(ATTN_ERROR_FORMAT, "%s line %zu is not valid UTF-8 text", side, i + 1);
    return ATTN_OK;
}

static attn_status check_options(const tokenizer_options *options) {
    if (options->vocabulary_size < 16 || options->vocabulary_size > VOCABULARY_LIMIT)
        return fail(ATTN_ERROR_ARGUMENT, "vocabulary size %zu is not from 16 to %u", options->vocabulary_size,
                    VOCABULARY_LIMIT);
    if (!(options->character_coverage >= 0.98 && options->character_coverage <= 1.0))
        return fail(ATTN_ERROR_ARGUMENT, "character coverage %g is not from 0.98 to 1", options->character_coverage);
    if (options->sample_lines < 1 || options->sample_lines > 10000000)
        return fail(ATTN_ERROR_ARGUMENT, "a vocabulary is learnt from 1 to 10,000,000 lines, not %zu",
                    options->sample_lines);
    return ATTN_OK;
}

/* 1 if the line holds a character that SentencePiece's normaliser keeps: its trainer
 * ends the process when nothing is left of a text. */
static bool is_visible(text_line line) {
    for (size_t i = 0; i < line.length;) {
        uint32_t c;
        i += utf8_decode(line.bytes + i, line.length - i, &c);
        if (c > 0x20 && !utf8_is_space(c) && utf8_codepoint_width(c) > 0 && c != UTF8_REPLACEMENT &&
            c != 0x2581 /* SentencePiece's mark of a space */ && c != 0x2585 /* and of an unknown character */)
            return true;
    }
    return false;
}

/* At most `wanted` lines that are not blank, evenly spaced over both sides. */
static attn_status sample_lines(const text_line *const sides[2], const size_t counts[2], size_t wanted,
                                text_line **sample, size_t *sampled) {
    size_t total = counts[0] + counts[1], filled = 0;
    text_line *lines = memory_allocate_raw(total, sizeof *lines);
    if (!lines)
        return ATTN_ERROR_MEMORY;
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < counts[side]; i++)
            if (is_visible(sides[side][i]))
                lines[filled++] = sides[side][i];
    if (filled > wanted) {
        for (size_t i = 0; i < wanted; i++)
            lines[i] = lines[i * filled / wanted];
        filled = wanted;
    }
    *sample = lines;
    *sampled = filled;
    return ATTN_OK;
}

/* vocab.json's pieces: SentencePiece's in its order, then <pad>. */
static attn_status number_pieces(tokenizer *t) {
    const sentencepiece_model *model = t->side[TOKENIZER_SOURCE].model;
    size_t count = sentencepiece_count(model);
    text_line *pieces = memory_allocate(count + 1, sizeof *pieces);
    if (!pieces)
        return ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < count; i++)
        pieces[i] = sentencepiece_get(model, i);
    pieces[count] = (text_line){"<pad>", 5};
    attn_status status = vocabulary_build(pieces, count + 1, &t->pieces);
    memory_free(pieces);
    return status;
}

static attn_status train_sentencepiece(tokenizer *t, const text_line *const sides[2], const size_t counts[2],
                                       const tokenizer_options *options) {
    text_line *sample = NULL;
    size_t sampled = 0;
    attn_status status = sample_lines(sides, counts, options->sample_lines, &sample, &sampled);
    if (!status && sampled == 0)
        status = fail(ATTN_ERROR_FORMAT, "there is no text to learn a vocabulary from");
    sentencepiece_file *source = &t->side[TOKENIZER_SOURCE], *target = &t->side[TOKENIZER_TARGET];
    if (!status)
        status = sentencepiece_train(sample, sampled, options->vocabulary_size - 1, options->character_coverage,
                                     &source->bytes, &source->size);
    memory_free(sample);
    if (status)
        return status;
    target->size = source->size;
    target->bytes = memory_copy_bytes(source->bytes, source->size);
    if (!target->bytes)
        return ATTN_ERROR_MEMORY;
    for (int side = 0; side < 2 && !status; side++)
        status = sentencepiece_open(t->side[side].bytes, t->side[side].size, "the new model", &t->side[side].model);
    return status ? status : number_pieces(t);
}

static attn_status train_wordpiece(tokenizer *t, const text_line *lines, size_t count,
                                   const tokenizer_options *options) {
    t->rules = (wordpiece_rules){true, true, true};
    attn_status status = wordpiece_learn(lines, count, &t->rules, options->whole_words, options->minimum_count,
                                         options->vocabulary_size, &t->pieces);
    if (!status && t->pieces.size <= 5)
        status = fail(ATTN_ERROR_FORMAT, "the text holds no word for a vocabulary");
    return status;
}

attn_status tokenizer_train(const text_line *source, size_t source_count, const text_line *target,
                            size_t target_count, const tokenizer_options *options, tokenizer **made) {
    *made = NULL;
    const text_line *const sides[2] = {source, target};
    const size_t counts[2] = {source_count, target_count};
    attn_status status = check_options(options);
    if (!status)
        status = check_lines(source, source_count, "source");
    if (!status)
        status = check_lines(target, target_count, "target");
    if (status)
        return status;
    tokenizer *t = memory_allocate(1, sizeof *t);
    if (!t)
        return ATTN_ERROR_MEMORY;
    t->kind = options->kind;
    t->join_continuation = options->join_continuation;
    if (options->kind == TOKENIZER_SENTENCEPIECE)
        status = train_sentencepiece(t, sides, counts, options);
    else if (options->kind == TOKENIZER_WORDPIECE)
        status = train_wordpiece(t, source, source_count, options);
    else if (options->kind == TOKENIZER_CHARACTERS)
        status = bpe_characters(source, source_count, &t->pieces, &t->bpe);
    else
        status = vocabulary_count_words(sides, counts, options->minimum_count, options->vocabulary_size, &t->pieces);
    if (!status && t->pieces.size <= 3)
        status = fail(ATTN_ERROR_FORMAT, "the text holds no piece for a vocabulary");
    if (!status)
        status = tokenizer_finish(t, "the new vocabulary");
    if (status) {
        tokenizer_free(t);
        return status;
    }
    *made = t;
    return ATTN_OK;
}

/* Control characters, which a hostile vocabulary might send to a terminal. */
static bool is_control(uint32_t c) {
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 || (c >= 0x202A && c <= 0x202E) ||
           (c >= 0x2066 && c <= 0x2069);
}

static attn_status make_displayable(text_line piece, char **display) {
    bool clean = true;
    for (size_t i = 0; i < piece.length && clean;) {
        uint32_t c;
        i += utf8_decode(piece.bytes + i, piece.length - i, &c);
        clean = !is_control(c);
    }
    if (clean)
        return ATTN_OK;
    char *out = memory_allocate(piece.length * 3 + 1, 1); /* U+FFFD takes 3 bytes */
    if (!out)
        return ATTN_ERROR_MEMORY;
    for (size_t i = 0, used = 0; i < piece.length;) {
        uint32_t c;
        i += utf8_decode(piece.bytes + i, piece.length - i, &c);
        used += utf8_encode(is_control(c) ? UTF8_REPLACEMENT : c, out + used);
    }
    *display = out;
    return ATTN_OK;
}

attn_status tokenizer_finish(tokenizer *t, const char *name) {
    static const char *const marian[] = {"</s>", "<unk>", "<pad>"};
    static const char *const bert[] = {"[SEP]", "[UNK]", "[PAD]", "[CLS]", "[MASK]"};
    int32_t *const ids[] = {&t->eos, &t->unk, &t->pad, &t->cls, &t->mask};
    bool wordpiece = t->kind == TOKENIZER_WORDPIECE;
    t->cls = t->mask = -1;
    for (int i = 0; i < (wordpiece ? 5 : 3); i++) {
        const char *piece = wordpiece ? bert[i] : marian[i];
        *ids[i] = vocabulary_find(&t->pieces, piece, strlen(piece));
        if (*ids[i] < 0 && t->bpe && i == 0)
            *ids[i] = vocabulary_find(&t->pieces, "<|endoftext|>", 13);
        if (*ids[i] < 0 && !t->bpe)
            return fail(ATTN_ERROR_FORMAT, "%s lacks the piece %s", name, piece);
    }
    t->display = memory_allocate(t->pieces.size, sizeof *t->display);
    if (!t->display)
        return ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < t->pieces.size; i++) {
        attn_status status = make_displayable(vocabulary_piece(&t->pieces, i), &t->display[i]);
        if (status)
            return status;
    }
    return ATTN_OK;
}

/* --- text to ids --------------------------------------------------------------- */

void id_buffer_release(id_buffer *buffer) {
    memory_free(buffer->ids);
    *buffer = (id_buffer){0};
}

static attn_status append(id_buffer *buffer, int32_t id) {
    if (buffer->count == buffer->capacity) {
        attn_status status = memory_grow(&buffer->ids, &buffer->capacity, buffer->count + 1, sizeof *buffer->ids);
        if (status)
            return status;
    }
    buffer->ids[buffer->count++] = id;
    return ATTN_OK;
}

typedef struct piece_taker {
    const tokenizer *t;
    id_buffer *buffer;
} piece_taker;

static attn_status take_piece(void *context, const char *piece, size_t length) {
    piece_taker *taker = context;
    const tokenizer *t = taker->t;
    int32_t id = vocabulary_find(&t->pieces, piece, length);
    if (id < 0 || id == t->eos || id == t->pad) /* text never ends a sequence */
        id = t->unk;
    return append(taker->buffer, id);
}

/* The length of a leading ">>code<<" (the target language of a model for several)
 * that the vocabulary holds; 0 if there is none. */
static size_t language_code(const tokenizer *t, const char *text, size_t length) {
    if (length < 4 || memcmp(text, ">>", 2) != 0)
        return 0;
    const char *end = memmem(text + 2, length - 2, "<<", 2);
    size_t size = end ? (size_t)(end - text) + 2 : 0;
    return size && vocabulary_find(&t->pieces, text, size) >= 0 ? size : 0;
}

static attn_status take_id(void *context, int32_t id) {
    return append(((piece_taker *)context)->buffer, id);
}

static attn_status take_word(void *context, const char *word, size_t length) {
    piece_taker *taker = context;
    spelling *more = taker->buffer->unknown;
    if (more && more->count > (size_t)(INT32_MAX - 1 - more->first)) {
        return fail(ATTN_ERROR_UNSUPPORTED, "there are more than %zu words outside the vocabulary", more->count);
    }
    int32_t unknown = more ? more->first + (int32_t)more->count : taker->t->unk;
    attn_status status = wordpiece_ids(&taker->t->pieces, word, length, unknown, take_id, taker);
    return !status && more && taker->buffer->ids[taker->buffer->count - 1] == unknown ? spelling_add(more, word, length) : status;
}

attn_status tokenizer_encode(const tokenizer *t, tokenizer_side side, const char *text, size_t length,
                             id_buffer *buffer) {
    if (!utf8_is_valid(text, length))
        return fail(ATTN_ERROR_FORMAT, "a text to be encoded is not valid UTF-8");
    if (t->bpe)
        return bpe_encode(t->bpe, &t->pieces, t->unk, text, length, buffer);
    piece_taker taker = {t, buffer};
    attn_status status = ATTN_OK;
    if (t->kind == TOKENIZER_WORDPIECE)
        return wordpiece_words(&t->rules, text, length, take_word, &taker);
    if (t->kind == TOKENIZER_WHITESPACE) {
        for (size_t at = 0; !status;) {
            text_line word = next_word(text, length, &at);
            if (word.length == 0)
                break;
            status = take_piece(&taker, word.bytes, word.length);
        }
        return status;
    }
    size_t code = language_code(t, text, length);
    if (code)
        status = take_piece(&taker, text, code);
    if (!status)
        status = sentencepiece_encode(t->side[side].model, text + code, length - code, take_piece, &taker);
    return status;
}

/* --- ids to text --------------------------------------------------------------- */

/* Words with a space between them; "wo@@ rd" joined to "word" where wanted, WordPiece's
 * "wo" and "##rd" always. */
static attn_status join_words(const tokenizer *t, text_line *words, size_t count, char **text) {
    size_t size = 1;
    for (size_t i = 0; i < count; i++)
        if (__builtin_add_overflow(size, words[i].length + 1, &size))
            return fail(ATTN_ERROR_MEMORY, "a decoded text is too long");
    char *out = memory_allocate_raw(size, 1);
    if (!out)
        return ATTN_ERROR_MEMORY;
    size_t used = 0;
    bool space = false;
    for (size_t i = 0; i < count; i++) {
        size_t length = words[i].length;
        bool continued = t->join_continuation && length >= 2 && memcmp(words[i].bytes + length - 2, "@@", 2) == 0;
        bool inside = t->kind == TOKENIZER_WORDPIECE && i > 0 && length > 2 && memcmp(words[i].bytes, "##", 2) == 0;
        if (space && !inside)
            out[used++] = ' ';
        if (inside) {
            words[i].bytes += 2;
            length -= 2;
        }
        if (continued)
            length -= 2;
        memcpy(out + used, words[i].bytes, length);
        used += length;
        space = !continued;
    }
    out[used] = 0;
    *text = out;
    return ATTN_OK;
}

/* Turns marks of a space (U+2581) that are left, of pieces that target.spm lacks,
 * into spaces and drops those at the ends. */
static void finish_text(char *text) {
    size_t length = 0;
    for (const char *s = text; *s; length++) {
        bool mark = strncmp(s, "\xE2\x96\x81", 3) == 0;
        text[length] = mark ? ' ' : *s;
        s += mark ? 3 : 1;
    }
    text[length] = 0;
    size_t first = strspn(text, " ");
    while (length > first && text[length - 1] == ' ')
        length--;
    memmove(text, text + first, length - first);
    text[length - first] = 0;
}

attn_status tokenizer_spans(const tokenizer *t, tokenizer_side side, const char *text, size_t length, size_t *begin,
                            size_t *end, size_t room) {
    size_t given = 0;
    if (t->kind == TOKENIZER_WHITESPACE) {
        for (size_t at = 0; given < room; given++) {
            text_line word = next_word(text, length, &at);
            if (word.length == 0)
                break;
            begin[given] = (size_t)(word.bytes - text);
            end[given] = begin[given] + word.length;
        }
        return ATTN_OK;
    }
    size_t code = language_code(t, text, length), count;
    sentencepiece_span *spans = memory_allocate(room, sizeof *spans);
    attn_status status = spans ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (code && room) {
        begin[0] = 0;
        end[0] = code;
        given = 1;
    }
    if (!status)
        status = sentencepiece_spans(t->side[side].model, text + code, length - code, spans, room - given, &count);
    for (size_t i = 0; !status && i < count && given < room; i++, given++) {
        begin[given] = code + spans[i].begin;
        end[given] = code + spans[i].end;
    }
    for (; given < room; given++)
        begin[given] = end[given] = length;
    memory_free(spans);
    return status;
}

attn_status tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t count, char **text) {
    *text = NULL;
    text_line *pieces = memory_allocate_raw(count, sizeof *pieces);
    if (!pieces)
        return ATTN_ERROR_MEMORY;
    size_t kept = 0;
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < count && !status; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= t->pieces.size)
            status = fail(ATTN_ERROR_ARGUMENT, "id %d is not from 0 to %zu", ids[i], t->pieces.size - 1);
        else if (ids[i] != t->eos && ids[i] != t->pad && ids[i] != t->cls)
            pieces[kept++] = vocabulary_piece(&t->pieces, (size_t)ids[i]);
    }
    if (!status && t->bpe) {
        status = bpe_decode(t->bpe, pieces, kept, text);
    } else if (!status && t->kind != TOKENIZER_SENTENCEPIECE) {
        status = join_words(t, pieces, kept, text);
    } else if (!status) {
        status = sentencepiece_decode(t->side[TOKENIZER_TARGET].model, pieces, kept, text);
        if (!status)
            finish_text(*text);
    }
    memory_free(pieces);
    return status;
}

/* --- what it holds ------------------------------------------------------------- */

bool tokenizer_joins_continuation(const tokenizer *t) {
    return t->join_continuation;
}

bool tokenizer_takes_lines(const tokenizer *t) {
    return t->bpe != NULL;
}

tokenizer_kind tokenizer_get_kind(const tokenizer *t) {
    return t->kind;
}

size_t tokenizer_vocabulary_size(const tokenizer *t) {
    return t->pieces.size;
}

int32_t tokenizer_eos(const tokenizer *t) {
    return t->eos;
}

int32_t tokenizer_unk(const tokenizer *t) {
    return t->unk;
}

int32_t tokenizer_cls(const tokenizer *t) {
    return t->cls;
}

int32_t tokenizer_mask(const tokenizer *t) {
    return t->mask;
}

int32_t tokenizer_pad(const tokenizer *t) {
    return t->pad;
}

const char *tokenizer_piece(const tokenizer *t, int32_t id) {
    if (id < 0 || (size_t)id >= t->pieces.size)
        return "";
    return t->display[id] ? t->display[id] : vocabulary_piece(&t->pieces, (size_t)id).bytes;
}

int32_t tokenizer_find(const tokenizer *t, const char *piece, size_t length) {
    return vocabulary_find(&t->pieces, piece, length);
}
