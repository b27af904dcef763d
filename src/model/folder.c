/* A model's folder as a whole: which files it needs, and its weights and training
 * state as named f32 arrays. The header says why a kill between two writes leaves
 * a usable folder. */
#include "model/folder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/folder_int8.h"

#define PYTORCH_WEIGHTS "pytorch_model.bin"
#define SHARD_INDEX "model.safetensors.index.json"

static int has(const char *directory, const char *name) {
    char *path = file_join(directory, name);
    int found = path && file_exists(path);
    memory_free(path);
    return found;
}

attn_status folder_check(const char *directory) {
    if (!file_exists(directory)) {
        return fail(ATTN_ERROR_FILE, "%s: there is no such model folder", directory);
    }
    if (!has(directory, FOLDER_CONFIG)) {
        return fail(ATTN_ERROR_FILE, "%s is not a model folder: " FOLDER_CONFIG " is missing", directory);
    }
    if (has(directory, FOLDER_WEIGHTS)) {
        return ATTN_OK;
    }
    if (has(directory, SHARD_INDEX)) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s holds its weights in several files (" SHARD_INDEX "); one "
                    FOLDER_WEIGHTS " was expected: save the model again with max_shard_size=\"100GB\"", directory);
    }
    if (has(directory, PYTORCH_WEIGHTS)) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s holds " PYTORCH_WEIGHTS ", which is not read, and no " FOLDER_WEIGHTS
                    "; convert it once in Python: from transformers import MarianMTModel; "
                    "MarianMTModel.from_pretrained(\"%s\").save_pretrained(\"%s\", safe_serialization=True)",
                    directory, directory, directory);
    }
    if (has(directory, FOLDER_TRAINING)) {
        return fail(ATTN_ERROR_FILE, "%s: " FOLDER_WEIGHTS " is missing, but a training state is there: resume the training",
                    directory);
    }
    return fail(ATTN_ERROR_FILE, "%s: the model is not complete: " FOLDER_WEIGHTS " is missing", directory);
}

/* Every weight takes at least the two bytes of a half-precision number, or the one of int8. */
attn_status folder_check_size(const char *directory, size_t weights) {
    char *path = file_join(directory, FOLDER_WEIGHTS);
    size_t size;
    attn_status status = path ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (path && file_size(path, &size) && size / 2 < weights) {
        int quantized = 0;
        if (folder_is_quantized(directory, &quantized)) {
            quantized = 0; /* reading the weights will say what is wrong with them */
        }
        if (!quantized || size < weights) {
            status = fail(ATTN_ERROR_FORMAT, "%s holds %zu bytes, too few for the %zu weights that " FOLDER_CONFIG
                          " describes", path, size, weights);
        }
    }
    memory_free(path);
    return status;
}

attn_status folder_read_config(const char *directory, model_config *config) {
    char *path = file_join(directory, FOLDER_CONFIG);
    attn_status status = path ? model_config_read(path, config) : ATTN_ERROR_MEMORY;
    memory_free(path);
    if (!status && has(directory, FOLDER_GENERATION)) {
        path = file_join(directory, FOLDER_GENERATION);
        status = path ? model_config_read_generation(path, config) : ATTN_ERROR_MEMORY;
        memory_free(path);
    }
    return status ? status : folder_check_size(directory, model_config_weights(config));
}

int folder_has_weights(const char *directory) {
    return has(directory, FOLDER_WEIGHTS) || has(directory, FOLDER_TRAINING);
}

attn_status folder_check_free(const char *directory) {
    char *weights = file_join(directory, FOLDER_WEIGHTS);
    int exists = weights && file_exists(weights);
    memory_free(weights);
    return !weights ? ATTN_ERROR_MEMORY
           : exists ? fail(ATTN_ERROR_ARGUMENT, "%s already holds a model; name another folder", directory)
                    : ATTN_OK;
}

attn_status folder_write_config(const char *directory, const model_config *config) {
    model_config old;
    attn_status status = file_make_directory(directory);
    char *path = file_join(directory, FOLDER_CONFIG);
    char *generation = file_join(directory, FOLDER_GENERATION);
    if (!status && (!path || !generation)) {
        status = ATTN_ERROR_MEMORY;
    }
    int keep = 0;
    if (!status && file_exists(path)) {
        keep = model_config_read(path, &old) == ATTN_OK && model_config_equal(&old, config);
        if (!keep && folder_has_weights(directory)) {
            status = fail(ATTN_ERROR_ARGUMENT, "%s holds the weights of another model (its " FOLDER_CONFIG
                          " differs); choose another folder", directory);
        }
    }
    if (!status) {
        status = model_config_write_generation(generation, config);
    }
    if (!status && !keep) {
        status = model_config_write(path, config);
    }
    memory_free(path);
    memory_free(generation);
    return status;
}

/* --- weights ------------------------------------------------------------------- */

static const char SHARED[] = "model.shared.weight";

/* Other names under which a file may hold the tied embedding, and the sinusoids,
 * which are computed here; BERT's places are counted, its output is its table. */
