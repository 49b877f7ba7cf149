/* link.h - describes an agent's connection as the fleet sees it, and the operations that the fleet
 * may use on it.
 *
 * The fleet makes the decisions, and connections only carry bytes. So the fleet knows nothing about
 * TLS, frames or the list of connections. No operation calls the fleet back: a send operation only
 * queues bytes, and end() only marks the connection. The loop ends a marked connection later
 * (session.h).
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

/* An agent's connection. Only session/ writes to the members. */
struct fleet_link {
	uint64_t number; /* number of the connection, counted from 1, never reused */
	char peer[FLEET_LINK_PEER_SIZE]; /* "ADDRESS:PORT" */
	uint64_t features;		 /* the features that WELCOME allowed */
	uint64_t seen_ns;		 /* when the peer's last bytes came */
	/* for a primary's stream: true while a frame waits for room in the standby's ring */
	bool is_blocked;
};

/* None of these functions calls the fleet. After end(), everything else that is sent on the link is
 * dropped. */
struct fleet_link_ops {
	/* Send an ORDER for @vm, as @a says, on a host's control connection. */
	void (*order)(struct fleet_link *control, const char *vm, const struct vm_action *a);
	/* Send WITNESS_KEY with the key @key of @term on the control connection of a VM's owner.
	 * The function wipes the copies of @key that it makes. */
	void (*witness_key)(struct fleet_link *control, uint64_t term,
			    const struct wire_witness_key *key);
	/* Send DRAIN_STATE on a host's control connection. The caller has checked that the
	 * connection has the feature DRAIN. */
	void (*drain_state)(struct fleet_link *control, const struct wire_drain_state *state);
	/* Send RESUME or COMMIT on a primary's stream. */
	void (*resume)(struct fleet_link *stream, const struct vm_action *a);
	void (*commit)(struct fleet_link *stream, const struct vm_action *a);
	/* Let the loop send all that is queued on the connection, and then end the connection. */
	void (*end)(struct fleet_link *link);
};

#endif
