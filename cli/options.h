/* A command's options as a table: parsed with getopt_long, numbers checked, --help
 * made from the same rows. A row points at the variable that it sets; what the
 * variable holds before parsing is shown as the default.
 *
 *     int beam = 4;
 *     option rows[] = {option_int("beam", &beam, 1, 64, "N", "hypotheses kept"), option_end()};
 *     command_usage usage = {"translate", "--model DIR [OPTION]... <IN >OUT", "Translate...", NULL};
 *     int operands;
 *     options_result result = options_parse(&usage, rows, argc, argv, &operands);
 *     if (result != OPTIONS_RUN) return result == OPTIONS_HELP ? 0 : 2; */
#ifndef ATTN_CLI_OPTIONS_H
#define ATTN_CLI_OPTIONS_H

#include <stdint.h>
#include <stdio.h>

typedef enum option_kind {
    OPTION_END,
    OPTION_HEADING, /* a line between groups in --help */
    OPTION_FLAG,    /* int: 1 when given */
    OPTION_INT,
    OPTION_INT64,
    OPTION_DOUBLE,
    OPTION_STRING,
    OPTION_STRINGS, /* may be given `most` times; const char *[most + 1], NULL behind the last */
    OPTION_CHOICE /* int: the index in `choices` */
} option_kind;

typedef enum option_origin { OPTION_ON_COMMAND_LINE = 1, OPTION_ELSEWHERE = 2 } option_origin;

typedef struct option_row {
    option_kind kind;
    const char *name; /* without the two dashes; the text of a heading */
    void *value;
    int64_t least, most; /* OPTION_INT, OPTION_INT64 */
    /* OPTION_DOUBLE; lowest infinite: any number and NaN, the library says what it takes */
    double lowest, highest;
    const char *const *choices; /* up to a NULL */
    const char *metavar;        /* "N", "FILE" */
    const char *help;
    int hide_default;
    int given; /* 0, or who set it: an option_origin */
} option_row;

static inline option_row option_heading(const char *text) {
    return (option_row){.kind = OPTION_HEADING, .name = text};
}
static inline option_row option_flag(const char *name, int *value, const char *help) {
    return (option_row){.kind = OPTION_FLAG, .name = name, .value = value, .help = help};
}
static inline option_row option_int(const char *name, int *value, int least, int most, const char *metavar,
                                    const char *help) {
    return (option_row){.kind = OPTION_INT, .name = name, .value = value, .least = least, .most = most,
                        .metavar = metavar, .help = help};
}
static inline option_row option_int64(const char *name, int64_t *value, int64_t least, int64_t most,
                                      const char *metavar, const char *help) {
    return (option_row){.kind = OPTION_INT64, .name = name, .value = value, .least = least, .most = most,
                        .metavar = metavar, .help = help};
}
static inline option_row option_double(const char *name, double *value, double lowest, double highest,
                                       const char *metavar, const char *help) {
    return (option_row){.kind = OPTION_DOUBLE, .name = name, .value = value, .lowest = lowest, .highest = highest,
                        .metavar = metavar, .help = help};
}
static inline option_row option_string(const char *name, const char **value, const char *metavar, const char *help) {
    return (option_row){.kind = OPTION_STRING, .name = name, .value = value, .metavar = metavar, .help = help};
}
static inline option_row option_strings(const char *name, const char **values, int most, const char *metavar,
                                        const char *help) {
    return (option_row){.kind = OPTION_STRINGS, .name = name, .value = values, .most = most, .metavar = metavar, .help = help};
}
/* choices ends with NULL; *value is an index in it (an enum may be cast to int). */
static inline option_row option_choice(const char *name, int *value, const char *const *choices, const char *help) {
    return (option_row){.kind = OPTION_CHOICE, .name = name, .value = value, .choices = choices, .help = help};
}
/* Names of attn_compute's values, for option_choice. */
extern const char *const OPTION_COMPUTE_TYPES[];

/* A row whose default says nothing to a person (0: none). */
static inline option_row option_without_default(option_row row) {
    row.hide_default = 1;
    return row;
}
static inline option_row option_end(void) {
    return (option_row){.kind = OPTION_END};
}

typedef struct command_usage {
    const char *command; /* "translate" */
    const char *synopsis; /* what follows "attn translate" */
    const char *summary;  /* one or more lines */
    const char *notes;    /* below the options in --help, or NULL */
} command_usage;

typedef enum options_result {
    OPTIONS_RUN,  /* go on */
    OPTIONS_HELP, /* --help was given and answered: exit 0 */
    OPTIONS_WRONG /* one sentence was said on standard error: exit 2 */
} options_result;

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* argv[0] is the command's name. *operands: index of the first argument that is no
 * option (options may stand behind operands; "--" ends them). Every row without
 * `given` keeps its variable. */
options_result options_parse(const command_usage *usage, option_row *rows, int argc, char **argv, int *operands);

/* Sets a row from another place than the command line, unless that has given it: `text` as
 * there, "1" or "0" for a flag. Returns 0, or EXIT_USAGE with a sentence. */
int options_set(const command_usage *usage, option_row *row, const char *text);

/* The name among the rows that is nearest to a word; NULL where none is near. */
const char *options_nearest(const option_row *rows, const char *name);

/* The row of that name; NULL if there is none. */
const option_row *options_find(const option_row *rows, const char *name);

/* "attn COMMAND: sentence" and where help is, on standard error; returns EXIT_USAGE. */
int usage_error(const command_usage *usage, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "attn COMMAND: " and the library's last sentence, on standard error; returns EXIT_FAILED. */
int command_failed(const command_usage *usage);

void options_print_help(const command_usage *usage, const option_row *rows, FILE *out);

/* The number of single-character edits between two words (Levenshtein 1966), or
 * `limit` where it is that or more. For "did you mean". */
int edit_distance(const char *a, const char *b, int limit);

#endif
