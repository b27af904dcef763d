/* Files that a caller holds in memory, under the folder FILE_MEMORY_FOLDER: file_read,
 * file_map_open, file_exists and file_size find them there, on the thread that opened them
 * and until it closes them. */
#ifndef ATTN_BASE_FILE_MEMORY_H
#define ATTN_BASE_FILE_MEMORY_H

#include <stddef.h>

#define FILE_MEMORY_FOLDER "(memory)"

typedef struct memory_file {
    const char *name; /* "config.json" */
    const void *bytes;
    size_t size;
} memory_file;

/* The list is borrowed until file_memory_close. One list at a time. */
void file_memory_open(const memory_file *files, size_t count);
void file_memory_close(void);

/* 1 if the path lies in the memory folder and a list is open. */
int file_memory_is(const char *path);

/* The file at such a path, or NULL. */
const memory_file *file_memory_find(const char *path);

#endif
