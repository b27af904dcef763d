/* Going on with a text: the same tokens as transformers' generate (tests/vectors/
 * make_language.py), the kept keys and values against reading everything anew, the window that
 * forgets, and what is drawn. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "infer/generator.h"
#include "model/safetensors.h"

enum { VOCABULARY = 41, POSITIONS = 32 };
static const char *const FOLDERS[] = {TEST_VECTORS "/gpt2_tiny", TEST_VECTORS "/llama_tiny", TEST_VECTORS "/mistral_tiny"};
enum { FOLDER_COUNT = 3 };
static unsigned char barred[VOCABULARY];

typedef struct record {
    int32_t ids[512];
    double log_probabilities[512];
    int count, most;
} record;

static int take(void *context, int32_t id, double log_probability) {
    record *r = context;
    r->ids[r->count] = id;
    r->log_probabilities[r->count++] = log_probability;
    return r->most > 0 && r->count == r->most;
}

static generator *open_family(int family, network *n) {
    generator *g = NULL;
    if (network_load(FOLDERS[family], (network_purpose){0, ELEMENT_F32}, n) || generator_new(n->model, &g)) {
        fail_msg("%s", attn_last_error());
    }
    return g;
}

static record run(const generator *g, generation_request request) {
    record r = {.most = 0};
    request.barred = request.barred ? request.barred : barred;
    request.produced = take;
    request.context = &r;
    if (generator_run(g, &request)) {
        fail_msg("%s", attn_last_error());
    }
    return r;
}

static void greedy_tokens_equal_transformers(void **state) {
    (void)state;
    for (int family = 0; family < FOLDER_COUNT; family++) {
        network n;
        safetensors *file;
        char path[512];
        generator *g = open_family(family, &n);
        (void)snprintf(path, sizeof path, "%s/expected.safetensors", FOLDERS[family]);
        assert_int_equal(safetensors_open(path, &file), ATTN_OK);
        const int32_t *prompts = safetensors_find(file, "prompts")->data, *greedy = safetensors_find(file, "greedy")->data;
        for (int i = 0; i < 200; i++) {
            record r = run(g, (generation_request){.prompt = prompts + 5 * i, .count = 5, .max_tokens = 20, .eos = TOKEN_NONE});
            assert_int_equal(r.count, 20);
            assert_memory_equal(r.ids, greedy + 20 * i, 20 * sizeof *r.ids);
        }
        safetensors_close(file);
        generator_free(g);
        network_free(&n);
    }
}

/* Where the window begins, by doing it token by token. */
static int64_t counted_start(int64_t count, int64_t total) {
    int64_t start = count > POSITIONS ? count - POSITIONS : 0;
    for (int64_t now = count; now <= total; now++) {
        start = now - start > POSITIONS ? now - (POSITIONS + 1) / 2 : start;
    }
    return start;
}

/* log softmax of `id` behind ids [count], all read at once. */
static double read_anew(tape *t, const language_model *model, const int32_t *ids, int64_t count, int32_t id, double *largest) {
    const int32_t offsets[] = {0, (int32_t)count};
    tape_start(t, 0, 0, 0);
    tensor *x = language_forward(t, model, ids, (packing){offsets, 1});
    tensor *logits = op_linear(t, x, model->logits, (parameter){0}, ACTIVATION_NONE);
    if (!logits) {
        fail_msg("%s", attn_last_error());
    }
    const float *row = tensor_row(logits, count - 1);
    double sum = 0;
    *largest = -INFINITY;
    for (int i = 0; i < VOCABULARY; i++) {
        sum += exp((double)row[i]);
        *largest = fmax(*largest, (double)row[i]);
    }
    *largest -= log(sum);
    return (double)row[id] - log(sum);
}

static const attention_span SPANS[] = {
    {ATTENTION_FULL, 0}, {ATTENTION_WINDOW, 1}, {ATTENTION_WINDOW, 3}, {ATTENTION_WINDOW, 31}, {ATTENTION_LINEAR, 0}};

static void check_kept(const generator *g, tape *t, const language_model *model, int length) {
    int32_t ids[400];
    for (int i = 0; i < length; i++) {
        ids[i] = (int32_t)random_below(11, (uint64_t)i, VOCABULARY);
    }
    record r = run(g, (generation_request){.prompt = ids, .count = length, .max_tokens = 90, .eos = TOKEN_NONE});
    for (int step = 0; step < 90; step++) {
        int64_t total = length + step, start = generator_window_start(length, total, POSITIONS);
        double largest, anew = read_anew(t, model, ids + start, total - start, r.ids[step], &largest);
        assert_int_equal(start, counted_start(length, total));
        if (fabs(anew - r.log_probabilities[step]) >= 2e-5 || largest - anew >= 2e-5) {
            fail_msg("attention %d window %d length %d step %d: %.7f kept, %.7f anew", (int)model->config.span.kind,
                     model->config.span.window, length, step, r.log_probabilities[step], anew);
        }
        ids[total] = r.ids[step];
    }
}

