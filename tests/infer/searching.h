/* What the tests of searching share: small models, sources, and the slow way to a score. */
#ifndef ATTN_TESTS_SEARCHING_H
#define ATTN_TESTS_SEARCHING_H

#include <stdlib.h>

#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "infer/search.h"
#include "model/transformer.h"

#define FOLDER TEST_VECTORS "/marian_tiny"

static inline searcher *searcher_as(const transformer *model, product_type type) {
    searcher *s;
    const network n = {.kind = &transformer_kind, .model = (void *)(uintptr_t)model};
    const translator from = translator_of(&n);
    if (searcher_new(&from, type, &s)) {
        fail_msg("%s", attn_last_error());
    }
    return s;
}

static inline searcher *searcher_of(const transformer *model) {
    return searcher_as(model, PRODUCT_F32);
}

static inline hypothesis_list search_one(searcher *s, const int32_t *ids, size_t count, const search_options *options) {
    const size_t offsets[] = {0, count};
    hypothesis_list list;
    if (search(s, ids, offsets, 1, options, &list)) {
        fail_msg("%s", attn_last_error());
    }
    return list;
}

/* Numbers of a line; their count. */
static inline int read_numbers(char *line, double *numbers, int most) {
    int count = 0;
    for (char *end = line; count < most; count++) {
        numbers[count] = strtod(line, &end);
        if (end == line) {
            break;
        }
        line = end;
    }
    return count;
}

static inline transformer *random_model(int vocabulary, int width, int layers, float ending) {
    model_config config;
    transformer *model;
    model_config_defaults(&config, vocabulary);
    config.d_model = width;
    config.encoder_layers = config.decoder_layers = layers;
    config.encoder_attention_heads = config.decoder_attention_heads = 4;
    config.encoder_ffn_dim = config.decoder_ffn_dim = 2 * width;
    config.max_position_embeddings = 64;
    if (transformer_new(&config, (network_purpose){0, ELEMENT_F32}, &model)) {
        fail_msg("%s", attn_last_error());
    }
    transformer_initialize(model, 11);
    float *bias = parameter_values(&model->parameters, model->logits_bias);
    for (int i = 0; i < vocabulary; i++) {
        bias[i] = random_normal(5, (uint64_t)i);
    }
    bias[config.eos_token_id] = ending;
    return model;
}

/* log p of a translation, every prefix decoded anew, without cache or packed weights. */
static inline double log_probability_anew(const transformer *model, const int32_t *source, int source_count, const int32_t *ids,
                                   int count) {
    tape t;
    double sum = 0;
    const model_config *c = &model->config;
    float *logits = memory_allocate((size_t)c->vocab_size, sizeof *logits);
    transformer *unlocked = (transformer *)(uintptr_t)model;
    assert_int_equal(tape_open(&t, &unlocked->parameters), ATTN_OK);
    for (int length = 0; length <= count; length++) {
        int32_t inputs[80] = {c->decoder_start_token_id};
        memcpy(inputs + 1, ids, (size_t)length * sizeof *ids);
        const int32_t from[] = {0, source_count}, to[] = {0, length + 1};
        tape_start(&t, 0, 0, 0);
        tensor *memory = transformer_encode(&t, model, source, (packing){from, 1});
        tensor *x = transformer_decode(&t, model, inputs, (packing){to, 1}, memory, (packing){from, 1});
        assert_non_null(x);
        const float *last = tensor_row(x, length);
        const float *table = parameter_values(&model->parameters, model->embedding);
        const float *bias = parameter_values(&model->parameters, model->logits_bias);
        for (int v = 0; v < c->vocab_size; v++) {
            double dot = (double)bias[v];
            for (int j = 0; j < c->d_model; j++) {
                dot += (double)table[v * c->d_model + j] * (double)last[j];
            }
            logits[v] = (float)dot;
        }
        t.rows->log_softmax(logits, c->vocab_size);
        sum += (double)logits[length < count ? ids[length] : c->eos_token_id];
    }
    tape_close(&t);
    memory_free(logits);
    return sum;
}

static inline int random_source(uint64_t seed, int longest, int vocabulary, int32_t *ids) {
    int count = 1 + (int)random_below(seed, 1000, (uint32_t)longest);
    for (int i = 0; i < count; i++) {
        ids[i] = 1 + (int32_t)random_below(seed, (uint64_t)i, (uint32_t)vocabulary - 2);
    }
    ids[count++] = 0;
    return count;
}

/* marian_tiny with the bias of generation.txt's first line. */
static inline transformer *vector_model(FILE *generation) {
    transformer *model;
    char line[4096];
    double numbers[256];
    if (transformer_load(FOLDER, (network_purpose){0, ELEMENT_F32}, &model)) {
        fail_msg("%s", attn_last_error());
    }
    assert_non_null(fgets(line, sizeof line, generation));
    assert_int_equal(read_numbers(line + strlen("bias"), numbers, 256), model->config.vocab_size);
    for (int i = 0; i < model->config.vocab_size; i++) {
        parameter_values(&model->parameters, model->logits_bias)[i] = (float)numbers[i];
    }
    return model;
}

#endif
