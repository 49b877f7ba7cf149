/* vm_cover_private.h - protection ended because the guest's devices changed: was the change undone?
 *
 * Why: when a device is plugged that the standby lacks, or QEMU opens another tap, the engine stops
 * sealing (epoch/engine_watch.c) and the gateway ends the protection. If the change is undone
 * later, protection should begin again without a person. The worker checks now and then, and the
 * reports tell the gateway:
 *
 *	uncovered=1	 the protected guest has changed: end the protection
 *	covered_again=1	 the change was undone: protect the guest again
 *
 * If the guest was changed while no agent ran, the next agent cannot protect it again and reports
 * uncovered=1 too. The guest's earlier state is then not known, so protection does not begin again
 * by itself.
 *
 * Where: vm.c (orders), vm_report.c. Threads: the worker; vm_cover_report() from any; with vm->lock
 * held where said.
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
	char text[WIRE_TEXT_MAX + 1]; /* the change; "": no change is known */
	uint8_t verdict;	      /* enum wire_verdict: SHUTDOWN if the guest had ended */
	bool is_suspended;	      /* protection ended for the change: is it undone? */
	bool is_again;		      /* the change was undone */
	char qmp[STANDBY_PATH_MAX];   /* monitor of the guest */
	struct vmm_inventory base;    /* before the change; valid while is_suspended */
	pid_t pid;		      /* of the guest's QEMU; valid while is_suspended */
	uint64_t look_at_ns;	      /* next check; the worker's */
};

/* PROTECT failed with @error and @text: keep that if the order was to protect a protected guest
 * again after a restart of the agent. Takes the lock. */
void vm_cover_refused(struct vm *vm, int error, const char *text);

/* UNPROTECT is about to end @engine: keep the change that it reports. An older change is forgotten
 * if @engine has protected the guest since. Takes the lock. */
void vm_cover_keep(struct vm *vm, struct engine *engine, const char *qmp);

/* Forget a suspended protection. Takes the lock. */
void vm_cover_forget(struct vm *vm);

/* When vm_cover_look() is due (monotonic ns); UINT64_MAX: never. With the lock held. */
uint64_t vm_cover_due_ns(const struct vm *vm);

/* Open the guest's monitor and compare the guest with its earlier state. Blocks for some seconds at
 * most. On the worker, without the lock. */
void vm_cover_look(struct vm *vm);

/* Add the text and statistics to a report of a VM without engine. With the lock held. */
void vm_cover_report(const struct vm *vm, struct wire_report *report);

#endif
