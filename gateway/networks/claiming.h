/* claiming.h - checks that no other host uses the gateway's address on the backup network (RFC
 * 5227, shortened).
 *
 * A second gateway may have the same address (a clone, or a restored backup). The hosts' ARP caches
 * would then alternate between the two gateways. So before the stack answers for the address, the
 * gateway asks by three ARP probes whether another host has it. If so, the gateway does not start.
 * Later, an ARP frame in which another sender uses the address causes an event.
 *
 *	probe ─100 ms─ probe ─100 ms─ probe ─100 ms─► the address is ours
 *
 * The RFC waits for seconds, but guests' output waits for the gateway.
 *
 * Threads: the gateway's loop.
 */
#ifndef NETWORKS_CLAIMING_H
#define NETWORKS_CLAIMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port/port.h"
#include "fleet/fleet.h"

struct claiming {
	struct fleet *fleet; /* NULL if claiming_open() was not called, because there is no port */
	uint32_t ip_be32;
	uint8_t mac[6];
	uint64_t told_at_ns; /* give no event before this time */
};

/* Does the Ethernet frame show that a host other than @mac uses the address @ip_be32, or wants to
 * use it? If so, sets @ret_mac to that host's MAC. Pure. */
bool claiming_is_rival(const uint8_t *data, size_t size, uint32_t ip_be32, const uint8_t mac[6],
		       uint8_t ret_mac[6]);

/* Probe for @ip_be32 on @port for 300 ms. Nothing else may read from @port during that time.
 * Returns 0 if no other host has the address. Otherwise, logs which host has it and returns
 * -EADDRINUSE. */
int claiming_open(struct claiming *claiming, struct fleet *fleet, struct port *port,
		  uint32_t ip_be32) __attribute__((warn_unused_result));

/* If a received frame shows that another host uses our address, report that host, at most once in
 * ten seconds. Call this for each frame received from the port. */
void claiming_look(struct claiming *claiming, const void *data, size_t size, uint64_t now_ns);

#endif
