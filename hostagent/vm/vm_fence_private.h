/* vm_fence_private.h - stops a guest that another host owns, asks QEMU whether the guest is really
 * stopped, and keeps the guest stopped.
 * Why: QEMU's command `stop` can time out, so FENCE is done only when QEMU says that the guest is
 * stopped. Later, libvirt's autostart or an operator can start a QEMU of this VM on a host that
 * does not own the guest. Two guests with one MAC break the connections of all clients.
 *	role		what is done about a QEMU of this VM at [vm] qmp
 *	fenced          ten times a second, the worker looks for such a QEMU. If there is one, the
 *			worker stops and reports it, and closes the hold on its tap
 *	standby		like fenced, but the hold is left alone: the standby's own QEMU uses the
 *			tap
 *	primary, and this host was booted since the role was recorded:
 *			like fenced, until the gateway has said who owns the guest, because
 *			the standby may have been promoted. If this host is still the owner,
 *			the gateway's next order lets the guest run
 *	others          nothing
 *
 * Threads: the VM's worker.
 */
#ifndef VM_FENCE_PRIVATE_H
#define VM_FENCE_PRIVATE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "config/agent_config.h"
#include "vm/vm_fenced_private.h"

struct qmp;
struct vm;

struct vm_fence_found {
	bool is_there;	/* a QEMU of this VM answered at one of the monitors */
	bool was_running; /* the guest in it ran and had to be stopped */
	pid_t pid;	/* QEMU's process, the last one found; valid if is_there */
	pid_t pids[VM_FENCED_MAX]; /* the processes of all QEMUs that were found */
	size_t n_pids;
};

/* Ask QEMU whether the guest runs. Returns 1: it runs; 0: it does not run; -errno: not known. */
int vm_fence_is_running(struct qmp *qmp) __attribute__((warn_unused_result));

/* Stop the guest of the QEMU whose monitor is at @path, if there is such a QEMU, and check that the
 * guest is stopped. If @path is "", do nothing. Adds what was found to *found.
 * Blocks for up to 15 s. Returns what vm_fence_stop_guest() returns. */
int vm_fence_stop_at(const char *path, struct vm_fence_found *found, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Stop a guest of this VM that may be running here, and check that it is stopped. Looks at the
 * monitor `qmp` of [vm]. If @has_standby, the VM's standby deals with a guest that was promoted
 * here (standby_fence()). If not, this function also looks at the monitor of such a guest
 * (RUN_DIR/NAME.standby.qmp). Blocks for up to 15 s for each QEMU.
 * Returns 0 if no guest of this VM runs any more; *ret_found says what was found;
 * -EBUSY: QEMU's monitor does not answer;
 * -ETIMEDOUT: the guest still runs;
 * other errors of `stop`.
 * On error *ret_error says why. */
int vm_fence_stop_guest(const struct agent_vm_config *config, const char *run_dir, bool has_standby,
			struct vm_fence_found *ret_found, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Record that another host owns the guest in @term, and stop the guest here. @term is not lower
 * than the VM's own term. Returns 0 if the guest is stopped; -errno with *ret_error if the guest
 * may still run, or if the role could not be recorded. */
int vm_fence(struct vm *vm, uint64_t term, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Note that the guest in QEMU @pid was found running here and was stopped again. From then on this
 * guest counts as an intruder, even if it was fenced here before: what it did while it ran exists
 * only here, so its QEMU must not be ended (vm_end_private.h). */
void vm_fence_let_run(struct vm *vm, pid_t pid);

/* Must this host keep the guest from running here? If so, call vm_fence_look() at
 * vm->look_at_ns. */
bool vm_fence_watches(const struct vm *vm);
/* Check whether the guest runs here. If so, stop it. Sets vm->look_at_ns to the next check. */
void vm_fence_look(struct vm *vm);

#endif
