/* release_port.h - the veth pair through which released frames return to the guest's tap.
 *
 * Why: the host must handle a released frame as if the tap had just received it. So the frame must
 * pass the tap's tc filters, its bridge port, and rules that name the tap. An AF_XDP socket cannot
 * put a frame into a tap's receive path. So the socket sends into a veth pair. At the pair's other
 * end a program (hold_release in ebpf/hold.bpf.c) passes every frame to the tap. Neither end is a
 * bridge port or has an address.
 *
 * If the guest has offloads, frames also go through the pair in the other direction. hold_tap sends
 * the frames to be held into hfbN, and the agent's socket on hfoN receives them. hold_sink at the
 * tc ingress of hfoN then drops each frame, so that the host does not process it.
 *
 *	hfoN (we send here) ==veth== hfbN, tc ingress: hold_release --> [received on the tap]
 *	N = ifindex of the tap; a later agent finds both links by their alias, "holdfast:VM"
 *
 * Where: hold.c calls it. Threads: one owner. Blocks for rtnetlink.
 */
#ifndef NET_RELEASE_PORT_H
#define NET_RELEASE_PORT_H

#include "base/error.h"
#include "ebpf/hold_prog.h"
#include "net/hold.h"
#include "net/nl.h"

struct release_port {
	struct nl *nl;		/* borrowed; must outlive this struct */
	int out;		/* ifindex of hfoN; 0: there is no pair */
	char alias[NL_ALIAS_MAX];
	char out_name[IFNAMSIZ];
};

/* Remove earlier veth pairs of the VM @vm, and create a new pair that leads to @tap. @prog must be
 * loaded. @port is the caller's storage.
 * Returns 0;
 * -EBUSY: @tap has a pair of another VM;
 * -EEXIST: a device of another owner has the name of hfoN or hfbN;
 * other -errno of the kernel.
 * On error *ret_error says why, and nothing of ours is left. */
int release_port_open(struct release_port *port, struct nl *nl, const char *vm,
		      const struct nl_link *tap, struct hold_prog *prog,
		      struct error *ret_error) __attribute__((warn_unused_result));

/* Remove all veth pairs of the VM @vm, also those that an earlier agent created. Returns 0 or
 * -errno. */
int release_port_remove_left(struct nl *nl, const char *vm) __attribute__((warn_unused_result));

/* Remove the pair, if it still exists. Returns 0 or -errno. */
int release_port_remove(struct release_port *port) __attribute__((warn_unused_result));

#endif
