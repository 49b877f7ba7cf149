/* vm_tap_private.h - watches the guest's taps while this host stands by. If clients could not reach
 * the guest through one of its taps, the standby is not ready.
 * Where: vm.c's worker checks the taps, and vm_report.c reports their state. The gateway calls the
 * VM PROTECTED only if all taps are usable (gateway/vm/fsm_way.c).
 *
 * Threads: vm_tap_look() on the VM's worker; vm_tap_report() from any thread.
 */
#ifndef VM_TAP_PRIVATE_H
#define VM_TAP_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/tap_names.h"
#include "net/tap_state.h"
#include "wire/msg.h"

struct vm_tap {
	pthread_mutex_t lock; /* guards the members below */
	struct {
		enum tap_state state;
		uint64_t since_ns; /* when the tap was first seen in this state; 0: the tap was
				    * never checked, so its state is not known */
	} taps[TAP_NAMES_MAX]; /* in the order of the VM's file */
};

void vm_tap_init(struct vm_tap *t);
void vm_tap_done(struct vm_tap *t);

/* Check the state of @taps, the taps of @vm (a name for the log). A tap that cannot be read is
 * TAP_UNKNOWN. Returns true if the state of a tap has changed: this must be reported. */
bool vm_tap_look(struct vm_tap *t, const char *vm, const struct tap_names *taps);

/* Check the state of @taps, and count from now how long each tap is in its state. Called before
 * this host becomes the standby, because a new QEMU uses the taps then. */
void vm_tap_begin(struct vm_tap *t, const char *vm, const struct tap_names *taps);

/* If a tap does not forward frames, or its state is not known, add the state of the first such tap
 * to the report's statistics as `way`, and put an explanation before the report's text. */
void vm_tap_report(struct vm_tap *t, const struct tap_names *taps, struct wire_report *report);

#endif
