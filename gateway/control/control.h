/* control.h - the operators' service: mutual TLS 1.3 on kernel sockets, one JSON line per request.
 *
 * Why: what an operator sees and asks must not depend on the data path; it shares the loop and its
 * thread, so that a verb sees one consistent state. docs/control-protocol.md is normative.
 *
 *	accept ─► TLS (role operator | viewer) ─► one line in ─► verb table ─► lines out ─► close
 *	                                                 │ commands: answered when the machine says so
 *	                                                 └ events --follow: stays open
 *
 * Where: main opens it; it calls session/gateway.h; it is the gateway's sinks.
 * Threads: the gateway's loop. Blocks on nothing. Memory: per connection
 * a request line and an output of at most CONTROL_OUTPUT_MAX.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include <stdint.h>

#include "session/gateway.h"

#define CONTROL_REQUEST_MAX	4096
#define CONTROL_OUTPUT_MAX	(4u << 20)
#define CONTROL_CONNECTIONS_MAX 32 /* that wait for a command or follow events ... */
#define CONTROL_VIEWERS_MAX	16 /* ... of them viewers'; the others are for operators */
#define CONTROL_FOLLOWERS_MAX	4  /* ... that follow events, of one identity */
#define CONTROL_UNPROVEN_MAX	16 /* that have not asked yet, or only take their answer: newcomers.h */
#define CONTROL_TIMEOUT_NS	UINT64_C(5000000000) /* for handshake and request */
#define CONTROL_VERSION		1

struct control; /* opaque */

struct control_config {
	struct wire_tls_context *tls; /* server side; borrowed */
	uint32_t ip_be32;	      /* management address */
	uint16_t port;
	const char *state_dir;	   /* for events.jsonl */
	uint64_t events_bytes_max; /* of events.jsonl; then it becomes events.jsonl.1 */
};

/* Listen and take over the gateway's sinks. 0: *ret_control is the caller's; -errno of the socket
 * calls or of opening events.jsonl; -ENOMEM. */
int control_open(struct gateway *gw, int epoll_fd, const struct control_config *config,
		 struct control **ret_control) __attribute__((warn_unused_result));

/* Timeouts of connections, and the handshakes that waited for their share of time. Once each turn
 * of the loop. */
void control_tick(struct control *control, uint64_t now_ns);

/* When control_tick() has a handshake to go on with; UINT64_MAX: none waits. */
uint64_t control_deadline_ns(const struct control *control);

/* Send what is queued as far as it goes, close all. NULL is fine. Returns NULL. */
struct control *control_close(struct control *control);

#endif
