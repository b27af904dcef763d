/* Speech as the search sees it: an encoder over frames (model/signal_model.h), a
 * translator's decoder behind it. */
#include "infer/signal_reader.h"
#include "infer/translator.h"

static attn_status pack(packed_parameters *packed, product_type type, const parameters *values, const void *model) {
    const signal_model *m = model;
    attn_status status = signal_pack_encoder(packed, type, values, m);
    return status ? status : step_pack(packed, type, values, &m->text);
}

static attn_status open_caches(const void *model, cache *self, cache *cross) {
    return step_open_caches(&((const signal_model *)model)->text, self, cross);
}

static attn_status encode(tape *t, const void *model, source_rows source, packing p, const int32_t *places, cache *cross) {
    const signal_model *m = model;
    return step_keep_memory(t, &m->text, signal_memory(t, m, source.features, p), places, cross);
}

static tensor *step(tape *t, const void *model, const step_input *in, cache *self, const cache *cross) {
    return step_decode(t, &((const signal_model *)model)->text, in, self, cross);
}

static tensor *decode(tape *t, const void *model, source_rows source, packing from, const int32_t *inputs, packing to) {
    const signal_model *m = model;
    return transformer_decode(t, &m->text, inputs, to, signal_memory(t, m, source.features, from), from);
}

static void attention_layers(const void *model, int layers[3]) {
    const signal_config *c = &((const signal_model *)model)->config;
    layers[0] = c->num_hidden_layers;
    layers[1] = layers[2] = c->decoder_layers;
}

const translator_kind speech_translator = {pack, open_caches, encode, step, decode, attention_layers};
