/* claiming.h - is the gateway's address on the backup network ours alone? RFC 5227, shortened.
 *
 * Why: a second gateway with the same address (a clone, or a restored backup) would alternate with
 * this one in the hosts' ARP caches. So before the stack answers to the address, three ARP probes
 * ask for it; if another host has it, this start ends. Later, every ARP frame of another sender
 * with this address is an event.
 *
 *	probe ─100 ms─ probe ─100 ms─ probe ─100 ms─► ours
 *	(the RFC waits for seconds, but here output waits for us)
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
	struct fleet *fleet;   /* NULL: there is no port */
	uint32_t ip_be32;
	uint8_t mac[6];
	uint64_t told_at_ns; /* give the next event no sooner */
};

/* Does the Ethernet frame show that another host than @mac has, or is about to take, @ip_be32?
 * @ret_mac: that host. Pure. */
bool claiming_is_rival(const uint8_t *data, size_t size, uint32_t ip_be32, const uint8_t mac[6],
		       uint8_t ret_mac[6]);

/* Probe for 300 ms on @port, which nobody else reads yet. 0: nobody has the address; -EADDRINUSE:
 * logged; -errno. */
int claiming_open(struct claiming *claiming, struct fleet *fleet, struct port *port,
		  uint32_t ip_be32) __attribute__((warn_unused_result));

/* Call for each frame of the port. Reports a rival, at most once in ten seconds. */
void claiming_look(struct claiming *claiming, const void *data, size_t size, uint64_t now_ns);

#endif
