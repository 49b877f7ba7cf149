#include "vm/vm_role_private.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "wire/limits.h"

static const char *const names[] = {
	[VM_ROLE_NONE] = "none",       [VM_ROLE_PRIMARY] = "primary", [VM_ROLE_STANDBY] = "standby",
	[VM_ROLE_RUNNING] = "running", [VM_ROLE_FENCED] = "fenced",
};

static int role_path(const char *run_dir, const char *vm, char ret_path[PATH_MAX])
{
	int n = snprintf(ret_path, PATH_MAX, "%s/%s.role", run_dir, vm);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int parse(const char *text, enum vm_role *ret_role, uint64_t *ret_term)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t size = strlen(names[i]);
		char *end;
		uint64_t term;

		if (strncmp(text, names[i], size) != 0 || text[size] != ' ')
			continue;
		errno = 0;
		term = strtoull(text + size + 1, &end, 10);
		if (errno || strcmp(end, "\n") != 0 || end == text + size + 1 ||
		    term > WIRE_TERM_MAX)
			return -EINVAL;
		*ret_role = (enum vm_role)i;
		*ret_term = term;
		return 0;
	}
	return -EINVAL;
}

static int load(const char *dir, const char *vm, enum vm_role *ret_role, uint64_t *ret_term)
{
	AUTO_FREE char *text = NULL;
	char path[PATH_MAX];
	size_t size;
	int r = role_path(dir, vm, path);

	if (r == 0)
		r = fd_read_file(path, 256, &text, &size);
	return r < 0 ? r : parse(text, ret_role, ret_term);
}

int vm_role_load(const char *run_dir, const char *role_dir, const char *vm, enum vm_role *ret_role,
		 uint64_t *ret_term, bool *ret_is_booted)
{
	int r = load(run_dir, vm, ret_role, ret_term);

	*ret_is_booted = false;
	if (r != -ENOENT)
		return r;
	r = load(role_dir, vm, ret_role, ret_term);
	*ret_is_booted = r == 0;
	if (r != -ENOENT)
		return r;
	*ret_role = VM_ROLE_NONE;
	*ret_term = 0;
	return 0;
}

int vm_role_time(const char *role_dir, const char *vm, uint64_t *ret_wall_ns)
{
	char path[PATH_MAX];
	struct stat st;
	int r = role_path(role_dir, vm, path);

	if (r < 0)
		return r;
	if (stat(path, &st) < 0)
		return -errno;
	*ret_wall_ns = (uint64_t)st.st_mtim.tv_sec * CLOCK_NS_PER_S + (uint64_t)st.st_mtim.tv_nsec;
	return 0;
}

int vm_role_store(const char *run_dir, const char *role_dir, const char *vm, enum vm_role role,
		  uint64_t term)
{
	char path[PATH_MAX], kept_path[PATH_MAX], text[64];
	int r = role_path(run_dir ? run_dir : "", vm, path);

	if (r == 0)
		r = role_path(role_dir, vm, kept_path);
	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "%s %" PRIu64 "\n", names[role], term);
	/* Write the file in role_dir, which outlives a boot, first: it must never be older than the
	 * file in run_dir. Until a boot, agents read the file in run_dir. */
	r = fd_write_file_atomic(kept_path, text, strlen(text));
	return r < 0 || !run_dir ? r : fd_write_file_atomic(path, text, strlen(text));
}
