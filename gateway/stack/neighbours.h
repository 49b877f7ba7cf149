/* neighbours.h - which MAC an IPv4 address of our network has. Pure.
 *
 * Why: Debian builds lwIP with 10 places for this (ARP_TABLE_SIZE). With 12 hosts each frame would
 * push another host out, be held back and ask again by ARP. lwIP's own table is used only for the
 * first frame to an address that nobody has told us.
 *
 *	slot = the address's low bits: the hosts of a /22 or smaller each have their own; in a larger
 *	network two may share one, and then the one that spoke by ARP last has it
 *
 * Where: stack.c. Learns from ARP alone, as lwIP does. Threads: any, one table at a time. Never
 * allocates.
 */
#ifndef STACK_NEIGHBOURS_H
#define STACK_NEIGHBOURS_H

#include <stdint.h>

#define NEIGHBOURS_MAC_BYTES 6
#define NEIGHBOURS_MAX	     1024		      /* a power of two */
#define NEIGHBOURS_OLD_NS    UINT64_C(60000000000)  /* then ask whether it is still so ... */
#define NEIGHBOURS_MAX_NS    UINT64_C(300000000000) /* ... and without an answer forget it */
#define NEIGHBOURS_ASK_NS    UINT64_C(1000000000)   /* at most one question in that time */

/* All 0: empty. */
struct neighbours {
	struct neighbour {
		uint32_t address; /* host byte order; 0: none */
		uint8_t mac[NEIGHBOURS_MAC_BYTES];
		uint64_t learnt_ns, asked_ns;
	} list[NEIGHBOURS_MAX];
};

/* @address said by ARP that it has @mac. */
void neighbours_learn(struct neighbours *table, uint32_t address,
		      const uint8_t mac[NEIGHBOURS_MAC_BYTES], uint64_t now_ns);

/* The MAC of @address, valid until the next call; NULL: not known. *ret_ask: it is old and was not
 * asked for lately, so ask by ARP (this notes that it was asked). */
const uint8_t *neighbours_find(struct neighbours *table, uint32_t address, uint64_t now_ns, int *ret_ask);

#endif
