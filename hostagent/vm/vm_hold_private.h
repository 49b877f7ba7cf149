/* vm_hold_private.h - handles the holds that an earlier agent, or an earlier term, left on the
 * guest's taps of this host. Below, "the hold" means the holds on all these taps.
 *
 * Why: a hold deliberately outlives its agent, and stays closed until an order changes it:
 *
 *	UNPROTECT                       the restarted agent removes the hold
 *	FENCE                           the agent keeps the hold closed
 *	STANDBY_START on a fenced host  the agent removes the hold, because otherwise a guest
 *					that is promoted here later could send nothing
 *
 * Where: used by vm.c's orders and by vm_fence.c, only while the VM has no engine; calls
 * net/holds.h and vmm/. Threads: the VM's worker. All functions block for tens of ms.
 */
#ifndef VM_HOLD_PRIVATE_H
#define VM_HOLD_PRIVATE_H

#include <stdbool.h>

#include "base/error.h"
#include "config/agent_config.h"

/* Let the guest run unprotected, and remove the hold in @pin_dir. @monitor: the monitor's socket of
 * the guest's QEMU (for a promoted guest not [vm] qmp). If @monitor is "" or nobody listens at it,
 * there is no guest, so only the hold is removed. If an earlier agent made QEMU ignore the guest's
 * flushes, QEMU is first told to obey them again.
 * Returns 0, or -errno if QEMU refuses a command or the hold cannot be removed. On error *ret_error
 * says why. */
int vm_hold_settle(const struct agent_vm_config *config, const char *monitor, const char *pin_dir,
		   struct error *ret_error)
	__attribute__((warn_unused_result));

/* Remove the hold in @pin_dir, no matter which guest it was made for. Call this only if the output
 * of the guest on the tap may pass, or if there is no such guest. Returns 0, also if there is no
 * hold; or -errno with *ret_error. */
int vm_hold_remove_left(const struct agent_vm_config *config, const char *pin_dir,
			struct error *ret_error) __attribute__((warn_unused_result));

/* Close the hold on each tap of a stopped guest that must not run. If a tap has no hold, make a
 * closed one. Returns 0, or -errno with *ret_error. */
int vm_hold_close(const struct agent_vm_config *config, const char *pin_dir,
		  struct error *ret_error) __attribute__((warn_unused_result));

/* Check on a fenced host that the QEMU at [vm] qmp is gone. Returns 0, also if no [vm] qmp is set;
 * -EBUSY with *ret_error: that QEMU still exists, or may exist because its monitor does not
 * answer. */
int vm_hold_need_no_guest(const struct agent_vm_config *config, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
