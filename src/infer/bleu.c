#include "infer/bleu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "infer/bleu_words.h"
#include "infer/ngram.h"

enum { ORDER = 4 };

void bleu_options_defaults(bleu_options *options) {
    *options = (bleu_options){.tokenizer = BLEU_13A, .lowercase = false};
}

static const char *const tokenizer_names[] = {[BLEU_13A] = "13a", [BLEU_NONE] = "none", [BLEU_ZH] = "zh"};

const char *bleu_tokenizer_name(bleu_tokenizer tokenizer) {
    return tokenizer_names[tokenizer];
}

int bleu_tokenizer_parse(const char *name, bleu_tokenizer *tokenizer) {
    for (size_t i = 0; i < sizeof tokenizer_names / sizeof tokenizer_names[0]; i++)
        if (strcmp(name, tokenizer_names[i]) == 0) {
            *tokenizer = (bleu_tokenizer)i;
            return 1;
        }
    return 0;
}

/* A word of the hypothesis (side 0) or the reference (side 1). */
typedef struct word {
    const uint32_t *characters;
    size_t length;
    size_t position;
    int side;
} word;

/* Arrays used for one segment after another. */
typedef struct workspace {
    symbols text[2], numbers[2], scratch;
    word *words;
    size_t word_count, word_capacity;
} workspace;

static int compare_words(const word *a, const word *b) {
    size_t shorter = a->length < b->length ? a->length : b->length;
    int order = memcmp(a->characters, b->characters, shorter * sizeof *a->characters);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

static int by_word(const void *left, const void *right) {
    return compare_words(left, right);
}

/* Cuts text[side], where each word ends with a space. */
static attn_status collect_words(workspace *w, int side) {
    const symbols *text = &w->text[side];
    size_t position = 0;
    for (size_t start = 0, end; start < text->count; start = end + 1, position++) {
        for (end = start; text->values[end] != ' ';)
            end++;
        attn_status status = memory_grow(&w->words, &w->word_capacity, w->word_count + 1, sizeof *w->words);
        if (status)
            return status;
        w->words[w->word_count++] = (word){text->values + start, end - start, position, side};
    }
    w->numbers[side].count = position;
    return memory_grow(&w->numbers[side].values, &w->numbers[side].capacity, position, sizeof(uint32_t));
}

/* Gives equal words of both sides the same number. */
static void number_words(workspace *w) {
    if (w->word_count > 0)
        qsort(w->words, w->word_count, sizeof *w->words, by_word);
    uint32_t number = 0;
    for (size_t i = 0; i < w->word_count; i++) {
        number += i > 0 && compare_words(&w->words[i - 1], &w->words[i]) != 0;
        w->numbers[w->words[i].side].values[w->words[i].position] = number;
    }
}

static attn_status add_segment(workspace *w, const char *hypothesis, const char *reference,
                               const bleu_options *options, bleu_score *out) {
    const char *const segments[2] = {hypothesis, reference};
    w->word_count = 0;
    attn_status status = ATTN_OK;
    for (int side = 0; side < 2 && !status; side++) {
        status = bleu_words(segments[side], options, &w->text[side], &w->scratch);
        if (!status)
            status = collect_words(w, side);
    }
    size_t matched[ORDER];
    if (!status) {
        number_words(w);
        status = ngram_matches(&w->numbers[0], &w->numbers[1], ORDER, matched);
    }
    if (status)
        return status;
    size_t length = w->numbers[0].count;
    for (size_t n = 1; n <= ORDER; n++) {
        out->matched[n - 1] += matched[n - 1];
        out->total[n - 1] += length >= n ? length - n + 1 : 0;
    }
    out->hypothesis_length += length;
    out->reference_length += w->numbers[1].count;
    return ATTN_OK;
}

/* BLEU = BP exp(sum of log p_n / 4), with the smoothing of the header. An n of
 * which the hypotheses have no n-gram makes it 0. */
static void finish(bleu_score *s) {
    double hypothesis = (double)s->hypothesis_length, reference = (double)s->reference_length;
    s->brevity_penalty = hypothesis >= reference ? 1.0 : hypothesis > 0 ? exp(1.0 - reference / hypothesis) : 0.0;
    if (s->matched[0] == 0) /* then no longer n-gram matches either */
        return;
    double smoothing = 1.0, logs = 0.0;
    size_t n = 0;
    for (; n < ORDER && s->total[n] > 0; n++) {
        if (s->matched[n] == 0) {
            smoothing *= 2.0;
            s->precisions[n] = 100.0 / (smoothing * (double)s->total[n]);
        } else {
            s->precisions[n] = 100.0 * (double)s->matched[n] / (double)s->total[n];
        }
        logs += log(s->precisions[n]);
    }
    s->score = n == ORDER ? s->brevity_penalty * exp(logs / ORDER) : 0.0;
}

attn_status bleu_corpus(const char *const *hypotheses, const char *const *references, size_t count,
                        const bleu_options *options, bleu_score *out) {
    *out = (bleu_score){0};
    workspace w = {0};
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < count && !status; i++)
        status = add_segment(&w, hypotheses[i], references[i], options, out);
    if (!status)
        finish(out);
    for (int side = 0; side < 2; side++) {
        symbols_release(&w.text[side]);
        symbols_release(&w.numbers[side]);
    }
    symbols_release(&w.scratch);
    memory_free(w.words);
    return status;
}
