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
#include "ensemble.h"
#include "glossary.h"
#include "lines.h"
#include "options.h"
#include "pieces.h"
#include "translate_html.h"
#include "translation_print.h"

enum { CHUNK_LINES = 2048, CHUNK_BYTES = 4 << 20 };

typedef struct translate_settings {
    const char *models[MOST_MODELS + 1], *prefix_file, *require_file, *forbid_file, *glossary_file;
    int compute, threads, split, html;
    print_settings print;
    attn_translate_options options;
    line_list prefixes, required, forbidden;
    glossary glossary;
    text_pieces pieces; /* this chunk's sentences, with --split-sentences */
    size_t first_line;  /* lines before this chunk */
} translate_settings;

static const char SYNOPSIS[] = "--model DIR [OPTION]... <IN >OUT";
static const char SUMMARY[] = "Translates standard input: a line in, a line out; empty lines stay empty.";
static const char NOTES[] =
    "With --scores a line is SCORE<tab>TRANSLATION, where SCORE = log p / tokens^penalty\n"
    "(see --length-offset).\n"
    "With --n-best N each input line gives up to N lines, best first:\n"
    "LINE<tab>RANK<tab>SCORE<tab>TRANSLATION, LINE and RANK counted from 1.\n"
    "With --token-scores the natural log-probability of each token, </s> last, follows\n"
    "after a tab; with --alignment then, after another, SOURCE-TARGET pairs counted from 0.\n"
    "With --sample a text's translations depend on it and the seed alone.\n"
    "A line longer than the model's positions is cut, with a warning.\n"
    "With --format html all of standard input is one document. Texts between block tags are\n"
    "translated sentence by sentence; inline tags go round the words that translate theirs, by\n"
    "cross-attention (--layer, --head). Attributes (alt, title too), comments, script, style, pre, code,\n"
    "textarea and what is marked translate=\"no\" or notranslate stay as they are.";
static const command_usage USAGE = {"translate", SYNOPSIS, SUMMARY, NOTES};

static void print_warning(void *context, size_t line, const char *sentence) {
    const translate_settings *s = context;
    line = s->split ? s->pieces.lines[line - 1] + 1 : line;
    (void)fprintf(stderr, "attn translate: line %zu: %s\n", s->first_line + line, sentence);
}

static int write_failed(void) {
    (void)fprintf(stderr, "attn translate: standard output cannot be written: %s\n", strerror(errno));
    return EXIT_FAILED;
}

/* The lines of a file that belong to this chunk's, or NULL where no file was given. */
static int find_lines(const translate_settings *s, const char *file, const line_list *lines, size_t count,
                      const char *const **found) {
    *found = NULL;
    if (file && lines->count < s->first_line + count) {
        (void)fprintf(stderr, "attn translate: %s has %zu lines, standard input has more\n", file, lines->count);
        return -1;
    }
    if (file) {
        *found = (const char *const *)(lines->lines + s->first_line);
    }
    return 0;
}

/* What the glossary requires of each text, to be freed with release_required; NULL: failed. */
static char **find_required(const glossary *g, char *const *texts, size_t count) {
    char **required = calloc(count + 1, sizeof *required);
    for (size_t i = 0; i < count && required; i++) {
        required[i] = glossary_find(g, texts[i]);
        if (!required[i]) {
            while (i-- > 0) {
                free(required[i]);
            }
            free(required);
            required = NULL;
            break;
        }
    }
    if (!required) {
        (void)fputs("attn translate: out of memory\n", stderr);
    }
    return required;
}

static void release_required(char **required, size_t count) {
    for (size_t i = 0; i < count && required; i++) {
        free(required[i]);
    }
    free(required);
}

static int translate_texts(const attn_model *model, translate_settings *s, char *const *texts, size_t count,
                           attn_translation **result) {
    char **required = NULL;
    if (s->glossary_file) {
        required = find_required(&s->glossary, texts, count);
        if (!required) {
            return EXIT_FAILED;
        }
        s->options.required = (const char *const *)required;
    }
    attn_status status = attn_translate(model, (const char *const *)texts, count, &s->options, result);
    release_required(required, count);
    return status ? command_failed(&USAGE) : EXIT_DONE;
}

static int translate_chunk(const attn_model *model, translate_settings *s, const line_reader *reader) {
    attn_translation *result;
    s->options.context = s;
    if (find_lines(s, s->prefix_file, &s->prefixes, reader->count, &s->options.prefixes) ||
        find_lines(s, s->require_file, &s->required, reader->count, &s->options.required) ||
        (s->split && pieces_make(&s->pieces, reader->lines, reader->count))) {
        return EXIT_FAILED;
    }
    int failed = translate_texts(model, s, s->split ? s->pieces.texts : reader->lines,
                                 s->split ? s->pieces.count : reader->count, &result);
    if (failed) {
        pieces_free(&s->pieces);
        return failed;
    }
    errno = 0;
    if (s->split) {
        pieces_print(&s->pieces, reader->lines, reader->count, result);
    } else {
        failed = print_translations(&s->print, result, reader->count, s->first_line + 1);
    }
    pieces_free(&s->pieces);
    attn_translation_free(result);
    s->first_line += reader->count;
    return failed ? EXIT_FAILED : fflush(stdout) || ferror(stdout) ? write_failed() : EXIT_DONE;
}

