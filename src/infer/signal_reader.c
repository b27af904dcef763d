#include "infer/signal_reader.h"

#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "base/threads.h"
#include "data/sound_set.h"
#include "infer/classify.h"

enum { RUN_ROWS = 2048 /* of a batch; bounds memory alone */ };

struct signal_reader {
    const signal_model *model;
    packed_parameters *packed;
};

void signal_reader_free(signal_reader *r) {
    if (r) {
        packed_parameters_free(r->packed);
        memory_free(r);
    }
}

attn_status signal_pack_encoder(packed_parameters *packed, product_type type, const parameters *values,
                                const signal_model *m) {
    int is_picture = m->config.kind == SIGNAL_PICTURE;
    attn_status status = is_picture ? packed_parameters_add(packed, type, values, m->patches.weight) : ATTN_OK;
    for (int i = 0; i < SIGNAL_CONVOLUTIONS && !is_picture && !status; i++) {
        status = packed_parameters_add(packed, type, values, m->convolutions[i].weight);
    }
    for (int i = 0; i < m->config.num_hidden_layers && !status; i++) {
        const signal_layer *layer = &m->layers[i];
        const parameter weights[] = {parameter_joined(layer->attention.query.weight, 3), layer->attention.output.weight,
                                     layer->feed_forward.inner.weight, layer->feed_forward.outer.weight};
        for (int k = 0; k < 4 && !status; k++) {
            status = packed_parameters_add(packed, type, values, weights[k]);
        }
    }
    return status;
}

static attn_status pack_all(signal_reader *r) {
    const signal_model *m = r->model;
    attn_status status = signal_pack_encoder(r->packed, PRODUCT_F32, &m->parameters, m);
    if (!status && m->config.kind == SIGNAL_SOUND) {
        status = packed_parameters_add(r->packed, PRODUCT_F32, &m->parameters, m->pool_key.weight);
    }
    return status ? status : packed_parameters_add(r->packed, PRODUCT_F32, &m->parameters, m->classifier.weight);
}

attn_status signal_reader_new(const signal_model *model, signal_reader **made) {
    signal_reader *r = *made = memory_allocate(1, sizeof *r);
    if (!r) {
        return ATTN_ERROR_MEMORY;
    }
    *r = (signal_reader){model, packed_parameters_new()};
    attn_status status = r->packed ? pack_all(r) : ATTN_ERROR_MEMORY;
    if (status) {
        signal_reader_free(r);
        *made = NULL;
    }
    return status;
}

/* --- files ------------------------------------------------------------------------- */

static attn_status read_picture(const signal_model *m, const char *path, float **rows, size_t *count, picture *raw) {
    patch_shape shape = signal_patches(&m->config);
    picture read = {0}, sized = {0};
    attn_status status = picture_read(path, shape.channels, &read);
    status = status ? status : picture_resize(&read, shape.width, shape.height, &sized);
    *count = (size_t)patches_count(&shape);
    *rows = status ? NULL : memory_allocate(*count, (size_t)patches_width(&shape) * sizeof **rows);
    status = status ? status : *rows ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (!status) {
        patches_cut(&shape, sized.pixels, *rows);
    }
    picture_release(&sized);
    if (raw && !status) {
        *raw = read;
    } else {
        picture_release(&read);
    }
    return status;
}

/* Frames as rows of speech: the last row is filled up with zeros. */
static attn_status fill_rows(int bins, float **frames, size_t *count) {
    size_t rows = sound_rows(*count, SIGNAL_FRAMES_A_ROW), width = (size_t)bins * sizeof(float);
    float *filled = memory_allocate(rows * SIGNAL_FRAMES_A_ROW, width);
    if (filled) {
        memcpy(filled, *frames, *count * width);
    }
    memory_free(*frames);
    *frames = filled;
    *count = rows;
    return filled ? ATTN_OK : ATTN_ERROR_MEMORY;
}

