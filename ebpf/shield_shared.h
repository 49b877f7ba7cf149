/* shield_shared.h - what the shield's BPF program and its loader agree on.
 *
 * The only header both sides include. Fixed-width types, host byte order where not said otherwise,
 * sizes asserted.
 */
#ifndef SHIELD_SHARED_H
#define SHIELD_SHARED_H

#include <linux/types.h>

#define SHIELD_SLOTS 128 /* keys at most */

/* A key, and the state of its datagrams. All zero: no key. */
struct shield_key {
	__u64 key[2];	/* the 16 bytes, little-endian words */
	__u64 newest;	/* highest sequence passed; written by the program */
	__u64 bad_macs; /* dropped for a wrong mac; added to by the program, taken by the gateway */
	__u32 key_id;
	__be32 address; /* source address of its datagrams */
};

/* The verdict on a UDP datagram. */
enum shield_verdict {
	SHIELD_PASSED = 0,	  /* the only one that is not dropped */
	SHIELD_OTHER = 1,	  /* not for the witness port at our address */
	SHIELD_MALFORMED = 2,	  /* for the witness port, but of wrong size or magic */
	SHIELD_UNKNOWN_KEY = 3,
	SHIELD_WRONG_ADDRESS = 4, /* not from the host that has its key */
	SHIELD_REPLAYED = 5,	  /* its sequence is not above all that passed */
	SHIELD_BAD_MAC = 6,
	SHIELD_WRONG_PATH = 7,	  /* its path is the other network's; checked after MALFORMED */
	SHIELD_N_VERDICTS = 8,
};

/* Value of the map shield_counts. */
struct shield_counts {
	__u64 n[SHIELD_N_VERDICTS]; /* dropped, by enum shield_verdict; bad macs are in the keys */
};

_Static_assert(sizeof(struct shield_key) == 40, "mapped by both sides");
_Static_assert(sizeof(struct shield_counts) == 64, "mapped by both sides");

#endif