static const char *const TIED[] = {"model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight",
                                   "lm_head.weight"};
static const char *const IGNORED[] = {"model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight",
                                      "bert.embeddings.position_ids", "cls.predictions.decoder.weight",
                                      "cls.predictions.decoder.bias"};

#define LENGTH(array) (sizeof(array) / sizeof *(array))

static int is_one_of(const char *name, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

static attn_status read_values(const safetensors *file, const safetensors_tensor *stored, float *values) {
    attn_status status = safetensors_to_f32(file, stored, values);
    const size_t elements = safetensors_elements(stored);
    int finite = 1;
    for (size_t i = 0; !status && i < elements; i++) { /* without a way out, so that it runs on vectors */
        finite &= isfinite(values[i]) != 0;
    }
    for (size_t i = 0; !status && !finite && i < elements; i++) {
        if (!isfinite(values[i])) {
            status = fail(ATTN_ERROR_NUMERIC, "%s: tensor \"%s\": element %zu is %g, a finite number was expected",
                          safetensors_path(file), stored->name, i, (double)values[i]);
        }
    }
    return status;
}

/* Buffers that files of older versions hold, by the ends of their names: GPT-2's causal
 * mask and Llama's rotary frequencies. */
static const char *const BUFFERS[] = {".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq"};

static int is_buffer(const char *name) {
    for (size_t i = 0; i < LENGTH(BUFFERS); i++) {
        size_t n = strlen(name), m = strlen(BUFFERS[i]);
        if (n >= m && strcmp(name + n - m, BUFFERS[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The name behind its first word, "h.0.ln_1.weight", as models without a head have it. */
static const char *short_name(const char *name) {
    const char *dot = strchr(name, '.');
    return strncmp(name, "transformer.", 12) == 0 || strncmp(name, "model.", 6) == 0 ? dot + 1 : name;
}

/* values [rows, columns] become their transpose, or are made from it. */
static attn_status transpose(float *values, size_t rows, size_t columns) {
    float *copy = memory_allocate_raw(rows * columns, sizeof *copy);
    if (copy) {
        memcpy(copy, values, rows * columns * sizeof *copy);
    }
    for (size_t i = 0; copy && i < rows; i++) {
        for (size_t j = 0; j < columns; j++) {
            values[j * rows + i] = copy[i * columns + j];
        }
    }
    memory_free(copy);
    return copy ? ATTN_OK : ATTN_ERROR_MEMORY;
}

static attn_status read_tensor(const safetensors *file, const folder_tensor *tensor) {
    const char *name = safetensors_find(file, tensor->name) || !safetensors_find(file, short_name(tensor->name))
                           ? tensor->name : short_name(tensor->name);
    size_t shape[SAFETENSORS_MAX_DIMS];
    memcpy(shape, tensor->shape, sizeof shape);
    if (tensor->transposed) {
        shape[0] = tensor->shape[1];
        shape[1] = tensor->shape[0];
    }
    const safetensors_tensor *stored;
    if (strcmp(name, SHARED) == 0) {
        for (size_t i = 0; !safetensors_find(file, name) && i < LENGTH(TIED); i++) {
            name = safetensors_find(file, TIED[i]) ? TIED[i] : name;
        }
    }
    attn_status status = safetensors_require(file, name, tensor->dims, shape, &stored);
    if (!status) {
        status = (stored->dtype == SAFETENSORS_I8 ? folder_read_int8 : read_values)(file, stored, tensor->values);
    }
    return status || !tensor->transposed ? status : transpose(tensor->values, shape[0], shape[1]);
}

static int is_asked_for(const char *name, const folder_tensor *tensors, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, tensors[i].name) == 0 || strcmp(name, short_name(tensors[i].name)) == 0) {
            return 1;
        }
    }
    return is_buffer(name) || is_one_of(name, TIED, LENGTH(TIED)) || is_one_of(name, IGNORED, LENGTH(IGNORED));
}

attn_status folder_read_weights(const char *directory, const folder_tensor *tensors, size_t count) {
    safetensors *file = NULL;
    char *path = file_join(directory, FOLDER_WEIGHTS);
    attn_status status = path ? safetensors_open(path, &file) : ATTN_ERROR_MEMORY;
    for (size_t i = 0; !status && i < count; i++) {
        status = read_tensor(file, &tensors[i]);
    }
    for (size_t i = 0; !status && i < safetensors_count(file); i++) {
        const char *name = safetensors_at(file, i)->name;
        if (!is_asked_for(name, tensors, count) && !folder_is_scale(file, name)) {
            status = fail(ATTN_ERROR_FORMAT, "%s: tensor \"%.200s\" has no place in the model that " FOLDER_CONFIG
                          " describes", path, name);
        }
    }
    safetensors_close(file);
    memory_free(path);
    return status;
}

static safetensors_tensor to_stored(const folder_tensor *tensor, const char *name) {
    safetensors_tensor stored = {.name = name, .dtype = SAFETENSORS_F32, .dims = tensor->dims, .data = tensor->values};
    memcpy(stored.shape, tensor->shape, sizeof stored.shape);
    return stored;
}

static attn_status store_transposed(safetensors_tensor *stored, const folder_tensor *tensor, float **turned) {
    size_t rows = tensor->shape[0], columns = tensor->shape[1];
    *turned = memory_allocate_raw(rows * columns, sizeof **turned);
    if (*turned) {
        memcpy(*turned, tensor->values, rows * columns * sizeof **turned);
    }
    attn_status status = *turned ? transpose(*turned, rows, columns) : ATTN_ERROR_MEMORY;
    stored->data = *turned;
    stored->shape[0] = columns;
    stored->shape[1] = rows;
    return status;
}

attn_status folder_write_weights(const char *directory, const folder_tensor *tensors, size_t count,
                                 const safetensors_metadata *metadata, size_t metadata_count) {
    char *path = file_join(directory, FOLDER_WEIGHTS);
    safetensors_tensor *stored = memory_allocate(count, sizeof *stored);
    float **turned = memory_allocate(count, sizeof *turned);
    attn_status status = path && stored && turned ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < count && !status; i++) {
        stored[i] = to_stored(&tensors[i], tensors[i].name);
        status = tensors[i].transposed ? store_transposed(&stored[i], &tensors[i], &turned[i]) : ATTN_OK;
    }
    status = status ? status : safetensors_save(path, stored, count, metadata, metadata_count);
    for (size_t i = 0; turned && i < count; i++) {
        memory_free(turned[i]);
    }
    memory_free(turned);
    memory_free(stored);
    memory_free(path);
    return status;
}

/* --- training state ------------------------------------------------------------ */

static char *name_in_group(const folder_group *group, const char *name) {
    size_t size = strlen(group->prefix) + strlen(name) + 2;
    char *full = memory_allocate_raw(size, 1);
    if (full) {
        (void)snprintf(full, size, "%s.%s", group->prefix, name);
    }
    return full;
}

static size_t count_in_groups(const folder_group *groups, size_t group_count) {
    size_t count = 0;
    for (size_t g = 0; g < group_count; g++) {
        count += groups[g].count;
    }
    return count;
}

attn_status folder_write_training(const char *directory, const folder_group *groups, size_t group_count,
                                  const safetensors_metadata *metadata, size_t metadata_count) {
    size_t count = count_in_groups(groups, group_count), used = 0;
    char *path = file_join(directory, FOLDER_TRAINING);
    char **names = memory_allocate(count, sizeof *names);
    safetensors_tensor *stored = memory_allocate(count, sizeof *stored);
    attn_status status = path && names && stored ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (size_t g = 0; !status && g < group_count; g++) {
        for (size_t i = 0; !status && i < groups[g].count; i++, used++) {
            names[used] = name_in_group(&groups[g], groups[g].tensors[i].name);
            status = names[used] ? ATTN_OK : ATTN_ERROR_MEMORY;
            stored[used] = to_stored(&groups[g].tensors[i], names[used]);
        }
    }
    if (!status) {
        status = safetensors_save(path, stored, count, metadata, metadata_count);
    }
    for (size_t i = 0; names && i < count; i++) {
        memory_free(names[i]);
    }
    memory_free(names);
    memory_free(stored);
    memory_free(path);
    return status;
}

static attn_status read_group(const safetensors *file, const folder_group *group) {
    for (size_t i = 0; i < group->count; i++) {
        const folder_tensor *tensor = &group->tensors[i];
        const safetensors_tensor *stored = NULL;
        char *name = name_in_group(group, tensor->name);
        attn_status status = name ? safetensors_require(file, name, tensor->dims, tensor->shape, &stored)
                                  : ATTN_ERROR_MEMORY;
        if (!status && stored->dtype != SAFETENSORS_F32) {
            status = fail(ATTN_ERROR_FORMAT, "%s: tensor \"%s\": its dtype is %s, F32 was expected",
                          safetensors_path(file), name, safetensors_dtype_name(stored->dtype));
        }
        if (!status) {
            status = read_values(file, stored, tensor->values);
        }
        memory_free(name);
        if (status) {
            return status;
        }
    }
    return ATTN_OK;
}

attn_status folder_read_training(const char *directory, const folder_group *groups, size_t group_count,
                                 safetensors **result) {
    safetensors *file = NULL;
    *result = NULL;
    char *path = file_join(directory, FOLDER_TRAINING);
    attn_status status = path ? safetensors_open(path, &file) : ATTN_ERROR_MEMORY;
    for (size_t g = 0; !status && g < group_count; g++) {
        status = read_group(file, &groups[g]);
    }
    /* All of ours are there and names are unique: more can only be foreign. */
    if (!status && safetensors_count(file) != count_in_groups(groups, group_count)) {
        status = fail(ATTN_ERROR_FORMAT, "%s: holds %zu tensors, the training state of this model has %zu", path,
                      safetensors_count(file), count_in_groups(groups, group_count));
    }
    if (status) {
        safetensors_close(file);
    } else {
        *result = file;
    }
    memory_free(path);
    return status;
}
