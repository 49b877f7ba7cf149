/* vm_fence_private.h - stop a guest that another host owns, verify with its QEMU that it stands
 * still, and keep it stopped.
 *
 * Why: an order to fence is done when the guest stands still, not when the order was taken: `stop`
 * may time out, and an order may be repeated. Also, a QEMU of this VM may be started later on a
 * host that does not own the guest: by libvirt's autostart after a reboot, or by hand. Two guests
 * with one MAC break the connections of all clients.
 *
 *	role		a QEMU of this VM at [vm] qmp
 *	fenced, standby	is looked for ten times a second, stopped, its tap's hold closed, reported
 *	primary, and this host was booted since:
 *			the same, until the gateway has said who owns the guest: the standby may
 *			have been promoted meanwhile. If this host is still the owner, the
 *			gateway's next order lets the guest run
 *	others		is ignored
 *
 * Threads: the VM's worker.
 */
#ifndef VM_FENCE_PRIVATE_H
#define VM_FENCE_PRIVATE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "config/agent_config.h"

struct vm;

struct vm_fence_found {
	bool is_there;	/* a QEMU of this VM answered at one of these monitors */
	bool was_running; /* its guest ran and had to be stopped */
	pid_t pid;	/* its process; valid if is_there */
};

/* Stop a guest of this VM that may run here, and check that it stands still. Asks the QEMU at [vm]
 * qmp, and if @has_standby is false also the one that an earlier agent promoted. Blocks for up to
 * 15 s for each. 0: no guest of this VM runs, *ret_found says what was found; -EBUSY: its monitor
 * does not answer; other -errno of `stop`; -ETIMEDOUT: it still runs. On error *ret_error says
 * why. */
int vm_fence_stop_guest(const struct agent_vm_config *config, const char *run_dir, bool has_standby,
			struct vm_fence_found *ret_found, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Another host owns the guest in @term, which is not below the VM's own term: record that, and stop
 * the guest here.
 * 0: the guest stands still; -errno with *ret_error: that is not certain, or the role could not be
 * recorded. */
int vm_fence(struct vm *vm, uint64_t term, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Must a guest be kept from running here? Then call vm_fence_look() at vm->look_at_ns. */
bool vm_fence_watches(const struct vm *vm);
void vm_fence_look(struct vm *vm);

#endif
