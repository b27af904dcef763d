#include "model/config_fields.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"

static int integer_in(const void *config, const config_field *f) {
    return *(const int *)(const void *)((const char *)config + f->offset);
}

static double real_in(const void *config, const config_field *f) {
    return *(const double *)(const void *)((const char *)config + f->offset);
}

/* --- files ------------------------------------------------------------------------ */

attn_status config_json_read(const char *path, json_t **root) {
    char *text = NULL;
    size_t size = 0;
    json_error_t error;
    *root = NULL;
    attn_status status = file_read(path, &text, &size);
    if (status) {
        return status;
    }
    *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!*root) {
        status = fail(ATTN_ERROR_FORMAT, "%s:%d: not valid JSON: %s", path, error.line, error.text);
    } else if (!json_is_object(*root)) {
        json_decref(*root);
        *root = NULL;
        status = fail(ATTN_ERROR_FORMAT, "%s: an object {...} was expected", path);
    }
    memory_free(text);
    return status;
}

attn_status config_json_write(const char *path, json_t *root) {
    /* 15 digits give back every decimal that a person types, as typed. */
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(root);
    if (!text) {
        return fail(ATTN_ERROR_MEMORY, "out of memory while writing %s", path);
    }
    size_t length = strlen(text);
    text[length] = '\n'; /* in the place of the final 0 */
    attn_status status = file_replace(path, text, length + 1);
    free(text);
    return status;
}

attn_status config_json_expect_type(const char *path, const json_t *root, const char *model_type) {
    const char *type = json_string_value(json_object_get(root, "model_type"));
    if (!type) {
        return fail(ATTN_ERROR_FORMAT, "%s: model_type is missing, \"%s\" was expected", path, model_type);
    }
    return strcmp(type, model_type) == 0 ? ATTN_OK
                                         : fail(ATTN_ERROR_UNSUPPORTED, "%s: model_type is \"%.100s\", \"%s\" was expected",
                                                path, type, model_type);
}

/* --- reading ---------------------------------------------------------------------- */

static const char *kind_of(const json_t *value) {
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number that is not an integer";
    case JSON_NULL: return value ? "null" : "missing";
    default: return json_is_true(value) ? "true" : "false";
    }
}

static attn_status read_integer(const json_t *value, const char *where, const config_field *f, int *into) {
    if (!json_is_integer(value)) {
        return fail(ATTN_ERROR_FORMAT, "%s: %s is %s, an integer was expected", where, f->key, kind_of(value));
    }
    json_int_t number = json_integer_value(value);
    if ((double)number < f->minimum || (double)number > f->maximum) {
        return fail(ATTN_ERROR_FORMAT, "%s: %s is %lld, %.0f to %.0f was expected", where, f->key, (long long)number,
                    f->minimum, f->maximum);
    }
    *into = (int)number;
    return ATTN_OK;
}

static attn_status read_choice(const json_t *value, const char *where, const config_field *f, int *into) {
    const char *text = json_string_value(value);
    char expected[200] = "";
    for (int i = 0; f->choices[i]; i++) {
        if (text && strcmp(text, f->choices[i]) == 0) {
            *into = i;
            return ATTN_OK;
        }
        size_t used = strlen(expected);
        (void)snprintf(expected + used, sizeof expected - used, "%s%s", i ? ", " : "", f->choices[i]);
    }
    return fail(text ? ATTN_ERROR_UNSUPPORTED : ATTN_ERROR_FORMAT, "%s: %s is %.100s, one of %s was expected", where, f->key,
                text ? text : kind_of(value), expected);
}

static attn_status read_field(const json_t *value, const char *where, const config_field *f, void *config) {
    int *integer = (int *)(void *)((char *)config + f->offset);
    switch (f->kind) {
    case FIELD_INTEGER: return read_integer(value, where, f, integer);
    case FIELD_CHOICE: return read_choice(value, where, f, integer);
    case FIELD_SWITCH:
        if (!json_is_boolean(value)) {
            return fail(ATTN_ERROR_FORMAT, "%s: %s is %s, true or false was expected", where, f->key, kind_of(value));
        }
        *integer = json_is_true(value);
        return ATTN_OK;
    case FIELD_REAL:
        if (!json_is_number(value)) {
            return fail(ATTN_ERROR_FORMAT, "%s: %s is %s, a number was expected", where, f->key, kind_of(value));
        }
        *(double *)(void *)((char *)config + f->offset) = json_number_value(value);
    }
    return ATTN_OK;
}

attn_status config_fields_read(const json_t *root, const char *where, const config_field *fields, size_t count,
                               void *config) {
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(root, fields[i].key);
        if (!fields[i].required && (!value || json_is_null(value))) {
            continue;
        }
        attn_status status = read_field(value, where, &fields[i], config);
        if (status) {
            return status;
        }
    }
    attn_status status = config_fields_check(where, fields, count, config);
    return status == ATTN_ERROR_ARGUMENT ? ATTN_ERROR_FORMAT : status; /* the file's fault, not the caller's */
}

attn_status config_fields_check(const char *where, const config_field *fields, size_t count, const void *config) {
    for (size_t i = 0; i < count; i++) {
        const config_field *f = &fields[i];
        int integer = f->kind == FIELD_INTEGER;
        double value = f->kind == FIELD_REAL ? real_in(config, f) : integer ? integer_in(config, f) : 0;
        if ((integer || f->kind == FIELD_REAL) && !(value >= f->minimum && value <= f->maximum)) {
            return fail(ATTN_ERROR_ARGUMENT, "%s: %s is %.9g, %.9g to %.9g was expected", where, f->key, value, f->minimum,
                        f->maximum);
        }
    }
    return ATTN_OK;
}

/* --- writing and comparing -------------------------------------------------------- */

static json_t *field_value(const config_field *f, const void *config) {
    switch (f->kind) {
    case FIELD_SWITCH: return json_boolean(integer_in(config, f));
    case FIELD_REAL: return json_real(real_in(config, f));
    case FIELD_CHOICE: return json_string(f->choices[integer_in(config, f)]);
    default: return json_integer(integer_in(config, f));
    }
}

int config_fields_write(json_t *root, const config_field *fields, size_t count, const void *config) {
    int failed = root == NULL;
    for (size_t i = 0; i < count && !failed; i++) {
        failed = json_object_set_new(root, fields[i].key, field_value(&fields[i], config));
    }
    return failed ? -1 : 0;
}

int config_fields_equal(const config_field *fields, size_t count, const void *a, const void *b) {
    for (size_t i = 0; i < count; i++) {
        if (fields[i].kind != FIELD_REAL && integer_in(a, &fields[i]) != integer_in(b, &fields[i])) {
            return 0;
        }
    }
    return 1;
}
