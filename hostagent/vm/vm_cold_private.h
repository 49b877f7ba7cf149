/* vm_cold_private.h - a cold start: reports what this host's disks contain after its memory was
 * lost, and starts the guest from them when the gateway orders it.
 *
 * Why: after a power failure of both hosts nothing runs. What is left are the role files
 * (vm_role_private.h) and the guest's images. From the reports of both hosts, the gateway decides
 * which host's images are the newest (gateway/vm/fsm_cold.c, docs/decisions/0056-cold-start.md).
 *
 * What a report says while this host has neither the guest nor a copy of its memory:
 *
 *	cold		the role on file: primary, running, standby, fenced, none
 *	cold_ran	the term of that role
 *	cold_disk	own     the guest itself wrote these images, and this host owned it
 *			unsound like `own`, but its flushes were ignored: an image may be torn
 *			copy    the standby's images, whole, at cold_epoch of cold_term
 *			torn    the standby's images, an unfinished copy (standby/torn.h); this is
 *				also reported, without the other keys, while this host
 *				keeps a copy
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

/* Carry out START: let the guest run in the order's term. If a QEMU at the monitor `qmp` is kept
 * stopped, its guest goes on; otherwise the standby's command boots a new QEMU. Returns 0, or
 * -errno with *ret_error. */
int vm_cold_start(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
		  struct error *ret_error) __attribute__((warn_unused_result));

/* may_run of struct standby_config: record, in role_dir only, that this host owns the guest in
 * @term, before the guest's first instruction. Waits for the disk for up to @limit_ns. Then returns
 * -ETIMEDOUT, and the record may still reach the disk later. The file in run_dir is written when
 * the order is answered. */
int vm_cold_may_run(void *arg, uint64_t term, uint64_t limit_ns, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Call this just before the guest is protected here. Records on the disk whether QEMU may be told
 * to ignore the guest's flushes (disk_flushes = outside). Returns 0, or -errno with *ret_error. */
int vm_cold_note(struct vm *vm, struct error *ret_error) __attribute__((warn_unused_result));

/* Add the keys listed above to @report, if they apply. @status: the standby's; NULL: there is
 * none. */
void vm_cold_report(const struct vm *vm, const struct standby_status *status,
		    struct wire_report *report);

/* If vm_cold_may_run() gave up waiting for its record, wait until this record is on the disk.
 * Otherwise the old record might replace a role that is recorded later. Call this before a role is
 * recorded. */
void vm_cold_settle(struct vm *vm);

#endif
