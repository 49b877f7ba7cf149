/* shield_shared.h - what the shield's BPF program and its loader agree on.
 *
 * The only header both sides include. Fixed-width types, host byte order where not said otherwise,
 * sizes asserted.
 */
#ifndef SHIELD_SHARED_H
#define SHIELD_SHARED_H

#include <linux/types.h>

#define SHIELD_SLOTS 128 /* keys at most */

/* A key and what came in its name. All zero: none. */
struct shield_key {
	__u64 key[2];	/* the 16 bytes, little-endian words */
	__u64 newest;	/* highest sequence passed; written by the program */
	__u64 bad_macs; /* dropped for their mac; added to by the program, taken by the gateway */
	__u32 key_id;
	__be32 address; /* where its datagrams come from */
};

/* What becomes of a UDP datagram, in the order of the program's questions. */
enum shield_verdict {
	SHIELD_PASSED = 0,	  /* the only one that is not dropped */
	SHIELD_OTHER = 1,	  /* not for the witness port at our address */
	SHIELD_MALFORMED = 2,	  /* there, but of another size or magic */
	SHIELD_UNKNOWN_KEY = 3,
	SHIELD_WRONG_ADDRESS = 4, /* not from where its key was sent to */
	SHIELD_REPLAYED = 5,	  /* its sequence is not above all that passed */
	SHIELD_BAD_MAC = 6,
	SHIELD_WRONG_PATH = 7,	  /* asked after MALFORMED: it says that it came by the other network */
	SHIELD_N_VERDICTS = 8,
};

/* Value of the map shield_counts. */
struct shield_counts {
	__u64 n[SHIELD_N_VERDICTS]; /* dropped, by enum shield_verdict; bad macs are in the keys */
};

_Static_assert(sizeof(struct shield_key) == 40, "mapped by both sides");
_Static_assert(sizeof(struct shield_counts) == 64, "mapped by both sides");

#endif
