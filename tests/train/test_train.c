/* A whole training run on a small made-up language: that it learns, that its bits depend
 * on nothing but its options, that it goes on where it was stopped, and what it says of
 * wrong options and full disks. */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "test.h"

#include "train/small_run.h"

typedef struct losses {
    double first, last, accuracy;
    int validations, stop_after, updates_seen;
} losses;

static void note_validation(void *context, const attn_validation *v) {
    losses *l = context;
    if (l->validations++ == 0) {
        l->first = v->loss;
    }
    l->last = v->loss;
    l->accuracy = v->token_accuracy;
}

/* Asked once after every update. */
static int stop_when_due(void *context) {
    losses *l = context;
    return l->stop_after > 0 && ++l->updates_seen >= l->stop_after;
}

static void learns_to_reverse(void **state) {
    (void)state;
    losses l = {0};
    attn_train_options o = small_run("learns");
    o.dropout = o.attention_dropout = 0;
    o.width = 64;
    o.max_updates = 400;
    o.validated = note_validation;
    o.context = &l;
    train_or_fail(&o);
    assert_true(l.validations > 5);
    assert_true(l.last < 0.5 * l.first);
    /* Knowing which words are left but nothing of their order gives 1 + 1/2 + .. + 1/L
     * right words of L, and </s>: over lengths 1 to 6 a share of 0.635. */
    if (l.accuracy < 0.7) {
        fail_msg("token accuracy %.3f after 400 updates", l.accuracy);
    }
    free_run(&o);
}

static void same_bits_with_one_to_four_threads(void **state) {
    (void)state;
    static const char *const MODELS[] = {"threads1", "threads2", "threads3", "threads4"};
    for (int i = 0; i < 4; i++) {
        attn_train_options o = small_run(MODELS[i]);
        attn_set_threads(i + 1);
        train_or_fail(&o);
        assert_same_file(MODELS[0], MODELS[i], "model.safetensors");
        assert_same_file(MODELS[0], MODELS[i], "last/model.safetensors");
        free_run(&o);
    }
    attn_set_threads(2);
}

/* Products wide enough to be cut by columns, in both types. */
static void a_wide_model_has_the_same_bits_for_any_threads(void **state) {
    (void)state;
    static const char *const MODELS[] = {"wide1", "wide2", "wide3", "wide4", "wide5", "wide6"};
    for (int i = 0; i < 6; i++) {
        attn_train_options o = small_run(MODELS[i]);
        o.width = 512;
        o.feed_forward = 1100;
        o.max_updates = 2;
        o.batch_tokens = 700;
        o.precision = i < 3 ? ATTN_PRECISION_F32 : ATTN_PRECISION_AUTO;
        attn_set_threads(i % 3 + 1);
        train_or_fail(&o);
        assert_same_file(MODELS[i / 3 * 3], MODELS[i], "model.safetensors");
        free_run(&o);
    }
    attn_set_threads(2);
}

static void another_seed_gives_another_model(void **state) {
    (void)state;
    attn_train_options a = small_run("seed1"), b = small_run("seed2");
    a.max_updates = b.max_updates = 2;
    b.seed = 2;
    train_or_fail(&a);
    train_or_fail(&b);
    char *path_a = in_work("seed1/model.safetensors"), *path_b = in_work("seed2/model.safetensors");
    char *bytes_a, *bytes_b;
    size_t size_a, size_b;
    assert_int_equal(file_read(path_a, &bytes_a, &size_a), ATTN_OK);
    assert_int_equal(file_read(path_b, &bytes_b, &size_b), ATTN_OK);
    assert_true(size_a != size_b || memcmp(bytes_a, bytes_b, size_a) != 0);
    memory_free(bytes_a);
    memory_free(bytes_b);
    memory_free(path_a);
    memory_free(path_b);
    free_run(&a);
    free_run(&b);
}

/* Stopped within an epoch, at its end, and right before the last update. */
static void a_resumed_run_has_the_same_bits(void **state) {
    (void)state;
    static const int STOPS[] = {1, 7, 29};
    attn_train_options whole = small_run("whole");
    train_or_fail(&whole);
    for (size_t i = 0; i < sizeof STOPS / sizeof *STOPS; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "stopped%d", STOPS[i]);
        losses l = {.stop_after = STOPS[i]};
        attn_train_options o = small_run(name);
        o.stop = stop_when_due;
        o.context = &l;
        assert_int_equal(attn_train(&o), ATTN_ERROR_INTERRUPTED);
        o.resume = 1;
        o.stop = NULL;
        train_or_fail(&o);
        assert_same_file("whole", name, "model.safetensors");
        assert_same_file("whole", name, "last/model.safetensors");
        free_run(&o);
    }
    free_run(&whole);
}

