/* witnessing.h - takes witness datagrams out of what a port received, before lwIP; and in a flood of UDP has
 * the kernel drop what is no true one.
 *
 * Why: they are many, small, and anybody's: nothing of them may reach the TCP stack, and one that is
 * thrown away costs little.
 * Where: main.c has one for each network that they are taken in, and asks for each frame of it; calls
 * stack/filter.h, witness/ and ebpf/shield_prog.h.
 * Threads: the gateway's loop. Only ..._open() and ..._close() block or allocate; witnessing_shield() makes some
 * system calls when the shield goes up or down, or a key changes while it is up.
 */
#ifndef GATEWAY_WITNESSING_H
#define GATEWAY_WITNESSING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "session/gateway.h"
#include "stack/filter.h"
#include "witness/shield.h"

struct port;
struct shield_prog;

struct witnessing {
	struct gateway *gw;	  /* borrowed; NULL: not open, no datagrams are taken in this network */
	struct port *port;	  /* borrowed */
	enum wire_witness_path path; /* by which network they come */
	struct filter_rules rules;   /* for the port's frames */
	uint64_t n_unwanted;	  /* its part of gw's udp_unwanted */
	struct shield_prog *prog; /* NULL: no kernel is asked for frames, or it takes no program */
	struct shield shield;
	uint64_t told_ns;	  /* when somebody was told of a flood; 0: never */
	bool is_told;		  /* of this one */
	uint64_t n_dropped;	  /* its part of gw's shield_dropped ... */
	uint64_t dropped_before;  /* ... as the flood began */
};

/* Take datagrams from @port, which is in @path's network; @own: our address there. Loads the shield's program
 * where @port can have one; says in the log when the kernel does not take it, and goes on without. @w is the
 * caller's storage. */
void witnessing_open(struct witnessing *w, struct gateway *gw, struct port *port,
		     enum wire_witness_path path, const struct config_prefix *own);

/* Wipes the kernel's copy of the keys. A zeroed object is fine. */
void witnessing_close(struct witnessing *w);

/* Is the frame a UDP datagram for us at the witness port? True: it is dealt with, whatever it held; the
 * caller frees it. False: it is another's. */
bool witnessing_input(struct witnessing *w, const uint8_t *data, size_t size, uint64_t now_ns);

/* In a flood of UDP that nobody wants, have the kernel drop it (witness/shield.h), and tell of it. Once each turn;
 * it looks some times a second. */
void witnessing_shield(struct witnessing *w, uint64_t now_ns);

#endif
