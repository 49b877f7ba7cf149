#include "vm/vm_known_private.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "vm/vm_private.h"

#define STAT_BYTES_MAX 4096u
#define STAT_TO_START  20  /* number of blanks in /proc/PID/stat between the name's ')' and the
			    * start time */
#define LINE_BYTES     48u /* "PID START\n" */

int vm_known_start(pid_t pid, uint64_t *ret_ticks)
{
	AUTO_FREE char *text = NULL;
	char path[32], *at;
	size_t size;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	r = fd_read_file(path, STAT_BYTES_MAX, &text, &size);
	if (r < 0)
		return r;
	at = strrchr(text, ')'); /* the name before it may have blanks */
	for (int i = 0; at && i < STAT_TO_START; i++)
		at = strchr(at + 1, ' ');
	return at && sscanf(at, " %" SCNu64, ret_ticks) == 1 ? 0 : -EPROTO;
}

static int path_of(const struct vm *vm, char ret_path[PATH_MAX])
{
	int n = snprintf(ret_path, PATH_MAX, "%s/%s.guest", vm->environment.config->run_dir,
			 vm->config->name);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int vm_known_store(const struct vm *vm, pid_t pid, struct error *ret_error)
{
	char path[PATH_MAX], text[LINE_BYTES];
	uint64_t ticks;
	int r = path_of(vm, path);

	if (r == 0)
		r = vm_known_start(pid, &ticks);
	if (r == 0)
		r = fd_write_file_atomic(path, text,
					 (size_t)snprintf(text, sizeof(text), "%d %" PRIu64 "\n",
							  (int)pid, ticks));
	return r < 0 ? error_set(ret_error, r, "cannot record in run_dir %s which QEMU is "
				 "protected: %s", vm->environment.config->run_dir, strerror(-r))
		     : 0;
}

/* Does the process @pid that was started at @recorded still run? The pid may have been reused. */
static enum vm_guest_state look(pid_t pid, uint64_t recorded)
{
	AUTO_CLOSE int fd = pidfd_open(pid, 0); /* before its start is read: no later process */
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t ticks;
	int r;

	if (fd < 0)
		return errno == ESRCH ? VM_GUEST_GONE : VM_GUEST_UNKNOWN;
	r = vm_known_start(pid, &ticks);
	if (poll(&p, 1, 0) > 0 || (r == 0 && ticks != recorded))
		return VM_GUEST_GONE;
	return r == 0 ? VM_GUEST_ALIVE : VM_GUEST_UNKNOWN;
}

/* Does the recorded process still run? UNKNOWN: there is no record, or the process cannot be seen.
 * Else sets *ret_pid. */
static enum vm_guest_state look_at_record(const struct vm *vm, pid_t *ret_pid)
{
	AUTO_FREE char *text = NULL;
	char path[PATH_MAX];
	uint64_t recorded;
	size_t size;
	int pid;

	if (path_of(vm, path) < 0 || fd_read_file(path, LINE_BYTES, &text, &size) < 0 ||
	    sscanf(text, "%d %" SCNu64, &pid, &recorded) != 2 || pid <= 0)
		return VM_GUEST_UNKNOWN;
	*ret_pid = pid;
	return look(pid, recorded);
}

bool vm_known_seeks(const struct vm *vm)
{
	return vm->role == VM_ROLE_PRIMARY && !vm->engine && !vm->is_unsure &&
	       vm->found != VM_GUEST_GONE;
}

bool vm_known_seek(struct vm *vm, uint64_t now_ns)
{
	char promoted[STANDBY_PATH_MAX];
	pid_t pid = 0, other;
	enum vm_guest_state found = look_at_record(vm, &pid);
	bool changed;

	vm->guest.look_at_ns = now_ns + VM_GUEST_LOOK_NS;
	if (found == VM_GUEST_GONE) {
		/* If another QEMU is at the guest's monitor, do not report that the guest has
		 * ended: the order PROTECT decides what to do with this QEMU. */
		(void)vm_guest_look(&vm->guest, vm_guest_monitor(vm, promoted), now_ns);
		if (vm_guest_get(&vm->guest, &other) != VM_GUEST_GONE)
			found = VM_GUEST_UNKNOWN;
	}
	pthread_mutex_lock(&vm->lock);
	changed = vm->found != found;
	vm->found = found;
	vm->found_pid = pid;
	pthread_mutex_unlock(&vm->lock);
	if (changed && found == VM_GUEST_GONE)
		log_error("vm=%s term=%" PRIu64 " the guest that was protected here has ended "
			  "(QEMU pid %d)", vm->config->name, vm->term, (int)pid);
	return changed;
}
