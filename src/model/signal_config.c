/* config.json of models of pictures, as transformers' ViTConfig has it, and of sounds, in
 * the same words. */
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/config_fields.h"
#include "model/signal_model.h"

static const char *const ACTIVATION_NAMES[] = {"gelu", "relu", "silu", NULL};
static const activation ACTIVATIONS[] = {ACTIVATION_GELU, ACTIVATION_RELU, ACTIVATION_SWISH};

enum { MOST_WIDTH = 1 << 16, MOST_LAYERS = 1024, MOST_HIDDEN = 1 << 18, MOST_SIDE = 4096, MOST_FRAMES = 1 << 20,
       MOST_PLACE_NUMBERS = 1 << 28 };
static const double BELOW_ONE = 0x1.fffffep-1;

#define AT(field) #field, offsetof(signal_config, field)
static const config_field COMMON[] = {
    {AT(hidden_size), FIELD_INTEGER, 2, MOST_WIDTH, 1, NULL},
    {AT(num_hidden_layers), FIELD_INTEGER, 1, MOST_LAYERS, 1, NULL},
    {AT(num_attention_heads), FIELD_INTEGER, 1, MOST_WIDTH, 1, NULL},
    {AT(intermediate_size), FIELD_INTEGER, 1, MOST_HIDDEN, 1, NULL},
    {AT(hidden_act), FIELD_CHOICE, 0, 0, 0, ACTIVATION_NAMES},
    {AT(hidden_dropout_prob), FIELD_REAL, 0, BELOW_ONE, 0, NULL},
    {AT(attention_probs_dropout_prob), FIELD_REAL, 0, BELOW_ONE, 0, NULL},
    {AT(layer_norm_eps), FIELD_REAL, 1e-20, 0.1, 0, NULL},
};
static const config_field PICTURE[] = {
    {AT(image_size), FIELD_INTEGER, 1, MOST_SIDE, 1, NULL},
    {AT(patch_size), FIELD_INTEGER, 1, MOST_SIDE, 1, NULL},
    {AT(num_channels), FIELD_INTEGER, 1, 3, 1, NULL},
};
static const config_field SOUND[] = {
    {AT(rate), FIELD_INTEGER, 1000, 768000, 1, NULL},  {AT(window), FIELD_INTEGER, 2, 65536, 1, NULL},
    {AT(hop), FIELD_INTEGER, 1, 65536, 1, NULL},       {AT(bins), FIELD_INTEGER, 1, 256, 1, NULL},
    {AT(max_frames), FIELD_INTEGER, 1, MOST_FRAMES, 1, NULL},
};
static const config_field SPEECH[] = {
    {AT(rate), FIELD_INTEGER, 1000, 768000, 1, NULL},  {AT(window), FIELD_INTEGER, 2, 65536, 1, NULL},
    {AT(hop), FIELD_INTEGER, 1, 65536, 1, NULL},       {AT(bins), FIELD_INTEGER, 1, 256, 1, NULL},
    {AT(max_frames), FIELD_INTEGER, 1, MOST_FRAMES, 1, NULL},
    {AT(decoder_layers), FIELD_INTEGER, 1, MOST_LAYERS, 1, NULL},
    {AT(vocab_size), FIELD_INTEGER, 1, 1 << 24, 1, NULL},
    {AT(max_target_positions), FIELD_INTEGER, 1, MOST_FRAMES, 1, NULL},
    {AT(eos_token_id), FIELD_INTEGER, 0, 1 << 24, 1, NULL},
    {AT(pad_token_id), FIELD_INTEGER, 0, 1 << 24, 1, NULL},
};
#undef AT
#define LENGTH(array) (sizeof(array) / sizeof *(array))

typedef struct own_fields {
    const char *model_type, *architecture;
    const config_field *list;
    size_t count;
} own_fields;

