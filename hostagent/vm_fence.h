/* vm_fence.h - a guest that another host owns stands still here: by what its QEMU says, and for as long as it is so.
 *
 * Why: an order to fence is carried out when the guest stands still, not when the order was taken: `stop` may time out,
 * and an order may be repeated. And a QEMU of this VM may be started later on a host that does not own it: by
 * libvirt's autostart after a reboot, or by hand. Two guests with one MAC break the connections of all clients.
 *
 *	role		a QEMU of this VM at [vm] qmp
 *	fenced, standby	is stopped, its tap's hold closed, reported; looked for ten times a second
 *	primary, and this host was booted since:
 *			the same until the gateway has said who owns the guest: in the meantime the standby may have been
 *			promoted. If the owner is still this host, its next order lets the guest run
 *	others		is none of our business
 *
 * Threads: the VM's worker.
 */
#ifndef VM_FENCE_H
#define VM_FENCE_H

#include <stdbool.h>
#include <sys/types.h>

#include "agent_config.h"

struct vm;

struct vm_fence_found {
	bool is_there;	/* a QEMU of this VM that this agent did not start, or started to promote */
	bool was_running; /* it had to be stopped */
	pid_t pid;	/* its process; valid if is_there */
};

/* Stop the guest that may run here, and look whether it stands still. Asks the QEMU at [vm] qmp, and with @has_keeper
 * false also the one that an earlier agent promoted. Blocks for up to 15 s for each.
 * 0: no guest of this VM runs, *ret_found says what was found; -EBUSY: its monitor does not answer; other -errno of
 * `stop`; -ETIMEDOUT: it still runs. @ret_text (WIRE_TEXT_MAX + 1 bytes) says why. */
int vm_fence_stop_guest(const struct vm_config *config, const char *run_dir, bool has_keeper,
			struct vm_fence_found *ret_found, char *ret_text) __attribute__((warn_unused_result));

/* Another host owns the guest in @term, which is not below the VM's own: record it, end what is here and stand still.
 * 0: it does; -errno with @ret_text: it is not known to, or the role could not be recorded. */
int vm_fence(struct vm *vm, uint64_t term, char *ret_text) __attribute__((warn_unused_result));

/* Is a guest to be kept from running here? Then vm_fence_look() is to be called at vm->look_at_ns. */
bool vm_fence_watches(const struct vm *vm);
void vm_fence_look(struct vm *vm);

#endif
