/* session_stream.c - messages of the stream connections: the relay, acknowledgements, errors. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "session/session.h"

static void send_stream_error(struct session *to, uint64_t term, uint64_t epoch,
			      const struct wire_failure *failure)
{
	struct wire_header h = {.type = WIRE_STREAM_ERROR, .term = term, .epoch = epoch};

	if (to)
		SESSION_SEND(to, &h, wire_failure_encode, failure);
}

/* Report the failure to the machine, which tells the operator and remembers what a standby said. */
static void tell_failure(struct session *s, enum vm_input_kind kind, const struct wire_failure *failure)
{
	struct vm_input in = {.kind = kind, .host = s->host_index, .role = s->role,
			      .text = failure->text};

	(void)fleet_step(s->fleet, s->vm, &in); /* if this is undone because it could not be
						* journaled, the peer reports the failure again */
}

/* The primary broke its own stream: say why and close. The primary connects again and is told where
 * to go on. */
static int stream_broken(struct session *s, const struct wire_frame *frame,
			 const struct wire_failure *failure)
{
	counters_add(&s->fleet->counters.relay_errors, 1);
	log_limited(LOG_LEVEL_WARN, "vm=%s epoch=%" PRIu64 " stream of %s: %s",
		    s->vm->config.name, frame->h.epoch, s->host->name, failure->text);
	tell_failure(s, VM_IN_STREAM_FAILED, failure);
	send_stream_error(s, frame->h.term, frame->h.epoch, failure);
	session_end(s);
	return -EPROTO;
}

int session_on_relay(struct session *s, const struct wire_frame *frame)
{
	struct fleet_vm *vm = s->vm;
	struct session *standby = vm->stream[1];
	size_t size = wire_frame_size(frame);
	struct wire_failure failure;
	enum vm_relay_verdict verdict;
	struct error why;

	/* Check for room first, because a frame can be checked only once. */
	if (standby && standby->phase == SESSION_OPEN &&
	    wire_tls_write_room(standby->tls) < size) {
		s->blocked = true;
		counters_add(&s->fleet->counters.relay_blocked, 1);
		session_mark_dirty(standby);
		return -EAGAIN;
	}
	if (vm_relay_frame(&vm->relay, frame, s->fleet->now_ns, &verdict, &failure.code, &why) < 0) {
		wire_text_format(failure.text, "%s", why.text);
		return stream_broken(s, frame, &failure);
	}
	if (verdict == VM_RELAY_DROP || !standby || standby->phase != SESSION_OPEN)
		return 0;
	if (wire_tls_write(standby->tls, wire_frame_start(frame), size) != (int)size) {
		log_limited(LOG_LEVEL_WARN, "vm=%s standby's TLS failed: %s", vm->config.name,
			    wire_tls_error(standby->tls));
		session_end(standby);
		return 0;
	}
	counters_add(&s->fleet->counters.frames_out, 1);
	session_mark_dirty(standby);
	return 0;
}

int session_on_epoch_ack(struct session *s, const struct wire_frame *frame)
{
	struct fleet_vm *vm = s->vm;
	struct wire_error error;
	struct vm_input in = {.kind = VM_IN_EPOCH_ACK, .host = s->host_index,
			      .term = frame->h.term, .epoch = frame->h.epoch,
			      .is_unheld = frame->h.epoch <= vm->relay.unheld_epoch};

	if (wire_empty_decode(frame, &error) < 0)
		return session_bad_frame(s, &error);
	/* While the end of this term waits for the disk, the machine does not take the
	 * acknowledgement. This is no fault. */
	if (frame->h.term != vm->fsm.record.term && fleet_is_durable(vm)) {
		counters_add(&s->fleet->counters.epoch_acks_stale, 1);
		session_refuse(s, WIRE_REFUSED_STALE_TERM, &s->fleet->counters.refused_stale_term,
			       "EPOCH_ACK of term %" PRIu64 ", %s is in term %" PRIu64,
			       frame->h.term, vm->config.name, vm->fsm.record.term);
		return -EPROTO;
	}
	if (vm_relay_ack(&vm->relay, frame->h.epoch, s->fleet->now_ns) < 0) {
		session_refuse(s, WIRE_REFUSED_PROTOCOL, &s->fleet->counters.refused_bad_frame,
			       "EPOCH_ACK of epoch %" PRIu64 ", but %" PRIu64 " is the last one sent",
			       frame->h.epoch, vm->relay.sent_epoch);
		return -EPROTO;
	}
	counters_add(&s->fleet->counters.epoch_acks, 1);
	if (fleet_step(s->fleet, vm, &in) < 0)
		session_end(s);
	return 0;
}

/* One side gives the stream up. Tell the other side why it stops. */
int session_on_stream_error(struct session *s, const struct wire_frame *frame)
{
	bool from_standby = s->role == WIRE_VM_ROLE_STANDBY;
	struct wire_failure failure;
	struct session *primary;
	struct wire_error error;

	if (wire_failure_decode(frame, &failure, &error) < 0)
		return session_bad_frame(s, &error);
	counters_add(&s->fleet->counters.relay_errors, 1);
	log_limited(LOG_LEVEL_WARN, "vm=%s epoch=%" PRIu64 " %s %s gives the stream up: %s",
		    s->vm->config.name, frame->h.epoch, wire_vm_role_name(s->role), s->host->name,
		    failure.text);
	tell_failure(s, from_standby && failure.code == WIRE_STREAM_ERROR_GEOMETRY
				? VM_IN_STREAM_REFUSED : VM_IN_STREAM_FAILED, &failure);
	primary = s->vm->stream[0];
	if (from_standby && primary) {
		send_stream_error(primary, frame->h.term, frame->h.epoch, &failure);
		session_end(primary); /* both start again with a RESUME */
	}
	session_end(s);
	return -EPROTO;
}

void session_send_resume(struct session *s, const struct vm_action *a)
{
	struct wire_header h = {.type = WIRE_RESUME, .term = a->term, .epoch = a->epoch,
				.generation = a->generation};

	vm_relay_resume(&s->vm->relay, a->term, a->epoch, a->generation);
	counters_add(&s->fleet->counters.resumes, 1);
	log_info("vm=%s epoch=%" PRIu64 " resume generation=%" PRIu32, s->vm->config.name, a->epoch,
		 a->generation);
	session_send(s, &h, NULL, NULL);
}

void session_send_commit(struct session *s, const struct vm_action *a)
{
	struct wire_header h = {.type = WIRE_COMMIT, .term = a->term, .epoch = a->epoch};

	counters_add(&s->fleet->counters.commits, 1);
	session_send(s, &h, NULL, NULL);
}
