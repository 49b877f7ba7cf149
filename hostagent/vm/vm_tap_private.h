/* vm_tap_private.h - watch the tap while this host stands by: a standby is not ready if its tap
 * reaches nobody.
 *
 * Where: vm.c's worker looks, vm_report.c reports it to the gateway, which does not call the VM
 * PROTECTED before clients could reach the guest here (gateway/vm/fsm_way.c).
 *
 * Threads: vm_tap_look() on the VM's worker; vm_tap_report() from any thread.
 */
#ifndef VM_TAP_PRIVATE_H
#define VM_TAP_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/tap_state.h"
#include "wire/msg.h"

struct vm_tap {
	pthread_mutex_t lock; /* of all members */
	enum tap_state state;
	uint64_t since_ns; /* when @state was first found; 0: not looked at in this role */
};

void vm_tap_init(struct vm_tap *t);
void vm_tap_done(struct vm_tap *t);

/* Look at @tap now. True: there is something new to report. */
bool vm_tap_look(struct vm_tap *t, const char *vm, const char *tap);

/* Another QEMU will be on the tap: forget how long the tap has been in its state. */
void vm_tap_forget(struct vm_tap *t);

/* While the tap does not forward, add its state as `way` to the statistics, and put an explanation
 * before the report's text. */
void vm_tap_report(struct vm_tap *t, const char *tap, struct wire_report *report);

#endif
