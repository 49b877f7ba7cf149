#include "vm/vm_fenced_private.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "vm/vm_known_private.h"

#define LINE_BYTES 48u /* "PID START\n" */

/* Returns the wall time that was @ticks after the boot. */
static uint64_t wall_ns_of(uint64_t ticks)
{
	uint64_t per_s = (uint64_t)sysconf(_SC_CLK_TCK);

	return clock_wall_ns() - clock_boot_ns() + ticks * (CLOCK_NS_PER_S / per_s);
}

static int path_of(const char *run_dir, const char *vm, char ret_path[PATH_MAX])
{
	int n = snprintf(ret_path, PATH_MAX, "%s/%s.fenced", run_dir, vm);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int vm_fenced_store(const char *run_dir, const char *vm, const pid_t *pids, size_t n, pid_t except,
		    uint64_t until_ns)
{
	char path[PATH_MAX], text[VM_FENCED_MAX * LINE_BYTES] = "";
	size_t size = 0;
	int r = path_of(run_dir, vm, path);

	for (size_t i = 0; i < n && i < VM_FENCED_MAX; i++) {
		uint64_t ticks;

		if (pids[i] > 0 && pids[i] != except && vm_known_start(pids[i], &ticks) == 0 &&
		    wall_ns_of(ticks) <= until_ns)
			size += (size_t)snprintf(text + size, sizeof(text) - size,
						 "%d %" PRIu64 "\n", (int)pids[i], ticks);
	}
	return r < 0 ? r : fd_write_file_atomic(path, text, size);
}

int vm_fenced_find(const char *run_dir, const char *vm, pid_t pid)
{
	AUTO_FREE char *text = NULL;
	char path[PATH_MAX];
	uint64_t ticks, recorded;
	size_t size;
	int r = path_of(run_dir, vm, path), listed;

	if (r == 0)
		r = fd_read_file(path, VM_FENCED_MAX * LINE_BYTES, &text, &size);
	if (r < 0)
		return r;
	if (vm_known_start(pid, &ticks) < 0)
		return 0;
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (sscanf(line, "%d %" SCNu64, &listed, &recorded) == 2 && listed == pid &&
		    recorded == ticks)
			return 1;
	}
	return 0;
}

int vm_fenced_remove(const char *run_dir, const char *vm)
{
	char path[PATH_MAX];
	int r = path_of(run_dir, vm, path);

	if (r == 0 && unlink(path) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}
