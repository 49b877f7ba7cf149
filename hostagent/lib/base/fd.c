#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

int fd_close(int fd)
{
	int saved_errno = errno;

	if (fd >= 0)
		(void)close(fd); /* Linux releases the descriptor whatever close() returns */
	errno = saved_errno;
	return -1;
}

int fd_set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int fd_write_all(int fd, const void *data, size_t size)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

int fd_read_at(int fd, void *ret_data, size_t size, uint64_t at)
{
	uint8_t *to = ret_data;

	while (size > 0) {
		ssize_t n = pread(fd, to, size, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		to += n;
		size -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

int fd_write_at(int fd, const void *data, size_t size, uint64_t at)
{
	const uint8_t *from = data;

	while (size > 0) {
		ssize_t n = pwrite(fd, from, size, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		from += n;
		size -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

static int read_all(int fd, size_t max_bytes, char **ret_data, size_t *ret_size)
{
	AUTO_FREE char *data = NULL;
	size_t size = 0, capacity = 0;

	for (;;) {
		ssize_t n;

		if (size == capacity) {
			/* Read up to one byte more than the limit: a file of exactly @max_bytes is
			 * accepted, a larger one is not. */
			size_t want = capacity ? capacity * 2 : 4096;
			char *larger;

			if (want > max_bytes + 1)
				want = max_bytes + 1;
			if (want == capacity)
				return -EFBIG;
			larger = realloc(data, want + 1);
			if (!larger)
				return -ENOMEM;
			data = larger;
			capacity = want;
		}
		n = read(fd, data + size, capacity - size);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			break;
		size += (size_t)n;
	}
	if (size > max_bytes)
		return -EFBIG;
	data[size] = '\0';
	*ret_data = TAKE(data);
	*ret_size = size;
	return 0;
}

int fd_read_file(const char *path, size_t max_bytes, char **ret_data, size_t *ret_size)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -errno : read_all(fd, max_bytes, ret_data, ret_size);
}

int fd_read_trusted_file(const char *path, size_t max_bytes, char **ret_data, size_t *ret_size)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & (S_IWGRP | S_IWOTH)))
		return -EPERM;
	return read_all(fd, max_bytes, ret_data, ret_size);
}

const char *fd_trust_text(int error)
{
	if (error != -EPERM)
		return strerror(-error);
	return "others than root may change it, and root does what it says: chown root, chmod go-w";
}

static int sync_directory_of(const char *path)
{
	char dir[PATH_MAX];
	char *slash;
	AUTO_CLOSE int fd = -1;

	if (snprintf(dir, sizeof(dir), "%s", path) >= (int)sizeof(dir))
		return -ENAMETOOLONG;
	slash = strrchr(dir, '/');
	if (!slash)
		memcpy(dir, ".", 2);
	else if (slash == dir)
		dir[1] = '\0';
	else
		*slash = '\0';
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

int fd_write_file_atomic(const char *path, const void *data, size_t size)
{
	char tmp[PATH_MAX];
	AUTO_CLOSE int fd = -1;
	int r;

	if (snprintf(tmp, sizeof(tmp), "%s.tmp", path) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, data, size);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlink(tmp); /* report the error in r, not one of unlink() */
		return r;
	}
	return sync_directory_of(path);
}

int fd_mkdir_p(const char *path, mode_t mode)
{
	char part[PATH_MAX];
	size_t size = strlen(path);

	if (size >= sizeof(part))
		return -ENAMETOOLONG;
	memcpy(part, path, size + 1);
	for (size_t i = 1; i <= size; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		part[i] = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return -errno;
		if (i < size)
			part[i] = '/';
	}
	return 0;
}
