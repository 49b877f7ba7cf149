/* server.h - accepts connections from other hosts, does TLS and HELLO, and passes each connection
 * to a standby.
 *
 * Why: a primary without a gateway asks its VM's standby for a vote (agree.h), and may then stream
 * to the standby. This server does the first steps of such a connection, up to the HELLO, which
 * names the VM. A standby of this host does all later steps.
 *
 *	accept ─► TLS (role host) ─► HELLO kind PEER ─► take() ─► a standby of this host
 *	   └── too many, too slow, broken, refused by take() ──► REFUSED, closed, counted
 *
 * Where: hostagent/agent.c starts this server if `peer_listen` is set. All input counts as hostile
 * until TLS has authenticated the host. After that, take() decides whether to accept that host's
 * connection.
 *
 * Threads: the server has its own thread, which calls take(). The thread never waits for a peer.
 */
#ifndef PEER_SERVER_H
#define PEER_SERVER_H

#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "link/link.h"

/* maximum number of connections that are between accept and HELLO at one time */
#define PEER_CONNECTIONS_MAX 16u
#define PEER_HELLO_NS	     (2 * CLOCK_NS_PER_S) /* default of peer_server_config.hello_ns */

struct peer_server;

/* A connection with a valid HELLO. */
struct peer_offer {
	struct link *link;
	char host[WIRE_NAME_MAX + 1]; /* the name in the peer's certificate */
	char vm[WIRE_NAME_MAX + 1];
	uint64_t term;
	uint16_t version;
	uint64_t features;
};

struct peer_server_config {
	uint32_t ip_be32;
	uint16_t port;
	struct wire_tls_context *tls; /* for the server side; borrowed */
	uint64_t hello_ns;            /* longest time from accept to HELLO; 0 means PEER_HELLO_NS */

	/* Take over a connection. Must not wait. Returns 0: the callee owns offer->link now.
	 * Otherwise returns an enum wire_refused_code, and *ret_error has a text for the peer. */
	uint16_t (*take)(void *arg, const struct peer_offer *offer, struct error *ret_error);
	void *arg;
};

/* Listen and start the thread. Returns 0; -errno of socket(2), bind(2), listen(2); or -ENOMEM. */
int peer_server_open(const struct peer_server_config *config, struct peer_server **ret_server)
	__attribute__((warn_unused_result));

/* End the thread, and close the connections that take() has not taken over. Accepts NULL; returns
 * NULL. */
struct peer_server *peer_server_close(struct peer_server *server);

#endif
