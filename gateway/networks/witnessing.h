/* witnessing.h - finds and handles the witness datagrams among a port's frames. lwIP never sees
 * witness datagrams.
 *
 * A primary's kernel sends witness datagrams many times per second, to report the guest's frames.
 * Anybody can send false ones, so discarding them must be cheap. In a flood of UDP datagrams, this
 * file attaches the "shield" to the port's socket: a BPF program that drops false datagrams in the
 * kernel.
 *
 * Where: main.c has a struct witnessing for each network, and passes each received frame to it.
 * Calls stack/filter.h, witness/ and ebpf/shield_prog.h. Threads: the gateway's loop. Only
 * ..._open() and ..._close() block or allocate. witnessing_shield() makes system calls when the
 * shield is attached or detached, and while it is attached.
 */
#ifndef NETWORKS_WITNESSING_H
#define NETWORKS_WITNESSING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "fleet/fleet.h"
#include "stack/filter.h"
#include "witness/shield.h"

struct port;
struct shield_prog;

struct witnessing {
	/* borrowed; NULL: no datagrams are accepted in this network */
	struct fleet *fleet;
	struct port *port;	  /* borrowed */
	enum wire_witness_path path; /* the network that @port is in */
	/* rules by which filter_frame() finds datagrams for us among the port's frames */
	struct filter_rules rules;
	/* how many datagrams of this network are included in the fleet's udp_unwanted */
	uint64_t n_unwanted;
	/* the shield's program; NULL if the port is not a kernel interface, or if the kernel
	 * refused the program */
	struct shield_prog *prog;
	struct shield shield;
	uint64_t told_ns;	  /* when the beginning of a flood was last reported; 0: never */
	bool is_told; /* true if the beginning of the present (or last) flood was reported */
	/* how many datagrams of this network are included in the fleet's shield_dropped */
	uint64_t n_dropped;
	uint64_t dropped_before;  /* n_dropped when the flood began */
};

/* Accept witness datagrams from @port, which is in @path's network. @own is our address in that
 * network. If @port can use the shield, loads the shield's program. If the kernel refuses the
 * program, logs this and works without a shield. @w is the caller's storage. */
void witnessing_open(struct witnessing *w, struct fleet *fleet, struct port *port,
		     enum wire_witness_path path, const struct config_prefix *own);

/* Unload the shield's program. This also wipes the kernel's copy of the keys. @w may be a zeroed
 * object. */
void witnessing_close(struct witnessing *w);

/* Handle the frame if it is a UDP datagram to our witness port. Returns true if it was one, valid
 * or not. Returns false if it is another frame, which the caller must pass on. This function does
 * not free the frame. */
bool witnessing_input(struct witnessing *w, const uint8_t *data, size_t size, uint64_t now_ns);

/* Attach the shield (witness/shield.h) when a flood of unwanted UDP datagrams begins, and detach it
 * when the flood has ended. Report both. Call this once in each iteration of the gateway's loop; it
 * checks only a few times a second. */
void witnessing_shield(struct witnessing *w, uint64_t now_ns);

#endif
