/* Log-mel frames: the spectrogram that speech models read. A frame is a Hann window of the
 * sound; its power spectrum (FFTW) goes through triangles that are evenly spaced on the
 * mel scale, m(f) = 2595 log10(1 + f / 700) (O'Shaughnessy 1987; as in HTK), and the
 * logarithm is taken:
 *
 *     frame[t, b] = log(sum_f triangle[b, f] |spectrum[t, f]|^2 + 1e-6)
 *
 * Frame t is centred at sample t * hop; what lies outside the sound is 0. */
#ifndef ATTN_DATA_LOG_MEL_H
#define ATTN_DATA_LOG_MEL_H

#include <stddef.h>

#include "base/error.h"

typedef struct log_mel_options {
    int rate;    /* 16000: samples a second of the sounds */
    int window;  /* 400: samples of a frame, 2 .. 65536 */
    int hop;     /* 160: samples from one frame to the next, 1 .. 65536 */
    int bins;    /* 80: triangles, 1 .. 256, from 0 Hz to half the rate */
} log_mel_options;

void log_mel_options_defaults(log_mel_options *options);

typedef struct log_mel log_mel;

/* Plans the transforms. Making and freeing are for one thread at a time; log_mel_frames may
 * be called from several at once. ATTN_ERROR_ARGUMENT where an option is outside its
 * range. */
attn_status log_mel_new(const log_mel_options *options, log_mel **made);
void log_mel_free(log_mel *l);

/* Frames that so many samples have: samples / hop, rounded up; 0 samples have none. */
size_t log_mel_count(const log_mel *l, size_t samples);

/* samples [count] -> frames [log_mel_count, bins]. */
attn_status log_mel_frames(const log_mel *l, const float *samples, size_t count, float *frames);

#endif
