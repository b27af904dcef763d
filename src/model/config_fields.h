/* A config.json as a table: each key's name, kind, range and place in a struct, so that
 * reading, checking, comparing and writing cannot disagree. Every architecture but the
 * translator's (config.h) has such a table. */
#ifndef ATTN_MODEL_CONFIG_FIELDS_H
#define ATTN_MODEL_CONFIG_FIELDS_H

#include <jansson.h>
#include <stddef.h>

#include "base/error.h"

typedef enum field_kind {
    FIELD_INTEGER, /* int */
    FIELD_SWITCH,  /* int: true is 1, false 0 */
    FIELD_REAL,    /* double */
    FIELD_CHOICE   /* int: index of the text in `choices`; the first name of a value is written */
} field_kind;

typedef struct config_field {
    const char *key;
    size_t offset;           /* in the struct */
    field_kind kind;
    double minimum, maximum; /* FIELD_INTEGER, FIELD_REAL */
    int required;            /* 0: absent or null leaves the struct's value */
    const char *const *choices; /* FIELD_CHOICE: ended by NULL */
} config_field;

/* Reads an object; ATTN_ERROR_FORMAT with the line where it is no JSON, or has a key twice.
 * Release with json_decref. */
attn_status config_json_read(const char *path, json_t **root);

/* Replaces the file by the object, sorted and indented, and releases it. root NULL: memory
 * was short. */
attn_status config_json_write(const char *path, json_t *root);

/* ATTN_ERROR_UNSUPPORTED, naming `path`, unless model_type is this. */
attn_status config_json_expect_type(const char *path, const json_t *root, const char *model_type);

/* Fills the struct and checks it. `where` begins the sentence of an error: the path. */
attn_status config_fields_read(const json_t *root, const char *where, const config_field *fields, size_t count,
                               void *config);

/* ATTN_ERROR_ARGUMENT where a value is outside its range. */
attn_status config_fields_check(const char *where, const config_field *fields, size_t count, const void *config);

/* Adds every field to root; -1 if memory was short. */
int config_fields_write(json_t *root, const config_field *fields, size_t count, const void *config);

/* 1 if all integers, switches and choices are equal: the same shape. */
int config_fields_equal(const config_field *fields, size_t count, const void *a, const void *b);

#endif