static void what_is_kept_equals_reading_anew(void **state) {
    (void)state;
    for (int family = 0; family < 2; family++) {
        for (size_t s = 0; s < sizeof SPANS / sizeof *SPANS; s++) {
            network n;
            tape t;
            generator *g = open_family(family, &n);
            ((language_model *)n.model)->config.span = SPANS[s];
            assert_int_equal(tape_open(&t, n.parameters), ATTN_OK);
            for (int length = 1; length <= 70; length += 23) { /* the last two: longer than the positions */
                check_kept(g, &t, n.model, length);
            }
            tape_close(&t);
            generator_free(g);
            network_free(&n);
        }
    }
}

static void a_seed_and_a_prompt_say_what_is_drawn(void **state) {
    (void)state;
    network n;
    generator *g = open_family(1, &n);
    const int32_t prompt[] = {3, 1, 4};
    generation_request request = {.prompt = prompt, .count = 3, .max_tokens = 60, .eos = TOKEN_NONE,
                                  .sampling = {.on = 1, .temperature = 1.5, .top_k = 6, .top_p = 0.95}};
    request.key = sampling_key(7, prompt, 3, 0);
    record first = run(g, request);
    int threads = omp_get_max_threads();
    omp_set_num_threads(threads == 1 ? 2 : 1);
    record again = run(g, request);
    omp_set_num_threads(threads);
    assert_memory_equal(first.ids, again.ids, sizeof first.ids);
    assert_memory_equal(first.log_probabilities, again.log_probabilities, sizeof first.log_probabilities);
    request.key = sampling_key(7, prompt, 3, 1);
    again = run(g, request);
    assert_memory_not_equal(first.ids, again.ids, sizeof first.ids);
    generator_free(g);
    network_free(&n);
}

/* The share of each first token drawn, against the softmax at that temperature. */
static void tokens_are_drawn_as_often_as_they_are_likely(void **state) {
    (void)state;
    enum { DRAWS = 500 };
    network n;
    tape t;
    generator *g = open_family(0, &n);
    assert_int_equal(tape_open(&t, n.parameters), ATTN_OK);
    const int32_t prompt[] = {9, 2};
    int seen[VOCABULARY] = {0};
    double weights[VOCABULARY], sum = 0, largest;
    for (int i = 0; i < VOCABULARY; i++) {
        weights[i] = exp(read_anew(&t, n.model, prompt, 2, i, &largest) / 2.0);
        sum += weights[i];
    }
    for (int i = 0; i < DRAWS; i++) {
        record r = run(g, (generation_request){.prompt = prompt, .count = 2, .max_tokens = 1, .eos = TOKEN_NONE,
                                               .key = sampling_key(5, prompt, 2, i),
                                               .sampling = {.on = 1, .temperature = 2, .top_p = 1}});
        seen[r.ids[0]]++;
    }
    for (int i = 0; i < VOCABULARY; i++) { /* five deviations */
        double p = weights[i] / sum;
        assert_true(fabs(seen[i] - DRAWS * p) < 5 * sqrt(DRAWS * p * (1 - p)) + 1);
    }
    tape_close(&t);
    generator_free(g);
    network_free(&n);
}

static void barred_tokens_and_the_end(void **state) {
    (void)state;
    network n;
    generator *g = open_family(0, &n);
    const int32_t prompt[] = {12};
    generation_request request = {.prompt = prompt, .count = 1, .max_tokens = 200, .eos = TOKEN_NONE,
                                  .key = 3, .sampling = {.on = 1, .temperature = 3, .top_p = 1}};
    unsigned char odd[VOCABULARY];
    for (int i = 0; i < VOCABULARY; i++) {
        odd[i] = (i % 2) != 0;
    }
    record all = run(g, request);
    int any = 0;
    for (int i = 0; i < all.count; i++) {
        any += all.ids[i] % 2;
    }
    assert_true(any > 0);
    request.barred = odd;
    record even = run(g, request);
    assert_int_equal(even.count, 200);
    for (int i = 0; i < even.count; i++) {
        assert_int_equal(even.ids[i] % 2, 0);
    }
    request.eos = even.ids[7];
    record ended = run(g, request);
    int first = 0;
    while (even.ids[first] != even.ids[7]) {
        first++;
    }
    assert_int_equal(ended.count, first + 1);
    generator_free(g);
    network_free(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_tokens_equal_transformers),
        cmocka_unit_test(what_is_kept_equals_reading_anew),
        cmocka_unit_test(a_seed_and_a_prompt_say_what_is_drawn),
        cmocka_unit_test(tokens_are_drawn_as_often_as_they_are_likely),
        cmocka_unit_test(barred_tokens_and_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