static own_fields own(signal_kind kind) {
    static const own_fields ALL[] = {
        [SIGNAL_PICTURE] = {"vit", "ViTForImageClassification", PICTURE, LENGTH(PICTURE)},
        [SIGNAL_SOUND] = {"attn_sound", "AttnSoundClassifier", SOUND, LENGTH(SOUND)},
        [SIGNAL_SPEECH] = {"attn_speech", "AttnSpeechToText", SPEECH, LENGTH(SPEECH)},
    };
    return ALL[kind];
}

void signal_config_release(signal_config *c) {
    vocabulary_release(&c->labels);
}

activation signal_activation(const signal_config *c) {
    return ACTIVATIONS[c->hidden_act];
}

int signal_activation_find(const char *name) {
    const char *wanted = strcmp(name, "swish") == 0 ? "silu" : name;
    for (int i = 0; ACTIVATION_NAMES[i]; i++) {
        if (strcmp(wanted, ACTIVATION_NAMES[i]) == 0) {
            return i;
        }
    }
    return -1;
}

patch_shape signal_patches(const signal_config *c) {
    return (patch_shape){c->image_size, c->image_size, c->num_channels, c->patch_size};
}

log_mel_options signal_frames(const signal_config *c) {
    return (log_mel_options){c->rate, c->window, c->hop, c->bins};
}

int signal_rows(const signal_config *c) {
    patch_shape shape = signal_patches(c);
    return c->kind == SIGNAL_PICTURE ? patches_count(&shape)
           : c->kind == SIGNAL_SOUND ? c->max_frames
                                     : (c->max_frames + SIGNAL_FRAMES_A_ROW - 1) / SIGNAL_FRAMES_A_ROW;
}

int signal_row_width(const signal_config *c) {
    patch_shape shape = signal_patches(c);
    return c->kind == SIGNAL_PICTURE ? patches_width(&shape) : c->kind == SIGNAL_SOUND ? c->bins : SIGNAL_FRAMES_A_ROW * c->bins;
}

attn_status signal_config_check(const signal_config *c, const char *where) {
    own_fields fields = own(c->kind);
    attn_status status = config_fields_check(where, COMMON, LENGTH(COMMON), c);
    status = status ? status : config_fields_check(where, fields.list, fields.count, c);
    if (!status && c->hidden_size % c->num_attention_heads) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s: hidden_size is %d, a multiple of num_attention_heads (%d) was expected",
                      where, c->hidden_size, c->num_attention_heads);
    }
    if (!status && c->hidden_size % 2) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s: hidden_size is %d, an even number was expected", where, c->hidden_size);
    }
    if (!status && c->kind == SIGNAL_PICTURE && c->image_size % c->patch_size) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s: image_size is %d, a multiple of patch_size (%d) was expected", where,
                      c->image_size, c->patch_size);
    }
    if (!status && c->kind == SIGNAL_PICTURE && c->num_channels == 2) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s: num_channels is 2, 1 or 3 was expected", where);
    }
    if (!status && signal_rows(c) > MOST_PLACE_NUMBERS / c->hidden_size) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s: %d places of %d numbers are too many", where, signal_rows(c),
                      c->hidden_size);
    }
    if (!status && c->kind == SIGNAL_SPEECH && (c->eos_token_id >= c->vocab_size || c->pad_token_id >= c->vocab_size)) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s: eos_token_id is %d and pad_token_id %d; both were expected below vocab_size (%d)",
                      where, c->eos_token_id, c->pad_token_id, c->vocab_size);
    }
    if (!status && c->kind == SIGNAL_SPEECH && c->max_target_positions > MOST_PLACE_NUMBERS / c->hidden_size) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s: %d positions of %d numbers are too many", where, c->max_target_positions,
                      c->hidden_size);
    }
    if (!status && c->kind != SIGNAL_SPEECH && c->labels.size == 0) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s: there is no label; at least one was expected in id2label", where);
    }
    return status;
}

