/* server.h - takes connections of other hosts: accept, TLS, HELLO; then hands the connection on.
 *
 * Why: a primary without a gateway asks its VM's standby (agree.h) and may stream to it. This
 * host's standbys serve those connections. Only the first steps are done here, before the VM is
 * known.
 *
 *	accept ─► TLS (role host) ─► HELLO kind PEER ─► take() ─► a standby's
 *	   └── too many, too slow, broken, refused by take() ──► REFUSED, closed, counted
 *
 * Where: hostagent/agent.c makes one if `peer_listen` is set. All input counts as hostile until TLS
 * has authenticated the host, and that host may do only what take() allows.
 *
 * Threads: one of its own, which never waits for a peer. take() is called on it.
 */
#ifndef PEER_SERVER_H
#define PEER_SERVER_H

#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "link/link.h"

#define PEER_CONNECTIONS_MAX 16u		       /* between accept and HELLO at one time */
#define PEER_HELLO_NS	     (2 * CLOCK_NS_PER_S) /* default of hello_ns */

struct peer_server;

/* A connection with a valid HELLO. */
struct peer_offer {
	struct link *link;
	char host[WIRE_NAME_MAX + 1]; /* by its certificate */
	char vm[WIRE_NAME_MAX + 1];
	uint64_t term;
	uint16_t version;
	uint64_t features;
};

struct peer_server_config {
	uint32_t ip_be32;
	uint16_t port;
	struct wire_tls_context *tls; /* server side; borrowed */
	uint64_t hello_ns;	      /* longest time from accept to HELLO; 0: PEER_HELLO_NS */

	/* Take a connection. 0: offer->link now belongs to the taker; else an enum
	 * wire_refused_code, with *ret_error for the peer. Must not
	 * wait. */
	uint16_t (*take)(void *arg, const struct peer_offer *offer, struct error *ret_error);
	void *arg;
};

/* Listen and start the thread. 0; -errno of socket(2), bind(2), listen(2); -ENOMEM. */
int peer_server_open(const struct peer_server_config *config, struct peer_server **ret_server)
	__attribute__((warn_unused_result));

/* Ends the thread; connections that were handed on are not touched. NULL is fine. Returns NULL. */
struct peer_server *peer_server_close(struct peer_server *server);

#endif
