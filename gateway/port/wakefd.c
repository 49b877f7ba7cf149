#include "port/wakefd.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static bool is_open(const struct wakefd_view *view, int fd)
{
	return view->open[fd / 64] >> (fd % 64) & 1;
}

int wakefd_look(struct wakefd_view *ret_view)
{
	struct wakefd_view view;
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	if (!dir)
		return -errno;
	memset(&view, 0, sizeof(view));
	while ((entry = readdir(dir))) {
		long fd = strtol(entry->d_name, NULL, 10);

		if (entry->d_name[0] != '.' && fd != dirfd(dir) && fd >= 0 && fd < WAKEFD_FDS_MAX)
			view.open[fd / 64] |= UINT64_C(1) << (fd % 64);
	}
	closedir(dir);
	*ret_view = view;
	return 0;
}

int wakefd_find(const struct wakefd_view *before, int family)
{
	struct wakefd_view now;
	int fd, found = -ENOENT, rc;

	rc = wakefd_look(&now);
	if (rc)
		return rc;
	for (fd = 0; fd < WAKEFD_FDS_MAX; fd++) {
		int domain = -1;
		socklen_t size = sizeof(domain);

		if (!is_open(&now, fd) || is_open(before, fd))
			continue;
		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) || domain != family)
			continue;
		if (found >= 0)
			return -ENOENT;
		found = fd;
	}
	return found;
}
