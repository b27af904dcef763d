/* Parsing goes through getopt_long with one code a row; every value is checked against
 * its row, and what is wrong is said in one sentence: option, found, expected. */
#include "options.h"

#include <attn/status.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 96, HELP_CODE = 1, FIRST_CODE = 1000, HELP_COLUMN = 28, HELP_WIDTH = 80 };

const char *const OPTION_COMPUTE_TYPES[] = {"auto", "f32", "bf16", "int8", NULL};

int usage_error(const command_usage *usage, const char *format, ...) {
    va_list list;
    va_start(list, format);
    (void)fprintf(stderr, "attn %s: ", usage->command);
    (void)vfprintf(stderr, format, list);
    (void)fprintf(stderr, "\nTry 'attn %s --help'.\n", usage->command);
    va_end(list);
    return EXIT_USAGE;
}

int command_failed(const command_usage *usage) {
    (void)fprintf(stderr, "attn %s: %s\n", usage->command, attn_last_error());
    return EXIT_FAILED;
}

const option_row *options_find(const option_row *rows, const char *name) {
    for (; rows->kind != OPTION_END; rows++) {
        if (rows->kind != OPTION_HEADING && strcmp(rows->name, name) == 0) {
            return rows;
        }
    }
    return NULL;
}

/* --- help ---------------------------------------------------------------------- */

/* Words of `text` from `column` on, broken before the line's end. */
static void print_wrapped(FILE *out, const char *text, int column) {
    int at = column;
    while (*text) {
        int length = (int)strcspn(text, " ");
        if (at > column && at + 1 + length > HELP_WIDTH) {
            (void)fprintf(out, "\n%*s", column, "");
            at = column;
        } else if (at > column) {
            (void)fputc(' ', out);
            at++;
        }
        (void)fwrite(text, 1, (size_t)length, out);
        at += length;
        text += length + (text[length] == ' ');
    }
    (void)fputc('\n', out);
}

static void describe_default(const option_row *row, char *text, size_t size) {
    text[0] = '\0';
    if (row->hide_default) {
        return;
    }
    switch (row->kind) {
    case OPTION_INT: (void)snprintf(text, size, " (default %d)", *(const int *)row->value); break;
    case OPTION_INT64: (void)snprintf(text, size, " (default %" PRId64 ")", *(const int64_t *)row->value); break;
    case OPTION_DOUBLE: (void)snprintf(text, size, " (default %g)", *(const double *)row->value); break;
    case OPTION_CHOICE: (void)snprintf(text, size, " (default %s)", row->choices[*(const int *)row->value]); break;
    case OPTION_STRING:
        if (*(const char *const *)row->value) {
            (void)snprintf(text, size, " (default %s)", *(const char *const *)row->value);
        }
        break;
    default: break;
    }
}

static void print_row(const option_row *row, FILE *out) {
    char left[160], right[1024], standard[128];
    if (row->kind == OPTION_HEADING) {
        (void)fprintf(out, "\n%s:\n", row->name);
        return;
    }
    int used = snprintf(left, sizeof left, "  --%s", row->name);
    if (row->kind == OPTION_CHOICE) {
        for (int i = 0; row->choices[i] && used < (int)sizeof left - 1; i++) {
            used += snprintf(left + used, sizeof left - (size_t)used, "%s%s", i ? "|" : " ", row->choices[i]);
        }
    } else if (row->kind != OPTION_FLAG) {
        (void)snprintf(left + used, sizeof left - (size_t)used, " %s", row->metavar);
    }
    describe_default(row, standard, sizeof standard);
    (void)snprintf(right, sizeof right, "%s%s", row->help, standard);
    if (strlen(left) + 2 > HELP_COLUMN) {
        (void)fprintf(out, "%s\n%*s", left, HELP_COLUMN, "");
    } else {
        (void)fprintf(out, "%-*s", HELP_COLUMN, left);
    }
    print_wrapped(out, right, HELP_COLUMN);
}

void options_print_help(const command_usage *usage, const option_row *rows, FILE *out) {
    (void)fprintf(out, "Usage: attn %s %s\n%s\n", usage->command, usage->synopsis, usage->summary);
    if (rows->kind != OPTION_HEADING) {
        (void)fprintf(out, "\nOptions:\n");
    }
    for (; rows->kind != OPTION_END; rows++) {
        print_row(rows, out);
    }
    (void)fprintf(out, "%-*sthis text\n", HELP_COLUMN, "  --help");
    if (usage->notes) {
        (void)fprintf(out, "\n%s\n", usage->notes);
    }
}

/* --- values -------------------------------------------------------------------- */

static int wrong_whole_number(const command_usage *usage, const option_row *row, const char *text) {
    return usage_error(usage, "--%s is \"%.100s\", a whole number from %" PRId64 " to %" PRId64 " was expected", row->name,
                       text, row->least, row->most);
}

static int set_whole_number(const command_usage *usage, const option_row *row, const char *text) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || value < row->least || value > row->most) {
        return wrong_whole_number(usage, row, text);
    }
    if (row->kind == OPTION_INT) {
        *(int *)row->value = (int)value;
    } else {
        *(int64_t *)row->value = value;
    }
    return 0;
}

static int set_number(const command_usage *usage, const option_row *row, const char *text) {
    char *end;
    double value = strtod(text, &end);
    int inside = isinf(row->lowest) || (value >= row->lowest && value <= row->highest);
    if (end == text || *end || !inside) {
        return usage_error(usage, "--%s is \"%.100s\", a number from %g to %g was expected", row->name, text, row->lowest,
                           row->highest);
    }
    *(double *)row->value = value;
    return 0;
}

