/* Sound files of several kinds, rates and channels, and what they look like as log-mel frames. */
#include "test.h"
#include "temporary.h"

#include <math.h>
#include <sndfile.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "data/log_mel.h"
#include "data/sound.h"

static const double PI = 3.14159265358979323846;
static char folder[256];

static int make_folder(void **state) {
    (void)state;
    return temporary_make(folder);
}

static int remove_folder(void **state) {
    (void)state;
    temporary_remove(folder);
    return 0;
}

/* A second of a 440 Hz tone, as loud in the second channel as `second` says. */
static const char *tone(const char *name, int format, int rate, int channels, double second) {
    const char *path = temporary_path(folder, name);
    SF_INFO info = {.samplerate = rate, .channels = channels, .format = format};
    SNDFILE *file = sf_open(path, SFM_WRITE, &info);
    assert_non_null(file);
    for (int i = 0; i < rate; i++) {
        float frame[2];
        frame[0] = (float)(0.5 * sin(2 * PI * 440 * i / rate));
        frame[1] = (float)second * frame[0];
        assert_int_equal(sf_writef_float(file, frame, 1), 1);
    }
    assert_int_equal(sf_close(file), 0);
    return path;
}

/* Largest difference from the tone, away from the ends. */
static double error_of(const sound *s, double loudness) {
    double worst = 0;
    for (size_t i = s->count / 10; i < s->count * 9 / 10; i++) {
        double expected = loudness * sin(2 * PI * 440 * (double)i / s->rate);
        worst = fmax(worst, fabs(s->samples[i] - expected));
    }
    return worst;
}

