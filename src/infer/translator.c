#include "infer/translator.h"

#include "model/recurrent.h"
#include "model/signal_model.h"
#include "model/transformer.h"

translator translator_of(const network *n) {
    if (n->kind == &transformer_kind) {
        const transformer *m = n->model;
        return (translator){&transformer_translator, n->kind, m, &m->config, &m->parameters, m->embedding, m->logits_bias, 0};
    }
    if (n->kind == &recurrent_kind) {
        const recurrent *m = n->model;
        return (translator){&recurrent_translator, n->kind, m, &m->config, &m->parameters, m->embedding, m->logits_bias, 0};
    }
    if (n->kind == &signal_speech_kind) {
        const signal_model *m = n->model;
        return (translator){&speech_translator, n->kind, m, &m->text.config, &m->parameters, m->text.embedding,
                            m->text.logits_bias, signal_row_width(&m->config)};
    }
    return (translator){0};
}