static int add_string(const command_usage *usage, const option_row *row, const char *text) {
    const char **values = row->value;
    int count = 0;
    while (values[count]) {
        count++;
    }
    if (!*text) {
        return usage_error(usage, "--%s is empty, %s was expected", row->name, row->metavar);
    }
    if (count == row->most) {
        return usage_error(usage, "--%s is given more than %d times", row->name, count);
    }
    values[count] = text;
    return 0;
}

static int set_choice(const command_usage *usage, const option_row *row, const char *text) {
    char names[256] = "";
    size_t used = 0;
    for (int i = 0; row->choices[i]; i++) {
        if (strcmp(row->choices[i], text) == 0) {
            *(int *)row->value = i;
            return 0;
        }
        int wrote = snprintf(names + used, sizeof names - used, "%s%s", i == 0 ? "" : row->choices[i + 1] ? ", " : " or ",
                             row->choices[i]);
        used += wrote > 0 && (size_t)wrote < sizeof names - used ? (size_t)wrote : 0;
    }
    return usage_error(usage, "--%s is \"%.100s\", %s was expected", row->name, text, names);
}

static int set_value(const command_usage *usage, option_row *row, const char *text) {
    row->given = OPTION_ON_COMMAND_LINE;
    switch (row->kind) {
    case OPTION_FLAG: *(int *)row->value = 1; return 0;
    case OPTION_INT:
    case OPTION_INT64: return set_whole_number(usage, row, text);
    case OPTION_DOUBLE: return set_number(usage, row, text);
    case OPTION_CHOICE: return set_choice(usage, row, text);
    case OPTION_STRINGS: return add_string(usage, row, text);
    case OPTION_STRING:
        if (!*text) {
            return usage_error(usage, "--%s is empty, %s was expected", row->name, row->metavar);
        }
        *(const char **)row->value = text;
        return 0;
    default: return 0;
    }
}

int options_set(const command_usage *usage, option_row *row, const char *text) {
    if (row->given == OPTION_ON_COMMAND_LINE) {
        return 0;
    }
    int wrong = set_value(usage, row, text);
    if (row->kind == OPTION_FLAG) {
        *(int *)row->value = strcmp(text, "0") != 0;
    }
    row->given = OPTION_ELSEWHERE;
    return wrong;
}

/* --- parsing ------------------------------------------------------------------- */

int edit_distance(const char *a, const char *b, int limit) {
    int row[64];
    int n = (int)strlen(b);
    if (n >= 64 || strlen(a) >= 64) {
        return limit;
    }
    for (int j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            int least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < least ? change : least;
        }
    }
    return row[n] < limit ? row[n] : limit;
}

const char *options_nearest(const option_row *rows, const char *name) {
    const char *nearest = NULL;
    int best = 4;
    for (const option_row *row = rows; row->kind != OPTION_END; row++) {
        if (row->kind != OPTION_HEADING) {
            int distance = edit_distance(name, row->name, best);
            if (distance < best && distance < (int)strlen(row->name)) {
                best = distance;
                nearest = row->name;
            }
        }
    }
    return nearest;
}

/* The sentence for an option that getopt_long did not know. */
static int unknown_option(const command_usage *usage, const option_row *rows, const char *word) {
    char name[64] = "";
    int starts_with_it = 0;
    if (strncmp(word, "--", 2) != 0) {
        return usage_error(usage, "unknown option %.100s", word);
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    const option_row *exact = options_find(rows, name);
    if (exact && exact->kind == OPTION_FLAG && strchr(word, '=')) {
        return usage_error(usage, "--%s takes no value", name);
    }
    const char *nearest = options_nearest(rows, name);
    for (const option_row *row = rows; row->kind != OPTION_END; row++) {
        if (row->kind != OPTION_HEADING && *name && strncmp(name, row->name, strlen(name)) == 0) {
            starts_with_it++;
            nearest = nearest ? nearest : row->name;
        }
    }
    if (starts_with_it > 1) {
        return usage_error(usage, "--%s may mean several options", name);
    }
    return nearest ? usage_error(usage, "unknown option --%s; did you mean --%s?", name, nearest)
                   : usage_error(usage, "unknown option --%s", name);
}

options_result options_parse(const command_usage *usage, option_row *rows, int argc, char **argv, int *operands) {
    struct option known[MOST_ROWS + 2] = {{"help", no_argument, NULL, HELP_CODE}};
    int count = 1, code, wrong = 0;
    for (int i = 0; rows[i].kind != OPTION_END && count <= MOST_ROWS; i++) {
        if (rows[i].kind != OPTION_HEADING) {
            known[count++] = (struct option){rows[i].name, rows[i].kind == OPTION_FLAG ? no_argument : required_argument,
                                             NULL, FIRST_CODE + i};
        }
    }
    opterr = 0;
    optind = 0; /* getopt starts anew */
    while (!wrong && (code = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        if (code == HELP_CODE) {
            options_print_help(usage, rows, stdout);
            return OPTIONS_HELP;
        }
        if (code == ':') {
            const option_row *row = &rows[optopt - FIRST_CODE];
            wrong = usage_error(usage, "--%s needs a value (%s)", row->name,
                                row->kind == OPTION_CHOICE ? "one of its choices" : row->metavar);
        } else if (code == '?') {
            wrong = unknown_option(usage, rows, argv[optind - 1]);
        } else {
            wrong = set_value(usage, &rows[code - FIRST_CODE], optarg);
        }
    }
    *operands = optind;
    return wrong ? OPTIONS_WRONG : OPTIONS_RUN;
}
