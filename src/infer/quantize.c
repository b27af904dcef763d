/* Making an int8 model folder of another one. */
#include <attn/attn.h>

#include "base/memory.h"
#include "data/tokenizer.h"
#include "model/folder.h"
#include "model/transformer.h"

static attn_status write(network *n, const tokenizer *vocabulary, const char *output) {
    parameters *set = n->parameters;
    static const safetensors_metadata FACT = {"attn.quantized", "int8"};
    folder_tensor *tensors = network_tensors(set, set->values);
    attn_status status = tensors ? n->kind->write_config(output, n->model) : ATTN_ERROR_MEMORY;
    status = status ? status : tokenizer_save(vocabulary, output);
    status = status ? status : folder_write_quantized(output, tensors, set->count, &FACT, 1);
    memory_free(tensors);
    return status;
}

attn_status attn_quantize(const char *model, const char *output) {
    if (!model || !output) {
        return fail(ATTN_ERROR_ARGUMENT, "a model folder and a folder for the result were expected");
    }
    network n = {0};
    tokenizer *vocabulary = NULL;
    int quantized = 0;
    attn_status status = folder_check_free(output);
    status = status ? status : network_load(model, (network_purpose){0, ELEMENT_F32}, &n);
    if (!status && n.kind != &transformer_kind) {
        status = fail(ATTN_ERROR_UNSUPPORTED, "%s does not translate: only a translator can be quantized", model);
    }
    status = status ? status : folder_is_quantized(model, &quantized);
    if (!status && quantized) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s is quantized already", model);
    }
    status = status ? status : tokenizer_load(model, &vocabulary);
    status = status ? status : write(&n, vocabulary, output);
    tokenizer_free(vocabulary);
    if (n.parameters) {
        network_free(&n);
    }
    return status;
}
