/* vm_hold.h - the hold that an earlier agent, or an earlier term, left on this host's tap.
 *
 * Why: a hold outlives its agent on purpose, closed. It must be taken away, or closed for good, by
 * whoever comes later: a restarted agent that is told to unprotect or to fence, or a host that was
 * fenced and becomes the standby again. Forgotten there, it would silence the guest that is
 * promoted on that tap.
 *
 * Where: vm.c's orders; calls net/hold.h and vmm/. Only while there is no engine for the VM.
 * Threads: the VM's worker. All functions block for tens of ms; ret_text has WIRE_TEXT_MAX + 1 bytes.
 */
#ifndef VM_HOLD_H
#define VM_HOLD_H

#include <stdbool.h>

#include "agent_config.h"

/* Remove the hold in @pin_dir and let the guest run, unprotected. Its QEMU is asked at @monitor,
 * which of a promoted guest is not [vm] qmp; "": there is none. Without a guest there is only a
 * hold to remove.
 * 0; -errno with @ret_text: the guest does not go on, or the hold could not be removed. */
int vm_hold_settle(const struct vm_config *config, const char *monitor, const char *pin_dir,
		   char *ret_text)
	__attribute__((warn_unused_result));

/* Remove what is in @pin_dir, whoever's guest it was for: no guest of before is on the tap any more.
 * 0: done, or there is none; -errno with @ret_text. */
int vm_hold_remove_left(const struct vm_config *config, const char *pin_dir, char *ret_text)
	__attribute__((warn_unused_result));

/* A guest that may not run is on the tap, stopped: close the hold that is there, or make one and close it.
 * 0; -errno with @ret_text. */
int vm_hold_close(const struct vm_config *config, const char *pin_dir, char *ret_text)
	__attribute__((warn_unused_result));

/* This host was fenced: is its old guest gone? 0; -EBUSY with @ret_text: its QEMU is still there. */
int vm_hold_need_no_guest(const struct vm_config *config, char *ret_text)
	__attribute__((warn_unused_result));

#endif
