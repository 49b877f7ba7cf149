/* fd.h - functions for file descriptors and small files; each replaces several libc calls.
 *
 * All descriptors opened here are close-on-exec. Threads: any (no state). Every function may block
 * on the file system. Errors are returned as negative errno.
 */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* If @fd is >= 0, close it, without changing errno. Returns -1, so that `fd = fd_close(fd)` marks
 * the variable as closed. */
int fd_close(int fd);

/* Set O_NONBLOCK on @fd. Returns 0 or -errno. */
int fd_set_nonblock(int fd) __attribute__((warn_unused_result));

/* Write all @size bytes, retrying on EINTR and short writes. Returns 0 or -errno. */
int fd_write_all(int fd, const void *data, size_t size) __attribute__((warn_unused_result));

/* Read all @size bytes at offset @at of a file, retrying on EINTR and short reads. Returns 0; -EIO:
 * the file or device ends before @at + @size; or another -errno. */
int fd_read_at(int fd, void *ret_data, size_t size, uint64_t at)
	__attribute__((warn_unused_result));
/* Write all @size bytes at offset @at of a file, retrying on EINTR and short writes. Returns 0;
 * -EIO: the device takes no more bytes; or another -errno. */
int fd_write_at(int fd, const void *data, size_t size, uint64_t at)
	__attribute__((warn_unused_result));

/* Read a whole file of at most @max_bytes. If the file is a pipe, does not wait for its writer
 * (O_NONBLOCK). The caller owns *ret_data, which is NUL-terminated. *ret_size does not count the
 * NUL. Returns 0; -EFBIG if the file is larger than @max_bytes; -ENOMEM; or another -errno. */
int fd_read_file(const char *path, size_t max_bytes, char **ret_data, size_t *ret_size)
	__attribute__((warn_unused_result));

/* Read a file whose content controls this process, which often runs as root. Does what
 * fd_read_file() does, but refuses a file that another user could have written. Returns -EPERM if
 * the file's owner is neither root nor this process's user, or its mode lets group or others write
 * it. Does not check who may write the directories above the file. */
int fd_read_trusted_file(const char *path, size_t max_bytes, char **ret_data, size_t *ret_size)
	__attribute__((warn_unused_result));

/* Returns a text for an error of fd_read_trusted_file(). For -EPERM, the text says how to repair
 * the file. The caller must not free the text. */
const char *fd_trust_text(int error);

/* Replace the file @path atomically: write @path.tmp, fsync it, rename it to @path, fsync the
 * directory. At every moment, @path has the whole old content or the whole new content. Returns 0
 * or -errno. */
int fd_write_file_atomic(const char *path, const void *data, size_t size)
	__attribute__((warn_unused_result));

/* Create the directory @path and any missing parents, each with @mode, like mkdir -p. Returns 0 or
 * -errno. */
int fd_mkdir_p(const char *path, mode_t mode) __attribute__((warn_unused_result));

#endif
