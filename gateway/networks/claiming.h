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
 * For the same reason, the probes are sent while DPDK starts, which takes about as long. If the
 * port uses a kernel interface, a thread sends the probes through a packet socket on that
 * interface. Until the probes and DPDK's start are over, the gateway accepts, answers and sends
 * nothing else.
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

/* The check that a thread makes while DPDK starts: does another host use our address? */
struct claiming_ask {
	/* true while the thread exists; claiming_ask_end() waits for its end */
	bool is_asking;
	pthread_t thread;
	int fd; /* packet socket for ARP; until the thread ends, only the thread uses it */
	uint32_t ip_be32;
	uint8_t mac[6]; /* the interface's MAC */
	/* valid when the thread has ended */
	bool was_sent; /* at least one probe was sent; if not, claiming_open() sends the probes */
	bool has_rival;
	uint8_t rival_mac[6];
};

/* Start the thread that probes for @ip_be32 on the kernel interface @interface ("": there is none).
 * If the thread cannot be started, claiming_open() will send the probes. Call claiming_open() or
 * claiming_ask_end() later. */
void claiming_ask_begin(struct claiming_ask *ask, const char *interface, uint32_t ip_be32);

/* Wait until the thread has ended, which it does about 300 ms after its start. Does nothing if
 * there is no thread, or if @ask is all zero. */
void claiming_ask_end(struct claiming_ask *ask);

/* Wait until the thread has ended. Returns 0 if the thread has seen no other host with our address;
 * claiming_open() can be called later. If the thread has seen one, logs which host it is, and
 * returns -EADDRINUSE. */
int claiming_asked(struct claiming_ask *ask) __attribute__((warn_unused_result));

/* Does the Ethernet frame @data show that another host uses the address @ip_be32, or wants to use
 * it? @mac is our own MAC. If so, sets @ret_mac to that host's MAC. Pure. */
bool claiming_is_rival(const uint8_t *data, size_t size, uint32_t ip_be32, const uint8_t mac[6],
		       uint8_t ret_mac[6]);

/* Wait until the thread of @ask has ended, and look at the frames that @port has received. If the
 * thread could not send probes, probe for @ip_be32 on @port for 300 ms. Nothing else may read from
 * @port meanwhile. Returns 0 if no other host was seen with our address. If one was seen, logs
 * which host it is, and returns -EADDRINUSE. */
int claiming_open(struct claiming *claiming, struct claiming_ask *ask, struct fleet *fleet,
		  struct port *port, uint32_t ip_be32) __attribute__((warn_unused_result));

/* If a received frame shows that another host uses our address, report that host. Reports at most
 * once in ten seconds. Call this for each frame received from the port. */
void claiming_look(struct claiming *claiming, const void *data, size_t size, uint64_t now_ns);

#endif
