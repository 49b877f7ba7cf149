/* shield.h - decides when a flood of unwanted UDP datagrams begins and ends. During a flood a BPF
 * program, the shield (ebpf/shield.bpf.c), drops such datagrams in the kernel.
 *
 * Most of a flood's cost arises before the gateway sees the frames, because the kernel copies them
 * into the port's ring. The shield checks frames before this copy. It can be attached only to a
 * kernel interface (net_af_packet).
 *
 * Outside a flood the shield is not attached, because it has costs. It needs time for every frame,
 * and a copy of the keys in the kernel. It also drops some datagrams that arrive out of order,
 * which the gateway would accept. The shield counts the datagrams that it drops. This count shows
 * shield_look() when the flood has ended.
 *
 *	          one SHIELD_LOOK_NS with at least SHIELD_UP_PER_S unwanted datagrams per second
 *	 DOWN ────────────────────────────────────────────────────────────────────────────────► UP
 *	      ◄────────────────────────────────────────────────────────────────────────────────
 *	          SHIELD_HOLD_NS with fewer unwanted datagrams
 *
 * Pure: the caller passes counts and the time. Where: witnessing.c attaches and detaches the
 * program. Threads: any.
 */
#ifndef WITNESS_SHIELD_H
#define WITNESS_SHIELD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define SHIELD_LOOK_NS	(100 * CLOCK_NS_PER_MS)
#define SHIELD_HOLD_NS	(5000 * CLOCK_NS_PER_MS)
/* This many unwanted datagrams per second count as a flood. For comparison: a VM's host sends about
 * a hundred witness datagrams per second. */
#define SHIELD_UP_PER_S 5000

struct shield {
	uint64_t looked_ns; /* when shield_look() last counted; 0: never */
	uint64_t unwanted;  /* number of unwanted datagrams at looked_ns */
	uint64_t flood_ns;  /* when the flood was last seen; 0: never */
	bool is_up;
};

/* Has SHIELD_LOOK_NS passed since shield_look() last counted? */
bool shield_is_due(const struct shield *shield, uint64_t now_ns);

/* Compute the rate of unwanted datagrams since the last count, and set is_up. Does nothing unless
 * shield_is_due(). @unwanted is the number of UDP datagrams that were refused or dropped so far,
 * including those that the kernel dropped. Returns true if is_up has changed. Call this a few times
 * a second. */
bool shield_look(struct shield *shield, uint64_t unwanted, uint64_t now_ns);

#endif
