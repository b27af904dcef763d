/* A network of any architecture, as training, checkpoints and loading see it: its
 * parameters and a table of functions. An architecture is a struct of its own (like
 * transformer.h) with a constant network_kind that calls its functions; network.c lists
 * the kinds by config.json's model_type. */
#ifndef ATTN_MODEL_NETWORK_H
#define ATTN_MODEL_NETWORK_H

#include "data/batch.h"
#include "model/folder.h"
#include "tensor/ops.h"

typedef struct network_purpose {
    int training;      /* gradients are kept */
    element_type type; /* of activations and products */
} network_purpose;

/* The type that this processor trains fastest in: bf16 with AVX512-BF16, f32 elsewhere. */
element_type network_best_type(void);

/* What goes in. */
typedef struct network_limits {
    int vocabulary; /* ids are 0 .. vocabulary - 1 */
    int positions;  /* longest sequence in tokens; 0: any */
    int eos;        /* the token that ends a sequence, or TOKEN_NONE */
} network_limits;

typedef struct network_kind {
    const char *name;       /* "transformer" */
    const char *model_type; /* config.json's */
    const char *also[2];    /* further ones, or NULL */

    /* A model of the shape that a folder's config.json gives, all parameters zero. */
    attn_status (*open)(const char *directory, network_purpose purpose, void **model);
    void (*free)(void *model); /* NULL is allowed */
    parameters *(*parameters)(void *model);
    network_limits (*limits)(const void *model);

    void (*initialize)(void *model, uint64_t seed);
    /* Puts weights that came from a folder in order; may be NULL. */
    void (*was_read)(void *model);
    void (*set_dropout)(void *model, double dropout, double attention_dropout);

    /* Forward and loss of a batch; with a recording tape the gradients of the loss divided
     * by `divisor` are added to the tape's parameters, whose weights are used. */
    attn_status (*loss)(tape *t, const void *model, const batch *b, float smoothing, double divisor,
                        loss_result *result);
    /* Floating point operations of the products of a batch, forward. */
    double (*forward_flops)(const void *model, const batch *b);

    /* Writes config.json and what else says the shape (folder_write_config). */
    attn_status (*write_config)(const char *directory, const void *model);
    /* *same: 1 if the folder's config.json says this shape. */
    attn_status (*same_shape)(const char *directory, const void *model, int *same);
} network_kind;

typedef struct network {
    const network_kind *kind; /* NULL: none */
    void *model;
    parameters *parameters; /* the model's */
} network;

/* Takes the model over. */
network network_of(const network_kind *kind, void *model);
void network_free(network *n);

/* A model of the folder's shape; its weights zero (open) or the folder's (load). */
attn_status network_open(const char *directory, network_purpose purpose, network *opened);
attn_status network_load(const char *directory, network_purpose purpose, network *loaded);

/* Fills the weights from a folder's. */
attn_status network_read_weights(const network *n, const char *directory);

/* The parameters as named tensors for folder.h; `values` is a block of the parameters'
 * layout (weights, or a moment). Release with memory_free; NULL: memory was short. */
folder_tensor *network_tensors(const parameters *set, float *values);

#endif
