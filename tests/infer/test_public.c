/* The public library on a model folder: translating, evaluating, explaining, and what
 * it says to wrong arguments and wrong folders. The folder is made here: random weights
 * beside the SentencePiece tokenizer of the vectors. */
#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "test.h"

#include <attn/attn.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/utf8.h"
#include "data/tokenizer.h"
#include "model/folder.h"
#include "model/transformer.h"
#include "temporary.h"

static char folder[256];

static int make_folder(void **state) {
    (void)state;
    tokenizer *t;
    model_config config;
    transformer *model;
    if (temporary_make(folder) || tokenizer_load(TEST_VECTORS "/marian_tokenizer", &t)) {
        return -1;
    }
    model_config_defaults(&config, (int)tokenizer_vocabulary_size(t));
    config.eos_token_id = tokenizer_eos(t);
    config.pad_token_id = config.decoder_start_token_id = tokenizer_pad(t);
    config.d_model = 32;
    config.encoder_layers = config.decoder_layers = 2;
    config.encoder_attention_heads = config.decoder_attention_heads = 4;
    config.encoder_ffn_dim = config.decoder_ffn_dim = 64;
    config.max_position_embeddings = 40;
    if (transformer_new(&config, (network_purpose){0, ELEMENT_F32}, &model)) {
        return -1;
    }
    transformer_initialize(model, 3);
    for (int i = 0; i < config.vocab_size; i++) {
        parameter_values(&model->parameters, model->logits_bias)[i] = 2 * random_normal(9, (uint64_t)i);
    }
    parameter_values(&model->parameters, model->logits_bias)[config.eos_token_id] = 3;
    folder_tensor *tensors = network_tensors(&model->parameters, model->parameters.values);
    int failed = folder_write_config(folder, &config) || tokenizer_save(t, folder) ||
                 folder_write_weights(folder, tensors, model->parameters.count, NULL, 0);
    memory_free(tensors);
    transformer_free(model);
    tokenizer_free(t);
    return failed;
}

static int remove_folder(void **state) {
    (void)state;
    temporary_remove(folder);
    return 0;
}

static attn_model *load(void) {
    attn_model *model;
    if (attn_model_load(folder, &model)) {
        fail_msg("%s", attn_last_error());
    }
    return model;
}

static void every_text_gets_a_translation_and_blank_ones_an_empty_one(void **state) {
    (void)state;
    const char *texts[] = {"Hello world.", "", " \t ", "\xE3\x80\x80", "A second sentence, a little longer.", "x"};
    attn_model *model = load();
    attn_translation *result;
    assert_int_equal(attn_translate(model, texts, 6, NULL, &result), ATTN_OK);
    for (size_t i = 0; i < 6; i++) {
        assert_non_null(attn_translation_text(result, i));
    }
    for (size_t i = 1; i < 4; i++) {
        assert_string_equal(attn_translation_text(result, i), "");
        assert_true(attn_translation_score(result, i, 0) == 0);
    }
    assert_true(attn_translation_score(result, 0, 0) < 0);
    assert_null(attn_translation_text(result, 6));
    assert_null(attn_translation_ranked(result, 0, 1)); /* n_best is 1 */
    assert_true(attn_translation_source_tokens(result) > 5);
    assert_true(attn_translation_target_tokens(result) >= 3);
    attn_translation_free(result);
    assert_int_equal(attn_translate(model, NULL, 0, NULL, &result), ATTN_OK);
    attn_translation_free(result);
    attn_model_free(model);
}

typedef struct warnings {
    size_t lines[8];
    char sentences[8][200];
    size_t count;
} warnings;

static void note_warning(void *context, size_t line, const char *sentence) {
    warnings *w = context;
    if (w->count < 8) {
        w->lines[w->count] = line;
        (void)snprintf(w->sentences[w->count++], 200, "%s", sentence);
    }
}

