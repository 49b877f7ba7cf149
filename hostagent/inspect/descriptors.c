#include "inspect/descriptors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/dir.h"
#include "base/fd.h"

#define UNIX_TABLE_MAX (4u << 20)

int descriptors_find_unix(const char *table, unsigned long inode, char *ret_path, size_t size)
{
	for (const char *line = table; line && *line; line = strchr(line, '\n')) {
		unsigned long found;
		const char *path;
		int n = 0;

		line += *line == '\n';
		/* the columns: Num RefCount Protocol Flags Type St Inode Path */
		if (sscanf(line, "%*s %*s %*s %*s %*s %*s %lu %n", &found, &n) != 1 || n == 0 ||
		    found != inode)
			continue;
		path = line + n;
		if (*path != '/' || strcspn(path, "\n") >= size)
			return -ENOENT;
		(void)snprintf(ret_path, size, "%.*s", (int)strcspn(path, "\n"), path);
		return 0;
	}
	return -ENOENT;
}

/* Find the path behind the link @text of /proc/PID/fd. Returns 0 or -ENOENT. */
static int path_of(const char *text, const char *table, char *ret_path)
{
	unsigned long inode;

	if (*text == '/' && strncmp(text, "/dev/", 5) != 0 && !strstr(text, " (deleted)") &&
	    strlen(text) < DESCRIPTOR_PATH_BYTES) {
		strcpy(ret_path, text);
		return 0;
	}
	if (sscanf(text, "socket:[%lu]", &inode) != 1)
		return -ENOENT;
	return descriptors_find_unix(table, inode, ret_path, DESCRIPTOR_PATH_BYTES);
}

int descriptors_read(pid_t pid, struct descriptors *ret_descriptors, struct error *ret_error)
{
	AUTO_FREE char *table = NULL;
	AUTO(closedir) DIR *dir = NULL;
	char path[64], text[DESCRIPTOR_PATH_BYTES];
	struct dirent *entry;
	size_t size;
	int r;

	ret_descriptors->n = 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/net/unix", (int)pid);
	r = fd_read_file(path, UNIX_TABLE_MAX, &table, &size);
	if (r < 0)
		return error_set(ret_error, r, "%s: %s", path, strerror(-r));
	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (!dir)
		return error_set(ret_error, -errno, "%s: %s; run this as root", path,
				 strerror(errno));
	while (ret_descriptors->n < DESCRIPTORS_MAX && (entry = readdir(dir)) != NULL) {
		struct descriptor *d = &ret_descriptors->list[ret_descriptors->n];
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, text, sizeof(text) - 1);

		if (n < 0)
			continue; /* "." and "..", or closed meanwhile */
		text[n] = '\0';
		d->fdset = -1;
		d->number = (unsigned int)strtoul(entry->d_name, NULL, 10);
		ret_descriptors->n += path_of(text, table, d->path) == 0;
	}
	return 0;
}

void descriptors_note_fdsets(struct descriptors *descriptors, const json_t *fdsets)
{
	size_t i, k;
	json_t *set, *fd;

	json_array_foreach(fdsets, i, set) {
		json_array_foreach(json_object_get(set, "fds"), k, fd) {
			for (size_t d = 0; d < descriptors->n; d++) {
				struct descriptor *one = &descriptors->list[d];

				if (one->number == json_integer_value(json_object_get(fd, "fd")))
					one->fdset = json_integer_value(
						json_object_get(set, "fdset-id"));
			}
		}
	}
}

const char *descriptors_fdset_path(const struct descriptors *descriptors, const char *path)
{
	char *end;
	long set;

	if (!descriptors || strncmp(path, DESCRIPTORS_FDSET, strlen(DESCRIPTORS_FDSET)) != 0)
		return NULL;
	path += strlen(DESCRIPTORS_FDSET);
	set = strtol(path, &end, 10);
	for (size_t i = 0; i < descriptors->n && end != path && !*end; i++) {
		if (set >= 0 && descriptors->list[i].fdset == set)
			return descriptors->list[i].path;
	}
	return NULL;
}

const char *descriptors_path(const struct descriptors *descriptors, const char *number)
{
	char *end;
	unsigned long wanted = strtoul(number, &end, 10);

	if (!descriptors || *end || end == number)
		return NULL;
	for (size_t i = 0; i < descriptors->n; i++) {
		if (descriptors->list[i].number == wanted)
			return descriptors->list[i].path;
	}
	return NULL;
}
