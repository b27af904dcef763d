/* config.json of a BERT folder (Devlin et al. 2019), as transformers' BertForSequence-
 * Classification and BertForMaskedLM have it. What is ours alone stands beside their keys:
 * "attn_pooling": "attention" for a pooling that they do not have; and, with the model_type
 * attn_bert, "attention" for another reach of the layers (attention_span.h) and "convolution" for
 * the words that a convolution before the layers sees, "letters" for the table of words' letters. */
#ifndef ATTN_MODEL_BERT_CONFIG_H
#define ATTN_MODEL_BERT_CONFIG_H

#include "data/vocabulary.h"
#include "model/attention_span.h"
#include "model/config.h"

enum { BERT_MOST_CONVOLUTION = 31, BERT_MOST_LETTERS = 1 << 22 };

typedef enum bert_head {
    BERT_CLASSIFY, /* BertForSequenceClassification */
    BERT_MASKED    /* BertForMaskedLM: hidden words are guessed */
} bert_head;

typedef enum bert_pooling {
    BERT_POOL_CLS,      /* the first token's row, through a layer with tanh */
    BERT_POOL_ATTENTION /* a learned attention over all tokens (Yang et al. 2016) */
} bert_pooling;

typedef struct bert_config {
    int vocab_size;              /* 1 .. 2^24 */
    int hidden_size;             /* even, 2 .. 65536 */
    int layers;                  /* 1 .. 1024 */
    int heads;                   /* divides hidden_size */
    int intermediate_size;       /* 1 .. 2^18 */
    int max_position_embeddings; /* 1 .. 2^20; times hidden_size at most 2^28 */
    int type_vocab_size;         /* 1 .. 16 */
    model_activation hidden_act;
    double hidden_dropout, attention_dropout; /* [0, 1) */
    double layer_norm_epsilon;   /* (0, 0.1] */
    int pad_token_id, cls_token_id, sep_token_id, unk_token_id, mask_token_id; /* or TOKEN_NONE */
    bert_head head;
    bert_pooling pooling;
    attention_span span;
    int convolution;             /* words, odd, at most 31; 0: none */
    int letters;                 /* numbers that words' letters are hashed to, at most 2^22; 0: none */
    vocabulary labels;           /* id2label; empty for BERT_MASKED. Owned */
} bert_config;

void bert_config_release(bert_config *c);
attn_status bert_config_copy(bert_config *to, const bert_config *from);

/* Ranges and agreement; `where` begins the sentence. ATTN_ERROR_ARGUMENT. */
attn_status bert_config_check(const bert_config *c, const char *where);

/* 1 if both describe the same computation (dropout does not count). */
int bert_config_equal(const bert_config *a, const bert_config *b);

/* Reads and checks a folder's config.json. One that calls for more weights than
 * model.safetensors can hold is refused. */
attn_status bert_config_read(const char *directory, bert_config *c);

/* Makes the folder if need be and writes config.json; one of another model is refused while
 * weights stand beside it. */
attn_status bert_config_write(const char *directory, const bert_config *c);

#endif
