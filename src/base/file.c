/* Files on POSIX. Reading: mmap, or read() into memory for pipes. Replacing: the
 * new content goes to ".NAME.attn-tmp" in the same folder (rename is atomic only
 * within a file system), is fsynced, renamed over NAME, and the folder is fsynced
 * so that the new name survives a power cut too.
 *
 * The temporary's name is fixed and the file is locked (flock) while it is
 * written: a killed writer leaves at most one stale temporary for each file, the
 * next writer takes it over, and two writers of one file cannot mix their bytes. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_memory.h"
#include "base/memory.h"

enum { WRITE_BUFFER = 1 << 16, READ_STEP = 1 << 16, TEXT_SIZE = 128 };
static const size_t WRITE_STEP = (size_t)1 << 30; /* Linux writes at most 2 GiB - 4 KiB a call */

/* The text of an errno value; strerror itself is not thread-safe everywhere. */
static const char *error_text(int code, char text[TEXT_SIZE]) {
    return strerror_r(code, text, TEXT_SIZE);
}

static attn_status fail_errno(const char *action, const char *path, int code) {
    char text[TEXT_SIZE];
    return fail(ATTN_ERROR_FILE, "cannot %s %s: %s", action, path, error_text(code, text));
}

/* --- reading ------------------------------------------------------------------ */

static attn_status open_for_reading(const char *path, int *descriptor, struct stat *info) {
    /* O_NONBLOCK: a named pipe without a writer must not hang the open. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return fail_errno("open", path, errno);
    }
    if (fstat(fd, info) != 0) {
        int code = errno;
        (void)close(fd);
        return fail_errno("read", path, code);
    }
    if (S_ISDIR(info->st_mode)) {
        (void)close(fd);
        return fail(ATTN_ERROR_FILE, "cannot read %s: it is a folder, a file was expected", path);
    }
    *descriptor = fd;
    return ATTN_OK;
}

static attn_status map_memory(const char *path, file_map *map) {
    const memory_file *file = file_memory_find(path);
    if (!file) {
        return fail(ATTN_ERROR_FILE, "cannot open %s: it is not among the files given", path);
    }
    if (file->size) {
        *map = (file_map){file->bytes, file->size, 1};
    }
    return ATTN_OK;
}

attn_status file_map_open(const char *path, file_map *map) {
    struct stat info;
    int fd = -1;
    *map = (file_map){(const unsigned char *)"", 0, 0};
    if (file_memory_is(path)) {
        return map_memory(path, map);
    }
    attn_status status = open_for_reading(path, &fd, &info);
    if (status) {
        return status;
    }
    if (!S_ISREG(info.st_mode)) {
        status = fail(ATTN_ERROR_FILE, "cannot map %s: it is not a regular file", path);
    } else if (info.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED) {
            status = fail_errno("map", path, errno);
        } else {
            *map = (file_map){bytes, (size_t)info.st_size, 0};
        }
    }
    (void)close(fd);
    return status;
}

void file_map_close(file_map *map) {
    if (map->size && !map->borrowed) {
        (void)munmap((void *)(uintptr_t)map->bytes, map->size);
    }
    *map = (file_map){(const unsigned char *)"", 0, 0};
}

static attn_status read_all(int fd, const char *name, size_t expected, char **bytes, size_t *size) {
    char *content = NULL;
    size_t capacity = 0, used = 0;
    attn_status status = memory_grow(&content, &capacity, expected + 1, 1);
    while (!status) {
        if (capacity - used < 2) {
            status = memory_grow(&content, &capacity, used + READ_STEP, 1);
            continue;
        }
        ssize_t got = read(fd, content + used, capacity - used - 1);
        if (got == 0) {
            content[used] = '\0';
            *bytes = content;
            *size = used;
            return ATTN_OK;
        }
        if (got > 0) {
            used += (size_t)got;
        } else if (errno != EINTR) {
            status = fail_errno("read", name, errno);
        }
    }
    memory_free(content);
    return status;
}

attn_status file_read(const char *path, char **bytes, size_t *size) {
    *bytes = NULL;
    *size = 0;
    if (strcmp(path, "-") == 0) {
        return read_all(STDIN_FILENO, "standard input", READ_STEP, bytes, size);
    }
    if (file_memory_is(path)) {
        file_map map = {0};
        attn_status status = map_memory(path, &map);
        *bytes = status ? NULL : memory_copy_bytes((const char *)map.bytes, map.size);
        *size = *bytes ? map.size : 0;
        return status ? status : *bytes ? ATTN_OK : ATTN_ERROR_MEMORY;
    }
    struct stat info;
    int fd = -1;
    attn_status status = open_for_reading(path, &fd, &info);
    if (status) {
        return status;
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0) {
        status = fail_errno("read", path, errno);
    } else {
        /* One byte more than the size, so that the end is seen without growing. */
        size_t expected = S_ISREG(info.st_mode) ? (size_t)info.st_size + 1 : READ_STEP;
        status = read_all(fd, path, expected, bytes, size);
    }
    (void)close(fd);
    return status;
}

