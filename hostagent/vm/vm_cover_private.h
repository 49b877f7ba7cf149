/* vm_cover_private.h - checks whether a change of the guest's devices, which ended the protection,
 * was undone.
 * Why: if somebody plugs in a device that the standby lacks, or QEMU opens another tap, the engine
 * makes no more epochs (epoch/engine_watch.c). The gateway then ends the protection. After the
 * change is undone, protection must begin again without an operator. So the worker checks
 * periodically, and the reports tell the gateway:
 *
 *	uncovered=1	 the protected guest has changed: end the protection
 *	suspended=1	 protection has ended; the worker checks: wait for covered_again=1
 *	covered_again=1	 the change was undone: protect the guest again
 *	suspended=0	 the worker does not check, so covered_again=1 never comes
 *
 * If the guest was changed while no agent ran, the next agent reports uncovered=1, too. After a
 * change has ended the protection, suspended=0 means that the agent has nothing to compare the
 * guest with, because the agent or the guest's QEMU has been restarted since.
 *
 * Where: used by vm.c (orders) and vm_report.c. Threads: the worker; vm_cover_report() on any
 * thread. Each function says whether vm->lock must be held.
 */
#ifndef VM_COVER_PRIVATE_H
#define VM_COVER_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "epoch/engine.h"
#include "standby/standby.h"
#include "vmm/inventory.h"
#include "wire/msg.h"

struct vm;

/* Guarded by vm->lock; changed by the worker only. */
struct vm_cover {
	char text[WIRE_TEXT_MAX + 1]; /* describes the change; "": no change is known */
	uint8_t verdict;	      /* enum wire_verdict: SHUTDOWN if the guest had shut
				       * itself down */
	bool is_suspended;	      /* true if protection has ended because of the change; the
				       * worker then checks whether the change was undone */
	bool is_again;		      /* the last check found that the change was undone */
	char qmp[STANDBY_PATH_MAX];   /* the guest's monitor socket */
	struct vmm_inventory base;    /* the guest before the change; valid while is_suspended */
	pid_t pid;		      /* pid of the guest's QEMU; valid while is_suspended */
	uint64_t look_at_ns;	      /* when the next check is due; used by the worker only */
};

/* Called when PROTECT has failed with @error. If this host is the primary already, and @error is
 * -ENOTSUP or -ESHUTDOWN, records that the guest has changed as @text says. Otherwise does nothing.
 * Takes the lock. */
void vm_cover_refused(struct vm *vm, int error, const char *text);

/* Called before UNPROTECT ends @engine, whose guest has the monitor @qmp. If @engine reports a
 * change of the guest, record this change. If @engine reports none, forget an older change, but
 * only if @engine has committed an epoch: without one, the worker continues to check the older
 * change, and protection is tried again later. Takes the lock. */
void vm_cover_keep(struct vm *vm, struct engine *engine, const char *qmp);

/* Forget the change, and check no more whether it was undone. Takes the lock. */
void vm_cover_forget(struct vm *vm);

/* Returns when vm_cover_look() must be called (monotonic ns); UINT64_MAX: never. Call it with the
 * lock held. */
uint64_t vm_cover_due_ns(const struct vm *vm);

/* Find out whether the change that ended the protection was undone: ask the guest's QEMU for its
 * devices and taps, and compare them with those that were protected. Blocks for some seconds at
 * most. Call it on the worker, without the lock. */
void vm_cover_look(struct vm *vm);

/* Add text and statistics to the report of a VM without an engine. Call it with the lock held. */
void vm_cover_report(const struct vm *vm, struct wire_report *report);

#endif
