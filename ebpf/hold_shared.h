/* hold_shared.h - what the hold's BPF programs and their loader agree on.
 *
 * The only header that both sides include. Fixed-width types, host byte order (both run on one
 * machine), sizes asserted. If a map's size changes, libbpf refuses the pinned map of an older
 * agent.
 */
#ifndef HOLD_SHARED_H
#define HOLD_SHARED_H

#include <linux/types.h>

/* Value of the control map. Written by the agent through mmap, read by the program per frame.
 * All zero means: drop everything. */
struct hold_control {
	__u32 mode;  /* HOLD_MODE_* */
	__u32 flags; /* HOLD_FLAG_*: the agent's notes to its successor; the program ignores them */
	__u64 epoch; /* stamp for the next frame; 0 is never valid */
};

#define HOLD_MODE_DROP 0
#define HOLD_MODE_HOLD 1
#define HOLD_MODE_PASS 2

#define HOLD_FLAG_CLSACT_OURS 1U /* we made the tap's clsact qdisc, so we remove it */
/* 2U is retired; it meant: the MAC was pinned in the bridge before us */

/* Mark of released frames on their way through the veth pair; "hold". */
#define HOLD_MARK 0x686f6c64U

/* Put in front of every held frame, and removed when the frame is released.
 *
 *	| 0..7 epoch | 8..15 time_ns | 16.. the guest's frame, destination MAC first |
 */
struct hold_stamp {
	__u64 epoch;   /* epoch the frame was sent in */
	__u64 time_ns; /* CLOCK_MONOTONIC when it left the guest */
};

/* Value of the map hold_sent: counts all frames that the guest has sent, also dropped ones. The
 * witness reads it too. A map of its own, so that the pinned maps of an older agent keep their
 * sizes. */
struct hold_sent {
	__u64 frames;
	__u64 last_ns; /* CLOCK_BOOTTIME of the last frame; 0: none */
};

/* Index into the counters map. Append only: pinned maps outlive the agent. */
enum hold_counter {
	HOLD_COUNTER_HELD = 0,
	HOLD_COUNTER_PASSED = 1,
	HOLD_COUNTER_DROPPED_MODE = 2,	    /* mode DROP or unknown, or HOLD with epoch 0 */
	HOLD_COUNTER_DROPPED_NO_SOCKET = 3, /* nobody listens on the frame's queue */
	HOLD_COUNTER_DROPPED_LONG = 4,	    /* longer than a UMEM frame takes */
	HOLD_COUNTER_DROPPED_STAMP = 5,	    /* the driver left no room for the stamp */
	/* 6 is retired; it meant: the guest's own frame flooded back to it */
	HOLD_COUNTER_DROPPED_STRAY = 7, /* came through the veth pair and was not released by us */
	HOLD_COUNTER_SLOTS = 16,
};

_Static_assert(sizeof(struct hold_control) == 16, "hold_control is mapped by both sides");
_Static_assert(sizeof(struct hold_stamp) == 16, "hold_stamp precedes every held frame");
_Static_assert(sizeof(struct hold_sent) == 16, "hold_sent is read by the witness");

#endif
