/* shield_shared.h - types and constants shared by the shield's BPF program and its loader.
 *
 * This is the only header of ours that both include. Types have fixed width and host byte order
 * unless noted, and sizes are asserted.
 */
#ifndef SHIELD_SHARED_H
#define SHIELD_SHARED_H

#include <linux/types.h>

#define SHIELD_SLOTS 128 /* number of keys that the shield can have */

/* A slot of the map of keys: one key, and what the program has recorded about its datagrams. If a
 * slot is all zero, it has no key. */
struct shield_key {
	__u64 key[2];	/* the key's 16 bytes as two little-endian words */
	__u64 newest;	/* highest sequence that has passed; written by the program */
	/* number of datagrams dropped for a wrong mac (message authentication code). The program
	 * counts them; the gateway reads and clears the count */
	__u64 bad_macs;
	__u32 key_id;
	__be32 address; /* source address that the key's datagrams must have */
};

/* The verdict on a UDP datagram. */
enum shield_verdict {
	SHIELD_PASSED = 0,	  /* the datagram passes; all other verdicts drop it */
	SHIELD_OTHER = 1,	  /* not addressed to the witness port of our address */
	SHIELD_MALFORMED = 2,	  /* for the witness port, but of wrong size or magic */
	SHIELD_UNKNOWN_KEY = 3,
	SHIELD_WRONG_ADDRESS = 4, /* not sent from the address of the host that has the key */
	/* a datagram of this key with the same or a newer sequence has passed */
	SHIELD_REPLAYED = 5,
	SHIELD_BAD_MAC = 6,
	/* the datagram's field `path` does not name this network; checked right after MALFORMED */
	SHIELD_WRONG_PATH = 7,
	SHIELD_N_VERDICTS = 8,
};

/* Value of the map shield_counts. */
struct shield_counts {
	/* number of dropped datagrams for each enum shield_verdict; those with a bad mac are
	 * counted in struct shield_key */
	__u64 n[SHIELD_N_VERDICTS];
};

_Static_assert(sizeof(struct shield_key) == 40, "mapped by both sides");
_Static_assert(sizeof(struct shield_counts) == 64, "mapped by both sides");

#endif
