/* Naming what is seen or heard: labelled pictures or sounds, a Transformer encoder over
 * their patches or frames (model/signal_model.h). Measured by loss and accuracy. */
#include <string.h>

#include "base/memory.h"
#include "infer/measure.h"
#include "model/signal_model.h"
#include "train/task_signal.h"

attn_status signal_task_check(const attn_train_options *o) {
    if (o->source || o->target || o->valid_source || o->valid_target || o->test_source || o->test_target) {
        return fail(ATTN_ERROR_ARGUMENT, "pictures and sounds are given by corpus%s, not by source and target",
                    o->task == ATTN_TASK_IMAGE ? ", or by images and labels" : "");
    }
    if (o->watch == ATTN_WATCH_BLEU || o->watch == ATTN_WATCH_CHRF) {
        return fail(ATTN_ERROR_ARGUMENT, "a classifier has no translations: watch its loss or its accuracy");
    }
    if (o->init) {
        return fail(ATTN_ERROR_UNSUPPORTED, "a classifier of pictures or sounds cannot begin with another model's weights");
    }
    if (o->freeze && *o->freeze) {
        return fail(ATTN_ERROR_ARGUMENT, "freeze names parts of a translator; a model of pictures or sounds has none of them");
    }
    if (o->architecture != ATTN_ARCHITECTURE_TRANSFORMER) {
        return fail(ATTN_ERROR_ARGUMENT, "the architecture of models of pictures and sounds is the transformer; no other is built");
    }
    const attn_signal_options *g = &o->signal;
    if (g->text && o->task != ATTN_TASK_SPEECH) {
        return fail(ATTN_ERROR_ARGUMENT, "a text is what speech becomes: choose the task speech for it");
    }
    const struct {
        const char *name;
        double value, low, high;
    } ranges[] = {{"shift", g->shift, 0, 4096},           {"rotation", g->rotation, 0, 180},
                  {"image-size", g->image_size, 0, 4096}, {"patch-size", g->patch_size, 1, 4096},
                  {"sample-rate", g->sample_rate, 1000, 192000}, {"mel-bins", g->mel_bins, 1, 256},
                  {"max-frames", g->max_frames, 4, 1 << 20}, {"mask-frames", g->mask_frames, 0, 1 << 20},
                  {"mask-bins", g->mask_bins, 0, 256}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (!(ranges[i].value >= ranges[i].low && ranges[i].value <= ranges[i].high)) {
            return fail(ATTN_ERROR_ARGUMENT, "%s is %g; %g to %g was expected", ranges[i].name, ranges[i].value,
                        ranges[i].low, ranges[i].high);
        }
    }
    return ATTN_OK;
}

/* --- what is read --------------------------------------------------------------------- */

/* A split's files, as the options name them. */
typedef struct split_files {
    const char *corpus, *images, *labels, *what;
    split *split;
} split_files;

static void files_of(trainer *t, split_files files[3]) {
    const attn_train_options *o = t->options;
    files[0] = (split_files){o->corpus, o->signal.images, o->signal.labels, "train", &t->train};
    files[1] = (split_files){o->valid_corpus, o->signal.valid_images, o->signal.valid_labels, "validation", &t->valid};
    files[2] = (split_files){o->test_corpus, o->signal.test_images, o->signal.test_labels, "test", &t->test};
}

static attn_status check_files(const split_files *f, int is_train) {
    if (f->corpus && (f->images || f->labels)) {
        return fail(ATTN_ERROR_ARGUMENT, "the %s set is given twice: as a corpus and as IDX files", f->what);
    }
    if (!f->images != !f->labels) {
        return fail(ATTN_ERROR_ARGUMENT, "the %s set needs both its images and its labels", f->what);
    }
    if (is_train && !f->corpus && !f->images) {
        return fail(ATTN_ERROR_ARGUMENT, "no training set: give corpus (a folder with a folder of pictures for each class), "
                    "or images and labels (IDX files)");
    }
    return ATTN_OK;
}

