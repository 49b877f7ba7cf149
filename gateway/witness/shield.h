/* shield.h - decides when a flood of unwanted UDP datagrams is going on. During a flood the kernel
 * should drop such datagrams.
 *
 * Most of a flood's cost arises before the gateway sees the frames: they are copied into and out of
 * the port's ring, which has limited room. If the port is a kernel interface (net_af_packet), a BPF
 * program can be attached to its socket. The program checks frames before the kernel copies them
 * (ebpf/shield.bpf.c).
 *
 * The program is attached only during a flood. It drops some reordered datagrams that the gateway
 * would accept. It also needs a copy of the keys in the kernel, and costs time for every frame. The
 * program counts the datagrams that it drops, so that shield_look() notices the end of the flood.
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
/* unwanted datagrams per second that count as a flood; for comparison, the host of a VM sends about
 * a hundred witness datagrams per second */
#define SHIELD_UP_PER_S 5000

struct shield {
	uint64_t looked_ns; /* when shield_look() last counted; 0: never */
	uint64_t unwanted;  /* number of unwanted datagrams at looked_ns */
	uint64_t flood_ns;  /* when the flood was last seen; 0: never */
	bool is_up;
};

/* Has SHIELD_LOOK_NS passed since shield_look() last counted? */
bool shield_is_due(const struct shield *shield, uint64_t now_ns);

/* If shield_is_due(), compute the rate of unwanted datagrams since shield_look() last counted, and
 * set is_up. @unwanted is the number of UDP datagrams refused or dropped so far, including
 * datagrams that the kernel dropped. Returns true if is_up changed. Call this a few times a
 * second. */
bool shield_look(struct shield *shield, uint64_t unwanted, uint64_t now_ns);

#endif
