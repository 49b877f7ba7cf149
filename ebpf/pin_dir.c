#include "ebpf/pin_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

/* Check that @dir is on a bpffs. If @dir does not exist, check its nearest parent that exists.
 * Called before mkdir, so that no directory is created outside of a bpffs. Returns 0, -ENOENT if
 * @dir is not on a bpffs, or another -errno. */
static int check_bpffs(const char *dir)
{
	char parent[PATH_MAX];
	struct statfs fs;

	if ((size_t)snprintf(parent, sizeof(parent), "%s", dir) >= sizeof(parent))
		return -ENAMETOOLONG;
	while (statfs(parent, &fs) < 0) {
		char *slash = strrchr(parent, '/');

		if (errno != ENOENT || !slash || slash == parent)
			return errno == ENOENT ? -ENOENT : -errno;
		*slash = '\0';
	}
	return (unsigned long)fs.f_type == BPF_FS_MAGIC ? 0 : -ENOENT;
}

int pin_dir_open(const char *dir, int *ret_fd)
{
	AUTO_CLOSE int fd = -1;
	int r = check_bpffs(dir);

	if (r == 0)
		r = fd_mkdir_p(dir, 0700);
	if (r < 0)
		return r;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	*ret_fd = fd;
	fd = -1;
	return 0;
}

int pin_dir_path(const char *dir, const char *name, char *ret, size_t size)
{
	int n = snprintf(ret, size, "%s/%s", dir, name);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int pin_dir_empty(const char *dir, const char *const *names, size_t n_names)
{
	char path[PATH_MAX];
	int r = 0;

	for (size_t i = 0; i < n_names; i++) {
		if (pin_dir_path(dir, names[i], path, sizeof(path)) == 0 && unlink(path) < 0 &&
		    errno != ENOENT && r == 0)
			r = -errno;
	}
	return r;
}
