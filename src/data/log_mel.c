#include "data/log_mel.h"

#include <complex.h>
#include <fftw3.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"

enum { LONGEST_WINDOW = 65536, MOST_BINS = 256 };
static const float FLOOR = 1e-6f;
static const double PI = 3.14159265358979323846;

struct log_mel {
    log_mel_options options;
    int spectrum;     /* window / 2 + 1 */
    float *window;    /* [options.window] */
    float *triangles; /* [bins, spectrum] */
    fftwf_plan plan;
};

void log_mel_options_defaults(log_mel_options *options) {
    *options = (log_mel_options){.rate = 16000, .window = 400, .hop = 160, .bins = 80};
}

static attn_status check(const log_mel_options *o) {
    const struct {
        const char *name;
        int value, least, most;
    } ranges[] = {{"rate", o->rate, 1000, 768000},
                  {"window", o->window, 2, LONGEST_WINDOW},
                  {"hop", o->hop, 1, LONGEST_WINDOW},
                  {"bins", o->bins, 1, MOST_BINS}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (ranges[i].value < ranges[i].least || ranges[i].value > ranges[i].most) {
            return fail(ATTN_ERROR_ARGUMENT, "log-mel frames: %s is %d; %d to %d was expected", ranges[i].name,
                        ranges[i].value, ranges[i].least, ranges[i].most);
        }
    }
    return ATTN_OK;
}

static double mel_of(double hertz) {
    return 2595 * log10(1 + hertz / 700);
}

static double hertz_of(double mel) {
    return 700 * (pow(10, mel / 2595) - 1);
}

/* Triangle b rises from corner b to corner b + 1 and falls to corner b + 2. */
static void make_triangles(log_mel *l) {
    const log_mel_options *o = &l->options;
    double step = mel_of(o->rate / 2.0) / (o->bins + 1);
    for (int b = 0; b < o->bins; b++) {
        double low = hertz_of(step * b), top = hertz_of(step * (b + 1)), high = hertz_of(step * (b + 2));
        for (int f = 0; f < l->spectrum; f++) {
            double hertz = (double)f * o->rate / o->window;
            double rise = (hertz - low) / (top - low), fall = (high - hertz) / (high - top);
            l->triangles[b * l->spectrum + f] = (float)fmax(0, fmin(rise, fall));
        }
    }
}

attn_status log_mel_new(const log_mel_options *options, log_mel **made) {
    *made = NULL;
    attn_status status = check(options);
    log_mel *l = status ? NULL : memory_allocate(1, sizeof *l);
    if (!l) {
        return status ? status : ATTN_ERROR_MEMORY;
    }
    l->options = *options;
    l->spectrum = options->window / 2 + 1;
    l->window = memory_allocate((size_t)options->window, sizeof *l->window);
    l->triangles = memory_allocate((size_t)options->bins * (size_t)l->spectrum, sizeof *l->triangles);
    float *in = memory_allocate((size_t)options->window, sizeof *in);
    fftwf_complex *out = memory_allocate((size_t)l->spectrum, sizeof *out);
    if (l->window && l->triangles && in && out) {
        /* FFTW_ESTIMATE measures nothing, so that the same plan is made every time. */
        l->plan = fftwf_plan_dft_r2c_1d(options->window, in, out, FFTW_ESTIMATE);
    }
    memory_free(in);
    memory_free(out);
    if (!l->plan) {
        log_mel_free(l);
        return ATTN_ERROR_MEMORY;
    }
    for (int i = 0; i < options->window; i++) {
        l->window[i] = (float)(0.5 - 0.5 * cos(2 * PI * i / options->window));
    }
    make_triangles(l);
    *made = l;
    return ATTN_OK;
}

void log_mel_free(log_mel *l) {
    if (l) {
        if (l->plan) {
            fftwf_destroy_plan(l->plan);
        }
        memory_free(l->window);
        memory_free(l->triangles);
        memory_free(l);
    }
}

size_t log_mel_count(const log_mel *l, size_t samples) {
    size_t hop = (size_t)l->options.hop;
    return samples / hop + (samples % hop > 0);
}

/* The window around sample `centre`. */
static void cut_frame(const log_mel *l, const float *samples, size_t count, size_t centre, float *frame) {
    size_t length = (size_t)l->options.window, half = length / 2;
    for (size_t i = 0; i < length; i++) {
        size_t at = centre + i; /* half too far on */
        frame[i] = at >= half && at - half < count ? samples[at - half] * l->window[i] : 0;
    }
}

static void to_mel(const log_mel *l, const fftwf_complex *spectrum, float *power, float *bins) {
    for (int f = 0; f < l->spectrum; f++) {
        float re = crealf(spectrum[f]), im = cimagf(spectrum[f]);
        power[f] = re * re + im * im;
    }
    for (int b = 0; b < l->options.bins; b++) {
        const float *triangle = l->triangles + (size_t)b * (size_t)l->spectrum;
        float sum = 0;
        for (int f = 0; f < l->spectrum; f++) {
            sum += triangle[f] * power[f];
        }
        bins[b] = logf(sum + FLOOR);
    }
}

attn_status log_mel_frames(const log_mel *l, const float *samples, size_t count, float *frames) {
    float *frame = memory_allocate((size_t)l->options.window, sizeof *frame);
    fftwf_complex *spectrum = memory_allocate((size_t)l->spectrum, sizeof *spectrum);
    float *power = memory_allocate((size_t)l->spectrum, sizeof *power);
    attn_status status = frame && spectrum && power ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (size_t t = 0; t < log_mel_count(l, count) && !status; t++) {
        cut_frame(l, samples, count, t * (size_t)l->options.hop, frame);
        fftwf_execute_dft_r2c(l->plan, frame, spectrum);
        to_mel(l, (const fftwf_complex *)spectrum, power, frames + t * (size_t)l->options.bins);
    }
    memory_free(frame);
    memory_free(spectrum);
    memory_free(power);
    return status;
}
