/* attn generate: a text goes on. */
#include <attn/attn.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "options.h"

enum { MOST_PROMPT = 64 << 20 }; /* bytes */

static const command_usage USAGE = {
    "generate", "--model DIR --prompt TEXT [OPTION]...",
    "Prints the prompt, and what a language model goes on with, as it comes. Without --prompt,\n"
    "or with -, standard input is the prompt.",
    "--temperature 0 takes the likeliest token each time and draws nothing; below 0 and NaN are refused.\n"
    "Of a prompt longer than the model's positions the end counts; when the positions are full, the\n"
    "older half of what was read is forgotten. The same seed and prompt give the same text."};

typedef struct generate_settings {
    const char *model, *prompt;
    const char *pending; /* the prompt, until something is printed */
    int samples, only, threads, failed;
    attn_generate_options options;
} generate_settings;

static void print_warning(void *context, const char *sentence) {
    (void)context;
    (void)fprintf(stderr, "attn generate: %s\n", sentence);
}

/* Nonzero where the text cannot be written: then it ends. */
static int print_piece(void *context, const char *piece, size_t length) {
    generate_settings *s = context;
    errno = 0;
    if ((s->pending && fputs(s->pending, stdout) < 0) || fwrite(piece, 1, length, stdout) != length || fflush(stdout)) {
        (void)fprintf(stderr, "attn generate: standard output cannot be written: %s\n", strerror(errno));
        s->failed = 1;
    }
    s->pending = NULL;
    return s->failed;
}

/* All of standard input; NULL after saying what is wrong. */
static char *read_prompt(void) {
    char *text = malloc(MOST_PROMPT + 1);
    size_t length = text ? fread(text, 1, MOST_PROMPT + 1, stdin) : 0;
    const char *wrong = !text                  ? "out of memory"
                        : ferror(stdin)        ? "standard input cannot be read"
                        : length > MOST_PROMPT ? "the prompt is longer than 64 MB"
                        : memchr(text, 0, length) ? "the prompt holds a NUL byte; text was expected" : NULL;
    if (wrong) {
        (void)fprintf(stderr, "attn generate: %s\n", wrong);
        free(text);
        return NULL;
    }
    text[length] = '\0';
    return text;
}

static int generate(generate_settings *s, const char *prompt) {
    attn_model *model;
    if (attn_model_load(s->model, &model)) {
        return command_failed(&USAGE);
    }
    attn_status status = ATTN_OK;
    for (int i = 0; i < s->samples && !status && !s->failed; i++) {
        attn_generation *made = NULL;
        s->options.sample = i;
        s->options.warn = i == 0 ? print_warning : NULL;
        if (i > 0) {
            (void)print_piece(s, "---\n", 4);
        }
        s->pending = s->only ? NULL : prompt;
        status = attn_generate(model, prompt, &s->options, &made);
        if (!status) {
            (void)print_piece(s, "\n", 1);
        }
        attn_generation_free(made);
    }
    attn_model_free(model);
    return status ? command_failed(&USAGE) : s->failed ? EXIT_FAILED : EXIT_DONE;
}

int command_generate(int argc, char **argv) {
    generate_settings s = {.samples = 1};
    attn_generate_options *o = &s.options;
    int64_t seed = 1;
    int operands;
    attn_generate_options_defaults(o);
    o->text = print_piece;
    o->context = &s;
    option_row rows[] = {
        option_string("model", &s.model, "DIR", "the language model's folder (required)"),
        option_string("prompt", &s.prompt, "TEXT", "what the text begins with"),
        option_int("max-tokens", &o->max_tokens, 1, 1 << 24, "N", "tokens produced at most"),
        option_double("temperature", &o->temperature, -INFINITY, INFINITY, "X",
                      "logits are divided by it, 0.01 to 100; 0: the likeliest token"),
        option_without_default(option_int("top-k", &o->top_k, 1, 1 << 24, "N", "draw among the N likeliest tokens (default: all)")),
        option_double("top-p", &o->top_p, 1e-6, 1, "P", "draw among the fewest likeliest tokens that reach this probability"),
        option_int64("seed", &seed, 0, INT64_MAX, "N", "another one, another text"),
        option_int("samples", &s.samples, 1, 1 << 20, "N", "independent texts, with a line of --- between"),
        option_flag("no-prompt", &s.only, "print what is new alone"),
        option_without_default(option_int("threads", &s.threads, 0, 1024, "N", "threads (default: all processors)")),
        option_end()};
    options_result parsed = options_parse(&USAGE, rows, argc, argv, &operands);
    if (parsed != OPTIONS_RUN) {
        return parsed == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
    }
    if (operands < argc) {
        return usage_error(&USAGE, "\"%.100s\" is not expected; the prompt is given with --prompt", argv[operands]);
    }
    if (!s.model) {
        return usage_error(&USAGE, "--model DIR is missing");
    }
    o->seed = (uint64_t)seed;
    attn_set_threads(s.threads);
    char *read = s.prompt && strcmp(s.prompt, "-") != 0 ? NULL : read_prompt();
    if (!read && !(s.prompt && strcmp(s.prompt, "-") != 0)) {
        return EXIT_FAILED;
    }
    int result = generate(&s, read ? read : s.prompt);
    free(read);
    return result;
}
