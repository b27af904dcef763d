#include "data/sound.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include <samplerate.h>
#include <sndfile.h>

#include "base/memory.h"

enum { BLOCK = 4096, MOST_CHANNELS = 64 }; /* frames read at once */

/* Appends the file's frames as one channel, at most `most` of them. */
static attn_status read_frames(SNDFILE *file, const char *path, int channels, size_t most, sound *s) {
    size_t capacity = 0;
    float *block = memory_allocate((size_t)BLOCK * (size_t)channels, sizeof *block);
    attn_status status = block ? ATTN_OK : ATTN_ERROR_MEMORY;
    sf_count_t got = 1;
    while (!status && got > 0 && !s->cut) {
        got = sf_readf_float(file, block, BLOCK);
        status = memory_grow(&s->samples, &capacity, s->count + (size_t)got, sizeof(float));
        for (sf_count_t i = 0; i < got && !status && !s->cut; i++) {
            float sum = 0;
            for (int c = 0; c < channels; c++) {
                sum += block[i * channels + c];
            }
            s->cut = s->count == most;
            if (!isfinite(sum)) {
                status = fail(ATTN_ERROR_NUMERIC, "%s: sample %zu is not a finite number", path, s->count);
            } else if (!s->cut) {
                s->samples[s->count++] = sum / (float)channels;
            }
        }
    }
    memory_free(block);
    if (!status && !s->cut && sf_error(file) != SF_ERR_NO_ERROR) {
        status = fail(ATTN_ERROR_FORMAT, "%s cannot be decoded: %s", path, sf_strerror(file));
    }
    return status;
}

static attn_status convert(const char *path, int rate, sound *s) {
    double ratio = (double)rate / s->rate;
    size_t room = (size_t)ceil((double)s->count * ratio) + 1;
    float *converted = memory_allocate(room, sizeof *converted);
    if (!converted) {
        return ATTN_ERROR_MEMORY;
    }
    SRC_DATA data = {.data_in = s->samples,
                     .data_out = converted,
                     .input_frames = (long)s->count,
                     .output_frames = (long)room,
                     .src_ratio = ratio};
    int error = src_simple(&data, SRC_SINC_MEDIUM_QUALITY, 1); /* checks the ratio, too: 1/256 to 256 */
    if (error) {
        memory_free(converted);
        return fail(ATTN_ERROR_FORMAT, "%s: its rate of %d Hz cannot be turned into %d: %s", path, s->rate, rate,
                    src_strerror(error));
    }
    memory_free(s->samples);
    s->samples = converted;
    s->count = (size_t)data.output_frames_gen;
    s->rate = rate;
    return ATTN_OK;
}

/* libsndfile does not say why a file cannot be opened; open(2) does. */
static attn_status open_sound(const char *path, SF_INFO *info, SNDFILE **file) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return fail(ATTN_ERROR_FILE, "%s cannot be read: %s", path, strerror(errno));
    }
    *info = (SF_INFO){0};
    *file = sf_open_fd(descriptor, SFM_READ, info, SF_TRUE);
    if (!*file) {
        return fail(ATTN_ERROR_FORMAT, "%s is not a sound file (WAV, FLAC or OGG): %s", path, sf_strerror(NULL));
    }
    return ATTN_OK;
}

attn_status sound_read(const char *path, int rate, double most_seconds, sound *read) {
    SF_INFO info;
    SNDFILE *file = NULL;
    *read = (sound){0};
    attn_status status = open_sound(path, &info, &file);
    if (status) {
        return status;
    }
    if (info.samplerate < SOUND_LOWEST_RATE || info.samplerate > SOUND_HIGHEST_RATE) {
        status = fail(ATTN_ERROR_FORMAT, "%s: its rate is %d Hz; %d to %d were expected", path, info.samplerate,
                      SOUND_LOWEST_RATE, SOUND_HIGHEST_RATE);
    } else if (info.channels < 1 || info.channels > MOST_CHANNELS) {
        status = fail(ATTN_ERROR_FORMAT, "%s has %d channels; 1 to %d were expected", path, info.channels, MOST_CHANNELS);
    }
    read->rate = info.samplerate;
    status = status ? status
                    : read_frames(file, path, info.channels, (size_t)fmax(1, most_seconds * info.samplerate), read);
    (void)sf_close(file);
    if (!status && read->count == 0) {
        status = fail(ATTN_ERROR_FORMAT, "%s holds no sound: it has no samples", path);
    }
    if (!status && read->rate != rate) {
        status = convert(path, rate, read);
    }
    if (status) {
        sound_release(read);
    }
    return status;
}

void sound_release(sound *s) {
    memory_free(s->samples);
    *s = (sound){0};
}
