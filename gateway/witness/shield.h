/* shield.h - when the kernel is to throw UDP away that nobody here wants: in a flood of it.
 *
 * Why: throwing a frame away here is cheap, but it was copied into the port's ring and out of it again, and the ring
 * is as long as it is: what a flood costs is its way to us. Where the port is a kernel interface (net_af_packet) its
 * socket can be given a program that looks before the kernel copies (ebpf/shield.bpf.c).
 *
 * Only in a flood: the program is stricter about the order of datagrams than we are, holds a copy of the keys, and
 * looks at each frame. It counts what it drops, so that it is seen here when the flood ends.
 *
 *	          unwanted >= SHIELD_UP_PER_S for SHIELD_LOOK_NS
 *	 DOWN ──────────────────────────────────────────────────► UP
 *	    ◄──────────────────────────────────────────────────────
 *	          fewer for SHIELD_HOLD_NS
 *
 * Pure: counts and time in, a wish out. Where: witnessing.c carries it out. Any thread.
 */
#ifndef WITNESS_SHIELD_H
#define WITNESS_SHIELD_H

#include <stdbool.h>
#include <stdint.h>

#define SHIELD_LOOK_NS	(UINT64_C(100) * 1000000)
#define SHIELD_HOLD_NS	(UINT64_C(5000) * 1000000)
#define SHIELD_UP_PER_S 5000 /* unwanted datagrams; true ones are a hundred a second for each VM */

struct shield {
	uint64_t looked_ns; /* 0: never */
	uint64_t unwanted;  /* then */
	uint64_t flood_ns;  /* when the flood was there last; 0: never */
	bool is_up;
};

/* Is it time for shield_look()? */
bool shield_is_due(const struct shield *shield, uint64_t now_ns);

/* @unwanted: UDP datagrams refused or dropped so far, by the kernel too. Before it is due: no effect. True: is_up
 * changed. To be called some times a second. */
bool shield_look(struct shield *shield, uint64_t unwanted, uint64_t now_ns);

#endif