int signal_config_equal(const signal_config *a, const signal_config *b) {
    own_fields fields = own(a->kind);
    int equal = a->kind == b->kind && config_fields_equal(COMMON, LENGTH(COMMON), a, b) &&
                config_fields_equal(fields.list, fields.count, a, b) && a->labels.size == b->labels.size;
    for (size_t i = 0; equal && i < a->labels.size; i++) {
        text_line one = vocabulary_piece(&a->labels, i), other = vocabulary_piece(&b->labels, i);
        equal = one.length == other.length && memcmp(one.bytes, other.bytes, one.length) == 0;
    }
    return equal;
}

/* --- reading ----------------------------------------------------------------------- */

/* id2label: {"0": "cat", "1": "dog"}. */
static attn_status read_labels(const char *path, const json_t *root, vocabulary *labels) {
    const json_t *names = json_object_get(root, "id2label");
    size_t count = json_object_size(names);
    if (!json_is_object(names) || count == 0 || count > VOCABULARY_LIMIT) {
        return fail(ATTN_ERROR_FORMAT, "%s: id2label, an object of 1 to %u names, is missing", path, VOCABULARY_LIMIT);
    }
    text_line *lines = memory_allocate(count, sizeof *lines);
    attn_status status = lines ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < count && !status; i++) {
        char number[24];
        (void)snprintf(number, sizeof number, "%zu", i);
        const json_t *name = json_object_get(names, number);
        if (!json_is_string(name)) {
            status = fail(ATTN_ERROR_FORMAT, "%s: id2label has no name for %zu; 0 to %zu were expected", path, i, count - 1);
        } else {
            lines[i] = (text_line){json_string_value(name), json_string_length(name)};
        }
    }
    status = status ? status : vocabulary_build(lines, count, labels);
    memory_free(lines);
    return status ? fail_within(status, "%s: id2label", path) : ATTN_OK;
}

static attn_status read_file(const char *path, signal_config *c) {
    json_t *root;
    attn_status status = config_json_read(path, &root);
    if (status) {
        return status;
    }
    const char *type = json_string_value(json_object_get(root, "model_type"));
    *c = (signal_config){.kind = SIGNAL_PICTURE, .layer_norm_eps = 1e-12, .num_channels = 3};
    for (signal_kind kind = SIGNAL_SOUND; type && kind <= SIGNAL_SPEECH; kind++) {
        c->kind = strcmp(type, own(kind).model_type) == 0 ? kind : c->kind;
    }
    own_fields fields = own(c->kind);
    status = config_json_expect_type(path, root, fields.model_type);
    status = status ? status : config_fields_read(root, path, COMMON, LENGTH(COMMON), c);
    status = status ? status : config_fields_read(root, path, fields.list, fields.count, c);
    if (!status && json_is_false(json_object_get(root, "qkv_bias"))) {
        status = fail(ATTN_ERROR_UNSUPPORTED, "%s: qkv_bias is false, only true is supported", path);
    }
    status = status || c->kind == SIGNAL_SPEECH ? status : read_labels(path, root, &c->labels);
    status = status ? status : signal_config_check(c, path);
    json_decref(root);
    return status == ATTN_ERROR_ARGUMENT ? ATTN_ERROR_FORMAT : status;
}

/* Every weight of a layer takes at least the two bytes of a half-precision number. */
static attn_status check_weights_size(const char *directory, const signal_config *c) {
    char *path = file_join(directory, FOLDER_WEIGHTS);
    struct stat info;
    attn_status status = path ? ATTN_OK : ATTN_ERROR_MEMORY;
    double width = c->hidden_size;
    double weights = c->num_hidden_layers * width * (4 * width + 2.0 * c->intermediate_size) +
                     width * signal_row_width(c) + width * ((double)c->labels.size + c->vocab_size) +
                     c->decoder_layers * width * (8 * width + 2.0 * c->intermediate_size) +
                     (c->kind == SIGNAL_PICTURE ? width * signal_rows(c) : 0);
    if (path && stat(path, &info) == 0 && (double)info.st_size / 2 < weights) {
        status = fail(ATTN_ERROR_FORMAT, "%s holds %lld bytes, too few for the %.0f weights that " FOLDER_CONFIG
                      " describes", path, (long long)info.st_size, weights);
    }
    memory_free(path);
    return status;
}

