#include "supervision/obeyed.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/sum_line.h"
#include "wire/limits.h"

#define TEXT_BYTES 128

static int path_of(const char *role_dir, char ret_path[PATH_MAX])
{
	int n = snprintf(ret_path, PATH_MAX, "%s/gateway.incarnation", role_dir);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static size_t format(uint64_t incarnation, char text[TEXT_BYTES])
{
	int n = snprintf(text, TEXT_BYTES, "holdfast-obeyed 1\nnumber=%" PRIu64, incarnation);

	return sum_line_append(text, (size_t)n, TEXT_BYTES);
}

static int parse(const char *text, size_t size, uint64_t *ret_incarnation)
{
	char again[TEXT_BYTES];
	uint64_t value;

	if (sscanf(text, "holdfast-obeyed 1\nnumber=%" SCNu64, &value) != 1 || value == 0 ||
	    value > WIRE_INCARNATION_MAX)
		return -EINVAL;
	/* Unless the content is exactly what we would write for this number, it counts as
	 * damaged. */
	if (format(value, again) != size || memcmp(again, text, size) != 0)
		return -EINVAL;
	*ret_incarnation = value;
	return 0;
}

int obeyed_load(const char *role_dir, uint64_t *ret_incarnation, struct error *ret_error)
{
	AUTO_FREE char *text = NULL;
	char path[PATH_MAX];
	size_t size;
	int r = path_of(role_dir, path);

	if (r == 0)
		r = fd_read_file(path, TEXT_BYTES, &text, &size);
	if (r == -ENOENT) {
		*ret_incarnation = 0;
		return 0;
	}
	if (r == 0)
		r = parse(text, size, ret_incarnation);
	if (r < 0)
		(void)error_set(ret_error, r,
				"%.250s/gateway.incarnation: %s; which gateway is the youngest is "
				"not known here, so none is obeyed: be sure that the right one "
				"runs, and no other, remove the file and restart the agent",
				role_dir, r == -EINVAL ? "damaged" : strerror(-r));
	return r;
}

int obeyed_store(const char *role_dir, uint64_t incarnation)
{
	char path[PATH_MAX], text[TEXT_BYTES];
	int r = path_of(role_dir, path);

	return r < 0 ? r : fd_write_file_atomic(path, text, format(incarnation, text));
}
