/* Tokenizer: text to ids and back, with the files of a Hugging Face MarianMT
 * folder, or of a BERT folder. Five kinds:
 *   SentencePiece  source.spm and target.spm cut text into pieces, vocab.json
 *                  {piece: id} numbers them (SentencePiece's own ids are unused);
 *   whitespace     text that is already split: a piece is a word, vocab.json
 *                  numbers them, and tokenizer_config.json says "attn_tokenizer":
 *                  "whitespace";
 *   WordPiece      wordpiece.h's rules and pieces, in vocab.txt (or transformers'
 *                  tokenizer.json); [SEP] stands for </s>, [UNK] and [PAD] for the others.
 *   characters     each character is a piece, also those that end lines; tokenizer.json;
 *   BPE            GPT-2's byte-level pieces, read from a foreign tokenizer.json (bpe.h).
 * In what is trained here </s> = 0, <unk> = 1 and <pad> is last; a foreign folder
 * may number them otherwise, so ask. Text can never produce </s> or <pad>. A
 * tokenizer does not change after it is made: any number of threads may use it. */
#ifndef ATTN_DATA_TOKENIZER_H
#define ATTN_DATA_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "data/text.h"

typedef struct tokenizer tokenizer;

typedef enum tokenizer_kind {
    TOKENIZER_SENTENCEPIECE,
    TOKENIZER_WHITESPACE,
    TOKENIZER_WORDPIECE,
    TOKENIZER_CHARACTERS,
    TOKENIZER_BPE
} tokenizer_kind;

typedef enum tokenizer_side { TOKENIZER_SOURCE, TOKENIZER_TARGET } tokenizer_side;

typedef struct tokenizer_options {
    tokenizer_kind kind;      /* TOKENIZER_SENTENCEPIECE */
    size_t vocabulary_size;   /* 8000; ids in all, </s>, <unk> and <pad> included. A text too
                                 small for it gives fewer. At least 16, at most 1,000,000 */
    size_t minimum_count;     /* 1; whitespace and whole_words: words seen less often become <unk> */
    double character_coverage; /* 0.9999; SentencePiece: the share of characters kept */
    size_t sample_lines;      /* 200,000; SentencePiece: lines it is trained on, evenly spaced
                                 over source and target */
    bool whole_words;         /* false; WordPiece: words alone, no pieces of them */
    bool join_continuation;   /* false; whitespace: decoding joins "wo@@ rd" to "word" */
} tokenizer_options;

void tokenizer_options_defaults(tokenizer_options *options);

/* Learns one joint vocabulary from the lines of both sides (pass the target's as
 * NULL, 0 for text of one side). The same lines and options give the same
 * tokenizer to the bit, whatever the number of threads. Lines must be valid UTF-8. */
attn_status tokenizer_train(const text_line *source, size_t source_count, const text_line *target,
                            size_t target_count, const tokenizer_options *options, tokenizer **made);

/* Opens the tokenizer of a model folder. */
attn_status tokenizer_load(const char *folder, tokenizer **loaded);

/* Writes source.spm, target.spm (SentencePiece), vocab.json or vocab.txt (WordPiece),
 * tokenizer_config.json and special_tokens_map.json into a folder that exists. */
attn_status tokenizer_save(const tokenizer *t, const char *folder);

void tokenizer_free(tokenizer *t); /* NULL is allowed */

struct spelling;

/* A growing array of ids; start with all zero, release with id_buffer_release. */
typedef struct id_buffer {
    int32_t *ids;
    size_t count;
    size_t capacity;
    struct spelling *unknown; /* lent; WordPiece: words that the vocabulary lacks are added there and get
                                 its ids (spelling.h); NULL: they get <unk> */
} id_buffer;

void id_buffer_release(id_buffer *buffer);

/* Appends the text's ids to the buffer, without </s>. The text is one line of
 * valid UTF-8 (otherwise ATTN_ERROR_FORMAT). A piece that the vocabulary lacks
 * gives <unk>; a leading ">>code<<" that it holds gives that one id. */
attn_status tokenizer_encode(const tokenizer *t, tokenizer_side side, const char *text, size_t length,
                             id_buffer *buffer);

/* The bytes of the text that each id of tokenizer_encode stands for: begin[i] .. end[i] - 1, for
 * the first `room` ids (their number is known from there). */
attn_status tokenizer_spans(const tokenizer *t, tokenizer_side side, const char *text, size_t length, size_t *begin,
                            size_t *end, size_t room);

/* The text of `count` ids, target side, 0-terminated, to be released with
 * memory_free. </s> and <pad> give nothing. Fails on an id out of range. */
attn_status tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t count, char **text);

/* 1 if a text of many lines is encoded whole; else line by line. */
bool tokenizer_takes_lines(const tokenizer *t);

tokenizer_kind tokenizer_get_kind(const tokenizer *t);
bool tokenizer_joins_continuation(const tokenizer *t); /* decoding joins "wo@@ rd" */
size_t tokenizer_vocabulary_size(const tokenizer *t); /* ids are 0 .. size - 1 */
int32_t tokenizer_eos(const tokenizer *t);
int32_t tokenizer_unk(const tokenizer *t);
int32_t tokenizer_cls(const tokenizer *t);  /* [CLS], [MASK]; -1 but for WordPiece */
int32_t tokenizer_mask(const tokenizer *t);
int32_t tokenizer_pad(const tokenizer *t); /* also the first decoder input */

/* The piece as vocab.json has it ("\u2581" marks a word's start), for display: valid
 * UTF-8, control characters replaced by U+FFFD. "" for an id out of range. Lives
 * as long as the tokenizer. */
const char *tokenizer_piece(const tokenizer *t, int32_t id);

/* The id of a piece, -1 if the vocabulary lacks it. */
int32_t tokenizer_find(const tokenizer *t, const char *piece, size_t length);

#endif
