/* Disks that fail: write, fsync and rename of the code under test go through the
 * functions below (the linker's --wrap, see tests/CMakeLists.txt), which fail the
 * n-th call with an error of choice, write less than asked, or end the process
 * there as a kill would. */
#ifndef ATTN_TESTS_FAULTS_H
#define ATTN_TESTS_FAULTS_H

#include <errno.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static struct {
    const char *call; /* "write", "fsync", "rename", "any", or NULL: no fault */
    int at;           /* the call, counted from 1, that meets the fault; 0: every one */
    int error;        /* errno of the failure; 0: none */
    int kill;         /* 1: the process ends before the call */
    int half;         /* 1: write half of what is asked (one byte of one) */
    int seen;         /* calls counted so far */
} fault;

static inline void faults_none(void) {
    memset(&fault, 0, sizeof fault);
}

/* 1 if this call is to meet the fault. */
static inline int fault_is_here(const char *call) {
    if (!fault.call || (strcmp(fault.call, "any") != 0 && strcmp(fault.call, call) != 0)) {
        return 0;
    }
    fault.seen++;
    if (fault.at && fault.seen != fault.at) {
        return 0;
    }
    if (fault.kill) {
        _exit(9);
    }
    return 1;
}

ssize_t __real_write(int fd, const void *bytes, size_t size);
int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);

ssize_t __wrap_write(int fd, const void *bytes, size_t size) {
    int here = fault_is_here("write");
    if (here && fault.error) {
        errno = fault.error;
        return -1;
    }
    return __real_write(fd, bytes, here && fault.half ? (size + 1) / 2 : size);
}

int __wrap_fsync(int fd) {
    if (fault_is_here("fsync") && fault.error) {
        errno = fault.error;
        return -1;
    }
    return __real_fsync(fd);
}

int __wrap_rename(const char *from, const char *to) {
    if (fault_is_here("rename") && fault.error) {
        errno = fault.error;
        return -1;
    }
    return __real_rename(from, to);
}

#endif
