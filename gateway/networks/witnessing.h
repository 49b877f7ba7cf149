/* witnessing.h - finds the witness datagrams among a port's frames and handles them, so that lwIP
 * never sees them. Also puts up the "shield" in a flood of UDP datagrams: the kernel then drops
 * false witness datagrams.
 *
 * A primary's kernel sends a witness datagram many times per second, to report the guest's frames.
 * Anybody can send datagrams that look the same. So discarding a false datagram must be cheap.
 *
 * Where: main.c has a struct witnessing for each network, and passes each received frame to it.
 * Calls stack/filter.h, witness/ and ebpf/shield_prog.h. Threads: the gateway's loop. Only
 * ..._open() and ..._close() block or allocate. witnessing_shield() makes system calls when the
 * shield goes up or down, and while it is up.
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
	/* how many datagrams of this network the fleet's udp_unwanted counts */
	uint64_t n_unwanted;
	/* the shield's program; NULL if the port is no kernel interface, or the kernel refused the
	 * program */
	struct shield_prog *prog;
	struct shield shield;
	uint64_t told_ns;	  /* when the beginning of a flood was last reported; 0: never */
	bool is_told;		  /* true if the beginning of the present flood was reported */
	/* how many datagrams of this network the fleet's shield_dropped counts */
	uint64_t n_dropped;
	uint64_t dropped_before;  /* n_dropped when the flood began */
};

/* Accept witness datagrams from @port, which is in @path's network. @own is our address in that
 * network. Loads the shield's program if @port can use it. If the kernel refuses the program, logs
 * this and works without a shield. @w is the caller's storage. */
void witnessing_open(struct witnessing *w, struct fleet *fleet, struct port *port,
		     enum wire_witness_path path, const struct config_prefix *own);

/* Unload the shield's program. This also wipes the kernel's copy of the keys. @w may be a zeroed
 * object. */
void witnessing_close(struct witnessing *w);

/* Handle the frame if it is a UDP datagram to our witness port. Returns true for such a frame, even
 * if the datagram is not valid, and false for any other frame. The caller frees the frame in both
 * cases. */
bool witnessing_input(struct witnessing *w, const uint8_t *data, size_t size, uint64_t now_ns);

/* Put the shield up when a flood of unwanted UDP datagrams begins, take it down when the flood has
 * ended, and report both. While the shield is up, the kernel drops unwanted datagrams
 * (witness/shield.h). Call this once each turn of the loop; it checks only a few times a second. */
void witnessing_shield(struct witnessing *w, uint64_t now_ns);

#endif
