/* Files: reading what is there, and replacing it so that whatever fails the old
 * content stays, nothing is left behind, and one sentence says why. */
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/memory.h"
#include "faults.h"
#include "temporary.h"

static char folder[256];

static int set_up(void **state) {
    (void)state;
    faults_none();
    return temporary_make(folder);
}

static int tear_down(void **state) {
    (void)state;
    faults_none();
    (void)chmod(folder, 0700);
    temporary_remove(folder);
    return 0;
}

static void put(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_content(const char *path, const char *text) {
    char *bytes;
    size_t size;
    assert_int_equal(file_read(path, &bytes, &size), ATTN_OK);
    assert_int_equal(size, strlen(text));
    assert_string_equal(bytes, text);
    memory_free(bytes);
}

/* --- reading --- */

static void a_file_is_mapped_and_read_whole(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "a");
    file_map map;
    put(path, "content");
    assert_int_equal(file_map_open(path, &map), ATTN_OK);
    assert_int_equal(map.size, 7);
    assert_memory_equal(map.bytes, "content", 7);
    file_map_close(&map);
    assert_int_equal(map.size, 0);
    assert_content(path, "content");
}

static void an_empty_file_is_no_error(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "empty");
    file_map map;
    put(path, "");
    assert_int_equal(file_map_open(path, &map), ATTN_OK);
    assert_int_equal(map.size, 0);
    assert_non_null(map.bytes);
    file_map_close(&map);
    assert_content(path, "");
}

static void missing_files_folders_and_devices_are_refused_by_name(void **state) {
    (void)state;
    const char *missing = temporary_path(folder, "none");
    char *bytes;
    size_t size;
    file_map map;
    assert_int_equal(file_map_open(missing, &map), ATTN_ERROR_FILE);
    assert_sentence_has(missing);
    assert_sentence_has("No such file");
    assert_int_equal(file_read(missing, &bytes, &size), ATTN_ERROR_FILE);
    assert_sentence_has(missing);
    assert_null(bytes);
    assert_int_equal(file_read(folder, &bytes, &size), ATTN_ERROR_FILE);
    assert_sentence_has("folder");
    assert_int_equal(file_map_open(folder, &map), ATTN_ERROR_FILE);
    assert_sentence_has("folder");
    assert_int_equal(file_map_open("/dev/null", &map), ATTN_ERROR_FILE);
    assert_sentence_has("not a regular file");
    assert_int_equal(file_read("/dev/null", &bytes, &size), ATTN_OK);
    assert_int_equal(size, 0);
    memory_free(bytes);
}

static void a_pipe_larger_than_its_buffer_is_read_whole(void **state) {
    (void)state;
    enum { SIZE = 300000 };
    char path[64], *bytes;
    int ends[2];
    size_t size;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(ends[0]);
        for (int i = 0; i < SIZE; i += 100) {
            char part[100];
            memset(part, 'a' + i / 100 % 26, sizeof part);
            if (write(ends[1], part, sizeof part) != (ssize_t)sizeof part) {
                _exit(1);
            }
        }
        _exit(0);
    }
    (void)close(ends[1]);
    (void)snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    assert_int_equal(file_read(path, &bytes, &size), ATTN_OK);
    assert_int_equal(size, SIZE);
    for (int i = 0; i < SIZE; i++) {
        assert_int_equal(bytes[i], 'a' + i / 100 % 26);
    }
    memory_free(bytes);
    (void)close(ends[0]);
    (void)waitpid(child, NULL, 0);
}

static void a_mapping_survives_the_replacement_of_its_file(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "a");
    file_map map;
    put(path, "old old old");
    assert_int_equal(file_map_open(path, &map), ATTN_OK);
    assert_int_equal(file_replace(path, "new", 3), ATTN_OK);
    assert_memory_equal(map.bytes, "old old old", 11);
    file_map_close(&map);
    assert_content(path, "new");
}

/* --- replacing --- */

static void nothing_is_seen_before_the_commit(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "a");
    file_writer *writer;
    put(path, "old");
    assert_int_equal(file_writer_open(path, &writer), ATTN_OK);
    assert_int_equal(file_writer_print(writer, "%s %d", "new", 42), ATTN_OK);
    assert_content(path, "old");
    assert_int_equal(file_writer_commit(writer), ATTN_OK);
    assert_content(path, "new 42");
    assert_int_equal(temporary_entries(folder), 1);
}

static void an_abandoned_replacement_leaves_nothing(void **state) {
    (void)state;
    file_writer *writer;
    assert_int_equal(file_writer_open(temporary_path(folder, "a"), &writer), ATTN_OK);
    assert_int_equal(file_writer_write(writer, "new", 3), ATTN_OK);
    assert_int_equal(temporary_entries(folder), 1);
    file_writer_abandon(writer);
    file_writer_abandon(NULL);
    assert_int_equal(temporary_entries(folder), 0);
}

