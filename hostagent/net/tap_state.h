/* tap_state.h - tells whether clients can reach the guest through a tap.
 *
 * Why: if the standby's tap does not forward frames, no client reaches the guest after a failover.
 * The tap can be missing, down, in no bridge, or on a port that spanning tree blocks. With spanning
 * tree, the port begins to forward only a while after QEMU has opened the tap. This takes twice the
 * bridge's forward delay (30 s by default).
 *
 * Where: vm/vm_tap.c calls it while the host is the VM's standby. Needs no privilege. Threads: any;
 * blocks for rtnetlink.
 */
#ifndef NET_TAP_STATE_H
#define NET_TAP_STATE_H

#include <stddef.h>
#include <stdint.h>

/* The state of a tap. The names of the states (tap_state_name()) are sent to the gateway, so they
 * must not change. */
enum tap_state {
	TAP_FORWARDING = 0, /* clients reach the guest */
	TAP_MISSING = 1,    /* there is no such device, or it is not a tap */
	TAP_DOWN = 2,
	TAP_NO_BRIDGE = 3,
	TAP_DISABLED = 4,   /* the bridge or the port is down, or no process has opened the tap */
	TAP_BLOCKING = 5,   /* spanning tree blocks the port, in the two states below, too */
	TAP_LISTENING = 6,
	TAP_LEARNING = 7,
	TAP_UNKNOWN = 8,    /* the kernel did not answer; tap_state_read() never returns this */
};

/* Returns the name of @state: "forwarding", "missing", ... */
const char *tap_state_name(enum tap_state state);

/* Read the state of the tap named @tap in this network namespace. Returns 0, or -errno if the
 * kernel did not answer. */
int tap_state_read(const char *tap, enum tap_state *ret_state) __attribute__((warn_unused_result));

/* Write to @ret_text how long @tap has been in @state (since @since_ns), what this state means and
 * what to do about it. For TAP_FORWARDING, write "". */
void tap_state_describe(const char *tap, enum tap_state state, uint64_t since_ns, char *ret_text,
			size_t size);

#endif
