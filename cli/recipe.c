#include "recipe.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_ROOM = 40 };

/* --- reading --------------------------------------------------------------------- */

static const char *kind_of(const json_t *value) {
    return json_is_object(value)    ? "an object"
           : json_is_array(value)   ? "an array"
           : json_is_null(value)    ? "null"
           : json_is_boolean(value) ? "true or false"
           : json_is_string(value)  ? "a text" : "a number";
}

/* The value as it would stand on the command line, in `room` if it is a number; NULL where
 * its kind is not the row's. */
static const char *text_of(const json_t *value, const option_row *row, char room[NUMBER_ROOM]) {
    if (row->kind == OPTION_FLAG) {
        return json_is_true(value) ? "1" : json_is_false(value) ? "0" : NULL;
    }
    if (row->kind == OPTION_STRING || row->kind == OPTION_CHOICE) {
        return json_string_value(value);
    }
    if (json_is_integer(value)) {
        (void)snprintf(room, NUMBER_ROOM, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return room;
    }
    if (json_is_real(value)) {
        (void)snprintf(room, NUMBER_ROOM, "%.17g", json_real_value(value));
        return room;
    }
    return NULL;
}

static int set_row(const command_usage *usage, const char *path, option_row *row, const json_t *value) {
    char room[NUMBER_ROOM];
    const char *text = text_of(value, row, room);
    if (!text) {
        return usage_error(usage, "%s: \"%s\" is %s; %s was expected", path, row->name, kind_of(value),
                           row->kind == OPTION_FLAG ? "true or false"
                           : row->kind == OPTION_STRING || row->kind == OPTION_CHOICE ? "a text" : "a number");
    }
    int wrong = options_set(usage, row, text);
    if (wrong) {
        (void)fprintf(stderr, "It was read from %s.\n", path);
    }
    return wrong;
}

int recipe_read(const command_usage *usage, const char *path, option_row *rows, recipe *r) {
    json_error_t error;
    json_t *object = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    const char *key;
    json_t *value;
    int wrong = 0;
    r->storage = object;
    if (!object) {
        return error.line > 0 ? usage_error(usage, "%s, line %d: %s", path, error.line, error.text)
                              : usage_error(usage, "%s", error.text);
    }
    if (!json_is_object(object)) {
        return usage_error(usage, "%s holds %s; an object of options, {\"rate\": 0.005, ...}, was expected", path,
                           kind_of(object));
    }
    json_object_foreach(object, key, value) {
        option_row *row = (option_row *)(uintptr_t)options_find(rows, key);
        if (!row) {
            const char *nearest = options_nearest(rows, key);
            wrong = nearest ? usage_error(usage, "%s: unknown option \"%.100s\"; did you mean \"%s\"?", path, key, nearest)
                            : usage_error(usage, "%s: unknown option \"%.100s\"", path, key);
        } else {
            wrong = set_row(usage, path, row, value);
        }
        if (wrong) {
            break;
        }
    }
    return wrong;
}

/* --- writing --------------------------------------------------------------------- */

/* The shortest decimal that reads back as the same number. */
static void write_number(FILE *out, double value) {
    char text[NUMBER_ROOM];
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    (void)fputs(text, out);
}

static int write_text(FILE *out, const char *text) {
    json_t *string = json_string(text);
    int failed = !string || json_dumpf(string, out, JSON_ENCODE_ANY);
    json_decref(string);
    return failed;
}

/* 1 if the row's text cannot be written as JSON. */
static int write_row(FILE *out, const option_row *row) {
    switch (row->kind) {
    case OPTION_FLAG: (void)fputs(*(const int *)row->value ? "true" : "false", out); return 0;
    case OPTION_INT: (void)fprintf(out, "%d", *(const int *)row->value); return 0;
    case OPTION_INT64: (void)fprintf(out, "%" PRId64, *(const int64_t *)row->value); return 0;
    case OPTION_DOUBLE: write_number(out, *(const double *)row->value); return 0;
    case OPTION_CHOICE: return write_text(out, row->choices[*(const int *)row->value]);
    default: return write_text(out, *(const char *const *)row->value);
    }
}

static int is_written(const option_row *row) {
    return row->kind != OPTION_HEADING && strcmp(row->name, "resume") != 0 && strcmp(row->name, "quiet") != 0 &&
           !(row->kind == OPTION_STRING && !*(const char *const *)row->value);
}

int recipe_write(const command_usage *usage, const option_row *rows, recipe *r) {
    size_t size;
    FILE *out = open_memstream(&r->resolved, &size);
    const char *before = "{\n  ";
    for (const option_row *row = rows; out && row->kind != OPTION_END; row++) {
        if (is_written(row)) {
            (void)fprintf(out, "%s\"%s\": ", before, row->name);
            before = ",\n  ";
            if (write_row(out, row)) {
                (void)fclose(out);
                return usage_error(usage, "--%s is not UTF-8 text", row->name);
            }
        }
    }
    if (!out || fputs("\n}\n", out) < 0 || fclose(out)) {
        (void)fprintf(stderr, "attn %s: out of memory\n", usage->command);
        return EXIT_FAILED;
    }
    return 0;
}

void recipe_release(recipe *r) {
    json_decref(r->storage);
    free(r->resolved);
}
