/* Training on a disk that fails and in a process that is killed, at every call that
 * changes the disk: what was saved stays, one sentence is said, and a resumed run ends
 * with the bits of one that met no fault. Also gradients that are not finite.
 *
 * Each run is a process of its own: a fault may end it, and threads do not survive a fork. */
#include <sys/stat.h>
#include <sys/wait.h>

#include "test.h"

#include "faults.h"
#include "model/safetensors.h"
#include "train/small_run.h"

enum { KILLED = 9, WRONG_SENTENCE = 200 };

static attn_train_options faulty_run(const char *model) {
    attn_train_options o = small_run(model);
    o.width = 16;
    o.feed_forward = 24;
    o.max_updates = 6;
    o.validate_every = 2;
    o.journal_every = 1;
    o.keep_last = 2;
    o.resume = 1;
    return o;
}

/* The run as a process: minus the status that attn_train gave, KILLED, or WRONG_SENTENCE
 * where it failed and `sentence` is not in what it said. */
static int run_apart(const attn_train_options *o, const char *call, int at, int error, int kill, const char *sentence) {
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        attn_set_threads(1);
        faults_none();
        fault.call = call;
        fault.at = at;
        fault.error = error;
        fault.kill = kill;
        attn_status status = attn_train(o);
        int wrong = status && sentence && (!strstr(attn_last_error(), sentence) || strchr(attn_last_error(), '\n'));
        if (wrong) {
            (void)fprintf(stderr, "the sentence was: %s\n", attn_last_error());
        }
        _exit(wrong ? WRONG_SENTENCE : -status);
    }
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    return WEXITSTATUS(result);
}

static void assert_same_run(const char *model) {
    assert_same_file("whole", model, "model.safetensors");
    assert_same_file("whole", model, "last/model.safetensors");
    assert_same_file("whole", model, "checkpoints/update-000000004/model.safetensors");
    assert_same_file("whole", model, "checkpoints/update-000000006/model.safetensors");
}

static int make_whole_run(void **state) {
    int failed = make_work(state);
    attn_train_options o = faulty_run("whole");
    failed = failed ? failed : run_apart(&o, NULL, 0, 0, 0, NULL);
    free_run(&o);
    return failed;
}

/* Kills or fails the n-th call for n = first, first + stride, .. until a run ends by itself. */
static void meet_faults(const char *call, int error, int kill, int first, int stride) {
    int met = 0;
    for (int at = first;; at += stride, met++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s-%d-%d", call, kill, at);
        attn_train_options o = faulty_run(name);
        int result = run_apart(&o, call, at, error, kill, name);
        if (result == 0) {
            free_run(&o);
            break;
        }
        if (result != (kill ? KILLED : -ATTN_ERROR_FILE)) {
            fail_msg("call %d of %s: the run ended with %d", at, call, result);
        }
        assert_int_equal(run_apart(&o, NULL, 0, 0, 0, NULL), 0);
        assert_same_run(name);
        free_run(&o);
    }
    assert_true(met > 3);
}

static void a_kill_at_any_call_loses_nothing(void **state) {
    (void)state;
    meet_faults("any", 0, 1, 5, 11);
}

static void a_failed_fsync_is_said_and_loses_nothing(void **state) {
    (void)state;
    meet_faults("fsync", EIO, 0, 3, 7);
}

static void a_full_disk_is_said_and_loses_nothing(void **state) {
    (void)state;
    meet_faults("write", ENOSPC, 0, 4, 9);
}

static void a_failed_rename_is_said_and_loses_nothing(void **state) {
    (void)state;
    meet_faults("rename", EROFS, 0, 2, 7);
}

static void a_folder_that_cannot_be_made_is_said(void **state) {
    (void)state;
    attn_train_options o = faulty_run("unused");
    memory_free((void *)(uintptr_t)o.model);
    o.model = memory_copy_string("/proc/attn-cannot-be-made");
    assert_int_equal(run_apart(&o, NULL, 0, 0, 0, "/proc/attn-cannot-be-made"), -ATTN_ERROR_FILE);
    free_run(&o);
}

static void a_read_only_folder_is_said(void **state) {
    (void)state;
    attn_train_options o = faulty_run("read-only");
    o.max_updates = 2;
    assert_int_equal(run_apart(&o, NULL, 0, 0, 0, NULL), 0);
    o.max_updates = 4;
    assert_int_equal(chmod(o.model, 0555), 0);
    if (geteuid() != 0) { /* whom permissions bind */
        assert_int_equal(run_apart(&o, NULL, 0, 0, 0, "read-only"), -ATTN_ERROR_FILE);
    }
    assert_int_equal(chmod(o.model, 0755), 0);
    assert_int_equal(run_apart(&o, NULL, 0, 0, 0, NULL), 0);
    free_run(&o);
}

/* A model whose weights are numbers, but whose products are not. */
static void three_gradients_that_are_not_finite_end_the_run(void **state) {
    (void)state;
    char *path = in_work("whole/model.safetensors"), *bytes;
    size_t size;
    safetensors *file;
    assert_int_equal(file_read(path, &bytes, &size), ATTN_OK);
    assert_int_equal(safetensors_parse(path, bytes, size, &file), ATTN_OK);
    const safetensors_tensor *tensor = safetensors_find(file, "model.decoder.layers.0.fc1.weight");
    assert_non_null(tensor);
    size_t at = (size_t)((const char *)tensor->data - bytes);
    float huge = 3e38f;
    for (size_t i = 0; i < safetensors_elements(tensor); i++) {
        memcpy(bytes + at + i * sizeof huge, &huge, sizeof huge);
    }
    safetensors_close(file);
    assert_int_equal(file_replace(path, bytes, size), ATTN_OK);
    attn_train_options o = faulty_run("not-finite"), rigged = faulty_run("whole");
    o.init = rigged.model;
    assert_int_equal(run_apart(&o, NULL, 0, 0, 0, "3 updates in a row had to be left out after update 0: the gradient of model."),
                     -ATTN_ERROR_NUMERIC);
    assert_int_equal(run_apart(&o, NULL, 0, 0, 0, "is not finite"), -ATTN_ERROR_NUMERIC);
    memory_free(bytes);
    memory_free(path);
    free_run(&o);
    free_run(&rigged);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kill_at_any_call_loses_nothing),
        cmocka_unit_test(a_failed_fsync_is_said_and_loses_nothing),
        cmocka_unit_test(a_full_disk_is_said_and_loses_nothing),
        cmocka_unit_test(a_failed_rename_is_said_and_loses_nothing),
        cmocka_unit_test(a_folder_that_cannot_be_made_is_said),
        cmocka_unit_test(a_read_only_folder_is_said),
        cmocka_unit_test(three_gradients_that_are_not_finite_end_the_run),
    };
    return cmocka_run_group_tests(tests, make_whole_run, remove_work);
}
