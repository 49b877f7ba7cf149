/* vm_cold_private.h - a cold start: says what this host's disks are worth after its memory was
 * lost, and starts the guest from them when the gateway orders it.
 *
 * Why: after a power failure of both hosts nothing runs. What is left are the role files
 * (vm_role_private.h) and the guest's images. Which host's are the newest, the gateway decides from
 * both hosts' reports (gateway/vm/fsm_cold.c, docs/decisions/0056-cold-start.md).
 *
 * What a report says while this host has neither the guest nor a copy of its memory:
 *
 *	cold		the role on file: primary, running, standby, fenced, none
 *	cold_disk	own     the guest itself wrote it, as the owner, in the report's term
 *			unsound the same, but its flushes were ignored: it may be torn
 *			copy    the standby's, whole, at cold_epoch of cold_term
 *			none    none of these
 *	cold_qemu	1: a QEMU of it is kept stopped here
 *
 * Threads: vm_cold_report() any thread, with the VM's lock; vm_cold_may_run() the standby's thread;
 * the others the VM's worker.
 */
#ifndef VM_COLD_PRIVATE_H
#define VM_COLD_PRIVATE_H

#include <stdint.h>

#include "vm/vm_private.h"

/* Carry out START: let the guest run in the order's term. A QEMU at `qmp` that is kept stopped goes
 * on; else the standby's command boots one. Returns 0, or -errno with *ret_error. */
int vm_cold_start(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
		  struct error *ret_error) __attribute__((warn_unused_result));

/* may_run of struct standby_config: record in role_dir alone that this host owns the guest in
 * @term, before the guest's first instruction. Waits for the disk for @limit_ns at most; then
 * -ETIMEDOUT, and the record may still follow. run_dir's file follows with the order's answer. */
int vm_cold_may_run(void *arg, uint64_t term, uint64_t limit_ns, struct error *ret_error)
	__attribute__((warn_unused_result));

/* The guest is about to be protected here: record on the disk whether QEMU may be told to ignore
 * its flushes (disk_flushes = outside). Returns 0, or -errno with *ret_error. */
int vm_cold_note(struct vm *vm, struct error *ret_error) __attribute__((warn_unused_result));

/* Add the keys above to @report, if they apply. @status: the standby's; NULL: there is none. */
void vm_cold_report(const struct vm *vm, const struct standby_status *status,
		    struct wire_report *report);

/* Wait until what vm_cold_may_run() gave up waiting for is on the disk, so that it does not replace
 * what is recorded after it. Call it before a role is recorded. */
void vm_cold_settle(struct vm *vm);

#endif
