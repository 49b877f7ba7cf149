/* witness_shared.h - types and constants shared by the witness's BPF programs and their loader.
 *
 * This is the only header of ours that both include. Types have fixed width and host byte order
 * unless noted, and sizes are asserted. The maps of a new witness are all zero, and the programs
 * then send nothing.
 */
#ifndef WITNESS_SHARED_H
#define WITNESS_SHARED_H

#include <linux/types.h>

#define WITNESS_HEADER_SIZE   42  /* Ethernet 14, IPv4 20, UDP 8 */
#define WITNESS_DATAGRAM_SIZE 128 /* docs/wire-format.md, chapter 9 */
#define WITNESS_FRAME_SIZE    (WITNESS_HEADER_SIZE + WITNESS_DATAGRAM_SIZE)
#define WITNESS_HEAD_MIN      14
#define WITNESS_HEAD_MAX      64
#define WITNESS_TAPS_MAX      8 /* maximum number of taps of one guest */

/* The networks through which a datagram can be sent. The numbers are the values of the datagram's
 * field `path`. */
enum witness_path_number {
	WITNESS_BACKUP = 0,
	WITNESS_CLIENT = 1,
	WITNESS_N_PATHS = 2,
};

/* A key, and for each path the last sequence number used with it. */
struct witness_key {
	__u64 key[2];			/* the key's 16 bytes as two little-endian words */
	/* for each path, the last sequence number used; written by witness_emit */
	__u64 sequence[WITNESS_N_PATHS];
	__u32 key_id;
	__u32 reserved;
};

/* The route of one path: the device to send through, and the headers to put in front of the
 * datagram. The agent fills in both. */
struct witness_path {
	__u32 ifindex; /* device in the backup or client network; 0: there is no route */
	/* the headers exactly as they are sent, with the IPv4 checksum */
	__u8 header[WITNESS_HEADER_SIZE];
	__u8 reserved[2];
};

/* Value of the map witness_control. The agent writes it through mmap. The key has two slots, and
 * each path's route has two slots. An index says which slot is in use. To change a key or a route,
 * the agent first writes the unused slot, then changes the index. So the programs never see a
 * half-written key or route. */
struct witness_control {
	__u32 is_enabled; /* 0: frames are counted, but nothing is sent */
	__u32 key_slot;	  /* index of the slot in use: 0 or 1 */
	__u32 path_slot[WITNESS_N_PATHS]; /* index of the slot in use: 0 or 1 */
	/* the ifindexes of the guest's taps, left here for the next agent */
	__u32 n_taps;
	__u32 reserved;
	__u32 taps[WITNESS_TAPS_MAX];
	__u64 interval_ns;
	struct witness_key keys[2];
	struct witness_path paths[WITNESS_N_PATHS][2];
};

/* Value of the map witness_state. The programs write it. */
struct witness_state {
	__u64 to_guest;	  /* frames sent to the guest through its taps */
	/* when the last sample was taken; the next sample is due interval_ns later */
	__u64 sampled_ns;
	/* time of the last sample, until witness_emit receives that sample's clone; then 0 */
	__u64 token_ns;
	__u64 sampled;	  /* samples taken */
	__u64 sent[WITNESS_N_PATHS]; /* datagrams passed to the path's device */
	__u64 failed_clone; /* samples that could not be cloned into the helper device */
	/* samples for which no datagram was sent through the path. Two kinds of samples are counted
	 * for WITNESS_BACKUP, but not for WITNESS_CLIENT: those from which no datagram could be
	 * made, and those for which the path had no route */
	__u64 failed_emit[WITNESS_N_PATHS];
	/* frames on the helper device that are not samples, and further segments of a sample */
	__u64 stray;
};

_Static_assert(sizeof(struct witness_key) == 40, "mapped by both sides");
_Static_assert(sizeof(struct witness_path) == 48, "mapped by both sides");
_Static_assert(sizeof(struct witness_control) == 336, "mapped by both sides");
_Static_assert(sizeof(struct witness_state) == 80, "mapped by both sides");

#endif
