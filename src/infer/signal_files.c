/* attn_classify_files and attn_evaluate_files: pictures and sounds in, labels out. */
#include <string.h>

#include "base/memory.h"
#include "data/picture_set.h"
#include "data/sound_set.h"
#include "infer/classification.h"
#include "infer/classify.h"
#include "infer/model.h"
#include "infer/signal_reader.h"

attn_input attn_model_input(const attn_model *model) {
    const network_kind *kind = model ? model->network.kind : NULL;
    return kind == &signal_picture_kind                                  ? ATTN_INPUT_PICTURE
           : kind == &signal_sound_kind || kind == &signal_speech_kind ? ATTN_INPUT_SOUND
                                                                         : ATTN_INPUT_TEXT;
}

int attn_model_transcribes(const attn_model *model) {
    return model && model->network.kind == &signal_speech_kind;
}

static attn_status check_input(const attn_model *model, const signal_model **found) {
    *found = NULL;
    if (!model) {
        return fail(ATTN_ERROR_ARGUMENT, "a model was expected");
    }
    if (attn_model_input(model) == ATTN_INPUT_TEXT) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s holds a model of texts, not of pictures or sounds", model->directory);
    }
    if (attn_model_transcribes(model)) {
        return fail(ATTN_ERROR_UNSUPPORTED, "%s is no classifier: attn transcribe writes down what it hears", model->directory);
    }
    *found = model->network.model;
    return ATTN_OK;
}

/* --- files, one by one ------------------------------------------------------------------ */

/* Rows of one sequence that lie ready. */
static void copy_rows(const void *context, size_t sequence, uint64_t draw, float *out) {
    const text_line *rows = context; /* bytes and their number */
    (void)sequence;
    (void)draw;
    memcpy(out, rows->bytes, rows->length);
}

static attn_status classify_file(const signal_model *m, const signal_reader *reader, const char *path, size_t number,
                                 attn_warning warn, void *context, float *probabilities) {
    float *rows = NULL;
    int cut = 0;
    size_t offsets[2] = {0}, width = (size_t)signal_row_width(&m->config);
    attn_status status = path ? signal_read_file(m, path, &rows, &offsets[1], &cut, NULL)
                              : fail(ATTN_ERROR_ARGUMENT, "file %zu has no path", number);
    if (!status && cut && warn) {
        warn(context, number, "the sound is longer than the model reads; its end is left out");
    }
    if (!status) {
        text_line bytes = {(const char *)rows, offsets[1] * width * sizeof *rows};
        feature_source source = {width, copy_rows, &bytes};
        status = signal_reader_run(reader, &source, offsets, 1, probabilities);
    }
    memory_free(rows);
    return status;
}

attn_status attn_classify_files(const attn_model *model, const char *const *paths, size_t count, attn_warning warn,
                                void *context, attn_classification **classification) {
    const signal_model *m;
    if (!classification || (count && !paths)) {
        return fail(ATTN_ERROR_ARGUMENT, "paths and a place for the classification were expected");
    }
    *classification = NULL;
    attn_classification *c = NULL;
    signal_reader *reader = NULL;
    attn_status status = check_input(model, &m);
    status = status ? status : classification_new(count, m->config.labels.size, &c);
    status = status ? status : signal_reader_new(m, &reader);
    for (size_t i = 0; i < count && !status; i++) {
        status = classify_file(m, reader, paths[i], i + 1, warn, context, c->probabilities + i * c->labels);
    }
    signal_reader_free(reader);
    if (status) {
        attn_classification_free(c);
        return status;
    }
    *classification = c;
    return ATTN_OK;
}

/* --- a labelled set ----------------------------------------------------------------------- */

typedef struct labelled_set {
    picture_set pictures;
    sound_set sounds;
    feature_source features;
    size_t count, *offsets;
    int32_t *labels;
} labelled_set;

static void release_set(labelled_set *s) {
    picture_set_release(&s->pictures);
    sound_set_release(&s->sounds);
    memory_free(s->offsets);
    memory_free(s->labels);
}

