/* How well a language model foretells a plain text. */
#include <math.h>

#include "base/memory.h"
#include "data/plain_text.h"
#include "infer/measure.h"
#include "infer/model.h"

static attn_status measure(const attn_model *model, text_line text, size_t block, attn_text_evaluation *e) {
    id_buffer ids = {0};
    corpus stream = {0};
    loss_result sum;
    attn_status status = plain_text_encode(model->tokenizer, text, &ids);
    if (status) {
        id_buffer_release(&ids);
        return status;
    }
    status = corpus_stream(ids.ids, ids.count, block, &stream);
    status = status ? status : measure_weights(model->network.parameters, &model->network, &stream, BATCH_COUNTS_TARGET, &sum);
    if (!status) {
        *e = (attn_text_evaluation){.bytes = text.length,
                                    .tokens = (size_t)sum.tokens,
                                    .loss = sum.loss / (double)sum.tokens,
                                    .token_accuracy = (double)sum.correct / (double)sum.tokens,
                                    .bits_per_byte = sum.loss / log(2.0) / (double)text.length};
    }
    corpus_release(&stream);
    return status;
}

attn_status attn_evaluate_text(const attn_model *model, const char *path, int block, attn_text_evaluation *evaluation) {
    if (!model || !path || !evaluation) {
        return fail(ATTN_ERROR_ARGUMENT, "a model, a text and a place for the evaluation were expected");
    }
    if (!attn_model_generates(model)) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s is no language model (its architecture is %s)", model->directory,
                    model->network.kind->name);
    }
    int positions = model->network.kind->limits(model->network.model).positions;
    if (block < 0 || block > positions) {
        return fail(ATTN_ERROR_ARGUMENT, "block is %d; 1 to the model's %d positions was expected", block, positions);
    }
    char *owned = NULL;
    text_line text;
    attn_status status = plain_text_read(path, &owned, &text);
    status = status ? status : measure(model, text, (size_t)(block ? block : positions), evaluation);
    if (status && owned) {
        status = fail_within(status, "%s", path);
    }
    memory_free(owned);
    return status;
}
