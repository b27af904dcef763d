#include "data/sound_set.h"

#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "data/sound.h"

enum { MASKS = 2 }; /* of each direction */

void sound_set_release(sound_set *set) {
    memory_free(set->frames);
    memory_free(set->offsets);
    memory_free(set->labels);
    memory_free(set->files);
    parallel_text_release(&set->storage);
    *set = (sound_set){0};
}

/* --- one sound --------------------------------------------------------------------- */

/* Each bin's mean over the sound becomes 0, so that loudness and the microphone do not count. */
static void centre(float *frames, size_t count, size_t bins) {
    for (size_t b = 0; b < bins; b++) {
        double sum = 0;
        for (size_t t = 0; t < count; t++) {
            sum += (double)frames[t * bins + b];
        }
        float mean = (float)(sum / (double)count);
        for (size_t t = 0; t < count; t++) {
            frames[t * bins + b] -= mean;
        }
    }
}

static attn_status frames_of(const log_mel *l, const char *path, const log_mel_options *o, size_t most, float **frames,
                             size_t *count, int *cut) {
    sound s;
    *frames = NULL;
    attn_status status = sound_read(path, o->rate, (double)most * o->hop / o->rate, &s);
    if (status) {
        return status;
    }
    *count = log_mel_count(l, s.count);
    *count = *count > most ? most : *count;
    size_t samples = *count * (size_t)o->hop < s.count ? *count * (size_t)o->hop : s.count;
    *frames = memory_allocate(*count, (size_t)o->bins * sizeof **frames);
    status = *frames ? log_mel_frames(l, s.samples, samples, *frames) : ATTN_ERROR_MEMORY;
    if (!status) {
        centre(*frames, *count, (size_t)o->bins);
        *cut = s.cut;
    } else {
        memory_free(*frames);
        *frames = NULL;
    }
    sound_release(&s);
    return status;
}

attn_status sound_frames(const char *path, const log_mel_options *options, size_t most_frames, float **frames,
                         size_t *count, int *cut) {
    log_mel *l;
    *frames = NULL;
    attn_status status = log_mel_new(options, &l);
    status = status ? status : frames_of(l, path, options, most_frames, frames, count, cut);
    log_mel_free(l);
    return status;
}

/* --- a set of them ----------------------------------------------------------------- */

/* The folder of the TSV with its final slash, then the name; NULL: memory was short. */
static char *beside(const char *tsv, text_line name) {
    const char *slash = strrchr(tsv, '/');
    size_t folder = slash && name.bytes[0] != '/' ? (size_t)(slash - tsv) + 1 : 0;
    char *path = memory_allocate(folder + name.length + 1, 1);
    if (path) {
        memcpy(path, tsv, folder);
        memcpy(path + folder, name.bytes, name.length);
    }
    return path;
}

static attn_status append(sound_set *set, size_t *capacity, const float *frames, size_t count) {
    size_t bins = (size_t)set->bins, before = set->offsets[set->count];
    attn_status status = memory_grow(&set->frames, capacity, (before + count) * bins, sizeof *set->frames);
    if (!status) {
        memcpy(set->frames + before * bins, frames, count * bins * sizeof *frames);
        set->offsets[++set->count] = before + count;
    }
    return status;
}

static attn_status read_lines(const char *tsv, const log_mel *l, const log_mel_options *o, size_t most, sound_set *set) {
    size_t capacity = 0;
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < set->storage.pairs && !status; i++) {
        char *path = beside(tsv, set->files[i]);
        float *frames = NULL;
        size_t count = 0;
        int cut = 0;
        status = path ? frames_of(l, path, o, most, &frames, &count, &cut) : ATTN_ERROR_MEMORY;
        status = status ? fail_within(status, "%s, pair %zu", tsv, i + 1) : append(set, &capacity, frames, count);
        set->cut += (size_t)cut;
        memory_free(frames);
        memory_free(path);
    }
    return status;
}