static int read_files(translate_settings *s) {
    if ((s->prefix_file && line_list_read(&s->prefixes, s->prefix_file, "attn translate")) ||
        (s->require_file && line_list_read(&s->required, s->require_file, "attn translate")) ||
        (s->forbid_file && line_list_read(&s->forbidden, s->forbid_file, "attn translate")) ||
        (s->glossary_file && glossary_read(&s->glossary, s->glossary_file, "attn translate"))) {
        return -1;
    }
    s->options.forbidden = (const char *const *)s->forbidden.lines;
    s->options.forbidden_count = s->forbidden.count;
    return 0;
}

static int translate_input(translate_settings *s) {
    ensemble together;
    if (ensemble_open(&together, s->models, (attn_compute)s->compute, &s->options)) {
        return command_failed(&USAGE);
    }
    if (s->html) {
        int failed = translate_html(&USAGE, together.models[0], &s->options);
        ensemble_close(&together);
        return failed;
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
            result = translate_chunk(together.models[0], s, &reader);
        }
    }
    line_reader_close(&reader);
    ensemble_close(&together);
    return result;
}

static int run(translate_settings *s) {
    int result = read_files(s) ? EXIT_FAILED : translate_input(s);
    line_list_free(&s->prefixes);
    line_list_free(&s->required);
    line_list_free(&s->forbidden);
    glossary_free(&s->glossary);
    return result;
}

/* What the rows cannot say of one another. */
static int check_together(translate_settings *s, const option_row *rows) {
    attn_translate_options *o = &s->options;
    static const char *const OF_SAMPLING[] = {"temperature", "top-k", "top-p", "seed"};
    for (size_t i = 0; i < sizeof OF_SAMPLING / sizeof *OF_SAMPLING; i++) {
        if (options_find(rows, OF_SAMPLING[i])->given && !o->sample) {
            return usage_error(&USAGE, "--%s is of use with --sample alone", OF_SAMPLING[i]);
        }
    }
    if (o->sample && options_find(rows, "beam")->given) {
        return usage_error(&USAGE, "--beam and --sample exclude one another; --n-best is the number of samples");
    }
    if (o->sample && s->require_file) {
        return usage_error(&USAGE, "--require-file and --sample exclude one another");
    }
    if (s->glossary_file && (s->require_file || o->sample)) {
        return usage_error(&USAGE, "--glossary and --%s exclude one another", o->sample ? "sample" : "require-file");
    }
    static const char *const OF_LINES[] = {"n-best", "scores", "token-scores", "alignment", "json", "prefix-file", "require-file"};
    for (size_t i = 0; i < sizeof OF_LINES / sizeof *OF_LINES && s->split; i++) {
        if (options_find(rows, OF_LINES[i])->given) {
            return usage_error(&USAGE, "--split-sentences and --%s exclude one another", OF_LINES[i]);
        }
    }
    static const char *const OF_TEXT[] = {"n-best",      "scores",       "token-scores", "alignment",       "json",
                                          "prefix-file", "require-file", "glossary",     "replace-unknown", "split-sentences"};
    for (size_t i = 0; i < sizeof OF_TEXT / sizeof *OF_TEXT && s->html; i++) {
        if (options_find(rows, OF_TEXT[i])->given) {
            return usage_error(&USAGE, "--format html and --%s exclude one another", OF_TEXT[i]);
        }
    }
    if (o->n_best > o->beam && !o->sample) {
        if (options_find(rows, "beam")->given) {
            return usage_error(&USAGE, "--n-best is %d, at most --beam (%d) was expected", o->n_best, o->beam);
        }
        o->beam = o->n_best;
    }
    s->print.n_best = o->n_best > 1;
    s->print.scores |= s->print.n_best;
    return 0;
}

