#include "vm/vm_end_private.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "vm/vm_fence_private.h"
#include "vm/vm_fenced_private.h"
#include "vm/vm_private.h"
#include "vmm/qmp.h"

#define QMP_NS (5 * CLOCK_NS_PER_S)

/* ---- may it be ended? */

/* Check that QEMU @pid was fenced here, and that its guest has not run since. Returns 0, or -EBUSY
 * with *ret_error. */
static int check_identity(struct vm *vm, const char *monitor, pid_t pid, struct error *ret_error)
{
	const char *run_dir = vm->environment.config->run_dir;
	int r = vm_fenced_find(run_dir, vm->config->name, pid);

	if (r > 0 && pid != vm->intruder_pid)
		return 0;
	if (r >= 0)
		return error_set(ret_error, -EBUSY,
				 "a QEMU of this VM (pid %d) was started here, or let run, after "
				 "this host was fenced: it is kept stopped; look whose it is, end "
				 "its QEMU (monitor %s) and try again",
				 (int)pid, monitor);
	return error_set(ret_error, -EBUSY,
			 "it is not known which QEMU was fenced here (%s.fenced in %s: %s): pid %d "
			 "is kept stopped; end its QEMU (monitor %s) and try again",
			 vm->config->name, run_dir, strerror(-r), (int)pid, monitor);
}

/* Refuse while fenced_guest_keep_s is not over. @fenced_ns: when the guest was fenced (wall time).
 * Returns 0, or -EBUSY with *ret_error. */
static int refuse_early(const struct vm *vm, pid_t pid, uint64_t fenced_ns, struct error *ret_error)
{
	uint64_t until_ns = fenced_ns + vm->config->fenced_guest_keep_s * CLOCK_NS_PER_S;
	uint64_t now_ns = clock_wall_ns();
	uint64_t left_s = until_ns > now_ns ? (until_ns - now_ns) / CLOCK_NS_PER_S + 1 : 0;
	time_t until_s = (time_t)(until_ns / CLOCK_NS_PER_S);
	char text[32];
	struct tm tm;

	if (vm->config->fenced_guest_keep_s == 0 || left_s == 0 || pid == vm->moved_pid)
		return 0;
	(void)strftime(text, sizeof(text), "%F %T UTC", gmtime_r(&until_s, &tm));
	return error_set(ret_error, -EBUSY,
			 "the guest that was fenced here is kept for a look until %s, %02" PRIu64
			 ":%02" PRIu64 " left (fenced_guest_keep_s = %u); try again then, or end "
			 "its QEMU by hand",
			 text, left_s / 60, left_s % 60, vm->config->fenced_guest_keep_s);
}

/* Check that an order of @term may end the guest that was found at @monitor. Returns 0, or -EBUSY
 * with *ret_error. */
static int check_end(struct vm *vm, const char *monitor, const struct vm_fence_found *found,
		     uint64_t term, struct error *ret_error)
{
	uint64_t fenced_ns;
	int r;

	if (found->was_running)
		vm_fence_let_run(vm, found->pid);
	if (term <= vm->term)
		return error_set(ret_error, -EBUSY,
				 "the guest was fenced here in term %" PRIu64
				 ", and only an order of a newer term ends it: try again",
				 vm->term);
	if (found->pid <= 0)
		return error_set(ret_error, -EBUSY,
				 "the guest that was fenced here is still there, and its QEMU's "
				 "process cannot be seen from here; end its QEMU (monitor %s) and "
				 "try again",
				 monitor);
	r = vm_role_time(vm->environment.config->role_dir, vm->config->name, &fenced_ns);
	if (r < 0)
		return error_set(ret_error, -EBUSY,
				 "it is not known when the guest was fenced here (%s.role in %s: "
				 "%s); end its QEMU (pid %d, monitor %s) and try again",
				 vm->config->name, vm->environment.config->role_dir, strerror(-r),
				 (int)found->pid, monitor);
	r = check_identity(vm, monitor, found->pid, ret_error);
	return r < 0 ? r : refuse_early(vm, found->pid, fenced_ns, ret_error);
}

/* ---- the end */

/* Send `quit` to the QEMU with process @pid at @monitor, if its guest is stopped. Returns 0: QEMU
 * has received `quit`, or may have received it; -errno: QEMU goes on. */
