/* Making a smaller model of a translator: without its least important heads; and a sparser one of any
 * model: its smallest weights 0. */
#include <attn/attn.h>
#include <stdlib.h>

#include "base/memory.h"
#include "infer/head_importance.h"
#include "model/folder.h"
#include "model/kept_heads.h"
#include "model/prune_heads.h"
#include "model/prune_weights.h"

static attn_status check_not_quantized(const char *model) {
    int quantized = 0;
    attn_status status = folder_is_quantized(model, &quantized);
    return status || !quantized ? status
                                : fail(ATTN_ERROR_UNSUPPORTED, "%s is quantized: prune first, then quantize", model);
}

/* A model of pictures or sounds may have no vocabulary. */
static attn_status load_vocabulary(const char *directory, const network *n, tokenizer **pieces) {
    return n->kind->limits(n->model).vocabulary > 0 ? tokenizer_load(directory, pieces) : ATTN_OK;
}

static attn_status write(const network_kind *kind, const void *model, const parameters *set, const tokenizer *pieces,
                         const char *output, const char *key, const char *value) {
    const safetensors_metadata fact = {key, value};
    folder_tensor *tensors = network_tensors(set, set->values);
    attn_status status = tensors ? kind->write_config(output, model) : ATTN_ERROR_MEMORY;
    status = status || !pieces ? status : tokenizer_save(pieces, output);
    status = status ? status : folder_write_weights(output, tensors, set->count, &fact, 1);
    memory_free(tensors);
    return status;
}

/* --- heads --------------------------------------------------------------------------- */

static void name_heads(const model_config *config, const double *gradients, const double *importance, attn_head *list) {
    for (int k = 0; k < MODEL_ATTENTIONS; k++) {
        model_attention kind = (model_attention)k;
        for (int layer = 0; layer < model_config_layers(config, kind); layer++) {
            int first = model_config_head_number(config, kind, layer);
            for (int head = 0; head < model_config_heads(config, kind, layer); head++) {
                list[first + head] = (attn_head){(attn_attention_kind)k, layer, head, gradients[first + head],
                                                 importance[first + head], 0};
            }
        }
    }
}

/* Ascending; among equals the later head first. */
static int less_important(const void *a, const void *b) {
    const attn_head *const *x = a, *const *y = b;
    return (*x)->importance != (*y)->importance ? ((*x)->importance < (*y)->importance ? -1 : 1) : *x > *y ? -1 : *x < *y;
}

static int is_last(const attn_head *list, size_t count, const attn_head *head) {
    int left = 0;
    for (size_t i = 0; i < count; i++) {
        left += list[i].kind == head->kind && list[i].layer == head->layer && !list[i].removed;
    }
    return left == 1;
}

/* Marks the `heads` least important ones that are not the last of their attention. */
static attn_status choose(attn_head *list, size_t count, int attentions, int heads) {
    if ((size_t)heads > count - (size_t)attentions) {
        return fail(ATTN_ERROR_ARGUMENT, "%d heads cannot go: the model has %zu, and each of its %d attentions keeps one", heads,
                    count, attentions);
    }
    attn_head **order = memory_allocate(count, sizeof *order);
    if (!order) {
        return ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        order[i] = &list[i];
    }
    qsort(order, count, sizeof *order, less_important);
    for (size_t i = 0; i < count && heads > 0; i++) {
        if (!is_last(list, count, order[i])) {
            order[i]->removed = 1;
            heads--;
        }
    }
    memory_free(order);
    return ATTN_OK;
}

static attn_status read_pairs(const char *source, const char *target, const tokenizer *pieces, const model_config *config,
                              corpus *pairs) {
    text_options reading;
    corpus_options limits;
    parallel_text text = {0};
    text_options_defaults(&reading);
    corpus_options_defaults(&limits);
    limits.max_source_tokens = limits.max_target_tokens = (size_t)config->max_position_embeddings;
    attn_status status = target ? parallel_text_read(source, target, &reading, &text)
                                : parallel_text_read_tsv(source, &reading, &text);
    status = status ? status : corpus_encode(&text, pieces, &limits, pairs);
    parallel_text_release(&text);
    return status;
}

