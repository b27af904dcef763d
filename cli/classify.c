/* attn classify: each line's label. */
#include <attn/attn.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "ensemble.h"
#include "lines.h"
#include "options.h"

enum { MOST_LINES = 1024, MOST_BYTES = 1 << 20 };

static const command_usage USAGE = {
    "classify", "--model DIR [OPTION]... <TEXTS, or --model DIR [OPTION]... FILE...",
    "Prints a line for each line of standard input: the likeliest label, a tab, and its\n"
    "probability. With a model of pictures or sounds a line for each FILE (PNG, JPEG; WAV,\n"
    "FLAC, OGG): its name, a tab, the label, a tab, its probability.",
    "With --weights a tab and TOKEN=WEIGHT follow for each token: its share of the attention that\n"
    "the label was read from. Weights say where the model looked, not why it decided so\n"
    "(Jain & Wallace 2019); attn explain sets gradients beside them. An empty line gets the\n"
    "label of no words, and is told of. Models given together answer with the mean of their\n"
    "probabilities; --weights then needs lines that they all cut into the same words."};

typedef struct classify_settings {
    const char *models[MOST_MODELS + 1];
    int weights, all, threads;
    size_t lines; /* before those at hand */
} classify_settings;

static void print_warning(void *context, size_t line, const char *sentence) {
    const classify_settings *s = context;
    (void)fprintf(stderr, "attn classify: line %zu: %s\n", s->lines + line, sentence);
}

static void print_text(const attn_model *model, const classify_settings *s, const attn_classification *c, size_t i) {
    size_t best = attn_classification_best(c, i);
    (void)printf("%s\t%.6f", attn_model_label(model, best), attn_classification_probability(c, i, best));
    for (size_t k = 0; s->all && k < attn_model_labels(model); k++) {
        (void)printf("%c%s=%.6f", k ? ' ' : '\t', attn_model_label(model, k), attn_classification_probability(c, i, k));
    }
    for (size_t j = 0; s->weights && j < attn_classification_tokens(c, i); j++) {
        (void)printf("%c%s=%.4f", j ? ' ' : '\t', attn_classification_token(c, i, j), attn_classification_weight(c, i, j));
    }
    (void)putchar('\n');
}

/* Prints nothing where a line has no words in common. */
static int print_texts(const attn_model *model, const classify_settings *s, const attn_classification *c, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (s->weights && attn_classification_tokens(c, i) == 0) {
            (void)fflush(stdout);
            (void)fprintf(stderr, "attn classify: line %zu: the models cut it into different words, so these have no weights; "
                          "ask one model for --weights\n", s->lines + i + 1);
            return EXIT_FAILED;
        }
        print_text(model, s, c, i);
    }
    return EXIT_DONE;
}

static int classify_lines(const ensemble *e, classify_settings *s) {
    const attn_model *const *models = (const attn_model *const *)e->models;
    line_reader reader;
    attn_classification *nothing; /* says whether they fit, before there is a text */
    if (attn_classify_ensemble(models, e->count, NULL, 0, NULL, NULL, &nothing)) {
        return command_failed(&USAGE);
    }
    attn_classification_free(nothing);
    int got, result = EXIT_DONE;
    line_reader_open(&reader, STDIN_FILENO, "attn classify");
    while (result == EXIT_DONE && (got = line_reader_next(&reader, MOST_LINES, MOST_BYTES)) != 0) {
        attn_classification *c = NULL;
        if (got < 0) {
            result = EXIT_FAILED;
        } else if (attn_classify_ensemble(models, e->count, (const char *const *)reader.lines, reader.count, print_warning, s, &c)) {
            result = command_failed(&USAGE);
        }
        if (c) {
            result = print_texts(models[0], s, c, reader.count);
        }
        attn_classification_free(c);
        s->lines += reader.count;
        errno = 0;
        if (result == EXIT_DONE && (fflush(stdout) || ferror(stdout))) {
            (void)fprintf(stderr, "attn classify: standard output cannot be written: %s\n", strerror(errno));
            result = EXIT_FAILED;
        }
    }
    line_reader_close(&reader);
    return result;
}

static void warn_of_file(void *context, size_t number, const char *sentence) {
    (void)number;
    (void)fprintf(stderr, "attn classify: %s: %s\n", (const char *)context, sentence);
}

/* One that cannot be read is told of, and the others are named all the same. */
static int classify_files(const attn_model *model, const classify_settings *s, char **paths, int count) {
    int result = EXIT_DONE;
    for (int i = 0; i < count; i++) {
        attn_classification *c;
        const char *path = paths[i];
        if (attn_classify_files(model, &path, 1, warn_of_file, paths[i], &c)) {
            result = command_failed(&USAGE);
            continue;
        }
        (void)printf("%s\t", path);
        print_text(model, s, c, 0);
        attn_classification_free(c);
        if (fflush(stdout)) {
            (void)fprintf(stderr, "attn classify: standard output cannot be written: %s\n", strerror(errno));
            return EXIT_FAILED;
        }
    }
    return result;
}

/* What is given must be what the model reads. */
static int classify_with(const ensemble *e, classify_settings *s, char **paths, int count) {
    const attn_model *model = e->models[0];
    if (attn_model_labels(model) == 0) {
        (void)usage_error(&USAGE, "%s is no classifier: attn train --task classify makes one", s->models[0]);
        return EXIT_FAILED;
    }
    if (attn_model_input(model) == ATTN_INPUT_TEXT) {
        return count == 0 ? classify_lines(e, s)
                          : usage_error(&USAGE, "\"%.100s\" is not expected; the texts are read from standard input", paths[0]);
    }
    if (e->count > 1) {
        return usage_error(&USAGE, "--model was given %d times: models of texts alone answer together", e->count);
    }
    if (s->weights) {
        return usage_error(&USAGE, "--weights are those of words; attn explain shows where a model of pictures or sounds looked");
    }
    return count > 0 ? classify_files(model, s, paths, count)
                     : usage_error(&USAGE, "no FILE was given: the model reads %s",
                                   attn_model_input(model) == ATTN_INPUT_PICTURE ? "pictures" : "sounds");
}

int command_classify(int argc, char **argv) {
    classify_settings s = {0};
    int operands;
    option_row rows[] = {
        option_strings("model", s.models, MOST_MODELS, "DIR",
                       "the classifier's folder (required); given several times, classifiers of texts with the same labels "
                       "answer together: their probabilities are averaged"),
        option_flag("weights", &s.weights, "print each token's share of the attention"),
        option_flag("all", &s.all, "print the probability of every label"),
        option_without_default(option_int("threads", &s.threads, 0, 1024, "N", "threads (default: all processors)")),
        option_end()};
    options_result parsed = options_parse(&USAGE, rows, argc, argv, &operands);
    if (parsed != OPTIONS_RUN) {
        return parsed == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
    }
    if (!s.models[0]) {
        return usage_error(&USAGE, "--model DIR is missing");
    }
    attn_set_threads(s.threads);
    ensemble together;
    if (ensemble_load(&together, s.models, ATTN_COMPUTE_AUTO)) {
        return command_failed(&USAGE);
    }
    int result = classify_with(&together, &s, argv + operands, argc - operands);
    ensemble_close(&together);
    return result;
}
