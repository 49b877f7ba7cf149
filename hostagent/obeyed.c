#include "obeyed.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "wire/limits.h"

static int path_of(const char *run_dir, char ret_path[PATH_MAX])
{
	int n = snprintf(ret_path, PATH_MAX, "%s/gateway.incarnation", run_dir);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int obeyed_load(const char *run_dir, uint64_t *ret_incarnation)
{
	AUTO_FREE char *text = NULL;
	char path[PATH_MAX], *end;
	uint64_t value;
	size_t size;
	int r = path_of(run_dir, path);

	if (r < 0)
		return r;
	r = fd_read_file(path, 64, &text, &size);
	if (r == -ENOENT) {
		*ret_incarnation = 0;
		return 0;
	}
	if (r < 0)
		return r;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || text[0] < '0' || text[0] > '9' || strcmp(end, "\n") != 0 || value == 0 ||
	    value > WIRE_INCARNATION_MAX)
		return -EINVAL;
	*ret_incarnation = value;
	return 0;
}

int obeyed_store(const char *run_dir, uint64_t incarnation)
{
	char path[PATH_MAX], text[32];
	int r = path_of(run_dir, path);

	if (r < 0)
		return r;
	(void)snprintf(text, sizeof(text), "%" PRIu64 "\n", incarnation);
	return fd_write_file_atomic(path, text, strlen(text));
}
