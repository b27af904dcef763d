/* attn translate: a line in, a line out, in order, always the same count. Lines are
 * taken in chunks: as many as are there to be read, so that a person or program that
 * waits for each answer gets it. */
#include <attn/attn.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "lines.h"
#include "options.h"

enum { CHUNK_LINES = 2048, CHUNK_BYTES = 4 << 20 };

typedef struct translate_settings {
    const char *model;
    int scores, threads;
    attn_translate_options options;
    size_t first_line; /* of the chunk, for warnings */
} translate_settings;

static const char SYNOPSIS[] = "--model DIR [OPTION]... <IN >OUT";
static const char SUMMARY[] = "Translates standard input: a line in, a line out; empty lines stay empty.";
static const char NOTES[] =
    "With --scores a line is SCORE<tab>TRANSLATION, where SCORE = log p / tokens^penalty.\n"
    "With --n-best N each input line gives up to N lines, best first:\n"
    "LINE<tab>RANK<tab>SCORE<tab>TRANSLATION, LINE and RANK counted from 1.\n"
    "A line longer than the model's positions is cut, with a warning.";
static const command_usage USAGE = {"translate", SYNOPSIS, SUMMARY, NOTES};

static void print_warning(void *context, size_t line, const char *sentence) {
    const translate_settings *s = context;
    (void)fprintf(stderr, "attn translate: line %zu: %s\n", s->first_line + line, sentence);
}

static int write_failed(void) {
    (void)fprintf(stderr, "attn translate: standard output cannot be written: %s\n", strerror(errno));
    return EXIT_FAILED;
}

static void print_results(const translate_settings *s, const attn_translation *result, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (s->options.n_best > 1) {
            const char *text;
            for (int rank = 0; (text = attn_translation_ranked(result, i, rank)); rank++) {
                (void)printf("%zu\t%d\t%.6f\t%s\n", s->first_line + i + 1, rank + 1,
                             attn_translation_score(result, i, rank), text);
            }
        } else if (s->scores) {
            (void)printf("%.6f\t%s\n", attn_translation_score(result, i, 0), attn_translation_text(result, i));
        } else {
            (void)puts(attn_translation_text(result, i));
        }
    }
}

static int translate_chunk(const attn_model *model, translate_settings *s, const line_reader *reader) {
    attn_translation *result;
    s->options.context = s;
    if (attn_translate(model, (const char *const *)reader->lines, reader->count, &s->options, &result)) {
        return command_failed(&USAGE);
    }
    errno = 0;
    print_results(s, result, reader->count);
    attn_translation_free(result);
    s->first_line += reader->count;
    return fflush(stdout) || ferror(stdout) ? write_failed() : EXIT_DONE;
}

static int run(translate_settings *s) {
    attn_model *model;
    if (attn_model_load(s->model, &model)) {
        return command_failed(&USAGE);
    }
    line_reader reader;
    line_reader_open(&reader, STDIN_FILENO, "attn translate");
    int result = EXIT_DONE;
    while (result == EXIT_DONE) {
        int more = line_reader_next(&reader, CHUNK_LINES, CHUNK_BYTES);
        if (more < 0) {
            result = EXIT_FAILED;
        } else if (more == 0) {
            break;
        } else {
            result = translate_chunk(model, s, &reader);
        }
    }
    line_reader_close(&reader);
    attn_model_free(model);
    return result;
}

int command_translate(int argc, char **argv) {
    translate_settings s = {0};
    attn_translate_options_defaults(&s.options);
    attn_translate_options *o = &s.options;
    o->warn = print_warning;
    int operands;
    option_row rows[] = {
        option_string("model", &s.model, "DIR", "the model's folder (required)"),
        option_int("beam", &o->beam, 1, 64, "N", "hypotheses kept at each step; 1 is greedy and fastest"),
        option_double("length-penalty", &o->length_penalty, -10, 10, "X",
                      "a hypothesis of L tokens scores log p / L^X: more favours longer ones"),
        option_without_default(option_int("max-length", &o->max_length, 1, 1 << 20, "N",
                                          "longest translation in tokens (default: what the model allows, at most twice "
                                          "the source and 32 more)")),
        option_int("min-length", &o->min_length, 0, 1 << 20, "N", "shortest translation in tokens, its end counted"),
        option_flag("scores", &s.scores, "print each translation's score before it"),
        option_int("n-best", &o->n_best, 1, 64, "N", "print the N best translations of each line"),
        option_int("batch-tokens", &o->batch_tokens, 1, 1 << 24, "N",
                   "source tokens that a thread translates at once; changes no result"),
        option_without_default(option_int("threads", &s.threads, 0, 1024, "N", "threads (default: all processors)")),
        option_end()};
    options_result parsed = options_parse(&USAGE, rows, argc, argv, &operands);
    if (parsed != OPTIONS_RUN) {
        return parsed == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
    }
    if (operands < argc) {
        return usage_error(&USAGE, "\"%.100s\" is not expected: text is read from standard input", argv[operands]);
    }
    if (!s.model) {
        return usage_error(&USAGE, "--model DIR is missing");
    }
    if (o->n_best > o->beam) {
        if (options_find(rows, "beam")->given) {
            return usage_error(&USAGE, "--n-best is %d, at most --beam (%d) was expected", o->n_best, o->beam);
        }
        o->beam = o->n_best;
    }
    attn_set_threads(s.threads);
    return run(&s);
}
