/* The mean of several models' weights: checkpoints near the end of one run, averaged,
 * translate better than each of them (Vaswani et al. 2017, 6.1). */
#include <string.h>

#include "base/memory.h"
#include "data/tokenizer.h"
#include "model/network.h"
#include "train/trainer.h"

static attn_status same_vocabulary(const tokenizer *a, const tokenizer *b, const char *path_a, const char *path_b) {
    size_t pieces = tokenizer_vocabulary_size(a);
    int same = pieces == tokenizer_vocabulary_size(b) && tokenizer_get_kind(a) == tokenizer_get_kind(b);
    for (size_t i = 0; i < pieces && same; i++) {
        const char *piece_a = tokenizer_piece(a, (int32_t)i), *piece_b = tokenizer_piece(b, (int32_t)i);
        same = piece_a && piece_b ? strcmp(piece_a, piece_b) == 0 : piece_a == piece_b;
    }
    return same ? ATTN_OK
                : fail(ATTN_ERROR_ARGUMENT, "%s has another vocabulary than %s; their mean would mean nothing", path_b,
                       path_a);
}

/* Adds one model's weights to the sums; it must be like the first. */
static attn_status add_model(const char *path, const char *first_path, const network *first,
                             const tokenizer *first_tokenizer, double *sums) {
    network n;
    tokenizer *own = NULL;
    int same = 0;
    attn_status status = network_load(path, (network_purpose){0, ELEMENT_F32}, &n);
    if (!status && n.kind == first->kind) {
        status = n.kind->same_shape(path, first->model, &same);
    }
    if (!status && !same) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s has another shape than %s (config.json); only models of one run can be "
                      "averaged", path, first_path);
    }
    if (!status && first_tokenizer) {
        status = tokenizer_load(path, &own);
        status = status ? status : same_vocabulary(first_tokenizer, own, first_path, path);
    }
    for (int64_t i = 0; !status && i < n.parameters->size; i++) {
        sums[i] += (double)n.parameters->values[i];
    }
    tokenizer_free(own);
    network_free(&n);
    return status;
}

static attn_status write_mean(network *n, const tokenizer *pieces, const double *sums, size_t count,
                              const char *output) {
    parameters *set = n->parameters;
    for (int64_t i = 0; i < set->size; i++) {
        set->values[i] = (float)(sums[i] / (double)count);
    }
    char number[32];
    (void)snprintf(number, sizeof number, "%zu", count);
    safetensors_metadata fact = {"run.averaged_models", number};
    folder_tensor *tensors = network_tensors(set, set->values);
    attn_status status = tensors ? n->kind->write_config(output, n->model) : ATTN_ERROR_MEMORY;
    if (!status && pieces) {
        status = tokenizer_save(pieces, output);
    }
    status = status ? status : folder_write_weights(output, tensors, set->count, &fact, 1);
    memory_free(tensors);
    return status;
}

/* A model of pictures or sounds has no vocabulary. */
static attn_status load_vocabulary(const char *directory, const network *n, tokenizer **pieces) {
    *pieces = NULL;
    return n->kind->limits(n->model).vocabulary > 0 ? tokenizer_load(directory, pieces) : ATTN_OK;
}

attn_status average_folders(const char *const *models, size_t count, const char *output) {
    network first;
    tokenizer *pieces = NULL;
    attn_status status = network_load(models[0], (network_purpose){0, ELEMENT_F32}, &first);
    status = status ? status : load_vocabulary(models[0], &first, &pieces);
    double *sums = status ? NULL : memory_allocate((size_t)first.parameters->size, sizeof *sums);
    status = status || sums ? status : ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < count && !status; i++) {
        status = add_model(models[i], models[0], &first, pieces, sums);
    }
    status = status ? status : write_mean(&first, pieces, sums, count, output);
    memory_free(sums);
    tokenizer_free(pieces);
    network_free(&first);
    return status;
}

attn_status attn_average(const char *const *models, size_t count, const char *output) {
    if (!models || count == 0 || !output) {
        return fail(ATTN_ERROR_ARGUMENT, "model folders to average and a folder for the result were expected");
    }
    attn_status status = folder_check_free(output);
    return status ? status : average_folders(models, count, output);
}