static void changed_texts_are_told_of_and_translated(void **state) {
    (void)state;
    static char longest[20001];
    memset(longest, 'a', sizeof longest - 1);
    for (size_t i = 4; i < sizeof longest - 1; i += 5) {
        longest[i] = ' ';
    }
    const char *texts[] = {"fine", "bad \xFF\xC3( bytes", longest, "fine \xEF\xBF\xBD \xEF\xBF\xBD( bytes"};
    warnings told = {.count = 0};
    attn_translate_options options;
    attn_translate_options_defaults(&options);
    options.warn = note_warning;
    options.context = &told;
    attn_model *model = load();
    attn_translation *result;
    assert_int_equal(attn_translate(model, texts, 4, &options, &result), ATTN_OK);
    assert_int_equal(told.count, 2);
    assert_int_equal(told.lines[0], 2);
    assert_non_null(strstr(told.sentences[0], "U+FFFD"));
    assert_int_equal(told.lines[1], 3);
    assert_non_null(strstr(told.sentences[1], "40 positions"));
    assert_non_null(attn_translation_text(result, 2));
    attn_translation_free(result);
    attn_model_free(model);
}

static void the_best_come_first_and_the_score_is_what_the_options_say(void **state) {
    (void)state;
    const char *text = "Hello world.";
    attn_model *model = load();
    attn_translate_options options;
    attn_translate_options_defaults(&options);
    options.beam = options.n_best = 5;
    for (int i = 0; i < 2; i++) {
        attn_translation *result;
        options.length_penalty = i ? 0.5 : 0;
        assert_int_equal(attn_translate(model, &text, 1, &options, &result), ATTN_OK);
        int rank = 0;
        for (; attn_translation_ranked(result, 0, rank); rank++) {
            double score = attn_translation_score(result, 0, rank);
            assert_true(rank == 0 || score <= attn_translation_score(result, 0, rank - 1));
            double log_p = attn_translation_log_probability(result, 0, rank);
            assert_true(i ? score > log_p || log_p == score : score == log_p);
        }
        assert_int_equal(rank, 5);
        attn_translation_free(result);
    }
    attn_model_free(model);
}

static void several_threads_share_a_model(void **state) {
    (void)state;
    enum { TIMES = 8 };
    const char *texts[] = {"Hello world.", "A second sentence.", "And one more, longer than those."};
    attn_model *model = load();
    attn_translation *expected, *found[TIMES] = {0};
    assert_int_equal(attn_translate(model, texts, 3, NULL, &expected), ATTN_OK);
#pragma omp parallel for num_threads(3) schedule(dynamic, 1)
    for (int i = 0; i < TIMES; i++) {
        (void)attn_translate(model, texts, 3, NULL, &found[i]);
    }
    for (int i = 0; i < TIMES; i++) {
        assert_non_null(found[i]);
        for (size_t k = 0; k < 3; k++) {
            assert_string_equal(attn_translation_text(found[i], k), attn_translation_text(expected, k));
            assert_true(attn_translation_score(found[i], k, 0) == attn_translation_score(expected, k, 0));
        }
        attn_translation_free(found[i]);
    }
    attn_translation_free(expected);
    attn_model_free(model);
}

static void a_model_from_memory_translates_like_the_folder(void **state) {
    (void)state;
    static const char *const NAMES[] = {"config.json", "model.safetensors", "vocab.json", "source.spm", "target.spm",
                                        "tokenizer_config.json", "generation_config.json"};
    enum { FILES = sizeof NAMES / sizeof *NAMES };
    const char *text = "Hello world.";
    attn_file files[FILES];
    char *bytes[FILES];
    attn_model *model = load(), *other;
    attn_translation *expected, *found;
    for (int i = 0; i < FILES; i++) {
        char *path = file_join(folder, NAMES[i]);
        size_t size;
        assert_int_equal(file_read(path, &bytes[i], &size), ATTN_OK);
        files[i] = (attn_file){NAMES[i], bytes[i], size};
        memory_free(path);
    }
    assert_int_equal(attn_model_load_memory(files, FILES, &other), ATTN_OK);
    assert_int_equal(attn_translate(model, &text, 1, NULL, &expected), ATTN_OK);
    assert_int_equal(attn_translate(other, &text, 1, NULL, &found), ATTN_OK);
    assert_string_equal(attn_translation_text(found, 0), attn_translation_text(expected, 0));
    assert_true(attn_translation_score(found, 0, 0) == attn_translation_score(expected, 0, 0));
    attn_translation_free(expected);
    attn_translation_free(found);
    attn_model_free(model);
    attn_model_free(other);
    assert_int_equal(attn_model_load("(memory)", &other), ATTN_ERROR_FILE); /* no longer open */
    assert_int_equal(attn_model_load_memory(files, 1, &other), ATTN_ERROR_FILE);
    assert_sentence_has("model.safetensors");
    files[1].size /= 2;
    assert_true(attn_model_load_memory(files, FILES, &other) != ATTN_OK);
    assert_sentence_has("(memory)/model.safetensors");
    assert_int_equal(attn_model_load_memory(NULL, 0, &other), ATTN_ERROR_FILE);
    files[0].name = NULL;
    assert_int_equal(attn_model_load_memory(files, FILES, &other), ATTN_ERROR_ARGUMENT);
    assert_int_equal(attn_abi_version(), ATTN_ABI_VERSION);
    for (int i = 0; i < FILES; i++) {
        memory_free(bytes[i]);
    }
}