/* Every head's figures, in order. */
static attn_status measure(const transformer *model, const corpus *pairs, attn_head *list, size_t count) {
    double *gradients = memory_allocate(count, sizeof *gradients), *importance = memory_allocate(count, sizeof *importance);
    attn_status status = gradients && importance ? head_gradients(model, pairs, gradients) : ATTN_ERROR_MEMORY;
    if (!status) {
        head_importance(&model->config, gradients, importance);
        name_heads(&model->config, gradients, importance, list);
    }
    memory_free(gradients);
    memory_free(importance);
    return status;
}

static attn_status write_without(const transformer *model, const attn_head *list, size_t count, const tokenizer *pieces,
                                 const char *output) {
    transformer *smaller = NULL;
    unsigned char *removed = memory_allocate(count, 1);
    attn_status status = removed ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < count && !status; i++) {
        removed[i] = (unsigned char)list[i].removed;
    }
    status = status ? status : transformer_without_heads(model, removed, &smaller);
    if (!status) {
        char number[32];
        int left = model_config_head_number(&smaller->config, MODEL_ATTENTIONS, 0);
        (void)snprintf(number, sizeof number, "%d", left);
        status = write(&transformer_kind, smaller, &smaller->parameters, pieces, output, "run.heads", number);
    }
    transformer_free(smaller);
    memory_free(removed);
    return status;
}

static attn_status prune(const transformer *model, const char *directory, const char *source, const char *target, int heads,
                         const char *output, attn_head **list, size_t *count) {
    const model_config *config = &model->config;
    tokenizer *pieces = NULL;
    corpus pairs = {0};
    *count = (size_t)model_config_head_number(config, MODEL_ATTENTIONS, 0);
    *list = memory_allocate(*count, sizeof **list);
    attn_status status = *list ? tokenizer_load(directory, &pieces) : ATTN_ERROR_MEMORY;
    status = status ? status : read_pairs(source, target, pieces, config, &pairs);
    status = status ? status : measure(model, &pairs, *list, *count);
    status = status ? status : choose(*list, *count, config->encoder_layers + 2 * config->decoder_layers, heads);
    if (!status && output) {
        status = write_without(model, *list, *count, pieces, output);
    }
    corpus_release(&pairs);
    tokenizer_free(pieces);
    return status;
}

attn_status attn_prune_heads(const char *model, const char *source, const char *target, int heads, const char *output,
                             attn_head **list, size_t *count) {
    transformer *whole = NULL;
    if (!model || !source || !list || !count || heads < 0) {
        return fail(ATTN_ERROR_ARGUMENT, "a model folder, pairs, a number of heads and a place for the result were expected");
    }
    *list = NULL;
    *count = 0;
    attn_status status = output ? folder_check_free(output) : ATTN_OK;
    status = status ? status : check_not_quantized(model);
    status = status ? status : transformer_load(model, (network_purpose){1, ELEMENT_F32}, &whole);
    status = status ? status : prune(whole, model, source, target, heads, output, list, count);
    transformer_free(whole);
    if (status) {
        attn_heads_free(*list);
        *list = NULL;
        *count = 0;
    }
    return status;
}

void attn_heads_free(attn_head *list) {
    memory_free(list);
}

/* --- weights ------------------------------------------------------------------------- */

attn_status attn_prune_weights(const char *model, double sparsity, const char *output, attn_sparsity *result) {
    network n = {0};
    tokenizer *pieces = NULL;
    pruned_weights pruned;
    if (!model || !output || !result) {
        return fail(ATTN_ERROR_ARGUMENT, "a model folder, a folder and a place for the result were expected");
    }
    if (!(sparsity >= 0 && sparsity < 1)) {
        return fail(ATTN_ERROR_ARGUMENT, "the sparsity is %g, a number in [0, 1) was expected", sparsity);
    }
    attn_status status = folder_check_free(output);
    status = status ? status : check_not_quantized(model);
    status = status ? status : network_load(model, (network_purpose){0, ELEMENT_F32}, &n);
    status = status ? status : load_vocabulary(model, &n, &pieces);
    status = status ? status : parameters_prune(n.parameters, sparsity, &pruned);
    if (!status) {
        char share[32];
        (void)snprintf(share, sizeof share, "%.6f", pruned.weights ? (double)pruned.zeros / (double)pruned.weights : 0);
        status = write(n.kind, n.model, n.parameters, pieces, output, "run.sparsity", share);
        *result = (attn_sparsity){pruned.weights, pruned.zeros_before, pruned.zeros, pruned.threshold};
    }
    tokenizer_free(pieces);
    if (n.parameters) {
        network_free(&n);
    }
    return status;
}
