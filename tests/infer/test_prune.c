/* Pruning: a model without some heads computes what the whole one does with their columns of the output
 * projection 0; searching with it; the heads' importance against finite differences of factors on their
 * outputs; and which weights become 0. */
#include <math.h>
#include <omp.h>

#include "infer/searching.h"

#include <attn/attn.h>

#include "infer/head_importance.h"
#include "model/kept_heads.h"
#include "model/prune_heads.h"
#include "model/prune_weights.h"

enum { VOCABULARY = 60, LAYERS = 2, HEADS = 4, ALL_HEADS = 3 * LAYERS * HEADS };

/* One to three heads of each attention go, others in each. */
static void choose_heads(unsigned char removed[ALL_HEADS]) {
    memset(removed, 0, ALL_HEADS);
    for (int attention = 0; attention < 3 * LAYERS; attention++) {
        for (int i = 0; i <= attention % 3; i++) {
            removed[attention * HEADS + (attention + i) % HEADS] = 1;
        }
    }
}

static const multi_head_attention *attention_of_head(const transformer *m, int number) {
    int layer = number / HEADS % LAYERS;
    return number < LAYERS * HEADS       ? &m->encoder[layer].self_attention
           : number < 2 * LAYERS * HEADS ? &m->decoder[layer].self_attention
                                         : &m->decoder[layer].cross_attention;
}

/* Multiplies what a head adds to its layer. */
static void scale_head(transformer *m, int number, float factor) {
    const multi_head_attention *a = attention_of_head(m, number);
    float *weights = parameter_values(&m->parameters, a->output.weight);
    int64_t d = m->config.d_model / HEADS;
    for (int64_t row = 0; row < a->output.weight.rows; row++) {
        for (int64_t j = 0; j < d; j++) {
            weights[row * a->output.weight.columns + number % HEADS * d + j] *= factor;
        }
    }
}

static transformer *pruned_of(const transformer *model, const unsigned char *removed) {
    transformer *smaller;
    if (transformer_without_heads(model, removed, &smaller)) {
        fail_msg("%s", attn_last_error());
    }
    return smaller;
}

/* Biases and norms that are not 0 and 1. */
static transformer *uneven_model(int width) {
    transformer *model = random_model(VOCABULARY, width, LAYERS, 1);
    const parameters *set = &model->parameters;
    for (size_t i = 0; i < set->count; i++) {
        const parameter p = set->list[i].where;
        for (int64_t j = 0; j < p.columns && p.rows == 1; j++) {
            parameter_values(set, p)[j] += 0.2f * random_normal(31 + i, (uint64_t)j);
        }
    }
    return model;
}

static void a_removed_head_is_one_that_adds_nothing(void **state) {
    (void)state;
    unsigned char removed[ALL_HEADS];
    choose_heads(removed);
    for (int width = 32; width <= 64; width += 32) {
        transformer *model = uneven_model(width), *smaller = pruned_of(model, removed);
        int32_t source[64];
        int count = random_source(4, 12, VOCABULARY, source);
        const int32_t target[] = {3, 9, 27, 5, 40, 11};
        double whole = log_probability_anew(model, source, count, target, 6);
        for (int h = 0; h < ALL_HEADS; h++) {
            if (removed[h]) {
                scale_head(model, h, 0);
            }
        }
        double silent = log_probability_anew(model, source, count, target, 6);
        double cut = log_probability_anew(smaller, source, count, target, 6);
        assert_true(fabs(whole - silent) > 1e-2); /* the heads did something */
        assert_true(fabs(cut - silent) < 1e-5 * 7);
        assert_int_equal(parameters_count(&smaller->parameters), model_config_weights(&smaller->config));
        assert_true(parameters_count(&smaller->parameters) < parameters_count(&model->parameters));
        transformer_free(smaller);
        transformer_free(model);
    }
}