/* --- replacing ---------------------------------------------------------------- */

struct file_writer {
    char *path, *temporary, *folder;
    int fd;          /* of the temporary, locked */
    int mode;        /* permissions of the old file, or -1 */
    int error;       /* errno of the first failure; later writes do nothing */
    size_t buffered; /* bytes waiting in buffer */
    char buffer[WRITE_BUFFER];
};

static attn_status writer_failed(const file_writer *writer) {
    char text[TEXT_SIZE];
    return fail(ATTN_ERROR_FILE, "cannot write %s: %s; what was there before is unchanged",
                writer->path, error_text(writer->error, text));
}

static void writer_release(file_writer *writer, int remove_temporary) {
    if (writer->fd >= 0) {
        if (remove_temporary) { /* before the lock ends with close */
            (void)unlink(writer->temporary);
        }
        (void)close(writer->fd);
    }
    memory_free(writer->path);
    memory_free(writer->temporary);
    memory_free(writer->folder);
    memory_free(writer);
}

/* Splits path into folder (with its final slash, "./" if none) and last part. */
static attn_status writer_name(file_writer *writer, const char *path) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t length = (size_t)(name - path);
    if (*name == '\0') {
        return fail(ATTN_ERROR_FILE, "cannot write \"%s\": it does not name a file", path);
    }
    size_t size = strlen(path) + sizeof "..attn-tmp";
    writer->path = memory_copy_string(path);
    writer->folder = length ? memory_copy_bytes(path, length) : memory_copy_string("./");
    writer->temporary = memory_allocate_raw(size, 1);
    if (!writer->path || !writer->folder || !writer->temporary) {
        return ATTN_ERROR_MEMORY;
    }
    (void)snprintf(writer->temporary, size, "%.*s.%s.attn-tmp", (int)length, path, name);
    return ATTN_OK;
}

/* Opens and locks the temporary. Another writer may rename or remove the file
 * between our open and our lock; then the name holds another file: try again. */
static attn_status writer_lock(file_writer *writer) {
    for (int attempt = 0; attempt < 100; attempt++) {
        struct stat ours, named;
        writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (writer->fd < 0) {
            return fail_errno("write", writer->path, errno);
        }
        /* A file system without locks is no reason to refuse. */
        int busy = flock(writer->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        if (!busy && fstat(writer->fd, &ours) == 0 && stat(writer->temporary, &named) == 0 &&
            ours.st_ino == named.st_ino && ours.st_dev == named.st_dev) {
            return ATTN_OK;
        }
        (void)close(writer->fd);
        writer->fd = -1;
        if (busy) {
            break;
        }
    }
    return fail(ATTN_ERROR_FILE, "cannot write %s: another process is writing it", writer->path);
}

attn_status file_writer_open(const char *path, file_writer **result) {
    struct stat old;
    *result = NULL;
    int exists = stat(path, &old) == 0;
    if (exists && !S_ISREG(old.st_mode)) {
        return fail(ATTN_ERROR_FILE, "cannot write %s: it is %s, a file was expected", path,
                    S_ISDIR(old.st_mode) ? "a folder" : "not a regular file");
    }
    file_writer *writer = memory_allocate_raw(1, sizeof *writer);
    if (!writer) {
        return ATTN_ERROR_MEMORY;
    }
    writer->path = writer->temporary = writer->folder = NULL;
    writer->fd = -1;
    writer->mode = exists ? (int)(old.st_mode & 0777) : -1;
    writer->error = 0;
    writer->buffered = 0;
    attn_status status = writer_name(writer, path);
    if (!status) {
        status = writer_lock(writer);
    }
    if (!status && ftruncate(writer->fd, 0) != 0) {
        status = fail_errno("write", path, errno);
    }
    if (status) {
        writer_release(writer, 1);
        return status;
    }
    *result = writer;
    return ATTN_OK;
}

/* write() until all is written; a short write goes on where it ended. */
static void write_out(file_writer *writer, const char *bytes, size_t size) {
    while (size && !writer->error) {
        ssize_t done = write(writer->fd, bytes, size < WRITE_STEP ? size : WRITE_STEP);
        if (done > 0) {
            bytes += done;
            size -= (size_t)done;
        } else if (done == 0) {
            writer->error = EIO;
        } else if (errno != EINTR) {
            writer->error = errno;
        }
    }
}

static void write_buffer_out(file_writer *writer) {
    write_out(writer, writer->buffer, writer->buffered);
    writer->buffered = 0;
}

attn_status file_writer_write(file_writer *writer, const void *bytes, size_t size) {
    if (size > WRITE_BUFFER - writer->buffered) {
        write_buffer_out(writer);
    }
    if (size >= WRITE_BUFFER) {
        write_out(writer, bytes, size);
    } else if (size) {
        memcpy(writer->buffer + writer->buffered, bytes, size);
        writer->buffered += size;
    }
    return writer->error ? writer_failed(writer) : ATTN_OK;
}

attn_status file_writer_print(file_writer *writer, const char *format, ...) {
    va_list arguments;
    char *text = NULL;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0) {
        writer->error = ENOMEM;
        return fail(ATTN_ERROR_MEMORY, "out of memory while writing %s", writer->path);
    }
    attn_status status = file_writer_write(writer, text, (size_t)length);
    free(text);
    return status;
}

