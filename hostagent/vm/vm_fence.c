#include "vm/vm_fence_private.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "vm/vm_hold_private.h"
#include "vm/vm_move_private.h"
#include "vm/vm_private.h"
#include "vmm/qmp.h"

AUTO_DEFINE(json_t *, json_decref)

#define QMP_NS	 (5 * CLOCK_NS_PER_S)
#define LOOK_NS  (100 * CLOCK_NS_PER_MS) /* interval of checks; a check without a QEMU takes some
					  * us */
#define AGAIN_NS CLOCK_NS_PER_S          /* interval of questions to a QEMU that does not answer,
					  * or whose guest is stopped */

int vm_fence_is_running(struct qmp *qmp)
{
	AUTO(json_decref) json_t *answer = NULL;
	json_t *running;
	int r = qmp_execute(qmp, "query-status", NULL, QMP_NS, &answer);

	if (r < 0)
		return r;
	running = json_object_get(answer, "running");
	return json_is_boolean(running) ? json_is_true(running) : -EPROTO;
}

/* Stop the guest if it runs, and check this. *ret_was_running: did the guest run before? Returns 0
 * if the guest is stopped; -ETIMEDOUT: it still runs; other -errno. */
static int stop_and_look(struct qmp *qmp, bool *ret_was_running)
{
	int r = vm_fence_is_running(qmp);

	*ret_was_running = r == 1;
	if (r == 1)
		r = qmp_execute(qmp, "stop", NULL, QMP_NS, NULL);
	if (r == 0 && *ret_was_running)
		r = vm_fence_is_running(qmp);
	return r == 1 ? -ETIMEDOUT : r;
}

int vm_fence_stop_at(const char *path, struct vm_fence_found *found, struct error *ret_error)
{
	bool was_running = false;
	struct qmp *qmp;
	int r;

	r = *path ? qmp_open(path, QMP_NS, &qmp) : -ENOENT;
	if (r == -ENOENT || r == -ECONNREFUSED)
		return 0;
	if (r < 0)
		return error_set(ret_error, r,
				 "it is not known whether the guest stands still: %s: %s", path,
				 qmp_open_error(r));
	found->is_there = true;
	found->pid = qmp_pid(qmp);
	if (found->n_pids < VM_FENCED_MAX)
		found->pids[found->n_pids++] = found->pid;
	r = stop_and_look(qmp, &was_running);
	if (r < 0)
		(void)error_set(ret_error, r, "the guest could not be stopped: %s: %s", path,
				*qmp_error(qmp) ? qmp_error(qmp) : strerror(-r));
	found->was_running |= was_running;
	qmp_close(qmp);
	return r;
}

int vm_fence_stop_guest(const struct agent_vm_config *config, const char *run_dir, bool has_standby,
			struct vm_fence_found *ret_found, struct error *ret_error)
{
	char promoted[sizeof(config->qmp)];
	int r, second = 0;

	*ret_found = (struct vm_fence_found){0};
	r = vm_fence_stop_at(config->qmp, ret_found, ret_error);
	if (!has_standby && snprintf(promoted, sizeof(promoted), "%s/%s.standby.qmp", run_dir,
				     config->name) < (int)sizeof(promoted))
		second = vm_fence_stop_at(promoted, ret_found, ret_error);
	return r < 0 ? r : second;
}

/* Close the holds on the taps. An error is only logged, because the guest is stopped anyway. */
static void close_hold(const struct vm *vm)
{
	struct error error;

	if (vm->config->taps.n > 0 && vm_hold_close(vm->config, vm->pin_dir, &error) < 0)
		log_warn(
			"vm=%s a tap's hold cannot be closed, ignoring: the guest is stopped: %s",
			vm->config->name, error.text);
}

/* Stop the guest, and close the hold on its taps if this was not done for its QEMU yet. Returns
 * what vm_fence_stop_guest() returns. */
static int stop_here(struct vm *vm, struct vm_fence_found *ret_found, struct error *ret_error)
{
	int r = vm_fence_stop_guest(vm->config, vm->environment.config->run_dir, vm->standby,
				    ret_found, ret_error);

	/* On a standby, leave the hold alone: the standby's waiting QEMU has the tap, so the guest
	 * that was found here does not have it. */
	if (r == 0 && ret_found->is_there && ret_found->pid != vm->closed_pid &&
	    vm->role != VM_ROLE_STANDBY) {
		close_hold(vm);
		vm->closed_pid = ret_found->pid;
	}
	if (r == 0 && !ret_found->is_there)
		vm->closed_pid = 0;
	return r;
}

