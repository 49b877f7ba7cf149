/* release_port.h - the veth pair that brings released frames back to the guest's tap.
 *
 * Why: a released frame must go on exactly as if it came from the tap: through its tc filters, its
 * bridge port with all its settings, and the rules that name the tap. An AF_XDP socket cannot put a
 * frame into a tap's receive path. So it sends into a veth pair, and at the far end a program hands
 * every frame to the tap (hold_release of ebpf/hold.bpf.c). Neither end is a bridge port or has an
 * address.
 *
 *	hfoN (we send here) ==veth== hfbN, tc ingress: hold_release --> [tap, as received there]
 *	N = ifindex of the tap; alias of both: "holdfast:VM", so that a later agent finds them
 *
 * Where: hold.c. Threads: one owner. Blocks for rtnetlink.
 */
#ifndef NET_RELEASE_PORT_H
#define NET_RELEASE_PORT_H

#include "base/error.h"
#include "ebpf/hold_prog.h"
#include "net/hold.h"
#include "net/nl.h"

struct release_port {
	struct nl *nl;		/* borrowed, must outlive this */
	int out;		/* ifindex of hfoN, 0: none */
	char alias[NL_ALIAS_MAX];
	char out_name[IFNAMSIZ];
};

/* Remove this VM's earlier pairs and make a new one that leads to @tap. @vm is the VM's name; @prog
 * must be loaded. @port is the caller's storage.
 * 0; -EEXIST: a device of another owner has our name; other -errno, each with text. On error
 * nothing of ours is left. */
int release_port_open(struct release_port *port, struct nl *nl, const char *vm,
		      const struct nl_link *tap, struct hold_prog *prog,
		      struct error *ret_error) __attribute__((warn_unused_result));

/* Remove all pairs of VM @vm, whoever made them. 0 or -errno. */
int release_port_remove_left(struct nl *nl, const char *vm) __attribute__((warn_unused_result));

/* Remove the pair, if it still exists. 0 or -errno. */
int release_port_remove(struct release_port *port) __attribute__((warn_unused_result));

#endif