static int sync_folder(const char *folder) {
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno == EACCES ? 0 : errno; /* write permission without read: cannot be synced */
    }
    int code = fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP ? 0 : errno;
    (void)close(fd);
    return code;
}

attn_status file_writer_commit(file_writer *writer) {
    write_buffer_out(writer);
    if (!writer->error && writer->mode >= 0 && fchmod(writer->fd, (mode_t)writer->mode) != 0) {
        writer->error = errno;
    }
    if (!writer->error && fsync(writer->fd) != 0) {
        writer->error = errno;
    }
    if (!writer->error && rename(writer->temporary, writer->path) != 0) {
        writer->error = errno;
    }
    if (writer->error) {
        attn_status status = writer_failed(writer);
        writer_release(writer, 1);
        return status;
    }
    attn_status status = ATTN_OK;
    int code = sync_folder(writer->folder);
    if (code) {
        char text[TEXT_SIZE];
        status = fail(ATTN_ERROR_FILE, "%s is written, but its folder cannot be flushed to the disk: %s",
                      writer->path, error_text(code, text));
    }
    writer_release(writer, 0);
    return status;
}

void file_writer_abandon(file_writer *writer) {
    if (writer) {
        writer_release(writer, 1);
    }
}

attn_status file_replace(const char *path, const void *bytes, size_t size) {
    file_writer *writer;
    attn_status status = file_writer_open(path, &writer);
    if (status) {
        return status;
    }
    status = file_writer_write(writer, bytes, size);
    if (status) {
        file_writer_abandon(writer);
        return status;
    }
    return file_writer_commit(writer);
}

/* --- names and folders -------------------------------------------------------- */

char *file_join(const char *directory, const char *name) {
    size_t length = strlen(directory);
    const char *separator = length && directory[length - 1] == '/' ? "" : "/";
    size_t size = length + strlen(name) + 2;
    char *path = memory_allocate_raw(size, 1);
    if (path) {
        (void)snprintf(path, size, "%s%s%s", directory, separator, name);
    }
    return path;
}

int file_exists(const char *path) {
    size_t size;
    return file_size(path, &size);
}

int file_size(const char *path, size_t *size) {
    struct stat info;
    *size = 0;
    if (file_memory_is(path)) {
        const memory_file *file = file_memory_find(path);
        *size = file ? file->size : 0;
        return file || strcmp(path, FILE_MEMORY_FOLDER) == 0;
    }
    if (stat(path, &info) != 0) {
        return 0;
    }
    *size = info.st_size > 0 ? (size_t)info.st_size : 0;
    return 1;
}

static int make_one(const char *path) {
    struct stat info;
    if (mkdir(path, 0777) == 0) {
        return 0;
    }
    int code = errno;
    if (stat(path, &info) == 0) {
        return S_ISDIR(info.st_mode) ? 0 : ENOTDIR;
    }
    return code;
}

attn_status file_make_directory(const char *path) {
    char *part = memory_copy_string(path);
    if (!part) {
        return ATTN_ERROR_MEMORY;
    }
    int code = *path ? 0 : ENOENT;
    for (char *c = part + 1; !code && *part && *c; c++) {
        if (*c == '/') {
            *c = '\0';
            code = make_one(part);
            *c = '/';
        }
    }
    if (!code) {
        code = make_one(part);
    }
    memory_free(part);
    return code ? fail_errno("make the folder", path, code) : ATTN_OK;
}
