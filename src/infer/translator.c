#include "infer/translator.h"

#include "model/recurrent.h"
#include "model/transformer.h"

translator translator_of(const network *n) {
    if (n->kind == &transformer_kind) {
        const transformer *m = n->model;
        return (translator){&transformer_translator, n->kind, m, &m->config, &m->parameters, m->embedding, m->logits_bias};
    }
    if (n->kind == &recurrent_kind) {
        const recurrent *m = n->model;
        return (translator){&recurrent_translator, n->kind, m, &m->config, &m->parameters, m->embedding, m->logits_bias};
    }
    return (translator){0};
}
