/* vm_hold_private.h - the hold that an earlier agent, or an earlier term, left on this host's tap.
 *
 * Why: a hold outlives its agent on purpose, closed. Somebody must remove it or close it for good
 * later: a restarted agent that is ordered to unprotect or to fence, or a host that was fenced and
 * becomes the standby again. A forgotten hold would silence the guest that is promoted on that tap.
 *
 * Where: vm.c's orders; calls net/hold.h and vmm/. Only while there is no engine for the VM.
 * Threads: the VM's worker. All functions block for tens of ms.
 */
#ifndef VM_HOLD_PRIVATE_H
#define VM_HOLD_PRIVATE_H

#include <stdbool.h>

#include "base/error.h"
#include "config/agent_config.h"

/* Let the guest run, unprotected, and remove the hold in @pin_dir. @monitor: the socket of its
 * QEMU, which for a promoted guest is not [vm] qmp; "": there is no guest. Then the hold is just
 * removed.
 * 0; -errno with *ret_error: the guest does not go on, or the hold could not be removed. */
int vm_hold_settle(const struct agent_vm_config *config, const char *monitor, const char *pin_dir,
		   struct error *ret_error)
	__attribute__((warn_unused_result));

/* Remove the hold in @pin_dir, whichever guest it was for: no earlier guest is on the tap any more.
 * 0: done, or there is none; -errno with *ret_error. */
int vm_hold_remove_left(const struct agent_vm_config *config, const char *pin_dir,
			struct error *ret_error) __attribute__((warn_unused_result));

/* A stopped guest that may not run is on the tap: close the hold that is there, or make a closed
 * one.
 * 0; -errno with *ret_error. */
int vm_hold_close(const struct agent_vm_config *config, const char *pin_dir,
		  struct error *ret_error) __attribute__((warn_unused_result));

/* This host was fenced: is its old guest gone? 0; -EBUSY with *ret_error: its QEMU is still
 * there. */
int vm_hold_need_no_guest(const struct agent_vm_config *config, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