static void alignments_are_the_weights_that_explain_shows(void **state) {
    (void)state;
    const char *texts[] = {"Hello world.", "", "A second sentence.", "And one more, longer than those."};
    attn_translate_options options;
    attn_translate_options_defaults(&options);
    options.alignment = 1;
    options.beam = options.n_best = 2;
    attn_model *model = load();
    attn_translation *result;
    assert_int_equal(attn_translate(model, texts, 4, &options, &result), ATTN_OK);
    for (size_t i = 0; i < 4; i++) {
        if (!*texts[i]) {
            assert_null(attn_translation_alignment(result, i, 0));
            assert_int_equal(attn_translation_links(result, i, 0, 1, NULL, 0), 0);
            continue;
        }
        attn_explanation *e;
        const float *all, *found = attn_translation_alignment(result, i, 0);
        int64_t heads, queries, keys;
        options.alignment = 0;
        assert_int_equal(attn_explain(model, texts[i], NULL, &options, &e), ATTN_OK);
        assert_int_equal(attn_explanation_weights(e, ATTN_DECODER_CROSS, 1, &all, &heads, &queries, &keys), ATTN_OK);
        assert_int_equal(queries, attn_translation_tokens(result, i, 0));
        assert_int_equal(keys, attn_translation_source_length(result, i));
        attn_link links[64];
        assert_int_equal(attn_translation_links(result, i, 0, 0, links, 64), queries - 1);
        for (int64_t q = 0; q < queries; q++) {
            for (int64_t k = 0; k < keys; k++) {
                double mean = 0;
                for (int64_t h = 0; h < heads; h++) {
                    mean += (double)all[(h * queries + q) * keys + k] / (double)heads;
                }
                assert_true(fabs(mean - (double)found[q * keys + k]) < 1e-6);
                assert_true(q == queries - 1 || k == keys - 1 || found[q * keys + k] <= found[q * keys + (int64_t)links[q].source]);
            }
        }
        attn_explanation_free(e);
    }
    attn_translation_free(result);
    attn_model_free(model);
}

/* Against the formula, from the alignments of a pass without cache. */
static void the_coverage_penalty_is_what_the_attention_says(void **state) {
    (void)state;
    const char *texts[] = {"Hello world.", "A second sentence, a little longer."};
    attn_translate_options options;
    attn_translate_options_defaults(&options);
    options.alignment = 1;
    options.beam = options.n_best = 5;
    options.coverage_penalty = 0.7;
    attn_model *model = load();
    attn_translation *result;
    assert_int_equal(attn_translate(model, texts, 2, &options, &result), ATTN_OK);
    for (size_t i = 0; i < 2; i++) {
        double before = INFINITY;
        for (int rank = 0; rank < 5; rank++) {
            const float *weights = attn_translation_alignment(result, i, rank);
            size_t queries = attn_translation_tokens(result, i, rank), keys = attn_translation_source_length(result, i);
            double expected = attn_translation_log_probability(result, i, rank) / (double)queries, found;
            for (size_t k = 0; k + 1 < keys; k++) {
                double sum = 0;
                for (size_t q = 0; q < queries; q++) {
                    sum += (double)weights[q * keys + k];
                }
                expected += 0.7 * log(sum < 1 ? sum : 1);
            }
            found = attn_translation_score(result, i, rank);
            assert_true(fabs(found - expected) < 1e-4);
            assert_true(found <= before);
            before = found;
        }
    }
    attn_translation_free(result);
    attn_model_free(model);
}

