/* vm_cover.h - a guest whose protection ended because it was no longer the one that was protected: is it again?
 *
 * Why: when a device is plugged that the standby lacks, or QEMU opens another tap, the engine seals no more
 * (epoch/engine_watch.c) and the gateway ends the protection. What ended it may go: then protection is to
 * begin again without a person. The worker looks now and then, and the gateway is told in the reports:
 *
 *	uncovered=1	 while protected: it is another guest now, end the protection
 *	covered_again=1	 unprotected since: it is again what it was, protect it
 *
 * An agent that cannot take a protected guest up again, because it was changed while no agent ran, says the first
 * as well. What it was before is then not known, so nothing begins by itself.
 *
 * Where: vm.c (orders), vm_report.c. Threads: the worker; vm_cover_report() from any, both with vm->lock held
 * where said.
 */
#ifndef VM_COVER_H
#define VM_COVER_H

#include <stdbool.h>
#include <stdint.h>

#include "epoch/engine.h"
#include "standby/standby.h"
#include "vmm/inventory.h"
#include "wire/msg.h"

struct vm;

/* Guarded by vm->lock; changed by the worker only. */
struct vm_cover {
	char text[WIRE_TEXT_MAX + 1]; /* what is not covered; "": nothing is known to be */
	uint8_t verdict;	      /* enum wire_verdict: a guest that was found ended */
	bool is_suspended;	      /* its protection ended for that: look whether it is gone */
	bool is_again;		      /* it is */
	char qmp[STANDBY_PATH_MAX];   /* monitor of the guest */
	struct vmm_inventory base;    /* what it was; valid while is_suspended */
	pid_t pid;		      /* its QEMU's; the same */
	uint64_t look_at_ns;	      /* the worker's */
};

/* PROTECT failed with @error and @text: keep that, if it was to take a protected guest up again. Takes the lock. */
void vm_cover_refused(struct vm *vm, int error, const char *text);

/* @engine is about to be ended by UNPROTECT: keep what it says is not covered; what is known from before is forgotten
 * if it has protected the guest since. Takes the lock. */
void vm_cover_keep(struct vm *vm, struct engine *engine, const char *qmp);

/* Nothing is suspended any more. Takes the lock. */
void vm_cover_forget(struct vm *vm);

/* When vm_cover_look() is due (monotonic ns); UINT64_MAX: not at all. With the lock held. */
uint64_t vm_cover_due_ns(const struct vm *vm);

/* Open the guest's monitor and compare. At most some seconds. On the worker, without the lock. */
void vm_cover_look(struct vm *vm);

/* Put what there is to say into a report of a VM without engine. With the lock held. */
void vm_cover_report(const struct vm *vm, struct wire_report *report);

#endif
