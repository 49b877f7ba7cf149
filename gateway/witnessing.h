/* witnessing.h - takes witness datagrams out of what a port received, before lwIP; and in a flood of UDP has
 * the kernel drop what is no true one.
 *
 * Why: they are many, small, and anybody's: nothing of them may reach the TCP stack, and one that is
 * thrown away costs little.
 * Where: main.c asks for each frame of the backup network; calls stack/filter.h, witness/ and ebpf/shield_prog.h.
 * Threads: the gateway's loop. Only ..._open() and ..._close() block or allocate; witnessing_shield() makes some
 * system calls when the shield goes up or down, or a key changes while it is up.
 */
#ifndef GATEWAY_WITNESSING_H
#define GATEWAY_WITNESSING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "session/gateway.h"
#include "witness/shield.h"

struct filter_rules;
struct port;
struct shield_prog;

struct witnessing {
	struct gateway *gw;	  /* borrowed */
	struct port *port;	  /* borrowed; of the backup network */
	struct shield_prog *prog; /* NULL: no kernel is asked for frames, or it takes no program */
	struct shield shield;
	uint64_t told_ns;	  /* when somebody was told of a flood; 0: never */
	bool is_told;		  /* of this one */
	uint64_t dropped_before;  /* gw's counter as it began */
};

/* @ip_be32: our address in @port's network. Loads the shield's program where @port can have one; says in
 * the log when the kernel does not take it, and goes on without. @w is the caller's storage. */
void witnessing_open(struct witnessing *w, struct gateway *gw, struct port *port, uint32_t ip_be32);

/* Wipes the kernel's copy of the keys. A zeroed object is fine. */
void witnessing_close(struct witnessing *w);

/* Is the frame a UDP datagram for us at the witness port? True: it is dealt with, whatever it held; the
 * caller frees it. False: it is another's. */
bool witnessing_input(struct witnessing *w, const struct filter_rules *rules, const uint8_t *data,
		      size_t size, uint64_t now_ns);

/* In a flood of UDP that nobody wants, have the kernel drop it (witness/shield.h), and tell of it. Once each turn;
 * it looks some times a second. */
void witnessing_shield(struct witnessing *w, uint64_t now_ns);

#endif
