/* claiming.h - is the gateway's address on the backup network ours alone? RFC 5227, shortened.
 *
 * Why: a second gateway with the same address (a clone, a backup that was started beside) would take turns with
 * this one in the hosts' ARP caches. So before the stack answers to the address, three ARP probes ask for it, and
 * whoever has it ends this start; later every ARP frame of another sender with it is an event.
 *
 *	probe ─100 ms─ probe ─100 ms─ probe ─100 ms─► ours        (the RFC waits for seconds; output waits for us)
 *
 * Threads: the gateway's loop.
 */
#ifndef CLAIMING_H
#define CLAIMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port/port.h"
#include "session/gateway.h"

struct claiming {
	struct gateway *gw;   /* NULL: there is no port */
	uint32_t ip_be32;
	uint8_t mac[6];
	uint64_t told_at_ns; /* no event before */
};

/* Does the Ethernet frame say that somebody but @mac has (or is about to take) @ip_be32? @ret_mac: who. Pure. */
bool claiming_is_rival(const uint8_t *data, size_t size, uint32_t ip_be32, const uint8_t mac[6],
		       uint8_t ret_mac[6]);

/* Ask on @port, which nobody else reads yet, for 300 ms. 0: nobody has it; -EADDRINUSE: logged; -errno. */
int claiming_open(struct claiming *claiming, struct gateway *gw, struct port *port, uint32_t ip_be32)
	__attribute__((warn_unused_result));

/* A frame of the port came. Tells of a rival, at most once in ten seconds. */
void claiming_look(struct claiming *claiming, const void *data, size_t size, uint64_t now_ns);

#endif