static void every_kind_rate_and_channel_is_read(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int format, rate, channels;
        double second, loudness, bound;
    } ROWS[] = {{"a.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16, 16000, 1, 0, 0.5, 1e-4},
                {"b.wav", SF_FORMAT_WAV | SF_FORMAT_FLOAT, 8000, 2, 0.5, 0.375, 2e-3},
                {"c.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_U8, 44100, 2, 1, 0.5, 1e-2},
                {"d.flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 48000, 1, 0, 0.5, 2e-3},
                {"e.ogg", SF_FORMAT_OGG | SF_FORMAT_VORBIS, 22050, 1, 0, 0.5, 5e-2}};
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        sound s;
        const char *path = tone(ROWS[i].name, ROWS[i].format, ROWS[i].rate, ROWS[i].channels, ROWS[i].second);
        assert_int_equal(sound_read(path, 16000, 10, &s), ATTN_OK);
        assert_int_equal(s.rate, 16000);
        assert_true(s.count >= 15990 && s.count <= 16001);
        assert_int_equal(s.cut, 0);
        double error = error_of(&s, ROWS[i].loudness);
        if (!(error < ROWS[i].bound)) {
            fail_msg("%s is off by %g", ROWS[i].name, error);
        }
        sound_release(&s);
    }
}

static void long_sounds_are_cut_and_it_is_said(void **state) {
    (void)state;
    sound s;
    const char *path = tone("long.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16, 8000, 1, 0);
    assert_int_equal(sound_read(path, 8000, 0.25, &s), ATTN_OK);
    assert_int_equal(s.count, 2000);
    assert_int_equal(s.cut, 1);
    sound_release(&s);
    assert_int_equal(sound_read(path, 8000, 1, &s), ATTN_OK);
    assert_int_equal(s.count, 8000);
    assert_int_equal(s.cut, 0);
    sound_release(&s);
}

/* A WAV file of 16-bit samples whose header says anything. */
static const char *wav_that_says(unsigned rate, unsigned channels, unsigned data_bytes, unsigned samples) {
    unsigned char bytes[44 + 64] = "RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0";
    const unsigned values[][3] = {{4, 36 + data_bytes, 4}, {22, channels, 2}, {24, rate, 4},
                                  {28, rate * channels * 2, 4}, {32, channels * 2, 2}, {34, 16, 2}, {40, data_bytes, 4}};
    memcpy(bytes + 36, "data", 4);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        for (unsigned b = 0; b < values[i][2]; b++) {
            bytes[values[i][0] + b] = (unsigned char)(values[i][1] >> (8 * b));
        }
    }
    const char *path = temporary_path(folder, "says.wav");
    assert_int_equal(file_replace(path, bytes, 44 + 2 * samples), ATTN_OK);
    return path;
}

static void what_is_no_sound_is_refused(void **state) {
    (void)state;
    sound s;
    assert_int_equal(sound_read(temporary_path(folder, "none.wav"), 16000, 1, &s), ATTN_ERROR_FILE);
    assert_int_equal(sound_read(wav_that_says(0, 1, 8, 4), 16000, 1, &s), ATTN_ERROR_FORMAT);
    assert_int_equal(sound_read(wav_that_says(10000000, 1, 8, 4), 16000, 1, &s), ATTN_ERROR_FORMAT);
    assert_sentence_has("its rate is 10000000 Hz; 1000 to 768000 were expected");
    assert_int_equal(sound_read(wav_that_says(16000, 1, 0, 0), 16000, 1, &s), ATTN_ERROR_FORMAT);
    assert_int_equal(sound_read(wav_that_says(16000, 0, 8, 4), 16000, 1, &s), ATTN_ERROR_FORMAT);
    attn_status status = sound_read(wav_that_says(16000, 1, 4000000000u, 4), 16000, 1, &s); /* what is there is read */
    assert_true(status == ATTN_ERROR_FORMAT || (status == ATTN_OK && s.count <= 32));
    sound_release(&s);
    const char *text = temporary_path(folder, "text.wav");
    assert_int_equal(file_replace(text, "not a sound at all", 18), ATTN_OK);
    assert_int_equal(sound_read(text, 16000, 1, &s), ATTN_ERROR_FORMAT);
    assert_sentence_has("text.wav is not a sound file");
    assert_null(s.samples);
}

/* The definition, in f64 and without a fast transform. */
static double reference(const log_mel_options *o, const float *samples, long count, long t, int bin) {
    double step = 2595 * log10(1 + o->rate / 1400.0) / (o->bins + 1), sum = 0, corner[3];
    for (int i = 0; i < 3; i++) {
        corner[i] = 700 * (pow(10, step * (bin + i) / 2595) - 1);
    }
    for (int f = 0; f <= o->window / 2; f++) {
        double hertz = (double)f * o->rate / o->window, re = 0, im = 0;
        double weight = hertz <= corner[0] || hertz >= corner[2] ? 0
                        : hertz < corner[1] ? (hertz - corner[0]) / (corner[1] - corner[0])
                                            : (corner[2] - hertz) / (corner[2] - corner[1]);
        for (long i = 0; i < o->window && weight > 0; i++) {
            long at = t * o->hop + i - o->window / 2;
            double x = at < 0 || at >= count ? 0 : samples[at] * (0.5 - 0.5 * cos(2 * PI * (double)i / o->window));
            re += x * cos(2 * PI * f * (double)i / o->window);
            im -= x * sin(2 * PI * f * (double)i / o->window);
        }
        sum += weight * (re * re + im * im);
    }
    return log(sum + 1e-6);
}

static void frames_are_those_of_the_definition(void **state) {
    (void)state;
    static const log_mel_options SHAPES[] = {{16000, 400, 160, 80}, {8000, 200, 80, 40}, {8000, 33, 70, 5}};
    for (size_t s = 0; s < sizeof SHAPES / sizeof *SHAPES; s++) {
        enum { COUNT = 1001 };
        float samples[COUNT];
        log_mel *l;
        for (int i = 0; i < COUNT; i++) {
            samples[i] = random_uniform(7, (uint64_t)i) - 0.5f;
        }
        assert_int_equal(log_mel_new(&SHAPES[s], &l), ATTN_OK);
        size_t frames = log_mel_count(l, COUNT), bins = (size_t)SHAPES[s].bins;
        assert_int_equal(frames, (COUNT + SHAPES[s].hop - 1) / SHAPES[s].hop);
        float *values = memory_allocate(frames * bins, sizeof *values);
        assert_int_equal(log_mel_frames(l, samples, COUNT, values), ATTN_OK);
        for (size_t t = 0; t < frames; t += 3) {
            for (size_t b = 0; b < bins; b++) {
                double expected = reference(&SHAPES[s], samples, COUNT, (long)t, (int)b);
                if (!(fabs(values[t * bins + b] - expected) < 2e-4)) {
                    fail_msg("shape %zu, frame %zu, bin %zu is %g, not %g", s, t, b, values[t * bins + b], expected);
                }
            }
        }
        memory_free(values);
        log_mel_free(l);
    }
}

static void silence_has_finite_frames(void **state) {
    (void)state;
    log_mel_options options;
    log_mel *l;
    log_mel_options_defaults(&options);
    assert_int_equal(log_mel_new(&options, &l), ATTN_OK);
    float silence[161] = {0}, frames[2 * 80];
    assert_int_equal(log_mel_count(l, 161), 2);
    assert_int_equal(log_mel_count(l, 0), 0);
    assert_int_equal(log_mel_frames(l, silence, 161, frames), ATTN_OK);
    for (int i = 0; i < 160; i++) {
        assert_true(fabsf(frames[i] - logf(1e-6f)) < 1e-3f);
    }
    log_mel_free(l);
    options.bins = 0;
    assert_int_equal(log_mel_new(&options, &l), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("bins is 0; 1 to 256 was expected");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_rate_and_channel_is_read), cmocka_unit_test(long_sounds_are_cut_and_it_is_said),
        cmocka_unit_test(what_is_no_sound_is_refused), cmocka_unit_test(frames_are_those_of_the_definition),
        cmocka_unit_test(silence_has_finite_frames)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
