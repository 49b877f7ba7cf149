/* control.h - serves operators: mutual TLS 1.3 on kernel sockets, one JSON line per request.
 *
 * Operators must reach the gateway even when the data path does not work. So the service uses
 * kernel sockets. The service runs in the gateway's loop, so that each request sees one consistent
 * state. docs/control-protocol.md defines the protocol.
 *
 *  accept ─► TLS (role operator | viewer) ─► one line in ─► verb table ─► lines out ─► close
 *                                                   │ a command: answered when it has ended
 *                                                   └ events --follow: stays open
 *
 * Where: main opens the service. The service calls fleet/fleet.h, and sets the callbacks by which
 * the fleet reports events and results (struct fleet_sinks). Threads: the gateway's loop. Never
 * blocks. Memory: each connection has a request line and at most CONTROL_OUTPUT_MAX of output.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include <stdint.h>

#include "base/clock.h"
#include "fleet/fleet.h"

#define CONTROL_REQUEST_MAX	4096
#define CONTROL_OUTPUT_MAX	(4u << 20)
/* limit of the connections that wait for a command's end or follow events */
#define CONTROL_CONNECTIONS_MAX 32
/* at most this many of CONTROL_CONNECTIONS_MAX can be viewers' connections; the others are for
 * operators */
#define CONTROL_VIEWERS_MAX	16
/* limit of the connections with which one operator or viewer follows events */
#define CONTROL_FOLLOWERS_MAX	4
/* limit of the connections whose request has not arrived yet, or which only send the rest of their
 * answer (newcomers.h) */
#define CONTROL_UNPROVEN_MAX	16
#define CONTROL_TIMEOUT_NS	(5 * CLOCK_NS_PER_S) /* time limit for handshake and request */
#define CONTROL_VERSION		1

struct control; /* opaque */

struct control_config {
	struct wire_tls_context *tls; /* TLS context for the server side; borrowed */
	uint32_t ip_be32;	      /* management address on which to listen */
	uint16_t port;
	uint64_t (*clock_ns)(void); /* clock that measures handshakes; NULL: clock_mono_ns */
	const char *state_dir;	   /* directory of events.jsonl and audit.jsonl */
	uint64_t events_bytes_max; /* size at which events.jsonl is renamed to events.jsonl.1 */
};

/* Listen for operators, and set @fleet's callbacks (struct fleet_sinks). Returns 0 and sets
 * *ret_control, which the caller then owns. Errors: -ENOMEM; -errno of the socket calls, or of
 * opening events.jsonl. */
int control_open(struct fleet *fleet, int epoll_fd, const struct control_config *config,
		 struct control **ret_control) __attribute__((warn_unused_result));

/* End connections whose time is up, and let a waiting handshake continue. Call this once in each
 * iteration of the gateway's loop. */
void control_tick(struct control *control, uint64_t now_ns);

/* Returns when control_tick() can continue a waiting handshake, or UINT64_MAX if none waits. */
uint64_t control_deadline_ns(const struct control *control);

/* Send as much of the queued output as possible without waiting. Then close all connections and
 * free @control. NULL is fine. Returns NULL. */
struct control *control_close(struct control *control);

#endif
