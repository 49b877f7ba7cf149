/* witness_shared.h - what the witness's BPF programs and their loader agree on.
 *
 * The only header both sides include. Fixed-width types, host byte order where not said otherwise,
 * sizes asserted. All of it is zero in a new witness: nothing is sent.
 */
#ifndef WITNESS_SHARED_H
#define WITNESS_SHARED_H

#include <linux/types.h>

#define WITNESS_HEADER_SIZE   42  /* Ethernet 14, IPv4 20, UDP 8 */
#define WITNESS_DATAGRAM_SIZE 128 /* docs/wire-format.md, chapter 9 */
#define WITNESS_FRAME_SIZE    (WITNESS_HEADER_SIZE + WITNESS_DATAGRAM_SIZE)
#define WITNESS_HEAD_MIN      14
#define WITNESS_HEAD_MAX      64

/* The networks by which a datagram can go; its field `path`. */
enum witness_path_number {
	WITNESS_BACKUP = 0,
	WITNESS_CLIENT = 1,
	WITNESS_N_PATHS = 2,
};

/* A key, and its last sequence numbers. */
struct witness_key {
	__u64 key[2];			/* the 16 bytes, little-endian words */
	__u64 sequence[WITNESS_N_PATHS]; /* last number sent; written by witness_emit */
	__u32 key_id;
	__u32 reserved;
};

/* Where datagrams go: the device, and the headers before the datagram, made by the agent. */
struct witness_path {
	__u32 ifindex;			  /* backup or client device; 0: nowhere */
	__u8 header[WITNESS_HEADER_SIZE]; /* as on the wire, checksum of IPv4 in it */
	__u8 reserved[2];
};

/* Value of the map witness_control. Written by the agent through mmap. Of each pair one is in use.
 * The agent writes the other one and then changes the index, so no program sees half of a
 * change. */
struct witness_control {
	__u32 is_enabled; /* 0: frames are counted, nothing is sent */
	__u32 key_slot;	  /* 0 or 1 */
	__u32 path_slot[WITNESS_N_PATHS]; /* 0 or 1 */
	__u32 tap;	  /* ifindex: the agent's note to its successor */
	__u32 reserved;
	__u64 interval_ns;
	struct witness_key keys[2];
	struct witness_path paths[WITNESS_N_PATHS][2];
};

/* Value of the map witness_state. Written by the programs. */
struct witness_state {
	__u64 to_guest;	  /* frames that reached the guest's port */
	__u64 sampled_ns; /* time of the last sample; the interval counts from it */
	__u64 token_ns;	  /* time of the sample on its way to witness_emit; 0: none */
	__u64 sampled;	  /* samples taken */
	__u64 sent[WITNESS_N_PATHS]; /* datagrams handed to the path's device */
	__u64 failed_clone; /* samples that the helper device did not take */
	__u64 failed_emit[WITNESS_N_PATHS]; /* samples that gave no datagram for the path */
	__u64 stray;	  /* frames on the helper that are no sample, or more segments of one */
};

_Static_assert(sizeof(struct witness_key) == 40, "mapped by both sides");
_Static_assert(sizeof(struct witness_path) == 48, "mapped by both sides");
_Static_assert(sizeof(struct witness_control) == 304, "mapped by both sides");
_Static_assert(sizeof(struct witness_state) == 80, "mapped by both sides");

#endif