static attn_status make_room(labelled_set *s, size_t count) {
    s->count = count;
    s->offsets = memory_allocate(count + 1, sizeof *s->offsets);
    s->labels = memory_allocate(count, sizeof *s->labels);
    return s->offsets && s->labels ? ATTN_OK : ATTN_ERROR_MEMORY;
}

static attn_status read_pictures(const signal_model *m, const char *path, const char *labels, labelled_set *s) {
    patch_shape shape = signal_patches(&m->config);
    vocabulary names = m->config.labels; /* is not empty, so it is only looked up */
    attn_status status = labels ? picture_set_read_idx(path, labels, &shape, &names, &s->pictures)
                                : picture_set_read_folder(path, &shape, &names, &s->pictures);
    status = status ? status : make_room(s, s->pictures.count);
    for (size_t i = 0; i < s->count && !status; i++) {
        s->offsets[i + 1] = (i + 1) * (size_t)patches_count(&shape);
        s->labels[i] = s->pictures.labels[i];
    }
    s->features = picture_set_features(&s->pictures);
    return status;
}

static attn_status read_sounds(const signal_model *m, const char *path, const char *labels, labelled_set *s) {
    log_mel_options frames = signal_frames(&m->config);
    if (labels) {
        return fail(ATTN_ERROR_ARGUMENT, "sounds have their labels in the TSV itself: a file of labels is not expected");
    }
    attn_status status = sound_set_read(path, &frames, (size_t)m->config.max_frames, &s->sounds);
    status = status ? status : make_room(s, s->sounds.count);
    for (size_t i = 0; i < s->count && !status; i++) {
        text_line name = s->sounds.labels[i];
        s->offsets[i + 1] = s->sounds.offsets[i + 1];
        s->labels[i] = vocabulary_find(&m->config.labels, name.bytes, name.length);
        if (s->labels[i] < 0) {
            status = fail(ATTN_ERROR_FORMAT, "%s: the label \"%.*s\" is none of the model's %zu", path,
                          (int)(name.length < 60 ? name.length : 60), name.bytes, m->config.labels.size);
        }
    }
    s->features = sound_set_features(&s->sounds);
    return status;
}

static void count_labels(const labelled_set *s, const float *probabilities, attn_class_evaluation *e) {
    double loss = 0;
    for (size_t i = 0; i < s->count; i++) {
        loss += confusion_add(e->confusion, e->labels, probabilities + i * e->labels, (size_t)s->labels[i]);
    }
    class_evaluation_finish(e, loss, s->count);
}

attn_status attn_evaluate_files(const attn_model *model, const char *path, const char *labels,
                                attn_class_evaluation **evaluation) {
    const signal_model *m;
    if (!path || !evaluation) {
        return fail(ATTN_ERROR_ARGUMENT, "a labelled set and a place for the evaluation were expected");
    }
    *evaluation = NULL;
    labelled_set s = {0};
    signal_reader *reader = NULL;
    attn_class_evaluation *e = NULL;
    float *probabilities = NULL;
    attn_status status = check_input(model, &m);
    if (status) {
        return status;
    }
    status = m->config.kind == SIGNAL_PICTURE ? read_pictures(m, path, labels, &s) : read_sounds(m, path, labels, &s);
    status = status ? status : class_evaluation_new(&m->config.labels, &e);
    if (!status) {
        probabilities = memory_allocate(s.count, e->labels * sizeof *probabilities);
        status = probabilities ? signal_reader_new(m, &reader) : ATTN_ERROR_MEMORY;
    }
    status = status ? status : signal_reader_run(reader, &s.features, s.offsets, s.count, probabilities);
    if (!status) {
        count_labels(&s, probabilities, e);
        *evaluation = e;
    } else {
        attn_class_evaluation_free(e);
    }
    memory_free(probabilities);
    signal_reader_free(reader);
    release_set(&s);
    return status;
}
