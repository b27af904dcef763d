/* Sound: a WAV, FLAC or OGG file (libsndfile) as one channel at one rate (libsamplerate). */
#ifndef ATTN_DATA_SOUND_H
#define ATTN_DATA_SOUND_H

#include <stddef.h>

#include "base/error.h"

enum { SOUND_LOWEST_RATE = 1000, SOUND_HIGHEST_RATE = 768000 }; /* of a file, in Hz */

typedef struct sound {
    float *samples; /* [count], mostly in -1 .. 1 */
    size_t count;
    int rate;    /* samples a second */
    int cut;     /* 1: the file goes on after most_seconds */
} sound;

/* Reads at most `most_seconds` (> 0) of the file at `path`; channels are averaged, other rates are
 * converted to `rate` (SOUND_LOWEST_RATE .. SOUND_HIGHEST_RATE) by band-limited
 * interpolation (Smith & Gossett 1984). ATTN_ERROR_FILE where it cannot be read,
 * ATTN_ERROR_FORMAT where it is no sound, damaged, empty, or of a rate outside the range
 * above, ATTN_ERROR_NUMERIC where a sample is no finite number. Release with
 * sound_release. */
attn_status sound_read(const char *path, int rate, double most_seconds, sound *read);

void sound_release(sound *s);

#endif
