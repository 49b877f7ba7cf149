/* release_port.h - the way released frames take back to the guest's tap.
 *
 * Why: frames that were held are to go on exactly as if they came from the tap: through its tc filters, its
 * bridge port with all that is set there, and the rules that name it. An AF_XDP socket cannot put a frame
 * into the receive path of a tap, so it sends into a veth pair, whose far end hands every frame to the tap
 * (hold_release of ebpf/hold.bpf.c). Neither end is a port of any bridge or has an address.
 *
 *	hfoN (we send here) ==veth== hfbN, tc ingress: hold_release --> [tap, as received there]
 *	N = ifindex of the tap; alias of both: "holdfast:VM", by which a later agent knows them as ours
 *
 * Where: hold.c. Threads: one owner. Blocks for rtnetlink.
 */
#ifndef NET_RELEASE_PORT_H
#define NET_RELEASE_PORT_H

#include "ebpf/hold_prog.h"
#include "net/hold.h"
#include "net/nl.h"

struct release_port {
	struct nl *nl;		/* borrowed, must outlive this */
	int out;		/* ifindex of hfoN, 0: none */
	char alias[NL_ALIAS_MAX];
	char out_name[IFNAMSIZ];
};

/* Remove this VM's pairs of before, make a new one and let it end at @tap. @vm is the VM's name, @prog is
 * loaded. @port is the caller's storage.
 * 0; -EEXIST: a device of another owner has our name; other -errno, each with text. On error nothing of
 * ours is left. */
int release_port_open(struct release_port *port, struct nl *nl, const char *vm,
		      const struct nl_link *tap, struct hold_prog *prog,
		      struct hold_error *ret_error) __attribute__((warn_unused_result));

/* Remove all pairs of VM @vm, whoever made them. 0 or -errno. */
int release_port_remove_left(struct nl *nl, const char *vm) __attribute__((warn_unused_result));

/* Remove the pair. One that is gone already is fine. 0 or -errno. */
int release_port_remove(struct release_port *port) __attribute__((warn_unused_result));

#endif
