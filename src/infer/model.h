/* A loaded model: the network, its tokenizer and what searches with them. */
#ifndef ATTN_INFER_MODEL_H
#define ATTN_INFER_MODEL_H

#include <attn/attn.h>

#include "data/tokenizer.h"
#include "infer/generator.h"
#include "infer/search.h"

struct attn_model {
    char *directory;          /* FILE_MEMORY_FOLDER where it came from memory */
    int from_memory;
    network network;          /* owned */
    translator translator;    /* of it, where it translates */
    tokenizer *tokenizer;
    searcher *searcher;       /* of a model that translates, or NULL */
    generator *generator;     /* of a language model, or NULL */
};

/* ATTN_ERROR_UNSUPPORTED for a model of an architecture that does not translate. */
attn_status model_check_searcher(const attn_model *model);

#endif
