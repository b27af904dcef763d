/* One update's gradient: the same bits for any number of threads, however the batch is cut,
 * and a profile that accounts for its time. */
#include <stdio.h>
#include <string.h>

#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "base/threads.h"
#include "model/transformer.h"
#include "train/step.h"

static const uint64_t SEED = 31;
enum { SEQUENCES = 150, LONGEST = 60, VOCABULARY = 333 };

typedef struct text {
    int32_t ids[SEQUENCES * LONGEST], source_offsets[SEQUENCES + 1], target_offsets[SEQUENCES + 1];
} text;

/* Sequences of 1 to LONGEST tokens, more than one part holds. */
static batch make_batch(text *made) {
    for (size_t i = 0; i < SEQUENCES * LONGEST; i++) {
        made->ids[i] = (int32_t)random_below(random_key(SEED, 0, 0), i, VOCABULARY - 1);
    }
    for (size_t i = 0; i < SEQUENCES; i++) {
        made->source_offsets[i + 1] = made->source_offsets[i] + 1 + (int32_t)random_below(random_key(SEED, 1, 0), i, LONGEST);
        made->target_offsets[i + 1] = made->target_offsets[i] + 1 + (int32_t)random_below(random_key(SEED, 2, 0), i, LONGEST);
    }
    return (batch){.sequences = SEQUENCES, .tokens_source = (size_t)made->source_offsets[SEQUENCES],
                   .tokens_target = (size_t)made->target_offsets[SEQUENCES], .source = made->ids,
                   .source_offsets = made->source_offsets, .target_input = made->ids, .labels = made->ids,
                   .target_offsets = made->target_offsets};
}

static transformer *make_model(element_type type) {
    model_config config;
    transformer *model;
    model_config_defaults(&config, VOCABULARY);
    config.d_model = 48;
    config.encoder_layers = config.decoder_layers = 1;
    config.encoder_attention_heads = config.decoder_attention_heads = 3;
    config.encoder_ffn_dim = config.decoder_ffn_dim = 80;
    config.max_position_embeddings = LONGEST;
    config.dropout = config.attention_dropout = 0.1;
    assert_int_equal(transformer_new(&config, (network_purpose){1, type}, &model), ATTN_OK);
    transformer_initialize(model, SEED);
    return model;
}

static void check_threads(element_type type, int blocks, size_t sequences) {
    static text words;
    batch b = make_batch(&words);
    b.sequences = sequences;
    b.tokens_source = (size_t)b.source_offsets[sequences];
    b.tokens_target = (size_t)b.target_offsets[sequences];
    transformer *model = make_model(type);
    network n = network_of(&transformer_kind, model);
    gradient_step *step;
    size_t bytes = (size_t)model->parameters.size * sizeof(float);
    float *first = memory_allocate(1, bytes);
    double loss = 0;
    int before = threads_get();
    assert_int_equal(gradient_step_open(&n, blocks, &step), ATTN_OK);
    for (int threads = 1; threads <= 5; threads++) {
        gradient_task task = {.smoothing = 0.1f, .divisor = (double)b.tokens_target, .seed = SEED, .number = 7};
        loss_result result;
        threads_set(threads);
        assert_int_equal(gradient_step_run(step, &b, &task, &result), ATTN_OK);
        assert_int_equal(threads_get(), threads);
        assert_int_equal(result.tokens, (int64_t)b.tokens_target);
        if (threads == 1) {
            memcpy(first, model->parameters.gradients, bytes);
            loss = result.loss;
        }
        assert_memory_equal(first, model->parameters.gradients, bytes);
        assert_memory_equal(&loss, &result.loss, sizeof loss);
    }
    threads_set(before);
    memory_free(first);
    gradient_step_free(step);
    transformer_free(model);
}

static void threads_do_not_change_the_gradient(void **state) {
    (void)state;
    printf("seed %llu\n", (unsigned long long)SEED);
    for (int blocks = 1; blocks <= GRADIENT_BLOCKS; blocks += blocks) {
        check_threads(ELEMENT_F32, blocks, SEQUENCES);
        check_threads(ELEMENT_F32, blocks, 1); /* most blocks have none: the threads share the one */
        check_threads(ELEMENT_F32, blocks, 2);
        if (network_best_type() == ELEMENT_BF16) {
            check_threads(ELEMENT_BF16, blocks, SEQUENCES);
            check_threads(ELEMENT_BF16, blocks, 1);
        }
    }
}