int command_translate(int argc, char **argv) {
    translate_settings s = {0};
    attn_translate_options_defaults(&s.options);
    attn_translate_options *o = &s.options;
    o->warn = print_warning;
    int operands;
    int64_t seed = 1;
    static const char *const ALIGNMENTS[] = {"none", "words", "tokens", NULL};
    static const char *const FORMATS[] = {"text", "html", NULL};
    option_row rows[] = {
        option_heading("Options"),
        option_strings("model", s.models, MOST_MODELS, "DIR",
                       "the model's folder (required); given several times, models of one vocabulary translate "
                       "together: their logits are averaged"),
        option_choice("compute-type", &s.compute, OPTION_COMPUTE_TYPES,
                      "of matrix products; auto: int8 for a model of attn quantize, else f32"),
        option_int("batch-tokens", &o->batch_tokens, 1, 1 << 24, "N",
                   "source tokens that a thread translates at once; changes no result"),
        option_without_default(option_int("threads", &s.threads, 0, 1024, "N", "threads (default: all processors)")),
        option_heading("Searching"),
        option_int("beam", &o->beam, 1, 64, "N", "hypotheses kept at each step; 1 is greedy and fastest"),
        option_double("length-penalty", &o->length_penalty, -10, 10, "X",
                      "a hypothesis of L tokens scores log p / L^X: more favours longer ones"),
        option_double("length-offset", &o->length_offset, 0, 1000, "X",
                      "above 0: L^X becomes ((offset + L) / (offset + 1))^X; 5, with a penalty of 0.6, is Wu et al.'s (2016)"),
        option_without_default(option_int("max-length", &o->max_length, 1, 1 << 20, "N",
                                          "longest translation in tokens (default: what the model allows, at most twice "
                                          "the source and 32 more)")),
        option_int("min-length", &o->min_length, 0, 1 << 20, "N", "shortest translation in tokens, its end counted"),
        option_double("coverage-penalty", &o->coverage_penalty, 0, 10, "X",
                      "above 0: a translation that never looked at part of its source scores less (0.2 is usual)"),
        option_double("repetition-penalty", &o->repetition_penalty, 0.1, 10, "X",
                      "above 1: what a translation holds already becomes less likely"),
        option_without_default(option_int("no-repeat-ngram", &o->no_repeat_ngram, 1, 1 << 20, "N",
                                          "never produce the same N tokens twice")),
        option_heading("Sampling"),
        option_flag("sample", &o->sample, "draw each token instead of searching; --n-best N: N samples"),
        option_double("temperature", &o->temperature, 0.01, 100, "X",
                      "logits are divided by it; near 0 is greedy (which --beam 1 is)"),
        option_without_default(option_int("top-k", &o->top_k, 1, 1 << 24, "N", "draw from the N likeliest tokens")),
        option_double("top-p", &o->top_p, 1e-6, 1, "X",
                      "draw from the fewest likeliest tokens whose probabilities reach X"),
        option_int64("seed", &seed, 0, INT64_MAX, "N", "another seed, other samples"),
        option_heading("What the translation must hold"),
        option_string("prefix-file", &s.prefix_file, "FILE",
                      "a line for each line of input: what its translation begins with (empty: anything)"),
        option_string("require-file", &s.require_file, "FILE",
                      "a line for each line of input: phrases that its translation holds, with tabs between; "
                      "good with a beam above the number of their tokens"),
        option_string("forbid-file", &s.forbid_file, "FILE", "words or phrases, one a line, that no translation holds"),
        option_string("glossary", &s.glossary_file, "FILE",
                      "lines of a source phrase, a tab and its translation: where a text holds the phrase, its "
                      "translation holds that (the first 32 of a text); good with a larger beam"),
        option_heading("Input"),
        option_choice("format", &s.html, FORMATS,
                      "html: a document or fragment, whose markup is kept and put back in place"),
        option_flag("split-sentences", &s.split,
                    "translate the sentences of a line apart, and join them as they stood"),
        option_heading("Output"),
        option_int("n-best", &o->n_best, 1, 64, "N", "print the N best translations of each line"),
        option_flag("scores", &s.print.scores, "print each translation's score before it"),
        option_flag("token-scores", &s.print.token_scores, "print the score of each token behind it"),
        option_choice("alignment", &s.print.alignment, ALIGNMENTS,
                      "print behind each translation which source word (or token) each of its own looked at most"),
        option_without_default(option_int("layer", &o->alignment_layer, 0, 1023, "N",
                                          "the decoder layer that aligns (default: the last)")),
        option_without_default(option_int("head", &o->alignment_head, 0, 1023, "N",
                                          "the head that aligns (default: the mean of all)")),
        option_flag("replace-unknown", &o->replace_unknown, "put the source's text in the place of unknown words"),
        option_flag("json", &s.print.json, "print a JSON object a line: text, scores, tokens"),
        option_end()};
    options_result parsed = options_parse(&USAGE, rows, argc, argv, &operands);
    if (parsed != OPTIONS_RUN) {
        return parsed == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
    }
    if (operands < argc) {
        return usage_error(&USAGE, "\"%.100s\" is not expected: text is read from standard input", argv[operands]);
    }
    if (!s.models[0]) {
        return usage_error(&USAGE, "--model DIR is missing");
    }
    if (check_together(&s, rows)) {
        return EXIT_USAGE;
    }
    o->seed = (uint64_t)seed;
    o->alignment = s.print.alignment;
    attn_set_threads(s.threads);
    return run(&s);
}
