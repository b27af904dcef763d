/* attn score: how likely a model finds given translations. */
#include <attn/attn.h>
#include <errno.h>
#include <string.h>

#include "commands.h"
#include "ensemble.h"
#include "lines.h"
#include "options.h"
#include "translation_print.h"

enum { CHUNK = 4096 };

typedef struct score_settings {
    const char *models[MOST_MODELS + 1], *source, *target;
    int threads;
    print_settings print;
    attn_translate_options options;
    size_t first_line;
} score_settings;

static const command_usage USAGE = {
    "score", "--model DIR --source FILE --target FILE [OPTION]...",
    "Prints a line for each pair of lines: the score that the model gives the target as a\n"
    "translation of the source. A pair with a blank side scores 0.",
    "SCORE = log p / tokens^penalty, as attn translate --scores prints it; with --length-penalty\n"
    "0 it is log p (natural, </s> included). With --token-scores the log-probability of each\n"
    "token, </s> last, follows after a tab."};

static void print_warning(void *context, size_t line, const char *sentence) {
    const score_settings *s = context;
    (void)fprintf(stderr, "attn score: line %zu: %s\n", s->first_line + line, sentence);
}

static int score_lines(const attn_model *model, score_settings *s, const line_list *source, const line_list *target) {
    s->options.context = s;
    for (; s->first_line < source->count; s->first_line += CHUNK) {
        size_t left = source->count - s->first_line, count = left < CHUNK ? left : CHUNK;
        attn_translation *scored;
        if (attn_score_pairs(model, (const char *const *)source->lines + s->first_line,
                             (const char *const *)target->lines + s->first_line, count, &s->options, &scored)) {
            return command_failed(&USAGE);
        }
        errno = 0;
        int failed = print_translations(&s->print, scored, count, s->first_line + 1);
        attn_translation_free(scored);
        if (failed || fflush(stdout) || ferror(stdout)) {
            (void)fprintf(stderr, "attn score: standard output cannot be written: %s\n", strerror(errno));
            return EXIT_FAILED;
        }
    }
    return EXIT_DONE;
}

static int run(score_settings *s) {
    line_list source = {NULL, 0}, target = {NULL, 0};
    ensemble together;
    int result = EXIT_FAILED;
    if (line_list_read(&source, s->source, "attn score") || line_list_read(&target, s->target, "attn score")) {
        result = EXIT_FAILED;
    } else if (source.count != target.count) {
        (void)fprintf(stderr, "attn score: %s has %zu lines, %s has %zu; the same number was expected\n", s->source,
                      source.count, s->target, target.count);
    } else if (ensemble_open(&together, s->models, ATTN_COMPUTE_AUTO, &s->options)) {
        result = command_failed(&USAGE);
    } else {
        result = score_lines(together.models[0], s, &source, &target);
        ensemble_close(&together);
    }
    line_list_free(&source);
    line_list_free(&target);
    return result;
}

int command_score(int argc, char **argv) {
    score_settings s = {.print = {.scores = 1, .no_text = 1}};
    attn_translate_options_defaults(&s.options);
    s.options.warn = print_warning;
    static const char *const ALIGNMENTS[] = {"none", "words", "tokens", NULL};
    int operands;
    option_row rows[] = {
        option_strings("model", s.models, MOST_MODELS, "DIR",
                       "the model's folder (required); given several times: as in attn translate"),
        option_string("source", &s.source, "FILE", "source sentences, one a line (required)"),
        option_string("target", &s.target, "FILE", "their translations (required)"),
        option_double("length-penalty", &s.options.length_penalty, -10, 10, "X", "as in attn translate"),
        option_double("length-offset", &s.options.length_offset, 0, 1000, "X", "as in attn translate"),
        option_flag("token-scores", &s.print.token_scores, "print the score of each token behind it"),
        option_choice("alignment", &s.print.alignment, ALIGNMENTS,
                      "print which source word (or token) each target one looked at most"),
        option_without_default(option_int("layer", &s.options.alignment_layer, 0, 1023, "N",
                                          "the decoder layer that aligns (default: the last)")),
        option_without_default(option_int("head", &s.options.alignment_head, 0, 1023, "N",
                                          "the head that aligns (default: the mean of all)")),
        option_flag("json", &s.print.json, "print a JSON object a line: text, scores, tokens"),
        option_int("batch-tokens", &s.options.batch_tokens, 1, 1 << 24, "N",
                   "source tokens that a thread takes at once; changes no result"),
        option_without_default(option_int("threads", &s.threads, 0, 1024, "N", "threads (default: all processors)")),
        option_end()};
    options_result parsed = options_parse(&USAGE, rows, argc, argv, &operands);
    if (parsed != OPTIONS_RUN) {
        return parsed == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
    }
    if (operands < argc) {
        return usage_error(&USAGE, "\"%.100s\" is not expected", argv[operands]);
    }
    if (!s.models[0] || !s.source || !s.target) {
        return usage_error(&USAGE, "--model DIR, --source FILE and --target FILE were expected");
    }
    s.options.alignment = s.print.alignment;
    attn_set_threads(s.threads);
    return run(&s);
}
