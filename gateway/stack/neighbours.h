/* neighbours.h - the MAC of each IPv4 address of our network. Pure.
 *
 * Why: Debian builds lwIP with 10 places for this (ARP_TABLE_SIZE). With 12 hosts each frame would
 * push another host out, be held back, and ask again by ARP. So lwIP's own table is used only for
 * the first frame to an address whose MAC we do not know.
 *
 *	slot = the address's low bits: in a /22 or smaller each host has its own; in a larger
 *	network two may share a slot, which then holds the one that spoke by ARP last
 *
 * Where: stack.c. Learns from ARP alone, as lwIP does. Threads: any, one table at a time. Never
 * allocates.
 */
#ifndef STACK_NEIGHBOURS_H
#define STACK_NEIGHBOURS_H

#include <stdint.h>

#include "base/clock.h"

#define NEIGHBOURS_MAC_BYTES 6
#define NEIGHBOURS_MAX	     1024		      /* a power of two */
#define NEIGHBOURS_OLD_NS    (60 * CLOCK_NS_PER_S)  /* then ask whether it is still valid ... */
#define NEIGHBOURS_MAX_NS    (300 * CLOCK_NS_PER_S) /* ... and without an answer forget it */
#define NEIGHBOURS_ASK_NS    CLOCK_NS_PER_S   /* ask at most once in this time */

/* All 0: empty. */
struct neighbours {
	struct neighbour {
		uint32_t address; /* host byte order; 0: none */
		uint8_t mac[NEIGHBOURS_MAC_BYTES];
		uint64_t learnt_ns, asked_ns;
	} list[NEIGHBOURS_MAX];
};

/* @address told us by ARP that its MAC is @mac. */
void neighbours_learn(struct neighbours *table, uint32_t address,
		      const uint8_t mac[NEIGHBOURS_MAC_BYTES], uint64_t now_ns);

/* The MAC of @address, valid until the next call; NULL: not known. *ret_ask: the entry is old and
 * was not asked about lately, so ask by ARP (this call notes that you did). */
const uint8_t *neighbours_find(struct neighbours *table, uint32_t address, uint64_t now_ns,
			       int *ret_ask);

#endif
