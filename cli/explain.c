/* attn explain: where a translation looked. */
#include <attn/attn.h>
#include <string.h>
#include <unistd.h>
#include <stdlib.h>

#include "commands.h"
#include "explain_file.h"
#include "lines.h"
#include "options.h"

static const command_usage USAGE = {
    "explain", "--model DIR [OPTION]... TEXT, or FILE",
    "Translates TEXT and shows where each produced token looked in the source. Of a classifier's\n"
    "label, a language model's next token, and with --attribution a translation: how much attention\n"
    "each of TEXT's tokens got, rollout (Abnar & Zuidema 2020), and gradient times input, which may\n"
    "disagree. Without TEXT, or with -, the first line of standard input is taken.",
    "With a model of pictures or sounds FILE is one (PNG, JPEG; WAV, FLAC, OGG): its label, and\n"
    "where the model looked, by layer and head, rolled out over all layers (Abnar & Zuidema\n"
    "2020), and gradient times input beside them.\n"
    "The table has a row for each produced token, a column for each source token."};

typedef struct explain_settings {
    const char *model, *target, *html, *png, *label;
    int json, attribution, layer, head, colour, threads;
    attn_translate_options options;
} explain_settings;

static void print_warning(void *context, size_t line, const char *sentence) {
    (void)context;
    (void)line;
    (void)fprintf(stderr, "attn explain: %s\n", sentence);
}

static int use_colour(int choice) {
    const char *none = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return choice == 1 || (choice == 0 && isatty(STDOUT_FILENO) && !(none && *none) &&
                           terminal && strcmp(terminal, "dumb") != 0);
}

static attn_status show(const attn_explanation *e, const explain_settings *s) {
    if (s->json) {
        return attn_explanation_write_json(e, stdout);
    }
    (void)printf("%s\n\n", attn_explanation_text(e));
    return attn_explanation_write_terminal(e, s->layer, s->head, use_colour(s->colour), stdout);
}

static int explain_signal(const explain_settings *s, const attn_model *model, const char *path) {
    explain_file_settings o = {s->label, s->png, s->html, s->json, s->layer, s->head, use_colour(s->colour)};
    return s->target || s->attribution ? usage_error(&USAGE, s->target ? "--target is for a model that translates"
                                                                       : "--attribution is for a model of texts")
                                       : explain_file(&USAGE, model, path, &o);
}

static attn_status page_written(const char *path, attn_status status) {
    if (!status) {
        (void)fprintf(stderr, "%s: every layer and head, to be opened in a browser\n", path);
    }
    return status;
}

/* What an answer rests on. */
static int attribute(const explain_settings *s, const attn_model *model, const char *text) {
    attn_attribution *a = NULL;
    if (s->png) {
        return usage_error(&USAGE, "--png draws translations, pictures and sounds; here --html is a page of everything");
    }
    if (s->label && s->target) {
        return usage_error(&USAGE, "--label is for a classifier, --target for a model that translates");
    }
    attn_status status = attn_attribute(model, text, s->label ? s->label : s->target, &s->options, &a);
    status = status ? status : s->json ? attn_attribution_write_json(a, stdout)
                                       : attn_attribution_write_terminal(a, s->layer, s->head, stdout);
    status = status || !s->html ? status : page_written(s->html, attn_attribution_write_html(a, s->html));
    attn_attribution_free(a);
    return status ? command_failed(&USAGE) : fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}

static int explain_text(const explain_settings *s, const char *text) {
    attn_model *model;
    attn_explanation *e = NULL;
    if (attn_model_load(s->model, &model)) {
        return command_failed(&USAGE);
    }
    if (attn_model_input(model) != ATTN_INPUT_TEXT && !attn_model_transcribes(model)) {
        int result = explain_signal(s, model, text);
        attn_model_free(model);
        return result;
    }
    if (s->attribution || attn_model_labels(model) > 0 || attn_model_generates(model)) {
        int result = attribute(s, model, text);
        attn_model_free(model);
        return result;
    }
    if (s->label) {
        attn_model_free(model);
        return usage_error(&USAGE, "--label is for a model of labels");
    }
    attn_status status = attn_model_transcribes(model) ? attn_explain_speech(model, text, s->target, &s->options, &e)
                                                       : attn_explain(model, text, s->target, &s->options, &e);
    status = status ? status : show(e, s);
    status = status || !s->html ? status : page_written(s->html, attn_explanation_write_html(e, s->html));
    status = status || !s->png ? status : attn_explanation_write_png(e, s->png);
    attn_explanation_free(e);
    attn_model_free(model);
    return status ? command_failed(&USAGE) : fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}

static int explain_first_line(const explain_settings *s) {
    line_reader reader;
    line_reader_open(&reader, STDIN_FILENO, "attn explain");
    int got = line_reader_next(&reader, 1, 1);
    int result = EXIT_FAILED;
    if (got > 0) {
        result = explain_text(s, reader.lines[0]);
    } else if (got == 0) {
        (void)fputs("attn explain: standard input is empty, a line of text was expected\n", stderr);
    }
    line_reader_close(&reader);
    return result;
}

int command_explain(int argc, char **argv) {
    static const char *const COLOURS[] = {"auto", "always", "never", NULL};
    explain_settings s = {.layer = -1, .head = -1};
    attn_translate_options_defaults(&s.options);
    s.options.warn = print_warning;
    int operands;
    option_row rows[] = {
        option_string("model", &s.model, "DIR", "the model's folder (required)"),
        option_string("target", &s.target, "TEXT", "look at this translation instead of the model's own"),
        option_string("html", &s.html, "FILE", "also write a page with every layer and head"),
        option_string("png", &s.png, "FILE", "also write all maps as a picture: of pictures and sounds over them, of texts cross-attention"),
        option_string("label", &s.label, "NAME", "classes: explain this label instead of the likeliest"),
        option_flag("attribution", &s.attribution, "of a translation too: what each of its tokens rests on"),
        option_flag("json", &s.json, "print tokens and all weights as JSON instead of the table"),
        option_without_default(option_int("layer", &s.layer, 0, 1023, "N", "the table's layer (default: the last)")),
        option_without_default(option_int("head", &s.head, 0, 1023, "N", "the table's head (default: the mean of all)")),
        option_choice("color", &s.colour, COLOURS, "paint the table; auto: on a terminal"),
        option_int("beam", &s.options.beam, 1, 64, "N", "hypotheses kept at each step"),
        option_double("length-penalty", &s.options.length_penalty, -10, 10, "X", "as in attn translate"),
        option_without_default(option_int("max-length", &s.options.max_length, 1, 1 << 20, "N",
                                          "longest translation in tokens")),
        option_without_default(option_int("threads", &s.threads, 0, 1024, "N", "threads (default: all processors)")),
        option_end()};
    options_result parsed = options_parse(&USAGE, rows, argc, argv, &operands);
    if (parsed != OPTIONS_RUN) {
        return parsed == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
    }
    if (!s.model) {
        return usage_error(&USAGE, "--model DIR is missing");
    }
    if (argc - operands > 1) {
        return usage_error(&USAGE, "%d texts were given, one was expected; put it in quotes", argc - operands);
    }
    attn_set_threads(s.threads);
    const char *text = operands < argc ? argv[operands] : "-";
    return strcmp(text, "-") == 0 ? explain_first_line(&s) : explain_text(&s, text);
}
