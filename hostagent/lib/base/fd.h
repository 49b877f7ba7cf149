/* fd.h - file descriptors and small files: short forms of what takes many lines with libc.
 *
 * All descriptors made here are CLOEXEC. Threads: any (no state). Every function may block on the
 * file system. Errors are negative errno.
 */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Close @fd if it is >= 0; keeps errno. Returns -1, so that `fd = fd_close(fd)` clears it. */
int fd_close(int fd);

/* 0 or -errno. */
int fd_set_nonblock(int fd) __attribute__((warn_unused_result));

/* Write all @size bytes, retrying on EINTR and short writes. 0 or -errno. */
int fd_write_all(int fd, const void *data, size_t size) __attribute__((warn_unused_result));

/* Read a whole file of at most @max_bytes. Never waits for a pipe's writer (O_NONBLOCK).
 * *ret_data is NUL-terminated (the NUL is not counted in *ret_size) and owned by the caller. 0;
 * -EFBIG: larger than @max_bytes; -ENOMEM; other -errno. */
int fd_read_file(const char *path, size_t max_bytes, char **ret_data, size_t *ret_size)
	__attribute__((warn_unused_result));

/* fd_read_file() for a file that this process, often root, obeys: accepts it only from users who
 * already have that power. -EPERM: its owner is neither root nor this process's user, or its mode
 * lets group or others write it; else as fd_read_file(). Does not check who may write the
 * directories above it. */
int fd_read_trusted_file(const char *path, size_t max_bytes, char **ret_data, size_t *ret_size)
	__attribute__((warn_unused_result));

/* A text for an error of fd_read_trusted_file(); for -EPERM it says what to do. Static. */
const char *fd_trust_text(int error);

/* Replace @path whole or not at all: write PATH.tmp, fsync it, rename, fsync the directory.
 * 0 or -errno; on error the old file stands. */
int fd_write_file_atomic(const char *path, const void *data, size_t size)
	__attribute__((warn_unused_result));

/* mkdir -p with @mode for each missing part. 0 or -errno. */
int fd_mkdir_p(const char *path, mode_t mode) __attribute__((warn_unused_result));

#endif