static void writes_of_every_size_arrive_in_order(void **state) {
    (void)state;
    enum { MOST = 200000, TOTAL = 1200000 };
    const size_t sizes[] = {1, 65535, 65536, 65537, 3, 0, 131072, 17, MOST, 65520, 40, 1000};
    const char *path = temporary_path(folder, "a");
    unsigned char *all = memory_allocate(TOTAL, 1);
    size_t used = 0;
    file_writer *writer;
    file_map map;
    for (size_t i = 0; i < TOTAL; i++) {
        all[i] = (unsigned char)(i * 2654435761u >> 13);
    }
    fault.call = "write";
    fault.half = 1; /* the disk takes half of each write */
    assert_int_equal(file_writer_open(path, &writer), ATTN_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(file_writer_write(writer, all + used, sizes[i]), ATTN_OK);
        used += sizes[i];
    }
    assert_int_equal(file_writer_commit(writer), ATTN_OK);
    faults_none();
    assert_int_equal(file_map_open(path, &map), ATTN_OK);
    assert_int_equal(map.size, used);
    assert_memory_equal(map.bytes, all, used);
    file_map_close(&map);
    memory_free(all);
}

/* Replaces an old file by 200,000 bytes under the fault that is set. */
static void assert_fault_leaves_the_old_file(const char *sentence) {
    const char *path = temporary_path(folder, "a");
    char *large = memory_allocate(200000, 1);
    int entries = temporary_entries(folder);
    assert_int_equal(file_replace(path, large, 200000), ATTN_ERROR_FILE);
    faults_none();
    memory_free(large);
    assert_sentence_has(path);
    assert_sentence_has(sentence);
    assert_sentence_has("unchanged");
    assert_content(path, "old");
    assert_int_equal(temporary_entries(folder), entries);
    assert_int_equal(file_replace(path, "old", 3), ATTN_OK);
}

static void a_failing_disk_leaves_the_old_file(void **state) {
    (void)state;
    const struct {
        const char *call;
        int error;
        const char *sentence;
    } CASES[] = {{"write", ENOSPC, "No space left"}, {"write", EIO, "Input/output error"},
                 {"write", EDQUOT, "quota"},         {"fsync", EIO, "Input/output error"},
                 {"fsync", ENOSPC, "No space left"}, {"rename", EACCES, "Permission denied"},
                 {"rename", EROFS, "Read-only"}};
    put(temporary_path(folder, "a"), "old");
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        fault.call = CASES[i].call;
        fault.at = 1;
        fault.error = CASES[i].error;
        assert_fault_leaves_the_old_file(CASES[i].sentence);
    }
}

static void an_interrupted_write_goes_on(void **state) {
    (void)state;
    fault.call = "write";
    fault.at = 1;
    fault.error = EINTR;
    assert_int_equal(file_replace(temporary_path(folder, "a"), "new", 3), ATTN_OK);
    assert_content(temporary_path(folder, "a"), "new");
}

static void a_failed_write_is_not_forgotten_by_the_commit(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "a");
    file_writer *writer;
    put(path, "old");
    assert_int_equal(file_writer_open(path, &writer), ATTN_OK);
    for (int i = 0; i < 100000; i++) { /* results not looked at, on purpose */
        fault.call = "write";
        fault.at = 2;
        fault.error = ENOSPC;
        (void)file_writer_print(writer, "%d\n", i);
    }
    assert_int_equal(file_writer_commit(writer), ATTN_ERROR_FILE);
    assert_sentence_has("No space left");
    assert_content(path, "old");
    assert_int_equal(temporary_entries(folder), 1);
}

static void a_folder_that_cannot_be_flushed_is_said_to_be_so(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "a");
    put(path, "old");
    fault.call = "fsync";
    fault.at = 2; /* the first is the file's */
    fault.error = EIO;
    assert_int_equal(file_replace(path, "new", 3), ATTN_ERROR_FILE);
    assert_sentence_has("is written, but its folder");
    assert_content(path, "new");
}

static void a_real_size_limit_leaves_the_old_file(void **state) {
    (void)state;
    struct rlimit old, small;
    put(temporary_path(folder, "a"), "old");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 100000;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_fault_leaves_the_old_file("File too large");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, SIG_DFL);
}

static void a_folder_without_write_permission_is_refused(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "a");
    uid_t user = geteuid();
    put(path, "old");
    assert_int_equal(chmod(folder, 0555), 0);
    if (user == 0) { /* root may write everywhere */
        assert_int_equal(seteuid(65534), 0);
    }
    attn_status status = file_replace(path, "new", 3);
    assert_int_equal(seteuid(user), 0);
    assert_int_equal(status, ATTN_ERROR_FILE);
    assert_sentence_has("Permission denied");
    assert_content(path, "old");
}