/* Sides that the options leave open are those of the IDX file, or 32. */
static attn_status picture_shape(const attn_train_options *o, patch_shape *shape) {
    int width = 32, height = 32;
    attn_status status = o->signal.image_size == 0 && o->signal.images ? picture_set_idx_size(o->signal.images, &width, &height) : ATTN_OK;
    int side = o->signal.image_size > 0 ? o->signal.image_size : width > height ? width : height;
    *shape = (patch_shape){side, side, o->signal.colour && !o->signal.images ? 3 : 1, o->signal.patch_size};
    if (!status && (o->signal.patch_size < 1 || side < 1 || side > 4096 || side % o->signal.patch_size)) {
        status = fail(ATTN_ERROR_ARGUMENT, "the pictures' side is %d and patch-size %d; a multiple of it, up to 4096, was "
                      "expected: choose another image-size or patch-size", side, o->signal.patch_size);
    }
    return status;
}

static attn_status read_pictures(trainer *t, const split_files *f, const patch_shape *shape) {
    picture_set *set = &f->split->pictures;
    attn_status status = f->images ? picture_set_read_idx(f->images, f->labels, shape, t->labels, set)
                                   : picture_set_read_folder(f->corpus, shape, t->labels, set);
    if (status) {
        return status;
    }
    f->split->present = 1;
    trainer_log(t, "%s: %zu pictures of %zu classes, %d x %d pixels", f->what, set->count, t->labels->size, shape->width,
                shape->height);
    if (set->resized) {
        trainer_log(t, "%s: resized %zu pictures", f->what, set->resized);
    }
    return ATTN_OK;
}

/* The same draw for every set: some of the training's becomes the validation's. */
static unsigned char *draw_held_out(const trainer *t, size_t all, size_t count) {
    unsigned char *held = memory_allocate(all, 1);
    for (size_t i = 0, taken = 0; i < all && held; i++) {
        held[i] = held_out(t, i, all, count, taken) ? 1 : 0;
        taken += held[i];
    }
    return held;
}

static attn_status hold_out(trainer *t, size_t all) {
    size_t count = t->valid.present ? 0 : held_out_count(t->options, all);
    unsigned char *held = count > 0 ? draw_held_out(t, all, count) : NULL;
    if (count == 0) {
        return ATTN_OK;
    }
    attn_status status = !held ? ATTN_ERROR_MEMORY
                         : t->options->task == ATTN_TASK_IMAGE
                             ? picture_set_split(&t->train.pictures, held, &t->valid.pictures)
                             : sound_set_split(&t->train.sounds, held, &t->valid.sounds);
    memory_free(held);
    if (!status) {
        t->valid.present = 1;
        trainer_log(t, "validation: %zu held out of the training set", count);
    }
    return status;
}

static attn_status new_labels(trainer *t) {
    t->labels = memory_allocate(1, sizeof *t->labels);
    return t->labels ? ATTN_OK : ATTN_ERROR_MEMORY;
}

static attn_status read_images(trainer *t) {
    split_files files[3];
    patch_shape shape;
    files_of(t, files);
    attn_status status = new_labels(t);
    for (int i = 0; i < 3 && !status; i++) {
        status = check_files(&files[i], i == 0);
    }
    status = status ? status : picture_shape(t->options, &shape);
    for (int i = 0; i < 3 && !status; i++) {
        status = files[i].corpus || files[i].images ? read_pictures(t, &files[i], &shape) : ATTN_OK;
    }
    status = status ? status : hold_out(t, t->train.pictures.count);
    if (!status) {
        t->train.pictures.augmentation = (augmentation){(float)t->options->signal.shift, (float)t->options->signal.rotation};
    }
    return status;
}

/* --- sounds ---------------------------------------------------------------------------- */

