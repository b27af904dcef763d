#include "model/network.h"

#include <jansson.h>
#include <string.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/memory.h"
#include "model/bert.h"
#include "model/language_model.h"
#include "model/recurrent.h"
#include "model/signal_model.h"
#include "model/transformer.h"

/* By model_type; the first one speaks for those that are unknown. */
static const network_kind *const KINDS[] = {
    &transformer_kind,
    &recurrent_kind,
    &language_gpt2_kind,
    &language_llama_kind,
    &bert_kind,
    &signal_picture_kind,
    &signal_sound_kind,
    &signal_speech_kind,
};

element_type network_best_type(void) {
    return cpu_selected() == CPU_AVX512_BF16 ? ELEMENT_BF16 : ELEMENT_F32;
}

network network_of(const network_kind *kind, void *model) {
    return (network){kind, model, kind->parameters(model)};
}

void network_free(network *n) {
    if (n->kind) {
        n->kind->free(n->model);
    }
    *n = (network){0};
}

static attn_status find_kind(const char *directory, const network_kind **kind) {
    char *path = file_join(directory, FOLDER_CONFIG), *text = NULL;
    size_t size;
    attn_status status = path ? file_read(path, &text, &size) : ATTN_ERROR_MEMORY;
    memory_free(path);
    *kind = KINDS[0];
    if (status) {
        return status;
    }
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    const char *type = json_string_value(json_object_get(root, "model_type"));
    for (size_t i = 0; type && i < sizeof KINDS / sizeof *KINDS; i++) {
        const char *const names[] = {KINDS[i]->model_type, KINDS[i]->also[0], KINDS[i]->also[1]};
        for (int k = 0; k < 3; k++) {
            *kind = names[k] && strcmp(type, names[k]) == 0 ? KINDS[i] : *kind;
        }
    }
    json_decref(root);
    memory_free(text);
    return ATTN_OK;
}

attn_status network_open(const char *directory, network_purpose purpose, network *opened) {
    const network_kind *kind;
    void *model = NULL;
    *opened = (network){0};
    attn_status status = find_kind(directory, &kind);
    status = status ? status : kind->open(directory, purpose, &model);
    if (!status) {
        *opened = network_of(kind, model);
    }
    return status;
}

attn_status network_load(const char *directory, network_purpose purpose, network *loaded) {
    *loaded = (network){0};
    attn_status status = folder_check(directory);
    status = status ? status : network_open(directory, purpose, loaded);
    status = status ? status : network_read_weights(loaded, directory);
    if (status) {
        network_free(loaded);
    }
    return status;
}

attn_status network_read_weights(const network *n, const char *directory) {
    folder_tensor *tensors = network_tensors(n->parameters, n->parameters->values);
    attn_status status = tensors ? folder_read_weights(directory, tensors, n->parameters->count) : ATTN_ERROR_MEMORY;
    memory_free(tensors);
    if (!status && n->kind->was_read) {
        n->kind->was_read(n->model);
    }
    parameters_update_copies(n->parameters);
    return status;
}

folder_tensor *network_tensors(const parameters *set, float *values) {
    folder_tensor *tensors = memory_allocate(set->count, sizeof *tensors);
    for (size_t i = 0; tensors && i < set->count; i++) {
        const named_parameter *p = &set->list[i];
        tensors[i] = (folder_tensor){.name = p->name, .dims = p->rank, .values = values + p->where.offset};
        tensors[i].transposed = p->transposed;
        memcpy(tensors[i].shape, p->shape, sizeof p->shape);
    }
    return tensors;
}
