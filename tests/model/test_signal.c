/* The vision transformer against what transformers computed with the same weights
 * (tests/vectors/make_vit.py): logits, attention, loss and every parameter's gradient; models of
 * sounds by central differences; folders written and read again, and malformed ones. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "model/signal_model.h"
#include "temporary.h"
#include "vectors.h"

#define VIT TEST_VECTORS "/vit_tiny"
enum { PICTURES = 3, SIDE = 12, PATCHES = 9, NUMBERS = 48, LABELS = 4, HEADS = 2 };

static char directory[256];

static int make_folder(void **state) {
    (void)state;
    return temporary_make(directory);
}

static int remove_folder(void **state) {
    (void)state;
    temporary_remove(directory);
    return 0;
}

typedef struct fixture {
    network network;
    signal_model *model;
    tape tape;
    safetensors *expected;
    float features[PICTURES * PATCHES * NUMBERS];
    int32_t source_offsets[PICTURES + 1], target_offsets[PICTURES + 1];
    batch batch;
} fixture;

static const void *vector_of(const fixture *f, const char *name) {
    return vector_in(f->expected, name);
}

/* The vectors' pictures, channels first, as a picture's bytes, as patches. */
static void cut_pictures(fixture *f) {
    const float *pixels = vector_of(f, "pixels");
    patch_shape shape = signal_patches(&f->model->config);
    for (int i = 0; i < PICTURES; i++) {
        unsigned char bytes[SIDE * SIDE * 3];
        for (int j = 0; j < SIDE * SIDE * 3; j++) {
            bytes[j] = (unsigned char)pixels[i * SIDE * SIDE * 3 + j % 3 * SIDE * SIDE + j / 3];
        }
        patches_cut(&shape, bytes, f->features + i * PATCHES * NUMBERS);
    }
}

static void open_fixture(fixture *f, element_type type) {
    assert_int_equal(safetensors_open(VIT "/expected.safetensors", &f->expected), ATTN_OK);
    if (network_load(VIT, (network_purpose){1, type}, &f->network)) {
        fail_msg("%s", attn_last_error());
    }
    assert_ptr_equal(f->network.kind, &signal_picture_kind);
    f->model = f->network.model;
    assert_int_equal(tape_open(&f->tape, f->network.parameters), ATTN_OK);
    cut_pictures(f);
    for (int i = 0; i <= PICTURES; i++) {
        f->source_offsets[i] = i * PATCHES;
        f->target_offsets[i] = i;
    }
    f->batch = (batch){.sequences = PICTURES, .tokens_source = PICTURES * PATCHES, .tokens_target = PICTURES,
                       .features = f->features, .feature_width = NUMBERS, .source_offsets = f->source_offsets,
                       .target_offsets = f->target_offsets, .labels = vector_of(f, "labels")};
}

static void close_fixture(fixture *f) {
    tape_close(&f->tape);
    network_free(&f->network);
    safetensors_close(f->expected);
}

static void assert_close(const char *name, const float *found, const float *expected, int64_t count, double bound) {
    assert_near(name, found, expected, count, bound, 0.02); /* a key's bias changes nothing: its gradient is rounding */
}

typedef struct seen {
    const fixture *f;
    int looks;
} seen;

static attn_status look(void *context, const char *part, int64_t sequence, int64_t heads, int64_t queries, int64_t keys,
                        const float *weights) {
    seen *s = context;
    char name[64];
    int layer = part[strlen("encoder.")] - '0';
    assert_true(heads == HEADS && queries == PATCHES + 1 && keys == PATCHES + 1);
    (void)snprintf(name, sizeof name, "attention.%d", layer);
    const float *expected = vector_of(s->f, name);
    assert_close(name, weights, expected + sequence * heads * queries * keys, heads * queries * keys, 1e-5);
    s->looks++;
    return ATTN_OK;
}

static void logits_and_attention_equal_transformers(void **state) {
    (void)state;
    static fixture f;
    open_fixture(&f, ELEMENT_F32);
    seen s = {&f, 0};
    tape_start(&f.tape, 0, 1, 1);
    f.tape.probe = (attention_probe){look, &s};
    tensor *x = signal_encode(&f.tape, f.model, f.features, (packing){f.source_offsets, PICTURES}, NULL);
    if (!x) {
        fail_msg("%s", attn_last_error());
    }
    assert_int_equal(s.looks, 2 * PICTURES);
    float logits[PICTURES * LABELS];
    const linear_layer *c = &f.model->classifier;
    for (int i = 0; i < PICTURES * LABELS; i++) {
        const float *row = (const float *)x->data + i / LABELS * x->columns;
        const float *weights = parameter_values(f.network.parameters, c->weight) + i % LABELS * x->columns;
        double sum = (double)parameter_values(f.network.parameters, c->bias)[i % LABELS];
        for (int64_t j = 0; j < x->columns; j++) {
            sum += (double)row[j] * (double)weights[j];
        }
        logits[i] = (float)sum;
    }
    assert_close("logits", logits, vector_of(&f, "logits"), PICTURES * LABELS, 1e-5);
    close_fixture(&f);
}