static double total_seconds(const profile *p) {
    double total = 0;
    for (int row = 0; row < PROFILE_ROWS; row++) {
        total += p->seconds[row][PROFILE_FORWARD] + p->seconds[row][PROFILE_BACKWARD];
    }
    return total;
}

static void profile_counts_the_work_and_not_the_bits(void **state) {
    (void)state;
    static text words;
    batch b = make_batch(&words);
    transformer *model = make_model(ELEMENT_F32);
    network n = network_of(&transformer_kind, model);
    gradient_step *step;
    size_t bytes = (size_t)model->parameters.size * sizeof(float);
    float *plain = memory_allocate(1, bytes);
    profile seen = {0};
    gradient_task task = {.smoothing = 0.1f, .divisor = (double)b.tokens_target, .seed = SEED};
    loss_result result;
    assert_int_equal(gradient_step_open(&n, 0, &step), ATTN_OK);
    assert_int_equal(gradient_step_run(step, &b, &task, &result), ATTN_OK);
    memcpy(plain, model->parameters.gradients, bytes);
    task.profile = &seen;
    profile_start(&seen);
    assert_int_equal(gradient_step_run(step, &b, &task, &result), ATTN_OK);
    profile_stop(&seen);
    assert_memory_equal(plain, model->parameters.gradients, bytes);
    double logits = 2.0 * (double)b.tokens_target * VOCABULARY * 48;
    assert_true(seen.work[PROFILE_LOGITS][PROFILE_FORWARD] == logits);
    assert_true(seen.work[PROFILE_LOGITS_WEIGHTS][PROFILE_BACKWARD] == logits);
    assert_true(seen.seconds[PROFILE_LINEAR][PROFILE_BACKWARD] > 0);
    assert_true(seen.seconds[PROFILE_ATTENTION][PROFILE_FORWARD] > 0);
    assert_true(seen.seconds[PROFILE_OTHER][PROFILE_FORWARD] < total_seconds(&seen) / 2);
    memory_free(plain);
    gradient_step_free(step);
    transformer_free(model);
}

/* What is frozen costs no product, and nobody else's gradient changes. */
static void frozen_matrices_get_no_gradient(void **state) {
    (void)state;
    static text words;
    batch b = make_batch(&words);
    transformer *model = make_model(ELEMENT_F32);
    parameters *set = &model->parameters;
    network n = network_of(&transformer_kind, model);
    gradient_step *step;
    float *whole = memory_allocate((size_t)set->size, sizeof(float));
    gradient_task task = {.smoothing = 0.1f, .divisor = (double)b.tokens_target, .seed = SEED};
    loss_result result;
    assert_int_equal(gradient_step_open(&n, 0, &step), ATTN_OK);
    assert_int_equal(gradient_step_run(step, &b, &task, &result), ATTN_OK);
    memcpy(whole, set->gradients, (size_t)set->size * sizeof(float));
    for (size_t i = 0; i < set->count; i++) {
        set->list[i].frozen = strncmp(set->list[i].name, "model.encoder.", 14) == 0;
    }
    assert_int_equal(gradient_step_run(step, &b, &task, &result), ATTN_OK);
    int matrices = 0;
    for (size_t i = 0; i < set->count; i++) {
        const named_parameter *p = &set->list[i];
        size_t count = (size_t)(p->where.rows * p->where.columns);
        const float *now = parameter_gradients(set, p->where), *before = whole + p->where.offset;
        if (!p->frozen) {
            assert_memory_equal(now, before, count * sizeof(float));
        } else if (p->rank == 2) {
            for (size_t k = 0; k < count; k++) {
                assert_true(now[k] == 0);
            }
            matrices++;
        }
    }
    assert_int_equal(matrices, 6);
    memory_free(whole);
    gradient_step_free(step);
    transformer_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_change_the_gradient),
        cmocka_unit_test(profile_counts_the_work_and_not_the_bits),
        cmocka_unit_test(frozen_matrices_get_no_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
