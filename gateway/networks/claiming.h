/* claiming.h - checks that no other host uses the gateway's address on the backup network (RFC
 * 5227, shortened).
 *
 * A second gateway can have the same address if it is a clone or a restored backup. The hosts' ARP
 * caches would then alternate between the two gateways. So at its start, the gateway sends three
 * ARP probes for its address. If another host answers, the gateway does not start. If another host
 * uses the address later, an event reports this.
 *
 *      probe ─100 ms─ probe ─100 ms─ probe ─100 ms─► the address is ours
 *
 * The RFC waits for seconds. Here the wait is short, because the guests' output is held meanwhile.
 * For the same reason it does not wait for DPDK, whose start takes as long: where the port uses an
 * interface of the kernel, a thread asks on a packet socket of that interface while DPDK starts.
 * Nothing is accepted, answered or sent to anyone before both are over.
 *
 * Threads: the gateway's loop; the thread of struct claiming_ask touches nothing else.
 */
#ifndef NETWORKS_CLAIMING_H
#define NETWORKS_CLAIMING_H

#include <pthread.h>
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

/* The question that is asked while DPDK starts. */
struct claiming_ask {
	bool is_asking; /* the thread was started; false: claiming_open() asks by the port */
	pthread_t thread;
	int fd; /* packet socket for ARP; the thread's until it ends */
	uint32_t ip_be32;
	uint8_t mac[6]; /* of the interface */
	/* valid when the thread has ended */
	bool was_sent; /* a probe has left */
	bool has_rival;
	uint8_t rival_mac[6];
};

/* Begin to ask for @ip_be32 on the kernel's interface @interface ("": there is none). If that
 * cannot be done, claiming_open() asks. Call claiming_open() or claiming_ask_end() later. */
void claiming_ask_begin(struct claiming_ask *ask, const char *interface, uint32_t ip_be32);

/* Wait for the end of the question, 300 ms after its beginning. Accepts a zeroed struct. */
void claiming_ask_end(struct claiming_ask *ask);

/* Does the Ethernet frame @data show that another host uses the address @ip_be32, or wants to use
 * it? @mac is our own MAC. If so, sets @ret_mac to that host's MAC. Pure. */
bool claiming_is_rival(const uint8_t *data, size_t size, uint32_t ip_be32, const uint8_t mac[6],
		       uint8_t ret_mac[6]);

/* Wait for the end of @ask, and look at what @port has received. If @ask could not ask, probe for
 * @ip_be32 on @port for 300 ms. Nothing else may read from @port meanwhile. Returns 0 if no other
 * host has the address. If a host has it, logs which host, and returns -EADDRINUSE. */
int claiming_open(struct claiming *claiming, struct claiming_ask *ask, struct fleet *fleet,
		  struct port *port, uint32_t ip_be32) __attribute__((warn_unused_result));

/* If a received frame shows that another host uses our address, report that host. Reports at most
 * once in ten seconds. Call this for each frame received from the port. */
void claiming_look(struct claiming *claiming, const void *data, size_t size, uint64_t now_ns);

#endif
