/* The tokenizer's fields, for tokenizer.c and tokenizer_files.c alone. */
#ifndef ATTN_DATA_TOKENIZER_PRIVATE_H
#define ATTN_DATA_TOKENIZER_PRIVATE_H

#include "data/bpe.h"
#include "data/sentencepiece_shim.h"
#include "data/tokenizer.h"
#include "data/vocabulary.h"
#include "data/wordpiece.h"

typedef struct sentencepiece_file {
    char *bytes; /* the file's content, kept so that it is saved as it came */
    size_t size;
    sentencepiece_model *model;
} sentencepiece_file;

struct tokenizer {
    tokenizer_kind kind;
    bool join_continuation;
    vocabulary pieces;
    char **display; /* [pieces.size]; NULL where the piece itself can be shown */
    wordpiece_rules rules; /* WordPiece */
    bpe *bpe;              /* characters and BPE; else NULL */
    int32_t eos, unk, pad, cls, mask;
    sentencepiece_file side[2]; /* SentencePiece; the sides of a joint model are equal */
};

/* Finds the special tokens in t->pieces and makes the displayable pieces. */
attn_status tokenizer_finish(tokenizer *t, const char *name);

/* tokenizer_wordpiece.c: a BERT folder's files, found by their paths, and a folder's made. */
attn_status tokenizer_load_wordpiece(tokenizer *t, const char *config, const char *vocab_txt,
                                     const char *tokenizer_json);
attn_status tokenizer_save_wordpiece(const tokenizer *t, const char *folder);

#endif