static void pruning_in_two_steps_is_pruning_at_once(void **state) {
    (void)state;
    unsigned char both[ALL_HEADS] = {0}, first[ALL_HEADS] = {0}, second[ALL_HEADS] = {0};
    transformer *model = uneven_model(32);
    both[1] = both[2] = both[9] = first[1] = first[9] = 1;
    second[1] = 1; /* what was head 2 of the layer */
    transformer *once = pruned_of(model, both), *half = pruned_of(model, first), *twice = pruned_of(half, second);
    assert_true(model_config_equal(&once->config, &twice->config));
    assert_int_equal(once->parameters.size, twice->parameters.size);
    assert_memory_equal(once->parameters.values, twice->parameters.values, (size_t)once->parameters.size * sizeof(float));
    memset(both, 0, sizeof both);
    both[4] = both[5] = both[6] = both[7] = 1;
    transformer *none;
    assert_int_equal(transformer_without_heads(model, both, &none), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("layer 1 would lose all its 4 heads");
    assert_null(none);
    transformer_free(twice);
    transformer_free(half);
    transformer_free(once);
    transformer_free(model);
}

/* --- searching ------------------------------------------------------------------------ */

static void cached_decoding_equals_decoding_anew_with_uneven_heads(void **state) {
    (void)state;
    unsigned char removed[ALL_HEADS];
    choose_heads(removed);
    for (int width = 32; width <= 64; width += 32) { /* heads of 8: the operator's decoding; of 16: rows.h's */
        transformer *model = uneven_model(width), *smaller = pruned_of(model, removed);
        searcher *s = searcher_of(smaller);
        const search_options options = {.beam = 4, .length_penalty = 1, .max_length = 20, .batch_tokens = 4096};
        int tokens = 0;
        for (uint64_t seed = 1; seed <= 8; seed++) {
            int32_t source[64];
            int count = random_source(seed, 12, VOCABULARY, source);
            hypothesis_list list = search_one(s, source, (size_t)count, &options);
            for (int rank = 0; rank < list.count; rank++) {
                const hypothesis *h = &list.items[rank];
                double anew = log_probability_anew(smaller, source, count, h->ids, h->count);
                assert_true(fabs(anew - h->log_probability) <= 1e-5 * (h->count + 1));
                tokens += h->count;
            }
            hypothesis_list_release(&list);
        }
        assert_true(tokens > 50);
        searcher_free(s);
        transformer_free(smaller);
        transformer_free(model);
    }
}

static void check_same(const hypothesis_list *a, const hypothesis_list *b) {
    assert_int_equal(a->count, b->count);
    for (int i = 0; i < a->count; i++) {
        assert_int_equal(a->items[i].count, b->items[i].count);
        assert_memory_equal(a->items[i].ids, b->items[i].ids, (size_t)a->items[i].count * sizeof(int32_t));
        assert_memory_equal(&a->items[i].score, &b->items[i].score, sizeof(double));
    }
}

static void a_sentence_alone_has_the_bits_of_company(void **state) {
    (void)state;
    enum { SENTENCES = 9 };
    unsigned char removed[ALL_HEADS];
    choose_heads(removed);
    transformer *model = uneven_model(64), *smaller = pruned_of(model, removed);
    for (int type = PRODUCT_F32; type <= PRODUCT_INT8; type++) {
        searcher *s = searcher_as(smaller, (product_type)type);
        search_options options = {.beam = 3, .length_penalty = 1, .max_length = 16, .batch_tokens = 40};
        int32_t ids[SENTENCES * 64];
        size_t offsets[SENTENCES + 1] = {0};
        for (int i = 0; i < SENTENCES; i++) {
            offsets[i + 1] = offsets[i] + (size_t)random_source((uint64_t)i + 50, 12, VOCABULARY, ids + offsets[i]);
        }
        hypothesis_list together[SENTENCES];
        omp_set_num_threads(2);
        assert_int_equal(search(s, ids, offsets, SENTENCES, &options, together), ATTN_OK);
        omp_set_num_threads(1);
        for (int i = 0; i < SENTENCES; i++) {
            hypothesis_list alone = search_one(s, ids + offsets[i], offsets[i + 1] - offsets[i], &options);
            check_same(&alone, &together[i]);
            hypothesis_list_release(&alone);
            hypothesis_list_release(&together[i]);
        }
        searcher_free(s);
    }
    transformer_free(smaller);
    transformer_free(model);
}

/* --- importance ------------------------------------------------------------------------ */

enum { PAIRS = 3 };

static int32_t source_ids[] = {5, 9, 14, 0, 33, 2, 0, 7, 7, 18, 41, 50, 0};
static int32_t target_ids[] = {8, 30, 0, 12, 4, 55, 6, 0, 21, 0};
static size_t source_offsets[] = {0, 4, 7, 13}, target_offsets[] = {0, 3, 8, 10};

static corpus pairs_of(const transformer *model) {
    return (corpus){.pairs = PAIRS, .source = source_ids, .source_offsets = source_offsets, .target = target_ids,
                    .target_offsets = target_offsets, .eos = model->config.eos_token_id, .pad = model->config.pad_token_id};
}

static transformer *trained_shape(int width) {
    transformer *model = uneven_model(width), *copy;
    if (transformer_new(&model->config, (network_purpose){1, ELEMENT_F32}, &copy)) {
        fail_msg("%s", attn_last_error());
    }
    memcpy(copy->parameters.values, model->parameters.values, (size_t)copy->parameters.size * sizeof(float));
    transformer_free(model);
    copy->config.dropout = 0.3; /* of which nothing may be seen */
    return copy;
}

/* L of pair i with a factor on a head: -log p of its target. */
static double loss_of(transformer *m, int pair, int head, float factor) {
    float *values = m->parameters.values, *kept = memory_allocate((size_t)m->parameters.size, sizeof *kept);
    memcpy(kept, values, (size_t)m->parameters.size * sizeof *kept);
    scale_head(m, head, factor);
    size_t s = source_offsets[pair], t = target_offsets[pair];
    double loss = -log_probability_anew(m, source_ids + s, (int)(source_offsets[pair + 1] - s), target_ids + t,
                                        (int)(target_offsets[pair + 1] - t) - 1);
    memcpy(values, kept, (size_t)m->parameters.size * sizeof *kept);
    memory_free(kept);
    return loss;
}

/* (8 (L(1 + e) - L(1 - e)) - (L(1 + 2 e) - L(1 - 2 e))) / 12 e: errors of e^4, and of f32 over e. */
static double derivative(transformer *m, int pair, int head) {
    const double e = 0.0625;
    double near = loss_of(m, pair, head, 1 + (float)e) - loss_of(m, pair, head, 1 - (float)e);
    double far = loss_of(m, pair, head, 1 + 2 * (float)e) - loss_of(m, pair, head, 1 - 2 * (float)e);
    return (8 * near - far) / (12 * e);
}

static void importance_is_the_mean_size_of_the_loss_derivative(void **state) {
    (void)state;
    transformer *model = trained_shape(32);
    corpus pairs = pairs_of(model);
    double gradients[ALL_HEADS], importance[ALL_HEADS];
    assert_int_equal(head_gradients(model, &pairs, gradients), ATTN_OK);
    head_importance(&model->config, gradients, importance);
    double largest = 0;
    for (int h = 0; h < ALL_HEADS; h++) {
        double expected = 0;
        for (int pair = 0; pair < PAIRS; pair++) {
            expected += fabs(derivative(model, pair, h)) / PAIRS;
        }
        if (fabs(gradients[h] - expected) > 1e-3 + 1e-3 * expected) {
            fail_msg("head %d: %g, differences give %g", h, gradients[h], expected);
        }
        largest = fmax(largest, expected);
    }
    assert_true(largest > 0.1); /* far above the bound */
    for (int first = 0; first < ALL_HEADS; first += HEADS) {
        double squares = 0;
        for (int h = first; h < first + HEADS; h++) {
            squares += importance[h] * importance[h];
            assert_true(fabs(importance[h] * gradients[first] - importance[first] * gradients[h]) < 1e-12);
        }
        assert_true(fabs(squares - 1) < 1e-12);
    }
    transformer_free(model);
}

static void importance_has_the_same_bits_for_any_number_of_threads(void **state) {
    (void)state;
    transformer *model = trained_shape(64);
    corpus pairs = pairs_of(model);
    double one[ALL_HEADS], two[ALL_HEADS];
    omp_set_num_threads(1);
    assert_int_equal(head_gradients(model, &pairs, one), ATTN_OK);
    omp_set_num_threads(2);
    assert_int_equal(head_gradients(model, &pairs, two), ATTN_OK);
    assert_memory_equal(one, two, sizeof one);
    transformer_free(model);
}

/* --- weights ---------------------------------------------------------------------------- */

static void the_smallest_weights_become_0_and_no_others(void **state) {
    (void)state;
    transformer *model = uneven_model(32), *whole = uneven_model(32);
    const parameters *set = &model->parameters;
    pruned_weights result, again;
    assert_int_equal(parameters_prune(&model->parameters, 0.37, &result), ATTN_OK);
    size_t weights = 0, zeros = 0;
    for (size_t i = 0; i < set->count; i++) {
        const named_parameter *array = &set->list[i];
        int layer = strstr(array->name, ".layers.") && array->where.rows > 1;
        assert_int_equal(parameters_prunable(array), layer);
        const float *now = parameter_values(set, array->where), *was = parameter_values(&whole->parameters, array->where);
        for (int64_t j = 0; j < array->where.rows * array->where.columns; j++) {
            int small = layer && fabs((double)was[j]) <= result.threshold;
            assert_true(now[j] == (small ? 0 : was[j]));
            weights += layer != 0;
            zeros += small != 0;
        }
    }
    assert_int_equal(result.weights, weights);
    assert_int_equal(result.zeros, zeros);
    assert_int_equal(zeros, llround(0.37 * (double)weights));
    assert_int_equal(parameters_prune(&model->parameters, 0.2, &again), ATTN_OK); /* there are more already */
    assert_int_equal(again.zeros_before, zeros);
    assert_int_equal(again.zeros, zeros);
    assert_true(again.threshold == 0);
    transformer_free(whole);
    transformer_free(model);
}

static void of_equal_weights_the_first_become_0(void **state) {
    (void)state;
    transformer *model = uneven_model(32);
    const parameters *set = &model->parameters;
    for (int64_t i = 0; i < set->size; i++) {
        set->values[i] = i % 2 ? 0.5f : -0.5f;
    }
    pruned_weights result;
    assert_int_equal(parameters_prune(&model->parameters, 0.5, &result), ATTN_OK);
    assert_true(result.threshold == 0.5);
    size_t seen = 0;
    for (size_t i = 0; i < set->count; i++) {
        const parameter p = set->list[i].where;
        for (int64_t j = 0; j < p.rows * p.columns && parameters_prunable(&set->list[i]); j++) {
            assert_int_equal(parameter_values(set, p)[j] == 0, seen++ < result.zeros);
        }
    }
    assert_int_equal(seen, result.weights);
    transformer_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_removed_head_is_one_that_adds_nothing),
        cmocka_unit_test(pruning_in_two_steps_is_pruning_at_once),
        cmocka_unit_test(cached_decoding_equals_decoding_anew_with_uneven_heads),
        cmocka_unit_test(a_sentence_alone_has_the_bits_of_company),
        cmocka_unit_test(importance_is_the_mean_size_of_the_loss_derivative),
        cmocka_unit_test(importance_has_the_same_bits_for_any_number_of_threads),
        cmocka_unit_test(the_smallest_weights_become_0_and_no_others),
        cmocka_unit_test(of_equal_weights_the_first_become_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
