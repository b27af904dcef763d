/* Required phrases against looking at every sequence that holds them; forbidden words
 * against the texts that come out. */
#include <math.h>

#include "infer/searching.h"
#include "infer/forbidden.h"

static int holds(const int32_t *ids, int count, phrase p) {
    for (int i = 0; i + p.count <= count; i++) {
        if (memcmp(ids + i, p.ids, (size_t)p.count * sizeof *ids) == 0) {
            return 1;
        }
    }
    return 0;
}

typedef struct best_found {
    double score;
    int32_t ids[8];
    int count, fitting;
} best_found;

static void look_at_all(const transformer *model, const int32_t *source, int count, const phrase_list *required,
                        int32_t *ids, int length, int longest, best_found *best) {
    int fits = 1;
    for (int i = 0; i < required->count; i++) {
        fits &= holds(ids, length, required->items[i]);
    }
    if (fits) {
        double score = log_probability_anew(model, source, count, ids, length) / (length + 1);
        best->fitting++;
        if (score > best->score) {
            best->score = score;
            best->count = length;
            memcpy(best->ids, ids, (size_t)length * sizeof *ids);
        }
    }
    for (int32_t token = 1; token < model->config.vocab_size - 1 && length + 1 < longest; token++) {
        ids[length] = token;
        look_at_all(model, source, count, required, ids, length + 1, longest, best);
    }
}

static const int32_t one[] = {1, 1}, two[] = {3, 1}, three[] = {2}, four[] = {2, 3, 2};

static void a_wide_constrained_beam_finds_the_best_of_all_sequences_that_fit(void **state) {
    (void)state;
    const phrase lists[][2] = {{{one, 2}, {0}}, {{two, 2}, {three, 1}}, {{four, 3}, {0}}, {{one, 2}, {three, 1}}};
    const int counts[] = {1, 2, 1, 2};
    transformer *model = random_model(5, 16, 1, 0);
    searcher *s = searcher_of(model);
    for (uint64_t seed = 1; seed <= 12; seed++) {
        int32_t source[64], ids[8];
        int count = random_source(seed, 6, 5, source), which = (int)(seed % 4);
        const sentence_request request = {.required = {lists[which], counts[which]}};
        best_found best = {.score = -INFINITY};
        look_at_all(model, source, count, &request.required, ids, 0, 5, &best);
        steering wishes = steering_none();
        wishes.requests = &request;
        /* 64 rows hold every sequence, so only the order of what is found is in question */
        const search_options options = {.beam = 64, .length_penalty = 1, .max_length = 5, .batch_tokens = 1, .steering = &wishes};
        hypothesis_list list = search_one(s, source, (size_t)count, &options);
        assert_int_equal(list.count, best.fitting < 64 ? best.fitting : 64);
        assert_int_equal(list.items[0].count, best.count);
        assert_memory_equal(list.items[0].ids, best.ids, (size_t)best.count * sizeof *best.ids);
        assert_true(fabs(list.items[0].score - best.score) < 1e-5);
        for (int rank = 0; rank < list.count; rank++) {
            assert_int_equal(list.items[rank].missing, 0);
            for (int i = 0; i < request.required.count; i++) {
                assert_true(holds(list.items[rank].ids, list.items[rank].count, request.required.items[i]));
            }
        }
        hypothesis_list_release(&list);
    }
    searcher_free(s);
    transformer_free(model);
}

/* Every beam places every phrase, however unlikely, as long as they find room. */
static void phrases_are_placed_wherever_they_find_room(void **state) {
    (void)state;
    enum { VOCABULARY = 300 };
    transformer *model = random_model(VOCABULARY, 64, 2, 4);
    searcher *s = searcher_of(model);
    const int beams[] = {1, 2, 5, 12};
    for (uint64_t seed = 1; seed <= 24; seed++) {
        int32_t source[64], ids[3][4];
        phrase phrases[3];
        int count = random_source(seed, 12, VOCABULARY, source), tokens = 0, kinds = 1 + (int)(seed % 3);
        for (int i = 0; i < kinds; i++) {
            phrases[i] = (phrase){ids[i], 1 + (int32_t)random_below(seed, 2000 + (uint64_t)i, 4)};
            tokens += phrases[i].count;
            for (int j = 0; j < phrases[i].count; j++) {
                ids[i][j] = 1 + (int32_t)random_below(seed, 3000 + 8 * (uint64_t)i + (uint64_t)j, VOCABULARY - 2);
            }
        }
        const sentence_request request = {.required = {phrases, kinds}};
        steering wishes = steering_none();
        wishes.requests = &request;
        search_options options = {.beam = beams[seed % 4], .length_penalty = 1, .max_length = tokens + 1, .batch_tokens = 1,
                                  .steering = &wishes};
        for (int way = 0; way < 2; way++) { /* as long as it has to be, and longer */
            options.max_length += way * 10;
            hypothesis_list list = search_one(s, source, (size_t)count, &options);
            assert_int_equal(list.items[0].missing, 0);
            for (int i = 0; i < kinds; i++) {
                assert_true(holds(list.items[0].ids, list.items[0].count, phrases[i]));
            }
            hypothesis_list_release(&list);
        }
        options.max_length = tokens; /* one too short */
        hypothesis_list list = search_one(s, source, (size_t)count, &options);
        assert_true(list.items[0].missing > 0 || tokens == 1 || list.items[0].count < tokens);
        hypothesis_list_release(&list);
    }
    searcher_free(s);
    transformer_free(model);
}