attn_status signal_config_read(const char *directory, signal_config *c) {
    char *path = file_join(directory, FOLDER_CONFIG);
    *c = (signal_config){0};
    attn_status status = path ? read_file(path, c) : ATTN_ERROR_MEMORY;
    status = status ? status : check_weights_size(directory, c);
    memory_free(path);
    if (status) {
        signal_config_release(c);
    }
    return status;
}

/* --- writing ----------------------------------------------------------------------- */

static int write_labels(json_t *root, const vocabulary *labels) {
    json_t *names = json_object(), *numbers = json_object();
    int failed = 0;
    for (size_t i = 0; i < labels->size && !failed; i++) {
        char number[24];
        text_line name = vocabulary_piece(labels, i);
        (void)snprintf(number, sizeof number, "%zu", i);
        failed = json_object_set_new(names, number, json_stringn(name.bytes, name.length)) ||
                 json_object_set_new(numbers, name.bytes, json_integer((json_int_t)i));
    }
    failed |= json_object_set_new(root, "id2label", names);
    return json_object_set_new(root, "label2id", numbers) || failed ? -1 : 0;
}

static json_t *to_json(const signal_config *c) {
    own_fields fields = own(c->kind);
    json_t *root = json_pack("{s:[s], s:s, s:s, s:b, s:f}", "architectures", fields.architecture, "model_type",
                             fields.model_type, "dtype", "float32", "qkv_bias", 1, "initializer_range", 0.02);
    if (root && (config_fields_write(root, COMMON, LENGTH(COMMON), c) ||
                 config_fields_write(root, fields.list, fields.count, c) ||
                 (c->kind != SIGNAL_SPEECH && write_labels(root, &c->labels)))) {
        json_decref(root);
        root = NULL;
    }
    return root;
}

/* How transformers makes a picture into numbers: as patches.c does. */
static attn_status write_preprocessor(const char *directory, const signal_config *c) {
    json_t *mean = json_array(), *deviation = json_array();
    for (int i = 0; i < c->num_channels; i++) {
        (void)json_array_append_new(mean, json_real(0.5));
        (void)json_array_append_new(deviation, json_real(0.5));
    }
    char *path = file_join(directory, "preprocessor_config.json");
    json_t *root = json_pack("{s:s, s:b, s:b, s:b, s:f, s:i, s:{s:i, s:i}, s:o, s:o}", "image_processor_type",
                             "ViTImageProcessor", "do_resize", 1, "do_rescale", 1, "do_normalize", 1, "rescale_factor",
                             1 / 255.0, "resample", 2, "size", "height", c->image_size, "width", c->image_size,
                             "image_mean", mean, "image_std", deviation);
    attn_status status = path ? config_json_write(path, root) : ATTN_ERROR_MEMORY;
    memory_free(path);
    return status;
}

attn_status signal_config_write(const char *directory, const signal_config *c) {
    char *path = file_join(directory, FOLDER_CONFIG), *weights = file_join(directory, FOLDER_WEIGHTS);
    attn_status status = path && weights ? file_make_directory(directory) : ATTN_ERROR_MEMORY;
    signal_config old = {0};
    int same = !status && file_exists(path) && read_file(path, &old) == ATTN_OK && signal_config_equal(&old, c);
    if (!status && !same && file_exists(path) && file_exists(weights)) {
        status = fail(ATTN_ERROR_ARGUMENT, "%s holds the weights of another model (its " FOLDER_CONFIG
                      " differs); choose another folder", directory);
    }
    status = status ? status : signal_config_check(c, "the model's settings");
    if (!status && !same) {
        status = config_json_write(path, to_json(c));
    }
    if (!status && c->kind == SIGNAL_PICTURE) {
        status = write_preprocessor(directory, c);
    }
    signal_config_release(&old);
    memory_free(path);
    memory_free(weights);
    return status;
}
