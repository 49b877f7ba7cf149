/* vm_hold_private.h - handles the holds that an earlier agent, or an earlier term, left on the
 * guest's taps of this host. Below, "the hold" means all of them.
 *
 * Why: a hold deliberately outlives its agent, and stays closed until an order changes it:
 *
 *	UNPROTECT                       the restarted agent removes the hold
 *	FENCE                           the agent keeps the hold closed
 *	a fenced host becomes standby   the agent removes the hold; a forgotten hold
 *					would silence a guest that is promoted here later
 *
 * Where: used by vm.c's orders and by vm_fence.c, only while the VM has no engine; calls
 * net/holds.h and vmm/. Threads: the VM's worker. All functions block for tens of ms.
 */
#ifndef VM_HOLD_PRIVATE_H
#define VM_HOLD_PRIVATE_H

#include <stdbool.h>

#include "base/error.h"
#include "config/agent_config.h"

/* Let the guest run unprotected, and remove the hold in @pin_dir. @monitor is the monitor's socket
 * of the guest's QEMU. If the guest was promoted, this socket is not [vm] qmp. If @monitor is "",
 * there is no guest, so only the hold is removed. If an earlier agent made QEMU ignore flushes,
 * QEMU obeys them again before the guest runs.
 * Returns 0, or -errno if QEMU refuses this, the guest does not resume, or the hold cannot be
 * removed. On error *ret_error says why. */
int vm_hold_settle(const struct agent_vm_config *config, const char *monitor, const char *pin_dir,
		   struct error *ret_error)
	__attribute__((warn_unused_result));

/* Remove the hold in @pin_dir, no matter which guest it was made for. Call this only if that guest
 * is no longer on the tap. Returns 0, also if there is no hold; -errno with *ret_error. */
int vm_hold_remove_left(const struct agent_vm_config *config, const char *pin_dir,
			struct error *ret_error) __attribute__((warn_unused_result));

/* Close the hold on each tap of a stopped guest that must not run. If a tap has no hold, make a
 * closed one. Returns 0, or -errno with *ret_error. */
int vm_hold_close(const struct agent_vm_config *config, const char *pin_dir,
		  struct error *ret_error) __attribute__((warn_unused_result));

/* Check, on a host that was fenced, that its old guest is gone. Returns 0, or -EBUSY with
 * *ret_error if the QEMU of that guest still exists. */
int vm_hold_need_no_guest(const struct agent_vm_config *config, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