/* Returns a wall time: this fence may record a QEMU only if that QEMU was started before this
 * time. */
static uint64_t find_until_ns(const struct vm *vm)
{
	uint64_t fenced_ns;

	if (vm->role != VM_ROLE_FENCED)
		return vm->is_unsure ? 0 : UINT64_MAX; /* if unsure: any QEMU here was started after
							* the boot, so record none */
	/* This host was fenced already, but perhaps the agent died before it had recorded the
	 * QEMUs. A QEMU that was started after that fence is not one of them. */
	return vm_role_time(vm->environment.config->role_dir, vm->config->name, &fenced_ns) == 0
		       ? fenced_ns
		       : 0;
}

/* Record the guests that this fence has stopped. A later fence does not change the record: any
 * other guest that it finds was started here since the first fence. */
static void record(struct vm *vm, const struct vm_fence_found *found, uint64_t until_ns)
{
	const char *run_dir = vm->environment.config->run_dir;
	int r = vm_fenced_find(run_dir, vm->config->name, 0); /* is there a record? */

	if (r == -ENOENT)
		r = vm_fenced_store(run_dir, vm->config->name, found->pids, found->n_pids,
				    vm->intruder_pid, until_ns);
	if (r < 0)
		log_warn("vm=%s term=%" PRIu64 " cannot record in run_dir %s which QEMU was fenced "
			 "(%s), ignoring: it is not ended by itself",
			 vm->config->name, vm->term, run_dir, strerror(-r));
}

void vm_fence_let_run(struct vm *vm, pid_t pid)
{
	const char *run_dir = vm->environment.config->run_dir;

	vm->intruder_pid = pid; /* check_identity() and the report need this pid */
	if (vm->role == VM_ROLE_FENCED && vm_fenced_find(run_dir, vm->config->name, pid) > 0 &&
	    vm_fenced_store(run_dir, vm->config->name, NULL, 0, 0, 0) < 0)
		log_warn("vm=%s term=%" PRIu64 " cannot record in run_dir %s that pid %d was let "
			 "run, ignoring: this agent knows", vm->config->name, vm->term, run_dir,
			 (int)pid);
}

int vm_fence(struct vm *vm, uint64_t term, struct error *ret_error)
{
	struct standby_status status = {.state = STANDBY_STATE_IDLE};
	/* Use the role, not the standby's state: perhaps the standby's thread has not found the
	 * previous agent's copy yet. FENCED counts too: that agent may have recorded the fence, and
	 * died before it dropped the copy. */
	bool may_have_copy = vm->standby &&
			     (vm->role == VM_ROLE_STANDBY || vm->role == VM_ROLE_FENCED);
	uint64_t until_ns = find_until_ns(vm);
	struct error error;
	struct vm_fence_found found;
	struct engine *engine;
	int r = 0, stopped = 0;

	/* If the role is not FENCED, a record in NAME.fenced is from an earlier fence: remove
	 * it. */
	if (vm->role != VM_ROLE_FENCED &&
	    vm_fenced_remove(vm->environment.config->run_dir, vm->config->name) < 0)
		until_ns = 0;
	/* If this host was not fenced yet and has no engine, the guest was not moved away. Forget
	 * an older moved_pid, because another process can have this pid by now. */
	if (!vm->engine && vm->role != VM_ROLE_FENCED)
		vm->moved_pid = 0;
	/* Record the role first: then no later agent resumes this guest, whatever fails below. */
	if (vm->role != VM_ROLE_FENCED || vm->term != term)
		r = vm_set_role(vm, VM_ROLE_FENCED, term, ret_error);
	if (vm->engine)
		vm_move_fenced(vm);
	engine = vm_take_engine(vm);
	/* Continue after an error: `stop` may have worked although it timed out. stop_here() below
	 * finds this out from QEMU. */
	if (engine && engine_fence(engine, &error) < 0)
		log_warn("vm=%s term=%" PRIu64 " %s; looking", vm->config->name, term,
			 error.text);
	if (vm->standby)
		standby_status(vm->standby, &status);
	/* Stop a guest that was promoted here, also if an agent died during the promotion. If there
	 * is none, drop the copy. */
	if (status.state == STANDBY_STATE_RUNNING || status.state == STANDBY_STATE_PROMOTING)
		stopped = standby_fence(vm->standby, term, ret_error);
	else if (may_have_copy && standby_stop(vm->standby, term, true, &error) < 0)
		log_warn("vm=%s term=%" PRIu64 " the copy is kept: %s", vm->config->name, term,
			 error.text);
	if (stopped == 0)
		stopped = stop_here(vm, &found, ret_error);
	if (stopped == 0)
		record(vm, &found, until_ns);
	vm->look_at_ns = 0;
	vm->stopped_pid = 0;
	return stopped < 0 ? stopped : r;
}

