/* Opening a model folder. */
#include "infer/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/file_memory.h"
#include "model/bert.h"
#include "model/folder.h"
#include "model/safetensors.h"

/* The vocabulary's ids must be rows of the embedding, and the special ids the same. */
static attn_status check_agreement(const attn_model *m) {
    network_limits limits = m->network.kind->limits(m->network.model);
    size_t pieces = tokenizer_vocabulary_size(m->tokenizer);
    if (pieces > (size_t)limits.vocabulary) {
        return fail(ATTN_ERROR_FORMAT, "%s: vocab.json has %zu pieces, the model's vocab_size is %d", m->directory, pieces,
                    limits.vocabulary);
    }
    if (limits.eos != TOKEN_NONE && !tokenizer_takes_lines(m->tokenizer) &&
        tokenizer_eos(m->tokenizer) != limits.eos) {
        return fail(ATTN_ERROR_FORMAT, "%s: </s> is %d in vocab.json, eos_token_id is %d in config.json", m->directory,
                    tokenizer_eos(m->tokenizer), limits.eos);
    }
    return ATTN_OK;
}

/* What the products are computed in. */
static attn_status product_type_of(const char *directory, attn_compute compute, product_type *type) {
    int quantized;
    switch (compute) {
    case ATTN_COMPUTE_F32:
        *type = PRODUCT_F32;
        return ATTN_OK;
    case ATTN_COMPUTE_BF16:
        *type = PRODUCT_BF16;
        return ATTN_OK;
    case ATTN_COMPUTE_INT8:
        *type = PRODUCT_INT8;
        return ATTN_OK;
    case ATTN_COMPUTE_AUTO:
        break;
    }
    attn_status status = folder_is_quantized(directory, &quantized);
    *type = !status && quantized ? PRODUCT_INT8 : PRODUCT_F32;
    return status;
}

attn_status attn_model_load(const char *directory, attn_model **model) {
    return attn_model_load_as(directory, ATTN_COMPUTE_AUTO, model);
}

attn_status attn_model_load_as(const char *directory, attn_compute compute, attn_model **model) {
    product_type type;
    if (!model) {
        return fail(ATTN_ERROR_ARGUMENT, "there is no place for the loaded model: a pointer was expected");
    }
    *model = NULL;
    if (!directory) {
        return fail(ATTN_ERROR_ARGUMENT, "no model folder was given");
    }
    if ((int)compute < ATTN_COMPUTE_AUTO || (int)compute > ATTN_COMPUTE_INT8) {
        return fail(ATTN_ERROR_ARGUMENT, "compute is %d, 0 to %d was expected", (int)compute, ATTN_COMPUTE_INT8);
    }
    attn_model *m = memory_allocate(1, sizeof *m);
    if (!m) {
        return ATTN_ERROR_MEMORY;
    }
    m->directory = memory_copy_string(directory);
    attn_status status = m->directory ? ATTN_OK : ATTN_ERROR_MEMORY;
    status = status ? status : network_load(directory, (network_purpose){0, ELEMENT_F32}, &m->network);
    if (!status && m->network.kind->limits(m->network.model).vocabulary > 0) { /* pictures and sounds have no words */
        status = tokenizer_load(directory, &m->tokenizer);
        status = status ? status : check_agreement(m);
        if (!status && m->network.kind == &bert_kind) {
            status = bert_spell(m->network.model, m->tokenizer);
            status = status ? fail_within(status, "%s", directory) : ATTN_OK;
        }
    }
    if (!status) {
        m->translator = translator_of(&m->network);
    }
    if (!status && m->translator.kind) {
        status = product_type_of(directory, compute, &type);
        status = status ? status : searcher_new(&m->translator, type, &m->searcher);
    } else if (!status && compute != ATTN_COMPUTE_AUTO && compute != ATTN_COMPUTE_F32) {
        status = fail(ATTN_ERROR_UNSUPPORTED, "%s does not translate: its products are f32 alone", directory);
    }
    if (!status && (m->network.kind == &language_gpt2_kind || m->network.kind == &language_llama_kind)) {
        status = generator_new(m->network.model, &m->generator);
    }
    if (status) {
        attn_model_free(m);
        return status;
    }
    *model = m;
    return ATTN_OK;
}

attn_status attn_model_load_memory(const attn_file *files, size_t count, attn_model **model) {
    if (!model || (count && !files)) {
        return fail(ATTN_ERROR_ARGUMENT, "files and a place for the loaded model were expected");
    }
    *model = NULL;
    memory_file *list = memory_allocate(count, sizeof *list);
    if (!list) {
        return ATTN_ERROR_MEMORY;
    }
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < count && !status; i++) {
        list[i] = (memory_file){files[i].name, files[i].bytes, files[i].size};
        if (!files[i].name || (files[i].size && !files[i].bytes)) {
            status = fail(ATTN_ERROR_ARGUMENT, "file %zu has no name or no bytes", i + 1);
        }
    }
    if (!status) {
        file_memory_open(list, count);
        status = attn_model_load(FILE_MEMORY_FOLDER, model);
        file_memory_close();
    }
    if (!status) {
        (*model)->from_memory = 1;
    }
    memory_free(list);
    return status;
}

attn_status model_check_searcher(const attn_model *model) {
    if (model->translator.feature_width) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s reads sounds, not text: attn transcribe writes down what they say", model->directory);
    }
    return model->searcher ? ATTN_OK
                           : fail(ATTN_ERROR_UNSUPPORTED, "%s holds a model that does not translate (its architecture is %s)",
                                  model->directory, model->network.kind->name);
}

void attn_model_free(attn_model *model) {
    if (model) {
        searcher_free(model->searcher);
        generator_free(model->generator);
        tokenizer_free(model->tokenizer);
        network_free(&model->network);
        memory_free(model->directory);
        memory_free(model);
    }
}
