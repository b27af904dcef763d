/* A model's folder, as Hugging Face lays it out:
 *   config.json             sizes and switches
 *   generation_config.json  beams and lengths (optional when read)
 *   model.safetensors       the weights
 *   source.spm, target.spm, vocab.json, ...   the tokenizer (src/data/tokenizer.h)
 * and, while it is being trained,
 *   training.safetensors    everything needed to go on: weights, moments, counters
 *
 * How a kill at any moment leaves a usable folder. Each file is replaced
 * atomically (base/file.h), and no two files ever have to be of the same moment:
 *  - config.json and the tokenizer are written before the first weights and never
 *    again: saving weights beside the config of another model is refused. A
 *    folder is a model from the moment model.safetensors appears, which is last.
 *  - model.safetensors is whole in itself: the published (best or last) weights.
 *  - training.safetensors is whole in itself: it holds its own weights beside the
 *    moments and the counters, so that no order of writes can join the weights
 *    of one step with the moments of another. Resuming reads it alone; the
 *    price is one more copy of the weights on the disk.
 * A kill between the two leaves weights and a training state of different steps,
 * each correct; resuming from the state writes the weights again. */
#ifndef ATTN_MODEL_FOLDER_H
#define ATTN_MODEL_FOLDER_H

#include <stddef.h>

#include "model/config.h"
#include "model/safetensors.h"

#define FOLDER_CONFIG "config.json"
#define FOLDER_GENERATION "generation_config.json"
#define FOLDER_WEIGHTS "model.safetensors"
#define FOLDER_TRAINING "training.safetensors"

/* One named f32 array of the model: read into or written from values. */
typedef struct folder_tensor {
    const char *name; /* as transformers names it: "model.shared.weight" */
    int dims;
    size_t shape[SAFETENSORS_MAX_DIMS];
    float *values; /* [product of shape] */
    int transposed; /* 1: model.safetensors holds the transpose of this matrix */
} folder_tensor;

/* What is still missing for a model to be read from this folder, as one sentence;
 * ATTN_OK if nothing. The tokenizer's files are the tokenizer's to check. */
attn_status folder_check(const char *directory);

/* 1 if weights or a training state stand in the folder. */
int folder_has_weights(const char *directory);

/* ATTN_ERROR_ARGUMENT where the folder has a model.safetensors already: what is made goes elsewhere. */
attn_status folder_check_free(const char *directory);

/* Refuses a model.safetensors that is too small for so many weights, before anyone
 * allocates them. */
attn_status folder_check_size(const char *directory, size_t weights);

/* config.json, and generation_config.json if it is there. A config that calls for more
 * weights than model.safetensors can hold is refused, before anyone allocates them. */
attn_status folder_read_config(const char *directory, model_config *config);

/* Whether the weights are int8: a matrix NAME of I8 [rows, columns] has its scales, one for each
 * row, in "NAME_scale" of F32 [rows]: value = scale q. */
#define FOLDER_SCALE "_scale"
attn_status folder_is_quantized(const char *directory, int *quantized);

/* Replaces model.safetensors by int8 matrices. Those of one row or one dimension stay F32.
 * A matrix that would collapse is refused by its name (ATTN_ERROR_NUMERIC). */
attn_status folder_write_quantized(const char *directory, const folder_tensor *tensors, size_t count,
                                   const safetensors_metadata *metadata, size_t metadata_count);

/* Fills all tensors from model.safetensors (F32, F16, BF16, F64, or I8 with its scales). Refused: a
 * missing tensor, another shape, a value that is not finite, a tensor in the file
 * that nobody asked for (the config and the weights would not belong together).
 * Known second names of the tied embedding, and the sinusoids, masks and frequencies that
 * older files hold, are ignored; names may lack their first word ("transformer.", "model."),
 * as in files of a model without its head. */
attn_status folder_read_weights(const char *directory, const folder_tensor *tensors, size_t count);

/* Makes the folder if need be and writes config.json and generation_config.json. A
 * config.json of the same model is left as it is (a foreign one may hold more);
 * one of another model is refused while weights stand beside it. */
attn_status folder_write_config(const char *directory, const model_config *config);

/* Replaces model.safetensors. folder_write_config and the tokenizer's files come before. */
attn_status folder_write_weights(const char *directory, const folder_tensor *tensors, size_t count,
                                 const safetensors_metadata *metadata, size_t metadata_count);

/* One group of the training state: the same tensors under "PREFIX.NAME", e.g.
 * "weights", "adam.first_moment", "adam.second_moment". */
typedef struct folder_group {
    const char *prefix;
    const folder_tensor *tensors;
    size_t count;
} folder_group;

/* Replaces training.safetensors. Counters go in the metadata, as decimal text; best
 * call it before folder_write_weights. */
attn_status folder_write_training(const char *directory, const folder_group *groups, size_t group_count,
                                  const safetensors_metadata *metadata, size_t metadata_count);

/* Opens training.safetensors and fills every group, as strictly as the weights, F32
 * alone; *file is for its metadata, to be closed by the caller (NULL on failure). */
attn_status folder_read_training(const char *directory, const folder_group *groups, size_t group_count,
                                 safetensors **file);

#endif
