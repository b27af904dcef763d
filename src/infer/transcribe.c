/* attn_transcribe, attn_evaluate_speech and attn_explain_speech: sounds in, text out. */
#include <math.h>
#include <string.h>

#include "base/utf8.h"
#include "data/sound_set.h"
#include "infer/explain.h"
#include "infer/measure.h"
#include "infer/signal_reader.h"
#include "infer/translate.h"
#include "infer/transcribe.h"

static attn_status check(const attn_model *model, const signal_model **found) {
    *found = NULL;
    if (!model) {
        return fail(ATTN_ERROR_ARGUMENT, "a model was expected");
    }
    if (!model->translator.feature_width) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s does not write down what it hears: attn train --task speech --text makes such a model",
                    model->directory);
    }
    *found = model->network.model;
    return ATTN_OK;
}

/* Rows of several sounds, one behind the other, with zeros for their ids. */
typedef struct heard {
    float *rows;
    size_t rows_capacity, count; /* in rows */
} heard;

static attn_status hear(const signal_model *m, const char *path, size_t number, attn_warning warn, void *context, heard *h) {
    float *rows = NULL;
    size_t count = 0, width = (size_t)signal_row_width(&m->config);
    int cut = 0;
    attn_status status = path ? signal_read_file(m, path, &rows, &count, &cut, NULL)
                              : fail(ATTN_ERROR_ARGUMENT, "file %zu has no path", number);
    status = status ? status : memory_grow(&h->rows, &h->rows_capacity, h->count + count, width * sizeof *h->rows);
    if (!status) {
        memcpy(h->rows + h->count * width, rows, count * width * sizeof *rows);
        h->count += count;
    }
    if (!status && cut && warn) {
        warn(context, number, "the sound is longer than the model reads; its end is left out");
    }
    memory_free(rows);
    return status;
}

static attn_status zero_ids(id_buffer *ids, size_t count) {
    attn_status status = memory_grow(&ids->ids, &ids->capacity, count, sizeof *ids->ids);
    if (!status) {
        memset(ids->ids, 0, count * sizeof *ids->ids);
        ids->count = count;
    }
    return status;
}

/* What a search over sounds cannot do: it has no words to look at. */
static attn_status check_options(const attn_translate_options *o) {
    return o->alignment || o->replace_unknown
               ? fail(ATTN_ERROR_UNSUPPORTED, "a sound has no words that those of a text could be aligned with")
               : ATTN_OK;
}

attn_status attn_transcribe(const attn_model *model, const char *const *paths, size_t count,
                            const attn_translate_options *options, attn_translation **transcription) {
    attn_translate_options standard;
    prepared_search prepared;
    const signal_model *m;
    if (!transcription || (count && !paths)) {
        return fail(ATTN_ERROR_ARGUMENT, "paths and a place for the transcription were expected");
    }
    *transcription = NULL;
    attn_translate_options_defaults(&standard);
    options = options ? options : &standard;
    attn_status status = check(model, &m);
    status = status ? status : check_options(options);
    status = status ? status : prepare_search(options, &prepared);
    if (status) {
        return status;
    }
    attn_translation *result = NULL;
    requests asked = {0};
    heard h = {0};
    status = translation_new(model, count, &result);
    for (size_t i = 0; i < count && !status; i++) {
        status = hear(m, paths[i], i + 1, options->warn, options->context, &h);
        result->source_offsets[i + 1] = h.count;
    }
    status = status ? status : zero_ids(&result->sources, h.count);
    status = status ? status : requests_make(model, options, count, &asked);
    if (!status) {
        requests_apply(&asked, &prepared);
        prepared.options.features = h.rows;
        result->source_tokens = h.count;
        status = search(model->searcher, result->sources.ids, result->source_offsets, count, &prepared.options, result->lists);
    }
    status = status ? status : translation_decode(result, options->n_best);
    requests_release(&asked);
    memory_free(h.rows);
    if (status) {
        attn_translation_free(result);
        return status;
    }
    *transcription = result;
    return ATTN_OK;
}

