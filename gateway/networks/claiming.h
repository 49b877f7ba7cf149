/* claiming.h - checks that no other host uses the gateway's address on the backup network (RFC
 * 5227, shortened).
 *
 * Why: a second gateway with the same address (a clone, or a restored backup) would alternate with
 * this one in the hosts' ARP caches. So before the stack answers for the address, three ARP probes
 * ask for it. If another host has the address, the gateway does not start. Later, an ARP frame in
 * which another sender uses the address causes an event.
 *
 *	probe ─100 ms─ probe ─100 ms─ probe ─100 ms─► ours
 *	(the RFC waits for seconds; we cannot, because guests' output waits for the gateway)
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
	struct fleet *fleet;   /* NULL: claiming_open() was not called, because there is no port */
	uint32_t ip_be32;
	uint8_t mac[6];
	uint64_t told_at_ns; /* give the next event not before this time */
};

/* Does the Ethernet frame show that a host other than @mac has @ip_be32, or is about to take it?
 * @ret_mac: that host's MAC. Pure. */
bool claiming_is_rival(const uint8_t *data, size_t size, uint32_t ip_be32, const uint8_t mac[6],
		       uint8_t ret_mac[6]);

/* Probe for @ip_be32 during 300 ms on @port, from which nothing else may read yet. Returns 0:
 * nobody has the address; -EADDRINUSE: another host has it, which is logged. */
int claiming_open(struct claiming *claiming, struct fleet *fleet, struct port *port,
		  uint32_t ip_be32) __attribute__((warn_unused_result));

/* Check a received frame, and report a host that uses our address, at most once in ten seconds.
 * Call for each frame of the port. */
void claiming_look(struct claiming *claiming, const void *data, size_t size, uint64_t now_ns);

#endif
