/* attn transcribe: what is said in sound files, or what they are. */
#include <attn/attn.h>
#include <errno.h>
#include <string.h>

#include "commands.h"
#include "options.h"

static const command_usage USAGE = {
    "transcribe", "--model DIR [OPTION]... FILE...",
    "Prints a line for each sound (WAV, FLAC, OGG; any rate): its name, a tab, what is said in it.\n"
    "With a classifier of sounds the likeliest label stands for the text. A file that cannot be\n"
    "read is told of, and the others are written down all the same.",
    NULL};

typedef struct transcribe_settings {
    const char *model;
    int scores, threads;
    attn_translate_options options;
} transcribe_settings;

static void print_warning(void *context, size_t number, const char *sentence) {
    (void)number;
    (void)fprintf(stderr, "attn transcribe: %s: %s\n", *(const char *const *)context, sentence);
}

static int label_file(const attn_model *model, const transcribe_settings *s, const char *path) {
    attn_classification *c;
    if (attn_classify_files(model, &path, 1, print_warning, &path, &c)) {
        return command_failed(&USAGE);
    }
    size_t best = attn_classification_best(c, 0);
    (void)printf("%s\t", path);
    if (s->scores) {
        (void)printf("%.6f\t", attn_classification_probability(c, 0, best));
    }
    (void)printf("%s\n", attn_model_label(model, best));
    attn_classification_free(c);
    return EXIT_DONE;
}

static int write_down_file(const attn_model *model, transcribe_settings *s, const char *path) {
    attn_translation *t;
    s->options.context = &path;
    if (attn_transcribe(model, &path, 1, &s->options, &t)) {
        return command_failed(&USAGE);
    }
    (void)printf("%s\t", path);
    if (s->scores) {
        (void)printf("%.6f\t", attn_translation_score(t, 0, 0));
    }
    (void)printf("%s\n", attn_translation_text(t, 0));
    attn_translation_free(t);
    return EXIT_DONE;
}

static int transcribe_all(const attn_model *model, transcribe_settings *s, char **paths, int count) {
    int result = EXIT_DONE;
    for (int i = 0; i < count; i++) {
        int one = attn_model_transcribes(model) ? write_down_file(model, s, paths[i]) : label_file(model, s, paths[i]);
        result = one == EXIT_DONE ? result : one;
        if (fflush(stdout)) {
            (void)fprintf(stderr, "attn transcribe: standard output cannot be written: %s\n", strerror(errno));
            return EXIT_FAILED;
        }
    }
    return result;
}

int command_transcribe(int argc, char **argv) {
    transcribe_settings s = {0};
    int operands;
    attn_translate_options_defaults(&s.options);
    s.options.warn = print_warning;
    option_row rows[] = {
        option_string("model", &s.model, "DIR", "the model's folder (required)"),
        option_flag("scores", &s.scores, "print the score (of a label its probability) and a tab before the text"),
        option_int("beam", &s.options.beam, 1, 64, "N", "hypotheses kept at each step"),
        option_double("length-penalty", &s.options.length_penalty, -10, 10, "X", "as in attn translate"),
        option_double("length-offset", &s.options.length_offset, 0, 1000, "X", "as in attn translate"),
        option_without_default(option_int("max-length", &s.options.max_length, 1, 1 << 20, "N", "longest text in tokens")),
        option_without_default(option_int("threads", &s.threads, 0, 1024, "N", "threads (default: all processors)")),
        option_end()};
    options_result parsed = options_parse(&USAGE, rows, argc, argv, &operands);
    if (parsed != OPTIONS_RUN) {
        return parsed == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
    }
    if (!s.model) {
        return usage_error(&USAGE, "--model DIR is missing");
    }
    if (operands == argc) {
        return usage_error(&USAGE, "no FILE was given: a sound was expected");
    }
    attn_set_threads(s.threads);
    attn_model *model;
    if (attn_model_load(s.model, &model)) {
        return command_failed(&USAGE);
    }
    int result = EXIT_FAILED;
    if (attn_model_input(model) == ATTN_INPUT_SOUND) {
        result = transcribe_all(model, &s, argv + operands, argc - operands);
    } else {
        (void)fprintf(stderr, "attn transcribe: %s reads no sounds: attn train --task speech makes a model that does\n", s.model);
    }
    attn_model_free(model);
    return result;
}
