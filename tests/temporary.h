/* A folder of its own for a test, under TMPDIR or /tmp, and its removal. */
#ifndef ATTN_TESTS_TEMPORARY_H
#define ATTN_TESTS_TEMPORARY_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes the folder; its name goes to name. Returns 0, or -1. */
static inline int temporary_make(char name[256]) {
    const char *base = getenv("TMPDIR");
    (void)snprintf(name, 256, "%s/attn_test_XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(name) ? 0 : -1;
}

/* "folder/name" in a buffer that the next four calls leave alone. */
static inline const char *temporary_path(const char *folder, const char *name) {
    static char paths[5][600];
    static int next;
    char *path = paths[next++ % 5];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* Number of entries in a folder, "." and ".." not counted; -1 if it cannot be read. */
static inline int temporary_entries(const char *folder) {
    DIR *directory = opendir(folder);
    int count = -2;
    if (!directory) {
        return -1;
    }
    while (readdir(directory)) {
        count++;
    }
    (void)closedir(directory);
    return count;
}

static inline void temporary_remove(const char *path) {
    DIR *directory = opendir(path);
    struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            char *inner = NULL;
            struct stat info;
            if (asprintf(&inner, "%s/%s", path, entry->d_name) < 0) {
                break;
            }
            if (lstat(inner, &info) == 0 && S_ISDIR(info.st_mode)) {
                temporary_remove(inner);
            } else {
                (void)unlink(inner);
            }
            free(inner);
        }
    }
    if (directory) {
        (void)closedir(directory);
    }
    (void)rmdir(path);
}

#endif
