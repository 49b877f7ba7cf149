/* hold_shared.h - types and constants shared by the hold's BPF programs and their loader.
 *
 * This is the only header of ours that both include. Types have fixed width and host byte order
 * (both sides run on the same machine), and sizes are asserted. If a map's size changes, libbpf
 * refuses the map that an older agent pinned.
 */
#ifndef HOLD_SHARED_H
#define HOLD_SHARED_H

#include <linux/types.h>

/* Value of the map hold_control. The agent writes it through mmap; the program reads it for each
 * frame. If it is all zero, every frame is dropped. */
struct hold_control {
	__u32 mode;  /* HOLD_MODE_* */
	/* HOLD_FLAG_*: information for the next agent; the program ignores it */
	__u32 flags;
	__u64 epoch; /* the epoch to stamp on the next frame; 0 is never valid */
};

#define HOLD_MODE_DROP 0
#define HOLD_MODE_HOLD 1
#define HOLD_MODE_PASS 2

/* the agent created the tap's clsact qdisc, so it must also remove it */
#define HOLD_FLAG_CLSACT_OURS 1U
/* Do not reuse 2U: in older agents this flag said that the guest's MAC was pinned in the bridge. */

/* The mark (SO_MARK) that released frames carry through the veth pair: "hold" in ASCII. */
#define HOLD_MARK 0x686f6c64U

/* The mark of a frame on its way from hold_tap to the agent. The high bits, HOLD_EPOCH_MARK, show
 * that hold_tap sent the frame. The low bits are the low bits of the frame's epoch. The agent takes
 * the epoch's high bits from the current epoch. This works because no frame is as old as 2^24
 * epochs. */
#define HOLD_EPOCH_MARK 0x65000000U
#define HOLD_EPOCH_MASK 0x00ffffffU

/* The longest GSO frame that hold_tap holds: the largest IP packet, with an Ethernet header and two
 * VLAN tags. */
#define HOLD_GSO_FRAME_MAX (65535U + 22U)

/* The stamp in front of every held frame, removed when the frame is released.
 *
 *	| 0..7 epoch | 8..15 time_ns | 16.. the guest's frame, destination MAC first |
 */
struct hold_stamp {
	__u64 epoch;   /* epoch in which the frame was sent */
	__u64 time_ns; /* CLOCK_MONOTONIC when the frame left the guest */
};

/* Value of the map hold_sent. It counts all frames that the guest has sent, including dropped
 * frames. The witness also reads this map. The count has a map of its own: an older agent can have
 * pinned the other maps, so their sizes must not change. */
struct hold_sent {
	__u64 frames;
	__u64 last_ns; /* CLOCK_BOOTTIME when the last frame was sent; 0: never */
};

/* Index into the map hold_counters. Add new counters only at the end, because pinned maps outlive
 * the agent. */
enum hold_counter {
	HOLD_COUNTER_HELD = 0,
	HOLD_COUNTER_PASSED = 1,
	/* frames dropped in mode DROP, in an unknown mode, or in mode HOLD with epoch 0 */
	HOLD_COUNTER_DROPPED_MODE = 2,
	/* frames dropped because no agent has an AF_XDP socket bound to their queue, or a packet
	 * socket on hfoN */
	HOLD_COUNTER_DROPPED_NO_SOCKET = 3,
	/* frames dropped because they are too long for a UMEM frame, or are longer than the MTU and
	 * not GSO */
	HOLD_COUNTER_DROPPED_LONG = 4,
	/* frames dropped because the driver left no room for the stamp */
	HOLD_COUNTER_DROPPED_STAMP = 5,
	/* Do not reuse 6: in older agents it counted the guest's own frames that the bridge had
	 * flooded back to the guest. */
	/* frames dropped because they came out of the veth pair, but are not from the agent */
	HOLD_COUNTER_DROPPED_STRAY = 7,
	HOLD_COUNTER_SLOTS = 16,
};

_Static_assert(sizeof(struct hold_control) == 16, "hold_control is mapped by both sides");
_Static_assert(sizeof(struct hold_stamp) == 16, "hold_stamp precedes every held frame");
_Static_assert(sizeof(struct hold_sent) == 16, "hold_sent is read by the witness");

#endif
