/* The corpora of tests/vectors/metrics.json and sacreBLEU's scores for them. */
#ifndef METRICS_VECTORS_H
#define METRICS_VECTORS_H

#include <jansson.h>
#include <stdlib.h>

static json_t *load_cases(void) {
    json_error_t error;
    json_t *root = json_load_file(TEST_VECTORS "/metrics.json", 0, &error);
    if (!root)
        fail_msg("metrics.json: %s", error.text);
    assert_true(json_array_size(json_object_get(root, "cases")) >= 30);
    return root;
}

/* An array of strings, which live as long as the JSON; release with free. */
static const char **strings_of(const json_t *array) {
    size_t count = json_array_size(array);
    const char **strings = calloc(count + 1, sizeof *strings);
    assert_non_null(strings);
    for (size_t i = 0; i < count; i++)
        strings[i] = json_string_value(json_array_get(array, i));
    return strings;
}

static double number_of(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

#endif