static int send_quit(const char *monitor, pid_t pid, struct error *ret_error)
{
	struct qmp *qmp;
	int r = qmp_open(monitor, QMP_NS, &qmp);

	if (r < 0)
		return error_set(ret_error, r,
				 "the guest that was fenced here is not ended: %s: %s", monitor,
				 qmp_open_error(r));
	r = qmp_pid(qmp) == pid ? vm_fence_is_running(qmp) : -EBUSY;
	if (r > 0)
		r = -EBUSY;
	if (r < 0)
		(void)error_set(ret_error, r,
				"the guest that was fenced here is not ended: the QEMU at %s is "
				"another one, or does not say that the guest is stopped: %s",
				monitor, *qmp_error(qmp) ? qmp_error(qmp) : strerror(-r));
	else
		r = qmp_execute(qmp, "quit", NULL, QMP_NS, NULL);
	/* -EREMOTEIO: QEMU refused `quit`. After a lost connection or a timeout, `quit` may have
	 * worked, so the caller waits for the process's end. */
	if (r == -EREMOTEIO)
		(void)error_set(ret_error, r,
				"QEMU pid %d (monitor %s) refuses `quit`: %s; end it by hand and "
				"try again",
				(int)pid, monitor, qmp_error(qmp));
	else if (r == -ECONNRESET || r == -EPIPE || r == -ETIMEDOUT)
		r = 0;
	qmp_close(qmp);
	return r;
}

static int end_by_quit(const struct vm *vm, pid_t pid, uint64_t timeout_ns, struct error *ret_error)
{
	/* Opened before send_quit(), which checks that this process is still at the monitor: so the
	 * pid was not given to another process meanwhile. */
	AUTO_CLOSE int pidfd = pidfd_open(pid, 0);
	struct pollfd end = {.fd = pidfd, .events = POLLIN};
	uint64_t deadline_ns;
	int r;

	if (pidfd < 0)
		return error_set(ret_error, -errno, "QEMU pid %d: pidfd_open: %m", (int)pid);
	r = send_quit(vm->config->qmp, pid, ret_error);
	if (r < 0)
		return r;
	deadline_ns = clock_mono_ns() + timeout_ns;
	do
		r = poll(&end, 1, clock_poll_ms(clock_mono_ns(), deadline_ns));
	while (r < 0 && errno == EINTR);
	if (r > 0)
		return 0;
	return error_set(ret_error, -ETIMEDOUT,
			 "QEMU pid %d (monitor %s) was told to quit and has not ended in %" PRIu64
			 " s: look what holds it (a disk that does not answer?), end it by hand "
			 "and try again",
			 (int)pid, vm->config->qmp, timeout_ns / CLOCK_NS_PER_S);
}

/* Keep the guest's memory, because this host will be the standby, and its copy can begin with this
 * memory. Not needed for a guest that was promoted here: its memory is already in the files of the
 * copy. */
static void keep_memory(struct vm *vm, const char *monitor, pid_t pid)
{
	struct error why;

	if (vm->standby && vm->config->copy_keep_s > 0 &&
	    standby_inherit(vm->standby, monitor, pid, &why) < 0)
		log_info("vm=%s the memory of the guest that was fenced here is not kept, so all "
			 "of it is sent again: %s", vm->config->name, why.text);
}

/* End the guest at @monitor, if there is one and all rules allow it. */
static int end_at(struct vm *vm, const char *monitor, bool is_promoted, uint64_t term,
		  uint64_t timeout_ns, struct error *ret_error)
{
	struct vm_fence_found found = {0};
	int r = vm_fence_stop_at(monitor, &found, ret_error);

	if (r == 0 && found.is_there && found.pid != vm->moved_pid &&
	    vm->config->fenced_guest != AGENT_FENCED_GUEST_END)
		return 0; /* vm_hold_need_no_guest() then refuses the order */
	if (r == 0 && found.is_there)
		r = check_end(vm, monitor, &found, term, ret_error);
	if (r < 0 || !found.is_there)
		return r;
	log_warn("vm=%s term=%" PRIu64 " the guest that was fenced here in term %" PRIu64
		 " is not wanted any more: ending its QEMU (pid %d)",
		 vm->config->name, term, vm->term, (int)found.pid);
	if (!is_promoted)
		keep_memory(vm, monitor, found.pid);
	progress_begin(&vm->progress, "began to end", "the guest that was fenced", 0);
	r = is_promoted ? standby_fence(vm->standby, term, ret_error)
			: end_by_quit(vm, found.pid, timeout_ns, ret_error);
	progress_end(&vm->progress);
	return r;
}

int vm_end_fenced(struct vm *vm, uint64_t term, uint64_t timeout_ns, struct error *ret_error)
{
	struct standby_status status = {.state = STANDBY_STATE_IDLE};
	int r;

	/* A guest that was moved away is ended under any policy, because the other host has all of
	 * it. Any other QEMU is ended only under the policy `end`. */
	if (vm->role != VM_ROLE_FENCED || vm->is_unsure ||
	    (vm->config->fenced_guest != AGENT_FENCED_GUEST_END && vm->moved_pid <= 0))
		return 0;
	vm->look_at_ns = vm->stopped_pid = 0; /* after this order, check at once what is left */
	r = end_at(vm, vm->config->qmp, false, term, timeout_ns, ret_error);
	if (r == 0 && vm->standby)
		standby_status(vm->standby, &status);
	if (r == 0 && status.state == STANDBY_STATE_RUNNING)
		r = end_at(vm, status.qmp, true, term, timeout_ns, ret_error);
	return r;
}
