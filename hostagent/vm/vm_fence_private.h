/* vm_fence_private.h - stops a guest that another host owns, asks QEMU whether the guest is
 * stopped, and keeps it stopped.
 *
 * Why: `stop` can time out, so FENCE is done only when QEMU says that the guest is stopped. Later,
 * libvirt's autostart or an operator can start a QEMU of this VM on a host that does not own the
 * guest. Two guests with one MAC break the connections of all clients.
 *
 *	role		what is done about a QEMU of this VM at [vm] qmp
 *	fenced          looked for ten times a second; if found, it is stopped and reported,
 *			and the hold on its tap is closed
 *	standby		like fenced, but the tap is left to the standby's own guest
 *	primary, and this host was booted since the role was recorded:
 *			like fenced, until the gateway has said who owns the guest: perhaps
 *			the standby was promoted. If this host is still the owner, the
 *			gateway's next order lets the guest run
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
	pid_t pid;	/* QEMU's process; valid if is_there */
	pid_t pids[VM_FENCED_MAX]; /* the processes of all QEMUs that were found */
	size_t n_pids;
};

/* Ask QEMU whether the guest runs. Returns 1 if it runs; 0 if it does not; -errno. */
int vm_fence_is_running(struct qmp *qmp) __attribute__((warn_unused_result));

/* Stop the guest whose monitor is at @path ("": none), and check that it is stopped. Adds to *found
 * what was found. Blocks for up to 15 s. Returns what vm_fence_stop_guest() returns. */
int vm_fence_stop_at(const char *path, struct vm_fence_found *found, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Stop a guest of this VM that may be running here, and check that it is stopped. Asks the QEMU at
 * [vm] qmp. If @has_standby is false, also asks the QEMU that an earlier agent promoted. Blocks for
 * up to 15 s for each QEMU.
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

/* Note that the guest in QEMU @pid was found running here, and stopped. It is then no longer the
 * guest that was fenced: what it did since exists only here. */
void vm_fence_let_run(struct vm *vm, pid_t pid);

/* vm_fence_watches(): must this host keep a guest from running here? If so, call vm_fence_look() at
 * vm->look_at_ns; it stops the guest if the guest runs. */
bool vm_fence_watches(const struct vm *vm);
void vm_fence_look(struct vm *vm);

#endif
