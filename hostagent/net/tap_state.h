/* tap_state.h - can clients reach the guest through this tap?
 *
 * Why: if a standby's tap is missing, down, in no bridge, or at a port that spanning tree blocks,
 * the standby can take over the guest, but no client would reach it. After QEMU opens the tap, the
 * port needs twice the bridge's forward delay (30 s by default) before it forwards.
 *
 * Where: vm.c asks while the host stands by. Needs no privilege. Threads: any; blocks for
 * rtnetlink.
 */
#ifndef NET_TAP_STATE_H
#define NET_TAP_STATE_H

#include <stddef.h>
#include <stdint.h>

/* Stable: the words go over the wire (tap_state_name()). */
enum tap_state {
	TAP_FORWARDING = 0, /* clients reach the guest */
	TAP_MISSING = 1,    /* there is no such device, or it is not a tap */
	TAP_DOWN = 2,
	TAP_NO_BRIDGE = 3,
	TAP_DISABLED = 4,   /* bridge or port off, or nobody has opened the tap */
	TAP_BLOCKING = 5,   /* this and the next two: spanning tree blocks the port */
	TAP_LISTENING = 6,
	TAP_LEARNING = 7,
};

/* "forwarding", "missing", ... */
const char *tap_state_name(enum tap_state state);

/* Look at @tap, a name in this network namespace. 0; -errno when the kernel does not answer. */
int tap_state_read(const char *tap, enum tap_state *ret_state) __attribute__((warn_unused_result));

/* Write what @state means, with @tap in it for @since_ns, and what to do about it; "" for
 * TAP_FORWARDING. */
void tap_state_describe(const char *tap, enum tap_state state, uint64_t since_ns, char *ret_text,
			size_t size);

#endif