log_mel_options signal_task_frames(const attn_train_options *o) {
    /* 25 ms a frame, one each 10 ms. */
    return (log_mel_options){.rate = o->signal.sample_rate,
                             .window = o->signal.sample_rate / 40,
                             .hop = o->signal.sample_rate / 100,
                             .bins = o->signal.mel_bins};
}

/* The labels of the training set and of what was held out of it. */
static attn_status name_labels(trainer *t) {
    const sound_set *set = &t->train.sounds, *held = &t->valid.sounds;
    size_t more = t->options->valid_corpus ? 0 : held->count, count = set->count + more;
    text_line *all = memory_allocate(count, sizeof *all);
    if (!all) {
        return ATTN_ERROR_MEMORY;
    }
    memcpy(all, set->labels, set->count * sizeof *all);
    if (more) {
        memcpy(all + set->count, held->labels, more * sizeof *all);
    }
    attn_status status = vocabulary_build_labels(all, count, t->labels);
    memory_free(all);
    return status;
}

attn_status signal_task_read_sounds(trainer *t) {
    const attn_train_options *o = t->options;
    split_files files[3];
    files_of(t, files);
    if (!o->corpus) {
        return fail(ATTN_ERROR_ARGUMENT, "no training set: give corpus, a TSV of sound file and label");
    }
    log_mel_options frames = signal_task_frames(o);
    attn_status status = ATTN_OK;
    for (int i = 0; i < 3 && !status; i++) {
        sound_set *set = &files[i].split->sounds;
        if (files[i].corpus) {
            status = sound_set_read(files[i].corpus, &frames, (size_t)o->signal.max_frames, set);
            files[i].split->present = 1;
        }
        if (files[i].corpus && !status) {
            trainer_log(t, "%s: %zu sounds, %.1f minutes", files[i].what, set->count,
                        (double)set->offsets[set->count] / 6000);
            if (set->cut) {
                trainer_log(t, "%s: cut %zu sounds longer than %d frames (%.1f s)", files[i].what, set->cut, o->signal.max_frames,
                            o->signal.max_frames / 100.0);
            }
        }
    }
    status = status ? status : hold_out(t, t->train.sounds.count);
    if (!status) {
        t->train.sounds.masks = (sound_masks){o->signal.mask_frames, o->signal.mask_bins};
    }
    return status;
}

static attn_status read_sounds(trainer *t) {
    attn_status status = new_labels(t);
    status = status ? status : signal_task_read_sounds(t);
    return status ? status : name_labels(t);
}

/* --- the corpora ------------------------------------------------------------------------ */

static attn_status make_room(corpus *c, size_t count) {
    c->pairs = count;
    c->source_offsets = memory_allocate(count + 1, sizeof *c->source_offsets);
    c->target_offsets = memory_allocate(count + 1, sizeof *c->target_offsets);
    c->target = memory_allocate(count, sizeof *c->target);
    for (size_t i = 0; i <= count && c->target_offsets; i++) {
        c->target_offsets[i] = i;
    }
    return c->source_offsets && c->target_offsets && c->target ? ATTN_OK : ATTN_ERROR_MEMORY;
}

static attn_status encode_pictures(trainer *t, split *s, const char *what) {
    (void)t;
    (void)what;
    picture_set *set = &s->pictures;
    attn_status status = make_room(&s->corpus, set->count);
    for (size_t i = 0; i <= set->count && !status; i++) {
        s->corpus.source_offsets[i] = i * (size_t)patches_count(&set->shape);
    }
    if (!status) {
        memcpy(s->corpus.target, set->labels, set->count * sizeof *set->labels);
        s->features = picture_set_features(set);
        s->corpus.features = &s->features;
    }
    return status;
}