attn_status sound_set_read(const char *tsv, const log_mel_options *options, size_t most_frames, sound_set *read) {
    text_options lines;
    log_mel *l = NULL;
    *read = (sound_set){.bins = options->bins};
    text_options_defaults(&lines);
    attn_status status = log_mel_new(options, &l);
    status = status ? status : parallel_text_read_tsv(tsv, &lines, &read->storage);
    if (!status) {
        read->offsets = memory_allocate(read->storage.pairs + 1, sizeof *read->offsets);
        read->labels = memory_allocate(read->storage.pairs, sizeof *read->labels);
        read->files = memory_allocate(read->storage.pairs, sizeof *read->files);
        status = read->offsets && read->labels && read->files ? ATTN_OK : ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < read->storage.pairs && !status; i++) {
        read->files[i] = read->storage.source[i];
        read->labels[i] = read->storage.target[i];
    }
    status = status ? status : read_lines(tsv, l, options, most_frames, read);
    log_mel_free(l);
    if (status) {
        sound_set_release(read);
    }
    return status;
}

attn_status sound_set_split(sound_set *from, const unsigned char *held, sound_set *to) {
    size_t bins = (size_t)from->bins, kept = 0, capacity = 0, count = from->count;
    *to = (sound_set){.bins = from->bins, .stack = from->stack};
    to->offsets = memory_allocate(count + 1, sizeof *to->offsets);
    to->labels = memory_allocate(count, sizeof *to->labels); /* both go on pointing into from's storage */
    to->files = memory_allocate(count, sizeof *to->files);
    attn_status status = to->offsets && to->labels && to->files ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < count && !status; i++) {
        size_t begin = from->offsets[i], frames = from->offsets[i + 1] - begin;
        if (held[i]) {
            to->labels[to->count] = from->labels[i];
            to->files[to->count] = from->files[i];
            status = append(to, &capacity, from->frames + begin * bins, frames);
        }
    }
    for (size_t i = 0, at = 0; i < count && !status; i++) {
        size_t begin = from->offsets[i], frames = from->offsets[i + 1] - begin;
        if (!held[i]) {
            memmove(from->frames + at * bins, from->frames + begin * bins, frames * bins * sizeof(float));
            from->labels[kept] = from->labels[i];
            from->files[kept] = from->files[i];
            from->offsets[kept++] = at;
            at += frames;
        }
        if (i + 1 == count) {
            from->offsets[kept] = at;
            from->count = kept;
        }
    }
    return status;
}

/* --- as features ------------------------------------------------------------------- */

static int draw_below(uint64_t key, uint64_t index, int bound) {
    return bound > 0 ? (int)random_below(key, index, (uint32_t)bound) : 0;
}

/* What is hidden becomes 0, the mean. */
static void hide(const sound_masks *masks, int bins, int frames, uint64_t key, float *out) {
    for (uint64_t m = 0; m < MASKS; m++) {
        int most = masks->frames < frames / 2 ? masks->frames : frames / 2;
        int length = draw_below(key, 4 * m, most + 1), first = draw_below(key, 4 * m + 1, frames - length + 1);
        memset(out + (size_t)first * (size_t)bins, 0, (size_t)(length * bins) * sizeof *out);
        most = masks->bins < bins / 2 ? masks->bins : bins / 2;
        length = draw_below(key, 4 * m + 2, most + 1);
        first = draw_below(key, 4 * m + 3, bins - length + 1);
        for (int t = 0; t < frames; t++) {
            memset(out + (size_t)t * (size_t)bins + first, 0, (size_t)length * sizeof *out);
        }
    }
}

size_t sound_rows(size_t frames, int stack) {
    size_t each = stack > 1 ? (size_t)stack : 1;
    return (frames + each - 1) / each;
}

static void read_sound(const void *context, size_t i, uint64_t draw, float *out) {
    const sound_set *set = context;
    size_t begin = set->offsets[i], frames = set->offsets[i + 1] - begin, bins = (size_t)set->bins;
    size_t each = set->stack > 1 ? (size_t)set->stack : 1, room = sound_rows(frames, set->stack) * each;
    memcpy(out, set->frames + begin * bins, frames * bins * sizeof *out);
    memset(out + frames * bins, 0, (room - frames) * bins * sizeof *out);
    if (draw) {
        hide(&set->masks, set->bins, (int)frames, draw, out);
    }
}

feature_source sound_set_features(const sound_set *set) {
    return (feature_source){(size_t)set->bins * (size_t)(set->stack > 1 ? set->stack : 1), read_sound, set};
}