static void folders_devices_and_missing_parents_are_refused(void **state) {
    (void)state;
    file_writer *writer;
    assert_int_equal(file_writer_open(folder, &writer), ATTN_ERROR_FILE);
    assert_sentence_has("a folder");
    assert_int_equal(file_writer_open("/dev/null", &writer), ATTN_ERROR_FILE);
    assert_sentence_has("not a regular file");
    assert_int_equal(file_writer_open(temporary_path(folder, "no/file"), &writer), ATTN_ERROR_FILE);
    assert_sentence_has("No such file");
    assert_int_equal(file_writer_open("", &writer), ATTN_ERROR_FILE);
    assert_int_equal(file_writer_open(temporary_path(folder, ""), &writer), ATTN_ERROR_FILE);
    assert_null(writer);
}

static void a_second_writer_is_refused_until_the_first_ends(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "a");
    file_writer *first, *second;
    assert_int_equal(file_writer_open(path, &first), ATTN_OK);
    assert_int_equal(file_writer_open(path, &second), ATTN_ERROR_FILE);
    assert_sentence_has("another process is writing");
    assert_int_equal(file_writer_write(first, "first", 5), ATTN_OK);
    assert_int_equal(file_writer_commit(first), ATTN_OK);
    assert_content(path, "first");
    assert_int_equal(file_replace(path, "second", 6), ATTN_OK);
    assert_content(path, "second");
}

static void a_stale_temporary_is_taken_over(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "a");
    put(temporary_path(folder, ".a.attn-tmp"), "what a killed writer left behind, longer than the new");
    assert_int_equal(file_replace(path, "new", 3), ATTN_OK);
    assert_content(path, "new");
    assert_int_equal(temporary_entries(folder), 1);
}

static void permissions_of_the_old_file_are_kept(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "a");
    struct stat info;
    put(path, "old");
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(file_replace(path, "new", 3), ATTN_OK);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
}

/* A replacement that ends before its n-th system call, for every n. */
static void a_kill_at_any_call_leaves_the_old_or_the_new_file(void **state) {
    (void)state;
    const char *path = temporary_path(folder, "a");
    int killed = 0, code = 9;
    for (int at = 1; code == 9; at++) {
        put(path, "old");
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            fault.call = "any";
            fault.at = at;
            fault.kill = 1;
            _exit(file_replace(path, "new", 3) == ATTN_OK ? 0 : 1);
        }
        int result;
        assert_true(waitpid(child, &result, 0) == child && WIFEXITED(result));
        code = WEXITSTATUS(result);
        killed += code == 9;
        assert_content(path, at <= 3 ? "old" : "new"); /* write, fsync, rename | fsync of the folder */
    }
    assert_int_equal(code, 0);
    assert_int_equal(killed, 4);
}

/* --- names and folders --- */

static void names_are_joined_with_one_slash(void **state) {
    (void)state;
    char *a = file_join("dir", "x"), *b = file_join("dir/", "x");
    assert_string_equal(a, "dir/x");
    assert_string_equal(b, "dir/x");
    memory_free(a);
    memory_free(b);
}

static void folders_are_made_with_their_parents(void **state) {
    (void)state;
    const char *deep = temporary_path(folder, "a//b/c/");
    assert_int_equal(file_make_directory(deep), ATTN_OK);
    assert_int_equal(file_make_directory(deep), ATTN_OK);
    assert_true(file_exists(temporary_path(folder, "a/b/c")));
    assert_int_equal(file_make_directory("/"), ATTN_OK);
    assert_int_equal(file_make_directory("."), ATTN_OK);
    put(temporary_path(folder, "file"), "x");
    assert_int_equal(file_make_directory(temporary_path(folder, "file")), ATTN_ERROR_FILE);
    assert_sentence_has("Not a directory");
    assert_int_equal(file_make_directory(temporary_path(folder, "file/inner")), ATTN_ERROR_FILE);
    assert_int_equal(file_make_directory(""), ATTN_ERROR_FILE);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_file_is_mapped_and_read_whole),
        CASE(an_empty_file_is_no_error),
        CASE(missing_files_folders_and_devices_are_refused_by_name),
        CASE(a_pipe_larger_than_its_buffer_is_read_whole),
        CASE(a_mapping_survives_the_replacement_of_its_file),
        CASE(nothing_is_seen_before_the_commit),
        CASE(an_abandoned_replacement_leaves_nothing),
        CASE(writes_of_every_size_arrive_in_order),
        CASE(a_failing_disk_leaves_the_old_file),
        CASE(an_interrupted_write_goes_on),
        CASE(a_failed_write_is_not_forgotten_by_the_commit),
        CASE(a_folder_that_cannot_be_flushed_is_said_to_be_so),
        CASE(a_real_size_limit_leaves_the_old_file),
        CASE(a_folder_without_write_permission_is_refused),
        CASE(folders_devices_and_missing_parents_are_refused),
        CASE(a_second_writer_is_refused_until_the_first_ends),
        CASE(a_stale_temporary_is_taken_over),
        CASE(permissions_of_the_old_file_are_kept),
        CASE(a_kill_at_any_call_leaves_the_old_or_the_new_file),
        CASE(names_are_joined_with_one_slash),
        CASE(folders_are_made_with_their_parents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
