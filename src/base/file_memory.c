#include "base/file_memory.h"

#include <string.h>

static _Thread_local const memory_file *open_files;
static _Thread_local size_t open_count;

void file_memory_open(const memory_file *files, size_t count) {
    open_files = files;
    open_count = count;
}

void file_memory_close(void) {
    open_files = NULL;
    open_count = 0;
}

int file_memory_is(const char *path) {
    size_t length = strlen(FILE_MEMORY_FOLDER);
    return open_files && strncmp(path, FILE_MEMORY_FOLDER, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

const memory_file *file_memory_find(const char *path) {
    size_t folder = strlen(FILE_MEMORY_FOLDER);
    for (size_t i = 0; file_memory_is(path) && path[folder] && i < open_count; i++) {
        if (strcmp(open_files[i].name, path + folder + 1) == 0) {
            return &open_files[i];
        }
    }
    return NULL;
}