static attn_status encode_sounds(trainer *t, split *s, const char *what) {
    sound_set *set = &s->sounds;
    attn_status status = make_room(&s->corpus, set->count);
    for (size_t i = 0; i < set->count && !status; i++) {
        text_line name = set->labels[i], file = set->files[i];
        s->corpus.target[i] = vocabulary_find(t->labels, name.bytes, name.length);
        if (s->corpus.target[i] < 0) {
            status = fail(ATTN_ERROR_FORMAT, "%s set: the label \"%.*s\" of %.*s is none of the %zu of the training set", what,
                          (int)(name.length < 60 ? name.length : 60), name.bytes,
                          (int)(file.length < 200 ? file.length : 200), file.bytes, t->labels->size);
        }
    }
    if (!status) {
        memcpy(s->corpus.source_offsets, set->offsets, (set->count + 1) * sizeof *set->offsets);
        s->features = sound_set_features(set);
        s->corpus.features = &s->features;
    }
    return status;
}

/* --- the model -------------------------------------------------------------------------- */

static attn_status copy_labels(const vocabulary *from, vocabulary *to) {
    text_line *lines = memory_allocate(from->size, sizeof *lines);
    for (size_t i = 0; i < from->size && lines; i++) {
        lines[i] = vocabulary_piece(from, i);
    }
    attn_status status = lines ? vocabulary_build(lines, from->size, to) : ATTN_ERROR_MEMORY;
    memory_free(lines);
    return status;
}

attn_status signal_task_config(const trainer *t, signal_kind kind, signal_config *c) {
    const attn_train_options *o = t->options;
    patch_shape shape = t->train.pictures.shape;
    log_mel_options frames = signal_task_frames(o);
    int is_picture = kind == SIGNAL_PICTURE;
    *c = (signal_config){.kind = kind,
                         .hidden_size = o->width,
                         .num_hidden_layers = o->layers,
                         .num_attention_heads = o->heads,
                         .intermediate_size = o->feed_forward,
                         .hidden_act = signal_activation_find(o->activation),
                         .hidden_dropout_prob = o->dropout,
                         .attention_probs_dropout_prob = o->attention_dropout,
                         .layer_norm_eps = 1e-6,
                         .image_size = is_picture ? shape.width : 0,
                         .patch_size = is_picture ? shape.patch : 1,
                         .num_channels = is_picture ? shape.channels : 1,
                         .rate = frames.rate,
                         .window = frames.window,
                         .hop = frames.hop,
                         .bins = frames.bins,
                         .max_frames = o->signal.max_frames};
    return c->hidden_act < 0 ? fail(ATTN_ERROR_ARGUMENT, "activation is %s; relu, swish or gelu was expected", o->activation)
                             : ATTN_OK;
}

static attn_status create(const trainer *t, network_purpose purpose, network *made) {
    int is_picture = t->options->task == ATTN_TASK_IMAGE;
    signal_config c;
    signal_model *model;
    attn_status status = signal_task_config(t, is_picture ? SIGNAL_PICTURE : SIGNAL_SOUND, &c);
    status = status ? status : copy_labels(t->labels, &c.labels);
    status = status ? status : signal_new(&c, purpose, &model);
    if (!status) {
        *made = network_of(is_picture ? &signal_picture_kind : &signal_sound_kind, model);
    }
    return status;
}

static attn_status measure(trainer *t, const split *s, int full, attn_validation *figures, samples *shown) {
    (void)full;
    (void)shown;
    parameters view = trainer_published(t);
    loss_result sum;
    attn_status status = measure_weights(&view, &t->network, &s->corpus, BATCH_COUNTS_SOURCE, &sum);
    if (!status) {
        figures->loss = sum.loss / (double)sum.tokens;
        figures->token_accuracy = (double)sum.correct / (double)sum.tokens;
    }
    return status;
}

const task task_image = {.name = "image",
                         .counts = BATCH_COUNTS_SOURCE,
                         .check = signal_task_check,
                         .read_texts = read_images,
                         .encode = encode_pictures,
                         .create = create,
                         .measure = measure};

const task task_speech = {.name = "speech",
                          .counts = BATCH_COUNTS_SOURCE,
                          .check = signal_task_check,
                          .read_texts = read_sounds,
                          .encode = encode_sounds,
                          .create = create,
                          .measure = measure};
