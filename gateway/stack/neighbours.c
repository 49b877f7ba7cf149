#include "stack/neighbours.h"

#include <string.h>

void neighbours_learn(struct neighbours *table, uint32_t address,
		      const uint8_t mac[NEIGHBOURS_MAC_BYTES], uint64_t now_ns)
{
	struct neighbour *n = &table->list[address % NEIGHBOURS_MAX];

	n->address = address;
	memcpy(n->mac, mac, sizeof(n->mac));
	n->learnt_ns = n->asked_ns = now_ns;
}

const uint8_t *neighbours_find(struct neighbours *table, uint32_t address, uint64_t now_ns,
			       int *ret_ask)
{
	struct neighbour *n = &table->list[address % NEIGHBOURS_MAX];

	*ret_ask = 0;
	if (address == 0 || n->address != address || now_ns - n->learnt_ns >= NEIGHBOURS_MAX_NS)
		return NULL;
	if (now_ns - n->learnt_ns >= NEIGHBOURS_OLD_NS &&
	    now_ns - n->asked_ns >= NEIGHBOURS_ASK_NS) {
		n->asked_ns = now_ns;
		*ret_ask = 1;
	}
	return n->mac;
}
