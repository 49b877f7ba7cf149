/* witnessing.h - takes witness datagrams out of a port's frames before lwIP sees them. In a flood
 * of UDP it has the kernel drop false ones.
 *
 * Why: these datagrams are many and small, and anybody can send them. None may reach the TCP stack,
 * and discarding one must be cheap.
 *
 * Where: main.c has one for each network that takes datagrams, and asks it about each frame. Calls
 * stack/filter.h, witness/ and ebpf/shield_prog.h. Threads: the gateway's loop. Only ..._open() and
 * ..._close() block or allocate. witnessing_shield() makes some system calls when the shield goes
 * up or down, or a key changes while it is up.
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
	struct fleet *fleet;	  /* borrowed; NULL: not open, take no datagrams in this network */
	struct port *port;	  /* borrowed */
	enum wire_witness_path path; /* the network they come by */
	struct filter_rules rules;   /* for the port's frames */
	uint64_t n_unwanted;	  /* its share of fleet's udp_unwanted */
	struct shield_prog *prog; /* NULL: the port is no kernel interface,
				   * or the kernel takes no program */
	struct shield shield;
	uint64_t told_ns;	  /* when a flood was last reported; 0: never */
	bool is_told;		  /* the present flood was reported */
	uint64_t n_dropped;	  /* its share of fleet's shield_dropped ... */
	uint64_t dropped_before;  /* ... when the flood began */
};

/* Take datagrams from @port, which is in @path's network. @own: our address there. Loads the
 * shield's program if @port can have one. If the kernel does not take it, logs that and goes on
 * without. @w is the caller's storage. */
void witnessing_open(struct witnessing *w, struct fleet *fleet, struct port *port,
		     enum wire_witness_path path, const struct config_prefix *own);

/* Wipes the kernel's copy of the keys. A zeroed object is fine. */
void witnessing_close(struct witnessing *w);

/* Is the frame a UDP datagram to us at the witness port? True: it was handled, whatever it held;
 * the caller frees it. False: it is for somebody else. */
bool witnessing_input(struct witnessing *w, const uint8_t *data, size_t size, uint64_t now_ns);

/* In a flood of unwanted UDP, make the kernel drop it (witness/shield.h), and report it. Call once
 * each turn; it checks a few times a second. */
void witnessing_shield(struct witnessing *w, uint64_t now_ns);

#endif
