/* Translates a file in batches again and again, on request, for bench/translate_ctranslate2.py.
 *
 *   bench_translate MODEL TEXT COMPUTE BEAM LENGTH BATCH THREADS
 *
 * COMPUTE: f32, bf16, int8 or auto. LENGTH: tokens of every translation, its end counted; 0: as
 * the model likes. BATCH: lines a call; 0: all in one. Says "ready", then for each line on
 * standard input translates the whole text and prints the seconds of the processor (which others
 * may use too) and of the clock, and the target tokens. */
#include <attn/attn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_LINES = 1 << 16 };

static void stop(const char *what) {
    (void)fprintf(stderr, "bench_translate: %s\n", what);
    exit(1);
}

static double seconds(clockid_t which) {
    struct timespec t;
    (void)clock_gettime(which, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static size_t read_lines(const char *path, const char **lines) {
    FILE *file = fopen(path, "r");
    size_t count = 0;
    char *line = NULL;
    size_t room = 0;
    if (!file) {
        stop("the text cannot be read");
    }
    while (count < MOST_LINES && getline(&line, &room, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        lines[count++] = line;
        line = NULL;
        room = 0;
    }
    free(line);
    (void)fclose(file);
    return count;
}

static attn_compute compute_of(const char *name) {
    static const char *const NAMES[] = {"auto", "f32", "bf16", "int8"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, NAMES[i]) == 0) {
            return (attn_compute)i;
        }
    }
    stop("COMPUTE is auto, f32, bf16 or int8");
    return ATTN_COMPUTE_AUTO;
}

int main(int argc, char **argv) {
    static const char *lines[MOST_LINES];
    attn_model *model;
    attn_translate_options options;
    if (argc != 8) {
        stop("MODEL TEXT COMPUTE BEAM LENGTH BATCH THREADS");
    }
    attn_set_threads(atoi(argv[7]));
    if (attn_model_load_as(argv[1], compute_of(argv[3]), &model)) {
        stop(attn_last_error());
    }
    const size_t count = read_lines(argv[2], lines), wanted = (size_t)atoi(argv[6]), batch = wanted ? wanted : count;
    attn_translate_options_defaults(&options);
    options.beam = atoi(argv[4]);
    options.min_length = options.max_length = atoi(argv[5]);
    (void)puts("ready");
    (void)fflush(stdout);
    while (getchar() != EOF) {
        size_t tokens = 0;
        const double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), clock = seconds(CLOCK_MONOTONIC);
        for (size_t first = 0; first < count; first += batch) {
            attn_translation *result;
            size_t some = count - first < batch ? count - first : batch;
            if (attn_translate(model, lines + first, some, &options, &result)) {
                stop(attn_last_error());
            }
            tokens += attn_translation_target_tokens(result);
            attn_translation_free(result);
        }
        (void)printf("%.9f %.9f %zu\n", seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu,
                     seconds(CLOCK_MONOTONIC) - clock, tokens);
        (void)fflush(stdout);
    }
    attn_model_free(model);
    for (size_t i = 0; i < count; i++) {
        free((char *)(uintptr_t)lines[i]);
    }
    return 0;
}
