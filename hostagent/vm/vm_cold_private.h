/* vm_cold_private.h - a cold start: reports what this host's disks contain after its memory was
 * lost, and starts the guest from them when the gateway orders it.
 *
 * Why: after a power failure of both hosts nothing runs. What is left are the role files
 * (vm_role_private.h) and the guest's images. From the reports of both hosts, the gateway decides
 * which host's images are the newest (gateway/vm/fsm_cold.c, docs/decisions/0056-cold-start.md).
 * While this host has neither the guest nor a copy of its memory, a report has these statistics:
 *
 *	cold		the role on file: primary, running, standby, fenced, none
 *	cold_ran	the term of that role
 *	cold_disk	own     the guest wrote these images while this host owned the guest
 *			unsound like `own`, but its flushes were ignored: an image may be torn
 *			copy    the standby's images, whole, at cold_epoch of cold_term
 *			torn    the standby's images, an unfinished copy (standby/torn.h). While
 *				this host has a copy of the memory, `cold_disk=torn` can be
 *				reported too, but without the other keys
 *			none    none of these
 *	cold_qemu	1: a QEMU of this VM is kept stopped here
 *
 * Threads: vm_cold_report() any thread, with the VM's lock; vm_cold_may_run() the standby's thread;
 * the others the VM's worker.
 */
#ifndef VM_COLD_PRIVATE_H
#define VM_COLD_PRIVATE_H

#include <stdint.h>

#include "vm/vm_private.h"

/* Carry out START: run the guest in the order's term. If a QEMU of this VM is kept stopped at the
 * monitor [vm] qmp, and this host owned the guest, that QEMU's guest runs on. If there is no such
 * QEMU, the standby's command boots a new one. Returns 0, or -errno with *ret_error. */
int vm_cold_start(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
		  struct error *ret_error) __attribute__((warn_unused_result));

/* The callback may_run of struct standby_config (@arg: struct vm). Called before the guest's first
 * instruction: records that this host owns the guest in @term. Writes to role_dir only; the file in
 * run_dir is written when the order has succeeded. Waits for the disk for up to @limit_ns.
 * Returns 0; -ETIMEDOUT: the record is not on the disk yet, but may still get there later (see
 * vm_cold_settle()); other -errno. On error *ret_error says why. */
int vm_cold_may_run(void *arg, uint64_t term, uint64_t limit_ns, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Call this just before the guest is protected here. If QEMU may be told to ignore the guest's
 * flushes (disk_flushes = outside), records this on the disk; otherwise removes this record.
 * Returns 0, or -errno with *ret_error. */
int vm_cold_note(struct vm *vm, struct error *ret_error) __attribute__((warn_unused_result));

/* Add the statistics listed above to @report, if they apply. @status: the state of this VM's
 * standby; NULL: there is no standby. */
void vm_cold_report(const struct vm *vm, const struct standby_status *status,
		    struct wire_report *report);

/* Call this before a role is recorded. If vm_cold_may_run() has returned -ETIMEDOUT, wait until its
 * record is written or has failed. Without this wait, the old record could overwrite the new
 * one. */
void vm_cold_settle(struct vm *vm);

#endif