static void check_gradients(element_type type, double bound) {
    static fixture f;
    loss_result loss;
    open_fixture(&f, type);
    tape_start(&f.tape, 1, 1, 1);
    attn_status status = f.network.kind->loss(&f.tape, f.model, &f.batch, 0, PICTURES, &loss);
    status = status ? status : tape_backward(&f.tape);
    if (status) {
        fail_msg("%s", attn_last_error());
    }
    const float *expected_loss = vector_of(&f, "loss");
    assert_true(fabs(loss.loss / PICTURES - (double)*expected_loss) < bound);
    const parameters *set = f.network.parameters;
    for (size_t i = 0; i < set->count; i++) {
        const named_parameter *p = &set->list[i];
        char name[300];
        (void)snprintf(name, sizeof name, "gradient.%s", p->name);
        assert_close(name, parameter_gradients(set, p->where), vector_of(&f, name), p->where.rows * p->where.columns, bound);
    }
    close_fixture(&f);
}

static void gradients_equal_transformers(void **state) {
    (void)state;
    check_gradients(ELEMENT_F32, 2e-5);
}

static void bf16_gradients_are_near(void **state) {
    (void)state;
    if (network_best_type() == ELEMENT_BF16) {
        check_gradients(ELEMENT_BF16, 0.2);
    }
}

/* --- sounds -------------------------------------------------------------------------- */

static signal_config sound_config(void) {
    const text_line names[] = {{"no", 2}, {"yes", 3}};
    signal_config c = {.kind = SIGNAL_SOUND, .hidden_size = 8, .num_hidden_layers = 2, .num_attention_heads = 2,
                       .intermediate_size = 12, .layer_norm_eps = 1e-6, .patch_size = 1, .num_channels = 1, .rate = 8000,
                       .window = 200, .hop = 80, .bins = 5, .max_frames = 40};
    assert_int_equal(vocabulary_build(names, 2, &c.labels), ATTN_OK);
    return c;
}

/* Sounds of 1, 9, 4 and 13 frames. */
static void gradients_of_sounds_are_central_differences(void **state) {
    (void)state;
    enum { FRAMES = 27, SOUNDS = 4 };
    const int32_t source[] = {0, 1, 10, 14, FRAMES}, target[] = {0, 1, 2, 3, 4}, labels[] = {1, 0, 0, 1};
    float features[FRAMES * 5];
    signal_config config = sound_config();
    signal_model *m;
    tape t;
    assert_int_equal(signal_new(&config, (network_purpose){1, ELEMENT_F32}, &m), ATTN_OK);
    signal_sound_kind.initialize(m, 3);
    parameters *set = &m->parameters;
    for (int64_t i = 0; i < set->size; i++) {
        set->values[i] += 0.1f * random_normal(5, (uint64_t)i);
    }
    for (int i = 0; i < FRAMES * 5; i++) {
        features[i] = random_normal(7, (uint64_t)i);
    }
    batch b = {.sequences = SOUNDS, .tokens_source = FRAMES, .tokens_target = SOUNDS, .features = features,
               .feature_width = 5, .source_offsets = source, .target_offsets = target, .labels = labels};
    loss_result loss, above, below;
    assert_int_equal(tape_open(&t, set), ATTN_OK);
    tape_start(&t, 1, 1, 1);
    assert_int_equal(signal_sound_kind.loss(&t, m, &b, 0, 1, &loss), ATTN_OK);
    assert_int_equal(tape_backward(&t), ATTN_OK);
    assert_int_equal(loss.tokens, SOUNDS);
    for (int64_t i = 0; i < set->size; i += 3) { /* losses near 3 in f32: differences good to 3e-7 / step */
        float kept = set->values[i], step = 2e-3f;
        set->values[i] = kept + step;
        tape_start(&t, 0, 1, 1);
        assert_int_equal(signal_sound_kind.loss(&t, m, &b, 0, 1, &above), ATTN_OK);
        set->values[i] = kept - step;
        tape_start(&t, 0, 1, 1);
        assert_int_equal(signal_sound_kind.loss(&t, m, &b, 0, 1, &below), ATTN_OK);
        set->values[i] = kept;
        double difference = (above.loss - below.loss) / (2 * (double)step);
        if (!(fabs(difference - (double)set->gradients[i]) < 2e-3 + 0.01 * fabs(difference))) {
            fail_msg("element %lld: gradient %g, %g was expected", (long long)i, (double)set->gradients[i], difference);
        }
    }
    tape_close(&t);
    signal_free(m);
}

/* --- folders ------------------------------------------------------------------------- */

