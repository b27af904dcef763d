/* Files: read whole or mapped, and replaced atomically. A file is written beside
 * its final name, flushed to the disk and renamed, so that a reader sees the old
 * content or the new one and never a part, whatever is killed or full. */
#ifndef ATTN_BASE_FILE_H
#define ATTN_BASE_FILE_H

#include <stddef.h>
#include <stdio.h>

#include "base/error.h"

typedef struct file_map {
    const unsigned char *bytes; /* never NULL after file_map_open, even if empty */
    size_t size;
    int borrowed; /* 1: a file in memory (base/file_memory.h), whose bytes are its holder's */
} file_map;

/* Maps a regular file for reading. The bytes stay valid when the file is replaced
 * by file_writer_commit meanwhile (the old content is what is seen); a program that
 * shortens the file in place takes them away (SIGBUS), as with every mapping. */
attn_status file_map_open(const char *path, file_map *map);
void file_map_close(file_map *map);

/* The whole of a file or pipe in memory ("-" is standard input), with a 0 byte
 * behind it; release *bytes with memory_free. */
attn_status file_read(const char *path, char **bytes, size_t *size);

typedef struct file_writer file_writer;

/* Starts a replacement of `path`; what stands there stays until commit. A symbolic
 * link is itself replaced; the old file's permissions are kept. */
attn_status file_writer_open(const char *path, file_writer **writer);
attn_status file_writer_write(file_writer *writer, const void *bytes, size_t size);
attn_status file_writer_print(file_writer *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Flushes to the disk, renames, flushes the folder. Releases the writer in every
 * case; on failure the old file is untouched and the new one is gone (save when
 * the folder's flush alone fails: then the sentence says that the new one is there). */
attn_status file_writer_commit(file_writer *writer);
/* Drops the new file and releases the writer; NULL is allowed. */
void file_writer_abandon(file_writer *writer);

/* Open, write, commit in one. */
attn_status file_replace(const char *path, const void *bytes, size_t size);

/* dir + "/" + name, to be released with memory_free; NULL when memory is short. */
char *file_join(const char *directory, const char *name);

/* 1 if something stands at path. */
int file_exists(const char *path);

/* 1 and the size in bytes if something stands at path. */
int file_size(const char *path, size_t *size);

/* Makes the folder, parents too; one that exists is fine. */
attn_status file_make_directory(const char *path);

#endif