static void resuming_with_other_settings_is_refused(void **state) {
    (void)state;
    attn_train_options o = small_run("course");
    o.max_updates = 3;
    train_or_fail(&o);
    o.resume = 1;
    o.rate = 0.02;
    assert_int_equal(attn_train(&o), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("rate");
    o.rate = 0.01;
    o.width = 16;
    assert_int_equal(attn_train(&o), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("another shape");
    free_run(&o);
}

static void a_folder_that_holds_a_model_is_kept(void **state) {
    (void)state;
    attn_train_options o = small_run("kept");
    o.max_updates = 2;
    train_or_fail(&o);
    assert_int_equal(attn_train(&o), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("--resume");
    free_run(&o);
}

static void wrong_options_are_named(void **state) {
    (void)state;
    attn_train_options o = small_run("wrong");
    o.heads = 5;
    assert_int_equal(attn_train(&o), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("heads");
    free_run(&o);
    o = small_run("wrong");
    o.dropout = -0.1;
    assert_int_equal(attn_train(&o), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("dropout is -0.1");
    free_run(&o);
    o = small_run("wrong");
    o.max_updates = 0;
    assert_int_equal(attn_train(&o), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("no end was given");
    free_run(&o);
    o = small_run("wrong");
    memory_free((void *)(uintptr_t)o.corpus);
    o.corpus = in_work("missing.tsv");
    assert_int_equal(attn_train(&o), ATTN_ERROR_FILE);
    assert_sentence_has("missing.tsv");
    free_run(&o);
    o = small_run("wrong");
    o.activation = "tanh";
    assert_int_equal(attn_train(&o), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("tanh");
    free_run(&o);
}

/* A limit on the size of files stands for a full disk: writes fail half-way. */
static void a_full_disk_leaves_the_last_checkpoint(void **state) {
    (void)state;
    attn_train_options o = small_run("full");
    o.max_updates = 5;
    train_or_fail(&o);
    char *path = in_work("full/model.safetensors"), *state_path = in_work("full/training.safetensors");
    char *before, *after, *state_before, *state_after;
    size_t size_before, size_after, state_size_before, state_size_after;
    assert_int_equal(file_read(path, &before, &size_before), ATTN_OK);
    assert_int_equal(file_read(state_path, &state_before, &state_size_before), ATTN_OK);
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){20000, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    o.resume = 1;
    o.max_updates = 8;
    attn_status status = attn_train(&o);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(status, ATTN_ERROR_FILE);
    assert_sentence_has("safetensors: File too large");
    assert_int_equal(file_read(path, &after, &size_after), ATTN_OK);
    assert_int_equal(file_read(state_path, &state_after, &state_size_after), ATTN_OK);
    assert_int_equal(size_before, size_after);
    assert_memory_equal(before, after, size_before);
    assert_int_equal(state_size_before, state_size_after);
    assert_memory_equal(state_before, state_after, state_size_before);
    train_or_fail(&o); /* and it goes on from there */
    memory_free(before);
    memory_free(after);
    memory_free(state_before);
    memory_free(state_after);
    memory_free(path);
    memory_free(state_path);
    free_run(&o);
}

int main(void) {
    (void)signal(SIGXFSZ, SIG_IGN); /* so that a write beyond the limit fails instead */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_to_reverse),
        cmocka_unit_test(same_bits_with_one_to_four_threads),
        cmocka_unit_test(a_wide_model_has_the_same_bits_for_any_threads),
        cmocka_unit_test(another_seed_gives_another_model),
        cmocka_unit_test(a_resumed_run_has_the_same_bits),
        cmocka_unit_test(resuming_with_other_settings_is_refused),
        cmocka_unit_test(a_folder_that_holds_a_model_is_kept),
        cmocka_unit_test(wrong_options_are_named),
        cmocka_unit_test(a_full_disk_leaves_the_last_checkpoint),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