/* --- a labelled set -------------------------------------------------------------------- */

typedef struct words {
    const char **starts;
    size_t *lengths, count, starts_capacity, lengths_capacity;
} words;

static void words_release(words *w) {
    memory_free(w->starts);
    memory_free(w->lengths);
}

static attn_status cut_words(const char *text, size_t length, words *w) {
    w->count = 0;
    for (size_t at = 0, begin = 0; at <= length;) {
        uint32_t c = ' ';
        size_t size = at < length ? utf8_decode(text + at, length - at, &c) : 1;
        if (utf8_is_space(c)) {
            attn_status status = at > begin ? memory_grow(&w->starts, &w->starts_capacity, w->count + 1, sizeof *w->starts) : ATTN_OK;
            status = status || at == begin ? status : memory_grow(&w->lengths, &w->lengths_capacity, w->count + 1, sizeof *w->lengths);
            if (status) {
                return status;
            }
            if (at > begin) {
                w->starts[w->count] = text + begin;
                w->lengths[w->count++] = at - begin;
            }
            begin = at + size;
        }
        at += size;
    }
    return ATTN_OK;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Words to put in, leave out or replace (Levenshtein 1966). */
static attn_status distance(const words *a, const words *b, size_t *errors) {
    size_t *row = memory_allocate(b->count + 1, sizeof *row);
    if (!row) {
        return ATTN_ERROR_MEMORY;
    }
    for (size_t j = 0; j <= b->count; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a->count; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b->count; j++) {
            int same = a->lengths[i - 1] == b->lengths[j - 1] && memcmp(a->starts[i - 1], b->starts[j - 1], a->lengths[i - 1]) == 0;
            size_t now = least(corner + (same ? 0 : 1), least(row[j], row[j - 1]) + 1);
            corner = row[j];
            row[j] = now;
        }
    }
    *errors = row[b->count];
    memory_free(row);
    return ATTN_OK;
}

attn_status count_word_errors(const char *text, size_t length, const char *expected, size_t expected_length, size_t *errors,
                              size_t *count) {
    words got = {0}, wanted = {0};
    attn_status status = cut_words(text, length, &got);
    status = status ? status : cut_words(expected, expected_length, &wanted);
    status = status ? status : distance(&wanted, &got, errors);
    *count = wanted.count;
    words_release(&got);
    words_release(&wanted);
    return status;
}

/* Searches all sounds of the set and counts. */
static attn_status count_errors(const attn_model *model, const sound_set *set, const size_t *offsets, const prepared_search *prepared,
                                attn_speech_evaluation *e) {
    attn_translation *result = NULL;
    feature_source source = sound_set_features(set);
    size_t errors, expected, rows = offsets[set->count], exact = 0;
    float *features = memory_allocate(rows, source.width * sizeof *features);
    search_options options = prepared->options;
    attn_status status = features ? translation_new(model, set->count, &result) : ATTN_ERROR_MEMORY;
    status = status ? status : zero_ids(&result->sources, rows);
    for (size_t i = 0; i < set->count && !status; i++) {
        source.read(source.context, i, 0, features + offsets[i] * source.width);
        result->source_offsets[i + 1] = offsets[i + 1];
    }
    options.features = features;
    status = status ? status : search(model->searcher, result->sources.ids, offsets, set->count, &options, result->lists);
    status = status ? status : translation_decode(result, 1);
    for (size_t i = 0; i < set->count && !status; i++) {
        const char *text = result->texts[i][0];
        status = count_word_errors(text, strlen(text), set->labels[i].bytes, set->labels[i].length, &errors, &expected);
        e->word_errors += errors;
        e->words += expected;
        exact += errors == 0;
    }
    e->word_error_rate = e->words ? (double)e->word_errors / (double)e->words : NAN;
    e->exact = set->count ? (double)exact / (double)set->count : NAN;
    memory_free(features);
    attn_translation_free(result);
    return status;
}