/* --- forbidden words --------------------------------------------------------------- */

static tokenizer *small_tokenizer(void) {
    static const char *const LINES[] = {"the part of the art", "a party, (art) and art-work", "is art part of it?",
                                        "\xE7\x9A\x84 \xE7\x9A\x84\xE7\x9A\x84\xE4\xB8\xAD", "arts artist start"};
    text_line lines[5];
    tokenizer *t;
    tokenizer_options options;
    tokenizer_options_defaults(&options);
    options.vocabulary_size = 60;
    for (int i = 0; i < 5; i++) {
        lines[i] = (text_line){LINES[i], strlen(LINES[i])};
    }
    if (tokenizer_train(lines, 5, NULL, 0, &options, &t)) {
        fail_msg("%s", attn_last_error());
    }
    return t;
}

/* Which texts can still be spelled, token by token, as the tokenizer cuts them and letter by letter? */
static int can_be_written(const tokenizer *t, const forbidden_words *f, const char *text, int by_letters) {
    id_buffer ids = {0};
    float values[80] = {0};
    int allowed = 1;
    if (by_letters) {
        for (const char *c = text; *c; c++) {
            char piece[8];
            int n = snprintf(piece, sizeof piece, "%s%c", *c == ' ' ? "\xE2\x96\x81" : "", *c == ' ' ? '\0' : *c);
            int32_t id = tokenizer_find(t, piece, (size_t)(*c == ' ' ? 3 : n));
            assert_int_equal(memory_grow(&ids.ids, &ids.capacity, ids.count + 1, sizeof *ids.ids), ATTN_OK);
            ids.ids[ids.count++] = id;
            assert_true(id >= 0);
        }
    } else {
        assert_int_equal(tokenizer_encode(t, TOKENIZER_TARGET, text, strlen(text), &ids), ATTN_OK);
    }
    for (size_t i = 0; i < ids.count; i++) {
        memset(values, 0, sizeof values);
        forbidden_words_block(f, ids.ids, (int32_t)i, values);
        allowed &= values[ids.ids[i]] == 0;
    }
    id_buffer_release(&ids);
    return allowed;
}

static void forbidden_words_are_blocked_however_they_are_cut(void **state) {
    (void)state;
    tokenizer *t = small_tokenizer();
    assert_true(tokenizer_vocabulary_size(t) <= 80);
    const char *words[] = {"art", " ", "of it"};
    forbidden_words *f;
    assert_int_equal(forbidden_words_new(t, words, 3, &f), ATTN_OK);
    assert_false(can_be_written(t, f, "the art", 0));
    assert_false(can_be_written(t, f, " a art", 1));
    assert_false(can_be_written(t, f, "a (art)", 0));
    assert_false(can_be_written(t, f, "art-work", 0));
    assert_false(can_be_written(t, f, "part of it", 0));
    assert_true(can_be_written(t, f, "the part of a party", 0));
    assert_true(can_be_written(t, f, " start part", 1));
    assert_true(can_be_written(t, f, "is it", 0));
    forbidden_words_free(f);
    const char *wide[] = {"\xE7\x9A\x84"};
    assert_int_equal(forbidden_words_new(t, wide, 1, &f), ATTN_OK);
    assert_false(can_be_written(t, f, "\xE4\xB8\xAD\xE7\x9A\x84", 0)); /* no spaces: anywhere */
    assert_true(can_be_written(t, f, "\xE4\xB8\xAD", 0));
    forbidden_words_free(f);
    const char *broken[] = {"\xFF"};
    assert_int_equal(forbidden_words_new(t, broken, 1, &f), ATTN_ERROR_ARGUMENT);
    tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wide_constrained_beam_finds_the_best_of_all_sequences_that_fit),
        cmocka_unit_test(phrases_are_placed_wherever_they_find_room),
        cmocka_unit_test(forbidden_words_are_blocked_however_they_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
