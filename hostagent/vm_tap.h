/* vm_tap.h - a standby whose tap reaches nobody is not ready: look at the tap while this host stands by.
 *
 * Where: vm.c's worker looks, vm_report.c says it to the gateway, which does not call the VM PROTECTED before
 * clients could reach the guest here (gateway/vm/fsm_way.c).
 *
 * Threads: vm_tap_look() on the VM's worker; vm_tap_report() from any thread.
 */
#ifndef VM_TAP_H
#define VM_TAP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/tap_state.h"
#include "wire/msg.h"

struct vm_tap {
	pthread_mutex_t lock; /* of all */
	enum tap_state state;
	uint64_t since_ns; /* when it was first found in it; 0: not looked at in this role */
};

void vm_tap_init(struct vm_tap *t);
void vm_tap_done(struct vm_tap *t);

/* Look at @tap now. True: what is to be reported changed. */
bool vm_tap_look(struct vm_tap *t, const char *vm, const char *tap);

/* Another QEMU will be on the tap: forget how long it was in its state. */
void vm_tap_forget(struct vm_tap *t);

/* While the tap does not forward: its state as `way` in the statistics, and what it means in front of the
 * text. */
void vm_tap_report(struct vm_tap *t, const char *tap, struct wire_report *report);

#endif