attn_status signal_read_file(const signal_model *m, const char *path, float **rows, size_t *count, int *cut,
                             picture *raw) {
    *rows = NULL;
    *cut = 0;
    if (m->config.kind == SIGNAL_PICTURE) {
        return read_picture(m, path, rows, count, raw);
    }
    log_mel_options frames = signal_frames(&m->config);
    attn_status status = sound_frames(path, &frames, (size_t)m->config.max_frames, rows, count, cut);
    return status || m->config.kind == SIGNAL_SOUND ? status : fill_rows(m->config.bins, rows, count);
}

/* --- probabilities ------------------------------------------------------------------- */

/* What one thread works with. */
typedef struct station {
    tape tape;
    parameters view;
    float *rows;
    int32_t *offsets;
    size_t rows_capacity, offsets_capacity;
    attn_status status;
} station;

static attn_status run_batch(const signal_reader *r, station *s, const feature_source *source, const size_t *offsets,
                             size_t first, size_t end, float *probabilities) {
    size_t labels = r->model->config.labels.size, at = offsets[first];
    attn_status status = memory_grow(&s->rows, &s->rows_capacity, offsets[end] - at, source->width * sizeof *s->rows);
    status = status ? status : memory_grow(&s->offsets, &s->offsets_capacity, end - first + 1, sizeof *s->offsets);
    if (status) {
        return status;
    }
    for (size_t i = first; i < end; i++) {
        source->read(source->context, i, 0, s->rows + (offsets[i] - at) * source->width);
    }
    for (size_t i = first; i <= end; i++) {
        s->offsets[i - first] = (int32_t)(offsets[i] - at);
    }
    tape *t = &s->tape;
    tape_start(t, 0, 0, 0);
    t->packed = r->packed;
    tensor *pooled = signal_encode(t, r->model, s->rows, (packing){s->offsets, (int64_t)(end - first)}, NULL);
    tensor *logits = op_linear(t, pooled, r->model->classifier.weight, r->model->classifier.bias, ACTIVATION_NONE);
    for (size_t i = first; logits && i < end; i++) {
        class_probabilities((const float *)logits->data + (i - first) * labels, labels, probabilities + i * labels);
    }
    return t->status;
}

/* Where each batch begins; *count of them, `begins` has room for sequences + 1. */
static void cut_batches(const size_t *offsets, size_t sequences, size_t *begins, size_t *count) {
    *count = 0;
    for (size_t i = 0; i < sequences; i++) {
        if (i == 0 || offsets[i + 1] - offsets[begins[*count - 1]] > RUN_ROWS) {
            begins[(*count)++] = i;
        }
    }
    begins[*count] = sequences;
}

attn_status signal_reader_run(const signal_reader *r, const feature_source *source, const size_t *offsets,
                              size_t sequences, float *probabilities) {
    size_t count, *begins = memory_allocate(sequences + 1, sizeof *begins);
    if (!begins) {
        return ATTN_ERROR_MEMORY;
    }
    cut_batches(offsets, sequences, begins, &count);
    int workers = threads_get() < (int)count ? threads_get() : count ? (int)count : 1;
    station *stations = memory_allocate((size_t)workers, sizeof *stations);
    attn_status status = stations ? ATTN_OK : ATTN_ERROR_MEMORY;
    int opened = 0;
    for (; opened < workers && !status; opened++) {
        stations[opened].view = r->model->parameters;
        status = tape_open(&stations[opened].tape, &stations[opened].view);
    }
    if (!status) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(workers)
        for (size_t b = 0; b < count; b++) {
            station *s = &stations[omp_get_thread_num()];
            s->status = s->status ? s->status : run_batch(r, s, source, offsets, begins[b], begins[b + 1], probabilities);
        }
    }
    for (int i = 0; i < opened; i++) {
        if (stations[i].status && !status) {
            status = workers == 1 ? stations[i].status
                                  : fail(stations[i].status, "a batch failed: %s", attn_status_text(stations[i].status));
        }
        memory_free(stations[i].rows);
        memory_free(stations[i].offsets);
        tape_close(&stations[i].tape);
    }
    memory_free(stations);
    memory_free(begins);
    return status;
}
