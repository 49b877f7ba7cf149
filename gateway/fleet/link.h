/* link.h - an agent's connection as the fleet sees it, and all that the fleet may ask of one.
 *
 * Why: the fleet decides, connections carry. So the fleet knows no TLS, no frames and no list of
 * connections, and nothing that it asks for can call it back: sending only queues bytes, and
 * ending only marks the connection, which the loop ends later (session.h).
 *
 * Where: session/ embeds a link in each session and provides the operations. It attaches links with
 * fleet_control_up() and fleet_stream_up(), and detaches them before it frees them. control/ shows
 * links to operators. Threads: the gateway's loop.
 */
#ifndef FLEET_LINK_H
#define FLEET_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/fsm.h"
#include "wire/msg.h"

#define FLEET_LINK_PEER_SIZE 64

/* Written by session/ alone. */
struct fleet_link {
	uint64_t number;		 /* from 1, never reused */
	char peer[FLEET_LINK_PEER_SIZE]; /* "ADDRESS:PORT" */
	uint64_t features;		 /* what WELCOME allowed */
	uint64_t seen_ns;		 /* when the peer's last bytes came */
	bool is_blocked;		 /* a stream: a frame waits for room at the standby */
};

/* None of these calls the fleet. A link that is about to end drops what is sent on it. */
struct fleet_link_ops {
	/* On a host's control connection: ORDER for @vm, as @a says. */
	void (*order)(struct fleet_link *control, const char *vm, const struct vm_action *a);
	/* On the control connection of a VM's owner: WITNESS_KEY of @term. Wipes its own copies of
	 * @key. */
	void (*witness_key)(struct fleet_link *control, uint64_t term,
			    const struct wire_witness_key *key);
	/* On a primary's stream. */
	void (*resume)(struct fleet_link *stream, const struct vm_action *a);
	void (*commit)(struct fleet_link *stream, const struct vm_action *a);
	/* Let the loop end the connection, once what is queued on it was sent. */
	void (*end)(struct fleet_link *link);
};

#endif