static void check_written(const network_kind *kind, signal_model *m) {
    network again;
    int same = 0;
    const char *folder = temporary_path(directory, "written");
    folder_tensor *tensors = network_tensors(&m->parameters, m->parameters.values);
    assert_int_equal(kind->write_config(folder, m), ATTN_OK);
    assert_int_equal(folder_write_weights(folder, tensors, m->parameters.count, NULL, 0), ATTN_OK);
    if (network_load(folder, (network_purpose){0, ELEMENT_F32}, &again)) {
        fail_msg("%s", attn_last_error());
    }
    assert_ptr_equal(again.kind, kind);
    assert_int_equal(kind->same_shape(folder, m, &same), ATTN_OK);
    assert_true(same);
    assert_int_equal(again.parameters->size, m->parameters.size);
    assert_memory_equal(again.parameters->values, m->parameters.values, (size_t)m->parameters.size * sizeof(float));
    network_free(&again);
    m->config.intermediate_size++; /* another shape is refused while weights stand there */
    assert_int_equal(kind->write_config(folder, m), ATTN_ERROR_ARGUMENT);
    memory_free(tensors);
    temporary_remove(folder);
}

static void written_folders_read_as_they_were(void **state) {
    (void)state;
    network n;
    signal_model *m;
    signal_config config = sound_config();
    assert_int_equal(network_load(VIT, (network_purpose){0, ELEMENT_F32}, &n), ATTN_OK);
    check_written(&signal_picture_kind, n.model);
    network_free(&n);
    assert_int_equal(signal_new(&config, (network_purpose){0, ELEMENT_F32}, &m), ATTN_OK);
    signal_sound_kind.initialize(m, 1);
    check_written(&signal_sound_kind, m);
    signal_free(m);
}

static void malformed_configs_are_refused(void **state) {
    (void)state;
#define SHAPE "\"hidden_size\": 8, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"intermediate_size\": 8"
#define NAMES "\"id2label\": {\"0\": \"a\", \"1\": \"b\"}"
#define PICTURE "\"image_size\": 8, \"patch_size\": 4, \"num_channels\": 1"
    static const struct {
        const char *config, *said;
    } CASES[] = {{"{\"model_type\": \"vit\", " PICTURE ", " NAMES "}", "hidden_size is missing"},
                 {"{\"model_type\": \"vit\", " SHAPE ", " PICTURE "}", "id2label"},
                 {"{\"model_type\": \"vit\", " SHAPE ", " PICTURE ", \"id2label\": {\"1\": \"a\"}}", "no name for 0"},
                 {"{\"model_type\": \"vit\", " SHAPE ", " PICTURE ", \"id2label\": {\"0\": \"a\", \"1\": \"a\"}}", "id2label"},
                 {"{\"model_type\": \"vit\", " SHAPE ", \"image_size\": 9, \"patch_size\": 4, \"num_channels\": 1, " NAMES "}",
                  "a multiple of patch_size"},
                 {"{\"model_type\": \"vit\", " SHAPE ", \"image_size\": 8, \"patch_size\": 4, \"num_channels\": 2, " NAMES "}",
                  "num_channels is 2"},
                 {"{\"model_type\": \"vit\", " SHAPE ", \"image_size\": -8, \"patch_size\": 4, " NAMES "}", "image_size is -8"},
                 {"{\"model_type\": \"vit\", " SHAPE ", " PICTURE ", \"hidden_act\": \"quick\", " NAMES "}", "hidden_act is quick"},
                 {"{\"model_type\": \"vit\", " SHAPE ", " PICTURE ", \"layer_norm_eps\": \"x\", " NAMES "}", "layer_norm_eps"},
                 {"{\"model_type\": \"vit\", " SHAPE ", " PICTURE ", \"qkv_bias\": false, " NAMES "}", "qkv_bias"},
                 {"{\"model_type\": \"attn_sound\", " SHAPE ", \"rate\": 8000, " NAMES "}", "window is missing"},
                 {"{\"model_type\": \"attn_sound\", " SHAPE ", \"rate\": 9, \"window\": 9, \"hop\": 9, \"bins\": 9, "
                  "\"max_frames\": 9, " NAMES "}", "rate is 9"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        signal_config c;
        assert_int_equal(file_replace(temporary_path(directory, "config.json"), CASES[i].config, strlen(CASES[i].config)),
                         ATTN_OK);
        attn_status status = signal_config_read(directory, &c);
        if (!status || !strstr(attn_last_error(), CASES[i].said)) {
            fail_msg("case %zu: status %d, \"%s\"", i, (int)status, attn_last_error());
        }
        assert_null(c.labels.bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(logits_and_attention_equal_transformers),
                                       cmocka_unit_test(gradients_equal_transformers),
                                       cmocka_unit_test(bf16_gradients_are_near),
                                       cmocka_unit_test(gradients_of_sounds_are_central_differences),
                                       cmocka_unit_test(written_folders_read_as_they_were),
                                       cmocka_unit_test(malformed_configs_are_refused)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