static void unknown_words_are_replaced_by_what_they_looked_at(void **state) {
    (void)state;
    const char *text = "Hello \xE2\x98\x83 world.", *prefix = "\xE2\x98\x83";
    attn_translate_options options;
    attn_translate_options_defaults(&options);
    options.prefixes = &prefix;
    attn_model *model = load();
    attn_translation *kept, *replaced;
    assert_int_equal(attn_translate(model, &text, 1, &options, &kept), ATTN_OK);
    assert_non_null(strstr(attn_translation_text(kept, 0), "\xE2\x81\x87"));
    options.replace_unknown = 1;
    assert_int_equal(attn_translate(model, &text, 1, &options, &replaced), ATTN_OK);
    assert_null(strstr(attn_translation_text(replaced, 0), "\xE2\x81\x87"));
    attn_translation_free(kept);
    attn_translation_free(replaced);
    attn_model_free(model);
}

static void options_outside_their_range_are_refused(void **state) {
    (void)state;
    const char *text = "Hello.";
    attn_model *model = load();
    attn_translation *result;
    attn_translate_options o;
    const struct { int beam, n_best; double penalty; int max_length, batch; const char *says; } wrong[] = {
        {0, 1, 1, 0, 1, "beam is 0"},       {65, 1, 1, 0, 1, "beam is 65"},        {2, 3, 1, 0, 1, "n_best is 3"},
        {2, 0, 1, 0, 1, "n_best is 0"},     {2, 1, NAN, 0, 1, "length_penalty"},   {2, 1, 11, 0, 1, "length_penalty is 11"},
        {2, 1, 1, -1, 1, "max_length is -1"}, {2, 1, 1, 0, 0, "batch_tokens is 0"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        attn_translate_options_defaults(&o);
        o.beam = wrong[i].beam;
        o.n_best = wrong[i].n_best;
        o.length_penalty = wrong[i].penalty;
        o.max_length = wrong[i].max_length;
        o.batch_tokens = wrong[i].batch;
        assert_int_equal(attn_translate(model, &text, 1, &o, &result), ATTN_ERROR_ARGUMENT);
        assert_sentence_has(wrong[i].says);
        assert_null(result);
    }
    attn_model_free(model);
}

static void a_folder_that_is_no_model_is_refused_with_a_sentence(void **state) {
    (void)state;
    attn_model *model;
    assert_int_not_equal(attn_model_load("/nowhere/at/all", &model), ATTN_OK);
    assert_null(model);
    assert_sentence_has("/nowhere/at/all");
    const char *files[] = {"config.json", "model.safetensors", "source.spm", "target.spm", "vocab.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = file_join(folder, files[i]), *away = file_join(folder, "away");
        assert_int_equal(rename(path, away), 0);
        assert_int_not_equal(attn_model_load(folder, &model), ATTN_OK);
        assert_null(model);
        assert_sentence_has(files[i]);
        assert_int_equal(rename(away, path), 0);
        memory_free(path);
        memory_free(away);
    }
    attn_model_free(load());
}

static void evaluation_counts_pairs_and_perfect_copies_score_100(void **state) {
    (void)state;
    const char *texts[] = {"Hello world.", "A second sentence here.", "And one more."};
    attn_model *model = load();
    attn_translation *result;
    attn_evaluation e;
    attn_evaluate_options options;
    attn_evaluate_options_defaults(&options);
    options.translate.max_length = 10;
    assert_int_equal(attn_translate(model, texts, 3, &options.translate, &result), ATTN_OK);
    char *pairs = file_join(folder, "pairs.tsv"), text[4096] = "";
    for (size_t i = 0; i < 3; i++) {
        size_t used = strlen(text);
        assert_true(strlen(attn_translation_text(result, i)) > 3);
        (void)snprintf(text + used, sizeof text - used, "%s\t%s\n", texts[i], attn_translation_text(result, i));
    }
    assert_int_equal(file_replace(pairs, text, strlen(text)), ATTN_OK);
    if (attn_evaluate(model, pairs, NULL, &options, &e)) {
        fail_msg("%s", attn_last_error());
    }
    assert_int_equal(e.pairs, 3);
    assert_true(e.loss > 0 && isfinite(e.loss));
    assert_true(e.token_accuracy > 0 && e.token_accuracy <= 1);
    assert_true(fabs(e.chrf - 100) < 1e-9);
    options.skip_translation = 1;
    assert_int_equal(attn_evaluate(model, pairs, NULL, &options, &e), ATTN_OK);
    assert_true(e.chrf == 0);
    memory_free(pairs);
    attn_translation_free(result);
    attn_model_free(model);
}

static void every_layer_and_head_is_explained_by_rows_that_sum_to_one(void **state) {
    (void)state;
    attn_model *model = load();
    attn_explanation *e;
    assert_int_equal(attn_explain(model, "Hello world.", "Hallo Welt.", NULL, &e), ATTN_OK);
    int64_t source = (int64_t)attn_explanation_tokens(e, 1), target = (int64_t)attn_explanation_tokens(e, 0);
    for (int kind = 0; kind < 3; kind++) {
        assert_int_equal(attn_explanation_layers(e, (attn_attention_kind)kind), 2);
        for (int layer = 0; layer < 2; layer++) {
            const float *w;
            int64_t heads, queries, keys;
            assert_int_equal(attn_explanation_weights(e, (attn_attention_kind)kind, layer, &w, &heads, &queries, &keys),
                             ATTN_OK);
            assert_int_equal(heads, 4);
            assert_int_equal(queries, kind == ATTN_ENCODER_SELF ? source : target);
            assert_int_equal(keys, kind == ATTN_DECODER_SELF ? target : source);
            for (int64_t row = 0; row < heads * queries; row++, w += keys) {
                double sum = 0;
                for (int64_t j = 0; j < keys; j++) {
                    sum += (double)w[j];
                    assert_true(kind != ATTN_DECODER_SELF || j <= row % queries || w[j] == 0);
                }
                assert_true(fabs(sum - 1) < 1e-5);
            }
        }
    }
    assert_string_equal(attn_explanation_token(e, 1, (size_t)source - 1), "</s>");
    assert_null(attn_explanation_token(e, 1, (size_t)source));
    const float *none;
    int64_t n;
    assert_int_equal(attn_explanation_weights(e, ATTN_DECODER_CROSS, 2, &none, &n, &n, &n), ATTN_ERROR_ARGUMENT);
    attn_explanation_free(e);
    assert_int_equal(attn_explain(model, "  ", NULL, NULL, &e), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("blank");
    attn_model_free(model);
}

/* What a writer writes, in memory. */
static char *written(const attn_explanation *e, int json, int colour, int layer, int head) {
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(json ? attn_explanation_write_json(e, out)
                          : attn_explanation_write_terminal(e, layer, head, colour, out), ATTN_OK);
    (void)fclose(out);
    return text;
}

static void the_heat_map_fits_the_screen_and_keeps_its_columns(void **state) {
    (void)state;
    const char *texts[] = {"Hello world.", "\xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96\xE7\x95\x8C\xE3\x80\x82",
                           "A sentence that is long enough to need its labels upright and perhaps two panels of them."};
    attn_model *model = load();
    for (size_t i = 0; i < 3; i++) {
        attn_explanation *e;
        assert_int_equal(attn_explain(model, texts[i], NULL, NULL, &e), ATTN_OK);
        char *plain = written(e, 0, 0, -1, -1), *painted = written(e, 0, 1, 0, 3);
        size_t rows = 0;
        for (char *line = strtok(plain, "\n"); line; line = strtok(NULL, "\n")) {
            size_t columns = utf8_width(line, strlen(line));
            assert_true(columns <= 80);
            rows++;
        }
        assert_true(rows >= attn_explanation_tokens(e, 0) + 2);
        assert_non_null(strstr(painted, "\033[48;5;"));
        assert_non_null(strstr(painted, "head 3"));
        free(plain);
        free(painted);
        assert_int_equal(attn_explanation_write_terminal(e, 2, -1, 0, stdout), ATTN_ERROR_ARGUMENT);
        assert_int_equal(attn_explanation_write_terminal(e, -1, 4, 0, stdout), ATTN_ERROR_ARGUMENT);
        attn_explanation_free(e);
    }
    attn_model_free(model);
}

static void json_and_page_hold_hostile_text_as_text(void **state) {
    (void)state;
    attn_model *model = load();
    attn_explanation *e;
    assert_int_equal(attn_explain(model, "</script><b>\"quoted\" & \\ 'x'</b>", "<!--<script>", NULL, &e), ATTN_OK);
    char *json = written(e, 1, 0, 0, 0);
    json_t *root = json_loads(json, 0, NULL);
    assert_non_null(root);
    assert_int_equal(json_array_size(json_object_get(root, "source")), attn_explanation_tokens(e, 1));
    assert_int_equal(json_array_size(json_object_get(root, "cross")), 2);
    assert_int_equal(json_array_size(json_array_get(json_object_get(root, "encoder_self"), 0)), 4);
    json_decref(root);
    free(json);
    char *path = file_join(folder, "page.html"), *page;
    size_t size;
    assert_int_equal(attn_explanation_write_html(e, path), ATTN_OK);
    assert_int_equal(file_read(path, &page, &size), ATTN_OK);
    size_t ends = 0;
    for (const char *at = page; (at = strstr(at, "</script>")); at++) {
        ends++;
    }
    assert_int_equal(ends, 2); /* the page's own */
    assert_null(strstr(page, "http://"));
    assert_null(strstr(page, "https://"));
    memory_free(page);
    memory_free(path);
    assert_int_equal(attn_explanation_write_html(e, "/nowhere/at/all.html"), ATTN_ERROR_FILE);
    attn_explanation_free(e);
    attn_model_free(model);
}

static attn_html *translate_page(const attn_model *model, const char *html, size_t length, const attn_translate_options *options) {
    attn_html *page;
    if (attn_translate_html(model, html, length, options, &page)) {
        fail_msg("%s", attn_last_error());
    }
    assert_int_equal(strlen(attn_html_bytes(page)) <= attn_html_length(page), 1);
    return page;
}

/* A text without tags inside comes out as if it were translated alone, whatever stands around it. */
static void pages_keep_their_markup_and_translate_their_texts(void **state) {
    (void)state;
    attn_model *model = load();
    const char *line = "the green house", *lines[] = {line};
    attn_translation *alone;
    assert_int_equal(attn_translate(model, lines, 1, NULL, &alone), ATTN_OK);
    char expected[1024], html[] = "<!DOCTYPE html>\n<p class='a>b'> the green house <br></p><pre>green</pre><script>x < y</script><p>7 %</p>";
    (void)snprintf(expected, sizeof expected,
                   "<!DOCTYPE html>\n<p class='a>b'> %s <br></p><pre>green</pre><script>x < y</script><p>7 %%</p>",
                   attn_translation_text(alone, 0));
    assert_null(strpbrk(attn_translation_text(alone, 0), "<>&"));
    attn_html *page = translate_page(model, html, strlen(html), NULL);
    assert_string_equal(attn_html_bytes(page), expected);
    attn_html_free(page);
    attn_translation_free(alone);

    page = translate_page(model, "", 0, NULL);
    assert_int_equal(attn_html_length(page), 0);
    attn_html_free(page);
    page = translate_page(model, "<b>\0\xff", 5, NULL);
    assert_memory_equal(attn_html_bytes(page), "<b>\0\xff", 5);
    attn_html_free(page);
    attn_model_free(model);
}

static void tags_stand_once_in_pages_of_any_size(void **state) {
    (void)state;
    enum { PARTS = 520 };
    attn_model *model = load();
    char *html = malloc(PARTS * 80), tag[32];
    size_t length = 0;
    for (int i = 0; i < PARTS; i++) { /* two sentences each: more than are translated at once */
        length += (size_t)sprintf(html + length, "<p>the <i id='%d'>green</i> <img>house. a <b>garden<br></b> is</p>\n", i);
    }
    attn_translate_options options;
    attn_translate_options_defaults(&options);
    options.beam = 1;
    options.max_length = 6;
    attn_html *page = translate_page(model, html, length, &options);
    const char *at = attn_html_bytes(page);
    for (int i = 0; i < PARTS; i++) {
        (void)sprintf(tag, "<i id='%d'>", i);
        const char *open = strstr(at, tag), *end = strstr(at, "</p>\n");
        assert_true(open && end && open < end && strstr(open, "</i>") < end);
        assert_true(strstr(at, "<img>") < end && strstr(at, "<b>") < strstr(at, "<br>") && strstr(at, "<br>") < strstr(at, "</b>"));
        at = end + 5;
    }
    assert_string_equal(at, "");
    attn_html_free(page);
    free(html);
    attn_model_free(model);
}

static void remember_line(void *context, size_t line, const char *sentence) {
    assert_true(strlen(sentence) > 0);
    *(size_t *)context = line;
}

static void pages_tell_of_lines_and_refuse_options_of_lines(void **state) {
    (void)state;
    attn_model *model = load();
    attn_translate_options options;
    attn_html *page;
    size_t line = 0;
    attn_translate_options_defaults(&options);
    options.warn = remember_line;
    options.context = &line;
    char html[1024] = "<p>a</p>\n\n<p>\n";
    for (int i = 0; i < 60; i++) {
        (void)strcat(html, "house garden ");
    }
    attn_html_free(translate_page(model, html, strlen(html), &options));
    assert_int_equal(line, 4);
    attn_html_free(translate_page(model, "<p>a\n<p>a \xff", 11, &options));
    assert_int_equal(line, 2);
    options.n_best = 2;
    assert_int_equal(attn_translate_html(model, "a", 1, &options, &page), ATTN_ERROR_ARGUMENT);
    assert_null(page);
    assert_sentence_has("n_best");
    assert_int_equal(attn_translate_html(model, NULL, 1, NULL, &page), ATTN_ERROR_ARGUMENT);
    attn_html_free(NULL);
    attn_model_free(model);
}

static void a_model_describes_itself(void **state) {
    (void)state;
    attn_model *model = load();
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_int_equal(attn_model_describe(model, out), ATTN_OK);
    (void)fclose(out);
    assert_non_null(strstr(text, "2 encoder + 2 decoder"));
    assert_non_null(strstr(text, "SentencePiece"));
    free(text);
    attn_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_gets_a_translation_and_blank_ones_an_empty_one),
        cmocka_unit_test(changed_texts_are_told_of_and_translated),
        cmocka_unit_test(the_best_come_first_and_the_score_is_what_the_options_say),
        cmocka_unit_test(several_threads_share_a_model),
        cmocka_unit_test(a_model_from_memory_translates_like_the_folder),
        cmocka_unit_test(alignments_are_the_weights_that_explain_shows),
        cmocka_unit_test(the_coverage_penalty_is_what_the_attention_says),
        cmocka_unit_test(unknown_words_are_replaced_by_what_they_looked_at),
        cmocka_unit_test(options_outside_their_range_are_refused),
        cmocka_unit_test(a_folder_that_is_no_model_is_refused_with_a_sentence),
        cmocka_unit_test(evaluation_counts_pairs_and_perfect_copies_score_100),
        cmocka_unit_test(every_layer_and_head_is_explained_by_rows_that_sum_to_one),
        cmocka_unit_test(the_heat_map_fits_the_screen_and_keeps_its_columns),
        cmocka_unit_test(json_and_page_hold_hostile_text_as_text),
        cmocka_unit_test(pages_keep_their_markup_and_translate_their_texts),
        cmocka_unit_test(tags_stand_once_in_pages_of_any_size),
        cmocka_unit_test(pages_tell_of_lines_and_refuse_options_of_lines),
        cmocka_unit_test(a_model_describes_itself),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
