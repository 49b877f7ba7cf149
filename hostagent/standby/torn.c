#include "standby/torn.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "standby/durable.h"
#include "standby/images.h"

static int name_file(const struct torn *torn, char ret_path[PATH_MAX])
{
	int n = snprintf(ret_path, PATH_MAX, "%s/%s.copying", torn->dir, torn->vm);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

void torn_init(struct torn *torn, const char *dir, const char *vm)
{
	char path[PATH_MAX];

	*torn = (struct torn){.dir = dir, .vm = vm};
	if (dir)
		torn->is_set = name_file(torn, path) == 0 &&
			       (access(path, F_OK) == 0 || errno != ENOENT);
}

int torn_begin(struct torn *torn, struct error *ret_error)
{
	char path[PATH_MAX];
	int r;

	if (!torn->dir || torn->is_synced)
		return 0;
	r = name_file(torn, path);
	if (r == 0)
		r = fd_write_file_atomic(path, "", 0);
	if (r < 0)
		return error_set(ret_error, r,
				 "cannot record in %s that the disks are being copied: %s", path,
				 strerror(-r));
	torn->is_set = torn->is_synced = true;
	return 0;
}

bool torn_settle(struct images *images, struct durable *durable)
{
	struct torn *torn = &images->torn;
	struct error error;

	if (!torn->is_set || !torn->is_whole || !images->is_open)
		return false;
	torn->is_whole = false; /* if the sync fails, the next held epoch sets this again */
	if (durable_sync(durable, &error) < 0) {
		log_limited(LOG_LEVEL_WARN, "vm=%s its disks still count as an unfinished copy: %s",
			    torn->vm, error.text);
		return false;
	}
	torn_end(torn);
	return !torn->is_set;
}

void torn_end(struct torn *torn)
{
	char path[PATH_MAX];

	if (!torn->is_set || name_file(torn, path) < 0)
		return;
	if (unlink(path) < 0 && errno != ENOENT) {
		log_limited(LOG_LEVEL_WARN,
			    "vm=%s %s cannot be removed: %s; its disks still count as an "
			    "unfinished copy", torn->vm, path, strerror(errno));
		return;
	}
	torn->is_set = torn->is_synced = false;
}
