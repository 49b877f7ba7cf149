/* neighbours.h - stores the MAC of each IPv4 address in our network. Pure.
 *
 * lwIP has a table too, but in Debian's build lwIP's table has only 10 entries (ARP_TABLE_SIZE).
 * With more hosts, each new entry would replace another host's entry, and many frames would wait
 * for ARP. So the gateway uses lwIP's table only for addresses that are not in this table.
 *
 * The low bits of an address give its slot in this table. In a network of /22 or smaller, each host
 * has its own slot. In a larger network, two hosts can have the same slot. The slot then stores the
 * host from which an ARP frame came last.
 *
 * Where: stack.c. Only ARP frames change the table, as with lwIP's table.
 * Threads: any, but each table is used by one thread at a time. Never allocates.
 */
#ifndef STACK_NEIGHBOURS_H
#define STACK_NEIGHBOURS_H

#include <stdint.h>

#include "base/clock.h"

#define NEIGHBOURS_MAC_BYTES 6
#define NEIGHBOURS_MAX	     1024		      /* a power of two */
/* an entry this old is checked by an ARP request */
#define NEIGHBOURS_OLD_NS    (60 * CLOCK_NS_PER_S)
#define NEIGHBOURS_MAX_NS    (300 * CLOCK_NS_PER_S) /* an entry this old is no longer used */
/* the shortest time between two ARP requests for one entry */
#define NEIGHBOURS_ASK_NS    CLOCK_NS_PER_S

/* A table of all zeros is empty. */
struct neighbours {
	struct neighbour {
		uint32_t address; /* host byte order; 0: none */
		uint8_t mac[NEIGHBOURS_MAC_BYTES];
		uint64_t learnt_ns, asked_ns;
	} list[NEIGHBOURS_MAX];
};

/* Store @mac as the MAC of @address, which we learned by ARP. */
void neighbours_learn(struct neighbours *table, uint32_t address,
		      const uint8_t mac[NEIGHBOURS_MAC_BYTES], uint64_t now_ns);

/* Returns the MAC of @address, valid until the next call, or NULL if the MAC is not known. Sets
 * *ret_ask to 1 if the caller must send an ARP request now, otherwise to 0. A request is due if the
 * entry is at least NEIGHBOURS_OLD_NS old and the last request was at least NEIGHBOURS_ASK_NS ago.
 * The table notes the time of the request. */
const uint8_t *neighbours_find(struct neighbours *table, uint32_t address, uint64_t now_ns,
			       int *ret_ask);

#endif
