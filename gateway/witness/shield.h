/* shield.h - decides when the kernel should drop unwanted UDP: in a flood of it.
 *
 * Why: discarding a frame here is cheap, but by then it was copied into the port's ring and out
 * again, and the ring is limited. So the cost of a flood is its path to us. If the port is a kernel
 * interface (net_af_packet), its socket can be given a program that checks frames before the kernel
 * copies them (ebpf/shield.bpf.c).
 *
 * Only in a flood: the program is stricter than we are about the order of datagrams, holds a copy
 * of the keys, and checks every frame. It counts what it drops, so that the end of the flood is
 * noticed here.
 *
 *	          unwanted >= SHIELD_UP_PER_S for SHIELD_LOOK_NS
 *	 DOWN ──────────────────────────────────────────────────► UP
 *	    ◄──────────────────────────────────────────────────────
 *	          fewer for SHIELD_HOLD_NS
 *
 * Pure: counts and time in, a decision out. Where: witnessing.c carries it out. Any thread.
 */
#ifndef WITNESS_SHIELD_H
#define WITNESS_SHIELD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define SHIELD_LOOK_NS	(100 * CLOCK_NS_PER_MS)
#define SHIELD_HOLD_NS	(5000 * CLOCK_NS_PER_MS)
#define SHIELD_UP_PER_S 5000 /* unwanted datagrams; true ones are a hundred a second for each VM */

struct shield {
	uint64_t looked_ns; /* 0: never */
	uint64_t unwanted;  /* the count at that time */
	uint64_t flood_ns;  /* when the flood was last seen; 0: never */
	bool is_up;
};

/* Is it time for shield_look()? */
bool shield_is_due(const struct shield *shield, uint64_t now_ns);

/* @unwanted: UDP datagrams refused or dropped so far, including by the kernel. Has no effect before
 * it is due. True: is_up changed. Call it a few times a second. */
bool shield_look(struct shield *shield, uint64_t unwanted, uint64_t now_ns);

#endif
