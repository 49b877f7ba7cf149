/* control.h - the operators' service: mutual TLS 1.3 on kernel sockets, one JSON line per request.
 *
 * Why: what operators see and ask must not depend on the data path. The service shares the loop and
 * its thread, so that a verb sees one consistent state. docs/control-protocol.md is normative.
 *
 *  accept ─► TLS (role operator | viewer) ─► one line in ─► verb table ─► lines out ─► close
 *                                                   │ commands: answered when the machine is done
 *                                                   └ events --follow: stays open
 *
 * Where: main opens it; it calls fleet/fleet.h and provides the gateway's sinks. Threads: the
 * gateway's loop. Never blocks. Memory: per connection a request line, and an output of at most
 * CONTROL_OUTPUT_MAX.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include <stdint.h>

#include "base/clock.h"
#include "fleet/fleet.h"

#define CONTROL_REQUEST_MAX	4096
#define CONTROL_OUTPUT_MAX	(4u << 20)
#define CONTROL_CONNECTIONS_MAX 32 /* connections that wait for a command or follow events ... */
#define CONTROL_VIEWERS_MAX	16 /* ... of these, viewers' connections;
				    * the others are for operators */
#define CONTROL_FOLLOWERS_MAX	4  /* ... of these, connections of one
				    * identity that follow events */
#define CONTROL_UNPROVEN_MAX	16 /* connections that have not asked yet, or
				    * only take their answer: newcomers.h */
#define CONTROL_TIMEOUT_NS	(5 * CLOCK_NS_PER_S) /* for handshake and request */
#define CONTROL_VERSION		1

struct control; /* opaque */

struct control_config {
	struct wire_tls_context *tls; /* server side; borrowed */
	uint32_t ip_be32;	      /* management address */
	uint16_t port;
	uint64_t (*clock_ns)(void); /* measures handshakes; NULL: clock_mono_ns */
	const char *state_dir;	   /* for events.jsonl */
	uint64_t events_bytes_max; /* size limit of events.jsonl, which
				    * then becomes events.jsonl.1 */
};

/* Listen and take over the gateway's sinks. 0: *ret_control is the caller's; -errno of the socket
 * calls or of opening events.jsonl; -ENOMEM. */
int control_open(struct fleet *fleet, int epoll_fd, const struct control_config *config,
		 struct control **ret_control) __attribute__((warn_unused_result));

/* Serve timeouts of connections, and handshakes that waited for their share of time. Call once each
 * turn of the loop. */
void control_tick(struct control *control, uint64_t now_ns);

/* When control_tick() can go on with a handshake; UINT64_MAX: none waits. */
uint64_t control_deadline_ns(const struct control *control);

/* Send as much of the queued output as possible, then close all. NULL is fine. Returns NULL. */
struct control *control_close(struct control *control);

#endif