bool vm_fence_watches(const struct vm *vm)
{
	return !*vm->fault && (vm->role == VM_ROLE_FENCED || vm->is_unsure ||
			       (vm->role == VM_ROLE_STANDBY && *vm->config->qmp));
}

/* Write into *text what the report says about the guest that was found; "" if none was found.
 * @error: the result of the check. On error *text has its text already. */
static void describe(struct vm *vm, int error, const struct vm_fence_found *found,
		     struct error *text)
{
	const char *why =
		vm->is_unsure
			? "this host was booted since it protected the guest, which another may own"
			: "another host owns the guest";

	if (error < 0)
		return;
	if (!found->is_there) {
		vm->intruder_pid = 0;
		return;
	}
	if (found->was_running) {
		log_warn("vm=%s term=%" PRIu64 " its QEMU (pid %d) ran here though %s: stopped",
			 vm->config->name, vm->term, (int)found->pid, why);
		vm_fence_let_run(vm, found->pid);
	}
	if (vm->is_unsure)
		(void)error_set(text, error,
				"the guest (QEMU pid %d) is kept stopped until the gateway says "
				"who owns it: %s",
				(int)found->pid, why);
	else if (found->pid == vm->intruder_pid)
		(void)error_set(text, error,
				"a QEMU of this VM (pid %d) was started here though %s: it is kept "
				"stopped; end its QEMU (monitor %s), and let nothing start it here "
				"by itself",
				(int)found->pid, why, vm->config->qmp);
	else if (found->pid == vm->moved_pid)
		(void)error_set(text, error,
				"the guest was moved away from here, its QEMU (pid %d) is still "
				"there, stopped; the order to stand by ends it",
				(int)found->pid);
	else if (vm->config->fenced_guest == AGENT_FENCED_GUEST_END)
		(void)error_set(text, error,
				"the guest that was fenced here (QEMU pid %d) is still there, "
				"stopped; `protect` ends it%s",
				(int)found->pid,
				vm->config->fenced_guest_keep_s > 0
					? " once fenced_guest_keep_s is over"
					: "");
	else
		(void)error_set(text, error,
				"the guest that was fenced here is still there, stopped; end its "
				"QEMU (monitor %s) and try again",
				vm->config->qmp);
}

/* Does the QEMU whose guest was stopped at the last check still exist? If not, a new QEMU may run
 * in its place. */
static bool is_still_there(const struct vm *vm)
{
	return vm->stopped_pid > 0 && (kill(vm->stopped_pid, 0) == 0 || errno == EPERM);
}

void vm_fence_look(struct vm *vm)
{
	uint64_t now_ns = clock_mono_ns();
	char text[WIRE_TEXT_MAX + 1];
	struct error error = {""};
	struct vm_fence_found found;
	bool is_new;
	int r;

	vm->look_at_ns = now_ns + LOOK_NS;
	if (is_still_there(vm) && now_ns - vm->asked_ns < AGAIN_NS)
		return;
	r = stop_here(vm, &found, &error);
	describe(vm, r, &found, &error);
	wire_text_format(text, "%s", error.text);
	pthread_mutex_lock(&vm->lock);
	is_new = strcmp(vm->fenced_text, text) != 0;
	strcpy(vm->fenced_text, text);
	vm->is_fence_unsure = r < 0;
	pthread_mutex_unlock(&vm->lock);
	if (is_new)
		vm->environment.wake(vm->environment.wake_arg);
	now_ns = clock_mono_ns();
	vm->asked_ns = now_ns;
	vm->stopped_pid = r == 0 && found.is_there ? found.pid : 0;
	/* If QEMU runs in a pid namespace that we cannot see, we get no pid. Then only its monitor
	 * shows whether QEMU still exists. Ask a monitor less often than LOOK_NS. */
	vm->look_at_ns =
		now_ns + (r < 0 || (found.is_there && found.pid <= 0) ? AGAIN_NS : LOOK_NS);
}
