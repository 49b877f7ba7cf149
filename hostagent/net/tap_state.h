/* tap_state.h - can the guest be reached through this tap?
 *
 * Why: a standby whose tap is missing, down, in no bridge, or at a port that spanning tree keeps silent can
 * take the guest over, and no client would reach it. A port needs twice the bridge's forward delay (30 s by
 * default) before it forwards, counted from when QEMU opened the tap.
 *
 * Where: vm.c asks while the host stands by. Needs no privilege. Threads: any; blocks for rtnetlink.
 */
#ifndef NET_TAP_STATE_H
#define NET_TAP_STATE_H

#include <stddef.h>
#include <stdint.h>

/* Stable: the words go over the wire (tap_state_name()). */
enum tap_state {
	TAP_FORWARDING = 0, /* whoever is behind it is reached */
	TAP_MISSING = 1,    /* there is no such device, or it is no tap */
	TAP_DOWN = 2,
	TAP_NO_BRIDGE = 3,
	TAP_DISABLED = 4,   /* bridge or port off, or nobody has opened the tap */
	TAP_BLOCKING = 5,   /* by spanning tree, as are the next two */
	TAP_LISTENING = 6,
	TAP_LEARNING = 7,
};

/* "forwarding", "missing", ... */
const char *tap_state_name(enum tap_state state);

/* Look at @tap, a name in this network namespace. 0; -errno when the kernel does not answer. */
int tap_state_read(const char *tap, enum tap_state *ret_state) __attribute__((warn_unused_result));

/* What @state of @tap, in it for @since_ns, means and what to do about it; "" for TAP_FORWARDING. */
void tap_state_describe(const char *tap, enum tap_state state, uint64_t since_ns, char *ret_text,
			size_t size);

#endif
