/* session_link.c - implements the operations of fleet/link.h, by which the fleet sends its own
 * messages on a session, or ends it. */
#include <string.h>

#include "session/session_private.h"

static void send_order(struct fleet_link *control, const char *vm, const struct vm_action *a)
{
	struct session *s = session_of(control);
	struct wire_header h = {.type = WIRE_ORDER, .term = a->term, .epoch = a->epoch,
				.seq = s->tx_seq++};
	struct wire_order order = {.order_id = a->order_id, .verb = a->verb,
				   .incarnation = session_incarnation(s)};

	memcpy(order.vm, vm, strnlen(vm, sizeof(order.vm) - 1));
	session_send(s, &h, wire_order_encode(&order, session_begin(s)));
}

static void send_witness_key(struct fleet_link *control, uint64_t term,
			     const struct wire_witness_key *key)
{
	struct session *s = session_of(control);
	struct wire_header h = {.type = WIRE_WITNESS_KEY, .term = term, .seq = s->tx_seq++};

	session_send(s, &h, wire_witness_key_encode(key, session_begin(s)));
	/* Wipe the key from `scratch`, in which the frame was built. */
	explicit_bzero(s->sessions->scratch, WIRE_HEADER_SIZE + sizeof(*key));
}

static void send_drain_state(struct fleet_link *control, const struct wire_drain_state *state)
{
	struct session *s = session_of(control);
	struct wire_header h = {.type = WIRE_DRAIN_STATE, .seq = s->tx_seq++};

	session_send(s, &h, wire_drain_state_encode(state, session_begin(s)));
}

static void send_resume(struct fleet_link *stream, const struct vm_action *a)
{
	struct wire_header h = {.type = WIRE_RESUME, .term = a->term, .epoch = a->epoch,
				.generation = a->generation};

	(void)session_begin(session_of(stream));
	session_send(session_of(stream), &h, 0);
}

static void send_commit(struct fleet_link *stream, const struct vm_action *a)
{
	struct wire_header h = {.type = WIRE_COMMIT, .term = a->term, .epoch = a->epoch};

	(void)session_begin(session_of(stream));
	session_send(session_of(stream), &h, 0);
}

static void end(struct fleet_link *link)
{
	session_mark_ended(session_of(link), SESSION_ENDS_QUIETLY);
}

const struct fleet_link_ops session_link_ops = {
	.order = send_order,
	.witness_key = send_witness_key,
	.drain_state = send_drain_state,
	.resume = send_resume,
	.commit = send_commit,
	.end = end,
};