attn_status speech_offsets(const sound_set *set, size_t **offsets) {
    *offsets = memory_allocate(set->count + 1, sizeof **offsets);
    for (size_t i = 0; i < set->count && *offsets; i++) {
        (*offsets)[i + 1] = (*offsets)[i] + sound_rows(set->offsets[i + 1] - set->offsets[i], set->stack);
    }
    return *offsets ? ATTN_OK : ATTN_ERROR_MEMORY;
}

attn_status evaluate_speech(const attn_model *model, const sound_set *set, const attn_translate_options *options,
                            attn_speech_evaluation *e) {
    prepared_search prepared;
    size_t *offsets = NULL;
    *e = (attn_speech_evaluation){.sounds = set->count};
    attn_status status = check_options(options);
    status = status ? status : prepare_search(options, &prepared);
    status = status ? status : speech_offsets(set, &offsets);
    status = status ? status : count_errors(model, set, offsets, &prepared, e);
    memory_free(offsets);
    return status;
}

attn_status attn_evaluate_speech(const attn_model *model, const char *path, const attn_translate_options *options,
                                 attn_speech_evaluation *evaluation) {
    attn_translate_options standard;
    const signal_model *m;
    sound_set set = {0};
    if (!path || !evaluation) {
        return fail(ATTN_ERROR_ARGUMENT, "a TSV of sound and text and a place for the evaluation were expected");
    }
    attn_translate_options_defaults(&standard);
    attn_status status = check(model, &m);
    if (status) {
        return status;
    }
    log_mel_options frames = signal_frames(&m->config);
    status = sound_set_read(path, &frames, (size_t)m->config.max_frames, &set);
    set.stack = SIGNAL_FRAMES_A_ROW;
    status = status ? status : evaluate_speech(model, &set, options ? options : &standard, evaluation);
    sound_set_release(&set);
    return status;
}

/* --- text against time -------------------------------------------------------------------- */

/* A place of the encoder as the second at which it begins. */
static attn_status name_places(const signal_config *c, size_t count, token_list *list) {
    double seconds = (double)SIGNAL_FRAMES_A_ROW * c->hop / c->rate;
    list->texts = memory_allocate(count, sizeof *list->texts);
    for (size_t i = 0; i < count && list->texts; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, " %.2f", (double)i * seconds);
        list->texts[i] = memory_copy_string(name);
        if (!list->texts[i]) {
            return ATTN_ERROR_MEMORY;
        }
        list->count++;
    }
    return list->texts ? ATTN_OK : ATTN_ERROR_MEMORY;
}

attn_status attn_explain_speech(const attn_model *model, const char *path, const char *target,
                                const attn_translate_options *options, attn_explanation **explanation) {
    attn_translate_options standard;
    const signal_model *m;
    heard h = {0};
    explained_source read = {0};
    if (!path || !explanation) {
        return fail(ATTN_ERROR_ARGUMENT, "a sound and a place for the explanation were expected");
    }
    *explanation = NULL;
    attn_translate_options_defaults(&standard);
    options = options ? options : &standard;
    attn_status status = check(model, &m);
    status = status ? status : hear(m, path, 1, options->warn, options->context, &h);
    status = status ? status : zero_ids(&read.ids, h.count);
    status = status ? status : name_places(&m->config, h.count, &read.tokens);
    read.features = h.rows;
    status = status ? status : explain_source(model, &read, target, options, explanation);
    if (!status) {
        status = spectrogram_draw(h.rows, h.count * SIGNAL_FRAMES_A_ROW, m->config.bins, &(*explanation)->spectrogram);
    }
    if (status && *explanation) {
        attn_explanation_free(*explanation);
        *explanation = NULL;
    }
    id_buffer_release(&read.ids);
    token_list_release(&read.tokens);
    memory_free(h.rows);
    return status;
}
